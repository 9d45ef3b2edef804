//! I3: the epoch only grows, and equal epochs mean the same leader.

use machine::{Epoch, Event, Outcome, Policy, Standing};

use crate::support::{Facts, Run, START, pod, slice};

const TEN_YEARS: u64 = 10 * 365 * 24 * 3_600;

#[test]
fn i3_a_fresh_slice_starts_at_the_clock() {
    let mut run = Run::new(Policy::default());
    run.wait(5_000).synced([pod("a").ready()], None);
    run.is("Reelecting a@+5 by first_election", &["create nobody@none"]);
}

#[test]
fn i3_a_slice_that_is_created_anew_starts_at_the_clock_when_somebody_is_chosen() {
    let mut run = Run::new(Policy::default());
    run.synced([], None).published();
    run.wait(60_000).ready(pod("a")).is("Reelecting a@+60 by first_election", &["publish a@+60 .1"]);
}

#[test]
fn i3_a_term_chosen_before_the_slice_was_created_starts_at_the_clock_of_that_moment() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None).is("Reelecting a@+0 by first_election", &["create nobody@none"]);
    run.wait(5_000).published().is("Reelecting a@+5 by first_election", &["publish a@+5 .1"]);
}

#[test]
fn i3_a_sound_term_mends_the_line() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None)
        .published()
        .published()
        .is("Elected a@+0", &["tell LeaderElected first_election a", "mirror a@+0"]);
    run.wait(60_000).gone("a").is("Leaderless", &["publish nobody@+0"]).published();
    run.ready(pod("b")).is("Reelecting b@+1 by recovery", &["publish b@+1 .2"]);
}

#[test]
fn i3_a_higher_mirrored_epoch_is_gone_beyond() {
    let mut run = Run::new(Policy::default());
    let mirrored = Some(Epoch(START.as_secs() + 500));
    let standing = Standing { mirrored, ..run.standing(None) };
    run.tell(Event::Synced { members: vec![pod("a").ready().version(1).0], standing });
    run.is("Reelecting a@+501 by recovery", &["create nobody@none"]);
}

#[test]
fn i3_a_slice_behind_the_mirror_gets_a_new_term() {
    let mut run = Run::new(Policy::default());
    let standing = run.standing(Some(slice("a", 7)));
    let standing = Standing { mirrored: Some(Epoch(40)), ..standing };
    run.tell(Event::Synced { members: vec![pod("a").ready().version(1).0], standing });
    run.is("Elected a@+0", &["publish a@+0 .1"]);
}

/// Somebody took the slice back to a term that was another's before this process began.
#[test]
fn i3_an_epoch_that_is_mirrored_for_another_pod_is_not_adopted() {
    for (mirrored, begun, ordered) in
        [("a", "Elected a@40", "mirror a@40"), ("b", "Elected a@+0", "publish a@+0 .1")]
    {
        let mut run = Run::new(Policy::default());
        let standing = run.standing(Some(slice("a", 40)));
        let mirrored_leader = Some(pod(mirrored).ready().0.pod.uid().into());
        let standing = Standing { mirrored: Some(Epoch(40)), mirrored_leader, ..standing };
        run.tell(Event::Synced { members: vec![pod("a").ready().version(1).0], standing });
        run.is(begun, &[ordered]);
    }
}

/// Before the first term nobody can have taken an epoch away.
#[test]
fn i3_another_replicas_first_term_is_followed_by_the_next() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 0).without_epoch().empty()));
    run.publish_failed(Outcome::Conflict);
    run.observed(slice("a", START.as_secs()), Facts::Newer).is("Elected a@+0", &["mirror a@+0"]);
    run.wait(60_000).gone("a").is("Reelecting b@+1 by gone", &["publish b@+1 .2"]);
}

/// Somebody may have deleted the leader Service and taken the slice back before this process began.
#[test]
fn i3_after_an_epoch_that_the_leader_service_does_not_confirm_the_next_term_starts_at_the_clock() {
    for (mirrored, next) in [(Some(Epoch(40)), "b@41"), (None, "b@+60")] {
        let mut run = Run::new(Policy::default());
        let standing = Standing { mirrored, ..run.standing(Some(slice("a", 40))) };
        let members = vec![pod("a").ready().version(1).0, pod("b").ready().version(1).0];
        run.tell(Event::Synced { members, standing }).is("Elected a@40", &["mirror a@40"]);
        run.wait(60_000)
            .gone("a")
            .is(&format!("Reelecting {next} by gone"), &[&format!("publish {next} .2")]);
    }
}

/// Who mended the line may have begun later terms, which somebody took back before we looked.
#[test]
fn i3_after_an_edit_the_next_term_of_ours_starts_at_the_clock_although_another_replica_mended_it() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.observed(slice("a", 7).without_epoch(), Facts::Newer).is("Elected a@+0", &["publish a@+0 .1"]);
    run.publish_failed(Outcome::Conflict);
    run.wait(1_000)
        .observed(slice("a", START.as_secs() + 1), Facts::Newer)
        .is("Elected a@+1", &["mirror a@+1"]);
    run.wait(59_000).gone("a").is("Reelecting b@+60 by gone", &["publish b@+60 .2"]).published();
    run.wait(60_000).gone("b").is("Reelecting c@+61 by gone", &["publish c@+61 .3"]);
}

