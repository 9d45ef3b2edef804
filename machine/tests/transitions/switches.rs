//! After too many changes of leader, moves that are only a preference wait. Nothing else does.

use std::num::NonZeroU8;

use machine::{Cause, Event, Failback, MaxSwitches, Micros, Outcome, Policy, Site, Standing, Timestamp};

use crate::support::{Facts, PodBuilder, Run, pod, policy, secs, slice};

/// Failing back at once, and leaving cordoned nodes; after `count` changes within a minute only later.
fn limited(count: u8) -> Policy {
    policy(|policy| {
        policy.failback = Failback::After(Micros::ZERO);
        policy.leave_cordoned = true;
        policy.max_switches = limit(count);
    })
}

fn limit(count: u8) -> Option<MaxSwitches> {
    NonZeroU8::new(count).map(|count| MaxSwitches { count, window: secs(60) })
}

fn led<const N: usize>(count: u8, pods: [PodBuilder; N]) -> Run {
    Run::led(limited(count), pods)
}

/// The leader is lost, and another takes over.
#[track_caller]
fn follows(run: &mut Run, lost: &str, next: &str) {
    run.unready(pod(lost));
    assert!(run.state().starts_with(&format!("Reelecting {next}")), "{}", run.state());
    run.published();
}

/// Who waits, and for how many milliseconds.
fn deferred(run: &Run) -> Option<(String, u64)> {
    let (pod, until) = run.election.deferred()?;
    Some((pod.name().to_owned(), until.since(run.now).0 / 1_000))
}

#[test]
fn switches_are_not_limited_by_default() {
    let at_once = policy(|policy| policy.failback = Failback::After(Micros::ZERO));
    let mut run = Run::led(at_once, [pod("a").ready(), pod("b").ready()]);
    for term in 0..20 {
        follows(&mut run, "a", "b");
        run.ready(pod("a")).is(&format!("Elected b@{}", 8 + 2 * term), &["confirm a"]);
        run.confirmed(pod("a").ready()).published();
    }
}

#[test]
fn switches_that_fill_the_window_put_a_failback_off_until_there_is_room() {
    let mut run = led(2, [pod("a").ready(), pod("b").ready()]);
    follows(&mut run, "a", "b");
    run.wait(10_000).ready(pod("a")).is("Elected b@8", &["confirm a"]);
    run.confirmed(pod("a").ready())
        .published()
        .is("Elected a@9", &["tell LeaderChanged failback a after b", "mirror a@9"]);
    // The third change is a loss: it counts, and the first one no longer.
    run.wait(10_000);
    follows(&mut run, "a", "b");
    run.wait(10_000).ready(pod("a")).is("Elected b@10", &[]);
    assert_eq!(deferred(&run), Some(("a".to_owned(), 40_000)));
    run.wakes_after(40_000).is("Elected b@10", &["confirm a"]);
    assert_eq!(deferred(&run), None);
    run.confirmed(pod("a").ready()).is("Reelecting a@11 by failback", &["publish a@11 .1"]);
}

