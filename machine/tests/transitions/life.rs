//! Opting out, and foreign objects in our place.

use machine::{Cause, Event, Outcome, Policy};

use crate::support::{Facts, Run, pod, slice};

fn run() -> Run {
    Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()])
}

#[test]
fn opted_out_removes_what_we_own() {
    for why in [Event::OptedOut, Event::ServiceGone] {
        let mut run = run();
        run.tell(why).is("Leaderless", &["remove everything"]).by(Cause::Removal);
        assert!(!run.election.is_over());
        assert!(!run.election.is_settled());
        run.removed().is("Leaderless", &[]);
        assert!(run.election.is_over());
        assert_eq!(run.due(), None);
    }
}

#[test]
fn opted_out_during_an_open_write_waits_for_its_answer() {
    let mut run = run();
    run.gone("a").tell(Event::OptedOut).is("Leaderless", &[]);
    assert_eq!(run.due(), None);
    run.published().is("Leaderless", &["remove everything"]);
}

#[test]
fn opted_out_does_not_wait_for_a_back_off() {
    let mut run = run();
    run.gone("a").publish_failed(Outcome::Refused { endpoint: false, words: "quota".into() });
    run.tell(Event::OptedOut).is("Leaderless", &["remove everything"]);
}

#[test]
fn opted_out_remove_failed_is_retried() {
    let mut run = run();
    run.tell(Event::OptedOut);
    for pause in [20, 40, 80] {
        run.remove_failed().is("Leaderless", &[]);
        run.wakes_after(pause).is("Leaderless", &["remove everything"]);
    }
    run.removed();
    assert!(run.election.is_over());
}

#[test]
fn opted_out_decides_nothing_more() {
    let mut run = run();
    run.tell(Event::OptedOut);
    run.ready(pod("c")).is_silent();
    run.observed(slice("b", 9), Facts::Newer).is_silent();
    run.removed();
    run.ready(pod("d")).is_silent();
    run.tell(Event::OptedOut).is_silent();
    run.tell(Event::DeadlineReached).is_silent();
    run.blocked_by_service().is_silent();
    assert!(run.election.is_over());
}

#[test]
fn opted_out_before_synced_removes_as_well() {
    let mut run = Run::new(Policy::default());
    run.tell(Event::OptedOut).is("Leaderless", &["remove everything"]);
}

#[test]
fn blocked_by_a_foreign_service_deletes_our_slices() {
    let mut run = run();
    run.blocked_by_service();
    run.is("Leaderless", &["tell LeaderServiceConflict: orders-leader", "remove slices"])
        .by(Cause::Obstruction);
    run.blocked_by_service().is_silent();
    run.removed().is_silent().rests();
    run.blocked_by_service().is_silent().rests();
}

#[test]
fn blocked_by_a_foreign_service_deletes_slices_that_appear_late() {
    let mut run = run();
    run.blocked_by_service().removed();
    run.observed(slice("a", 7), Facts::Newer).is("Leaderless", &["remove slices"]);
}

#[test]
fn blocked_by_a_foreign_service_deletes_slices_that_new_lists_show() {
    let mut run = run();
    run.blocked_by_service().removed();
    run.synced([pod("a").ready()], Some(slice("a", 7))).is("Leaderless", &["remove slices"]);
    run.removed().is_silent().rests();
}

#[test]
fn blocked_by_a_foreign_slice_does_nothing() {
    let mut run = run();
    run.blocked_by_slice().is("Leaderless", &["tell LeaderServiceConflict: orders-leader"]).rests();
    run.ready(pod("c")).is_silent();
    run.gone("a").is_silent();
    run.observed(slice("c", 9), Facts::Newer).is_silent().rests();
}

#[test]
fn blocked_during_an_open_write_waits_for_its_answer() {
    let mut run = run();
    run.gone("a");
    run.blocked_by_service().is("Leaderless", &["tell LeaderServiceConflict: orders-leader"]);
    run.published().is("Leaderless", &["remove slices"]);
}

#[test]
fn blocked_before_synced_begins_when_it_is_both_unblocked_and_synced() {
    let mut run = Run::new(Policy::default());
    run.blocked_by_slice().is("Leaderless", &["tell LeaderServiceConflict: orders-leader"]);
    run.unblocked(Some(slice("a", 7))).is_silent();
    run.synced([pod("a").ready()], Some(slice("a", 7))).is("Elected a@7", &["mirror a@7"]);
    let mut run = Run::new(Policy::default());
    run.blocked_by_slice();
    run.synced([pod("a").ready()], Some(slice("a", 7))).is_silent();
    run.unblocked(Some(slice("a", 7))).is("Elected a@7", &["mirror a@7"]);
}

#[test]
fn unblocked_decides_as_at_synced() {
    let mut run = run();
    run.blocked_by_service().removed();
    run.gone("a");
    run.unblocked(None).is("Reelecting b@+0 by recovery", &["create nobody@none"]);
    run.published().published();
    run.is("Elected b@+0", &["tell LeaderRecovered recovery b", "mirror b@+0"]).rests();
}

#[test]
fn unblocked_without_having_been_blocked_is_nothing() {
    let mut run = run();
    run.gone("a");
    run.unblocked(Some(slice("a", 7))).is("Reelecting b@8 by gone", &[]);
}
