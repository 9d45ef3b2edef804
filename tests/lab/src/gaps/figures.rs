//! What a round says, in numbers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ask::Failure;
use super::client::Attempt;
use super::recorder::{PodState, Revision};
use super::round::Round;

/// A round, evaluated. Times are milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// New connections that were asked for from the fault on.
    pub connections: usize,
    /// Those that failed.
    pub failed: usize,
    /// The same, by how they failed.
    pub failures: BTreeMap<Failure, usize>,
    /// Requests on the connection that is kept that failed.
    pub failed_kept: usize,
    /// Datagrams without an answer.
    pub failed_datagrams: usize,
    /// The longest time between two requests for a connection, one after the other, that were answered.
    pub gap: Option<f64>,
    /// From the fault to the first new connection that failed.
    pub fails_after: Option<f64>,
    /// From the first new connection that failed to the last.
    pub failing: Option<f64>,
    /// From the fault to when the API server told of it.
    pub detection: Option<f64>,
    /// From then to the slice that leads elsewhere.
    pub controller: Option<f64>,
    /// From that to the last new connection that failed or was answered by who led before.
    pub propagation: Option<f64>,
    /// From the fault to the slice, by whatever means the controller has learnt of it.
    pub moved: Option<f64>,
    /// From when the API server told of the fault to that same connection: what can be compared with a client's PUT.
    pub reaction: Option<f64>,
    /// Whether another slice had changed within kube-proxy's `minSyncPeriod` before this one led elsewhere.
    pub behind: bool,
    /// New connections that were answered by a pod that led before, and did not when they were sent or any more until
    /// they were answered.
    pub late: usize,
    /// New connections that were answered by a pod that has not led at all since the clients began to ask.
    pub foreign: usize,
    /// Revisions of the slice, from the beginning of the recording on, with more than one endpoint that is ready.
    pub two_ready: usize,
    /// Terms of leadership with more than one leader, likewise.
    pub forks: usize,
    /// How often the slice led elsewhere than before.
    pub moves: usize,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Failed(Failure),
    Late,
    Foreign,
}

impl Figures {
    /// Evaluates a round.
    #[must_use]
    pub fn of(round: &Round) -> Self {
        let revisions: Vec<&Revision> = round.revisions().collect();
        let [connections, kept, datagrams] = &round.attempts;
        // Who led in an earlier round is not to be asked in this one.
        let begun = connections.first().map_or(round.at, |attempt| attempt.sent);
        let before = revisions.iter().rposition(|revision| revision.at <= begun).unwrap_or(0);
        let in_force = revisions.get(before..).unwrap_or_default();
        let since = |attempts: &[Attempt]| -> Vec<Attempt> {
            attempts.iter().filter(|attempt| attempt.sent >= round.at).cloned().collect()
        };
        let failed = |attempts: &[Attempt]| since(attempts).iter().filter(|one| one.answer.is_err()).count();
        let asked = since(connections);
        let verdicts: Vec<(Instant, Verdict)> =
            asked.iter().map(|attempt| (attempt.sent, verdict(attempt, in_force))).collect();
        let count =
            |wanted: fn(Verdict) -> bool| verdicts.iter().filter(|(_, verdict)| wanted(*verdict)).count();
        let mut failures = BTreeMap::new();
        for (_, verdict) in &verdicts {
            if let Verdict::Failed(failure) = verdict {
                *failures.entry(*failure).or_insert(0) += 1;
            }
        }
        let failing: Vec<Instant> = sent(&verdicts, |verdict| matches!(verdict, Verdict::Failed(_)));
        let last_bad = sent(&verdicts, |verdict| verdict != Verdict::Good).last().copied();

        let told = told(round);
        let elsewhere = |revision: &&&Revision| {
            revision.at >= round.at && revision.asked().all(|uid| uid != round.leader)
        };
        // While nobody can be asked, connections fail for another reason, and the slice has nowhere to lead.
        let all_led =
            revisions.iter().filter(|one| one.at >= round.at).all(|one| one.asked().next().is_some());
        let moved = revisions.iter().find(elsewhere).filter(|_| all_led).map(|revision| revision.at);
        let reached = moved.map(|moved| last_bad.map_or(moved, |last| last.max(moved)));
        Self {
            connections: asked.len(),
            failed: failing.len(),
            failures,
            failed_kept: failed(kept),
            failed_datagrams: failed(datagrams),
            gap: gap(connections, round.at),
            fails_after: between(Some(round.at), failing.first().copied()),
            failing: between(failing.first().copied(), failing.last().copied()),
            detection: between(Some(round.at), told),
            controller: between(told, moved),
            propagation: between(moved, reached),
            moved: between(Some(round.at), moved),
            reaction: between(told, reached),
            behind: moved.is_some_and(|moved| is_behind(round, moved)),
            late: count(|verdict| verdict == Verdict::Late),
            foreign: count(|verdict| verdict == Verdict::Foreign),
            two_ready: revisions.iter().filter(|revision| ready(revision) > 1).count(),
            forks: forks(&revisions),
            moves: moves(&revisions, round.at),
        }
    }
}

