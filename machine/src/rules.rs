//! The decisions: which state follows from what is known. One handler per state, and one for what all states
//! share; every pair of state and event is written out.
//!
//! Most facts do not say what to do, they only change what is true. So the handlers sort events into those
//! after which the state must *look* again and those that change nothing for it; the looks are level-triggered
//! and may run at any time.

#![allow(clippy::match_same_arms, reason = "each group of events says why it is ignored")]

use statig::Outcome::{self, Handled, Super, Transition};
use statig::blocking;

use crate::facts::{Facts, Learned, Life, News, Row, Sight, Slice};
use crate::orders::{Backoff, Doubt};
use crate::{
    Cause, Departure, Epoch, Event, Failback, Phase, Pod, Reach, Reason, Shown, Standing, State, Step,
    Timestamp, effect,
};

/// The rules have no data of their own: what is known lies in the context's [`Facts`].
pub(crate) struct Rules;

/// What a handler sees and may change.
pub(crate) struct Cx<'a> {
    pub(crate) at: Timestamp,
    pub(crate) facts: &'a mut Facts,
    pub(crate) learned: Learned,
    pub(crate) step: &'a mut Step,
    /// Why the transition comes about that a handler returns.
    pub(crate) cause: Cause,
}

/// What the four states share.
pub(crate) enum Superstate {
    /// The Service is, or was, opted in.
    Managed { phase: Phase, pod: Option<Pod>, epoch: Option<Epoch>, cause: Option<Cause> },
}

impl blocking::IntoStateMachine for Rules {
    type Event<'evt> = Event;
    type Context<'ctx> = Cx<'ctx>;
    type State = State;
    type Superstate<'sub> = Superstate;

    fn initial() -> State {
        State::Leaderless { since: Timestamp(0) }
    }

    /// Records the transition. (`before_transition` of statig 0.4.1 swaps its arguments; this one does not.)
    fn after_transition(&mut self, source: &State, target: &State, cx: &mut Cx<'_>) {
        cx.facts.moved(target, cx.at);
        let (from_pod, to_pod) = (source.pod().cloned(), target.pod().cloned());
        if source.phase() == target.phase() && from_pod == to_pod {
            return;
        }
        if let Some(reason) = reason(source, target, cx.cause, cx.facts.announced.as_ref()) {
            cx.facts.news = Some(News { reason, cause: cx.cause });
        }
        cx.step.transition = Some(effect::Transition {
            from: source.phase(),
            to: target.phase(),
            from_pod,
            to_pod,
            cause: cx.cause,
        });
    }
}

/// The one table from transitions to what people are told; what needs a write is told once that is
/// acknowledged.
fn reason(source: &State, target: &State, cause: Cause, announced: Option<&Pod>) -> Option<Reason> {
    match (target, cause) {
        (State::Reelecting { .. }, _)
        | (_, Cause::Obstruction | Cause::Removal)
        | (State::Elected { .. }, Cause::Adopted) => None,
        (State::Draining { .. }, _) => Some(Reason::LeaderDraining),
        (State::Leaderless { .. }, _) => announced.map(|_| Reason::LeaderLost),
        (State::Elected { .. }, Cause::FirstElection) => Some(Reason::LeaderElected),
        (State::Elected { .. }, Cause::Switchover) => Some(Reason::SwitchoverCompleted),
        (State::Elected { leader, .. }, _) => match announced {
            None => Some(Reason::LeaderRecovered),
            Some(announced) if announced != leader => Some(Reason::LeaderChanged),
            Some(_) => (source.phase() == Phase::Draining).then_some(Reason::LeaderRecovered),
        },
    }
}

impl blocking::State<Rules> for State {
    fn call_handler(&mut self, _: &mut Rules, event: &Event, cx: &mut Cx<'_>) -> Outcome<Self> {
        match self {
            Self::Leaderless { .. } => leaderless(event, cx),
            Self::Reelecting { candidate, epoch, incumbent, cause, since } => {
                reelecting(event, candidate, epoch, incumbent.as_ref(), *cause, *since, cx)
            }
            Self::Elected { leader, epoch, .. } => elected(event, leader, epoch, cx),
            Self::Draining { leader, epoch, cause, until, .. } => {
                draining(event, leader, epoch, *cause, *until, cx)
            }
        }
    }

