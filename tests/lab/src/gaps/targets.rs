//! What the figures have to reach.

use serde::Serialize;

use super::figures::Figures;
use super::scenario::Scenario;
use super::summary::{Spread, Summary, count};
use crate::cluster::Proxy;

/// What losing a replica of the controller may add: it waits for the other for 100 ms, and writes.
const REPLICA_MS_MOST: f64 = 150.0;

/// From a loss that the API server tells just after its return to the slice.
const RETURN_MS_MOST: f64 = 1_000.0;

/// One node of three: two are more than may look dead at once, and hold.
const NODE_LOSSES: [Scenario; 2] = [Scenario::NodeFrozen, Scenario::NodeCut];

/// The controller's patience with a node's Lease, 25 s with kubelet's defaults, and 1.5 s.
const NODE_MS_MOST: f64 = 26_500.0;

/// A figure beside what it may be at most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// In words.
    pub what: String,
    /// What was measured.
    pub measured: f64,
    /// What is allowed.
    pub most: f64,
    /// Whether it is kept.
    pub met: bool,
}

impl Target {
    fn new(what: impl Into<String>, measured: f64, most: f64) -> Self {
        Self { what: what.into(), measured, most, met: measured <= most }
    }
}

/// All that can be told from these scenarios.
#[must_use]
pub fn targets(proxy: Proxy, watch_nodes: bool, summaries: &[Summary]) -> Vec<Target> {
    let find = |scenario| summaries.iter().find(|one| one.scenario == scenario);
    let mut targets = Vec::new();
    for planned in summaries.iter().filter(|one| one.scenario.is_planned() && one.scenario.limit().is_some())
    {
        let failed = |one: &Summary| count(one.total(|figures| figures.failed)) / count(one.rounds.max(1));
        let limit = if proxy == Proxy::Nftables { None } else { find(Scenario::PutDelete) };
        let what = format!("{}: failed connections, a round", planned.scenario.name());
        targets.push(Target::new(what, failed(planned), limit.map_or(0.0, failed)));
    }
    if let Some(over) = find(Scenario::Kill).and_then(|kill| kill.over_limit) {
        targets.push(Target::new("kill: reaction over that of the PUT, p50", over.p50, 1.2));
        targets.push(Target::new("kill: reaction over that of the PUT, p99", over.p99, 1.5));
    }
    let reaction = |scenario| find(scenario).and_then(|one| one.reaction);
    if let Some((with, without)) = reaction(Scenario::KillReplica).zip(reaction(Scenario::Kill)) {
        let over = |quantile: fn(&Spread) -> f64| quantile(&with) - quantile(&without);
        let quantiles =
            [("p50", over(|one| one.p50)), ("p99", over(|one| one.p99)), ("max", over(|one| one.max))];
        for (name, over) in quantiles {
            let what = format!("kill-replica: reaction over that of kill in ms, {name}");
            targets.push(Target::new(what, over, REPLICA_MS_MOST));
        }
    }
    for scenario in [Scenario::ApiDown, Scenario::ApiDownHang] {
        if let Some(controller) = find(scenario).and_then(|one| one.controller) {
            let what = format!("{}: controller in ms, max", scenario.name());
            targets.push(Target::new(what, controller.max, RETURN_MS_MOST));
        }
    }
    let nodes = summaries.iter().filter(|one| watch_nodes && NODE_LOSSES.contains(&one.scenario));
    for summary in nodes {
        let moved = Spread::of(summary.figures.iter().filter_map(|figures| figures.moved));
        let what = format!("{}: from the fault to the slice in ms, max", summary.scenario.name());
        targets.extend(moved.map(|moved| Target::new(what, moved.max, NODE_MS_MOST)));
    }
    if let Some(bad_lines) = find(Scenario::BadLines).filter(|_| watch_nodes) {
        let moves = count(bad_lines.total(|figures| figures.moves));
        targets.push(Target::new("bad-lines: changes of leader", moves, 0.0));
    }
    // These two tell of all rounds up to theirs.
    let known = |value: fn(&Figures) -> usize| {
        count(summaries.iter().flat_map(|one| &one.figures).map(value).max().unwrap_or(0))
    };
    targets.push(Target::new("revisions with two ready endpoints", known(|one| one.two_ready), 0.0));
    targets.push(Target::new("terms with two leaders", known(|one| one.forks), 0.0));
    let foreign = summaries.iter().map(|one| one.total(|figures| figures.foreign)).sum();
    targets.push(Target::new("answers of pods that never led", count(foreign), 0.0));
    let broken = count(summaries.iter().map(|one| one.broken.len()).sum());
    targets.push(Target::new("rounds that did not come about", broken, 0.0));
    targets
}

