//! What the annotations of the source Service ask for.

use std::num::NonZeroU8;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};

/// How an election chooses and how patient it is. The default is that of a Service with no annotation but
/// `enabled`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Whether and when a better-ranked member takes over from a fit leader.
    pub failback: Failback,
    /// For how long a pod must have been Ready before it is eligible.
    pub min_ready_duration: Micros,
    /// For how long a leader that is NotReady is tolerated.
    pub failover_min_delay: Micros,
    /// Which of several equals is preferred.
    pub strategy: Strategy,
    /// While a rollout runs, choose among the youngest pod's revision first.
    pub prefer_new_revision: bool,
    /// Move a leader off a cordoned node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub leave_cordoned: bool,
    /// How many changes of leader, of any cause, put moves off that are only a preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_switches: Option<MaxSwitches>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failback: Failback::Never,
            min_ready_duration: Micros::ZERO,
            failover_min_delay: Micros::ZERO,
            strategy: Strategy::Oldest,
            prefer_new_revision: true,
            leave_cordoned: false,
            max_switches: None,
        }
    }
}

/// After so many changes of leader within the window, a fit leader stays until the window has room again, whoever ranks
/// before it and whatever is said of its node. It limits neither the replacement of a leader that is unfit nor what a
/// person asks for.
///
/// Every replica counts the changes that it sees, whoever made them. It remembers as many as count, from when the limit was
/// set or from its own start; of those before its start only the last, by what the leader Service tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaxSwitches {
    /// So many fill the window.
    pub count: NonZeroU8,
    /// For how long each counts.
    pub window: Micros,
}

impl MaxSwitches {
    pub(crate) fn most(self) -> usize {
        usize::from(self.count.get())
    }
}

/// Whether a better-ranked member takes over from a fit leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failback {
    /// Never: the leader stays for as long as it is fit.
    Never,
    /// After having been eligible for this long; zero is at once.
    After(Micros),
}

/// The order among members of equal priority and revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The pod created first.
    Oldest,
    /// The pod created last.
    Newest,
    /// The pod that has been Ready for the longest time.
    LongestReady,
}

/// A request to hand over to a named pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Switchover {
    /// The annotation's whole value: the request's identity.
    pub text: Arc<str>,
    /// The pod's name.
    pub pod: Arc<str>,
    /// The pod's UID, if the request names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Arc<str>>,
    /// When the request lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}
