//! What would have been different under another policy.
//!
//! The facts are those of the log; the answers cannot be, for other orders would have been given. So the API server is
//! played: it takes every write that is based on what it holds, after the time that writes took at the median. What was
//! told of this replica's own writes is left out; those of strangers are facts.
//!
//! What other replicas wrote was decided by the recorded policy. By the other one they would have decided as this
//! replica does, which so acts for all: it has the Lease throughout, and their writes are left out and counted.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use machine::{
    Effect, Election, Epoch, Event, Micros, OrderId, Outcome, Policy, Publication, Standing, Timestamp,
    Version, Wanted,
};

use super::Override;
use super::tally::{Cost, Tallies, Tally};
use super::words::span;
use crate::record::{Entry, ReadError, Reader, Record};

/// No election goes so many steps without a fact. One of a log that somebody made up may, where no write can succeed and the
/// next fact is said to come in a hundred thousand years.
const UNTOLD_MOST: usize = 10_000;

/// What follows from the last record within this time still counts.
const SETTLING: Micros = Micros::from_secs(1);

/// Elections that are told the same facts, and do as they would have.
pub(super) struct WhatIf<'a> {
    overrides: &'a [Override],
    answer_time: Micros,
    services: BTreeMap<Arc<str>, Course>,
}

impl<'a> WhatIf<'a> {
    pub(super) fn new(overrides: &'a [Override], answer_time: Micros) -> Self {
        Self { overrides, answer_time, services: BTreeMap::new() }
    }

    pub(super) fn replay<R: BufRead>(&mut self, reader: &mut Reader<R>) -> Result<(), ReadError> {
        while let Some(entry) = reader.read()? {
            match entry {
                Entry::Start(header) => {
                    let election = header.election();
                    let policy = self.policy(election.policy());
                    let course = self.services.entry(header.service).or_default();
                    course.start(election, policy, self.answer_time);
                }
                Entry::Step(service, mut record) => {
                    if let Event::PolicyChanged { policy } = &mut record.event {
                        *policy = self.policy(policy);
                    }
                    if let Some(course) = self.services.get_mut(&service) {
                        course.told(&record);
                    }
                }
            }
        }
        Ok(())
    }

    fn policy(&self, recorded: &Policy) -> Policy {
        let mut policy = recorded.clone();
        self.overrides.iter().for_each(|setting| setting.apply(&mut policy));
        policy
    }

    pub(super) fn tell(&mut self, recorded: &Tallies, out: &mut impl Write) -> io::Result<()> {
        let settings: Vec<_> = self.overrides.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "\nWith {}, and each write answered after {}:",
            settings.join(" "),
            span(self.answer_time)
        )?;
        writeln!(out, "{:<40} {:>20} {:>28}", "", "changes of leader", "without a Ready leader")?;
        for (service, course) in &mut self.services {
            course.settle();
            course.tally.end();
            let Some(before) = recorded.services.get(service) else { continue };
            line(out, service, before.sum(), course.tally.sum())?;
            let causes: std::collections::BTreeSet<_> =
                before.costs.keys().chain(course.tally.costs.keys()).copied().collect();
            for cause in causes {
                let of = |tally: &Tally| tally.costs.get(&cause).copied().unwrap_or_default();
                let (before, after) = (of(before), of(&course.tally));
                if (before, after) != (Cost::default(), Cost::default()) {
                    let name = cause.map_or("nothing done", |cause| cause.as_str());
                    line(out, &format!("  {name}"), before, after)?;
                }
            }
            if course.terms_of_others > 0 {
                let terms = course.terms_of_others;
                writeln!(out, "  terms of other replicas, left out: {terms}; this one decides for all")?;
            }
            if course.cut_short > 0 {
                let times = course.cut_short;
                writeln!(
                    out,
                    "  cut short, times: {times}; after {UNTOLD_MOST} steps without a fact the next one is told"
                )?;
            }
        }
        Ok(())
    }
}

fn line(out: &mut impl Write, name: &str, before: Cost, after: Cost) -> io::Result<()> {
    let switches = format!("{} -> {}", before.switches, after.switches);
    let outage = format!("{} -> {}", span(before.outage), span(after.outage));
    writeln!(out, "{name:<40} {switches:>20} {outage:>28}")
}

