//! A small world for an election to live in: three pods, the slice, and what can happen to them. Every deed leads to
//! at most one event, as the controller would tell it.

#![allow(clippy::unnecessary_wraps, reason = "every deed answers alike, also one that is always possible")]

use machine::{
    Departure, Effect, Election, Epoch, Event, Failback, Member, Micros, Obstruction, OrderId, Outcome,
    Phase, Pod, Policy, Publication, Reach, Scope, Shown, Standing, Timestamp, Version, Wanted,
};

use crate::builders::{self, START, policy, request, secs};

/// What stands in the head of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// Before `Synced`, or blocked.
    Waiting,
    In(Phase),
}

impl Column {
    pub(crate) const fn phase(self) -> Phase {
        match self {
            Self::Waiting => Phase::Leaderless,
            Self::In(phase) => phase,
        }
    }
}

/// What one event did.
pub(crate) struct Told {
    pub(crate) event: Event,
    /// None: the election was leaving, or over.
    pub(crate) column: Option<Column>,
    pub(crate) is_paused: bool,
    pub(crate) went: Option<(Phase, Phase)>,
}

#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(crate) struct World {
    election: Election,
    now: Timestamp,
    version: u64,
    pods: [Option<Member>; 3],
    slice: Option<Publication>,
    highest: u64,
    write: Option<(OrderId, Wanted, Option<Version>)>,
    read: Option<OrderId>,
    confirm: Option<(OrderId, Pod)>,
    mirror: Option<OrderId>,
    notice: Option<OrderId>,
    remove: Option<(OrderId, Scope)>,
    is_synced: bool,
    is_blocked: bool,
    is_leaving: bool,
    is_paused: bool,
}

/// Something that happens, if it can.
pub(crate) type Deed = fn(&mut World) -> Option<Event>;

