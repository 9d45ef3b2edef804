//! Everything an election has been told and must remember, and how each event adds to it.
//!
//! Learning decides nothing: [`Facts::learn`] only takes note, [`crate::rules`] chooses the state, and
//! [`crate::orders`] brings the world in line with it.

use std::sync::Arc;

use crate::orders::{Backoff, Doubt, Flight, RETRY_FIRST, RETRY_MOST};
use crate::rank::Ranking;
use crate::{
    Cause, Departure, Effect, Endpoint, Epoch, Event, Member, Micros, Notice, Obstruction, OrderId, Outcome,
    Pod, Policy, Publication, Reach, Reason, Shown, Standing, Step, Switchover, Timestamp,
};

/// No epoch may lie further ahead of the clock than this: ten years. Epochs start at the Unix time in seconds,
/// so one beyond it was not made by us.
const EPOCH_HORIZON_SECS: u64 = 10 * 365 * 24 * 3600;

/// For how long a conflict waits for the watch to show the newer slice before it is read.
const CONFLICT_PATIENCE: Micros = Micros::from_millis(50);

/// How long a refused publication waits before it is tried again, if nothing changes.
const REFUSED_PAUSE: Micros = Micros::from_secs(30);

/// The longest that the server may make us wait: a Retry-After beyond it is cut.
const THROTTLE_MOST: Micros = Micros::from_secs(1);

/// This many reversals within [`CONTEST_WINDOW`] make a contest.
const CONTEST_REVERSALS: usize = 3;
const CONTEST_WINDOW: Micros = Micros::from_secs(60);

/// A member and what the machine remembers of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) member: Member,
    /// When we first saw its present readiness.
    seen: Timestamp,
    /// The endpoint content that the API server refused for good.
    refused: Option<u64>,
    pub(crate) node_lost: bool,
}

impl Row {
    pub(crate) const fn endpoint(&self) -> Option<Endpoint> {
        self.member.reach.endpoint()
    }

    /// The server will not take its present endpoint.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some() && self.refused == self.endpoint().map(|endpoint| endpoint.content)
    }

    /// May stay leader.
    pub(crate) fn is_fit(&self) -> bool {
        let member = &self.member;
        member.ready && !member.terminating && !member.excluded && self.endpoint().is_some()
    }

    /// From when on it may be chosen, provided that nothing changes; never for one that is not fit.
    pub(crate) fn eligible_at(&self, policy: &Policy) -> Option<Timestamp> {
        (self.is_fit() && !self.is_refused() && !self.node_lost)
            .then(|| self.member.ready_changed.min(self.seen).plus(policy.min_ready_duration))
    }

    pub(crate) fn is_eligible(&self, policy: &Policy, at: Timestamp) -> bool {
        self.eligible_at(policy).is_some_and(|from| from <= at)
    }

    /// Terminating, and still answering.
    pub(crate) const fn can_drain(&self) -> bool {
        self.member.terminating && self.member.ready && self.endpoint().is_some()
    }

    /// Since when we know of its present readiness.
    pub(crate) const fn readiness_seen(&self) -> Timestamp {
        self.seen
    }

    pub(crate) fn is_named_by(&self, request: &Switchover) -> bool {
        self.member.pod.name() == &*request.pod
            && request.uid.as_deref().is_none_or(|uid| uid == self.member.pod.uid())
    }
}

/// How far the election has come as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Not all lists are in.
    Unsynced,
    Running,
    /// A foreign object stands in our place. `clear`: what is left of ours must go.
    Blocked {
        clear: bool,
    },
    /// What we own is being deleted.
    Removing,
    Removed,
}

/// The authority slice as we know it.
#[derive(Clone, Debug)]
pub(crate) enum Slice {
    /// A write's outcome is unknown, or we know to be behind.
    Unknown,
    Absent,
    Present(Publication),
}