    fn superstate(&mut self) -> Option<Superstate> {
        let cause = match self {
            Self::Reelecting { cause, .. } => Some(*cause),
            Self::Leaderless { .. } | Self::Elected { .. } | Self::Draining { .. } => None,
        };
        Some(Superstate::Managed {
            phase: self.phase(),
            pod: self.pod().cloned(),
            epoch: self.epoch(),
            cause,
        })
    }
}

impl blocking::Superstate<Rules> for Superstate {
    /// What is the same in every state. States pass these events up.
    fn call_handler(&mut self, _: &mut Rules, event: &Event, cx: &mut Cx<'_>) -> Outcome<State> {
        let Self::Managed { phase, pod, epoch, cause } = self;
        match event {
            Event::Synced { standing, .. } | Event::Unblocked { standing } => cx.start(standing),
            Event::Blocked { .. } => cx.leave(Cause::Obstruction),
            Event::OptedOut | Event::ServiceGone => cx.leave(Cause::Removal),
            Event::PublicationObserved { .. } | Event::ReadDone { .. } => {
                // Our own term whose answer was lost is acknowledged by being seen.
                let own = (*phase == Phase::Reelecting).then_some((pod.as_ref(), *epoch, *cause));
                cx.adopt(own)
            }
            Event::PodReady { .. }
            | Event::PodUnready { .. }
            | Event::PodTerminating { .. }
            | Event::PodGone { .. }
            | Event::PodChanged { .. }
            | Event::PolicyChanged { .. }
            | Event::Published { .. }
            | Event::PublishFailed { .. }
            | Event::ReadFailed { .. }
            | Event::Confirmed { .. }
            | Event::ConfirmFailed { .. }
            | Event::Mirrored { .. }
            | Event::MirrorFailed { .. }
            | Event::Notified { .. }
            | Event::NotifyFailed { .. }
            | Event::Removed { .. }
            | Event::RemoveFailed { .. }
            | Event::SwitchoverRequested { .. }
            | Event::SwitchoverWithdrawn
            | Event::Paused { .. }
            | Event::Resumed
            | Event::LeaseHeld
            | Event::LeaseLost
            | Event::NodeLost { .. }
            | Event::NodeBack { .. }
            | Event::ServerBack
            | Event::DeadlineReached => Handled,
        }
    }
}

fn leaderless(event: &Event, cx: &mut Cx<'_>) -> Outcome<State> {
    match event {
        Event::Synced { .. }
        | Event::Unblocked { .. }
        | Event::Blocked { .. }
        | Event::OptedOut
        | Event::ServiceGone => Super,
        Event::PublicationObserved { .. } | Event::ReadDone { .. } if cx.sees_new_term() => Super,
        Event::PodReady { .. }
        | Event::PodChanged { .. }
        | Event::PodUnready { .. }
        | Event::PodTerminating { .. }
        | Event::PodGone { .. }
        | Event::PolicyChanged { .. }
        | Event::Confirmed { .. }
        | Event::Resumed
        | Event::Paused { .. }
        | Event::NodeBack { .. }
        | Event::DeadlineReached => cx.fill_vacancy(),
        // The write rule answers these: nobody leads, whatever the slice says.
        Event::PublicationObserved { .. }
        | Event::ReadDone { .. }
        | Event::Published { .. }
        | Event::PublishFailed { .. }
        | Event::ReadFailed { .. } => Handled,
        // Facts for later.
        Event::SwitchoverRequested { .. }
        | Event::SwitchoverWithdrawn
        | Event::LeaseHeld
        | Event::LeaseLost
        | Event::NodeLost { .. }
        | Event::ServerBack => Handled,
        // Handled, nothing to do.
        Event::ConfirmFailed { .. }
        | Event::Mirrored { .. }
        | Event::MirrorFailed { .. }
        | Event::Notified { .. }
        | Event::NotifyFailed { .. }
        | Event::Removed { .. }
        | Event::RemoveFailed { .. } => Handled,
    }
}

