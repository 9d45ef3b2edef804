//! The source Service as facts, and the leader Service that is made for it.

mod claim;
mod difference;
mod source;

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use machine::{Epoch, Mirror, Timestamp};

pub use claim::{Claim, Stale, asks_for, claim_service, claim_slice, is_generated};
pub use difference::{Change, MetadataPatch, ServicePatch, SpecPatch, difference};
pub use source::{InvalidService, Source};

use crate::annotations::{
    CURRENT_LEADER, EPOCH, INSTANCE, LEADER_LAST_SWITCH_TIME, LEADER_POD_NAME, LEADER_POD_UID,
    SWITCHOVER_HANDLED,
};
use crate::kinds::{Family, ServiceLite, timestamp, wall_time};
use crate::names::{CONTROLLER, LABEL_MANAGED_BY, LABEL_SOURCE_SERVICE};
use crate::rows::View;

const CLUSTER_IP: &str = "ClusterIP";

/// Where the objects made for a source Service go, and in whose name.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The source Service and its settings.
    pub view: &'a View,
    /// The leader Service's name.
    pub leader_service: &'a str,
    /// The installation that we are, `namespace/name`.
    pub instance: &'a str,
}

impl Place<'_> {
    /// The source Service.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.view.source
    }

    /// The labels that everything made for this source carries.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.source().labels.clone();
        labels.insert(LABEL_MANAGED_BY.to_owned(), CONTROLLER.to_owned());
        labels.insert(LABEL_SOURCE_SERVICE.to_owned(), self.source().name.to_string());
        labels
    }

    /// The owner of everything made for this source: the source itself, so that its deletion is theirs.
    #[must_use]
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name: self.source().name.to_string(),
            uid: self.source().uid.to_string(),
            controller: Some(true),
            // Some clusters demand extra rights of whoever sets it.
            block_owner_deletion: None,
        }
    }

    /// Whether these owners are just the one that we set.
    pub(crate) fn owns(&self, owners: Option<&Vec<OwnerReference>>) -> bool {
        let [owner] = owners.map(Vec::as_slice).unwrap_or_default() else { return false };
        let blocking = owner.block_owner_deletion == Some(true);
        !blocking && OwnerReference { block_owner_deletion: None, ..owner.clone() } == self.owner()
    }
}

/// The leader Service as it is created. `former_ips` are those of the one that stood there before, if it was
/// deleted: clients may still know them.
#[must_use]
pub fn desired(place: &Place<'_>, mirror: &Mirror, former_ips: &[IpAddr]) -> Service {
    let source = place.source();
    let cluster_ips = former_addresses(source, former_ips);
    let mut annotations = mirrored(mirror);
    annotations.insert(INSTANCE, Some(place.instance.to_owned()));
    Service {
        metadata: ObjectMeta {
            name: Some(place.leader_service.to_owned()),
            namespace: Some(source.namespace.to_string()),
            labels: Some(place.labels()),
            annotations: Some(
                annotations.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
            ),
            owner_references: Some(vec![place.owner()]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            type_: Some(CLUSTER_IP.to_owned()),
            ports: Some(source.ports.clone()),
            cluster_ip: cluster_ips.first().cloned(),
            cluster_ips: (!cluster_ips.is_empty()).then_some(cluster_ips),
            ip_families: Some(source.families.iter().map(|family| family.as_str().to_owned()).collect()),
            ip_family_policy: source.family_policy.clone(),
            session_affinity: source.affinity.clone(),
            session_affinity_config: source.affinity_config.clone(),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The cluster IPs to ask for: one a family, in the families' order, as far as there are any.
fn former_addresses(source: &Source, former: &[IpAddr]) -> Vec<String> {
    let of_family = |family: &Family| former.iter().find(|address| Family::of(**address) == *family);
    source.families.iter().map_while(of_family).map(ToString::to_string).collect()
}

/// The annotations that a mirror asks for; none as a value: to be removed.
fn mirrored(mirror: &Mirror) -> BTreeMap<&'static str, Option<String>> {
    let name = mirror.leader.as_ref().map(|leader| leader.name().to_owned());
    let uid = mirror.leader.as_ref().map(|leader| leader.uid().to_owned());
    let mut wanted =
        BTreeMap::from([(CURRENT_LEADER, name.clone()), (LEADER_POD_NAME, name), (LEADER_POD_UID, uid)]);
    // What the mirror does not know stays: an epoch and a handled request must never be lost.
    if let Some(Epoch(epoch)) = mirror.epoch {
        wanted.insert(EPOCH, Some(epoch.to_string()));
    }
    if let Some(at) = mirror.switched {
        wanted.insert(LEADER_LAST_SWITCH_TIME, Some(rfc3339(at)));
    }
    if let Some(handled) = &mirror.handled {
        wanted.insert(SWITCHOVER_HANDLED, Some(handled.to_string()));
    }
    wanted
}

/// What a leader Service remembers, for the day its slice is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The epoch it mirrors.
    pub epoch: Option<Epoch>,
    /// The UID of the leader it mirrors.
    pub leader: Option<String>,
    /// The epoch's text, if it is not valid.
    pub invalid_epoch: Option<String>,
    /// The switchover request that was handled last.
    pub handled: Option<String>,
    /// When the leadership changed last, to the second.
    pub switched: Option<Timestamp>,
}

/// Reads back what the leader Service mirrors. `now` bounds the epochs that are believed.
#[must_use]
pub fn remembered(leader_service: &ServiceLite, now: Timestamp) -> Remembered {
    let annotation =
        |name| leader_service.metadata.annotations.as_ref()?.get(name).filter(|text| !text.is_empty());
    let (epoch, invalid_epoch) = match annotation(EPOCH).map(|text| epoch(text, now).ok_or(text)) {
        None => (None, None),
        Some(Ok(epoch)) => (Some(epoch), None),
        Some(Err(text)) => (None, Some(text.clone())),
    };
    let switched = annotation(LEADER_LAST_SWITCH_TIME).and_then(|text| text.parse().ok()).map(timestamp);
    Remembered {
        epoch,
        leader: annotation(LEADER_POD_UID).cloned(),
        invalid_epoch,
        handled: annotation(SWITCHOVER_HANDLED).cloned(),
        switched,
    }
}

/// Ten years, in seconds. Epochs start at the Unix time and grow by one a term: none is ever so far ahead.
const EPOCH_LEAD_MAX: u64 = 10 * 365 * 24 * 3600;

/// An epoch as annotations write it; none if it is no number, or further ahead than it could be.
#[must_use]
pub fn epoch(text: &str, now: Timestamp) -> Option<Epoch> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let epoch = digits.then(|| text.parse().ok())??;
    Some(Epoch(epoch)).filter(|epoch| is_plausible(*epoch, now))
}

/// Whether an epoch can have been reached by `now`.
#[must_use]
pub(crate) const fn is_plausible(epoch: Epoch, now: Timestamp) -> bool {
    epoch.0 <= now.as_secs().saturating_add(EPOCH_LEAD_MAX)
}

/// A time as annotations show it, to the second.
fn rfc3339(time: Timestamp) -> String {
    wall_time(Timestamp::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests;
