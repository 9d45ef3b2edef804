//! What is read of Pods, Services, EndpointSlices, Nodes and their Leases: only the fields that matter, everything else is
//! skipped as it goes by. A Pod costs about a fifth of what the full type costs, in time and in memory.
//!
//! Whatever is missing or null takes its default: an odd object must never stop the watch that shows it.

mod kept;
mod meta;
mod node;

use std::borrow::Cow;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerPort, ServicePort, SessionAffinityConfig};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff;
use machine::{Timestamp, Version};
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use kept::{Kept, Versioned};
pub use node::{NodeLeaseLite, NodeLeaseSpecLite, NodeLite, NodeSpecLite, TaintLite};

/// A Pod, as far as an election goes by it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodLite {
    /// Name, namespace, uid, resourceVersion, labels, creation, deletion and its grace period; of annotations
    /// only ours.
    #[serde(deserialize_with = "meta::pod")]
    pub metadata: ObjectMeta,
    /// Where it runs and what it declares.
    #[serde(deserialize_with = "nullable")]
    pub spec: PodSpecLite,
    /// How it is.
    #[serde(deserialize_with = "nullable")]
    pub status: PodStatusLite,
}

/// The part of a Pod's spec that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpecLite {
    /// The node.
    pub node_name: Option<String>,
    /// The containers, for their named ports.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<ContainerLite>,
    /// The init containers: those that restart always are sidecars, and their ports count.
    #[serde(deserialize_with = "nullable")]
    pub init_containers: Vec<ContainerLite>,
}

/// The part of a container that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerLite {
    /// The declared ports.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<ContainerPort>,
    /// `Always` makes an init container a sidecar.
    pub restart_policy: Option<String>,
}

/// The part of a Pod's status that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodStatusLite {
    /// The phase.
    pub phase: Option<String>,
    /// The first address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// All addresses, one a family.
    #[serde(rename = "podIPs", deserialize_with = "nullable")]
    pub pod_ips: Vec<PodIpLite>,
    /// The conditions.
    #[serde(deserialize_with = "nullable")]
    pub conditions: Vec<ConditionLite>,
}

/// An address of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodIpLite {
    /// The address.
    pub ip: Option<String>,
}

/// A condition of a Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConditionLite {
    /// Which condition.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `True`, `False` or `Unknown`.
    pub status: Option<String>,
    /// Since when, to the second.
    pub last_transition_time: Option<Time>,
}

/// A Service, as far as a source or a leader Service goes by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceLite {
    /// Name, namespace, uid, resourceVersion, labels, owners, creation and deletion; of annotations only ours, and of
    /// managedFields only the newest entry's manager and time.
    #[serde(deserialize_with = "meta::service")]
    pub metadata: ObjectMeta,
    /// What it routes.
    #[serde(deserialize_with = "nullable")]
    pub spec: ServiceSpecLite,
}

/// The part of a Service's spec that matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpecLite {
    /// Which pods are its members.
    #[serde(deserialize_with = "nullable")]
    pub selector: std::collections::BTreeMap<String, String>,
    /// The ports.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<ServicePort>,
    /// The first cluster IP; `None` makes it headless.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// All cluster IPs, one a family.
    #[serde(rename = "clusterIPs", deserialize_with = "nullable")]
    pub cluster_ips: Vec<String>,
    /// The families, the first one first.
    #[serde(deserialize_with = "nullable")]
    pub ip_families: Vec<String>,
    /// How many families it wants.
    pub ip_family_policy: Option<String>,
    /// The type; absent is `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether clients stay on one endpoint.
    pub session_affinity: Option<String>,
    /// For how long they do.
    pub session_affinity_config: Option<SessionAffinityConfig>,
    /// `Local` keeps traffic on the node.
    pub internal_traffic_policy: Option<String>,
}

/// An EndpointSlice, as far as a leader slice goes by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SliceLite {
    /// As of a Service, with all annotations and finalizers: a PUT has to give them back.
    #[serde(deserialize_with = "meta::slice")]
    pub metadata: ObjectMeta,
    /// The family, in Kubernetes' words.
    #[serde(deserialize_with = "nullable")]
    pub address_type: String,
    /// The endpoints.
    #[serde(deserialize_with = "nullable")]
    pub endpoints: Vec<Endpoint>,
    /// The ports.
    #[serde(deserialize_with = "nullable")]
    pub ports: Vec<EndpointPort>,
}

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family as Kubernetes writes it, in Services and slices alike.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The family that Kubernetes writes so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| family.as_str() == text)
    }

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl PodStatusLite {
    /// The Ready condition.
    #[must_use]
    pub fn ready_condition(&self) -> Option<&ConditionLite> {
        self.conditions.iter().find(|condition| condition.kind.as_deref() == Some("Ready"))
    }
}

impl ServiceLite {
    /// The field manager of the newest write.
    #[must_use]
    pub fn manager(&self) -> Option<&str> {
        manager(&self.metadata)
    }
}

impl SliceLite {
    /// The field manager of the newest write.
    #[must_use]
    pub fn manager(&self) -> Option<&str> {
        manager(&self.metadata)
    }
}

fn manager(metadata: &ObjectMeta) -> Option<&str> {
    metadata.managed_fields.as_ref()?.first()?.manager.as_deref()
}

/// The version of an object; 0 if it has none.
#[must_use]
pub fn version(metadata: &ObjectMeta) -> Version {
    Version(metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// A time of an object as the machine counts it; what is before 1970 is 1970.
#[must_use]
pub fn timestamp(time: jiff::Timestamp) -> Timestamp {
    Timestamp(u64::try_from(time.as_microsecond()).unwrap_or_default())
}

/// A time of the machine as objects show it; what is beyond the year 9999 is cut to that.
#[must_use]
pub fn wall_time(time: Timestamp) -> jiff::Timestamp {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX)
}

fn nullable<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Makes a slim type watchable.
macro_rules! resource {
    ($lite:ty, $kind:literal, $plural:literal, $group:literal) => {
        resource!($lite, $kind, $plural, $group, kube::core::NamespaceResourceScope);
    };
    ($lite:ty, $kind:literal, $plural:literal, $group:literal, $scope:ty) => {
        impl kube::Resource for $lite {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(PodLite, "Pod", "pods", "");
resource!(ServiceLite, "Service", "services", "");
resource!(SliceLite, "EndpointSlice", "endpointslices", "discovery.k8s.io");
resource!(NodeLite, "Node", "nodes", "", kube::core::ClusterResourceScope);
resource!(NodeLeaseLite, "Lease", "leases", "coordination.k8s.io");

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
