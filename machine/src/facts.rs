//! Everything an election has been told and must remember, and how each event adds to it.
//!
//! Learning decides nothing: [`Facts::learn`] only takes note, [`crate::rules`] chooses the state, and
//! [`crate::orders`] brings the world in line with it.

mod answers;
mod changes;
mod epochs;
mod requests;
mod row;
mod slice;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::notices::News;
use crate::orders::{Backoff, Doubt, Flight, Mirrored};
use crate::{
    Contest, Departure, Effect, Epoch, Event, Member, Notice, Obstruction, OrderId, Pod, Policy, Reason,
    Standing, Step, Switchover, Timestamp, Version,
};

use changes::Changes;
use slice::Source;

pub(crate) use epochs::Epochs;
pub(crate) use row::Row;
pub(crate) use slice::{Sight, Slice};

/// How far the election has come as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Life {
    /// Not all lists are in.
    Unsynced,
    Running,
    /// A foreign object stands in our place. `clear`: what is left of ours must go.
    Blocked {
        by: Obstruction,
        clear: bool,
    },
    /// What we own is being deleted.
    Removing,
    Removed,
}

/// What the step has learned, for the rules to act on.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Everything is to be decided afresh.
    pub(crate) begins: bool,
    pub(crate) sight: Sight,
    /// A member that left in this step, or was found to have left.
    pub(crate) departed: Option<(Pod, Departure)>,
    /// A member whose preference was confirmed in this step.
    pub(crate) confirmed: Option<Pod>,
    /// A member of whom something was told that is older than its publication by another replica.
    pub(crate) late: Option<Pod>,
}

/// No choices are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// When that ends by itself.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(crate) struct Facts {
    pub(crate) life: Life,
    /// All lists were in once.
    is_synced: bool,

    pub(crate) rows: Vec<Row>,
    /// Pods confirmed to be gone whose last watch events may still be on their way.
    graves: Vec<Pod>,
    /// Pods on lost nodes that are no members yet: whoever becomes one must not lead for a moment first.
    #[serde(default)]
    stranded: Vec<Pod>,
    pub(crate) policy: Policy,
    pub(crate) lease: bool,
    pub(crate) pause: Option<Pause>,
    /// The request for a handover, met or not.
    request: Option<Box<Switchover>>,
    /// The text of the request that was refused and is not recorded in the slice yet.
    pub(crate) declined: Option<Arc<str>>,
    /// The text of the request that the slice records as handled.
    pub(crate) handled: Option<Arc<str>>,

    pub(crate) slice: Slice,
    /// The newest version of the slice that was seen: older ones are no news.
    newest: Version,
    /// The newest version in which another's term was seen: whoever wrote it may know better than older facts.
    #[serde(default)]
    vouched: Version,
    /// The slice's newest version, or its term, was written by us.
    pub(crate) is_ours: bool,
    /// The last acknowledged epoch, and who led in it if that was recorded.
    acked: Option<(Epoch, Option<Pod>)>,
    /// The last term that we ordered.
    pub(crate) ordered: Option<(Epoch, Pod)>,
    /// Kept while the policy limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Box<Changes>>,
    pub(crate) epochs: Epochs,

    last_id: OrderId,
    pub(crate) flight: Option<Box<Flight>>,
    /// What an open write orders is published, but whether by that write its answer will tell.
    pub(crate) echo: Option<OrderId>,
    pub(crate) reading: Option<OrderId>,
    pub(crate) doubt: Option<Box<Doubt>>,
    /// The pods that are being read, unless something was told of them since: an answer to a doubt that is moot
    /// by then is still a fact.
    pub(crate) asked: Vec<(OrderId, Pod)>,
    pub(crate) removing: Option<OrderId>,
    pub(crate) mirroring: Option<OrderId>,
    /// The leadership that the leader Service was last told to mirror.
    pub(crate) mirrored: Option<Box<Mirrored>>,

    pub(crate) backoff: Backoff,
    pub(crate) read_backoff: Backoff,
    pub(crate) mirror_backoff: Backoff,
    /// The server refused what is wanted; any change is worth another try.
    is_refused: bool,
    /// Its words, so that people are told once.
    rejection: Option<Arc<str>>,
    pub(crate) contest: Option<Box<Contest>>,

    /// When a leadership was found rather than made.
    pub(crate) found_at: Option<Timestamp>,
    pub(crate) news: Option<News>,
    /// The leader that users were last told of.
    pub(crate) announced: Option<Pod>,
    pub(crate) vacancy: Option<Reason>,
}

