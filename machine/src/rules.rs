//! The decisions: which state follows from what is known. One handler per state, and one for what all states
//! share; every pair of state and event is written out.
//!
//! Most facts do not say what to do, they only change what is true. So the handlers sort events into those
//! after which the state must *look* again and those that change nothing for it; the looks are level-triggered
//! and may run at any time.

#![allow(clippy::match_same_arms, reason = "each group of events says why it is ignored")]

mod choice;
mod looks;

use serde::{Deserialize, Serialize};
use statig::Outcome::{self, Handled, Super};
use statig::blocking;

use crate::facts::{Facts, Learned};
use crate::notices::{News, reason};
use crate::{Cause, Epoch, Event, Pod, State, Step, Timestamp, effect};

/// The rules have no data of their own: what is known lies in the context's [`Facts`].
#[derive(Clone, Copy, Serialize, Deserialize)]
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

/// What the four states share. It borrows: statig asks for it several times in a transition.
pub(crate) enum Superstate<'a> {
    /// The Service is, or was, opted in.
    Managed {
        /// Who leads, or was to.
        pod: Option<&'a Pod>,
        /// The term that we have ordered, or will, and why.
        own: Option<(&'a Pod, Epoch, Cause)>,
    },
}

impl blocking::IntoStateMachine for Rules {
    type Event<'evt> = Event;
    type Context<'ctx> = Cx<'ctx>;
    type State = State;
    type Superstate<'sub> = Superstate<'sub>;

    fn initial() -> State {
        State::Leaderless { since: Timestamp(0) }
    }

    /// Records the transition. (`before_transition` of statig 0.4.1 swaps its arguments; this one does not.)
    fn after_transition(&mut self, source: &State, target: &State, cx: &mut Cx<'_>) {
        cx.facts.moved(target);
        let (from_pod, to_pod, cause) = (source.pod().cloned(), target.pod().cloned(), cx.cause);
        let is_same = source.phase() == target.phase() && from_pod == to_pod;
        // A leader that was found published and is lost is news, although no state ever had it.
        if !is_same || target.pod().is_none() && cx.facts.announced.is_some() {
            let reason = reason(source, target, cause, cx.facts.announced.as_ref());
            cx.facts.news = reason.map(|reason| News { reason, cause });
        }
        if is_same {
            return;
        }
        cx.step.transition =
            Some(effect::Transition { from: source.phase(), to: target.phase(), from_pod, to_pod, cause });
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
                draining(event, leader, epoch, *cause, until, cx)
            }
        }
    }

    fn superstate(&mut self) -> Option<Superstate<'_>> {
        let own = match &*self {
            Self::Reelecting { candidate, epoch, cause, .. } => Some((candidate, *epoch, *cause)),
            Self::Leaderless { .. } | Self::Elected { .. } | Self::Draining { .. } => None,
        };
        Some(Superstate::Managed { pod: self.pod(), own })
    }
}

impl blocking::Superstate<Rules> for Superstate<'_> {
    /// What is the same in every state. States pass these events up.
    fn call_handler(&mut self, _: &mut Rules, event: &Event, cx: &mut Cx<'_>) -> Outcome<State> {
        let Self::Managed { pod, own } = self;
        match event {
            Event::Synced { standing, .. } | Event::Unblocked { standing } => cx.start(standing, *pod),
            Event::Blocked { .. } => cx.leave(Cause::Obstruction),
            Event::OptedOut | Event::ServiceGone => cx.leave(Cause::Removal),
            Event::PublicationObserved { .. } | Event::ReadDone { .. } => {
                // Our own term whose answer was lost is acknowledged by being seen.
                cx.adopt(*own)
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
    until: &mut Option<Timestamp>,
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
        | Event::NodeLost { .. }
        | Event::NodeBack { .. }
        | Event::DeadlineReached => cx.look_draining(leader, epoch, cause, until),
        // Facts for later.
        Event::SwitchoverRequested { .. }
        | Event::SwitchoverWithdrawn
        | Event::LeaseHeld
        | Event::LeaseLost
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