/// All that can happen, several times what keeps a history going.
pub(crate) const DEEDS: &[Deed] = &[
    // The pods.
    |w| w.ready(0),
    |w| w.ready(1),
    |w| w.ready(1),
    |w| w.ready(2),
    |w| w.unready(0),
    |w| w.unready(1),
    |w| w.unready_leader(),
    |w| w.unready_leader(),
    |w| w.terminating(0),
    |w| w.terminating(1),
    |w| w.terminating_leader(),
    |w| w.gone(0, Departure::Deleted),
    |w| w.gone(1, Departure::Finished),
    |w| w.gone(2, Departure::Relabelled),
    |w| w.gone(w.leader()?, Departure::Deleted),
    |w| w.changed(0, |member| member.excluded = !member.excluded),
    |w| w.changed(1, |member| member.excluded = !member.excluded),
    |w| w.changed(1, |member| member.reach = builders::at(9)),
    |w| w.changed(w.leader()?, |member| member.reach = Reach::PortUnresolved { named: true }),
    |w| w.changed(w.leader()?, |member| member.reach = builders::at(8)),
    |w| w.changed(0, |member| member.reach = builders::at(1)),
    |w| w.changed(1, |member| member.reach = builders::at(2)),
    |w| w.changed(2, |member| member.priority = 1 - member.priority),
    |w| Some(Event::NodeLost { pod: w.pod(w.leader()?)? }),
    |w| Some(Event::NodeLost { pod: w.pod(1)? }),
    |w| Some(Event::NodeBack { pod: w.pod(0)? }),
    |w| Some(Event::NodeBack { pod: w.pod(1)? }),
    // Answers.
    World::write_is_done,
    World::write_is_done,
    World::write_is_done,
    |w| w.write_fails(Outcome::Unknown),
    |w| w.write_fails(Outcome::Unreachable),
    |w| w.write_fails(Outcome::Superseded),
    |w| w.write_fails(Outcome::Throttled(Micros::from_millis(300))),
    |w| w.write_fails(Outcome::Refused { endpoint: true, words: "no".into() }),
    |w| w.write_fails(Outcome::Refused { endpoint: false, words: "no".into() }),
    |w| {
        w.apply_write().ok()?;
        w.write_fails(Outcome::Unknown)
    },
    |w| w.read_is_done(true),
    |w| w.read_is_done(false),
    |w| Some(Event::ReadFailed { id: w.read.take()? }),
    World::confirmed,
    World::confirmed,
    |w| Some(Event::ConfirmFailed { id: w.confirm.take()?.0 }),
    |w| Some(Event::Mirrored { id: w.mirror.take()? }),
    |w| Some(Event::MirrorFailed { id: w.mirror.take()? }),
    |w| Some(Event::Notified { id: w.notice.take()? }),
    |w| Some(Event::NotifyFailed { id: w.notice.take()? }),
    World::removed,
    |w| Some(Event::RemoveFailed { id: w.remove.take()?.0 }),
    // Answers to nothing that was asked.
    |w| Some(Event::Published { id: OrderId(0), version: w.next_version() }),
    |_| Some(Event::PublishFailed { id: OrderId(0), outcome: Outcome::Unknown }),
    |w| {
        let (published, horizon) = (w.slice.clone(), w.horizon(true));
        Some(Event::ReadDone { id: OrderId(0), published, horizon })
    },
    |_| Some(Event::ReadFailed { id: OrderId(0) }),
    |w| Some(Event::Confirmed { id: OrderId(0), member: w.pods[0].clone(), exists: true }),
    |_| Some(Event::ConfirmFailed { id: OrderId(0) }),
    |_| Some(Event::Removed { id: OrderId(0) }),
    |_| Some(Event::RemoveFailed { id: OrderId(0) }),
    // The slice, and other writers.
    |w| w.observed(true),
    |w| w.observed(false),
    |w| w.another_leads(0),
    |w| w.another_leads(1),
    |w| w.another_leads(2),
    |w| w.edited(|slice| (slice.leader, slice.shown) = (None, Shown::Nobody)),
    |w| w.edited(|slice| slice.shown = Shown::Foreign),
    |w| w.edited(|slice| slice.intact = false),
    |w| w.edited(|slice| slice.epoch = None),
    |w| {
        w.edited(|slice| {
            if let Shown::Ready(endpoint) = slice.shown {
                slice.shown = Shown::Terminating(endpoint);
            }
        })
    },
    |w| {
        w.slice = None;
        w.observed(true)
    },
    // What people ask for.
    |_| Some(Event::PolicyChanged { policy: Policy::default() }),
    |_| Some(Event::PolicyChanged { policy: policy(|policy| policy.failover_min_delay = secs(5)) }),
    |_| Some(Event::PolicyChanged { policy: policy(|policy| policy.failover_min_delay = secs(5)) }),
    |_| Some(Event::PolicyChanged { policy: policy(|policy| policy.failback = Failback::After(secs(0))) }),
    |_| Some(Event::PolicyChanged { policy: policy(|policy| policy.min_ready_duration = secs(3)) }),
    |_| Some(Event::SwitchoverRequested { request: request("b") }),
    |_| Some(Event::SwitchoverRequested { request: request("a/a1;t;9") }),
    |_| Some(Event::SwitchoverWithdrawn),
    |w| w.paused(),
    |w| w.resumed(),
    |w| w.resumed(),
    |w| w.leaves(Event::OptedOut),
    |w| w.leaves(Event::ServiceGone),
    // The rest of the cluster.
    |_| Some(Event::LeaseLost),
    |_| Some(Event::LeaseHeld),
    |_| Some(Event::ServerBack),
    |w| w.blocked(Obstruction::Service("orders-leader".into())),
    |w| w.blocked(Obstruction::Slice("orders-leader".into())),
    |w| w.unblocked(true),
    |w| w.unblocked(true),
    |w| w.unblocked(false),
    |w| w.synced(true),
    |w| w.synced(false),
    |_| Some(Event::DeadlineReached),
    World::woken,
    World::woken,
    World::woken,
    |w| w.wait(1),
    |w| w.wait(60),
];

impl World {
    /// `a` and `b`, as `kind` says: absent, not Ready, Ready, or Ready and terminating; and a slice, or none.
    pub(crate) fn new(kind: usize) -> Self {
        let mut world = Self {
            election: Election::new(Policy::default()),
            now: START,
            version: 100,
            pods: [None, None, None],
            slice: None,
            highest: 7,
            write: None,
            read: None,
            confirm: None,
            mirror: None,
            notice: None,
            remove: None,
            is_synced: false,
            is_blocked: false,
            is_leaving: false,
            is_paused: false,
        };
        for (slot, kind) in [kind % 4, kind / 4 % 4].into_iter().enumerate() {
            world.pods[slot] = (kind > 0).then(|| world.newcomer(slot, kind > 1));
            if let (Some(member), 3) = (&mut world.pods[slot], kind) {
                member.terminating = true;
            }
        }
        let published = builders::slice("a", 7).version(90);
        world.slice = match kind / 16 % 4 {
            0 => None,
            1 => Some(published.empty().0),
            2 => Some(published.terminating().0),
            _ => Some(published.0),
        };
        world
    }