fn reelecting(
    event: &Event,
    candidate: &Pod,
    epoch: &mut Epoch,
    incumbent: Option<&Pod>,
    cause: Cause,
    since: Timestamp,
    cx: &mut Cx<'_>,
) -> Outcome<State> {
    match event {
        Event::Synced { .. }
        | Event::Unblocked { .. }
        | Event::Blocked { .. }
        | Event::OptedOut
        | Event::ServiceGone => Super,
        Event::PublicationObserved { .. } | Event::ReadDone { .. } if cx.sees_new_term() => Super,
        Event::PublicationObserved { .. }
        | Event::ReadDone { .. }
        | Event::Published { .. }
        | Event::PublishFailed { .. }
        | Event::PodReady { .. }
        | Event::PodUnready { .. }
        | Event::PodTerminating { .. }
        | Event::PodGone { .. }
        | Event::PodChanged { .. }
        | Event::Confirmed { .. }
        | Event::NodeLost { .. }
        | Event::NodeBack { .. }
        | Event::DeadlineReached => cx.look_reelecting(candidate, epoch, incumbent, cause, since),
        // The choice is made; these count for the next one.
        Event::PolicyChanged { .. }
        | Event::SwitchoverRequested { .. }
        | Event::SwitchoverWithdrawn
        | Event::Paused { .. }
        | Event::Resumed
        | Event::LeaseHeld
        | Event::LeaseLost => Handled,
        // Handled, nothing to do.
        Event::ReadFailed { .. }
        | Event::ConfirmFailed { .. }
        | Event::Mirrored { .. }
        | Event::MirrorFailed { .. }
        | Event::Notified { .. }
        | Event::NotifyFailed { .. }
        | Event::Removed { .. }
        | Event::RemoveFailed { .. }
        | Event::ServerBack => Handled,
    }
}

fn elected(event: &Event, leader: &Pod, epoch: &mut Epoch, cx: &mut Cx<'_>) -> Outcome<State> {
    match event {
        Event::Synced { .. }
        | Event::Unblocked { .. }
        | Event::Blocked { .. }
        | Event::OptedOut
        | Event::ServiceGone => Super,
        Event::PublicationObserved { .. } | Event::ReadDone { .. } if cx.sees_new_term() => Super,
        Event::PublicationObserved { .. }
        | Event::ReadDone { .. }
        | Event::Published { .. }
        | Event::PublishFailed { .. }
        | Event::PodReady { .. }
        | Event::PodUnready { .. }
        | Event::PodTerminating { .. }
        | Event::PodGone { .. }
        | Event::PodChanged { .. }
        | Event::PolicyChanged { .. }
        | Event::Confirmed { .. }
        | Event::SwitchoverRequested { .. }
        | Event::Paused { .. }
        | Event::Resumed
        | Event::LeaseHeld
        | Event::NodeLost { .. }
        | Event::NodeBack { .. }
        | Event::DeadlineReached => cx.look_elected(leader, epoch),
        // Handled, nothing to do: the leader stays.
        Event::SwitchoverWithdrawn | Event::LeaseLost | Event::ServerBack => Handled,
        Event::ReadFailed { .. }
        | Event::ConfirmFailed { .. }
        | Event::Mirrored { .. }
        | Event::MirrorFailed { .. }
        | Event::Notified { .. }
        | Event::NotifyFailed { .. }
        | Event::Removed { .. }
        | Event::RemoveFailed { .. } => Handled,
    }
}

