//! A history: replicas, the API server between them, and everything that can go wrong.

use machine::{
    Departure, Epoch, Event, Failback, Micros, Obstruction, Outcome, Policy, Reach, Scope, Shown, Strategy,
    Switchover, Timestamp,
};

use crate::ops::{Fate, Op, PodOp, Reply};
use crate::replica::Replica;
use crate::server::{Author, Rejection, Server, Stored, endpoint, is_fit, shown_endpoint};

const START: Timestamp = Timestamp::from_secs(1_000_000);

/// A quiet system settles within so many rounds.
const ROUNDS_MOST: usize = 400;

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
    limbo: Vec<(usize, machine::Wanted, Option<machine::Version>)>,
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
        for slot in 0..2 {
            world.server.create_pod(slot, START);
        }
        for n in 0..replicas {
            world.begin(n, 0);
            if n > 0 {
                world.lease(n, false);
            }
        }
        world
    }

    fn feed(&mut self, n: usize, event: Event) {
        self.replicas[n].feed(self.now, event);
    }

    fn feed_all(&mut self, event: &Event) {
        for n in 0..self.replicas.len() {
            self.feed(n, event.clone());
        }
    }

    pub(crate) fn run(&mut self, op: &Op) {
        let of = |n: &u8| usize::from(*n) % self.replicas.len();
        match op {
            Op::Pod(slot, op) => self.pod(usize::from(*slot), *op),
            Op::Pods(n, count) => self.show_pods(of(n), usize::from(*count)),
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
            Op::DeleteSlice => {
                self.outrun_epochs();
                self.server.delete_slice();
            }
            Op::Policy(kind) => self.policy(*kind),
            Op::Pause(kind) => self.pause(*kind),
            Op::Resume => {
                self.pause = None;
                self.feed_all(&Event::Resumed);
            }
            Op::Request(slot, kind) => self.request(usize::from(*slot), *kind),
            Op::Unrequest => {
                self.request = None;
                self.feed_all(&Event::SwitchoverWithdrawn);
            }
            Op::Lease(n) => {
                let holder = of(n);
                for n in 0..self.replicas.len() {
                    self.lease(n, n == holder);
                }
            }
            Op::Block(by_service) => self.block(*by_service),
            Op::Unblock => self.unblock(),
            Op::OptOut => {
                // Rarely: it ends the history.
                if self.server.version().0.is_multiple_of(3) {
                    self.opted_out = true;
                    self.feed_all(&Event::OptedOut);
                }
            }
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

    /// A slice that is made anew starts at the clock, which is taken to be ahead of all epochs: more than one
    /// term in every second of a Service's life cannot be told from lost ones.
    fn outrun_epochs(&mut self) {
        self.now = self.now.max(Timestamp::from_secs(self.server.highest_epoch().0 + 1));
    }

    /// Nothing that a replica could know tells it that the recorded pair of leader and epoch is not the one that
    /// was published, if it was not there: such a slice is taken away.
    fn remove_what_nobody_could_know(&mut self) -> Option<Epoch> {
        self.outrun_epochs();
        let publication = self.server.slice.as_ref().map(|stored| stored.publication.clone())?;
        let epoch = publication.epoch?;
        let last = self.server.commits.iter().rfind(|commit| commit.epoch == epoch);
        let is_known = last.is_some_and(|commit| commit.leader == publication.leader);
        if !is_known {
            self.server.delete_slice();
        }
        (epoch != self.server.highest_epoch()).then(|| self.server.highest_epoch())
    }

    /// A replica begins, maybe in the place of another, from lists that may lag.
    fn begin(&mut self, n: usize, lag: usize) {
        if self.opted_out {
            return;
        }
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        self.lives += 1;
        let mut replica = Replica::new(self.lives, &self.policy);
        replica.pods = self.server.pod_log.len().saturating_sub(lag);
        replica.slices = self.server.slice_log.len();
        if let Some(until) = self.pause {
            replica.feed(self.now, Event::Paused { until });
        }
        if let Some(request) = self.request.clone() {
            replica.feed(self.now, Event::SwitchoverRequested { request });
        }
        if let Some(by_service) = self.blocked {
            replica.feed(self.now, Event::Blocked { by: obstruction(by_service) });
        }
        let members = self.server.members_at(replica.pods);
        let standing = replica.standing(&self.server, mirrored);
        replica.feed(self.now, Event::Synced { members, standing });
        if let Some(former) = self.replicas.get_mut(n) {
            for (_, wanted, based_on) in former.writes.drain(..) {
                self.limbo.push((former.life, wanted, based_on));
            }
            former.check_replay(false);
            *former = replica;
        } else {
            self.replicas.push(replica);
        }
        self.tell_lost_nodes(n);
    }

    fn tell_lost_nodes(&mut self, n: usize) {
        let lost: Vec<_> =
            self.server.pods.iter().flatten().filter(|truth| truth.node_lost).cloned().collect();
        for truth in lost {
            if self.replicas[n].told(&truth.member.pod).is_some() {
                self.feed(n, Event::NodeLost { pod: truth.member.pod });
            }
        }
    }

    /// All lists are in once more, and nothing older follows.
    fn again(&mut self, n: usize) {
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        let replica = &mut self.replicas[n];
        replica.pods = self.server.pod_log.len();
        replica.slices = self.server.slice_log.len();
        let members = self.server.members_at(replica.pods);
        let standing = replica.standing(&self.server, mirrored);
        self.feed(n, Event::Synced { members, standing });
        self.tell_lost_nodes(n);
    }

    fn lease(&mut self, n: usize, held: bool) {
        self.replicas[n].lease = held;
        self.feed(n, if held { Event::LeaseHeld } else { Event::LeaseLost });
    }

    fn pod(&mut self, slot: usize, op: PodOp) {
        let now = self.now;
        let Some(truth) = &mut self.server.pods[slot] else {
            if let PodOp::Ready | PodOp::Unready = op {
                self.server.create_pod(slot, now);
            }
            return;
        };
        let member = &mut truth.member;
        let was_ready = member.ready;
        match op {
            PodOp::Ready => member.ready = true,
            PodOp::Unready => member.ready = false,
            PodOp::Terminating => member.terminating = true,
            PodOp::Deleted => return self.server.pod_left(slot, Departure::Deleted),
            PodOp::Finished => return self.server.pod_left(slot, Departure::Finished),
            PodOp::Relabelled => truth.is_member = !truth.is_member,
            PodOp::Moved => {
                let reach = self.server.next_address();
                if let Some(truth) = &mut self.server.pods[slot] {
                    truth.member.reach = reach;
                }
            }
            PodOp::Unreachable => member.reach = Reach::PortUnresolved { named: true },
            PodOp::Excluded => member.excluded = !member.excluded,
            PodOp::Priority => member.priority = 1 - member.priority,
            PodOp::Revision => member.revision += 1,
        }
        if let Some(truth) = &mut self.server.pods[slot]
            && truth.member.ready != was_ready
        {
            // 1 s resolution.
            truth.member.ready_changed = Timestamp::from_secs(now.as_secs());
        }
        self.server.pod_changed(slot);
    }

    fn show_pods(&mut self, n: usize, count: usize) {
        for _ in 0..count {
            let Some(shown) = self.server.pod_log.get(self.replicas[n].pods).cloned() else { return };
            self.replicas[n].pods += 1;
            let is_new = self.replicas[n].told(&shown.pod).is_none();
            let event = self.replicas[n].pod_event(&shown.pod, &shown.now);
            self.feed(n, event);
            let is_lost = self.server.pod(&shown.pod).is_some_and(|truth| truth.node_lost);
            if is_new && is_lost {
                self.feed(n, Event::NodeLost { pod: shown.pod });
            }
        }
    }

    fn show_slices(&mut self, n: usize, count: usize) {
        for _ in 0..count {
            let replica = &mut self.replicas[n];
            let Some(shown) = self.server.slice_log.get(replica.slices) else { return };
            replica.slices += 1;
            let published = shown.stored.as_ref().map(|stored| stored.seen_by(replica.life));
            let by = (shown.by == Author::Foreign).then(|| "kubectl".into());
            let horizon = replica.horizon(&self.server);
            self.feed(n, Event::PublicationObserved { published, horizon, by });
        }
    }

    fn write(&mut self, n: usize, fate: Fate) {
        let replica = &mut self.replicas[n];
        let Some((id, wanted, based_on)) = replica.writes.pop_front() else { return };
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
            Fate::Fair => fair(&wanted),
            Fate::Slow => {
                let answer = fair(&wanted);
                replica.late.push_back(answer);
                return;
            }
            Fate::Unanswered => {
                fair(&wanted);
                failed(Outcome::Unknown)
            }
            Fate::Limbo => {
                self.limbo.push((replica.life, wanted, based_on));
                failed(Outcome::Unknown)
            }
            Fate::Unreachable => failed(Outcome::Unreachable),
            Fate::FalseAlarm => {
                fair(&wanted);
                failed(Outcome::Unreachable)
            }
            Fate::Throttled => failed(Outcome::Throttled(Micros::from_millis(300))),
            Fate::RefusedEndpoint => match (&wanted.leader, shown_endpoint(wanted.shown)) {
                (Some(leader), Some(endpoint)) => {
                    if replica.told(leader).is_some_and(|told| told.reach.endpoint() == Some(endpoint)) {
                        replica.refused.push((leader.clone(), endpoint));
                    }
                    refused(true)
                }
                _ => refused(false),
            },
            Fate::Refused => refused(false),
            Fate::Superseded => failed(Outcome::Superseded),
            Fate::Twice => {
                let answer = fair(&wanted);
                self.feed(n, answer.clone());
                answer
            }
        };
        self.feed(n, answer);
    }

    fn late(&mut self, n: usize) {
        if let Some(answer) = self.replicas[n].late.pop_front() {
            self.feed(n, answer);
        }
    }

    fn limbo(&mut self) {
        if let Some((life, wanted, based_on)) = self.limbo.pop() {
            let _ = self.server.write(&wanted, based_on, Author::Replica(life));
        }
    }

    fn answer(&mut self, n: usize, reply: Reply, fair: Event, failed: Event) {
        match reply {
            Reply::Fair => self.feed(n, fair),
            Reply::Slow => self.replicas[n].late.push_back(fair),
            Reply::Failed => self.feed(n, failed),
        }
    }

    fn read(&mut self, n: usize, reply: Reply) {
        let replica = &mut self.replicas[n];
        if replica.reads.is_empty() {
            return;
        }
        let id = replica.reads.remove(0);
        let published = self.server.slice.as_ref().map(|stored| stored.seen_by(replica.life));
        let horizon = replica.horizon(&self.server);
        self.answer(n, reply, Event::ReadDone { id, published, horizon }, Event::ReadFailed { id });
    }

    fn confirm(&mut self, n: usize, reply: Reply) {
        let Some((id, pod, _)) = self.replicas[n].confirms.first().cloned() else { return };
        let truth = self.server.pod(&pod).filter(|truth| truth.is_member);
        let member = truth.map(|truth| truth.member.clone());
        match reply {
            // The answer finds the order when it comes.
            Reply::Slow
                if self.replicas[n].late.iter().any(|late| matches!(late, Event::Confirmed { .. })) => {}
            Reply::Failed => {
                self.replicas[n].confirms.remove(0);
                self.feed(n, Event::ConfirmFailed { id });
            }
            Reply::Fair | Reply::Slow => {
                self.answer(n, reply, Event::Confirmed { id, member, exists: false }, Event::ConfirmFailed { id });
            }
        }
    }

    fn mirror(&mut self, n: usize, reply: Reply) {
        if self.replicas[n].mirrors.is_empty() {
            return;
        }
        let (id, epoch) = self.replicas[n].mirrors.remove(0);
        if !matches!(reply, Reply::Failed) {
            self.server.mirrored = self.server.mirrored.max(epoch);
        }
        self.answer(n, reply, Event::Mirrored { id }, Event::MirrorFailed { id });
    }

    fn remove(&mut self, n: usize, reply: Reply) {
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

    /// Another replica, which keeps the rules, takes this pod for fit.
    fn term(&mut self, slot: usize) {
        let Some(truth) = self.server.pods[slot].as_ref().filter(|truth| truth.is_member) else { return };
        let (pod, reach) = (truth.member.pod.clone(), truth.member.reach);
        let Some(endpoint) = reach.endpoint() else { return };
        let present = self.server.slice.as_ref().and_then(|stored| stored.publication.epoch);
        let present = present.filter(|epoch| epoch.0 < self.now.as_secs() + 10 * 365 * 24 * 3_600);
        let epoch = Epoch(self.server.highest_epoch().max(present.unwrap_or_default()).0 + 1);
        self.server.overwrite(true, |publication| {
            publication.leader = Some(pod);
            publication.epoch = Some(epoch);
            publication.shown = Shown::Ready(endpoint);
            publication.intact = true;
        });
    }

    /// Another replica saw a loss that it has no successor for.
    fn withdraw(&mut self, drain: bool) {
        let Some(publication) = self.server.slice.as_ref().map(|stored| &stored.publication) else { return };
        let Some(leader) = publication.leader.clone() else { return };
        let is_true = self.server.commits.last().is_some_and(|last| {
            Some(last.epoch) == publication.epoch && last.leader.as_ref() == Some(&leader)
        });
        if !is_true {
            return;
        }
        let truth = self.server.pod(&leader).map(|truth| truth.member.clone());
        match truth {
            Some(member) if drain && member.ready && member.terminating => {
                if let Some(endpoint) = member.reach.endpoint() {
                    self.server
                        .overwrite(true, |publication| publication.shown = Shown::Terminating(endpoint));
                }
            }
            Some(member) if is_fit(&member) => {}
            Some(_) | None => self.server.overwrite(true, |publication| {
                publication.leader = None;
                publication.shown = Shown::Nobody;
            }),
        }
    }

    fn edit(&mut self, kind: u8) {
        let present = self.server.slice.as_ref().map(|stored| stored.publication.version);
        let has_seen = |replica: &Replica| replica.election.published().map(|seen| seen.version) == present;
        if matches!(kind, 3..=5) && !self.replicas.iter().all(has_seen) {
            // Whoever never saw the true pair of leader and epoch cannot tell that it was forged.
            return;
        }
        self.outrun_epochs();
        let stranger = self.server.pods.iter().flatten().next().map(|truth| truth.member.pod.clone());
        let beyond = self.now.as_secs() + 11 * 365 * 24 * 3_600;
        self.server.overwrite(false, |publication| match kind {
            0 => {
                publication.leader = None;
                publication.shown = Shown::Nobody;
            }
            1 => publication.shown = Shown::Foreign,
            2 => publication.shown = Shown::Ready(endpoint(66)),
            3 => publication.leader = stranger,
            4 => publication.epoch = Some(Epoch(3)),
            5 => publication.epoch = None,
            6 => publication.intact = false,
            7 => {
                publication.leader = stranger;
                publication.epoch = publication.epoch.map(|epoch| Epoch(epoch.0 + 50));
                publication.shown = Shown::Ready(endpoint(66));
            }
            8 => publication.epoch = Some(Epoch(beyond)),
            _ => publication.handled = Some("x".into()),
        });
    }

    fn policy(&mut self, kind: u8) {
        let secs = Micros::from_secs;
        self.policy = Policy {
            failback: match kind % 4 {
                0 => Failback::After(Micros::ZERO),
                1 => Failback::After(secs(20)),
                _ => Failback::Never,
            },
            min_ready_duration: if kind.is_multiple_of(3) { secs(10) } else { Micros::ZERO },
            failover_min_delay: if kind.is_multiple_of(2) { secs(5) } else { Micros::ZERO },
            strategy: [Strategy::Oldest, Strategy::Newest, Strategy::LongestReady][usize::from(kind % 3)],
            prefer_new_revision: kind < 6,
        };
        self.feed_all(&Event::PolicyChanged { policy: self.policy.clone() });
    }

    fn pause(&mut self, kind: u8) {
        let until = (kind > 0).then(|| self.now.plus(Micros::from_secs(u64::from(kind) * 5 - 5)));
        self.pause = Some(until);
        self.feed_all(&Event::Paused { until });
    }

    fn request(&mut self, slot: usize, kind: u8) {
        let Some(truth) = &self.server.pods[slot] else { return };
        let pod = &truth.member.pod;
        let (uid, expires) = match kind {
            0 => (None, None),
            1 => (Some(pod.uid().into()), Some(self.now.plus(Micros::from_secs(60)))),
            2 => (Some("nobody".into()), Some(self.now.plus(Micros::from_secs(60)))),
            _ => (Some(pod.uid().into()), Some(self.now.plus(Micros::from_millis(20)))),
        };
        let text = format!("{pod}/{kind}").into();
        let request = Switchover { text, pod: pod.name().into(), uid, expires };
        self.request = Some(request.clone());
        self.feed_all(&Event::SwitchoverRequested { request });
    }

    fn block(&mut self, by_service: bool) {
        self.blocked = Some(by_service);
        self.feed_all(&Event::Blocked { by: obstruction(by_service) });
    }

    fn unblock(&mut self) {
        if self.blocked.take().is_none() {
            return;
        }
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        for n in 0..self.replicas.len() {
            self.replicas[n].slices = self.server.slice_log.len();
            let standing = self.replicas[n].standing(&self.server, mirrored);
            self.feed(n, Event::Unblocked { standing });
        }
    }

    fn node(&mut self, slot: usize, lost: bool) {
        let Some(truth) = &mut self.server.pods[slot] else { return };
        truth.node_lost = lost;
        let pod = truth.member.pod.clone();
        for n in 0..self.replicas.len() {
            if self.replicas[n].told(&pod).is_some() {
                let pod = pod.clone();
                self.feed(n, if lost { Event::NodeLost { pod } } else { Event::NodeBack { pod } });
            }
        }
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

    /// Faults stop, everything is answered, and time passes until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        while !self.limbo.is_empty() {
            self.limbo();
        }
        for _ in 0..ROUNDS_MOST {
            let mut is_quiet = true;
            for n in 0..self.replicas.len() {
                self.show_pods(n, usize::MAX);
                self.show_slices(n, usize::MAX);
                while self.replicas[n].waits() {
                    is_quiet = false;
                    self.late(n);
                    self.write(n, Fate::Fair);
                    self.read(n, Reply::Fair);
                    self.confirm(n, Reply::Fair);
                    self.mirror(n, Reply::Fair);
                    self.remove(n, Reply::Fair);
                }
            }
            let lags = |replica: &Replica| replica.slices < self.server.slice_log.len();
            if !is_quiet || self.replicas.iter().any(lags) {
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

    /// What must hold once nothing is left to do.
    fn check_rest(&mut self) {
        let slice = self.server.slice.as_ref();
        for replica in &self.replicas {
            if self.opted_out {
                assert!(replica.election.is_over());
            } else {
                assert!(replica.election.is_settled(), "{:?}", replica.election.state());
            }
            assert_eq!(replica.election.state().pod(), self.replicas[0].election.state().pod(), "two views");
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
        let is_lost_to_nobody = |pod: &machine::Pod| {
            self.replicas.iter().all(|replica| replica.refused.iter().all(|(refused, _)| refused != pod))
        };
        let eligible = self
            .server
            .members()
            .find(|truth| truth.is_fit() && !truth.node_lost && is_lost_to_nobody(&truth.member.pod));
        let leader = publication.leader.as_ref().and_then(|leader| self.server.pod(leader));
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
    }

    /// I8: the same facts again lead to nothing.
    fn check_silence(&mut self) {
        let mut facts = vec![
            Event::PolicyChanged { policy: self.policy.clone() },
            Event::ServerBack,
            Event::DeadlineReached,
        ];
        for n in 0..self.replicas.len() {
            let replica = &self.replicas[n];
            let members = replica.told.iter().cloned();
            facts.extend(members.map(|member| Event::PodChanged { member }));
            facts.push(if replica.lease { Event::LeaseHeld } else { Event::LeaseLost });
            let (published, horizon) = (replica.election.published().cloned(), self.server.version());
            if self.blocked.is_none() && !self.opted_out {
                facts.push(Event::PublicationObserved { published, horizon, by: None });
            }
            for fact in facts.drain(..) {
                self.feed(n, fact);
                let (_, event, step) = &self.replicas[n].log[self.replicas[n].log.len() - 1];
                assert_eq!(*step, machine::Step::default(), "I8: {event:?}");
            }
        }
    }
}

fn obstruction(by_service: bool) -> Obstruction {
    if by_service { Obstruction::Service("s".into()) } else { Obstruction::Slice("s".into()) }
}
