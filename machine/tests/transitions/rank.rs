//! Who follows: a total order.

use machine::{Policy, Strategy};

use crate::support::{PodBuilder, Run, pod, policy};

/// Who follows the leader among `members`.
fn successor<const N: usize>(policy: Policy, members: [PodBuilder; N]) -> String {
    let mut forwards = Run::led(policy.clone(), [pod("z").ready()]);
    let mut backwards = Run::led(policy, [pod("z").ready()]);
    for member in members.clone() {
        forwards.changed(member);
    }
    for member in members.into_iter().rev() {
        backwards.changed(member);
    }
    forwards.gone("z");
    backwards.gone("z");
    assert_eq!(forwards.election.state(), backwards.election.state(), "whatever the order of events");
    forwards.election.state().pod().expect("a successor").uid().to_owned()
}

fn ready(name: &str) -> PodBuilder {
    pod(name).ready()
}

#[test]
fn oldest_is_the_default() {
    assert_eq!(successor(Policy::default(), [ready("c").created(5), ready("a").created(6)]), "c1");
}

#[test]
fn newest_first() {
    let newest = policy(|policy| policy.strategy = Strategy::Newest);
    assert_eq!(successor(newest, [ready("c").created(5), ready("a").created(6)]), "a1");
}

#[test]
fn longest_ready_first() {
    let longest = policy(|policy| policy.strategy = Strategy::LongestReady);
    let since = machine::Timestamp::from_secs;
    let members = [ready("a").ready_since(since(900_000)), ready("b").ready_since(since(800_000))];
    assert_eq!(successor(longest, members), "b1");
}

#[test]
fn priority_comes_before_everything_else() {
    let members = [ready("a"), ready("b").priority(1).revision(1), ready("c").priority(-1).revision(2)];
    assert_eq!(successor(Policy::default(), members), "b1");
}

#[test]
fn the_place_comes_after_priority_and_before_everything_else() {
    let members = [ready("a").revision(1), ready("b").place(1).revision(1), ready("c").revision(2)];
    assert_eq!(successor(Policy::default(), members), "b1");
    let members = [ready("a").place(1), ready("b").place(3), ready("c").place(2)];
    assert_eq!(successor(Policy::default(), members), "b1");
    let members = [ready("a").place(3), ready("b").priority(1), ready("c").place(3).priority(-1)];
    assert_eq!(successor(Policy::default(), members), "b1");
}

#[test]
fn the_newest_revision_comes_first_while_a_rollout_runs() {
    let members = [ready("a").revision(1), ready("b").revision(2), ready("c").revision(2)];
    assert_eq!(successor(Policy::default(), members.clone()), "b1");
    let plain = policy(|policy| policy.prefer_new_revision = false);
    assert_eq!(successor(plain, members), "a1");
}

#[test]
fn the_newest_revision_is_that_of_the_youngest_pod_ready_or_not() {
    let members = [ready("a").revision(9), ready("b").revision(4), pod("c").revision(4)];
    assert_eq!(successor(Policy::default(), members), "b1");
}

#[test]
fn ties_are_decided_by_creation_then_name_then_uid() {
    let longest = policy(|policy| policy.strategy = Strategy::LongestReady);
    assert_eq!(successor(longest, [ready("b").created(5), ready("a").created(6)]), "b1");
    assert_eq!(successor(Policy::default(), [ready("b").created(5), ready("a").created(5)]), "a1");
    let namesakes = [ready("a").created(5).uid("a9"), ready("a").created(5).uid("a2")];
    assert_eq!(successor(Policy::default(), namesakes), "a2");
}
