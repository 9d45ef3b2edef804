//! When something is to be done although nothing happens.

use crate::facts::{Facts, Life, Row, Slice};
use crate::{Failback, Micros, State, Timestamp};

impl Facts {
    pub(crate) fn deadline(&self, state: &State, at: Timestamp) -> Option<Timestamp> {
        let mut next = Soonest(None);
        match self.life {
            Life::Unsynced | Life::Removed | Life::Blocked { clear: false, .. } => return None,
            Life::Removing | Life::Blocked { clear: true, .. } => {
                if self.flight.is_none() && self.removing.is_none() {
                    next.add(self.backoff.until());
                }
                return next.0;
            }
            Life::Running => {}
        }
        let doubt = self.doubt.as_deref();
        next.add_some(doubt.filter(|doubt| doubt.id.is_none()).map(|doubt| doubt.backoff.until()));
        if doubt.is_none_or(|doubt| !doubt.holds) {
            self.add_write(state, at, &mut next);
        }
        self.add_decision(state, at, &mut next);
        next.0
    }

    /// Whether time alone has changed what must be decided, and the alarm has only not rung yet: what is wanted
    /// now will not be wanted then.
    pub(super) fn is_decision_due(&self, state: &State, at: Timestamp) -> bool {
        let mut next = Soonest(None);
        self.add_decision(state, at, &mut next);
        next.0.is_some_and(|due| due <= at)
    }

    fn add_decision(&self, state: &State, at: Timestamp, next: &mut Soonest) {
        next.add_some(self.pause.and_then(|pause| pause.until));
        if self.lease {
            next.add_some(self.unanswered().and_then(|request| request.expires));
        }
        let is_held = self.doubt.as_ref().is_some_and(|doubt| doubt.holds);
        if !is_held && !self.is_paused() {
            self.add_choice(state, at, next);
        }
    }

    fn add_write(&self, state: &State, at: Timestamp, next: &mut Soonest) {
        if self.flight.is_some() {
            return;
        }
        let publication = match &self.slice {
            Slice::Unknown if self.reading.is_some() => return,
            Slice::Unknown => return next.add(self.read_backoff.until()),
            Slice::Absent => return next.add(self.may_write_from()),
            Slice::Present(publication) => publication,
        };
        let Some(desire) = self.desire(state, at) else { return };
        if !desire.is_met_by(publication) {
            next.add(self.may_write_from());
        } else if self.lease && self.mirrored.is_none() && self.mirroring.is_none() {
            next.add(self.mirror_backoff.until());
        }
    }

    /// The moments at which time alone changes who may lead.
    fn add_choice(&self, state: &State, at: Timestamp, next: &mut Soonest) {
        match state {
            State::Reelecting { .. } => {}
            State::Draining { until: Some(until), .. } => {
                next.add(*until);
            }
            State::Leaderless { .. } | State::Draining { until: None, .. } => {
                // Also if the moment has passed: whatever came in then was no reason to look.
                self.add_eligible(Micros::ZERO, Timestamp(0), next);
            }
            State::Elected { leader, .. } => {
                if self.doubt.is_some() {
                    return;
                }
                let leader_row = self.row(leader);
                let wish = self.wish(leader, at).map(|(_, cause)| self.allowed_from(cause).max(at));
                if wish == Some(at) || leader_row.is_some_and(|row| self.is_stranded(row, at)) {
                    return next.add(at);
                }
                next.add_some(wish);
                if let Failback::After(wait) = self.policy.failback {
                    self.add_eligible(wait, at, next);
                }
                if self.pending(at).is_some()
                    || leader_row.is_some_and(|row| row.node_lost || self.leaves(row))
                {
                    self.add_eligible(Micros::ZERO, at, next);
                }
            }
        }
    }

    /// When members will have been eligible for `wait`, if that is after `past`.
    fn add_eligible(&self, wait: Micros, past: Timestamp, next: &mut Soonest) {
        let due = |row: &Row| row.eligible_at(&self.policy).map(|from| from.plus(wait));
        for row in &self.rows {
            next.add_some(due(row).filter(|when| *when > past));
        }
    }
}

/// The earliest of several moments.
struct Soonest(Option<Timestamp>);

impl Soonest {
    fn add(&mut self, when: Timestamp) {
        self.0 = Some(self.0.map_or(when, |soonest| soonest.min(when)));
    }

    fn add_some(&mut self, when: Option<Timestamp>) {
        if let Some(when) = when {
            self.add(when);
        }
    }
}
