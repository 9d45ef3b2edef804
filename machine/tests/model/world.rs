//! A situation, and what can happen in it.

use std::fmt::Debug;
use std::sync::Arc;

use machine::{Epoch, Event, Outcome, Version};

use crate::actions::{Action, Fate, Reply, Watch};
use crate::invariants::Broken;
use crate::replica::Replica;
use crate::server::{Author, Edit, Server, Write};

/// So many revisions of the slice may follow a fault before a new term begins, or all rests.
const REPAIRS_MOST: u8 = 8;

/// How far a replica's watches have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    pub(crate) pods_behind: usize,
    pub(crate) slices_behind: usize,
    /// They may lag.
    pub(crate) pods_stalled: bool,
    pub(crate) slices_stalled: bool,
    /// Of the last pod event, or the list.
    pub(crate) horizon: Version,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) server: Server,
    /// Shared among the situations in which nothing new has happened to them.
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) sights: Vec<Sight>,
    /// Bookmarks keep a watch that has nothing to show up to date.
    pub(crate) bookmarks: bool,
    /// That may still happen.
    pub(crate) faults: u8,
    pub(crate) broken: Option<Broken>,
}

impl Sight {
    pub(crate) const fn keeps_up(&self) -> bool {
        (self.pods_stalled || self.pods_behind == 0) && (self.slices_stalled || self.slices_behind == 0)
    }

    pub(crate) const fn lags(&self) -> (usize, usize, bool, bool) {
        (self.pods_behind, self.slices_behind, self.pods_stalled, self.slices_stalled)
    }
}

impl World {
    pub(crate) fn run(&mut self, action: Action) {
        if action.is_fault() {
            self.faults -= 1;
            self.server.repairs = 0;
        }
        match action {
            Action::Pod(slot, fault) => self.with_server(|server| server.pod_fails(slot, fault)),
            Action::Edit(edit) => self.edit(edit),
            Action::ShowPod(n) => self.show_pod(n),
            Action::ShowSlice(n) => self.show_slice(n),
            Action::Stall(n, Watch::Pods) => self.sights[n].pods_stalled = true,
            Action::Stall(n, Watch::Slice) => self.sights[n].slices_stalled = true,
            Action::Relist(n) => self.relist(n),
            Action::Write(n, fate) => self.write(n, fate),
            Action::Read(n, reply) => self.read(n, reply),
            Action::Confirm(n, reply) => self.confirm(n, reply),
            Action::Late(n) => {
                let event = Arc::make_mut(&mut self.replicas[n]).late.remove(0);
                self.feed(n, &event);
            }
            Action::Limbo(index) => {
                let (author, write) = self.server.limbo.remove(index);
                let _ = self.commit(&write, author);
            }
            Action::Wake(n) => Arc::make_mut(&mut self.replicas[n]).wake(),
            Action::Restart(n) => self.restart(n),
        }
        let broken = self.replicas.iter().find_map(|replica| replica.broken);
        self.broken = self.broken.or(broken);
        if self.server.repairs > REPAIRS_MOST {
            self.broken = Some(Broken::Endless);
        }
    }

    fn feed(&mut self, n: usize, event: &Event) {
        Arc::make_mut(&mut self.replicas[n]).feed(event);
    }

    /// What the server does, the watches have yet to show.
    fn with_server<T>(&mut self, deed: impl FnOnce(&mut Server) -> T) -> T {
        let (pods, slices) = (self.server.log.len(), self.server.revisions.len());
        let answer = deed(&mut self.server);
        for sight in &mut self.sights {
            sight.pods_behind += self.server.log.len() - pods;
            sight.slices_behind += self.server.revisions.len() - slices;
        }
        answer
    }

    fn commit(&mut self, write: &Write, author: Author) -> Result<Version, Outcome> {
        let (answer, broken) = self.with_server(|server| server.write(write, author));
        self.broken = self.broken.or(broken);
        answer
    }

    fn edit(&mut self, edit: Edit) {
        self.with_server(|server| server.edit(edit));
        if edit == Edit::Deleted {
            self.outrun();
        }
    }

    /// Whoever goes on without knowing all epochs begins at the clock, which is taken to be ahead of them: as it is
    /// after a second.
    fn outrun(&mut self) {
        let highest = self.server.last.as_ref().map_or(Epoch(0), |(epoch, _)| *epoch);
        for replica in &mut self.replicas {
            Arc::make_mut(replica).outrun(highest);
        }
    }

    fn horizon(&self, n: usize) -> Version {
        let sight = self.sights[n];
        if self.bookmarks && sight.pods_behind == 0 { self.server.version() } else { sight.horizon }
    }