impl Slice {
    pub(crate) const fn present(&self) -> Option<&Publication> {
        match self {
            Self::Present(publication) => Some(publication),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// What an event showed of the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing new.
    #[default]
    Nothing,
    /// Our own open write, acknowledged by answer or by the watch.
    Acknowledged,
    /// A term above the last acknowledged one. `certain`: our facts about pods are newer than it.
    Term { certain: bool },
    /// Anything else.
    Edited { certain: bool },
}

/// What the step has learned, for the rules to act on.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub(crate) sight: Sight,
    /// A member that left in this step.
    pub(crate) departed: Option<(Pod, Departure)>,
    /// A member whose preference was confirmed in this step.
    pub(crate) confirmed: Option<Pod>,
}

/// A notice about a transition, sent once the API server shows what it says.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) reason: Reason,
    pub(crate) cause: Cause,
}

/// No choices are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    /// When that ends by itself.
    pub(crate) until: Option<Timestamp>,
}

/// What the leader Service says of the leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirrored {
    pub(crate) leader: Option<Pod>,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) handled: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) rows: Vec<Row>,
    pub(crate) policy: Policy,
    pub(crate) life: Life,
    pub(crate) lease: bool,
    pub(crate) pause: Option<Pause>,
    pub(crate) switchover: Option<Box<Switchover>>,
    /// The switchover request that the slice records as handled.
    pub(crate) handled: Option<Arc<str>>,

    pub(crate) slice: Slice,
    /// The last acknowledged epoch, and who led in it if we know.
    pub(crate) acked: Option<(Epoch, Option<Pod>)>,
    /// The highest epoch known or used.
    pub(crate) floor: Epoch,
    /// The slice's line of epochs is broken: the next one starts at the clock.
    pub(crate) broken: bool,
    /// The epoch of the last ordered term, unless its write is known not to have used it.
    pub(crate) used: Option<Epoch>,

    pub(crate) last_id: OrderId,
    pub(crate) flight: Option<Box<Flight>>,
    pub(crate) reading: Option<OrderId>,
    pub(crate) doubt: Option<Box<Doubt>>,
    pub(crate) removing: Option<OrderId>,
    pub(crate) mirroring: Option<OrderId>,
    /// The leadership that the leader Service was last told to mirror.
    pub(crate) mirrored: Option<Mirrored>,

    pub(crate) backoff: Backoff,
    pub(crate) read_backoff: Backoff,
    pub(crate) mirror_backoff: Backoff,
    /// The server refused what is wanted; any change is worth another try.
    pub(crate) refused: bool,
    reversals: Vec<Timestamp>,
    pub(crate) contest: Option<(Timestamp, Micros)>,

    /// When a leadership was found rather than made.
    pub(crate) found_at: Option<Timestamp>,
    pub(crate) news: Option<News>,
    /// The leader that users were last told of.
    pub(crate) announced: Option<Pod>,
    pub(crate) vacancy: Option<Reason>,
    /// UIDs known to be gone whose last watch events may still be on their way.
    graves: Vec<Pod>,
}

