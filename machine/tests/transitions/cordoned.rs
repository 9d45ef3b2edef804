//! Nodes of which something is said: others are chosen before their members, and a Service may leave cordoned ones.

use machine::{Cause, Event, Failback, Micros, Policy, Site};

use crate::support::{PodBuilder, Run, pod, policy, secs};

fn cordoned(name: &str) -> PodBuilder {
    pod(name).ready().site(Site::Cordoned)
}

fn leaving() -> Policy {
    policy(|policy| policy.leave_cordoned = true)
}

fn failing_back() -> Policy {
    policy(|policy| policy.failback = Failback::After(Micros::ZERO))
}

#[test]
fn cordoned_others_are_chosen_first_whatever_their_rank() {
    for site in [Site::Troubled, Site::Cordoned] {
        let best = pod("b").ready().site(site).priority(9).place(3);
        let mut run = Run::led(Policy::default(), [pod("a").ready(), best, pod("c").ready()]);
        run.gone("a").is("Reelecting c@8 by gone", &["publish c@8 .3"]);
    }
}

#[test]
fn cordoned_they_are_chosen_while_nobody_elsewhere_can_be() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), cordoned("b"), pod("c")]);
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn cordoned_a_leader_stays() {
    for site in [Site::Troubled, Site::Cordoned] {
        let mut run = Run::led(failing_back(), [pod("a").ready(), pod("b").ready()]);
        run.changed(pod("a").ready().site(site)).is_silent().rests();
    }
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.changed(pod("a").ready().site(Site::Troubled)).is_silent().rests();
}

#[test]
fn cordoned_a_leader_leaves_if_that_is_asked_for() {
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.changed(cordoned("a")).is("Elected a@7", &["confirm b"]);
    run.confirmed(pod("b").ready()).is("Reelecting b@8 by cordoned", &["publish b@8 .2"]).by(Cause::Cordoned);
    run.published().is("Elected b@8", &["tell LeaderChanged cordoned b after a", "mirror b@8"]).rests();
    // Uncordoned, it is no reason to come back.
    run.changed(pod("a").ready()).is_silent().rests();
}

#[test]
fn cordoned_a_leader_leaves_when_the_policy_begins_to_ask_for_it() {
    let mut run = Run::led(Policy::default(), [cordoned("a"), pod("b").ready()]);
    run.policy(leaving()).is("Elected a@7", &["confirm b"]);
}

#[test]
fn cordoned_a_leader_stays_while_all_others_are_on_such_nodes() {
    let troubled = pod("c").ready().site(Site::Troubled);
    let mut run = Run::led(leaving(), [pod("a").ready(), cordoned("b"), troubled, pod("d")]);
    run.changed(cordoned("a")).is_silent().rests();
    run.changed(pod("b").ready()).is("Elected a@7", &["confirm b"]);
}

#[test]
fn cordoned_a_leader_leaves_when_somebody_elsewhere_is_eligible() {
    let mut run = Run::led(leaving(), [pod("a").ready()]);
    run.policy(policy(|policy| {
        policy.leave_cordoned = true;
        policy.min_ready_duration = secs(3);
    }));
    run.changed(cordoned("a")).is_silent();
    let now = run.now;
    run.ready(pod("b").ready_since(now)).is("Elected a@7", &[]);
    run.wakes_after(3_000).is("Elected a@7", &["confirm b"]);
}

#[test]
fn cordoned_leaving_does_not_come_about_if_the_other_is_cordoned_meanwhile() {
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.changed(cordoned("a"));
    run.confirmed(cordoned("b")).is("Elected a@7", &[]).rests();
}

#[test]
fn cordoned_leaving_is_the_lease_holders_and_waits_while_paused() {
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.tell(Event::LeaseLost);
    run.changed(cordoned("a")).is_silent().rests();
    run.tell(Event::LeaseHeld).is("Elected a@7", &["confirm b"]);
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.paused();
    run.changed(cordoned("a")).is_silent().rests();
    run.tell(Event::Resumed).is("Elected a@7", &["tell Resumed", "confirm b"]);
}

#[test]
fn cordoned_if_the_other_is_lost_before_it_leads_the_leader_goes_on() {
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready()]);
    run.changed(cordoned("a"));
    run.confirmed(pod("b").ready());
    run.publish_failed(machine::Outcome::Unreachable);
    run.gone("b").is("Reelecting a@9 by recovery", &[]);
}

#[test]
fn cordoned_if_both_are_lost_before_that_the_cause_is_the_leaders_loss() {
    let mut run = Run::led(leaving(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.changed(cordoned("a"));
    run.confirmed(pod("b").ready());
    run.publish_failed(machine::Outcome::Unreachable);
    run.unready(pod("a").site(Site::Cordoned));
    run.gone("b").is("Reelecting c@9 by unready", &[]);
}

#[test]
fn cordoned_nobody_fails_back_to_such_a_node_while_somebody_is_elsewhere() {
    let mut run = Run::led(failing_back(), [pod("b").ready(), pod("a"), pod("c").ready()]);
    run.changed(cordoned("a").priority(9)).is_silent().rests();
    // The leader is no better off, but the third is.
    run.changed(cordoned("b")).is_silent().rests();
    run.unready(pod("c")).is("Elected b@7", &["confirm a"]);
}

#[test]
fn cordoned_a_person_may_name_a_pod_there() {
    let mut run = Run::led(leaving(), [pod("a").ready(), cordoned("b"), pod("c").ready()]);
    run.requested("b").is("Elected a@7", &["confirm b"]);
    run.confirmed(cordoned("b")).is("Reelecting b@8 by switchover", &["publish b@8 .2 handled b"]);
}
