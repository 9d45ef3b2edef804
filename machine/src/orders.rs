//! The write rule: whenever what is wanted differs from what is published and no order is open, give one; and
//! whenever none can be given now, know when it can.

mod backoff;
mod deadline;
mod wanted;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Life, Slice};
use crate::{Effect, Epoch, Mirror, OrderId, Pod, Scope, State, Step, Timestamp, Version, Wanted};

pub(crate) use backoff::{Backoff, RETRY_FIRST};

/// The one open write of the authority slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) id: OrderId,
    pub(crate) wanted: Wanted,
    pub(crate) based_on: Option<Version>,
    /// It begins a term.
    pub(crate) is_term: bool,
    /// The highest epoch used up before this write's.
    pub(crate) spent_before: Epoch,
    /// All lists came in anew meanwhile: whether its answer is older or newer than they are cannot be told.
    pub(crate) is_outdated: bool,
}

/// A pod that is to be read before something is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub(crate) pod: Pod,
    /// The open order.
    pub(crate) id: Option<OrderId>,
    /// Our facts about the published leader may be old: nothing is written until they are not. Otherwise the
    /// doubt is only whether a preferred member is still there.
    pub(crate) holds: bool,
    pub(crate) backoff: Backoff,
}

/// What the leader Service says of the leadership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Mirrored {
    leader: Option<Pod>,
    epoch: Option<Epoch>,
    handled: Option<Arc<str>>,
}

impl Facts {
    /// Gives the orders that bring the world in line with `state`.
    pub(crate) fn settle(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        match self.life {
            Life::Unsynced | Life::Removed | Life::Blocked { clear: false, .. } => {}
            Life::Blocked { clear: true, .. } => self.remove(Scope::Slices, at, step),
            Life::Removing => self.remove(Scope::Everything, at, step),
            Life::Running => {
                self.outdate_announcement(state);
                self.ask(at, step);
                self.publish(state, at, step);
            }
        }
    }

    /// Whether everything is as `state` wants it, and no order is open.
    pub(crate) fn is_settled(&self, state: &State, at: Timestamp) -> bool {
        match self.life {
            Life::Unsynced | Life::Removed | Life::Blocked { clear: false, .. } => true,
            Life::Removing | Life::Blocked { clear: true, .. } => false,
            Life::Running => {
                let is_open = self.flight.is_some() || self.doubt.is_some();
                !is_open && self.is_acknowledged(state, at)
            }
        }
    }

    /// Whether what is published is known to be what `state` wants.
    pub(crate) fn is_acknowledged(&self, state: &State, at: Timestamp) -> bool {
        let desire = self.desire(state, at);
        self.slice.present().zip(desire).is_some_and(|(now, desire)| desire.is_met_by(now))
    }

    fn remove(&mut self, scope: Scope, at: Timestamp, step: &mut Step) {
        if self.flight.is_none() && self.removing.is_none() && self.backoff.is_over(at) {
            let id = self.next_id();
            self.removing = Some(id);
            // What is seen from now on may have come too late for it.
            self.slice = Slice::Absent;
            step.effects.push(Effect::Remove { id, scope });
        }
    }

    fn ask(&mut self, at: Timestamp, step: &mut Step) {
        let Some(mut doubt) = self.doubt.take_if(|doubt| doubt.id.is_none() && doubt.backoff.is_over(at))
        else {
            return;
        };
        let id = self.next_id();
        doubt.id = Some(id);
        self.asked.push((id, doubt.pod.clone()));
        step.effects.push(Effect::Confirm { id, pod: doubt.pod.clone() });
        self.doubt = Some(doubt);
    }

    fn publish(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        if self.flight.is_some() || self.doubt.as_ref().is_some_and(|doubt| doubt.holds) {
            return;
        }
        match &self.slice {
            Slice::Unknown => self.read(at, step),
            Slice::Absent => {
                if self.may_write_from() <= at {
                    // Empty first: a creation that arrives late can then never publish anybody.
                    self.order(self.desire_nobody().to_wanted(), None, step);
                }
            }
            Slice::Present(publication) => {
                let Some(desire) = self.desire(state, at) else { return };
                if desire.is_met_by(publication) {
                    self.calm(state, at, step);
                } else if self.may_write_from() <= at && !self.is_decision_due(state, at) {
                    let (wanted, based_on) = (desire.to_wanted(), publication.version);
                    self.order(wanted, Some(based_on), step);
                }
            }
        }
    }

    fn read(&mut self, at: Timestamp, step: &mut Step) {
        if self.reading.is_none() && self.read_backoff.is_over(at) {
            let id = self.next_id();
            self.reading = Some(id);
            step.effects.push(Effect::Read { id });
        }
    }

    /// Back-offs spare the server and other writers.
    fn may_write_from(&self) -> Timestamp {
        let contested_until = self.contest.as_ref().map_or(Timestamp(0), |contest| contest.until());
        self.backoff.until().max(contested_until)
    }

    fn order(&mut self, wanted: Wanted, based_on: Option<Version>, step: &mut Step) {
        let id = self.next_id();
        let term = wanted.epoch.filter(|epoch| wanted.leader.is_some() && self.epochs.is_new(*epoch));
        let spent_before = self.epochs.spend(term.unwrap_or_default());
        let (is_term, copy) = (term.is_some(), wanted.clone());
        if let Some(term) = term.zip(wanted.leader.clone()) {
            self.ordered = Some(term);
        }
        let is_outdated = false;
        let flight = Flight { id, wanted: copy, based_on, is_term, spent_before, is_outdated };
        self.flight = Some(Box::new(flight));
        step.effects.push(Effect::Publish { id, wanted, based_on });
    }

    /// The API server shows what is wanted: tell people, and the leader Service.
    fn calm(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        self.contest.take_if(|contest| contest.is_over(at));
        self.report_vacancy(state, step);
        self.announce(state, step);
        self.mirror(state, at, step);
    }

    fn mirror(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        if !self.lease || self.mirroring.is_some() || !self.mirror_backoff.is_over(at) {
            return;
        }
        // The other copy of the epoch never goes back, even if the slice was made anew.
        let (epoch, handled) = (self.epochs.known(), &self.handled);
        let is_mirrored = self.mirrored.as_ref().is_some_and(|mirrored| {
            mirrored.leader.as_ref() == state.pod() && mirrored.epoch == epoch && mirrored.handled == *handled
        });
        if is_mirrored {
            return;
        }
        let now = Mirrored { leader: state.pod().cloned(), epoch, handled: handled.clone() };
        let switched = match state {
            State::Leaderless { since } | State::Elected { since, .. } => {
                // A leadership that we only found says nothing about when it began.
                self.found_at.is_none_or(|found| found != *since).then_some(*since)
            }
            State::Reelecting { .. } | State::Draining { .. } => None,
        };
        let id = self.next_id();
        self.mirroring = Some(id);
        let Mirrored { leader, epoch, handled } = now.clone();
        self.mirrored = Some(Box::new(now));
        let ours = self.slice.present().is_some_and(|publication| publication.ours);
        step.effects.push(Effect::Mirror { id, mirror: Mirror { leader, epoch, switched, ours, handled } });
    }
}