    /// How many kinds of beginnings there are.
    pub(crate) const BEGINNINGS: usize = 64;

    pub(crate) fn tell(&mut self, event: Event) -> Told {
        let (is_leaving, is_waiting) = (self.is_leaving, !self.is_synced || self.is_blocked);
        let phase = self.election.state().phase();
        let column = if is_waiting { Column::Waiting } else { Column::In(phase) };
        self.is_synced |= matches!(event, Event::Synced { .. });
        self.is_leaving |= matches!(event, Event::OptedOut | Event::ServiceGone);
        self.is_blocked |= matches!(event, Event::Blocked { .. });
        self.is_blocked &= !matches!(event, Event::Unblocked { .. });
        let step = self.election.step(self.now, &event);
        for effect in step.effects {
            match effect {
                Effect::Publish { id, wanted, based_on } => self.write = Some((id, wanted, based_on)),
                Effect::Read { id } => self.read = Some(id),
                Effect::Confirm { id, pod } => self.confirm = Some((id, pod)),
                Effect::Mirror { id, .. } => self.mirror = Some(id),
                Effect::Notify { id, .. } => self.notice = Some(id),
                Effect::Remove { id, scope } => self.remove = Some((id, scope)),
            }
        }
        let went = step.transition.map(|transition| (transition.from, transition.to));
        let column = (!is_leaving).then_some(column);
        Told { event, column, is_paused: self.is_paused, went }
    }

    fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    fn horizon(&self, is_newer: bool) -> Version {
        Version(if is_newer { self.version } else { 1 })
    }