fn draining(
    event: &Event,
    leader: &Pod,
    epoch: &mut Epoch,
    cause: Cause,
    until: Option<Timestamp>,
    cx: &mut Cx<'_>,
) -> Outcome<State> {
    match event {
        Event::Synced { .. }
        | Event::Unblocked { .. }
        | Event::Blocked { .. }
        | Event::OptedOut
        | Event::ServiceGone => Super,
        Event::PublicationObserved { .. } | Event::ReadDone { .. } if cx.sees_new_term() => Super,
        Event::PublicationObserved { .. }
        | Event::ReadDone { .. }
        | Event::Published { .. }
        | Event::PublishFailed { .. }
        | Event::PodReady { .. }
        | Event::PodUnready { .. }
        | Event::PodTerminating { .. }
        | Event::PodGone { .. }
        | Event::PodChanged { .. }
        | Event::PolicyChanged { .. }
        | Event::Confirmed { .. }
        | Event::Paused { .. }
        | Event::Resumed
        | Event::NodeBack { .. }
        | Event::DeadlineReached => cx.look_draining(leader, epoch, cause, until),
        // Facts for later.
        Event::SwitchoverRequested { .. }
        | Event::SwitchoverWithdrawn
        | Event::LeaseHeld
        | Event::LeaseLost
        | Event::NodeLost { .. }
        | Event::ServerBack => Handled,
        // Handled, nothing to do.
        Event::ReadFailed { .. }
        | Event::ConfirmFailed { .. }
        | Event::Mirrored { .. }
        | Event::MirrorFailed { .. }
        | Event::Notified { .. }
        | Event::NotifyFailed { .. }
        | Event::Removed { .. }
        | Event::RemoveFailed { .. } => Handled,
    }
}

