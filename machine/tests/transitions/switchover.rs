//! Handovers that people ask for.

use machine::{Cause, Departure, Event, Outcome, Policy};

use crate::support::{Facts, Run, pod, policy, request, secs, slice};

fn run() -> Run {
    Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()])
}

#[test]
fn switchover_confirms_the_named_member_then_moves() {
    let mut run = run();
    run.requested("c").is("Elected a@7", &["confirm c"]);
    run.confirmed(pod("c").ready()).is("Reelecting c@8 by switchover", &["publish c@8 .3 handled c"]);
    run.published();
    run.is("Elected c@8", &["tell SwitchoverCompleted switchover c after a", "mirror c@8"]);
    run.by(Cause::Switchover).rests();
    assert_eq!(run.election.pending_switchover(), None);
}

#[test]
fn switchover_to_a_pod_that_is_gone_does_not_move() {
    let mut run = run();
    run.requested("c");
    run.confirmed_absent().is("Elected a@7", &[]);
    assert!(run.election.pending_switchover().is_some());
}

#[test]
fn switchover_waits_until_the_named_member_is_eligible() {
    let mut run =
        Run::led(policy(|policy| policy.min_ready_duration = secs(10)), [pod("a").ready(), pod("b")]);
    run.requested("b").is("Elected a@7", &[]).rests();
    let now = run.now;
    run.ready(pod("b").ready_since(now)).is("Elected a@7", &[]);
    run.wakes_after(10_000).is("Elected a@7", &["confirm b"]);
}

#[test]
fn switchover_that_waits_is_not_completed_by_a_repair() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b")]);
    run.requested("b").is("Elected a@7", &[]);
    run.observed(slice("a", 7).damaged(), Facts::Newer).is("Elected a@7", &["publish a@7 .1"]);
    run.published().is("Elected a@7", &[]).rests();
    assert!(run.election.pending_switchover().is_some());
}

#[test]
fn switchover_asks_again_if_another_pod_of_the_name_answers() {
    let mut run = run();
    run.requested("c").is("Elected a@7", &["confirm c"]);
    run.confirmed(pod("c").uid("c9").created(999_000)).is("Elected a@7", &["confirm c"]);
}

#[test]
fn switchover_is_the_lease_holders_alone() {
    let mut run = run();
    run.tell(Event::LeaseLost).requested("c").is("Elected a@7", &[]).rests();
    run.tell(Event::LeaseHeld).is("Elected a@7", &["confirm c"]);
}

#[test]
fn switchover_lost_lease_before_the_answer_does_not_move() {
    let mut run = run();
    run.requested("c").tell(Event::LeaseLost);
    run.confirmed(pod("c").ready()).is("Elected a@7", &[]);
}

#[test]
fn switchover_while_paused_waits() {
    let mut run = run();
    run.paused();
    run.requested("c").is("Elected a@7", &[]);
    run.tell(Event::Resumed).is("Elected a@7", &["tell Resumed", "confirm c"]);
}

#[test]
fn switchover_names_the_first_in_rank_in_every_state() {
    let mut run = run();
    run.tell(Event::LeaseLost).requested("c");
    run.gone("a").is("Reelecting c@8 by gone", &["publish c@8 .3 handled c"]);
    run.published().is("Elected c@8", &["tell LeaderChanged gone c after a"]).rests();
}

#[test]
fn switchover_to_who_leads_already_is_recorded_at_once() {
    let mut run = run();
    run.requested("a").is("Elected a@7", &["publish a@7 .1 handled a"]);
    run.published().is("Elected a@7", &["tell SwitchoverCompleted switchover a", "mirror a@7"]).rests();
}

#[test]
fn switchover_by_a_text_already_handled_does_nothing() {
    let mut run = Run::new(Policy::default());
    run.requested("b");
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 7).handled("b")));
    run.is("Elected a@7", &["mirror a@7"]).rests();
    run.requested("b").is_silent();
    run.requested("b/b1;2;60").is("Elected a@7", &["confirm b"]);
}

#[test]
fn switchover_by_a_bare_name_counts_as_handled_when_the_slice_is_created_anew() {
    let mut run = Run::new(Policy::default());
    run.requested("b");
    run.synced([pod("a").ready(), pod("b").ready()], None);
    run.is("Reelecting a@+0 by first_election", &["create nobody@none handled b"]);
    run.published().is("Reelecting a@+0 by first_election", &["publish a@+0 .1 handled b"]);
    run.published().rests();
}