    fn name(slot: usize) -> &'static str {
        ["a", "b", "c"][slot]
    }

    fn newcomer(&mut self, slot: usize, is_ready: bool) -> Member {
        let version = self.next_version().0;
        let pod = builders::pod(Self::name(slot)).version(version);
        if is_ready { pod.ready_since(self.now).0 } else { pod.unready_since(self.now).0 }
    }

    fn pod(&self, slot: usize) -> Option<Pod> {
        self.pods[slot].as_ref().map(|member| member.pod.clone())
    }

    fn leader(&self) -> Option<usize> {
        let leader = self.election.state().pod()?;
        (0..3).find(|slot| leader.name() == Self::name(*slot) && self.pods[*slot].is_some())
    }

    fn change(&mut self, slot: usize, change: impl FnOnce(&mut Member)) -> Option<Member> {
        let version = self.next_version();
        let member = self.pods[slot].as_mut()?;
        change(member);
        member.version = version;
        Some(member.clone())
    }

    fn ready(&mut self, slot: usize) -> Option<Event> {
        if self.pods[slot].is_none() {
            self.pods[slot] = Some(self.newcomer(slot, true));
        }
        let now = self.now;
        let member = self.change(slot, |member| {
            if !std::mem::replace(&mut member.ready, true) {
                member.ready_changed = now;
            }
        })?;
        Some(Event::PodReady { member })
    }

    fn unready(&mut self, slot: usize) -> Option<Event> {
        let now = self.now;
        let member = self.change(slot, |member| {
            if std::mem::replace(&mut member.ready, false) {
                member.ready_changed = now;
            }
        })?;
        Some(Event::PodUnready { member })
    }

    fn unready_leader(&mut self) -> Option<Event> {
        self.unready(self.leader()?)
    }

    fn terminating(&mut self, slot: usize) -> Option<Event> {
        let member = self.change(slot, |member| member.terminating = true)?;
        Some(Event::PodTerminating { member })
    }

    fn terminating_leader(&mut self) -> Option<Event> {
        self.terminating(self.leader()?)
    }

    fn gone(&mut self, slot: usize, how: Departure) -> Option<Event> {
        Some(Event::PodGone { pod: self.pods[slot].take()?.pod, how })
    }

    fn changed(&mut self, slot: usize, change: impl FnOnce(&mut Member)) -> Option<Event> {
        Some(Event::PodChanged { member: self.change(slot, change)? })
    }

    /// The server takes the open write, or does not. Answers the slice's version if it does.
    fn apply_write(&mut self) -> Result<Version, Outcome> {
        let Some((_, wanted, based_on)) = &self.write else { return Err(Outcome::Unknown) };
        match (self.slice.as_ref().map(|slice| slice.version), *based_on) {
            (None, Some(_)) => return Err(Outcome::Gone),
            (Some(_), None) => return Err(Outcome::Exists),
            (Some(now), Some(based_on)) if now != based_on => return Err(Outcome::Conflict),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let wanted = wanted.clone();
        let version = self.next_version();
        self.highest = self.highest.max(wanted.epoch.unwrap_or_default().0);
        self.slice = Some(wanted.acknowledged(version));
        Ok(version)
    }

    pub(crate) fn write_is_done(&mut self) -> Option<Event> {
        let id = self.write.as_ref()?.0;
        let answer = self.apply_write();
        self.write = None;
        Some(match answer {
            Ok(version) => Event::Published { id, version },
            Err(outcome) => Event::PublishFailed { id, outcome },
        })
    }

    fn write_fails(&mut self, outcome: Outcome) -> Option<Event> {
        Some(Event::PublishFailed { id: self.write.take()?.0, outcome })
    }

    fn read_is_done(&mut self, is_newer: bool) -> Option<Event> {
        let (published, horizon) = (self.slice.clone(), self.horizon(is_newer));
        Some(Event::ReadDone { id: self.read.take()?, published, horizon })
    }

    fn confirmed(&mut self) -> Option<Event> {
        let (id, pod) = self.confirm.take()?;
        let member = self.pods.iter().flatten().find(|member| member.pod == pod).cloned();
        Some(Event::Confirmed { id, exists: member.is_some(), member })
    }

    fn removed(&mut self) -> Option<Event> {
        self.slice = None;
        Some(Event::Removed { id: self.remove.take()?.0 })
    }

    fn observed(&self, is_newer: bool) -> Option<Event> {
        let (published, horizon) = (self.slice.clone(), self.horizon(is_newer));
        Some(Event::PublicationObserved { published, horizon, by: None })
    }

    /// Another replica begins a term; the watch is to show it.
    fn another_leads(&mut self, slot: usize) -> Option<Event> {
        self.highest += 1;
        let version = self.next_version();
        let slice = builders::slice(Self::name(slot), self.highest).version(version.0);
        self.slice = Some(slice.0);
        None
    }

    /// Somebody edits the slice; the watch is to show it.
    fn edited(&mut self, edit: impl FnOnce(&mut Publication)) -> Option<Event> {
        let version = self.next_version();
        let slice = self.slice.as_mut()?;
        edit(slice);
        slice.version = version;
        None
    }

    fn paused(&mut self) -> Option<Event> {
        self.is_paused = true;
        Some(Event::Paused { until: None })
    }

    fn resumed(&mut self) -> Option<Event> {
        self.is_paused = false;
        Some(Event::Resumed)
    }

    /// Rarely: there is nothing after it.
    fn leaves(&self, event: Event) -> Option<Event> {
        self.version.is_multiple_of(4).then_some(event)
    }

    fn blocked(&self, by: Obstruction) -> Option<Event> {
        self.version.is_multiple_of(2).then_some(Event::Blocked { by })
    }

    fn standing(&self, is_newer: bool) -> Standing {
        Standing {
            published: self.slice.clone(),
            mirrored: Some(Epoch(7)),
            horizon: self.horizon(is_newer),
            ..Standing::default()
        }
    }

    fn unblocked(&self, is_newer: bool) -> Option<Event> {
        Some(Event::Unblocked { standing: self.standing(is_newer) })
    }

    fn synced(&self, is_newer: bool) -> Option<Event> {
        let members = self.pods.iter().flatten().cloned().collect();
        Some(Event::Synced { members, standing: self.standing(is_newer) })
    }

    /// All lists are in, for the first time.
    pub(crate) fn begun(&mut self) -> Option<Event> {
        if self.is_synced { None } else { self.synced(true) }
    }

    /// The alarm rings, when it was set for.
    pub(crate) fn woken(&mut self) -> Option<Event> {
        self.now = self.now.max(self.election.deadline()?);
        Some(Event::DeadlineReached)
    }

    fn wait(&mut self, seconds: u64) -> Option<Event> {
        self.now = self.now.plus(secs(seconds));
        None
    }

    /// The alarm is due: it rings before anything else.
    pub(crate) fn alarm(&self) -> Option<Event> {
        self.election.deadline().filter(|due| *due <= self.now).map(|_| Event::DeadlineReached)
    }
}
