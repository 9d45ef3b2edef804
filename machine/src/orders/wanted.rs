//! What a state wants the slice to say.

use std::sync::Arc;

use crate::facts::Facts;
use crate::{Epoch, Pod, Publication, Shown, State, Timestamp, Wanted};

/// What is wanted, borrowed from the state and the facts: it is compared far more often than written.
#[derive(Clone, Copy)]
pub(crate) struct Desire<'a> {
    leader: Option<&'a Pod>,
    epoch: Option<Epoch>,
    shown: Shown,
    handled: Option<&'a Arc<str>>,
}

impl Desire<'_> {
    pub(crate) fn is_met_by(&self, publication: &Publication) -> bool {
        publication.intact
            && publication.epoch == self.epoch
            && publication.shown == self.shown
            && publication.leader.as_ref() == self.leader
            && publication.handled.as_ref() == self.handled
    }

    pub(crate) fn to_wanted(self) -> Wanted {
        Wanted {
            leader: self.leader.cloned(),
            epoch: self.epoch,
            shown: self.shown,
            handled: self.handled.cloned(),
        }
    }
}

impl Facts {
    /// What `state` wants the slice to say; nothing while that cannot be said.
    pub(crate) fn desire<'a>(&'a self, state: &'a State, at: Timestamp) -> Option<Desire<'a>> {
        let (State::Elected { leader, epoch, .. }
        | State::Draining { leader, epoch, .. }
        | State::Reelecting { candidate: leader, epoch, .. }) = state
        else {
            return Some(self.desire_nobody());
        };
        Some(Desire {
            leader: Some(leader),
            epoch: Some(*epoch),
            shown: self.shown_for(state)?,
            handled: self.handling(state, leader, at),
        })
    }

    /// An empty slice, which keeps the epoch unless it is made anew.
    pub(super) fn desire_nobody(&self) -> Desire<'_> {
        Desire {
            leader: None,
            epoch: self.epochs.kept(),
            shown: Shown::Nobody,
            handled: self.declined.as_ref().or(self.handled.as_ref()),
        }
    }

    /// The endpoints that `state` asks for, as the leader's pod is now.
    pub(crate) fn shown_for(&self, state: &State) -> Option<Shown> {
        let endpoint = |pod| self.row(pod)?.endpoint();
        match state {
            State::Leaderless { .. } => Some(Shown::Nobody),
            State::Reelecting { candidate: leader, .. }
            | State::Elected { leader, .. }
            | State::Draining { leader, until: Some(_), .. } => endpoint(leader).map(Shown::Ready),
            State::Draining { leader, until: None, .. } => endpoint(leader).map(Shown::Terminating),
        }
    }

    /// The request to record as handled. One that names the leader of a new term is met by it, whoever writes
    /// that; one that names who leads anyway is for the Lease's holder to record.
    fn handling<'a>(&'a self, state: &State, leader: &Pod, at: Timestamp) -> Option<&'a Arc<str>> {
        let records = self.lease || matches!(state, State::Reelecting { .. });
        let is_met = |request: &&crate::Switchover| {
            records && self.row(leader).is_some_and(|row| row.is_named_by(request))
        };
        let met = self.pending(at).filter(is_met).map(|request| &request.text);
        met.or(self.declined.as_ref()).or(self.handled.as_ref())
    }
}
