//! What another policy would have changed.

use std::path::PathBuf;

use machine::Micros;
use zen_lead::replay::{self, Task};

use crate::corpus::logs;
use crate::stories;
use crate::story::Story;

/// The lines about another policy, in words.
fn told(story: &Story, overrides: &[&str]) -> Vec<String> {
    let directory = lab::Directory::create().unwrap();
    let file = directory.path().join("a.jsonl");
    std::fs::write(&file, story.log()).unwrap();
    told_of(file, overrides)
}

/// The same for a log of the real control plane, less its times, which differ from recording to recording.
fn changes_of(name: &str, overrides: &[&str]) -> Vec<String> {
    let lines = told_of(logs().join(format!("real-{name}.jsonl")), overrides);
    let changes = lines.iter().map(|line| {
        let (before, after) = line.split_once(" -> ").unwrap();
        format!("{before} -> {}", after.split(' ').next().unwrap())
    });
    changes.filter(|line| !line.ends_with(" 0 -> 0")).collect()
}

fn told_of(file: PathBuf, overrides: &[&str]) -> Vec<String> {
    let overrides = overrides.iter().map(|text| text.parse().unwrap()).collect();
    let task = Task { files: vec![file], overrides, html: None, quiet: true, budget: Micros::from_secs(5) };
    let mut out = Vec::new();
    assert!(!replay::replay(&task, &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with("With ")).skip(2);
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The same policy costs the same: the API server that is played is the one of the log.
#[test]
fn the_same_policy_costs_the_same() {
    for (name, story) in stories::all() {
        // What others write instead of us, and answers that are lost, are not played.
        if ["another-replica-was-first", "answer-lost", "endpoint-refused", "opt-out-mid-failover"]
            .contains(&name)
        {
            continue;
        }
        let lines = told(&story, &["prefer-new-revision=true"]);
        let service = lines.first().unwrap();
        let (before, after) = (service.split(" -> ").next().unwrap(), service.split(" -> ").nth(1).unwrap());
        let (switches, outage) = (before.rsplit(' ').next().unwrap(), after.split_once(' ').unwrap().1);
        assert_eq!(*service, format!("shop/orders {switches} -> {switches} {outage} -> {outage}"), "{name}");
    }
}

#[test]
fn patience_spares_a_switch_and_costs_time() {
    let lines = told(&stories::leader_not_ready(), &["failover-min-delay=5s"]);
    assert_eq!(lines, ["shop/orders 1 -> 0 1.8 ms -> 4.00 s", "unready 1 -> 0 1.8 ms -> 4.00 s"]);
}

#[test]
fn without_patience_a_flap_is_a_switch() {
    let lines = told(&stories::flapping(), &["failover-min-delay=0s"]);
    assert_eq!(lines[0], "shop/orders 1 -> 1 7.00 s -> 1.8 ms");
}

#[test]
fn failback_adds_switches_with_their_own_cause() {
    let lines = told(&stories::leader_not_ready(), &["failback=immediate"]);
    assert_eq!(lines[0], "shop/orders 1 -> 2 1.8 ms -> 1.8 ms");
    assert!(lines.contains(&"failback 0 -> 1 0 us -> 0 us".to_owned()), "{lines:?}");
}

/// Orders that were open when the log starts are answered as they were.
#[test]
fn a_log_that_starts_mid_failover_goes_on() {
    let story = stories::leader_not_ready();
    let ordered = story
        .records
        .iter()
        .find(|record| {
            record.step.transition.as_ref().is_some_and(|moved| moved.to == machine::Phase::Reelecting)
        })
        .unwrap();
    let lines = told(&story.from(ordered.seq), &["failback=immediate"]);
    assert_eq!(lines[0], "shop/orders 0 -> 1 0 us -> 0 us", "{lines:?}");
}

#[test]
fn in_a_real_rollout_the_leader_would_have_moved_once_a_pod() {
    let changes = changes_of("rollout", &["prefer-new-revision=false"]);
    assert!(changes[0].ends_with("/orders 1 -> 2"), "{changes:?}");
    assert_eq!(changes[1..], ["terminating 1 -> 2"]);
}

#[test]
fn in_a_real_failover_patience_would_have_kept_the_leader() {
    let changes = changes_of("unready", &["failover-min-delay=1m"]);
    assert!(changes[0].ends_with("/orders 1 -> 0"), "{changes:?}");
    assert_eq!(changes[1..], ["unready 1 -> 0"]);
}

#[test]
fn in_a_real_failback_the_leader_would_have_stayed_away() {
    let changes = changes_of("failback", &["failback=never"]);
    assert!(changes[0].ends_with("/orders 2 -> 1"), "{changes:?}");
    assert_eq!(changes[1..], ["unready 1 -> 1", "failback 1 -> 0"]);
}

#[test]
fn in_a_real_failback_the_leader_would_have_waited_to_come_back() {
    for (limit, changes) in [
        ("max-switches=1/10m", ["unready 1 -> 1", "failback 1 -> 0"]),
        ("max-switches=2/10m", ["unready 1 -> 1", "failback 1 -> 1"]),
    ] {
        assert_eq!(changes_of("failback", &[limit])[1..], changes, "{limit}");
    }
}

const DECIDES_FOR_ALL: &str = "terms of other replicas, left out: 1; this one decides for all";

/// What another replica did by the recorded policy does not unseat the leader who stays by the other one.
#[test]
fn what_another_replica_decided_is_no_fact() {
    let lines = told(&stories::another_replica(), &["failover-min-delay=5s"]);
    assert!(lines[0].starts_with("shop/orders 1 -> 0 "), "{lines:?}");
    assert_eq!(lines.last().unwrap(), DECIDES_FOR_ALL);
}

#[test]
fn what_is_published_when_all_is_listed_anew_is_no_fact() {
    let mut story = stories::another_replica();
    story.listed_anew().wait(500);
    let lines = told(&story, &["failover-min-delay=5s"]);
    assert!(lines[0].starts_with("shop/orders 1 -> 0 "), "{lines:?}");
    assert_eq!(lines.last().unwrap(), DECIDES_FOR_ALL, "found once more, it is the same term");
}

/// Only the Lease's holder would have handed back.
#[test]
fn the_log_of_a_replica_without_the_lease_tells_what_all_would_have_done() {
    let mut story = stories::another_replica_with_the_lease();
    story.ready(0).wait(1_000);
    let lines = told(&story, &["failback=immediate"]);
    assert!(lines[0].starts_with("shop/orders 1 -> 2 "), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("failback 0 -> 1 ")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), DECIDES_FOR_ALL);
}
