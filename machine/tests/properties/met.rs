//! What histories must meet, so that their silence means something.

use std::cell::RefCell;
use std::collections::BTreeMap;

use machine::Phase;

/// A situation in which something could go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Met {
    Arrow(Phase, Phase),
    /// All lists came in, and the published leader's name was another pod's.
    Namesake,
    /// A fact about a pod came that was older than what was known.
    OldNews,
    /// A watch began anew, and what it had missed was found by difference.
    Gap,
    /// A write whose answer was lost happened later.
    LateWrite,
    /// A term was begun while an earlier write of a term might still have happened.
    SpentEpoch,
    /// A write was based on what was no longer there.
    Conflict,
    /// A pod was read, and was no member.
    Absent,
    /// A better-ranked member took over.
    Failback,
    /// The leader left a cordoned node.
    Cordoned,
    /// The named member took over.
    Switchover,
    /// A better-ranked member waited, or one that would let the leader leave: the leader had changed too often.
    Deferred,
}

const SITUATIONS: [Met; 11] = [
    Met::Namesake,
    Met::OldNews,
    Met::Gap,
    Met::LateWrite,
    Met::SpentEpoch,
    Met::Conflict,
    Met::Absent,
    Met::Failback,
    Met::Cordoned,
    Met::Switchover,
    Met::Deferred,
];

/// The others do not exist: a candidate always comes before a leader, but for one that is found published.
const ARROWS: [(Phase, Phase); 14] = {
    use Phase::{Draining, Elected, Leaderless, Reelecting};
    [
        (Leaderless, Elected),
        (Leaderless, Draining),
        (Leaderless, Reelecting),
        (Reelecting, Elected),
        (Reelecting, Draining),
        (Reelecting, Leaderless),
        (Reelecting, Reelecting),
        (Elected, Elected),
        (Elected, Draining),
        (Elected, Leaderless),
        (Elected, Reelecting),
        (Draining, Elected),
        (Draining, Leaderless),
        (Draining, Reelecting),
    ]
};

const TIMES_LEAST: usize = 20;

thread_local! {
    /// How often the histories of this test met what.
    static MET: RefCell<BTreeMap<Met, usize>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn met(situation: Met) {
    MET.with_borrow_mut(|met| *met.entry(situation).or_default() += 1);
}

/// What was met less often than it takes to mean something, and how often.
pub(crate) fn unmet() -> Vec<(Met, usize)> {
    let count = |met: &Met| MET.with_borrow(|counts| counts.get(met).copied().unwrap_or_default());
    let arrows = ARROWS.map(|(from, to)| Met::Arrow(from, to));
    let all = SITUATIONS.into_iter().chain(arrows).map(|met| (met, count(&met)));
    all.filter(|(_, count)| *count < TIMES_LEAST).collect()
}
