//! Peace: faults stop, everything is answered, and time passes until nothing is left to do.

use machine::{Event, Shown, Step};

use crate::ops::{Fate, Reply};
use crate::pods::{Uid, is_fit, uid};
use crate::replica::Replica;
use crate::server::Stored;

use super::World;

/// A quiet system settles within so many rounds.
const ROUNDS_MOST: usize = 1_000;

impl World {
    /// Faults stop, everything is answered, and time passes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        while !self.limbo.is_empty() {
            self.limbo();
        }
        for _ in 0..ROUNDS_MOST {
            let mut is_busy = false;
            for n in 0..self.replicas.len() {
                is_busy |= self.round(n);
            }
            let lags = |replica: &Replica| replica.slices < self.server.revisions.len();
            if is_busy || self.replicas.iter().any(lags) {
                continue;
            }
            let deadlines = self.replicas.iter().map(|replica| replica.election.deadline());
            let Some((_, n)) = deadlines.zip(0..).filter_map(|(at, n)| Some((at?, n))).min() else {
                return self.check_rest();
            };
            self.wake(n);
        }
        panic!("it never settles");
    }

    /// The watches of a replica catch up, and what it has ordered is done. Answers whether there was an order.
    pub(super) fn round(&mut self, n: usize) -> bool {
        self.show_pods(n, usize::MAX);
        self.answers(n)
    }

    pub(super) fn answers(&mut self, n: usize) -> bool {
        self.show_slices(n, usize::MAX);
        let is_busy = self.replicas[n].waits();
        self.late(n);
        self.write(n, Fate::Fair);
        self.read(n, Reply::Fair);
        self.confirm(n, Reply::Fair);
        self.mirror(n, Reply::Fair);
        self.remove(n, Reply::Fair);
        is_busy
    }

    /// What must hold once nothing is left to do.
    fn check_rest(&mut self) {
        let slice = self.server.slice.as_ref();
        for replica in &self.replicas {
            if self.opted_out {
                assert!(replica.election.is_over());
            } else {
                assert!(replica.election.is_settled(), "{:?}", replica.election.state());
            }
            assert_eq!(replica.election.deferred(), None, "max-switches: a wish that is forgotten");
            let leaders = [replica, &self.replicas[0]].map(|replica| replica.election.state().pod().map(uid));
            assert_eq!(leaders[0], leaders[1], "two views");
        }
        let is_empty = slice.is_some_and(|stored| stored.publication.shown == Shown::Nobody);
        if self.opted_out && is_empty {
            // A creation that arrived late; the controller sweeps it away.
        } else if self.opted_out || self.blocked == Some(true) {
            assert!(slice.is_none(), "what we own is gone");
        } else if self.blocked.is_none() {
            assert!(slice.is_some());
            if let Some(stored) = slice {
                self.check_slice(stored);
            }
        }
        self.check_silence();
    }

    fn check_slice(&self, stored: &Stored) {
        let publication = &stored.publication;
        let is_refused_nowhere = |pod: Uid| self.replicas.iter().all(|replica| !replica.told.is_refused(pod));
        let mut members = self.server.pods.members();
        let eligible =
            members.find(|truth| truth.is_fit() && !truth.node_lost && is_refused_nowhere(truth.uid()));
        let leader = publication.leader.as_ref().and_then(|leader| self.server.pods.find(uid(leader)));
        let is_paused = self.pause.is_some_and(|until| until.is_none());
        match publication.shown {
            Shown::Nobody => {
                assert_eq!(publication.leader, None);
                assert!(is_paused || eligible.is_none(), "I6: nobody leads, and could: {eligible:?}");
            }
            Shown::Ready(endpoint) => {
                let leader = leader.filter(|leader| leader.is_member).map(|leader| &leader.member);
                assert_eq!(leader.and_then(|leader| leader.reach.endpoint()), Some(endpoint), "I15");
                assert!(is_paused || leader.is_some_and(is_fit), "I5: {leader:?} is not fit");
            }
            Shown::Terminating(endpoint) => {
                let leader = leader.filter(|leader| leader.is_member).map(|leader| &leader.member);
                assert_eq!(leader.and_then(|leader| leader.reach.endpoint()), Some(endpoint), "I15");
                assert!(leader.is_some_and(|leader| leader.terminating && leader.ready), "I5");
                assert!(is_paused || eligible.is_none(), "I5: {eligible:?} could lead");
            }
            Shown::Foreign => panic!("I1: an edit is repaired"),
        }
        assert!(publication.intact, "I1: an edit is repaired");
        let is_true = publication.leader.is_none()
            || self.server.last_of(publication.epoch).is_none()
            || self.server.is_true(publication);
        assert!(is_true, "I3: {publication:?} is not how that term was published last");
    }

    /// I8: the same facts again lead to nothing.
    fn check_silence(&mut self) {
        for n in 0..self.replicas.len() {
            let replica = &self.replicas[n];
            let mut facts = vec![
                Event::PolicyChanged { policy: self.policy.clone() },
                Event::ServerBack,
                Event::DeadlineReached,
                if replica.told.lease { Event::LeaseHeld } else { Event::LeaseLost },
            ];
            let members = replica.told.members.iter().map(|known| known.member.clone());
            facts.extend(members.map(|member| Event::PodChanged { member }));
            let (published, horizon) = (replica.election.published().cloned(), self.server.version());
            if self.blocked.is_none() && !self.opted_out {
                facts.push(Event::PublicationObserved { published, horizon, by: None });
            }
            for fact in facts {
                self.feed(n, fact.clone());
                let step = self.replicas[n].log.last().map(|(_, _, step)| step);
                assert_eq!(step, Some(&Step::default()), "I8: {fact:?}");
            }
        }
    }
}
