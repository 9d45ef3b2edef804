//! What failovers cost: how often the leader changed, and for how long clients reached nobody.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use machine::{Cause, Effect, Election, Event, Micros, OrderId, Phase, Pod, Timestamp, Transition};

use super::words::span;
use crate::record::{Header, Record};

/// Answer times that are remembered, for their median.
const ANSWERS_MOST: usize = 4_096;

/// Without any answer in the log: what a write takes on a quiet API server.
const ANSWER_TIME: Micros = Micros(2_000);

/// Of every Service.
#[derive(Default)]
pub(super) struct Tallies {
    pub(super) services: BTreeMap<Arc<str>, Tally>,
    open: BTreeMap<(Arc<str>, OrderId), Timestamp>,
    answers: Vec<u64>,
}

/// Of one Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) costs: BTreeMap<Option<Cause>, Cost>,
    leader: Option<Pod>,
    outage: Option<Outage>,
    /// When the last step was.
    pub(super) last: Timestamp,
}

/// What one cause has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// How often another pod became the leader.
    pub(super) switches: u64,
    /// For how long what was published was no Ready pod.
    pub(super) outage: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Timestamp,
    cause: Option<Cause>,
}

impl Tally {
    /// The election as it is when it starts to be looked at.
    pub(super) fn start(&mut self, election: &Election) {
        self.end();
        let leads = election.state().phase() == Phase::Elected;
        self.leader = election.state().pod().filter(|_| leads).cloned();
    }

    /// One step, and the election after it.
    pub(super) fn step(&mut self, at: Timestamp, moved: Option<&Transition>, election: &Election) {
        // A log may say anything; time never goes back, here as in the machine.
        let at = at.max(self.last);
        self.last = at;
        if let Some(Transition { to: Phase::Elected, to_pod, cause, .. }) = moved {
            // A leader that was found is no switch.
            let is_switch = self.leader.is_some() && self.leader != *to_pod;
            self.costs.entry(Some(*cause)).or_default().switches += u64::from(is_switch);
            self.leader.clone_from(to_pod);
        }
        if moved.is_some_and(|moved| moved.cause == Cause::Removal) {
            self.end();
        }
        match (election.is_served(), &mut self.outage) {
            (Some(false), None) => {
                self.outage = Some(Outage { since: at, cause: moved.map(|moved| moved.cause) });
            }
            (Some(true), Some(_)) => self.end(),
            (Some(false) | None, Some(outage)) => {
                outage.cause = outage.cause.or_else(|| moved.map(|moved| moved.cause));
            }
            (Some(true) | None, None) => {}
        }
    }

    /// What is open counts up to the last step.
    pub(super) fn end(&mut self) {
        if let Some(Outage { since, cause }) = self.outage.take() {
            self.costs.entry(cause).or_default().outage.0 += self.last.since(since).0;
        }
    }

    pub(super) fn sum(&self) -> Cost {
        let mut sum = Cost::default();
        for cost in self.costs.values() {
            sum.switches += cost.switches;
            sum.outage.0 += cost.outage.0;
        }
        sum
    }
}

impl Tallies {
    pub(super) fn start(&mut self, header: &Header, election: &Election) {
        self.services.entry(header.service.clone()).or_default().start(election);
    }

    pub(super) fn step(&mut self, service: &Arc<str>, record: &Record, election: &Election) {
        let Some(tally) = self.services.get_mut(service) else { return };
        tally.step(record.at, record.step.transition.as_ref(), election);
        match &record.event {
            Event::Published { id, .. } => {
                if let Some(ordered) = self.open.remove(&(service.clone(), *id))
                    && self.answers.len() < ANSWERS_MOST
                {
                    self.answers.push(record.at.since(ordered).0);
                }
            }
            Event::PublishFailed { id, .. } => {
                self.open.remove(&(service.clone(), *id));
            }
            _ => {}
        }
        for effect in &record.step.effects {
            if let Effect::Publish { id, .. } = effect {
                // One write is open at a time.
                self.open.retain(|(of, _), _| of != service);
                self.open.insert((service.clone(), *id), record.at);
            }
        }
    }

    pub(super) fn services(&self) -> usize {
        self.services.len()
    }

    /// What a write took, at the median.
    pub(super) fn answer_time(&self) -> Micros {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        answers.get(answers.len() / 2).map_or(ANSWER_TIME, |answer| Micros(*answer))
    }

    pub(super) fn tell(&mut self, out: &mut impl Write) -> io::Result<()> {
        for (service, tally) in &mut self.services {
            tally.end();
            let Cost { switches, outage } = tally.sum();
            writeln!(
                out,
                "{service}: changes of leader: {switches}, time without a Ready one: {}",
                span(outage)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
