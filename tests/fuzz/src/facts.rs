//! Facts that the machine is told, in any order, with any numbers: also what no API server would ever say.
//!
//! Histories that could happen are in `machine/tests/properties`: those are held against everything that must hold.

mod invent;

use machine::{Effect, Election, Event, Policy, Shown};
use zen_lead::replay::words;

use self::invent::Inventor;

/// Facts in one run; more say nothing new.
const FACTS_MOST: usize = 200;

/// Tells an election what `bytes` say.
///
/// # Panics
/// Something is wrong.
pub fn run(bytes: &[u8]) {
    let mut inventor = Inventor::new(bytes);
    let mut election = Election::new(Policy::default());
    for number in 0..FACTS_MOST {
        let Some((at, event)) = inventor.fact(&election) else { return };
        // I14: whoever goes on from the words of a log does the same.
        let mut twin = if number % 4 == 3 { reread(&election) } else { election.clone() };
        let step = election.step(at, &event);
        assert_eq!(twin.step(at, &event), step, "I14: {event:?}");
        assert_eq!(twin, election, "I14: {event:?}");
        let _ =
            (election.deadline(), election.is_acknowledged(), election.is_served(), election.is_settled());
        let _ = (election.is_leader_fit(), election.eligible(), election.pending_switchover());
        let _ = words::event(&event, election.state().pod());
        for effect in &step.effects {
            check(effect);
            inventor.ordered(effect.id());
        }
    }
}

fn reread(election: &Election) -> Election {
    let text = serde_json::to_string(election).expect("an election as text");
    let read: Election = serde_json::from_str(&text).expect("an election from text");
    assert_eq!(read, *election, "I14: {text}");
    read
}

/// What holds of an order, whatever it was that led to it.
fn check(effect: &Effect) {
    let text = words::effect(effect);
    assert!(!text.is_empty(), "an order without words");
    let Effect::Publish { wanted, based_on, .. } = effect else { return };
    match wanted.shown {
        Shown::Nobody => assert_eq!(wanted.leader, None, "I1: {wanted:?}"),
        Shown::Ready(_) | Shown::Terminating(_) => {
            assert!(wanted.leader.is_some() && wanted.epoch.is_some(), "I3: {wanted:?}");
            assert!(based_on.is_some(), "I4: a slice is created empty: {wanted:?}");
        }
        Shown::Foreign => panic!("I1: {wanted:?}"),
    }
}

/// A fact has a text that says the same.
fn assert_is_told(event: &Event) {
    let text = serde_json::to_string(event).expect("a fact as text");
    let read: Event = serde_json::from_str(&text).expect("a fact from text");
    assert_eq!(read, *event, "{text}");
}