impl Cx<'_> {
    fn go(&mut self, cause: Cause, state: State) -> Outcome<State> {
        self.cause = cause;
        Transition(state)
    }

    fn sees_new_term(&self) -> bool {
        self.is_running() && matches!(self.learned.sight, Sight::Term { .. })
    }

    fn is_running(&self) -> bool {
        self.facts.life == Life::Running
    }

    /// Decides afresh from what is published and what is known of the pods.
    fn start(&mut self, standing: &Standing) -> Outcome<State> {
        if !self.is_running() {
            return Handled;
        }
        let at = self.at;
        let Some((leader, recorded, certain)) = self.facts.slice.present().and_then(|publication| {
            let certain = standing.horizon >= publication.version;
            Some((publication.leader.clone()?, publication.epoch, certain))
        }) else {
            return match self.fill_vacancy() {
                Transition(state) => Transition(state),
                Handled | Super => self.go(Cause::Recovery, State::Leaderless { since: at }),
            };
        };
        let epoch = recorded.unwrap_or_else(|| self.facts.next_epoch(at));
        self.facts.found_at = Some(at);
        self.settle_on(leader, epoch, certain, Cause::Adopted)
    }

    /// Another term than the last acknowledged one is published: two views must not fight.
    fn adopt(&mut self, own: Option<(Option<&Pod>, Option<Epoch>, Option<Cause>)>) -> Outcome<State> {
        let Sight::Term { certain } = self.learned.sight else { return Handled };
        let Some(publication) = self.facts.slice.present() else { return Handled };
        let (Some(leader), Some(epoch)) = (publication.leader.clone(), publication.epoch) else {
            return Handled;
        };
        let cause = match own {
            Some((Some(candidate), Some(term), Some(cause)))
                if publication.ours && *candidate == leader && term == epoch =>
            {
                cause
            }
            _ => {
                self.facts.announced = Some(leader.clone());
                Cause::Adopted
            }
        };
        self.facts.used = None;
        self.settle_on(leader, epoch, certain, cause)
    }

    /// `leader` is published as that of `epoch`: it is the leader, unless our facts are new enough to say that
    /// it can not be.
    fn settle_on(&mut self, leader: Pod, epoch: Epoch, certain: bool, cause: Cause) -> Outcome<State> {
        let fit = self.facts.row(&leader).is_some_and(Row::is_fit);
        let drained = matches!(self.facts.slice.present().map(|now| now.shown), Some(Shown::Terminating(_)));
        if !certain && (!fit || drained) {
            self.facts.hold_in_doubt(&leader);
        } else if let Some((cause, state)) = self.judge(&leader, epoch) {
            return self.go(cause, state);
        }
        let mut epoch = epoch;
        self.renew(&leader, &mut epoch);
        let since = self.at;
        self.go(cause, State::Elected { leader, epoch, since })
    }

    fn leave(&mut self, cause: Cause) -> Outcome<State> {
        let since = self.at;
        self.go(cause, State::Leaderless { since })
    }

    fn fill_vacancy(&mut self) -> Outcome<State> {
        if !self.is_running() || self.facts.is_paused() {
            return Handled;
        }
        let Some(candidate) = self.facts.successor(None, self.at) else { return Handled };
        let cause = if self.facts.floor == Epoch(0) { Cause::FirstElection } else { Cause::Recovery };
        let epoch = self.facts.next_epoch(self.at);
        let since = self.at;
        self.go(cause, State::Reelecting { candidate, epoch, incumbent: None, cause, since })
    }

    fn look_reelecting(
        &mut self,
        candidate: &Pod,
        epoch: &mut Epoch,
        incumbent: Option<&Pod>,
        cause: Cause,
        since: Timestamp,
    ) -> Outcome<State> {
        if !self.is_running() {
            return Handled;
        }
        let at = self.at;
        let is_published = self.facts.shows(candidate, *epoch) && self.facts.flight.is_none();
        if is_published && matches!(self.facts.slice.present().map(|now| now.shown), Some(Shown::Ready(_))) {
            let leader = candidate.clone();
            return self.go(cause, State::Elected { leader, epoch: *epoch, since: at });
        }
        if self.facts.row(candidate).is_some_and(|row| row.is_fit() && !row.is_refused()) {
            self.renew(candidate, epoch);
            return Handled;
        }
        // The candidate is lost. A write that may have happened ends its term; one that did not leaves no trace.
        let sent = self.facts.is_used(*epoch);
        let published = self.facts.slice.present().filter(|now| !sent && now.leader.as_ref() == incumbent);
        let kept = published.and_then(|now| now.epoch);
        if let Some(incumbent) = incumbent
            && self.facts.row(incumbent).is_some_and(|row| row.is_fit() && !row.is_refused())
        {
            let leader = incumbent.clone();
            return match kept {
                Some(epoch) => self.go(cause, State::Elected { leader, epoch, since: at }),
                None => self.retry(leader, Some(incumbent.clone()), cause, since),
            };
        }
        if !self.facts.is_paused()
            && let Some(successor) = self.facts.successor(None, at)
        {
            return self.retry(successor, incumbent.cloned(), cause, since);
        }
        if let Some(incumbent) = incumbent
            && self.facts.row(incumbent).is_some_and(Row::can_drain)
        {
            let epoch = kept.unwrap_or_else(|| self.facts.next_epoch(at));
            let leader = incumbent.clone();
            return self.go(cause, State::Draining { leader, epoch, cause, since: at, until: None });
        }
        self.go(cause, State::Leaderless { since: at })
    }

    fn retry(
        &mut self,
        candidate: Pod,
        incumbent: Option<Pod>,
        cause: Cause,
        since: Timestamp,
    ) -> Outcome<State> {
        let epoch = self.facts.next_epoch(self.at);
        self.go(cause, State::Reelecting { candidate, epoch, incumbent, cause, since })
    }

    fn look_elected(&mut self, leader: &Pod, epoch: &mut Epoch) -> Outcome<State> {
        if !self.is_running() {
            return Handled;
        }
        self.doubt_edit(leader, *epoch);
        if self.facts.is_doubted(leader) {
            return Handled;
        }
        if let Some((cause, state)) = self.judge(leader, *epoch) {
            return self.go(cause, state);
        }
        self.renew(leader, epoch);
        self.refuse_what_cannot_be();
        let Some((candidate, cause)) = self.facts.preference(leader, self.at) else { return Handled };
        if self.learned.confirmed.as_ref() != Some(&candidate) {
            self.facts.ask_about(&candidate);
            return Handled;
        }
        let next = self.facts.next_epoch(self.at);
        let (incumbent, since) = (Some(leader.clone()), self.at);
        self.go(cause, State::Reelecting { candidate, epoch: next, incumbent, cause, since })
    }

    fn look_draining(
        &mut self,
        leader: &Pod,
        epoch: &mut Epoch,
        cause: Cause,
        until: Option<Timestamp>,
    ) -> Outcome<State> {
        if !self.is_running() {
            return Handled;
        }
        self.doubt_edit(leader, *epoch);
        if self.facts.is_doubted(leader) {
            return Handled;
        }
        let at = self.at;
        let row = self.facts.row(leader);
        let is_back = row.is_some_and(|row| row.is_fit() && !row.is_refused());
        let is_tolerated = row.is_some_and(|row| {
            row.endpoint().is_some() && !row.member.terminating && !row.member.excluded && !row.is_refused()
        });
        if until.is_some() && (is_back || is_tolerated && self.facts.is_paused()) {
            let leader = leader.clone();
            let cause = if is_back { Cause::Recovery } else { cause };
            return self.go(cause, State::Elected { leader, epoch: *epoch, since: at });
        }
        if is_tolerated && until.is_some_and(|until| until > at) {
            self.renew(leader, epoch);
            return Handled;
        }
        let cause = self.loss(leader).unwrap_or(cause);
        match self.facts.vacate(leader, *epoch, cause, at) {
            State::Draining { .. } if until.is_none() => {
                self.renew(leader, epoch);
                Handled
            }
            state => self.go(cause, state),
        }
    }

    /// Why `leader` is lost, if it is gone or of no use.
    fn loss(&self, leader: &Pod) -> Option<Cause> {
        let Some(row) = self.facts.row(leader) else {
            return Some(match &self.learned.departed {
                Some((pod, how)) if pod == leader => departure_cause(*how),
                _ => Cause::Gone,
            });
        };
        match row.member.reach {
            Reach::NoAddress => return Some(Cause::AddressLost),
            Reach::PortUnresolved { .. } => return Some(Cause::PortUnresolved),
            Reach::At(_) => {}
        }
        if row.member.terminating {
            return Some(Cause::Terminating);
        }
        if row.is_refused() {
            return Some(Cause::Refused);
        }
        row.member.excluded.then_some(Cause::Excluded)
    }

    /// What must follow now that `leader` leads; nothing if it may stay.
    fn judge(&self, leader: &Pod, epoch: Epoch) -> Option<(Cause, State)> {
        let (facts, at) = (&*self.facts, self.at);
        let lost = self.loss(leader).filter(|cause| !(facts.is_paused() && *cause == Cause::Excluded));
        if let Some(cause) = lost {
            return Some((cause, facts.vacate(leader, epoch, cause, at)));
        }
        if facts.is_paused() {
            return None;
        }
        let row = facts.row(leader)?;
        if row.node_lost && facts.successor(Some(leader), at).is_some() {
            return Some((Cause::NodeLost, facts.vacate(leader, epoch, Cause::NodeLost, at)));
        }
        if row.member.ready {
            return None;
        }
        let cause = Cause::Unready;
        let until = row.readiness_seen().plus(facts.policy.failover_min_delay);
        let state = if until > at {
            State::Draining { leader: leader.clone(), epoch, cause, since: at, until: Some(until) }
        } else {
            facts.vacate(leader, epoch, cause, at)
        };
        Some((cause, state))
    }

    /// Somebody else changed what the slice says of `leader`. Another replica may have had a reason that we
    /// have not seen yet: ask before repairing.
    fn doubt_edit(&mut self, leader: &Pod, epoch: Epoch) {
        if self.learned.sight != (Sight::Edited { certain: false }) {
            return;
        }
        let is_untouched = self.facts.shows(leader, epoch)
            && self.facts.slice.present().is_some_and(|now| match now.shown {
                Shown::Ready(shown) | Shown::Terminating(shown) => {
                    self.facts.row(leader).and_then(Row::endpoint) == Some(shown)
                }
                Shown::Nobody | Shown::Foreign => false,
            });
        if !is_untouched {
            self.facts.hold_in_doubt(leader);
        }
    }

    /// Where the pair of leader and epoch was broken, the term must be a new one.
    fn renew(&mut self, pod: &Pod, epoch: &mut Epoch) {
        let facts = &*self.facts;
        if facts.is_used(*epoch) || *epoch > facts.floor {
            return;
        }
        let is_broken = match &facts.slice {
            Slice::Unknown => false,
            Slice::Absent => true,
            Slice::Present(_) => !facts.shows(pod, *epoch) || *epoch < facts.floor,
        };
        if is_broken && facts.flight.is_none() {
            *epoch = facts.next_epoch(self.at);
        }
    }

    /// A request for a pod that was replaced by another of its name can never be met.
    fn refuse_what_cannot_be(&mut self) {
        let refused = self.facts.pending().filter(|request| {
            let mut named =
                self.facts.rows.iter().filter(|row| row.member.pod.name() == &*request.pod).peekable();
            request.uid.is_some() && named.peek().is_some() && named.all(|row| !row.is_named_by(request))
        });
        if let Some(text) = refused.map(|request| request.text.clone())
            && self.facts.lease
        {
            self.facts.refuse_switchover(text, self.step);
        }
    }
}