/// One election, and the API server that it writes to.
struct Course {
    election: Election,
    answer_time: Micros,
    slice: Option<Publication>,
    /// The highest version that anything had.
    version: Version,
    /// What the API server is doing, and when it answers.
    calls: VecDeque<(Timestamp, Effect)>,
    tally: Tally,
    /// The other policy, until it is told: with the first fact.
    policy: Option<Policy>,
    /// The first order of the log. Earlier ones were given before it starts, and are answered as they were.
    first_order: Option<OrderId>,
    /// The newest term that was told of, whoever wrote it.
    newest_term: Option<Epoch>,
    /// The terms that other replicas have begun.
    terms_of_others: u64,
    /// How often what would go on was not waited for: see [`UNTOLD_MOST`].
    cut_short: u64,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            election: Election::new(Policy::default()),
            answer_time: Micros::ZERO,
            slice: None,
            version: Version(0),
            calls: VecDeque::new(),
            tally: Tally::default(),
            policy: None,
            first_order: None,
            newest_term: None,
            terms_of_others: 0,
            cut_short: 0,
        }
    }
}

impl Course {
    fn start(&mut self, election: Election, policy: Policy, answer_time: Micros) {
        self.settle();
        self.tally.start(&election);
        self.slice = election.published().cloned();
        self.version = self.slice.as_ref().map_or(Version(0), |slice| slice.version);
        self.newest_term = self.slice.as_ref().and_then(|slice| slice.epoch);
        self.calls.clear();
        self.answer_time = answer_time;
        self.election = election;
        self.policy = Some(policy);
        self.first_order = None;
    }

    /// What the last facts lead to comes about after the log's end.
    fn settle(&mut self) {
        self.until(self.tally.last.plus(SETTLING));
    }

    /// A record of the log: its fact, if it is one here, too.
    fn told(&mut self, record: &Record) {
        self.until(record.at);
        if let Some(policy) = self.policy.take() {
            self.step(record.at, &Event::PolicyChanged { policy });
            self.step(record.at, &Event::LeaseHeld);
        }
        if let Some(event) = self.fact(&record.event) {
            self.step(record.at, &event);
        }
        if self.first_order.is_none() {
            self.first_order = record.step.effects.first().map(Effect::id);
        }
    }

    fn fact(&mut self, event: &Event) -> Option<Event> {
        let event = match event {
            Event::Synced { members, standing } => {
                self.see(standing.horizon);
                self.note_term(standing.published.as_ref());
                // Told anew, it is known to be there; what it says then was decided by the recorded policy.
                if self.slice.is_none() || standing.published.is_none() {
                    self.slice.clone_from(&standing.published);
                }
                if let Some(version) = self.slice.as_ref().map(|slice| slice.version) {
                    self.see(version);
                }
                let standing = Standing { published: self.slice.clone(), ..standing.clone() };
                Event::Synced { members: members.clone(), standing }
            }
            Event::Unblocked { standing } => {
                self.see(standing.horizon);
                let standing = Standing { published: self.slice.clone(), ..standing.clone() };
                Event::Unblocked { standing }
            }
            Event::PublicationObserved { published: Some(published), horizon, by: Some(by) } => {
                self.see(*horizon);
                let published = Some(Publication { version: self.next_version(), ..published.clone() });
                self.slice.clone_from(&published);
                Event::PublicationObserved { published, horizon: self.version, by: Some(by.clone()) }
            }
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => {
                self.see(member.version);
                event.clone()
            }
            Event::PublicationObserved { published: None, horizon, by } => {
                self.see(*horizon);
                self.slice.take()?;
                Event::PublicationObserved { published: None, horizon: self.version, by: by.clone() }
            }
            Event::PodGone { .. }
            | Event::PolicyChanged { .. }
            | Event::OptedOut
            | Event::ServiceGone
            | Event::Blocked { .. }
            | Event::SwitchoverRequested { .. }
            | Event::SwitchoverWithdrawn
            | Event::Paused { .. }
            | Event::Resumed
            | Event::NodeLost { .. }
            | Event::NodeBack { .. }
            | Event::ServerBack => event.clone(),
            Event::Published { id, .. }
            | Event::PublishFailed { id, .. }
            | Event::ReadDone { id, .. }
            | Event::ReadFailed { id }
            | Event::Confirmed { id, .. }
            | Event::ConfirmFailed { id }
            | Event::Mirrored { id }
            | Event::MirrorFailed { id }
            | Event::Notified { id }
            | Event::NotifyFailed { id }
            | Event::Removed { id }
            | Event::RemoveFailed { id } => {
                self.first_order.is_none_or(|first| *id < first).then(|| event.clone())?
            }
            Event::PublicationObserved { published, .. } => {
                self.note_term(published.as_ref());
                return None;
            }
            Event::LeaseHeld | Event::LeaseLost | Event::DeadlineReached => return None,
        };
        Some(event)
    }

