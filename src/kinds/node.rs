//! Nodes and their Leases.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::Site;
use serde::Deserialize;

use super::{meta, nullable};
use crate::names::LABEL_ZONE;

/// A person puts it on a node that is down for certain; any effect and value will do.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Kubernetes puts them on a node that does not answer, or answers that it is not well.
const TROUBLED: [&str; 2] = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];

/// A Node, as far as it says whether its pods can be reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeLite {
    /// Name, resourceVersion and the zone's label.
    #[serde(deserialize_with = "meta::node")]
    pub metadata: ObjectMeta,
    /// What is said of it.
    #[serde(deserialize_with = "nullable")]
    pub spec: NodeSpecLite,
}

/// The part of a Node's spec that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpecLite {
    /// It is cordoned.
    #[serde(deserialize_with = "nullable")]
    pub unschedulable: bool,
    /// The taints.
    #[serde(deserialize_with = "nullable")]
    pub taints: Vec<TaintLite>,
}

/// A taint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaintLite {
    /// Which one.
    pub key: Option<String>,
}

/// The Lease that a node's kubelet renews, whose every change says that it lives.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeLeaseLite {
    /// Name, which is the node's, and resourceVersion.
    #[serde(deserialize_with = "meta::name")]
    pub metadata: ObjectMeta,
    /// What the kubelet promises.
    #[serde(deserialize_with = "nullable")]
    pub spec: NodeLeaseSpecLite,
}

/// The part of a Lease's spec that matters. When it was renewed is another clock's time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeLeaseSpecLite {
    /// How long it lasts; it is renewed four times in that.
    pub lease_duration_seconds: Option<i32>,
}

impl NodeLite {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The zone that it says it is in.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(LABEL_ZONE).map(String::as_str).filter(|zone| !zone.is_empty())
    }

    /// Whether somebody has declared it down.
    #[must_use]
    pub fn is_out_of_service(&self) -> bool {
        self.is_tainted(&[OUT_OF_SERVICE])
    }

    /// What is said of it.
    #[must_use]
    pub fn site(&self) -> Site {
        if self.spec.unschedulable {
            Site::Cordoned
        } else if self.is_tainted(&TROUBLED) {
            Site::Troubled
        } else {
            Site::Sound
        }
    }

    fn is_tainted(&self, keys: &[&str]) -> bool {
        self.spec.taints.iter().filter_map(|taint| taint.key.as_deref()).any(|key| keys.contains(&key))
    }
}

impl NodeLeaseLite {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}
