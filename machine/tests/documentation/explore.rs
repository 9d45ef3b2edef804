//! What the machine really does, over many histories of a small world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use machine::Phase;

use crate::kind;
use crate::world::{Column, DEEDS, Deed, Told, World};

/// The events after which the state follows from what others have published.
pub(crate) const ADOPTIONS: [&str; 4] = ["Synced", "Unblocked", "PublicationObserved", "ReadDone"];

const HISTORIES: u64 = 400_000;
const LENGTH: usize = 40;

/// What was seen over all histories.
#[derive(Default)]
pub(crate) struct Reality {
    /// How often each event was told in each column.
    pub(crate) told: BTreeMap<(Column, &'static str), usize>,
    /// Where they led, and how often.
    pub(crate) taken: BTreeMap<(Column, &'static str, Phase), usize>,
    /// The arrows of the machine's own choice.
    pub(crate) chosen: BTreeSet<(Phase, Phase)>,
    /// Those while it was paused.
    pub(crate) paused: BTreeSet<(Phase, Phase)>,
}

/// The same for every test, and in every run.
pub(crate) static REALITY: LazyLock<Reality> = LazyLock::new(|| {
    let mut reality = Reality::default();
    for number in 0..HISTORIES {
        live(number, |told| reality.note(told));
    }
    reality
});

/// One history. Only some of the deeds happen in it, so that these happen often enough to meet.
fn live(number: u64, mut note: impl FnMut(&Told)) {
    let mut draw = draws(number);
    let mut world = World::new(draw(World::BEGINNINGS));
    let mut deeds: Vec<Deed> = (0..4 + draw(30)).map(|_| DEEDS[draw(DEEDS.len())]).collect();
    deeds.extend([World::begun as Deed, World::write_is_done, World::woken]);
    for _ in 0..LENGTH {
        let event = world.alarm().or_else(|| deeds[draw(deeds.len())](&mut world));
        if let Some(event) = event {
            note(&world.tell(event));
        }
    }
}

/// Random numbers below a given one: xorshift, which is the same everywhere.
fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |most| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from((state >> 20) % most as u64).unwrap_or_default()
    }
}

impl Reality {
    fn note(&mut self, told: &Told) {
        let Some(column) = told.column else {
            assert_eq!(told.went, None, "nothing is decided after opting out");
            return;
        };
        let event = kind(&told.event);
        *self.told.entry((column, event)).or_default() += 1;
        let Some((from, to)) = told.went else { return };
        *self.taken.entry((column, event, to)).or_default() += 1;
        if !ADOPTIONS.contains(&event) {
            self.chosen.insert((from, to));
            if told.is_paused {
                self.paused.insert((from, to));
            }
        }
    }
}
