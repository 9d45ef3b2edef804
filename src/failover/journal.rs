//! When a failover begins, what belongs to it, and when it is over.

use machine::{Cause, Election, Event, Micros, OrderId, Phase, Pod, Timestamp, Transition};

use super::{Call, Failover, Ids, Outcome, Purpose, Stay, Trigger, Who};
use crate::managed::{Key, Surroundings};
use crate::traces::Tracer;

/// Reads that a decision waits for are remembered, at most so many.
const LOOKUPS: usize = 4;

/// What one Service's failovers leave behind.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The one under way.
    open: Option<Box<Failover>>,
    /// One that is over, but for the answer to its write.
    closing: Option<Box<Closing>>,
    /// The last write, if it was not answered yet.
    writing: Option<OrderId>,
    /// Reads since something was last decided: what is decided upon them began when they were ordered.
    lookups: Vec<Call>,
    /// Who led last, for when its pod is gone.
    leader: Option<Who>,
    /// The trace of the failover that left nobody in charge.
    lost: Option<Ids>,
    /// Counts the election's steps.
    seq: u64,
    /// Another replica acts first: what nobody has written is its to tell.
    is_second: bool,
}

/// The watch was quicker than the answer. It is also quick enough for the next write to be ordered before that.
#[derive(Debug)]
struct Closing {
    failover: Failover,
    /// The last write that is part of it.
    last: OrderId,
}

/// One step of the election.
pub(crate) struct Seen<'a> {
    /// Of which Service.
    pub(crate) key: &'a Key,
    /// The fact.
    pub(crate) event: &'a Event,
    /// What changed.
    pub(crate) transition: Option<&'a Transition>,
    /// The election, after it.
    pub(crate) election: &'a Election,
    /// What is around the Service.
    pub(crate) cx: &'a Surroundings<'a>,
    /// What is published was written by somebody who is no instance of ours.
    pub(crate) is_foreign: bool,
    /// What a failover of this Service may take.
    pub(crate) budget: Micros,
}

/// What a transition is part of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Followed {
    /// The trace of the failover.
    pub(crate) ids: Option<Ids>,
    /// How long it took, if it is over.
    pub(crate) took: Option<Micros>,
}

