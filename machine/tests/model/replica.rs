//! One replica: an election, its clock, what it has been told of pods, and the orders it has open.

use std::hash::{Hash, Hasher};

use machine::{
    Departure, Effect, Election, Epoch, Event, Member, Micros, OrderId, Pod, Policy, Standing, State, Step,
    Timestamp, Version,
};

use crate::canon::Canon;
use crate::invariants::Broken;
use crate::pods::PodEvent;
use crate::server::{Server, Write};
use crate::support::START;

/// So many orders and alarms may follow a new fact before the next one.
const SPINS_MOST: u8 = 40;

/// Whatever changes it makes its [`Canon`] anew.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) election: Election,
    /// Its own clock.
    pub(crate) now: Timestamp,
    /// The members as it was told of them, by whatever order the facts came.
    pub(crate) told: Vec<Member>,
    /// It was shown that this pod leads, by a term newer than its facts, which do not call it fit: it must ask.
    pub(crate) must_ask: Option<Pod>,
    /// Those that are slow, then the one that was just ordered.
    pub(crate) writes: Vec<Write>,
    pub(crate) slow_writes: usize,
    pub(crate) reads: Vec<OrderId>,
    pub(crate) confirms: Vec<(OrderId, Pod)>,
    /// Answers on their way.
    pub(crate) late: Vec<Event>,
    /// The highest version of the slice that it was shown.
    newest: Version,
    highest: Option<Epoch>,
    /// In which version it was first shown a term of another replica, if that is the present one.
    adopted: Version,
    /// Orders and alarms since it last learned anything.
    spins: u8,
    pub(crate) broken: Option<Broken>,
    canon: Canon,
}

impl Hash for Replica {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.election.hash(state);
        self.told.hash(state);
        self.must_ask.hash(state);
        self.writes.hash(state);
        self.slow_writes.hash(state);
        self.reads.hash(state);
        self.confirms.hash(state);
        self.late.hash(state);
        self.newest.hash(state);
        self.highest.hash(state);
        self.adopted.hash(state);
        self.spins.hash(state);
    }
}

impl Replica {
    /// It begins from lists that are what is there. Nobody ever holds the Lease, which decides nothing but preferences.
    pub(crate) fn begin(n: usize, server: &Server, now: Timestamp) -> Self {
        let mut replica = Self {
            election: Election::new(Policy::default()),
            now: now.max(START),
            told: Vec::new(),
            must_ask: None,
            writes: Vec::new(),
            slow_writes: 0,
            reads: Vec::new(),
            confirms: Vec::new(),
            late: Vec::new(),
            newest: Version(0),
            highest: None,
            adopted: Version(0),
            spins: 0,
            broken: None,
            canon: Canon::default(),
        };
        replica.feed(&Event::LeaseLost);
        let members: Vec<_> = server.members().cloned().collect();
        let published = server.slice.as_ref().map(|stored| stored.seen_by(n));
        let mirrored = published.as_ref().and_then(|publication| publication.epoch);
        let standing = Standing { published, mirrored, horizon: server.version(), ..Standing::default() };
        replica.feed(&Event::Synced { members, standing });
        replica
    }

    pub(crate) const fn canon(&self) -> &Canon {
        &self.canon
    }

    /// One fact, and all that must hold after it.
    pub(crate) fn feed(&mut self, event: &Event) {
        self.note(event);
        let before = self.election.state().clone();
        let step = self.election.step(self.now, event);
        self.look_at_publication(event);
        self.check_loss(&before, event);
        self.spins = self.spins.saturating_add(u8::from(matches!(event, Event::DeadlineReached)));
        self.take(step);
        if self.spins > SPINS_MOST {
            self.broken = Some(Broken::Endless);
        }
        self.canon = Canon::of(self, self.now);
    }

    /// The alarm rings.
    pub(crate) fn wake(&mut self) {
        let Some(deadline) = self.election.deadline() else { return };
        self.now = self.now.max(deadline);
        self.feed(&Event::DeadlineReached);
    }

    /// Time passes until the clock is ahead of `epoch`.
    pub(crate) fn outrun(&mut self, epoch: Epoch) {
        if self.now.as_secs() <= epoch.0 {
            self.now = Timestamp::from_secs(epoch.0).plus(Micros::from_secs(1));
            self.canon = Canon::of(self, self.now);
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Synced { members, .. } => self.told.clone_from(members),
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => {
                let newest = self.newest;
                self.must_ask.take_if(|pod| *pod.uid() == *member.pod.uid() && member.version > newest);
                let leads =
                    matches!(self.election.state(), State::Elected { leader, .. } if *leader == member.pod);
                let is_lost = !is_fit(member) && !member.terminating;
                if self.hear(member) && leads && is_lost && member.version < self.adopted {
                    self.must_ask = Some(member.pod.clone());
                }
            }
            Event::PodGone { pod, .. } => self.bury(pod),
            Event::Confirmed { id, member, .. } => {
                if let Some(index) = self.confirms.iter().position(|(confirm, _)| confirm == id) {
                    let (_, pod) = self.confirms.remove(index);
                    self.must_ask.take_if(|asked| asked.uid() == pod.uid());
                    match member {
                        Some(member) => _ = self.hear(member),
                        None => self.bury(&pod),
                    }
                }
            }
            _ => {}
        }
    }

