//! A history: replicas, the API server between them, and everything that can go wrong.

mod answers;
mod pods;
mod service;
mod settling;
mod slice;

use machine::{Epoch, Event, Member, Micros, Obstruction, Policy, Switchover, Timestamp};

use crate::met::{Met, met};
use crate::ops::{Op, PodOp};
use crate::pods::uid;
use crate::replica::{Publish, Replica};
use crate::server::Server;

const START: Timestamp = Timestamp::from_secs(1_000_000);

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) server: Server,
    pub(crate) replicas: Vec<Replica>,
    policy: Policy,
    pause: Option<Option<Timestamp>>,
    request: Option<Switchover>,
    /// By a Service, or by a slice.
    blocked: Option<bool>,
    opted_out: bool,
    lives: usize,
    /// Writes that seemed lost, and may happen yet; by whose life.
    limbo: Vec<(usize, Publish)>,
}

impl World {
    pub(crate) fn new(replicas: usize) -> Self {
        let mut world = Self {
            now: START,
            server: Server::default(),
            replicas: Vec::new(),
            policy: Policy::default(),
            pause: None,
            request: None,
            blocked: None,
            opted_out: false,
            lives: 0,
            limbo: Vec::new(),
        };
        for slot in 0..3 {
            world.server.create_pod(slot, START);
            world.pod(slot, PodOp::Ready);
        }
        for n in 0..replicas {
            world.begin(n, 0);
            if n > 0 {
                world.lease(n, false);
            }
        }
        world
    }

    pub(crate) fn run(&mut self, op: &Op) {
        let of = |n: &u8| usize::from(*n) % self.replicas.len();
        match op {
            Op::Round(n) => {
                self.round(of(n));
            }
            Op::Answers(n) => {
                self.answers(of(n));
            }
            Op::Pod(slot, op) => self.pod(usize::from(*slot), *op),
            Op::Pods(n, count) => self.show_pods(of(n), usize::from(*count)),
            Op::OldNews(n, back) => self.show_old_news(of(n), usize::from(*back)),
            Op::Relist(n) => self.relist(of(n)),
            Op::Slices(n, count) => self.show_slices(of(n), usize::from(*count)),
            Op::Write(n, fate) => self.write(of(n), *fate),
            Op::Late(n) => self.late(of(n)),
            Op::Limbo => self.limbo(),
            Op::Read(n, reply) => self.read(of(n), *reply),
            Op::Confirm(n, reply) => self.confirm(of(n), *reply),
            Op::Mirror(n, reply) => self.mirror(of(n), *reply),
            Op::Remove(n, reply) => self.remove(of(n), *reply),
            // Once it is opted out, nobody else has a reason to write.
            Op::Term(_) | Op::Withdraw(_) | Op::Edit(_) if self.opted_out => {}
            Op::Term(slot) => self.term(usize::from(*slot)),
            Op::Withdraw(drain) => self.withdraw(*drain),
            Op::Edit(kind) => self.edit(*kind),
            Op::DeleteSlice => self.delete_slice(),
            Op::Policy(kind) => self.policy(*kind),
            Op::Pause(kind) => self.pause(*kind),
            Op::Resume => self.resume(),
            Op::Request(slot, kind) => self.request(usize::from(*slot), *kind),
            Op::Unrequest => self.withdraw_request(),
            Op::Lease(n) => {
                let holder = of(n);
                for n in 0..self.replicas.len() {
                    self.lease(n, n == holder);
                }
            }
            Op::Block(by_service) => self.block(*by_service),
            Op::Unblock => self.unblock(),
            Op::OptOut => self.opt_out(),
            Op::Node(slot, lost) => self.node(usize::from(*slot), *lost),
            Op::ServerBack(n) => self.feed(of(n), Event::ServerBack),
            Op::Wait(kind) => {
                let millis = [1, 20, 50, 300, 999, 1_000, 5_000, 10_000, 30_000, 60_000];
                self.now = self.now.plus(Micros::from_millis(millis[usize::from(*kind) % millis.len()]));
            }
            Op::Wake(n) => self.wake(of(n)),
            Op::Again(n) => self.again(of(n)),
            Op::Restart(n) => self.begin(of(n), usize::from(*n) / 2),
        }
    }

    fn feed(&mut self, n: usize, event: Event) {
        self.replicas[n].feed(self.now, event);
    }

    fn feed_all(&mut self, event: &Event) {
        for n in 0..self.replicas.len() {
            self.feed(n, event.clone());
        }
    }

    /// A replica begins, maybe in the place of another, from lists that may lag.
    fn begin(&mut self, n: usize, lag: usize) {
        if self.opted_out {
            return;
        }
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        self.lives += 1;
        let mut replica = Replica::new(self.lives, &self.policy);
        replica.pods = self.server.pods.log.len().saturating_sub(lag);
        replica.slices = self.server.revisions.len();
        if let Some(until) = self.pause {
            replica.feed(self.now, Event::Paused { until });
        }
        if let Some(request) = self.request.clone() {
            replica.feed(self.now, Event::SwitchoverRequested { request });
        }
        if let Some(by_service) = self.blocked {
            replica.feed(self.now, Event::Blocked { by: obstruction(by_service) });
        }
        replica.feed(self.now, synced(&replica, &self.server, mirrored));
        if let Some(former) = self.replicas.get_mut(n) {
            let life = former.life;
            self.limbo.extend(std::iter::from_fn(|| former.next_write()).map(|write| (life, write)));
            former.check_replay(false);
            *former = replica;
        } else {
            self.replicas.push(replica);
        }
        self.tell_lost_nodes(n);
    }

    /// All lists are in once more, and nothing older follows.
    fn again(&mut self, n: usize) {
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        let replica = &mut self.replicas[n];
        replica.pods = self.server.pods.log.len();
        replica.slices = self.server.revisions.len();
        let event = synced(replica, &self.server, mirrored);
        self.feed(n, event);
        self.tell_lost_nodes(n);
    }

    fn lease(&mut self, n: usize, held: bool) {
        self.feed(n, if held { Event::LeaseHeld } else { Event::LeaseLost });
    }

    /// The alarm rings: no more than a few times at the same moment.
    fn wake(&mut self, n: usize) {
        let Some(deadline) = self.replicas[n].election.deadline() else { return };
        self.now = self.now.max(deadline);
        for _ in 0..8 {
            match self.replicas[n].election.deadline() {
                Some(deadline) if deadline <= self.now => self.feed(n, Event::DeadlineReached),
                Some(_) | None => return,
            }
        }
        let deadline = self.replicas[n].election.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.now), "I7: it rings for ever");
    }
}

fn synced(replica: &Replica, server: &Server, mirrored: Option<Epoch>) -> Event {
    let members = server.pods.members_at(replica.pods);
    let standing = replica.standing(server, mirrored);
    let leader = standing.published.as_ref().and_then(|published| published.leader.as_ref());
    let is_namesake = |member: &Member| {
        leader.is_some_and(|leader| leader.name() == member.pod.name() && uid(leader) != uid(&member.pod))
    };
    if members.iter().any(is_namesake) {
        met(Met::Namesake);
    }
    Event::Synced { members, standing }
}

fn obstruction(by_service: bool) -> Obstruction {
    if by_service { Obstruction::Service("s".into()) } else { Obstruction::Slice("s".into()) }
}
