//! What must hold, in the design's numbers.

use machine::{Event, Member, Pod, Shown, State};

use crate::replica::{Replica, is_fit};
use crate::server::Write;
use crate::world::World;

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A revision shows anything but one endpoint, that of the leader it records, or nobody.
    I1,
    /// A leader is ordered that is not fit in the facts.
    I2,
    /// The epoch fell, or one epoch has two leaders.
    I3,
    /// A write was ordered over another version than the one it was decided on, or landed on one.
    I4,
    /// A leader was unseated that the newest facts call fit.
    I9,
    /// A leader was unseated by what was known before its newer publication was seen, unasked.
    I10,
    /// An order that nobody may give here: to remove what we own, or to mirror without the Lease.
    Forbidden,
    /// Orders and alarms follow each other for ever, with nothing new to know.
    Endless,
}

impl Replica {
    /// A leader leaves because it is lost, or because something else is published.
    pub(crate) fn check_loss(&mut self, before: &State, event: &Event) {
        let State::Elected { leader, .. } = before else { return };
        let is_seen = matches!(event, Event::PublicationObserved { .. } | Event::ReadDone { .. });
        let is_kept = self.election.state().pod().map(Pod::uid) == Some(leader.uid());
        if !is_seen && !is_kept && self.told(leader).is_some_and(is_fit) {
            self.broken = Some(Broken::I9);
        }
    }

    /// An order to publish agrees with the facts, and names the version that it is decided on.
    pub(crate) fn check_order(&mut self, write: &Write) {
        let leader = write.wanted.leader.as_ref();
        if write.based_on != self.election.published().map(|known| known.version) {
            self.broken = Some(Broken::I4);
        }
        if self.must_ask.as_ref().is_some_and(|asked| leader.map(Pod::uid) != Some(asked.uid())) {
            self.broken = Some(Broken::I10);
        }
        let told = leader.and_then(|leader| self.told(leader));
        let is_allowed = match write.wanted.shown {
            Shown::Nobody => leader.is_none(),
            Shown::Ready(endpoint) => {
                told.is_some_and(|told| is_fit(told) && told.reach.endpoint() == Some(endpoint))
            }
            Shown::Terminating(endpoint) => {
                let drains = |told: &Member| told.ready && told.terminating;
                told.is_some_and(|told| drains(told) && told.reach.endpoint() == Some(endpoint))
            }
            Shown::Foreign => false,
        };
        if !is_allowed {
            self.broken = Some(Broken::I2);
        }
    }
}

impl World {
    /// What must hold once nothing is left to do: all are of one mind, and it is right.
    pub(crate) fn is_at_peace(&self) -> bool {
        let leader = |replica: &Replica| replica.election.state().pod().map(|pod| pod.uid().to_owned());
        let first = leader(&self.replicas[0]);
        let are_of_one_mind = self.replicas.iter().all(|replica| {
            let is_stable = !matches!(replica.election.state(), State::Reelecting { .. });
            replica.election.is_settled() && is_stable && leader(replica) == first
        });
        let Some(stored) = &self.server.slice else { return false };
        let published = &stored.publication;
        let truth = published.leader.as_ref().and_then(|leader| self.server.find(leader));
        let somebody_could = self.server.members().any(is_fit);
        let is_right = match published.shown {
            Shown::Nobody => !somebody_could,
            Shown::Ready(endpoint) => {
                truth.is_some_and(|truth| is_fit(truth) && truth.reach.endpoint() == Some(endpoint))
            }
            Shown::Terminating(endpoint) => truth.is_some_and(|truth| {
                let drains = truth.ready && truth.terminating && truth.reach.endpoint() == Some(endpoint);
                drains && !somebody_could
            }),
            Shown::Foreign => false,
        };
        let recorded = self.server.last.as_ref().map(|(epoch, leader)| (Some(*epoch), leader.as_ref()));
        let is_last = recorded.is_none_or(|(epoch, leader)| {
            published.leader.is_none() || published.epoch == epoch && published.leader.as_ref() == leader
        });
        are_of_one_mind && is_right && is_last
    }
}
