//! The facts that the machine can be told, all in the past tense.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Epoch, Member, Micros, OrderId, Pod, Policy, Publication, Switchover, Timestamp, Version};

/// A fact. Nothing else ever changes an election.
///
/// `horizon` is the highest version seen on the pod watch, by an object or a bookmark: facts about pods are as
/// new as that.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// All lists are in: the members and what is published now. Sent once, and again after the API server
    /// was restored to an older state.
    Synced {
        /// The members.
        members: Vec<Member>,
        /// How the slice stands.
        #[serde(flatten)]
        standing: Standing,
    },
    /// A member is Ready that was not, or was not known.
    PodReady {
        /// The pod as it is.
        member: Member,
    },
    /// A member is no longer Ready, or a new one is not Ready yet.
    PodUnready {
        /// The pod as it is.
        member: Member,
    },
    /// A member has been told to terminate.
    PodTerminating {
        /// The pod as it is.
        member: Member,
    },
    /// A member is a member no longer.
    PodGone {
        /// Who it was.
        pod: Pod,
        /// How it went.
        how: Departure,
    },
    /// Something else about a member changed: address, ports, priority, place, node, exclusion.
    PodChanged {
        /// The pod as it is.
        member: Member,
    },
    /// The source Service asks for something else.
    PolicyChanged {
        /// What it asks for.
        policy: Policy,
    },
    /// The source Service no longer opts in.
    OptedOut,
    /// The source Service is gone.
    ServiceGone,
    /// The API server acknowledged a publication.
    Published {
        /// The order.
        id: OrderId,
        /// The slice's version.
        version: Version,
    },
    /// A publication did not come about, as far as we know.
    PublishFailed {
        /// The order.
        id: OrderId,
        /// Why.
        outcome: Outcome,
    },
    /// The slice was read.
    ReadDone {
        /// The order.
        id: OrderId,
        /// What it says; nothing if there is none.
        published: Option<Publication>,
        /// How new our facts about pods are.
        horizon: Version,
    },
    /// The slice could not be read.
    ReadFailed {
        /// The order.
        id: OrderId,
    },
    /// A pod was read.
    Confirmed {
        /// The order.
        id: OrderId,
        /// The pod as it is, if it is a member.
        member: Option<Member>,
        /// It is no member, but it is there and may become one; only newer facts about it follow.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        exists: bool,
    },
    /// A pod could not be read.
    ConfirmFailed {
        /// The order.
        id: OrderId,
    },
    /// The annotations of the leader Service are as ordered.
    Mirrored {
        /// The order.
        id: OrderId,
    },
    /// The annotations of the leader Service could not be written.
    MirrorFailed {
        /// The order.
        id: OrderId,
    },
    /// A notice was sent.
    Notified {
        /// The order.
        id: OrderId,
    },
    /// A notice could not be sent.
    NotifyFailed {
        /// The order.
        id: OrderId,
    },
    /// What we owned is gone.
    Removed {
        /// The order.
        id: OrderId,
    },
    /// What we own could not be removed.
    RemoveFailed {
        /// The order.
        id: OrderId,
    },
    /// The slice is now this, as the watch shows.
    PublicationObserved {
        /// What it says; nothing if there is none.
        published: Option<Publication>,
        /// How new our facts about pods are.
        horizon: Version,
        /// Who wrote it, by its field manager, if that was not an instance of ours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Arc<str>>,
    },
    /// A foreign object stands in our place.
    Blocked {
        /// Which.
        by: Obstruction,
    },
    /// No foreign object stands in our place any more.
    Unblocked {
        /// How the slice stands.
        #[serde(flatten)]
        standing: Standing,
    },
    /// A person asked for a handover.
    SwitchoverRequested {
        /// What was asked for.
        request: Switchover,
    },
    /// The request was taken back.
    SwitchoverWithdrawn,
    /// A person asked for no more choices.
    Paused {
        /// When it is over by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Choices are wanted again.
    Resumed,
    /// This replica acts first.
    LeaseHeld,
    /// Another replica acts first.
    LeaseLost,
    /// The node of a member is lost.
    NodeLost {
        /// The member.
        pod: Pod,
    },
    /// The node of a member is back.
    NodeBack {
        /// The member.
        pod: Pod,
    },
    /// The API server answers again after it did not.
    ServerBack,
    /// The deadline that the machine had named is here.
    DeadlineReached,
}

impl Event {
    /// Whether it tells of a member.
    #[must_use]
    pub const fn is_about_a_member(&self) -> bool {
        matches!(
            self,
            Self::PodReady { .. }
                | Self::PodUnready { .. }
                | Self::PodTerminating { .. }
                | Self::PodGone { .. }
                | Self::PodChanged { .. }
        )
    }
}

/// How the authority slice stands when an election starts to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// What it says; nothing if there is none.
    pub published: Option<Publication>,
    /// The highest epoch that anything but the slice as it is now tells of, as the leader Service, which mirrors it. If
    /// nothing does, nobody can tell whether somebody took the slice's back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<Epoch>,
    /// The UID of the pod that the leader Service says has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirrored_leader: Option<Arc<str>>,
    /// When the leader changed last, by the leader Service's account. Told only to whom the policy sets a limit: see
    /// [`crate::MaxSwitches`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<Timestamp>,
    /// How new our facts about pods are.
    pub horizon: Version,
}

/// How a pod ceased to be a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It was deleted.
    Deleted,
    /// Its containers are done: phase Succeeded or Failed.
    Finished,
    /// The selector no longer matches it.
    Relabelled,
}

/// What stands in our place, in words for people: what it is, and why it is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstruction {
    /// A Service that is not ours has the leader Service's name.
    Service(Arc<str>),
    /// An EndpointSlice that is not ours has the leader slice's name.
    Slice(Arc<str>),
}

/// Why a publication did not come about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The slice has changed since (409 Conflict).
    Conflict,
    /// There is no such slice (404).
    Gone,
    /// There is one already (409 `AlreadyExists`).
    Exists,
    /// The server asks us to wait (429, 503 with Retry-After).
    Throttled(Micros),
    /// It may have happened: the answer is missing.
    Unknown,
    /// It did not happen: the server could not or would not serve us.
    Unreachable,
    /// The server will never take it (400, 413, 422; 403 while the namespace terminates).
    Refused {
        /// The server objects to the endpoint itself, its address for instance.
        endpoint: bool,
        /// The server's words.
        words: Arc<str>,
    },
    /// It was dropped before it was sent.
    Superseded,
    /// It was not sent: the leader Service or the second family's slice tells of a term that we did not know, which is
    /// later or, as far as is known, another pod's.
    Behind {
        /// That term.
        epoch: Epoch,
    },
}