impl Facts {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            rows: Vec::new(),
            policy,
            life: Life::Unsynced,
            lease: true,
            pause: None,
            switchover: None,
            handled: None,
            slice: Slice::Unknown,
            acked: None,
            floor: Epoch(0),
            broken: false,
            used: None,
            last_id: OrderId(0),
            flight: None,
            reading: None,
            doubt: None,
            removing: None,
            mirroring: None,
            mirrored: None,
            backoff: Backoff::default(),
            read_backoff: Backoff::default(),
            mirror_backoff: Backoff::default(),
            refused: false,
            reversals: Vec::new(),
            contest: None,
            found_at: None,
            news: None,
            announced: None,
            vacancy: None,
            graves: Vec::new(),
        }
    }

    pub(crate) fn row(&self, pod: &Pod) -> Option<&Row> {
        self.rows.iter().find(|row| row.member.pod == *pod)
    }

    pub(crate) const fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// The switchover request that still waits, if there is one.
    pub(crate) fn pending(&self) -> Option<&Switchover> {
        self.switchover.as_deref().filter(|request| self.handled.as_ref() != Some(&request.text))
    }

    pub(crate) fn ranking(&self) -> Ranking<'_> {
        Ranking::new(&self.rows, &self.policy, self.pending())
    }

    /// The best eligible member, other than `except`.
    pub(crate) fn successor(&self, except: Option<&Pod>, at: Timestamp) -> Option<Pod> {
        let ranking = self.ranking();
        self.rows
            .iter()
            .filter(|row| row.is_eligible(&self.policy, at) && except != Some(&row.member.pod))
            .min_by(|a, b| ranking.compare(a, b))
            .map(|row| row.member.pod.clone())
    }

    /// The epoch of a new term.
    pub(crate) fn next_epoch(&self, at: Timestamp) -> Epoch {
        let next = self.floor.0 + 1;
        Epoch(if self.broken || self.floor == Epoch(0) { next.max(at.as_secs()) } else { next })
    }

    /// Whether `epoch` was ordered by us and may have been written.
    pub(crate) fn is_used(&self, epoch: Epoch) -> bool {
        self.used == Some(epoch)
    }

    /// Whether the slice shows `pod` as the leader of `epoch`.
    pub(crate) fn shows(&self, pod: &Pod, epoch: Epoch) -> bool {
        self.slice.present().is_some_and(|publication| {
            publication.leader.as_ref() == Some(pod) && publication.epoch == Some(epoch)
        })
    }

    pub(crate) fn is_doubted(&self, pod: &Pod) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.holds && doubt.pod == *pod)
    }

    /// Takes note of `event`.
    pub(crate) fn learn(&mut self, at: Timestamp, event: &Event, step: &mut Step) -> Learned {
        self.end_what_is_over(at, step);
        let mut learned = Learned::default();
        match event {
            Event::Synced { members, standing } => self.learn_all(at, members, standing),
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => self.learn_member(at, member),
            Event::PodGone { pod, how } => learned.departed = self.forget(pod).then(|| (pod.clone(), *how)),
            Event::PolicyChanged { policy } => self.policy = policy.clone(),
            Event::OptedOut | Event::ServiceGone => self.life = Life::Removing,
            Event::Published { id, version } => learned.sight = self.published(*id, *version),
            Event::PublishFailed { id, outcome } => self.publish_failed(at, *id, outcome, step),
            Event::ReadDone { id, published, horizon } => {
                if self.reading == Some(*id) {
                    self.reading = None;
                    self.read_backoff.reset();
                }
                learned.sight = self.observe(at, published.as_ref(), *horizon, None, step);
            }
            Event::ReadFailed { id } => {
                if self.reading == Some(*id) {
                    self.reading = None;
                    self.read_backoff.fail(at);
                }
            }
            Event::Confirmed { id, member } => learned.confirmed = self.confirmed(at, *id, member.as_ref()),
            Event::ConfirmFailed { id } => {
                if let Some(doubt) = self.doubt.as_mut().filter(|doubt| doubt.id == Some(*id)) {
                    doubt.id = None;
                    doubt.backoff.fail(at);
                }
            }
            Event::Mirrored { id } => {
                if self.mirroring == Some(*id) {
                    self.mirroring = None;
                    self.mirror_backoff.reset();
                }
            }
            Event::MirrorFailed { id } => {
                if self.mirroring == Some(*id) {
                    self.mirroring = None;
                    self.mirrored = None;
                    self.mirror_backoff.fail(at);
                }
            }
            Event::Removed { id } => {
                if self.removing == Some(*id) {
                    self.removing = None;
                    self.removed();
                }
            }
            Event::RemoveFailed { id } => {
                if self.removing == Some(*id) {
                    self.removing = None;
                    self.backoff.fail(at);
                }
            }
            Event::PublicationObserved { published, horizon, by } => {
                learned.sight = self.observe(at, published.as_ref(), *horizon, by.as_ref(), step);
            }
            Event::Blocked { by } => self.blocked(by, step),
            Event::Unblocked { standing } => {
                if matches!(self.life, Life::Blocked { .. }) {
                    self.life = Life::Running;
                    self.learn_standing(standing, at);
                }
            }
            Event::SwitchoverRequested { request } => self.switchover_requested(request),
            Event::SwitchoverWithdrawn => self.switchover = None,
            Event::Paused { until } => self.paused(at, *until, step),
            Event::Resumed => self.resume(step),
            Event::LeaseHeld => self.lease = true,
            Event::LeaseLost => self.lease = false,
            Event::NodeLost { pod } => self.node(pod, true),
            Event::NodeBack { pod } => self.node(pod, false),
            Event::ServerBack => self.server_back(),
            Event::Notified { .. } | Event::NotifyFailed { .. } | Event::DeadlineReached => {}
        }
        if self.refused && is_change(event) {
            self.refused = false;
            self.backoff.reset();
        }
        learned
    }

    /// A pause or a request may have an end of its own.
    fn end_what_is_over(&mut self, at: Timestamp, step: &mut Step) {
        if let Some(Pause { until: Some(until) }) = self.pause
            && until <= at
        {
            self.resume(step);
        }
        let lapsed = self.pending().filter(|request| request.expires.is_some_and(|expires| expires <= at));
        if let Some(text) = lapsed.map(|request| request.text.clone())
            && self.lease
        {
            self.refuse_switchover(text, step);
        }
    }

    fn learn_all(&mut self, at: Timestamp, members: &[Member], standing: &Standing) {
        let seen = |member: &Member| member.ready_changed.min(at);
        self.rows = members
            .iter()
            .map(|member| Row { member: member.clone(), seen: seen(member), refused: None, node_lost: false })
            .collect();
        self.graves.clear();
        if self.life == Life::Unsynced {
            self.life = Life::Running;
        }
        self.learn_standing(standing, at);
        // A request that is there when a slice is created anew was handled by the one before, as far as we can
        // know; one with a token of its own says for itself whether it still holds.
        if matches!(self.slice, Slice::Absent)
            && let Some(request) = &self.switchover
            && request.uid.is_none()
            && request.expires.is_none()
        {
            self.handled = Some(request.text.clone());
        }
    }

    fn learn_standing(&mut self, standing: &Standing, at: Timestamp) {
        let mirrored = standing.mirrored.filter(|epoch| is_plausible(*epoch, at));
        self.floor = self.floor.max(mirrored.unwrap_or_default());
        self.acked = None;
        self.used = None;
        self.slice = match &standing.published {
            None => {
                self.broken = true;
                Slice::Absent
            }
            Some(publication) => {
                let publication = self.accept(publication, at);
                self.broken |= publication.epoch.is_none_or(|epoch| epoch < self.floor);
                self.acked = term(&publication);
                self.handled.clone_from(&publication.handled);
                self.announced.clone_from(&publication.leader);
                Slice::Present(publication)
            }
        };
    }

    fn learn_member(&mut self, at: Timestamp, member: &Member) {
        if self.graves.contains(&member.pod) {
            return;
        }
        let Some(row) = self.rows.iter_mut().find(|row| row.member.pod == member.pod) else {
            self.rows.push(Row { member: member.clone(), seen: at, refused: None, node_lost: false });
            return;
        };
        if member.version < row.member.version {
            return;
        }
        if row.member.ready != member.ready {
            row.seen = at;
        }
        row.member.clone_from(member);
        if !row.is_refused() {
            row.refused = None;
        }
    }

    /// Whether it was known.
    fn forget(&mut self, pod: &Pod) -> bool {
        self.graves.retain(|grave| grave != pod);
        let Some(index) = self.rows.iter().position(|row| row.member.pod == *pod) else { return false };
        self.rows.swap_remove(index);
        true
    }

    fn node(&mut self, pod: &Pod, lost: bool) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.member.pod == *pod) {
            row.node_lost = lost;
        }
    }

    fn published(&mut self, id: OrderId, version: crate::Version) -> Sight {
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else { return Sight::Nothing };
        if self.slice.present().is_some_and(|known| known.version > version) {
            return Sight::Nothing;
        }
        self.acknowledge(flight.wanted.acknowledged(version))
    }

    fn acknowledge(&mut self, publication: Publication) -> Sight {
        self.backoff.reset();
        self.used = None;
        if self.pending().is_some_and(|request| publication.handled.as_ref() == Some(&request.text)) {
            self.news = Some(News { reason: Reason::SwitchoverCompleted, cause: Cause::Switchover });
        }
        if publication.leader.is_some() {
            self.acked = term(&publication);
            self.broken = false;
        }
        self.handled.clone_from(&publication.handled);
        self.slice = Slice::Present(publication);
        Sight::Acknowledged
    }

    fn publish_failed(&mut self, at: Timestamp, id: OrderId, outcome: &Outcome, step: &mut Step) {
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else { return };
        match outcome {
            Outcome::Conflict => {
                self.give_back(&flight);
                self.fall_behind(&flight, at.plus(CONFLICT_PATIENCE));
            }
            Outcome::Exists => self.fall_behind(&flight, at),
            Outcome::Gone => {
                self.give_back(&flight);
                self.slice = Slice::Absent;
                self.broken = true;
            }
            Outcome::Throttled(pause) => self.backoff.hold_until(at.plus((*pause).min(THROTTLE_MOST))),
            Outcome::Unknown => self.fall_behind(&flight, at.plus(RETRY_FIRST)),
            Outcome::Unreachable => self.backoff.fail(at),
            Outcome::Superseded => self.give_back(&flight),
            Outcome::Refused { endpoint, words } => self.rejected(at, &flight, *endpoint, words, step),
        }
    }

    /// The slice is not what the write was based on, or may be what it says: look again at `when`, unless
    /// something newer has been seen already.
    fn fall_behind(&mut self, flight: &Flight, when: Timestamp) {
        let newer = self
            .slice
            .present()
            .is_some_and(|publication| flight.based_on.is_none_or(|based_on| publication.version > based_on));
        if !newer {
            self.slice = Slice::Unknown;
            self.read_backoff.reset();
            self.read_backoff.hold_until(when);
        }
    }

    fn rejected(
        &mut self,
        at: Timestamp,
        flight: &Flight,
        endpoint: bool,
        words: &Arc<str>,
        step: &mut Step,
    ) {
        self.give_back(flight);
        if let Some(leader) = &flight.wanted.leader
            && endpoint
            && let Some(row) = self.rows.iter_mut().find(|row| row.member.pod == *leader)
        {
            row.refused = shown_endpoint(flight.wanted.shown).map(|endpoint| endpoint.content);
        } else {
            self.refused = true;
            self.backoff.hold_until(at.plus(REFUSED_PAUSE));
        }
        let notice = Notice {
            reason: Reason::PublishRejected,
            cause: None,
            pod: flight.wanted.leader.clone(),
            previous: None,
            detail: Some(words.clone()),
        };
        self.notify(notice, step);
    }

    /// The write certainly did not happen, so its epoch is free again, unless somebody else took it meanwhile.
    fn give_back(&mut self, flight: &Flight) {
        if self.used.is_some() && self.used == flight.wanted.epoch {
            self.used = None;
            let seen = self.slice.present().and_then(|publication| publication.epoch).unwrap_or_default();
            self.floor = flight.floor_before.max(seen);
        }
    }

    fn observe(
        &mut self,
        at: Timestamp,
        published: Option<&Publication>,
        horizon: crate::Version,
        by: Option<&Arc<str>>,
        step: &mut Step,
    ) -> Sight {
        if matches!(self.life, Life::Unsynced) {
            return Sight::Nothing;
        }
        let Some(publication) = published else { return self.vanished(step) };
        if self.slice.present().is_some_and(|known| known.version >= publication.version) {
            return Sight::Nothing;
        }
        let publication = self.accept(publication, at);
        if let Some(flight) = self.flight.take_if(|flight| publication.says(&flight.wanted)) {
            drop(flight);
            return self.acknowledge(publication);
        }
        self.count_reversal(at, &publication, by, step);
        let certain = horizon >= publication.version;
        let sight = match (&publication.leader, publication.epoch) {
            (Some(_), Some(epoch)) if self.is_above_acknowledged(epoch) && is_sound(&publication) => {
                self.acked = term(&publication);
                self.handled.clone_from(&publication.handled);
                self.backoff.reset();
                self.broken = false;
                Sight::Term { certain }
            }
            _ => {
                self.broken |= publication.epoch.is_none() || self.contradicts_acknowledged(&publication);
                Sight::Edited { certain }
            }
        };
        self.slice = Slice::Present(publication);
        sight
    }

    /// Notes the epoch of a publication, unless it is one that nobody can have reached.
    fn accept(&mut self, publication: &Publication, at: Timestamp) -> Publication {
        let mut publication = publication.clone();
        publication.epoch = publication.epoch.filter(|epoch| is_plausible(*epoch, at));
        self.floor = self.floor.max(publication.epoch.unwrap_or_default());
        publication
    }

    fn is_above_acknowledged(&self, epoch: Epoch) -> bool {
        self.acked.as_ref().is_none_or(|(acked, _)| epoch > *acked)
    }

    fn contradicts_acknowledged(&self, publication: &Publication) -> bool {
        match (&self.acked, &publication.leader, publication.epoch) {
            (Some((acked, leader)), Some(recorded), Some(epoch)) => {
                epoch == *acked && leader.as_ref().is_some_and(|leader| leader != recorded)
            }
            _ => false,
        }
    }

    fn vanished(&mut self, step: &mut Step) -> Sight {
        match self.slice {
            Slice::Absent => return Sight::Nothing,
            Slice::Unknown => {}
            Slice::Present(_) => {
                if self.life == Life::Running {
                    self.notify(Notice::plain(Reason::EndpointSliceDeleted), step);
                }
            }
        }
        self.slice = Slice::Absent;
        self.broken = true;
        Sight::Edited { certain: true }
    }

    /// Another writer undid what we had published.
    fn count_reversal(&mut self, at: Timestamp, now: &Publication, by: Option<&Arc<str>>, step: &mut Step) {
        let Some(by) = by else { return };
        let undone = self.slice.present().is_some_and(|before| {
            before.ours
                && before.intact
                && (before.leader != now.leader || before.shown != now.shown || !now.intact)
        });
        if !undone {
            return;
        }
        self.reversals.retain(|reversal| at.since(*reversal) < CONTEST_WINDOW);
        self.reversals.push(at);
        if self.reversals.len() < CONTEST_REVERSALS {
            return;
        }
        self.reversals.remove(0);
        let pause = match self.contest {
            Some((_, pause)) => pause.doubled(Micros::from_secs(30)),
            None => Micros::from_secs(1),
        };
        if self.contest.is_none() {
            let notice = Notice { detail: Some(by.clone()), ..Notice::plain(Reason::PublicationContested) };
            self.notify(notice, step);
        }
        self.contest = Some((at.plus(pause), pause));
    }

    /// Nobody contests any more.
    pub(crate) fn forgive(&mut self, at: Timestamp) {
        if self.reversals.last().is_none_or(|reversal| at.since(*reversal) >= CONTEST_WINDOW) {
            self.contest = None;
            self.reversals = Vec::new();
        }
    }

    fn confirmed(&mut self, at: Timestamp, id: OrderId, member: Option<&Member>) -> Option<Pod> {
        if let Some(member) = member {
            self.learn_member(at, member);
        }
        let doubt = self.doubt.take_if(|doubt| doubt.id == Some(id))?;
        if member.is_none() && self.forget(&doubt.pod) {
            self.graves.push(doubt.pod.clone());
        }
        (!doubt.holds && member.is_some()).then_some(doubt.pod)
    }

    fn removed(&mut self) {
        self.backoff.reset();
        match self.life {
            Life::Removing => self.life = Life::Removed,
            Life::Blocked { .. } => self.life = Life::Blocked { clear: false },
            Life::Unsynced | Life::Running | Life::Removed => {}
        }
    }

    fn blocked(&mut self, by: &Obstruction, step: &mut Step) {
        if matches!(self.life, Life::Removing | Life::Removed) {
            return;
        }
        let (clear, name) = match by {
            Obstruction::Service(name) => (true, name),
            Obstruction::Slice(name) => (false, name),
        };
        if self.life != (Life::Blocked { clear }) {
            self.life = Life::Blocked { clear };
            let notice =
                Notice { detail: Some(name.clone()), ..Notice::plain(Reason::LeaderServiceConflict) };
            self.notify(notice, step);
        }
    }

    fn switchover_requested(&mut self, request: &Switchover) {
        self.switchover = Some(Box::new(request.clone()));
    }

    /// Refuses the pending request for good.
    pub(crate) fn refuse_switchover(&mut self, text: Arc<str>, step: &mut Step) {
        let notice = Notice { detail: Some(text.clone()), ..Notice::plain(Reason::SwitchoverRefused) };
        self.notify(notice, step);
        self.handled = Some(text);
    }

    fn paused(&mut self, at: Timestamp, until: Option<Timestamp>, step: &mut Step) {
        if until.is_some_and(|until| until <= at) {
            self.resume(step);
            return;
        }
        if self.pause.is_none() {
            self.notify(Notice::plain(Reason::Paused), step);
        }
        self.pause = Some(Pause { until });
    }

    fn resume(&mut self, step: &mut Step) {
        if self.pause.take().is_some() {
            self.notify(Notice::plain(Reason::Resumed), step);
        }
    }

    fn server_back(&mut self) {
        if !self.refused {
            self.backoff.reset();
        }
        self.read_backoff.reset();
        self.mirror_backoff.reset();
        if let Some(doubt) = &mut self.doubt {
            doubt.backoff.reset();
        }
    }

    pub(crate) fn next_id(&mut self) -> OrderId {
        self.last_id.0 = self.last_id.0.wrapping_add(1);
        self.last_id
    }

    pub(crate) fn notify(&mut self, notice: Notice, step: &mut Step) {
        // Before Synced a pause or a request is only remembered: a restart must not announce it again.
        if self.life != Life::Unsynced {
            let id = self.next_id();
            step.effects.push(Effect::Notify { id, notice });
        }
    }
}

