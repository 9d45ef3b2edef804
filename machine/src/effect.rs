//! The orders that the machine can give. Each has an id, and each is answered by an event with that id.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Phase, Pod, Timestamp, Version, Wanted};

/// Names an order, so that its answer can be told from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u32);

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Write the authority slice. Answered by `Published` or `PublishFailed`.
    Publish {
        /// The order.
        id: OrderId,
        /// What it shall say.
        wanted: Wanted,
        /// The version it was decided on; none: create the slice.
        based_on: Option<Version>,
    },
    /// Read the authority slice once. Answered by `ReadDone` or `ReadFailed`.
    Read {
        /// The order.
        id: OrderId,
    },
    /// Read this pod once. Answered by `Confirmed` or `ConfirmFailed`.
    Confirm {
        /// The order.
        id: OrderId,
        /// Which.
        pod: Pod,
    },
    /// Mirror the leadership in the leader Service's annotations. Answered by `Mirrored` or `MirrorFailed`.
    Mirror {
        /// The order.
        id: OrderId,
        /// What to mirror.
        mirror: Mirror,
    },
    /// Send a notice. Answered by `Notified` or `NotifyFailed`.
    Notify {
        /// The order.
        id: OrderId,
        /// What to say.
        notice: Notice,
    },
    /// Delete what we own. Answered by `Removed` or `RemoveFailed`.
    Remove {
        /// The order.
        id: OrderId,
        /// How much of it.
        scope: Scope,
    },
}

impl Effect {
    /// The order's id.
    #[must_use]
    pub const fn id(&self) -> OrderId {
        match self {
            Self::Publish { id, .. }
            | Self::Read { id }
            | Self::Confirm { id, .. }
            | Self::Mirror { id, .. }
            | Self::Notify { id, .. }
            | Self::Remove { id, .. } => *id,
        }
    }
}

/// What the leader Service's annotations say of the leadership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// The leader.
    pub leader: Option<Pod>,
    /// The epoch.
    pub epoch: Option<Epoch>,
    /// When the leadership last changed; none: leave what is there.
    pub switched: Option<Timestamp>,
    /// The term was written by this replica, which so knows when that was. Others know when they heard of it: what is
    /// there for the same leadership is better.
    #[serde(default)]
    pub ours: bool,
    /// The switchover request that was handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Arc<str>>,
}

/// How much is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The leader Service and all its slices that are ours.
    Everything,
    /// Only the slices: a foreign Service has their name.
    Slices,
}

/// What a Kubernetes Event shall say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The Event's reason.
    pub reason: Reason,
    /// Why it came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The pod it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The pod that led before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Pod>,
    /// Somebody else's words: the server's, a field manager's name, the request's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
}

/// The reasons of notices that the machine sends. The names are public: people filter by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The first term of this Service's leadership began.
    LeaderElected,
    /// Another pod leads now.
    LeaderChanged,
    /// The leader is on its way out and still serves.
    LeaderDraining,
    /// Nobody leads any more.
    LeaderLost,
    /// Somebody leads again.
    LeaderRecovered,
    /// Nobody can lead: there are no pods.
    NoPodsFound,
    /// Nobody can lead: no pod is Ready.
    NoReadyPods,
    /// Nobody can lead: a named port resolves on no pod.
    NamedPortResolutionFailed,
    /// Nobody can lead: a port is not valid.
    PortResolutionFailed,
    /// Somebody deleted the leader slice.
    EndpointSliceDeleted,
    /// A handover came about.
    SwitchoverCompleted,
    /// A handover will not come about.
    SwitchoverRefused,
    /// No more choices.
    Paused,
    /// Choices again.
    Resumed,
    /// A foreign object stands in our place.
    LeaderServiceConflict,
    /// Another writer keeps undoing our publication.
    PublicationContested,
    /// The API server will not take our publication.
    PublishRejected,
}

/// Why leadership changed: the same word in notice, span, metric and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nobody had led before.
    FirstElection,
    /// Nobody led for a while.
    Recovery,
    /// The leader was NotReady.
    Unready,
    /// The leader was told to terminate.
    Terminating,
    /// The leader was deleted.
    Gone,
    /// The leader's containers were done.
    Finished,
    /// The leader no longer matched the selector.
    Relabelled,
    /// The leader was told never to lead.
    Excluded,
    /// The leader lost its address.
    AddressLost,
    /// A port no longer resolved on the leader.
    PortUnresolved,
    /// The API server refused the leader's endpoint.
    Refused,
    /// The leader's node was lost.
    NodeLost,
    /// A better-ranked member took over.
    Failback,
    /// The leader's node was cordoned, and the Service leaves such nodes.
    Cordoned,
    /// A person asked for it.
    Switchover,
    /// Another writer's publication was adopted.
    Adopted,
    /// A foreign object stood in our place, or no longer did.
    Obstruction,
    /// The Service opted out or went.
    Removal,
}

impl Cause {
    /// The word used everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstElection => "first_election",
            Self::Recovery => "recovery",
            Self::Unready => "unready",
            Self::Terminating => "terminating",
            Self::Gone => "gone",
            Self::Finished => "finished",
            Self::Relabelled => "relabelled",
            Self::Excluded => "excluded",
            Self::AddressLost => "address_lost",
            Self::PortUnresolved => "port_unresolved",
            Self::Refused => "refused",
            Self::NodeLost => "node_lost",
            Self::Failback => "failback",
            Self::Cordoned => "cordoned",
            Self::Switchover => "switchover",
            Self::Adopted => "adopted",
            Self::Obstruction => "obstruction",
            Self::Removal => "removal",
        }
    }

    /// Whether it is something about a pod that may have ceased since. Whoever terminates, is gone or has finished
    /// never comes back, and the last three of the losses are not told by the pod.
    pub(crate) const fn is_revocable(self) -> bool {
        matches!(self, Self::Unready | Self::Excluded | Self::AddressLost | Self::PortUnresolved)
    }
}

/// A change of phase, or of who is leader or candidate within one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The phase before.
    pub from: Phase,
    /// The phase after.
    pub to: Phase,
    /// Leader or candidate before.
    pub from_pod: Option<Pod>,
    /// Leader or candidate after.
    pub to_pod: Option<Pod>,
    /// Why.
    pub cause: Cause,
}

/// What one event led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Step {
    /// The change of phase, if there was one.
    pub transition: Option<Transition>,
    /// The orders given.
    pub effects: Vec<Effect>,
}