    /// A term that is told of, and that others may have begun since the last one.
    fn note_term(&mut self, published: Option<&Publication>) {
        let Some(Publication { epoch: Some(epoch), ours, .. }) = published else { return };
        if self.newest_term.is_some_and(|newest| newest < *epoch) {
            self.terms_of_others += u64::from(!ours);
        }
        self.newest_term = self.newest_term.max(Some(*epoch));
    }

    const fn see(&mut self, version: Version) {
        if version.0 > self.version.0 {
            self.version = version;
        }
    }

    const fn next_version(&mut self) -> Version {
        // A log may have begun at the last version there is.
        self.version.0 = self.version.0.saturating_add(1);
        self.version
    }

    /// Lets time pass: what was ordered is answered, and alarms ring.
    fn until(&mut self, at: Timestamp) {
        // An alarm that rings again at once, and orders nothing, waits for an answer or a fact.
        let mut is_stuck = false;
        for _ in 0..UNTOLD_MOST {
            let call = self.calls.front().map(|(when, _)| *when).filter(|when| *when <= at);
            let alarm = self.election.deadline().filter(|when| *when <= at && !is_stuck);
            match (call, alarm) {
                (Some(call), alarm) if alarm.is_none_or(|alarm| call <= alarm) => {
                    let Some((when, effect)) = self.calls.pop_front() else { return };
                    let answer = self.answer(effect);
                    self.step(when, &answer);
                    is_stuck = false;
                }
                (_, Some(alarm)) => {
                    let before = self.calls.len();
                    self.step(alarm, &Event::DeadlineReached);
                    is_stuck = self.calls.len() == before
                        && self.election.deadline().is_some_and(|next| next <= alarm);
                }
                (None | Some(_), None) => return,
            }
        }
        self.cut_short += 1;
    }

    fn step(&mut self, at: Timestamp, event: &Event) {
        let step = self.election.step(at, event);
        self.tally.step(at, step.transition.as_ref(), &self.election);
        // As an order from before the log has left it.
        if matches!(event, Event::Published { .. } | Event::ReadDone { .. })
            && let Some(published) = self.election.published()
        {
            self.slice = Some(published.clone());
            self.version = self.version.max(published.version);
        }
        let answered = at.plus(self.answer_time);
        self.calls.extend(step.effects.into_iter().map(|effect| (answered, effect)));
    }

    /// The API server does as it was ordered.
    fn answer(&mut self, effect: Effect) -> Event {
        match effect {
            Effect::Publish { id, wanted, based_on } => self.publish(id, wanted, based_on),
            Effect::Read { id } => {
                Event::ReadDone { id, published: self.slice.clone(), horizon: self.version }
            }
            Effect::Confirm { id, pod } => {
                let member = self.election.member(&pod).cloned();
                Event::Confirmed { id, exists: member.is_some(), member }
            }
            Effect::Mirror { id, .. } => Event::Mirrored { id },
            Effect::Notify { id, .. } => Event::Notified { id },
            Effect::Remove { id, .. } => {
                self.slice = None;
                Event::Removed { id }
            }
        }
    }

    fn publish(&mut self, id: OrderId, wanted: Wanted, based_on: Option<Version>) -> Event {
        let present = self.slice.as_ref().map(|slice| slice.version);
        let outcome = match (based_on, present) {
            (None, None) => None,
            (None, Some(_)) => Some(Outcome::Exists),
            (Some(_), None) => Some(Outcome::Gone),
            (Some(based_on), Some(present)) => (based_on != present).then_some(Outcome::Conflict),
        };
        if let Some(outcome) = outcome {
            return Event::PublishFailed { id, outcome };
        }
        let version = self.next_version();
        self.slice = Some(wanted.acknowledged(version));
        Event::Published { id, version }
    }
}

#[cfg(test)]
mod tests;