impl Notice {
    pub(crate) const fn plain(reason: Reason) -> Self {
        Self { reason, cause: None, pod: None, previous: None, detail: None }
    }
}

/// Whether the event is worth another try of what the server has refused.
const fn is_change(event: &Event) -> bool {
    matches!(
        event,
        Event::PodReady { .. }
            | Event::PodUnready { .. }
            | Event::PodTerminating { .. }
            | Event::PodGone { .. }
            | Event::PodChanged { .. }
            | Event::PolicyChanged { .. }
            | Event::PublicationObserved { .. }
            | Event::Unblocked { .. }
    )
}

fn is_plausible(epoch: Epoch, at: Timestamp) -> bool {
    epoch.0 <= at.as_secs() + EPOCH_HORIZON_SECS
}

/// One endpoint, of the leader that is recorded.
const fn is_sound(publication: &Publication) -> bool {
    match publication.shown {
        Shown::Ready(_) | Shown::Terminating(_) => true,
        Shown::Nobody | Shown::Foreign => false,
    }
}

fn term(publication: &Publication) -> Option<(Epoch, Option<Pod>)> {
    Some((publication.epoch?, publication.leader.clone()))
}

const fn shown_endpoint(shown: Shown) -> Option<Endpoint> {
    match shown {
        Shown::Ready(endpoint) | Shown::Terminating(endpoint) => Some(endpoint),
        Shown::Nobody | Shown::Foreign => None,
    }
}

/// Why nobody can be chosen, as users know it.
pub(crate) fn vacancy(rows: &[Row]) -> Option<Reason> {
    if rows.is_empty() {
        return Some(Reason::NoPodsFound);
    }
    let mut ready = rows.iter().filter(|row| row.member.ready && !row.member.terminating).peekable();
    if ready.peek().is_none() {
        return Some(Reason::NoReadyPods);
    }
    let mut named = false;
    for row in ready {
        match row.member.reach {
            Reach::PortUnresolved { named: by_name } => named |= by_name,
            Reach::At(_) | Reach::NoAddress => return None,
        }
    }
    Some(if named { Reason::NamedPortResolutionFailed } else { Reason::PortResolutionFailed })
}

const _: () = assert!(RETRY_FIRST.0 < RETRY_MOST.0);
