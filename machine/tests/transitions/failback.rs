//! A better-ranked member takes over from a fit leader, if the policy says so.

use machine::{Cause, Event, Failback, Micros, Policy};

use crate::support::{Run, pod, policy, secs};

fn run(wait: Micros) -> Run {
    let policy = policy(|policy| policy.failback = Failback::After(wait));
    Run::led(policy, [pod("b").ready(), pod("a")])
}

#[test]
fn failback_never_is_the_default() {
    let mut run = Run::led(Policy::default(), [pod("b").ready(), pod("a")]);
    run.ready(pod("a").priority(9)).is_silent().rests();
}

#[test]
fn failback_at_once_confirms_the_better_member_then_moves() {
    let mut run = run(Micros::ZERO);
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Elected b@7", &["confirm a"]);
    run.confirmed(pod("a").ready()).is("Reelecting a@8 by failback", &["publish a@8 .1"]);
    run.by(Cause::Failback);
    run.published().is("Elected a@8", &["tell LeaderChanged failback a after b", "mirror a@8"]).rests();
}

#[test]
fn failback_moves_to_a_better_place_and_nothing_else_does() {
    let mut sticky = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    sticky.changed(pod("b").ready().place(3)).is_silent().rests();
    let mut run = run(Micros::ZERO);
    run.changed(pod("c").ready()).is_silent();
    run.changed(pod("c").ready().place(1)).is("Elected b@7", &["confirm c"]);
    run.confirmed(pod("c").ready().place(1)).is("Reelecting c@8 by failback", &["publish c@8 .3"]);
}

#[test]
fn failback_waits_until_the_better_member_was_eligible_for_so_long() {
    let mut run = run(secs(60));
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Elected b@7", &[]);
    run.wakes_after(60_000).is("Elected b@7", &["confirm a"]);
}

#[test]
fn failback_waits_after_the_min_ready_duration() {
    let mut run = run(secs(60));
    run.policy(policy(|policy| {
        policy.failback = Failback::After(secs(60));
        policy.min_ready_duration = secs(10);
    }));
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Elected b@7", &[]);
    assert_eq!(run.due(), Some(70_000));
}

#[test]
fn failback_is_due_also_while_a_switchover_waits_for_its_pod() {
    let mut run = run(secs(60));
    run.requested("zz");
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Elected b@7", &[]);
    run.wakes_after(60_000).is("Elected b@7", &["confirm a"]);
}

#[test]
fn failback_to_a_member_that_is_no_longer_fit_does_not_come_about() {
    let mut run = run(Micros::ZERO);
    run.ready(pod("a"));
    run.confirmed(pod("a")).is("Elected b@7", &[]).rests();
}

#[test]
fn failback_is_the_lease_holders_alone() {
    let mut run = run(Micros::ZERO);
    run.tell(Event::LeaseLost);
    run.ready(pod("a")).is("Elected b@7", &[]).rests();
    run.tell(Event::LeaseHeld).is("Elected b@7", &["confirm a"]);
}

#[test]
fn failback_while_paused_waits() {
    let mut run = run(Micros::ZERO);
    run.paused();
    run.ready(pod("a")).is("Elected b@7", &[]).rests();
}

#[test]
fn failback_that_the_policy_begins_to_ask_for_is_due_at_once() {
    let mut run = Run::led(Policy::default(), [pod("b").ready(), pod("a").ready()]);
    run.policy(policy(|policy| policy.failback = Failback::After(Micros::ZERO)));
    run.is("Elected b@7", &["confirm a"]);
}

#[test]
fn failback_confirmation_that_failed_is_asked_for_again() {
    let mut run = run(Micros::ZERO);
    run.ready(pod("a"));
    run.confirm_failed().is("Elected b@7", &[]);
    run.wakes_after(20).is("Elected b@7", &["confirm a"]);
}

#[test]
fn failback_does_not_delay_a_loss() {
    let mut run = run(Micros::ZERO);
    run.ready(pod("a"));
    run.gone("b").is("Reelecting a@8 by gone", &["publish a@8 .1"]);
    run.confirmed(pod("a").ready()).is_silent();
}
