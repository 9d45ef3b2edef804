//! What the answers to orders tell.

use std::sync::Arc;

use crate::orders::{Flight, RETRY_FIRST};
use crate::{
    Departure, Member, Micros, Notice, Obstruction, OrderId, Outcome, Pod, Reason, Shown, Step, Timestamp,
};

use super::slice::{Sight, Source};
use super::{Epochs, Facts, Life};

/// For how long a conflict waits for the watch to show the newer slice before it is read.
const CONFLICT_PATIENCE: Micros = Micros::from_millis(50);

/// How long a refused publication waits before it is tried again, if nothing changes.
const REFUSED_PAUSE: Micros = Micros::from_secs(30);

/// The longest that the server may make us wait: a Retry-After beyond it is cut.
const THROTTLE_MOST: Micros = Micros::from_secs(1);

impl Facts {
    pub(super) fn publish_failed(
        &mut self,
        at: Timestamp,
        id: OrderId,
        outcome: &Outcome,
        step: &mut Step,
    ) -> Sight {
        self.echo.take_if(|echo| *echo == id);
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else { return Sight::Nothing };
        if flight.is_outdated {
            self.lose_sight(at);
            return Sight::Nothing;
        }
        if let Outcome::Conflict
        | Outcome::Gone
        | Outcome::Superseded
        | Outcome::Behind { .. }
        | Outcome::Refused { .. } = outcome
            && let Some(epoch) = flight.wanted.epoch
        {
            self.epochs.give_back(epoch, flight.spent_before);
        }
        match outcome {
            Outcome::Conflict => self.fall_behind(&flight, at.plus(CONFLICT_PATIENCE)),
            Outcome::Exists => {
                self.backoff.fail(at);
                self.fall_behind(&flight, at);
            }
            Outcome::Gone if self.is_overtaken(&flight) => {}
            Outcome::Gone => {
                if flight.based_on.is_none() {
                    // What it was to be created in is gone: at once it could only fail again.
                    self.backoff.fail(at);
                }
                return self.vanished(at, &Source::Watch(None), step);
            }
            Outcome::Throttled(pause) => self.backoff.hold_until(at.plus((*pause).min(THROTTLE_MOST))),
            Outcome::Unknown => {
                // A server that answers reads and fails every write is not to be asked again at once for ever; the
                // first pause is over when the read is ordered.
                self.backoff.fail(at);
                self.fall_behind(&flight, at.plus(RETRY_FIRST));
            }
            Outcome::Unreachable => self.backoff.fail(at),
            Outcome::Superseded => {}
            Outcome::Behind { epoch } => {
                self.epochs.see(Some(*epoch).filter(|epoch| Epochs::is_plausible(*epoch, at)));
            }
            Outcome::Refused { endpoint, words } => self.refused(at, &flight, *endpoint, words, step),
        }
        Sight::Nothing
    }

    /// Something newer has been seen than what `flight` was based on.
    fn is_overtaken(&self, flight: &Flight) -> bool {
        self.slice
            .present()
            .is_some_and(|publication| flight.based_on.is_none_or(|based_on| publication.version > based_on))
    }

    /// The slice is not what the write was based on, or may be what it says: look again at `when`, unless
    /// something newer has been seen already.
    fn fall_behind(&mut self, flight: &Flight, when: Timestamp) {
        if !self.is_overtaken(flight) {
            self.lose_sight(when);
        }
    }

    /// The server will never take it: another candidate if it is the endpoint, else another time.
    fn refused(&mut self, at: Timestamp, flight: &Flight, endpoint: bool, words: &Arc<str>, step: &mut Step) {
        let pod = flight.wanted.leader.clone();
        if let Some(pod) = &pod
            && endpoint
        {
            if let Shown::Ready(refused) | Shown::Terminating(refused) = flight.wanted.shown
                && let Some(row) = self.row_mut(pod)
            {
                row.refused |= row.endpoint() == Some(refused);
            }
        } else {
            self.is_refused = true;
            self.backoff.hold_until(at.plus(REFUSED_PAUSE));
        }
        if self.rejection.as_ref() != Some(words) {
            self.rejection = Some(words.clone());
            let detail = Some(words.clone());
            self.notify(Notice { pod, detail, ..Notice::plain(Reason::PublishRejected) }, step);
        }
    }

