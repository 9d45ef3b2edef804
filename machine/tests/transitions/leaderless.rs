//! Nobody leads.

use machine::{Cause, Event, Micros, Policy};

use crate::support::{Run, pod, policy, secs, slice};

fn leaderless(policy: Policy) -> Run {
    let mut run = Run::new(policy);
    run.synced([pod("a")], Some(slice("a", 7).empty()));
    run.is("Leaderless", &["tell NoReadyPods", "mirror nobody@7"]).rests();
    run
}

#[test]
fn leaderless_a_member_becomes_eligible_reelects() {
    let mut run = leaderless(Policy::default());
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &["publish a@8 .1"]).by(Cause::Recovery);
    run.published().is("Elected a@8", &["tell LeaderRecovered recovery a", "mirror a@8"]).rests();
}

#[test]
fn leaderless_a_member_will_be_eligible_at_a_known_time() {
    let mut run = leaderless(policy(|policy| policy.min_ready_duration = secs(30)));
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Leaderless", &[]);
    run.wait(10_000).tell(Event::DeadlineReached).is_silent();
    run.wakes_after(20_000).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn leaderless_a_ready_time_in_the_future_counts_from_when_it_was_seen() {
    let mut run = leaderless(policy(|policy| policy.min_ready_duration = secs(30)));
    let skewed = run.now.plus(secs(3_600));
    run.ready(pod("a").ready_since(skewed)).is("Leaderless", &[]);
    run.wakes_after(30_000).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn leaderless_a_ready_time_in_the_past_counts_as_it_is() {
    let mut run = leaderless(policy(|policy| policy.min_ready_duration = secs(30)));
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn leaderless_a_member_that_flapped_waits_anew() {
    let mut run = leaderless(policy(|policy| policy.min_ready_duration = secs(30)));
    let now = run.now;
    run.ready(pod("a").ready_since(now));
    run.wait(20_000);
    let again = run.now;
    run.changed(pod("a").ready_since(again)).is("Leaderless", &[]);
    assert_eq!(run.due(), Some(30_000));
}

#[test]
fn leaderless_a_shorter_min_ready_duration_counts_at_once() {
    let mut run = leaderless(policy(|policy| policy.min_ready_duration = secs(30)));
    let now = run.now;
    run.ready(pod("a").ready_since(now)).is("Leaderless", &[]);
    run.policy(Policy::default()).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn leaderless_an_excluded_or_unreachable_member_is_not_chosen() {
    let mut run = leaderless(Policy::default());
    run.ready(pod("b").excluded()).is("Leaderless", &[]);
    run.ready(pod("c").without_address()).is("Leaderless", &[]);
    run.ready(pod("d").terminating()).is("Leaderless", &[]);
    run.changed(pod("b").ready()).is("Reelecting b@8 by recovery", &["publish b@8 .2"]);
}

#[test]
fn leaderless_while_paused_no_choice_is_made_until_it_is_resumed() {
    let mut run = leaderless(Policy::default());
    run.paused().is("Leaderless", &["tell Paused"]);
    run.ready(pod("a")).is("Leaderless", &[]).rests();
    run.tell(Event::Resumed);
    run.is("Reelecting a@8 by recovery", &["tell Resumed", "publish a@8 .1"]);
}

#[test]
fn leaderless_a_pause_ends_at_its_time() {
    let mut run = leaderless(Policy::default());
    let until = Some(run.now.plus(Micros::from_millis(500)));
    run.tell(Event::Paused { until });
    run.ready(pod("a")).is("Leaderless", &[]);
    run.wakes_after(500);
    run.is("Reelecting a@8 by recovery", &["tell Resumed", "publish a@8 .1"]);
}

#[test]
fn leaderless_a_pause_that_is_over_already_is_none() {
    let mut run = leaderless(Policy::default());
    let until = Some(run.now);
    run.tell(Event::Paused { until }).is_silent();
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn leaderless_a_failed_withdrawal_is_retried() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.publish_failed(machine::Outcome::Unreachable).is("Leaderless", &[]);
    run.wakes_after(20).is("Leaderless", &["publish nobody@7"]);
}

#[test]
fn leaderless_a_new_member_on_a_lost_node_is_not_chosen_until_that_is_back() {
    let mut run = leaderless(Policy::default());
    run.tell(Event::NodeLost { pod: pod("b").id() }).is_silent();
    run.ready(pod("b")).is("Leaderless", &[]);
    run.tell(Event::NodeBack { pod: pod("b").id() });
    run.is("Reelecting b@8 by recovery", &["publish b@8 .2"]);
}

#[test]
fn leaderless_who_was_told_of_and_never_came_leaves_nothing_behind() {
    let mut run = leaderless(Policy::default());
    run.tell(Event::NodeLost { pod: pod("b").id() }).gone("b").is_silent();
    run.ready(pod("b")).is("Reelecting b@8 by recovery", &["publish b@8 .2"]);
}
