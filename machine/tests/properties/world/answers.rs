//! What becomes of the orders that replicas give.

use machine::{Departure, Event, Micros, OrderId, Outcome, Pod, Scope, Version};

use crate::met::{Met, met};
use crate::ops::{Fate, Reply};
use crate::pods::uid;
use crate::server::{Author, Rejection, shown_endpoint};

use super::World;

impl World {
    pub(super) fn write(&mut self, n: usize, fate: Fate) {
        let replica = &mut self.replicas[n];
        let Some(write) = replica.next_write() else { return };
        let (id, wanted, based_on) = (write.id, &write.wanted, write.based_on);
        let author = Author::Replica(replica.life);
        let mut fair = |wanted: &machine::Wanted| match self.server.write(wanted, based_on, author) {
            Ok(version) => Event::Published { id, version },
            Err(Rejection::Conflict) => Event::PublishFailed { id, outcome: Outcome::Conflict },
            Err(Rejection::Gone) => Event::PublishFailed { id, outcome: Outcome::Gone },
            Err(Rejection::Exists) => Event::PublishFailed { id, outcome: Outcome::Exists },
        };
        let failed = |outcome| Event::PublishFailed { id, outcome };
        let refused = |endpoint| failed(Outcome::Refused { endpoint, words: "no".into() });
        let answer = match fate {
            Fate::Fair => fair(wanted),
            Fate::Slow => {
                let answer = fair(wanted);
                replica.late.push_back(answer);
                return;
            }
            Fate::Unanswered => {
                fair(wanted);
                failed(Outcome::Unknown)
            }
            Fate::Limbo => {
                self.limbo.push((replica.life, write));
                failed(Outcome::Unknown)
            }
            Fate::Unreachable => failed(Outcome::Unreachable),
            Fate::FalseAlarm => {
                fair(wanted);
                failed(Outcome::Unreachable)
            }
            Fate::Throttled => failed(Outcome::Throttled(Micros::from_millis(300))),
            Fate::RefusedEndpoint => match (&wanted.leader, shown_endpoint(wanted.shown)) {
                (Some(leader), Some(endpoint)) => {
                    replica.told.refuse((write.asked, write.shown), uid(leader), endpoint);
                    refused(true)
                }
                _ => refused(false),
            },
            Fate::Refused => refused(false),
            Fate::Superseded => failed(Outcome::Superseded),
            Fate::Twice => {
                let answer = fair(wanted);
                self.feed(n, answer.clone());
                answer
            }
        };
        self.feed(n, answer);
    }

    pub(super) fn late(&mut self, n: usize) {
        if let Some(answer) = self.replicas[n].late.pop_front() {
            self.tell(n, answer);
        }
    }

    pub(super) fn limbo(&mut self) {
        if let Some((life, write)) = self.limbo.pop()
            && self.server.write(&write.wanted, write.based_on, Author::Replica(life)).is_ok()
        {
            met(Met::LateWrite);
        }
    }

    fn answer(&mut self, n: usize, reply: Reply, fair: Event, failed: Event) {
        match reply {
            Reply::Fair => self.tell(n, fair),
            Reply::Slow => self.replicas[n].late.push_back(fair),
            Reply::Failed => self.feed(n, failed),
        }
    }

    pub(super) fn read(&mut self, n: usize, reply: Reply) {
        let replica = &mut self.replicas[n];
        if replica.reads.is_empty() {
            return;
        }
        let id = replica.reads.remove(0);
        let published = self.server.slice.as_ref().map(|stored| stored.seen_by(replica.life));
        let horizon = replica.horizon(&self.server);
        self.answer(n, reply, Event::ReadDone { id, published, horizon }, Event::ReadFailed { id });
    }

    pub(super) fn confirm(&mut self, n: usize, reply: Reply) {
        let Some((id, pod, _)) = self.replicas[n].confirms.first().cloned() else { return };
        let is_under_way = |late: &Event| matches!(late, Event::Confirmed { .. });
        if self.replicas[n].late.iter().any(is_under_way) {
            // The answer finds the order when it comes.
            return;
        }
        let truth = self.server.pods.find(uid(&pod));
        let member = truth.filter(|truth| truth.is_member).map(|truth| truth.member.clone());
        match (reply, truth) {
            (Reply::Failed, _) => {
                self.replicas[n].confirms.remove(0);
                self.feed(n, Event::ConfirmFailed { id });
            }
            (Reply::Fair | Reply::Slow, Some(truth)) if !truth.is_member => {
                let version = truth.member.version;
                self.confirm_to_be_no_member(n, id, pod, version);
            }
            (Reply::Fair | Reply::Slow, _) => {
                let fair = Event::Confirmed { id, member, exists: false };
                self.answer(n, reply, fair, Event::ConfirmFailed { id });
            }
        }
    }

    /// The pod is there, and may become a member again: the controller keeps its row, and first says that it has
    /// left, if it was a member so far.
    fn confirm_to_be_no_member(&mut self, n: usize, id: OrderId, pod: Pod, version: Version) {
        let replica = &mut self.replicas[n];
        replica.raised.push((uid(&pod), version));
        if replica.told.member(uid(&pod)).is_some() {
            self.feed(n, Event::PodGone { pod, how: Departure::Relabelled });
        }
        self.feed(n, Event::Confirmed { id, member: None, exists: true });
    }

    pub(super) fn mirror(&mut self, n: usize, reply: Reply) {
        if self.replicas[n].mirrors.is_empty() {
            return;
        }
        let (id, epoch) = self.replicas[n].mirrors.remove(0);
        if !matches!(reply, Reply::Failed) {
            self.server.mirrored = self.server.mirrored.max(epoch);
        }
        self.answer(n, reply, Event::Mirrored { id }, Event::MirrorFailed { id });
    }

    pub(super) fn remove(&mut self, n: usize, reply: Reply) {
        if self.replicas[n].removes.is_empty() {
            return;
        }
        let (id, scope) = self.replicas[n].removes.remove(0);
        if !matches!(reply, Reply::Failed) {
            self.outrun_epochs();
            self.server.delete_slice();
            if scope == Scope::Everything {
                self.server.mirrored = None;
            }
        }
        self.answer(n, reply, Event::Removed { id }, Event::RemoveFailed { id });
    }
}