    /// Answers which member is confirmed that may take over by preference.
    pub(super) fn confirmed(
        &mut self,
        at: Timestamp,
        id: OrderId,
        member: Option<&Member>,
        exists: bool,
        departed: &mut Option<(Pod, Departure)>,
    ) -> Option<Pod> {
        let doubt = self.doubt.take_if(|doubt| doubt.id == Some(id));
        let asked = self.asked.iter().position(|(asked, _)| *asked == id);
        let asked = asked.map(|index| self.asked.swap_remove(index).1);
        let Some(member) = member else {
            let pod = doubt.map(|doubt| doubt.pod).or(asked)?;
            let how = if exists { Departure::Relabelled } else { Departure::Deleted };
            *departed = Some((pod.clone(), how));
            if exists {
                self.forget(&pod);
            } else {
                self.bury(pod);
            }
            return None;
        };
        // If it was told to have left meanwhile, the answer may be older.
        if doubt.is_some() || asked.is_some() || self.row(&member.pod).is_some() {
            self.learn_member(at, member);
        }
        doubt.filter(|doubt| !doubt.holds && doubt.pod == member.pod).map(|doubt| doubt.pod)
    }

    pub(super) fn confirm_failed(&mut self, at: Timestamp, id: OrderId) {
        self.asked.retain(|(asked, _)| *asked != id);
        if let Some(doubt) = self.doubt.as_mut().filter(|doubt| doubt.id == Some(id)) {
            doubt.id = None;
            doubt.backoff.fail(at);
        }
    }

    pub(super) fn read_failed(&mut self, at: Timestamp, id: OrderId) {
        if self.reading == Some(id) {
            self.reading = None;
            self.read_backoff.fail(at);
        }
    }

    /// `failed`: it is not as ordered, and what is there is not known.
    pub(super) fn mirrored(&mut self, id: OrderId, failed: Option<Timestamp>) {
        if self.mirroring.take_if(|mirroring| *mirroring == id).is_none() {
            return;
        }
        match failed {
            None => self.mirror_backoff.reset(),
            Some(at) => {
                self.mirrored = None;
                self.mirror_backoff.fail(at);
            }
        }
    }

    pub(super) fn removed(&mut self, id: OrderId) {
        if self.removing.take_if(|removing| *removing == id).is_none() {
            return;
        }
        self.backoff.reset();
        match &mut self.life {
            Life::Removing => self.life = Life::Removed,
            Life::Blocked { clear, .. } => {
                *clear = self.slice.present().is_some();
            }
            Life::Unsynced | Life::Running | Life::Removed => {}
        }
    }

    pub(super) fn remove_failed(&mut self, at: Timestamp, id: OrderId) {
        if self.removing.take_if(|removing| *removing == id).is_some() {
            self.backoff.fail(at);
        }
    }

    /// The Service opts out: whatever we waited for, what we own goes now.
    pub(super) fn leave(&mut self) {
        if self.life != Life::Removed && self.life != Life::Removing {
            self.life = Life::Removing;
            self.removing = None;
            self.backoff.reset();
        }
    }

    pub(super) fn blocked(&mut self, by: &Obstruction, step: &mut Step) {
        match &self.life {
            Life::Removing | Life::Removed => return,
            Life::Blocked { by: known, .. } if known == by => return,
            Life::Unsynced | Life::Running | Life::Blocked { .. } => {}
        }
        let (clear, name) = match by {
            Obstruction::Service(name) => (true, name),
            Obstruction::Slice(name) => (false, name),
        };
        self.life = Life::Blocked { by: by.clone(), clear };
        self.removing = None;
        self.backoff.reset();
        self.doubt = None;
        self.announced = None;
        let notice = Notice { detail: Some(name.clone()), ..Notice::plain(Reason::LeaderServiceConflict) };
        self.notify_as_holder(notice, step);
    }

    pub(super) fn server_back(&mut self) {
        if !self.is_refused {
            self.backoff.reset();
        }
        self.read_backoff.reset();
        self.mirror_backoff.reset();
        if let Some(doubt) = &mut self.doubt {
            doubt.backoff.reset();
        }
    }
}
