//! Another writer keeps undoing what we publish.

use machine::{Event, Policy, Shown};

use crate::support::{Facts, Run, endpoint, pod, slice};

fn run() -> Run {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    // Only what we wrote ourselves can be reversed.
    run.changed(pod("a").ready().address(9)).published();
    run
}

const REPAIR: [&str; 1] = ["publish a@7 .9"];

fn undo(run: &mut Run) -> &mut Run {
    run.undone_by("argocd", slice("a", 7))
}

fn contested() -> Run {
    let mut run = run();
    undo(&mut run).is("Elected a@7", &REPAIR).published();
    undo(&mut run).is("Elected a@7", &REPAIR).published();
    undo(&mut run).is("Elected a@7", &["tell PublicationContested: argocd"]);
    assert_eq!(run.due(), Some(1_000));
    run
}

#[test]
fn contest_three_reversals_within_a_minute_back_off() {
    contested().wakes_after(1_000).is("Elected a@7", &REPAIR).published().rests();
}

#[test]
fn contest_backs_off_1_s_doubling_to_30_s() {
    let mut run = contested();
    for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
        run.wakes_after(pause * 1_000).is("Elected a@7", &REPAIR).published();
        undo(&mut run).is("Elected a@7", &[]);
    }
}

#[test]
fn contest_reversals_more_than_a_minute_apart_are_none() {
    let mut run = run();
    for _ in 0..5 {
        undo(&mut run).is("Elected a@7", &REPAIR).published();
        run.wait(30_000);
    }
}

#[test]
fn contest_ends_after_a_quiet_minute() {
    let mut run = contested();
    run.wakes_after(1_000).published();
    run.wait(60_000);
    undo(&mut run).is("Elected a@7", &REPAIR).published();
    undo(&mut run).is("Elected a@7", &REPAIR).published();
    undo(&mut run).is("Elected a@7", &["tell PublicationContested: argocd"]);
}

#[test]
fn contest_never_delays_a_loss() {
    let mut run = contested();
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn contest_never_delays_an_address_that_is_no_longer_the_leaders() {
    let mut run = contested();
    run.changed(pod("a").ready().address(7)).is("Elected a@7", &["publish a@7 .7"]);
}

#[test]
fn contest_writes_of_our_own_instance_are_no_reversals() {
    let mut run = run();
    for _ in 0..5 {
        run.observed(slice("a", 7), Facts::Newer).is("Elected a@7", &REPAIR).published();
    }
}

#[test]
fn contest_only_what_we_wrote_ourselves_can_be_reversed() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.undone_by("argocd", slice("a", 7).empty()).is("Elected a@8", &["publish a@8 .1"]).published();
    for epoch in [9, 10] {
        run.undone_by("argocd", slice("a", epoch - 1).empty());
        run.is(&format!("Elected a@{epoch}"), &[&format!("publish a@{epoch} .1")]).published();
    }
}

#[test]
fn contest_writes_that_undo_nothing_are_no_reversals() {
    let mut run = run();
    for _ in 0..5 {
        run.undone_by("kubectl", slice("a", 7).shown(Shown::Ready(endpoint(9))).ours());
        run.is("Elected a@7", &[]).rests();
    }
}

#[test]
fn contest_by_deletion_backs_off_as_well() {
    let mut run = run();
    for _ in 0..2 {
        run.slice_deleted().published().published();
    }
    run.slice_deleted();
    run.is("Elected a@+2", &["tell EndpointSliceDeleted", "tell PublicationContested"]);
    run.wakes_after(1_000).is("Elected a@+2", &["create nobody@none"]);
    run.tell(Event::ServerBack).is_silent();
}