const fn departure_cause(how: Departure) -> Cause {
    match how {
        Departure::Deleted => Cause::Gone,
        Departure::Finished => Cause::Finished,
        Departure::Relabelled => Cause::Relabelled,
    }
}

impl Facts {
    /// Who follows `leader`, if anybody can.
    fn vacate(&self, leader: &Pod, epoch: Epoch, cause: Cause, since: Timestamp) -> State {
        if !self.is_paused()
            && let Some(candidate) = self.successor(Some(leader), since)
        {
            let (epoch, incumbent) = (self.next_epoch(since), Some(leader.clone()));
            return State::Reelecting { candidate, epoch, incumbent, cause, since };
        }
        if self.row(leader).is_some_and(Row::can_drain) {
            return State::Draining { leader: leader.clone(), epoch, cause, since, until: None };
        }
        State::Leaderless { since }
    }

    /// The member that shall take over from a fit leader now, and why.
    pub(crate) fn preference(&self, leader: &Pod, at: Timestamp) -> Option<(Pod, Cause)> {
        if !self.lease || self.is_paused() {
            return None;
        }
        if let Some(request) = self.pending()
            && let Some(row) = self.rows.iter().find(|row| row.is_named_by(request))
            && row.member.pod != *leader
            && row.is_eligible(&self.policy, at)
        {
            return Some((row.member.pod.clone(), Cause::Switchover));
        }
        let Failback::After(wait) = self.policy.failback else { return None };
        let (ranking, incumbent) = (self.ranking(), self.row(leader)?);
        self.rows
            .iter()
            .filter(|row| row.eligible_at(&self.policy).is_some_and(|from| from.plus(wait) <= at))
            .filter(|row| ranking.compare(row, incumbent).is_lt())
            .min_by(|a, b| ranking.compare(a, b))
            .map(|row| (row.member.pod.clone(), Cause::Failback))
    }

    fn hold_in_doubt(&mut self, pod: &Pod) {
        if !self.is_doubted(pod) {
            self.doubt = Some(Box::new(Doubt {
                pod: pod.clone(),
                id: None,
                holds: true,
                backoff: Backoff::default(),
            }));
        }
    }

    fn ask_about(&mut self, pod: &Pod) {
        if self.doubt.is_none() {
            self.doubt = Some(Box::new(Doubt {
                pod: pod.clone(),
                id: None,
                holds: false,
                backoff: Backoff::default(),
            }));
        }
    }

    /// A transition makes doubts about others moot, and is worth a write at once.
    fn moved(&mut self, target: &State, at: Timestamp) {
        self.doubt.take_if(|doubt| !doubt.holds || target.pod() != Some(&doubt.pod));
        if let Some((until, _)) = &mut self.contest {
            *until = at;
        }
        if self.refused {
            self.refused = false;
            self.backoff.reset();
        }
    }
}
