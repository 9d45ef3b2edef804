//! The facts about a source Service.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ServicePort, SessionAffinityConfig};

use crate::annotations;
use crate::kinds::{Family, ServiceLite};
use crate::names::{GITOPS_LABELS, LABEL_HEADLESS};
use crate::rows::Selector;

/// A source Service, as far as it decides what is made for it. Two that are equal ask for the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Where it lives.
    pub namespace: Arc<str>,
    /// What it is called.
    pub name: Arc<str>,
    /// Its identity.
    pub uid: Arc<str>,
    /// Which pods are its members.
    pub selector: Selector,
    /// Its IP families, at least one; that of the first is the authority.
    pub families: Vec<Family>,
    /// How many families it wants, in Kubernetes' words.
    pub family_policy: Option<String>,
    /// Its ports, without node ports; at least one.
    pub ports: Vec<ServicePort>,
    /// Whether clients stay on one endpoint, in Kubernetes' words.
    pub affinity: Option<String>,
    /// For how long they do.
    pub affinity_config: Option<SessionAffinityConfig>,
    /// Its labels, as far as they are copied.
    pub labels: BTreeMap<String, String>,
}

/// Why a Service that opts in cannot have a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidService {
    /// It selects no pods.
    #[error("it has no selector, so that it has no pods to choose from")]
    NoSelector,
    /// It is only a name for something elsewhere.
    #[error("its type is ExternalName, so that it has no pods")]
    ExternalName,
    /// A leader Service could not route to anything.
    #[error("it has no ports, and a leader Service cannot do without")]
    NoPorts,
}

impl Source {
    /// The facts about this Service.
    ///
    /// # Errors
    /// It cannot have a leader.
    pub fn new(service: &ServiceLite) -> Result<Self, InvalidService> {
        let ServiceLite { metadata, spec } = service;
        if spec.kind.as_deref() == Some("ExternalName") {
            return Err(InvalidService::ExternalName);
        }
        let selector = Selector::new(&spec.selector).ok_or(InvalidService::NoSelector)?;
        if spec.ports.is_empty() {
            return Err(InvalidService::NoPorts);
        }
        let text = |text: Option<&String>| Arc::from(text.map(String::as_str).unwrap_or_default());
        Ok(Self {
            namespace: text(metadata.namespace.as_ref()),
            name: text(metadata.name.as_ref()),
            uid: text(metadata.uid.as_ref()),
            selector,
            families: families(service),
            family_policy: spec.ip_family_policy.clone(),
            ports: spec.ports.iter().map(|port| ServicePort { node_port: None, ..port.clone() }).collect(),
            affinity: spec.session_affinity.clone(),
            affinity_config: spec.session_affinity_config.clone(),
            labels: copied_labels(service),
        })
    }

    /// The family whose slice is the authority for leader and epoch.
    #[must_use]
    pub fn first_family(&self) -> Family {
        self.families.first().copied().unwrap_or(Family::V4)
    }

    /// The family of the second slice, if there is one.
    #[must_use]
    pub fn second_family(&self) -> Option<Family> {
        self.families.get(1).copied()
    }
}

/// The families as the API server filled them in. One that did not is asked for its cluster IPs.
fn families(service: &ServiceLite) -> Vec<Family> {
    let mut families: Vec<_> =
        service.spec.ip_families.iter().filter_map(|text| Family::parse(text)).collect();
    if families.is_empty() {
        let addresses = service.spec.cluster_ips.iter().chain(&service.spec.cluster_ip);
        families = addresses.filter_map(|text| text.parse::<IpAddr>().ok()).map(Family::of).collect();
    }
    if families.is_empty() {
        families.push(Family::V4);
    }
    families.dedup();
    families.truncate(2);
    families
}

/// All labels but [`GITOPS_LABELS`], our own, and the one that hides a slice from kube-proxy.
fn copied_labels(service: &ServiceLite) -> BTreeMap<String, String> {
    let acts_twice = |key: &str| {
        GITOPS_LABELS.contains(&key) || key == LABEL_HEADLESS || key.starts_with(annotations::PREFIX)
    };
    let labels = service.metadata.labels.iter().flatten();
    labels.filter(|(key, _)| !acts_twice(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
