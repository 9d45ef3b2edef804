//! How often the leader changed lately, as far as that limits moves that are only a preference.

use serde::{Deserialize, Serialize};

use crate::{Cause, MaxSwitches, Pod, Timestamp};

use super::Facts;

/// The changes of leader that were seen, whoever made them. A term of the same pod again is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Who was seen to lead last.
    leader: Option<Pod>,
    /// When each of the last ones was seen, oldest first: no more than the limit counts.
    seen: Vec<Timestamp>,
}

impl Changes {
    fn note(&mut self, at: Timestamp, limit: MaxSwitches) {
        self.seen.push(at);
        self.forget_beyond(limit);
    }

    fn forget_beyond(&mut self, limit: MaxSwitches) {
        let beyond = self.seen.len().saturating_sub(limit.most());
        self.seen.drain(..beyond);
    }

    /// When the window has, or had, room for one more.
    fn room_from(&self, limit: MaxSwitches) -> Timestamp {
        let is_full = self.seen.len() >= limit.most();
        self.seen.first().filter(|_| is_full).map_or(Timestamp(0), |oldest| oldest.plus(limit.window))
    }

    pub(super) const fn heap(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * size_of::<Timestamp>()
    }
}

impl Facts {
    /// The policy may have set the limit, changed or lifted it.
    pub(super) fn limit_switches(&mut self) {
        let Some(limit) = self.policy.max_switches else { return self.changes = None };
        let leader = || self.slice.present().and_then(|publication| publication.leader.clone());
        self.changes
            .get_or_insert_with(|| Box::new(Changes { leader: leader(), ..Changes::default() }))
            .forget_beyond(limit);
    }

    /// `leader` is published, in a term that the API server has shown or acknowledged.
    pub(super) fn led(&mut self, at: Timestamp, leader: &Pod) {
        let Some((changes, limit)) = self.changes.as_mut().zip(self.policy.max_switches) else { return };
        if changes.leader.as_ref() == Some(leader) {
            return;
        }
        if changes.leader.replace(leader.clone()).is_some() {
            changes.note(at, limit);
        }
    }

    /// Of the changes before we came, the leader Service tells when the last one was. One that is ahead of our clock was
    /// just now.
    pub(super) fn learn_last_switch(&mut self, at: Timestamp, switched: Option<Timestamp>) {
        let Some((changes, limit)) = self.changes.as_mut().zip(self.policy.max_switches) else { return };
        if let Some(switched) = switched
            && *changes.as_ref() == Changes::default()
        {
            changes.note(switched.min(at), limit);
        }
    }

    /// From when on a fit leader may be replaced because of `cause`. Whatever else ends a leadership waits for nothing.
    pub(crate) fn allowed_from(&self, cause: Cause) -> Timestamp {
        match (cause, self.changes.as_ref().zip(self.policy.max_switches)) {
            (Cause::Failback | Cause::Cordoned, Some((changes, limit))) => changes.room_from(limit),
            (_, Some(_) | None) => Timestamp(0),
        }
    }
}