#[cfg(test)]
mod tests {
    use super::super::summary::compare;
    use super::*;

    fn summary(scenario: Scenario, failed: usize, reaction: f64) -> Summary {
        let figures = Figures { failed, reaction: Some(reaction), ..Figures::default() };
        Summary::of(scenario, vec![figures], Vec::new())
    }

    /// What is missed, by the first word of each.
    fn missed(proxy: Proxy, summaries: &mut [Summary]) -> Vec<String> {
        compare(summaries);
        let missed = targets(proxy, true, summaries).into_iter().filter(|target| !target.met);
        missed.map(|target| target.what.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn planned_moves_may_fail_as_many_connections_as_the_put_does_with_iptables_alone() {
        let played = || [summary(Scenario::PutDelete, 2, 50.0), summary(Scenario::Drain, 2, 50.0)];
        assert_eq!(missed(Proxy::Nftables, &mut played()), ["drain"]);
        assert!(missed(Proxy::Iptables, &mut played()).is_empty());
    }

    #[test]
    fn a_loss_is_to_take_little_more_than_the_put_and_a_replica_little_more_than_that() {
        let played = |kill, replica| {
            [
                summary(Scenario::PutKill, 9, 100.0),
                summary(Scenario::Kill, 9, kill),
                summary(Scenario::KillReplica, 9, replica),
            ]
        };
        assert!(missed(Proxy::Nftables, &mut played(119.0, 260.0)).is_empty());
        // At the median, and not yet at p99.
        assert_eq!(missed(Proxy::Nftables, &mut played(130.0, 270.0)), ["kill"]);
        assert_eq!(missed(Proxy::Nftables, &mut played(100.0, 260.0)).len(), 3);
    }

    #[test]
    fn the_loss_of_a_node_is_to_be_acted_on_when_patience_is_over() {
        let moved = |scenario, ms| {
            let figures = Figures { moved: Some(ms), ..Figures::default() };
            Summary::of(scenario, vec![figures], Vec::new())
        };
        let mut played = [
            moved(Scenario::NodeFrozen, 26_000.0),
            moved(Scenario::NodeCut, 27_000.0),
            moved(Scenario::TwoNodes, 50_000.0),
        ];
        assert_eq!(missed(Proxy::Nftables, &mut played), ["node-cut"]);
        assert!(targets(Proxy::Nftables, false, &played).iter().all(|target| target.met));
    }

    #[test]
    fn bad_lines_alone_are_to_replace_nobody() {
        let played = |moves| {
            let figures = Figures { moves, ..Figures::default() };
            [Summary::of(Scenario::BadLines, vec![figures], Vec::new())]
        };
        assert!(missed(Proxy::Nftables, &mut played(0)).is_empty());
        assert_eq!(missed(Proxy::Nftables, &mut played(1)), ["bad-lines"]);
    }

    #[test]
    fn two_leaders_and_rounds_that_did_not_come_about_are_never_right() {
        let figures = Figures { two_ready: 1, forks: 1, foreign: 1, ..Figures::default() };
        let mut played = [Summary::of(Scenario::Hang, vec![figures], vec!["no".into()])];
        assert_eq!(missed(Proxy::Nftables, &mut played).len(), 4);
    }
}