    fn show_pod(&mut self, n: usize) {
        let shown = self.server.log[self.server.log.len() - self.sights[n].pods_behind].clone();
        self.sights[n].pods_behind -= 1;
        self.sights[n].horizon = shown.version;
        let event = self.replicas[n].pod_event(&shown);
        self.feed(n, &event);
    }

    fn show_slice(&mut self, n: usize) {
        let revisions = &self.server.revisions;
        let shown = revisions[revisions.len() - self.sights[n].slices_behind].clone();
        self.sights[n].slices_behind -= 1;
        let published = shown.stored.as_ref().map(|stored| stored.seen_by(n));
        let by = shown.is_foreign.then(|| "kubectl".into());
        let horizon = self.horizon(n);
        self.feed(n, &Event::PublicationObserved { published, horizon, by });
    }

    fn relist(&mut self, n: usize) {
        self.sights[n].pods_behind = 0;
        self.sights[n].horizon = self.server.version();
        for event in self.replicas[n].difference(&self.server) {
            self.feed(n, &event);
        }
    }

    fn write(&mut self, n: usize, fate: Fate) {
        let replica = Arc::make_mut(&mut self.replicas[n]);
        if fate == Fate::Delayed {
            return replica.delay();
        }
        let write = replica.next_write();
        let id = write.id;
        let failed = |outcome| Event::PublishFailed { id, outcome };
        let fair = |answer| match answer {
            Ok(version) => Event::Published { id, version },
            Err(outcome) => failed(outcome),
        };
        let answer = match fate {
            Fate::Fair | Fate::Delayed => fair(self.commit(&write, Author::Replica(n))),
            Fate::Slow => {
                let answer = fair(self.commit(&write, Author::Replica(n)));
                Arc::make_mut(&mut self.replicas[n]).wait_for(answer);
                return;
            }
            Fate::Unanswered => {
                let _ = self.commit(&write, Author::Replica(n));
                failed(Outcome::Unknown)
            }
            Fate::Limbo => {
                self.server.limbo.push((Author::Replica(n), write));
                failed(Outcome::Unknown)
            }
            Fate::Unreachable => failed(Outcome::Unreachable),
            Fate::Superseded => failed(Outcome::Superseded),
        };
        self.feed(n, &answer);
    }

    fn answer(&mut self, n: usize, reply: Reply, fair: Event, failed: &Event) {
        match reply {
            Reply::Fair => self.feed(n, &fair),
            Reply::Slow => Arc::make_mut(&mut self.replicas[n]).wait_for(fair),
            Reply::Failed => self.feed(n, failed),
        }
    }

    fn read(&mut self, n: usize, reply: Reply) {
        let id = Arc::make_mut(&mut self.replicas[n]).reads.remove(0);
        let published = self.server.slice.as_ref().map(|stored| stored.seen_by(n));
        let horizon = self.horizon(n);
        self.answer(n, reply, Event::ReadDone { id, published, horizon }, &Event::ReadFailed { id });
    }

    fn confirm(&mut self, n: usize, reply: Reply) {
        // The answers to those before it are on their way.
        let next = self.replicas[n].slow_confirms();
        let (id, pod) = self.replicas[n].confirms[next].clone();
        let member = self.server.find(&pod).cloned();
        if reply == Reply::Failed {
            Arc::make_mut(&mut self.replicas[n]).confirms.remove(next);
        }
        let fair = Event::Confirmed { id, member, exists: false };
        self.answer(n, reply, fair, &Event::ConfirmFailed { id });
    }

    fn restart(&mut self, n: usize) {
        if self.server.slice.as_ref().is_none_or(|stored| stored.publication.epoch.is_none()) {
            self.outrun();
        }
        let former = self.replicas[n].clone();
        self.server.limbo.extend(former.writes.iter().map(|write| (Author::Other, write.clone())));
        self.server.forget(n);
        self.replicas[n] = Arc::new(Replica::begin(n, &self.server, former.now));
        let (horizon, sight) = (self.server.version(), self.sights[n]);
        self.sights[n] = Sight { pods_behind: 0, slices_behind: 0, horizon, ..sight };
    }

    /// What all have been shown is of no more use.
    pub(crate) fn collect_garbage(&mut self) {
        let pods = self.sights.iter().map(|sight| sight.pods_behind).max().unwrap_or(0);
        let slices = self.sights.iter().map(|sight| sight.slices_behind).max().unwrap_or(0);
        self.server.log.drain(..self.server.log.len() - pods);
        self.server.revisions.drain(..self.server.revisions.len() - slices);
    }
}

impl Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let states: Vec<_> = self.replicas.iter().map(|replica| replica.election.state()).collect();
        write!(f, "{:?} {states:?} {:?}", self.server.slice, self.broken)
    }
}