    /// Answers whether that is news.
    fn hear(&mut self, member: &Member) -> bool {
        match self.told.iter_mut().find(|told| told.pod.uid() == member.pod.uid()) {
            Some(told) if told.version >= member.version => return false,
            Some(told) => told.clone_from(member),
            None => self.told.push(member.clone()),
        }
        self.told.sort_by(|a, b| a.pod.uid().cmp(b.pod.uid()));
        self.spins = 0;
        true
    }

    fn bury(&mut self, pod: &Pod) {
        if self.told(pod).is_some() {
            self.told.retain(|told| told.pod.uid() != pod.uid());
            self.spins = 0;
        }
        self.must_ask.take_if(|asked| asked.uid() == pod.uid());
    }

    pub(crate) fn told(&self, pod: &Pod) -> Option<&Member> {
        self.told.iter().find(|told| told.pod.uid() == pod.uid())
    }

    /// Whatever the election took for news of the slice: who is to be asked about because of it?
    fn look_at_publication(&mut self, event: &Event) {
        let Some(known) = self.election.published().filter(|known| known.version != self.newest) else {
            return;
        };
        self.newest = known.version;
        self.spins = 0;
        let horizon = match event {
            Event::Synced { standing, .. } => standing.horizon,
            Event::PublicationObserved { horizon, .. } | Event::ReadDone { horizon, .. } => *horizon,
            // Our own write.
            _ => known.version,
        };
        let is_new = known.epoch > self.highest;
        self.highest = self.highest.max(known.epoch);
        let leader = known.leader.as_ref();
        if is_new {
            self.adopted = if known.ours { Version(0) } else { known.version };
        }
        self.must_ask.take_if(|pod| is_new || leader.map(Pod::uid) != Some(pod.uid()));
        if is_new && !known.ours && horizon < known.version {
            self.must_ask = leader.filter(|leader| !self.told(leader).is_some_and(is_fit)).cloned();
        }
    }

    fn take(&mut self, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Publish { id, wanted, based_on } => {
                    let write = Write { id, wanted, based_on };
                    self.check_order(&write);
                    self.writes.push(write);
                }
                Effect::Read { id } => self.reads.push(id),
                Effect::Confirm { id, pod } => self.confirms.push((id, pod)),
                Effect::Notify { .. } => continue,
                Effect::Mirror { .. } | Effect::Remove { .. } => self.broken = Some(Broken::Forbidden),
            }
            self.spins = self.spins.saturating_add(1);
        }
    }

    /// The pod's event, as the controller tells it.
    pub(crate) fn pod_event(&self, shown: &PodEvent) -> Event {
        match &shown.now {
            Err(how) => Event::PodGone { pod: shown.pod.clone(), how: *how },
            Ok(member) => self.member_event(member.clone()),
        }
    }

    fn member_event(&self, member: Member) -> Event {
        let old = self.told(&member.pod);
        if member.terminating && old.is_none_or(|old| !old.terminating) {
            Event::PodTerminating { member }
        } else if old.is_some_and(|old| old.ready == member.ready) {
            Event::PodChanged { member }
        } else if member.ready {
            Event::PodReady { member }
        } else {
            Event::PodUnready { member }
        }
    }

    /// What the pods' watch missed, as the controller finds it in a new list: first who is gone, then who is there.
    pub(crate) fn difference(&self, server: &Server) -> Vec<Event> {
        let gone = self.told.iter().filter(|told| server.find(&told.pod).is_none());
        let gone = gone.map(|told| Event::PodGone { pod: told.pod.clone(), how: Departure::Deleted });
        let there = server.members().filter(|member| self.told(&member.pod) != Some(member));
        gone.chain(there.map(|member| self.member_event(member.clone()))).collect()
    }

    /// The write that was just ordered takes its time.
    pub(crate) fn delay(&mut self) {
        self.slow_writes += 1;
        self.canon = Canon::of(self, self.now);
    }

    /// The write that was just ordered, or else the one that is slow for longest.
    pub(crate) fn next_write(&mut self) -> Write {
        if self.writes.len() > self.slow_writes {
            self.writes.remove(self.slow_writes)
        } else {
            self.slow_writes -= 1;
            self.writes.remove(0)
        }
    }

    /// The questions whose answers are on their way.
    pub(crate) fn slow_confirms(&self) -> usize {
        self.late.iter().filter(|event| matches!(event, Event::Confirmed { .. })).count()
    }

    pub(crate) fn wait_for(&mut self, answer: Event) {
        self.late.push(answer);
        self.canon = Canon::of(self, self.now);
    }
}

pub(crate) const fn is_fit(member: &Member) -> bool {
    member.ready && !member.terminating && !member.excluded
}