#[test]
fn switchover_with_a_token_still_counts_when_the_slice_is_created_anew() {
    let mut run = Run::new(Policy::default());
    run.requested("b/b1;x;60");
    run.synced([pod("a").ready(), pod("b").ready()], None);
    run.is("Reelecting b@+0 by first_election", &["create nobody@none"]);
    run.published().is("Reelecting b@+0 by first_election", &["publish b@+0 .2 handled b/b1;x;60"]);
}

#[test]
fn switchover_expires_and_is_refused_for_good() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b")]);
    run.requested("b/b1;x;60").is("Elected a@7", &[]);
    run.wakes_after(60_000);
    run.is("Elected a@7", &["tell SwitchoverRefused: b/b1;x;60", "publish a@7 .1 handled b/b1;x;60"]);
    run.published().rests();
    run.ready(pod("b")).is("Elected a@7", &[]).rests();
}

#[test]
fn switchover_that_expired_no_longer_ranks_first() {
    let mut run = run();
    run.tell(Event::LeaseLost).requested("c/c1;x;60").rests();
    run.wait(60_000).gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn switchover_that_is_expired_already_is_refused() {
    let mut run = run();
    run.wait(1_000).requested("c/c1;x;0").is("Elected a@7", &[]);
    run.wakes_after(0);
    run.is("Elected a@7", &["tell SwitchoverRefused: c/c1;x;0", "publish a@7 .1 handled c/c1;x;0"]);
}

#[test]
fn switchover_to_a_name_with_another_uid_is_refused() {
    let mut run = run();
    run.requested("c/c9;x;60");
    run.is("Elected a@7", &["tell SwitchoverRefused: c/c9;x;60", "publish a@7 .1 handled c/c9;x;60"]);
}

#[test]
fn switchover_withdrawn_is_forgotten() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b")]);
    run.requested("b").tell(Event::SwitchoverWithdrawn).is_silent();
    run.ready(pod("b")).is_silent();
    assert_eq!(run.election.pending_switchover(), None);
}

#[test]
fn switchover_whose_candidate_is_lost_goes_back_and_is_not_completed() {
    let mut run = run();
    run.requested("c");
    run.confirmed(pod("c").ready());
    run.gone("c").is("Reelecting a@9 by recovery", &[]);
    run.publish_failed(Outcome::Unreachable);
    run.wakes_after(20).published().is("Elected a@9", &["mirror a@9"]).by(Cause::Recovery).rests();
    assert!(run.election.pending_switchover().is_some());
}

#[test]
fn switchover_whose_candidate_and_incumbent_are_lost_has_the_losss_cause() {
    let mut run = run();
    run.requested("c");
    run.confirmed(pod("c").ready());
    run.gone("a").gone("c").is("Reelecting b@9 by gone", &[]);
}

#[test]
fn switchover_whose_incumbent_was_lost_before_the_candidate_has_the_incumbents_cause() {
    let mut run = run();
    run.requested("c");
    run.confirmed(pod("c").ready()).is("Reelecting c@8 by switchover", &["publish c@8 .3 handled c"]);
    run.gone("a").is("Reelecting c@8 by switchover", &[]);
    run.departed("c", Departure::Relabelled).is("Reelecting b@9 by gone", &[]);
}

#[test]
fn switchover_handled_by_another_replica_is_not_undone() {
    let mut run = run();
    run.tell(Event::LeaseLost).requested("c/c9;x;60");
    run.observed(slice("a", 7).handled("c/c9;x;60"), Facts::Older).is("Elected a@7", &[]).rests();
    assert_eq!(run.election.pending_switchover(), None);
}

#[test]
fn switchover_refused_while_a_write_was_open_stays_refused() {
    let mut run = run();
    run.changed(pod("a").ready().address(9)).is("Elected a@7", &["publish a@7 .9"]);
    run.requested("c/c9;x;60").is("Elected a@7", &["tell SwitchoverRefused: c/c9;x;60"]);
    run.published().is("Elected a@7", &["publish a@7 .9 handled c/c9;x;60"]);
    run.published().rests();
    assert_eq!(request("c").uid, None);
}

#[test]
fn switchover_to_a_name_that_two_pods_have_takes_the_eligible_one() {
    let mut run = run();
    run.terminating(pod("c").ready());
    run.ready(pod("c").uid("c2").address(9)).requested("c").is("Elected a@7", &["confirm c"]);
    run.confirmed(pod("c").uid("c2").ready().address(9));
    run.is("Reelecting c@8 by switchover", &["publish c@8 .9 handled c"]);
}