#[test]
fn switches_that_fill_the_window_do_not_keep_a_lost_leader() {
    let mut run = led(1, [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    follows(&mut run, "a", "b");
    run.unready(pod("b")).is("Reelecting c@9 by unready", &["publish c@9 .3"]).published();
    run.ready(pod("a")).is("Elected c@9", &[]);
    run.terminating(pod("c").ready()).is("Reelecting a@10 by terminating", &["publish a@10 .1"]).published();
    run.ready(pod("b"));
    run.gone("a").is("Reelecting b@11 by gone", &["publish b@11 .2"]).published();
    run.ready(pod("d"));
    run.changed(pod("b").ready().excluded()).is("Reelecting d@12 by excluded", &["publish d@12 .4"]);
}

#[test]
fn switches_that_fill_the_window_do_not_keep_the_leader_on_a_lost_node() {
    let mut run = led(1, [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    follows(&mut run, "a", "b");
    run.tell(Event::NodeLost { pod: pod("b").id() }).is("Reelecting c@9 by node_lost", &["publish c@9 .3"]);
}

#[test]
fn switches_that_fill_the_window_do_not_stop_a_person() {
    let mut run = led(1, [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    follows(&mut run, "a", "b");
    run.requested("c").is("Elected b@8", &["confirm c"]);
    run.confirmed(pod("c").ready()).is("Reelecting c@9 by switchover", &["publish c@9 .3 handled c"]);
    // That one counts as well.
    run.published().wait(59_999).ready(pod("a")).is("Elected c@9", &[]);
    run.wakes_after(1).is("Elected c@9", &["confirm a"]);
}

#[test]
fn switches_that_fill_the_window_keep_the_leader_on_a_cordoned_node() {
    let mut run = led(1, [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    follows(&mut run, "a", "b");
    run.wait(20_000).changed(pod("b").ready().site(Site::Cordoned)).is("Elected b@8", &[]);
    run.wakes_after(40_000).is("Elected b@8", &["confirm c"]);
    run.confirmed(pod("c").ready()).by(Cause::Cordoned);
}

#[test]
fn switches_within_the_window_are_those_of_all_replicas() {
    let mut run = led(2, [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.tell(Event::LeaseLost);
    run.unready(pod("a"));
    run.observed(slice("b", 8), Facts::Newer).is("Elected b@8", &[]);
    run.publish_failed(Outcome::Superseded);
    run.wait(1_000).observed(slice("c", 9), Facts::Newer);
    run.ready(pod("a")).is("Elected c@9", &[]).rests();
    run.tell(Event::LeaseHeld);
    assert_eq!(deferred(&run), Some(("a".to_owned(), 59_000)));
}

#[test]
fn switches_are_not_counted_while_the_same_pod_leads_again() {
    let mut run = led(1, [pod("b").ready(), pod("a")]);
    run.unready(pod("b")).is("Leaderless", &["publish nobody@7"]).published();
    run.ready(pod("b")).published().is("Elected b@8", &["tell LeaderRecovered recovery b", "mirror b@8"]);
    run.ready(pod("a")).is("Elected b@8", &["confirm a"]);
}

#[test]
fn switches_that_did_not_come_about_are_not_counted() {
    let mut run = led(1, [pod("b").ready(), pod("a")]);
    run.ready(pod("a")).confirmed(pod("a").ready());
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    assert!(run.state().starts_with("Elected b"), "{}", run.state());
    run.changed(pod("a").ready().address(9)).is("Elected b@7", &["confirm a"]);
}

#[test]
fn switches_before_the_start_are_the_one_that_the_leader_service_tells() {
    let since = |run: &Run, secs: u64| Some(Timestamp(run.now.0 - Micros::from_secs(secs).0));
    for (ago, wait) in [(20, Some(40_000)), (60, None)] {
        let mut run = Run::new(limited(1));
        let switched = since(&run, ago);
        begin(&mut run, switched);
        assert_eq!(deferred(&run).map(|(_, wait)| wait), wait);
    }
    // One that is ahead of our clock was just now; and to a limit of two it is only one.
    let mut run = Run::new(limited(1));
    let switched = Some(run.now.plus(secs(3_600)));
    begin(&mut run, switched);
    assert_eq!(deferred(&run), Some(("a".to_owned(), 60_000)));
    let mut run = Run::new(limited(2));
    let switched = since(&run, 1);
    begin(&mut run, switched).wakes_after(0).is("Elected b@7", &["confirm a"]);
}

fn begin(run: &mut Run, switched: Option<Timestamp>) -> &mut Run {
    let members = vec![pod("a").ready().0, pod("b").ready().0];
    let standing = Standing { switched, ..run.standing(Some(slice("b", 7))) };
    run.tell(Event::Synced { members, standing })
}

#[test]
fn switches_told_once_more_are_not_counted_again() {
    let mut run = led(2, [pod("a").ready(), pod("b").ready()]);
    follows(&mut run, "a", "b");
    let switched = Some(run.now);
    begin(&mut run, switched);
    assert_eq!(deferred(&run), None);
}

#[test]
fn switches_are_counted_from_when_the_policy_limits_them() {
    let unlimited = || policy(|policy| policy.failback = Failback::After(Micros::ZERO));
    let mut run = Run::led(unlimited(), [pod("a").ready(), pod("b").ready()]);
    follows(&mut run, "a", "b");
    run.policy(limited(1)).ready(pod("a")).is("Elected b@8", &["confirm a"]);
    run.confirmed(pod("a").ready()).published();
    follows(&mut run, "a", "b");
    run.ready(pod("a")).is("Elected b@10", &[]);
    run.policy(limited(2));
    assert_eq!(deferred(&run), None, "one is remembered");
    run.policy(limited(1));
    assert_eq!(deferred(&run), Some(("a".to_owned(), 60_000)));
    run.policy(unlimited()).is("Elected b@10", &[]);
    assert_eq!(deferred(&run), None);
    run.policy(limited(1));
    assert_eq!(deferred(&run), None, "all is forgotten");
}

#[test]
fn switches_are_counted_from_the_leader_whom_the_limit_found() {
    let unlimited = policy(|policy| policy.failback = Failback::After(Micros::ZERO));
    let mut run = Run::led(unlimited, [pod("a").ready(), pod("b").ready()]);
    run.policy(limited(1));
    follows(&mut run, "a", "b");
    run.ready(pod("a")).is("Elected b@8", &[]);
    assert_eq!(deferred(&run), Some(("a".to_owned(), 60_000)));
}

#[test]
fn switches_are_remembered_in_words() {
    let mut run = led(1, [pod("a").ready(), pod("b").ready()]);
    follows(&mut run, "a", "b");
    let text = serde_json::to_string(&run.election).expect("an election as text");
    run.election = serde_json::from_str(&text).expect("an election from text");
    run.ready(pod("a")).is("Elected b@8", &[]);
    run.wakes_after(60_000).is("Elected b@8", &["confirm a"]);
}

#[test]
fn switches_make_no_difference_to_the_words_of_an_election_without_a_limit() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    follows(&mut run, "a", "b");
    let text = serde_json::to_string(&run.election).expect("an election as text");
    assert!(!text.contains("changes") && !text.contains("max_switches"), "{text}");
}
