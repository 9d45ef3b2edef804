//! What an election says of itself when it is asked, between two steps.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher as _};
use std::num::NonZeroU8;

use machine::{
    Effect, Election, Event, MaxSwitches, Member, Micros, Mirror, Notice, OrderId, Outcome, Pod, Policy,
    Reason, Scope, Shown, Timestamp, Wanted,
};

use crate::support::{Facts, Run, START, pod, policy, secs, slice};

fn run() -> Run {
    Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()])
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn acknowledged_is_what_the_server_has_answered() {
    let mut run = run();
    assert!(run.election.is_acknowledged());
    run.gone("a");
    assert!(!run.election.is_acknowledged());
    run.published();
    assert!(run.election.is_acknowledged());
}

#[test]
fn settled_is_no_order_open() {
    let mut run = run();
    run.requested("b").is("Elected a@7", &["confirm b"]);
    assert!(run.election.is_acknowledged() && !run.election.is_settled());
    run.confirmed_absent().rests();
    run.gone("a").publish_failed(Outcome::Unreachable);
    assert!(!run.election.is_acknowledged() && !run.election.is_settled());
}

#[test]
fn served_is_a_ready_pod_published() {
    let mut run = run();
    assert_eq!(run.election.is_served(), Some(true));
    run.unready(pod("b"));
    run.unready(pod("a")).published();
    assert_eq!((run.state().as_str(), run.election.is_served()), ("Leaderless", Some(false)));
    run.slice_deleted();
    assert_eq!(run.election.is_served(), Some(false));
    run.publish_failed(Outcome::Unknown);
    assert_eq!(run.election.is_served(), None, "what is published is not known");
}

#[test]
fn served_by_nobody_is_said_until_the_service_opts_out() {
    let mut run = run();
    run.tell(Event::OptedOut);
    assert_eq!(run.election.is_served(), None);
    run.removed();
    assert_eq!(run.election.is_served(), None);
}

#[test]
fn fit_is_whoever_leads_or_is_to_lead() {
    let mut run = run();
    assert!(run.election.is_leader_fit());
    run.gone("a");
    assert!(run.election.is_leader_fit(), "b is chosen");
    run.gone("b");
    assert!(!run.election.is_leader_fit());
}

#[test]
fn eligible_are_those_who_could_be_chosen_now() {
    let mut run = Run::led(policy(|policy| policy.min_ready_duration = secs(10)), [pod("a").ready()]);
    assert_eq!(run.election.eligible(), 1);
    let now = run.now;
    run.ready(pod("b").ready_since(now));
    assert_eq!(run.election.eligible(), 1);
    run.wait(10_000).tell(Event::DeadlineReached);
    assert_eq!(run.election.eligible(), 2);
    run.unready(pod("b"));
    run.gone("a");
    assert_eq!(run.election.eligible(), 0);
}

#[test]
fn paused_is_until_it_is_resumed() {
    let mut run = run();
    assert!(!run.election.is_paused());
    run.paused();
    assert!(run.election.is_paused());
    run.tell(Event::Resumed);
    assert!(!run.election.is_paused());
}

#[test]
fn the_policy_is_the_last_one_told() {
    let patient = policy(|policy| policy.failover_min_delay = secs(5));
    let mut run = Run::new(patient.clone());
    assert_eq!(*run.election.policy(), patient);
    run.policy(Policy::default());
    assert_eq!(*run.election.policy(), Policy::default());
}

#[test]
fn since_is_when_the_state_was_entered() {
    let mut run = run();
    run.wait(1_000).gone("a");
    assert_eq!(run.election.state().since(), START.plus(secs(1)));
    run.wait(1_000).published();
    assert_eq!(run.election.state().since(), START.plus(secs(2)));
    run.wait(1_000).ready(pod("c"));
    assert_eq!(run.election.state().since(), START.plus(secs(2)));
}

#[test]
fn equal_elections_have_their_time_state_and_facts_in_common() {
    let one = run().election;
    assert_eq!(one, run().election);
    let mut later = run();
    later.wait(1).tell(Event::DeadlineReached);
    assert_ne!(one, later.election, "the time differs");
    let mut other = run();
    other.paused();
    assert_ne!(one, other.election, "a fact differs");
}

/// The model checker goes by it: situations that hash alike are explored once.
#[test]
fn the_hash_tells_elections_and_pods_apart() {
    let mut other = run();
    assert_eq!(hash(&run().election), hash(&other.election));
    other.paused();
    assert_ne!(hash(&run().election), hash(&other.election));
    assert_eq!(Pod::new("a", "1"), Pod::new("renamed", "1"), "by UID");
    assert_eq!(hash(&Pod::new("a", "1")), hash(&Pod::new("renamed", "1")));
    assert_ne!(hash(&Pod::new("a", "1")), hash(&Pod::new("a", "2")));
}

