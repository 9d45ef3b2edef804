//! What the machine knows of a pod.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Timestamp;

/// A pod's identity, written `name/uid`. Two are equal if their UIDs are: names and addresses are reused, UIDs
/// never.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Pod(Arc<str>);

/// In one step: by way of a `String`, as serde makes an `Arc<str>`, a text is copied twice, and a log is mostly pods.
impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Pod;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pod as name/uid")
            }

            fn visit_str<E>(self, text: &str) -> Result<Pod, E> {
                Ok(Pod(text.into()))
            }
        }
        from.deserialize_str(Text)
    }
}

impl Pod {
    /// The pod called `name` with this `uid`.
    #[must_use]
    pub fn new(name: &str, uid: &str) -> Self {
        Self(format!("{name}/{uid}").into())
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.split().0
    }

    /// The pod's UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.split().1
    }

    fn has_uid_of(&self, other: &Self) -> bool {
        fn from_its_end(pod: &Pod) -> impl Iterator<Item = u8> {
            pod.0.bytes().rev().take_while(|byte| *byte != b'/')
        }
        // Two texts of one pod are the same in the name, too.
        self.0 == other.0 || from_its_end(self).eq(from_its_end(other))
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl PartialEq for Pod {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // Different pods are compared most often, and their UIDs differ early, from the end as from the start.
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.as_bytes().last() == other.0.as_bytes().last() && self.has_uid_of(other)
    }
}

impl Eq for Pod {}

impl std::hash::Hash for Pod {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uid().hash(state);
    }
}

impl std::fmt::Display for Pod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A `resourceVersion` of the API server. Comparable as a number (Kubernetes 1.35 documents it, etcd always
/// did so).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// What a leader slice would say of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The pod's address of the source Service's first family.
    pub address: IpAddr,
    /// A digest of the whole endpoint and of its resolved ports: equal digests need no write.
    pub content: u64,
}

/// Whether traffic could be sent to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It could, by this endpoint.
    At(Endpoint),
    /// The pod has no address of the first family.
    NoAddress,
    /// A port of the Service does not resolve on the pod.
    PortUnresolved {
        /// The port is a named one.
        named: bool,
    },
}

impl Reach {
    /// The endpoint, if there is one.
    #[must_use]
    pub const fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::At(endpoint) => Some(endpoint),
            Self::NoAddress | Self::PortUnresolved { .. } => None,
        }
    }
}

/// What is said of the node that a pod runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// Nothing against it, as far as is known.
    #[default]
    Sound,
    /// It is not ready, or cannot be reached.
    Troubled,
    /// It takes no new pods, before it is drained for instance.
    Cordoned,
}

/// A pod matched by the source Service's selector, as last seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub pod: Pod,
    /// The pod object's version; older facts about the same UID are ignored.
    pub version: Version,
    /// Its creation time.
    pub created: Timestamp,
    /// Phase Running and condition Ready True.
    pub ready: bool,
    /// When the Ready condition last changed, by the pod's own account (1 s resolution).
    pub ready_changed: Timestamp,
    /// It has a deletion timestamp.
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminating: bool,
    /// It says `never-lead`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub excluded: bool,
    /// Its priority; higher leads first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// How well its node and zone are what the source Service prefers; higher leads first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub place: u8,
    /// What is said of its node.
    #[serde(default, skip_serializing_if = "is_default")]
    pub site: Site,
    /// A digest of its revision label; 0 if it has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revision: u64,
    /// Where it can be reached.
    pub reach: Reach,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