fn sent(verdicts: &[(Instant, Verdict)], wanted: impl Fn(Verdict) -> bool) -> Vec<Instant> {
    verdicts.iter().filter(|(_, verdict)| wanted(*verdict)).map(|(sent, _)| *sent).collect()
}

fn verdict(attempt: &Attempt, revisions: &[&Revision]) -> Verdict {
    let uid = match &attempt.answer {
        Ok(uid) => uid,
        Err(failure) => return Verdict::Failed(*failure),
    };
    let asks = |revision: &&&Revision| revision.asked().any(|asked| asked == uid);
    let Some(first) = revisions.iter().find(asks) else { return Verdict::Foreign };
    // kube-proxy may hear of a leader before we do.
    if first.at > attempt.done {
        return Verdict::Good;
    }
    let before = revisions.iter().rposition(|revision| revision.at <= attempt.sent).unwrap_or(0);
    let mut in_force = revisions[before..].iter().take_while(|revision| revision.at <= attempt.done);
    if in_force.any(|revision| asks(&revision)) { Verdict::Good } else { Verdict::Late }
}

/// When the API server first told that the leader is not what it was.
fn told(round: &Round) -> Option<Instant> {
    if round.told {
        return Some(round.at);
    }
    let lost = |fact: &&super::recorder::PodFact| {
        fact.at >= round.at && fact.uid == round.leader && fact.is != PodState::Ready
    };
    round.history.pods.iter().find(lost).map(|fact| fact.at)
}

/// kube-proxy programs once in so long, however many slices change (its default `minSyncPeriod`).
const PROGRAMS_EVERY: Duration = Duration::from_secs(1);

fn is_behind(round: &Round, moved: Instant) -> bool {
    let mut others = round.history.slices.iter().filter(|revision| revision.service != round.service);
    others.any(|other| other.at <= moved && moved.duration_since(other.at) < PROGRAMS_EVERY)
}

fn gap(connections: &[Attempt], at: Instant) -> Option<f64> {
    let good: Vec<Instant> =
        connections.iter().filter(|attempt| attempt.answer.is_ok()).map(|attempt| attempt.sent).collect();
    let longest =
        good.windows(2).filter(|pair| pair[1] >= at).map(|pair| pair[1].duration_since(pair[0])).max();
    longest.map(milliseconds)
}

fn ready(revision: &Revision) -> usize {
    revision.endpoints.iter().filter(|endpoint| endpoint.ready).count()
}

/// Epochs that are recorded with two leaders.
fn forks(revisions: &[&Revision]) -> usize {
    let mut leaders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (epoch, leader) in revisions.iter().filter_map(|revision| revision.term.as_ref()) {
        let leaders = leaders.entry(epoch).or_default();
        if !leaders.contains(&leader.as_str()) {
            leaders.push(leader);
        }
    }
    leaders.values().filter(|leaders| leaders.len() > 1).count()
}

fn moves(revisions: &[&Revision], at: Instant) -> usize {
    let leaders: Vec<(Instant, &str)> =
        revisions.iter().filter_map(|revision| Some((revision.at, revision.leader()?))).collect();
    leaders.windows(2).filter(|pair| pair[1].0 >= at && pair[0].1 != pair[1].1).count()
}

/// From one to the other; nothing if the other came first, as for what was noticed by other means.
fn between(from: Option<Instant>, to: Option<Instant>) -> Option<f64> {
    Some(milliseconds(to?.saturating_duration_since(from?)))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests;
