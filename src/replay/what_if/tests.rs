//! Which facts of a log are facts under another policy as well.

use super::*;

const ORDER: OrderId = OrderId(5);

fn published(version: u64) -> Publication {
    Wanted { leader: None, epoch: None, shown: machine::Shown::Nobody, handled: None }
        .acknowledged(Version(version))
}

/// Its slice has moved on to version 9, which the log knows nothing of.
fn course() -> Course {
    Course { slice: Some(published(9)), version: Version(9), ..Course::default() }
}

#[test]
fn versions_go_on_from_the_highest_that_was_seen() {
    let mut course = course();
    course.see(Version(7));
    assert_eq!(course.next_version(), Version(10));
    course.see(Version(20));
    assert_eq!(course.next_version(), Version(21));
}

#[test]
fn what_others_write_is_written_over_what_there_is_here() {
    let mut course = course();
    let event = Event::PublicationObserved {
        published: Some(published(6)),
        horizon: Version(1),
        by: Some("kubectl".into()),
    };
    let Some(Event::PublicationObserved { published: Some(seen), .. }) = course.fact(&event) else {
        panic!("it is a fact")
    };
    assert_eq!((seen.version, course.slice), (Version(10), Some(published(10))));
}

#[test]
fn when_the_obstacle_is_gone_the_slice_is_as_it_is_here() {
    let standing = Standing { published: Some(published(6)), horizon: Version(1), ..Standing::default() };
    let Some(Event::Unblocked { standing }) = course().fact(&Event::Unblocked { standing }) else {
        panic!("it is a fact")
    };
    assert_eq!(standing.published, Some(published(9)));
}

/// What was ordered before the log starts was ordered whatever the policy.
#[test]
fn answers_to_orders_from_before_the_log_are_facts() {
    let mut course = course();
    course.first_order = Some(ORDER);
    for (id, is_fact) in [(OrderId(4), true), (ORDER, false), (OrderId(6), false)] {
        assert_eq!(course.fact(&Event::ReadFailed { id }).is_some(), is_fact, "{id:?}");
    }
}

/// The fuzzer's find: no version is left for another write, and the next fact is ages away.
#[test]
fn what_would_go_on_for_ages_is_cut_short_and_says_so() {
    let log = include_bytes!("../../../tests/fuzz/kept/log/no-next-version-for-ages");
    let overrides = ["failback=3s".parse().unwrap()];
    let mut what_if = WhatIf::new(&overrides, Micros(1_000));
    what_if.replay(&mut Reader::new("a log", log.as_slice())).unwrap();
    let mut out = Vec::new();
    let mut recorded = Tallies::default();
    recorded.services.insert("shop/orders".into(), Tally::default());
    what_if.tell(&recorded, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("cut short, times: "), "{out}");
}
