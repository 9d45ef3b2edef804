//! What is missing between what was replayed and a header that follows.

use machine::{Event, Policy, Timestamp};

use super::*;

const SERVICE: &str = "shop/orders";

fn header(seq: u64, start: Start) -> Header {
    Header::new(SERVICE.into(), seq, start)
}

/// Three steps were replayed, which led to this election.
fn replayed() -> (Check, Election) {
    let mut check = Check::default();
    assert_eq!(check.start(&header(1, Start::New(Policy::default()))), None);
    let mut election = Election::new(Policy::default());
    for seq in 1..=3 {
        let (at, event) = (Timestamp(seq), Event::LeaseHeld);
        let step = election.step(at, &event);
        check.step(SERVICE, &Record { seq, at, event, step }).expect("as recorded");
    }
    (check, election)
}

fn another() -> Start {
    let mut election = Election::new(Policy::default());
    let _ = election.step(Timestamp(9), &Event::LeaseLost);
    Start::Midst(Box::new(election))
}

#[test]
fn a_header_that_goes_on_leaves_no_gap() {
    let (mut check, election) = replayed();
    assert_eq!(check.start(&header(4, Start::Midst(Box::new(election)))), None);
}

#[test]
fn records_that_were_never_written_are_counted() {
    let (mut check, _) = replayed();
    assert_eq!(check.start(&header(6, another())), Some(Gap { missing: 2, is_other: false }));
}

#[test]
fn an_election_that_is_another_without_a_record_is_told() {
    let (mut check, _) = replayed();
    assert_eq!(check.start(&header(4, another())), Some(Gap { missing: 0, is_other: true }));
}

#[test]
fn what_begins_anew_or_comes_from_before_is_no_gap() {
    let (mut check, _) = replayed();
    assert_eq!(check.start(&header(9, Start::New(Policy::default()))), None);
    let (mut check, _) = replayed();
    assert_eq!(check.start(&header(3, another())), None);
}