#[test]
fn debug_shows_the_state_and_the_facts() {
    let shown = format!("{:?}", run().election);
    assert!(shown.contains("Elected") && shown.contains("a/a1") && shown.contains("policy"), "{shown}");
}

/// It counts what is allocated: a row for each member, graves and questions as there are.
#[test]
fn the_footprint_grows_with_members_graves_and_questions() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    let one = run.election.footprint();
    assert!(one > size_of::<Election>() + size_of::<Member>() + size_of::<Wanted>() + size_of::<Micros>());
    assert!(one < size_of::<Election>() + 2 * size_of::<Member>() + 1_000);
    run.ready(pod("b"));
    let row = run.election.footprint() - one;
    assert!((size_of::<Member>()..2 * size_of::<Member>()).contains(&row), "{row}");
    run.ready(pod("c"));
    assert_eq!(run.election.footprint(), one + 2 * row);
    run.observed(slice("d", 8), Facts::Older);
    let asking = run.election.footprint() - one - 2 * row;
    assert!((size_of::<(OrderId, Pod)>()..200).contains(&asking), "{asking}");
    run.confirmed_absent();
    let buried = run.election.footprint() - one - 2 * row - asking;
    assert!((size_of::<Pod>()..200).contains(&buried), "{buried}");
}

/// The stranded are pods of the whole cluster, and changes are remembered only where they are limited.
#[test]
fn the_footprint_grows_with_the_stranded_and_with_changes() {
    let mut run = run();
    let before = run.election.footprint();
    run.tell(Event::NodeLost { pod: pod("elsewhere").id() });
    let stranded = run.election.footprint() - before;
    assert!((size_of::<Pod>()..200).contains(&stranded), "{stranded}");
    run.policy(policy(|policy| {
        policy.max_switches = Some(MaxSwitches { count: NonZeroU8::MIN, window: secs(60) });
    }));
    let limited = run.election.footprint() - before - stranded;
    assert!((size_of::<Pod>()..200).contains(&limited), "{limited}");
    run.unready(pod("a")).published();
    let changed = run.election.footprint() - before - stranded - limited;
    assert!((size_of::<Timestamp>()..100).contains(&changed), "{changed}");
}

#[test]
fn a_member_is_as_it_was_told_last() {
    let mut run = run();
    let is_ready = |run: &Run, name: &str| run.election.member(&pod(name).id()).map(|member| member.ready);
    assert_eq!(is_ready(&run, "b"), Some(true));
    run.unready(pod("b"));
    assert_eq!(is_ready(&run, "b"), Some(false));
    run.gone("b");
    assert_eq!(is_ready(&run, "b"), None);
}

#[test]
fn every_order_tells_its_id() {
    let (id, pod) = (OrderId(5), Pod::new("a", "1"));
    let wanted = Wanted { leader: None, epoch: None, shown: Shown::Nobody, handled: None };
    let mirror = Mirror { leader: None, epoch: None, switched: None, ours: false, handled: None };
    let notice = Notice { reason: Reason::Paused, cause: None, pod: None, previous: None, detail: None };
    let orders = [
        Effect::Publish { id, wanted, based_on: None },
        Effect::Read { id },
        Effect::Confirm { id, pod },
        Effect::Mirror { id, mirror },
        Effect::Notify { id, notice },
        Effect::Remove { id, scope: Scope::Everything },
    ];
    assert!(orders.iter().all(|order| order.id() == id));
}

/// A log is mostly members, and most of them are plain.
#[test]
fn a_member_is_put_into_words_without_what_goes_without_saying() {
    let plain = serde_json::to_string(&pod("a").ready().0).expect("words");
    for rare in ["terminating", "excluded", "priority", "revision"] {
        assert!(!plain.contains(rare), "{plain}");
    }
    let special = pod("a").terminating().excluded().priority(3).revision(4).0;
    let words = serde_json::to_string(&special).expect("words");
    assert_eq!(serde_json::from_str::<Member>(&words).expect("a member"), special);
}

#[test]
fn what_is_no_pod_is_refused_with_what_was_expected() {
    let refused = serde_json::from_str::<Pod>("7").expect_err("a number").to_string();
    assert!(refused.contains("expected a pod as name/uid"), "{refused}");
    assert_eq!(serde_json::from_str::<Pod>("\"a/1\"").expect("a pod").name(), "a");
}