#[test]
fn i3_a_missing_epoch_starts_at_the_clock() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.observed(slice("a", 0).without_epoch(), Facts::Newer).is("Elected a@+0", &["publish a@+0 .1"]);
}

#[test]
fn i3_an_epoch_beyond_ten_years_counts_as_missing() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    let now = START.as_secs();
    run.observed(slice("a", now + TEN_YEARS + 1), Facts::Newer).is("Elected a@+0", &["publish a@+0 .1"]);
    run.published();
    run.observed(slice("a", now + TEN_YEARS), Facts::Newer);
    assert_eq!(run.election.state().epoch(), Some(Epoch(now + TEN_YEARS)));
}

#[test]
fn i3_an_empty_slice_keeps_the_epoch() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.published();
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn i3_the_same_pod_after_leaderless_is_a_new_term() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.unready(pod("a")).is("Leaderless", &["publish nobody@7"]);
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &[]);
    run.published().is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn i3_an_epoch_is_used_up_when_its_write_is_ordered() {
    for outcome in [Outcome::Unknown, Outcome::Unreachable] {
        let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
        run.gone("a");
        run.publish_failed(outcome);
        run.gone("b").by(machine::Cause::Gone);
        assert_eq!(run.state(), "Reelecting c@9 by gone");
    }
}

#[test]
fn i3_an_epoch_is_free_again_if_its_write_was_answered_conflict_or_refused() {
    for outcome in
        [Outcome::Conflict, Outcome::Superseded, Outcome::Refused { endpoint: false, words: "no".into() }]
    {
        let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
        run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
        run.gone("b").is("Leaderless", &[]);
        run.publish_failed(outcome);
        run.ready(pod("c"));
        assert_eq!(run.state(), "Reelecting c@8 by recovery");
    }
}

#[test]
fn i3_a_term_that_only_the_leader_service_tells_of_is_begun_beyond() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.slice_deleted();
    let first = START.as_secs();
    run.is("Elected a@+0", &["tell EndpointSliceDeleted", "create nobody@none"]);
    run.published().is("Elected a@+0", &["publish a@+0 .1"]);
    let behind = Outcome::Behind { epoch: Epoch(first + 4) };
    run.publish_failed(behind).is("Elected a@+5", &["publish a@+5 .1"]);
    let absurd = Outcome::Behind { epoch: Epoch(u64::MAX) };
    run.publish_failed(absurd).is("Elected a@+5", &["publish a@+5 .1"]);
}

#[test]
fn i3_the_epoch_starts_at_the_clock_after_a_slice_whose_making_was_not_seen() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.observed(slice("a", 7).anew(), Facts::Newer).is("Elected a@7", &["tell EndpointSliceDeleted"]);
    assert!(run.election.published().is_some_and(|known| !known.anew), "it is news once");
    run.gone("a").is("Reelecting b@+0 by gone", &["publish b@+0 .2"]);
}

#[test]
fn i3_a_conflict_does_not_free_an_epoch_that_an_earlier_write_may_have_used() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.gone("a");
    run.publish_failed(Outcome::Unknown);
    run.wakes_after(20).read(Some(slice("a", 7)), Facts::Newer);
    run.is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    run.publish_failed(Outcome::Conflict);
    run.gone("b").is("Reelecting c@9 by gone", &[]);
}

#[test]
fn i3_no_epoch_seen_meanwhile_is_forgotten_when_one_is_given_back() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    let later = START.as_secs() + 50;
    run.observed(slice("b", later), Facts::Newer).is("Elected b@+50", &[]);
    run.slice_deleted();
    run.publish_failed(Outcome::Gone).is("Elected b@+51", &["create nobody@none"]);
}

#[test]
fn i3_a_term_that_another_replica_published_below_one_we_had_spent_is_kept() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.gone("a").publish_failed(Outcome::Unreachable);
    run.gone("b").is("Reelecting c@9 by gone", &[]);
    run.wakes_after(20).publish_failed(Outcome::Unreachable);
    run.observed(slice("c", 8), Facts::Newer).is("Elected c@8", &["mirror c@8"]).rests();
}

#[test]
fn i3_a_forged_leader_of_a_term_that_we_wrote_is_not_adopted() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a").publish_failed(Outcome::Unknown);
    run.wakes_after(20).read(Some(slice("c", 8).ours()), Facts::Newer);
    run.is("Reelecting b@+0 by gone", &["publish b@+0 .2"]);
}

#[test]
fn i3_a_term_that_was_ended_does_not_go_on_though_a_stranger_restores_it() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.observed(slice("a", 7).empty(), Facts::Older).is("Elected a@7", &["confirm a"]);
    run.observed(slice("a", 7), Facts::Older).is("Elected a@7", &[]);
    run.confirmed(pod("a").ready()).is("Elected a@8", &["publish a@8 .1"]);
}
