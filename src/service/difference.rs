//! What has to change about a leader Service that stands.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ServicePort, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machine::Mirror;
use serde::{Serialize, Serializer};

use super::{CLUSTER_IP, Place, mirrored};
use crate::annotations::{ENABLED, EPOCH, INSTANCE, LEADER_LAST_SWITCH_TIME, LEADER_POD_UID};
use crate::kinds::{ServiceLite, ServiceSpecLite};

/// A JSON merge patch of a leader Service. It holds the version and the UID that it was decided on, so that it
/// can never overwrite anything newer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServicePatch {
    /// What changes about its metadata.
    pub metadata: MetadataPatch,
    /// What changes about its spec.
    #[serde(skip_serializing_if = "SpecPatch::is_empty")]
    pub spec: SpecPatch,
}

/// What changes about a leader Service's metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataPatch {
    /// The version it was decided on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The Service it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Labels to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to set, or to remove.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, Option<String>>,
    /// The owners.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub owner_references: Change<Vec<OwnerReference>>,
}

/// What changes about a leader Service's spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecPatch {
    /// Only ever removed: with a selector Kubernetes would publish other pods.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub selector: Change<()>,
    /// The ports, all of them.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ports: Change<Vec<ServicePort>>,
    /// Only ever back to `ClusterIP`.
    #[serde(rename = "type", skip_serializing_if = "Change::is_keep")]
    pub kind: Change<&'static str>,
    /// What only other types may have, and would be refused of a `ClusterIP` Service.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub other_types: Option<OtherTypes>,
    /// How many families.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub ip_family_policy: Change<String>,
    /// Whether clients stay on one endpoint.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub session_affinity: Change<String>,
    /// For how long they do.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub session_affinity_config: Change<SessionAffinityConfig>,
    /// Only ever back to `Cluster`: there is one endpoint, and other nodes would reach nothing.
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub internal_traffic_policy: Change<&'static str>,
}

/// The fields of other types of Service, each to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherTypes {
    allocate_load_balancer_node_ports: (),
    external_name: (),
    external_traffic_policy: (),
    health_check_node_port: (),
    load_balancer_class: (),
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: (),
    load_balancer_source_ranges: (),
}

/// What happens to a field.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Change<T> {
    /// Nothing.
    #[default]
    Keep,
    /// It goes.
    Remove,
    /// It becomes this.
    Set(T),
}

/// What has to change for the leader Service to be as it should; none if nothing. Without a mirror, what it
/// mirrors stays as it is.
#[must_use]
pub fn difference(
    observed: &ServiceLite,
    place: &Place<'_>,
    mirror: Option<&Mirror>,
) -> Option<ServicePatch> {
    let mut metadata = metadata(observed, place, mirror);
    let spec = spec(&observed.spec, place);
    if metadata == MetadataPatch::default() && spec.is_empty() {
        return None;
    }
    metadata.resource_version.clone_from(&observed.metadata.resource_version);
    metadata.uid.clone_from(&observed.metadata.uid);
    Some(ServicePatch { metadata, spec })
}

fn metadata(observed: &ServiceLite, place: &Place<'_>, mirror: Option<&Mirror>) -> MetadataPatch {
    let observed = &observed.metadata;
    let label = |key: &String| observed.labels.as_ref()?.get(key);
    let annotation = |key: &str| observed.annotations.as_ref()?.get(key);
    let mut annotations = mirror.map(mirrored).unwrap_or_default();
    let is_told = |key: &&str| annotations.get(key).is_none_or(|value| annotation(key) == value.as_ref());
    if mirror.is_some_and(|mirror| !mirror.ours)
        && annotation(LEADER_LAST_SWITCH_TIME).is_some()
        && [EPOCH, LEADER_POD_UID].iter().all(is_told)
    {
        annotations.remove(LEADER_LAST_SWITCH_TIME);
    }
    annotations.insert(INSTANCE, Some(place.instance.to_owned()));
    // The Go zen-lead copied it from the source: the leader Service itself would seem to opt in.
    annotations.insert(ENABLED, None);
    MetadataPatch {
        labels: place.labels().into_iter().filter(|(key, value)| label(key) != Some(value)).collect(),
        annotations: annotations
            .into_iter()
            .filter(|(key, value)| annotation(key) != value.as_ref())
            .collect(),
        owner_references: if place.owns(observed.owner_references.as_ref()) {
            Change::Keep
        } else {
            Change::Set(vec![place.owner()])
        },
        ..MetadataPatch::default()
    }
}

fn spec(observed: &ServiceSpecLite, place: &Place<'_>) -> SpecPatch {
    let source = place.source();
    let other_type = observed.kind.as_deref().unwrap_or(CLUSTER_IP) != CLUSTER_IP;
    SpecPatch {
        selector: Change::remove_if(!observed.selector.is_empty()),
        ports: Change::set_if(!same_ports(&observed.ports, &source.ports), || source.ports.clone()),
        kind: Change::set_if(other_type, || CLUSTER_IP),
        other_types: other_type.then(OtherTypes::default),
        // Families follow from the policy: the API server fills them in, and would refuse half a list.
        ip_family_policy: Change::to(observed.ip_family_policy.as_ref(), source.family_policy.as_ref()),
        session_affinity: Change::to(observed.session_affinity.as_ref(), source.affinity.as_ref()),
        session_affinity_config: if observed.session_affinity_config == source.affinity_config {
            Change::Keep
        } else {
            source.affinity_config.clone().map_or(Change::Remove, Change::Set)
        },
        internal_traffic_policy: Change::set_if(
            observed.internal_traffic_policy.as_deref() == Some("Local"),
            || "Cluster",
        ),
    }
}

/// Whether two lists of ports ask for the same, with what the API server fills in.
fn same_ports(observed: &[ServicePort], wanted: &[ServicePort]) -> bool {
    let same = |(a, b): (&ServicePort, &ServicePort)| filled_in(a) == filled_in(b);
    observed.len() == wanted.len() && observed.iter().zip(wanted).all(same)
}

fn filled_in(port: &ServicePort) -> ServicePort {
    let unset = |target: &IntOrString| *target == IntOrString::String(String::new());
    ServicePort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        protocol: port.protocol.clone().or_else(|| Some("TCP".to_owned())),
        target_port: port
            .target_port
            .clone()
            .filter(|target| !unset(target))
            .or(Some(IntOrString::Int(port.port))),
        node_port: port.node_port.filter(|port| *port != 0),
        ..port.clone()
    }
}

impl SpecPatch {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<T> Change<T> {
    fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    fn remove_if(needed: bool) -> Self {
        if needed { Self::Remove } else { Self::Keep }
    }

    fn set_if(needed: bool, value: impl FnOnce() -> T) -> Self {
        if needed { Self::Set(value()) } else { Self::Keep }
    }
}

impl<T: Clone + PartialEq> Change<T> {
    /// To what is wanted; what is not wanted in particular stays as the API server filled it in.
    fn to(observed: Option<&T>, wanted: Option<&T>) -> Self {
        match wanted {
            Some(wanted) if observed != Some(wanted) => Self::Set(wanted.clone()),
            Some(_) | None => Self::Keep,
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Remove => to.serialize_none(),
            Self::Set(value) => value.serialize(to),
        }
    }
}