impl Facts {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            life: Life::Unsynced,
            is_synced: false,
            rows: Vec::new(),
            graves: Vec::new(),
            stranded: Vec::new(),
            changes: policy.max_switches.map(|_| Box::default()),
            policy,
            lease: true,
            pause: None,
            request: None,
            declined: None,
            handled: None,
            slice: Slice::Unknown,
            newest: Version::default(),
            vouched: Version::default(),
            is_ours: false,
            acked: None,
            ordered: None,
            epochs: Epochs::default(),
            last_id: OrderId(0),
            flight: None,
            echo: None,
            reading: None,
            doubt: None,
            asked: Vec::new(),
            removing: None,
            mirroring: None,
            mirrored: None,
            backoff: Backoff::default(),
            read_backoff: Backoff::default(),
            mirror_backoff: Backoff::default(),
            is_refused: false,
            rejection: None,
            contest: None,
            found_at: None,
            news: None,
            announced: None,
            vacancy: None,
        }
    }

    /// Takes note of `event`.
    pub(crate) fn learn(&mut self, at: Timestamp, event: &Event, step: &mut Step) -> Learned {
        let mut learned = Learned::default();
        match event {
            Event::Synced { members, standing } => learned.begins = self.learn_all(at, members, standing),
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => {
                self.learn_member(at, member);
                self.asked.retain(|(_, asked)| *asked != member.pod);
                self.resolve_doubt(member);
                learned.late = (member.version < self.vouched).then(|| member.pod.clone());
            }
            Event::PodGone { pod, how } => {
                learned.departed = self.forget(pod).then(|| (pod.clone(), *how));
                self.asked.retain(|(_, asked)| asked != pod);
                self.doubt_departure(pod, *how);
            }
            Event::PolicyChanged { policy } => {
                self.policy = policy.clone();
                self.limit_switches();
            }
            Event::OptedOut | Event::ServiceGone => self.leave(),
            Event::Published { id, version } => self.published(at, *id, *version),
            Event::PublishFailed { id, outcome } => {
                learned.sight = self.publish_failed(at, *id, outcome, step);
            }
            Event::ReadDone { id, published, horizon } => {
                // A late one may be older than what made it superfluous, or newer: then no watch has to tell it once more.
                let is_awaited = self.reading == Some(*id);
                if is_awaited || published.is_some() {
                    let source = if is_awaited { Source::Read } else { Source::Watch(None) };
                    learned.sight = self.observe(at, published.as_ref(), *horizon, &source, step);
                }
            }
            Event::ReadFailed { id } => self.read_failed(at, *id),
            Event::Confirmed { id, member, exists } => {
                learned.confirmed = self.confirmed(at, *id, member.as_ref(), *exists, &mut learned.departed);
            }
            Event::ConfirmFailed { id } => self.confirm_failed(at, *id),
            Event::Mirrored { id } => self.mirrored(*id, None),
            Event::MirrorFailed { id } => self.mirrored(*id, Some(at)),
            Event::Removed { id } => self.removed(*id),
            Event::RemoveFailed { id } => self.remove_failed(at, *id),
            Event::PublicationObserved { published, horizon, by } => {
                let source = Source::Watch(by.as_ref());
                learned.sight = self.observe(at, published.as_ref(), *horizon, &source, step);
            }
            Event::Blocked { by } => self.blocked(by, step),
            Event::Unblocked { standing } => learned.begins = self.unblocked(at, standing),
            Event::SwitchoverRequested { request } => self.requested(request),
            Event::SwitchoverWithdrawn => self.request = None,
            Event::Paused { until } => self.paused(at, *until, step),
            Event::Resumed => self.resumed(step),
            Event::LeaseHeld => self.lease = true,
            Event::LeaseLost => self.lease = false,
            Event::NodeLost { pod } => self.node(pod, true),
            Event::NodeBack { pod } => self.node(pod, false),
            Event::ServerBack => self.server_back(),
            Event::DeadlineReached | Event::Notified { .. } | Event::NotifyFailed { .. } => {}
        }
        if learned.begins || matches!(event, Event::DeadlineReached) && self.life == Life::Running {
            self.end_what_is_over(at, step);
        }
        if self.is_refused && is_change(event) {
            self.try_again();
        }
        learned
    }

    /// What the server has refused may be accepted now.
    pub(crate) fn try_again(&mut self) {
        if std::mem::take(&mut self.is_refused) {
            self.backoff.reset();
        }
    }

    /// Answers whether decisions begin.
    fn learn_all(&mut self, at: Timestamp, members: &[Member], standing: &Standing) -> bool {
        self.learn_members(at, members);
        let is_first = !std::mem::replace(&mut self.is_synced, true);
        if self.life == Life::Unsynced {
            self.life = Life::Running;
        }
        self.learn_standing(standing, at);
        // A request that is there when a slice is created anew was handled by the one before, as far as we can
        // know; one with a token of its own says for itself whether it still holds.
        if let (true, Slice::Absent, Some(request)) = (is_first, &self.slice, &self.request)
            && request.uid.is_none()
            && request.expires.is_none()
        {
            self.handled = Some(request.text.clone());
        }
        self.life == Life::Running
    }

    /// Answers whether decisions begin.
    fn unblocked(&mut self, at: Timestamp, standing: &Standing) -> bool {
        if !matches!(self.life, Life::Blocked { .. }) {
            return false;
        }
        self.life = if self.is_synced { Life::Running } else { Life::Unsynced };
        if self.is_synced {
            self.learn_standing(standing, at);
        }
        self.is_synced
    }

    /// A watch event newer than the publication says what a read would.
    fn resolve_doubt(&mut self, member: &Member) {
        let newest = self.newest;
        self.doubt.take_if(|doubt| doubt.holds && doubt.pod == member.pod && member.version > newest);
    }

    /// A deleted pod never comes back, and a finished one never runs again. One that was no member at some time may
    /// have become one again since: it must be asked about anew, for the open answer may be older than its departure.
    fn doubt_departure(&mut self, pod: &Pod, how: Departure) {
        if let Some(doubt) = self.doubt.as_mut().filter(|doubt| doubt.pod == *pod) {
            doubt.id = None;
            match how {
                Departure::Deleted | Departure::Finished => self.doubt = None,
                Departure::Relabelled => {
                    self.doubt.take_if(|doubt| !doubt.holds);
                }
            }
        }
    }

    pub(crate) fn eligible(&self, at: Timestamp) -> usize {
        self.rows.iter().filter(|row| row.is_eligible(&self.policy, at)).count()
    }

    pub(crate) fn is_doubted(&self, pod: &Pod) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.holds && doubt.pod == *pod)
    }

    /// How many bytes it has allocated, but for texts. What is boxed is counted in full, there or not: it is little.
    pub(crate) fn heap(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + (self.graves.capacity() + self.stranded.capacity() + 1) * size_of::<Pod>()
            + self.asked.capacity() * size_of::<(OrderId, Pod)>()
            + size_of::<(Flight, Doubt, Mirrored, Contest, Switchover)>()
            + self.changes.as_deref().map_or(0, Changes::heap)
    }

    pub(crate) const fn next_id(&mut self) -> OrderId {
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

    /// Of what every replica sees, and none has written, one tells.
    pub(crate) fn notify_as_holder(&mut self, notice: Notice, step: &mut Step) {
        if self.lease {
            self.notify(notice, step);
        }
    }
}

/// Whether the event is worth another try of what the server has refused.
const fn is_change(event: &Event) -> bool {
    event.is_about_a_member()
        || matches!(
            event,
            Event::PolicyChanged { .. } | Event::PublicationObserved { .. } | Event::Unblocked { .. }
        )
}