impl Journal {
    /// The number of the election's next step.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.seq + 1
    }

    /// Takes note of a step; failovers that are over with it are added to `over`.
    pub(crate) fn follow(&mut self, seen: &Seen<'_>, over: &mut Vec<Failover>) -> Followed {
        self.seq += 1;
        self.is_second = !seen.cx.acts_first;
        let followed = if let Some(transition) = seen.transition {
            self.moved(transition, seen, over)
        } else {
            let is_vacant = seen.election.state().phase() == Phase::Leaderless;
            if self.open.is_some() && is_vacant && seen.election.is_acknowledged() {
                self.close(Outcome::Leaderless, seen.cx.at, over);
            }
            Followed::default()
        };
        // A read that came to nothing is no part of what is decided later, for another reason.
        if is_lookup(seen.event) || !self.lookups.is_empty() && seen.election.is_settled() {
            self.lookups.clear();
        }
        followed
    }

    fn moved(&mut self, transition: &Transition, seen: &Seen<'_>, over: &mut Vec<Failover>) -> Followed {
        let Transition { to, to_pod, cause, .. } = transition;
        let at = seen.cx.at;
        if self.open.is_none() && is_failover(transition, seen.event) {
            self.open = Some(Box::new(self.begin(transition, seen)));
        }
        let who = to_pod.as_ref().map(|pod| self.who(pod, seen.cx));
        let outcome = match to {
            Phase::Elected => {
                let before = self.open.as_ref().and_then(|open| open.before.as_ref());
                let is_kept = before.is_some_and(|before| Some(&before.pod) == to_pod.as_ref());
                if let Some(open) = &mut self.open {
                    open.after.clone_from(&who);
                }
                let is_ours = seen.election.published().is_some_and(|published| published.ours);
                self.leader.clone_from(&who);
                Some(match cause {
                    _ if is_kept => Outcome::Kept,
                    Cause::Adopted if seen.is_foreign => Outcome::Adopted,
                    Cause::Adopted if !is_ours => Outcome::Superseded,
                    _ => Outcome::Elected,
                })
            }
            Phase::Leaderless => match cause {
                Cause::Removal => Some(Outcome::Removed),
                Cause::Obstruction => Some(Outcome::Obstructed),
                _ => seen.election.is_acknowledged().then_some(Outcome::Leaderless),
            },
            Phase::Draining | Phase::Reelecting => None,
        };
        if let Some(open) = &mut self.open {
            open.epoch = seen.election.state().epoch().or(open.epoch);
            if *to == Phase::Elected {
                open.leave(at);
                // Found, or fit again: nobody was chosen whose cause would say more.
                if open.stays.is_empty() {
                    open.cause = *cause;
                }
            } else {
                open.enter(Stay { phase: *to, who, cause: *cause, since: at, until: at });
            }
        }
        let ids = self.open.as_ref().and_then(|open| open.ids);
        let took = outcome.and(self.open.as_ref()).map(|open| open.took());
        if let Some(outcome) = outcome {
            self.close(outcome, at, over);
        }
        Followed { ids, took }
    }

    fn begin(&mut self, transition: &Transition, seen: &Seen<'_>) -> Failover {
        let cx = seen.cx;
        let is_answer = is_lookup(seen.event);
        let lookups = if is_answer { std::mem::take(&mut self.lookups) } else { Vec::new() };
        let before = match transition.from {
            // A candidate that nobody acknowledged led nobody.
            Phase::Leaderless | Phase::Reelecting => found(seen.event),
            Phase::Elected | Phase::Draining => transition.from_pod.as_ref(),
        };
        let before = before.map(|pod| self.who(pod, cx));
        let begun = lookups.first().map_or(cx.at, |first| first.ordered);
        let ids = cx.tracer.and_then(Tracer::begin);
        let mut failover = Failover {
            wall_ahead: cx.clock.wall_ahead(),
            seq: self.seq,
            before,
            trigger: self.trigger(transition, seen),
            budget: seen.budget,
            follows: self.lost.take(),
            ..Failover::new(seen.key.clone(), begun, transition.cause, ids)
        };
        for call in lookups {
            failover.calls.push(call);
        }
        failover
    }

    /// When what caused this happened, if that pod says so.
    fn trigger(&self, transition: &Transition, seen: &Seen<'_>) -> Option<Trigger> {
        let pod = match seen.event {
            Event::PodReady { member } | Event::PodUnready { member } | Event::PodTerminating { member } => {
                &member.pod
            }
            // It happened while nobody watched.
            Event::Synced { .. } => found(seen.event).or(transition.from_pod.as_ref())?,
            _ => return None,
        };
        let row = seen.cx.row(pod)?;
        let at = match transition.cause {
            Cause::Terminating => row.terminated()?,
            Cause::Unready | Cause::Recovery | Cause::FirstElection => row.ready_changed(),
            _ => return None,
        };
        Some(Trigger { who: self.who(pod, seen.cx), at })
    }

    fn who(&self, pod: &Pod, cx: &Surroundings<'_>) -> Who {
        if let Some(row) = cx.row(pod) {
            return Who { pod: row.pod.clone(), node: row.node.clone() };
        }
        let known = self.leader.as_ref().filter(|leader| leader.pod == *pod);
        known.cloned().unwrap_or_else(|| Who { pod: pod.clone(), node: None })
    }

    /// A publication is on its way.
    pub(crate) fn writes(&mut self, id: OrderId) {
        self.writing = Some(id);
    }

    /// Whether an answer to a publication is still to come.
    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// A call was answered. To be told before the election is.
    pub(crate) fn called(&mut self, call: Call, over: &mut Vec<Failover>) {
        let is_write = call.purpose == Purpose::Publish;
        if is_write {
            self.writing.take_if(|last| *last == call.id);
            if let Some(closing) = self.closing.as_mut().filter(|closing| call.id.0 <= closing.last.0) {
                let is_last = call.id == closing.last;
                closing.failover.calls.push(call);
                if is_last {
                    self.closed(over);
                }
                return;
            }
        }
        match &mut self.open {
            Some(open) => open.calls.push(call),
            None if !is_write && self.lookups.len() < LOOKUPS => self.lookups.push(call),
            None => {}
        }
    }

    fn close(&mut self, outcome: Outcome, at: Timestamp, over: &mut Vec<Failover>) {
        let Some(mut open) = self.open.take() else { return };
        open.leave(at);
        open.outcome = outcome;
        self.lost = if outcome.is_failure() { open.ids } else { None };
        self.closed(over);
        match self.writing {
            Some(last) => self.closing = Some(Box::new(Closing { failover: *open, last })),
            None => over.push(self.told_by_one(*open)),
        }
    }

    /// Every replica sees how it ends; the one that has written that tells, or else the one that acts first. (A term
    /// says who wrote it.)
    fn told_by_one(&self, mut failover: Failover) -> Failover {
        let is_written = |call: &Call| call.purpose == Purpose::Publish && call.outcome == "ok";
        let is_ours = failover.outcome == Outcome::Elected || failover.calls.last().is_some_and(is_written);
        if self.is_second && !is_ours {
            failover.outcome = Outcome::Superseded;
        }
        failover
    }

    /// What was still waited for, if anything, is waited for no longer.
    fn closed(&mut self, over: &mut Vec<Failover>) {
        let closing = self.closing.take().map(|closing| self.told_by_one(closing.failover));
        over.extend(closing);
    }

    /// Everything ends here: the Service is managed no longer, or the controller stops.
    pub(crate) fn end(&mut self, outcome: Outcome, at: Timestamp) -> Vec<Failover> {
        let mut over = Vec::new();
        self.writing = None;
        self.close(outcome, at, &mut over);
        self.closed(&mut over);
        over
    }

    /// The one under way.
    pub(crate) fn open(&self) -> Option<&Failover> {
        self.open.as_deref()
    }

    /// The failover that takes longer than it may, once.
    pub(crate) fn overdue(&mut self, at: Timestamp) -> Option<&Failover> {
        let open = self.open.as_mut().filter(|open| !open.is_told && at.since(open.begun) > open.budget)?;
        open.leave(at);
        open.is_told = true;
        Some(open)
    }

    /// When to ask for [`Self::overdue`].
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let open = self.open.as_ref().filter(|open| !open.is_told)?;
        Some(open.begun.plus(open.budget).plus(Micros(1)))
    }
}

/// What is found as it should be, and what is given up on purpose, is no failover.
fn is_failover(transition: &Transition, event: &Event) -> bool {
    let is_found = matches!(event, Event::Synced { .. }) && transition.cause == Cause::Adopted;
    !is_found && transition.cause != Cause::Removal
}

/// Who is found published when an election begins: who led until nobody watched.
fn found(event: &Event) -> Option<&Pod> {
    let Event::Synced { standing, .. } = event else { return None };
    standing.published.as_ref()?.leader.as_ref()
}

const fn is_lookup(event: &Event) -> bool {
    matches!(event, Event::Confirmed { .. } | Event::ReadDone { .. })
}
