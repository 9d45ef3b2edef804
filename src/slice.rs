//! Leader slices: what we write, and what one that stands says.
//!
//! Both directions go through one `Content`: the digest of an endpoint is the same number, computed from a
//! pod's row before the write and from the slice after it. Equal numbers need no write.

mod content;
mod observe;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::{Epoch, Publication, Reach, Shown, Timestamp, Version, Wanted};

pub(crate) use content::Content;
pub use observe::{Extras, Observed, observe};

use crate::annotations::{
    EPOCH, INSTANCE, LEADER_POD_NAME, LEADER_POD_UID, SWITCHOVER_HANDLED, TERM_BY, TRIGGER_TIME,
};
use crate::kinds::{Family, wall_time};
use crate::names::{self, CONTROLLER, LABEL_SERVICE_NAME, LABEL_SLICE_MANAGED_BY};
use crate::rows::{PodRow, ResolvedPort, View, resolve};
use crate::service::Place;

/// A leader slice to be written.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Where it belongs.
    pub place: Place<'a>,
    /// Its family.
    pub family: Family,
    /// What it shall say.
    pub wanted: &'a Wanted,
    /// The pod that it shall show.
    pub row: Option<&'a PodRow>,
    /// The version that the write was decided on, and what else stands in that slice; none: it is created.
    pub based_on: Option<(Version, &'a Extras)>,
    /// The replica that wrote the term: we, if the term is new; as observed, if an old one is repaired.
    pub term_by: &'a str,
    /// When what led to this write happened.
    pub triggered: Option<Timestamp>,
}

impl Draft<'_> {
    /// The slice as it is written. None if the pod can no longer be reached as it could when the order was
    /// given: there will be a newer order.
    #[must_use]
    pub fn slice(&self) -> Option<EndpointSlice> {
        let (endpoints, ports) = self.shown()?;
        Some(EndpointSlice {
            address_type: self.family.as_str().to_owned(),
            endpoints,
            ports: Some(ports),
            metadata: self.metadata(),
        })
    }

    fn shown(&self) -> Option<(Vec<Endpoint>, Vec<EndpointPort>)> {
        let (ordered, terminating) = match self.wanted.shown {
            Shown::Nobody => return Some((Vec::new(), Vec::new())),
            Shown::Ready(endpoint) => (endpoint, false),
            Shown::Terminating(endpoint) => (endpoint, true),
            Shown::Foreign => return None,
        };
        let row = self.row.filter(|row| Some(&row.pod) == self.wanted.leader.as_ref())?;
        if row.reach(self.place.view, self.family) != Reach::At(ordered) {
            return None;
        }
        let ports = resolve(row, self.place.view).ok()?;
        Some((vec![endpoint(row, ordered, terminating)], ports.into_iter().map(port).collect()))
    }

    fn metadata(&self) -> ObjectMeta {
        let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        let mut metadata = ObjectMeta {
            name: Some(name(&self.place, self.family)),
            namespace: Some(self.place.source().namespace.to_string()),
            owner_references: Some(vec![self.place.owner()]),
            ..ObjectMeta::default()
        };
        if let Some((version, extras)) = self.based_on {
            metadata.resource_version = Some(version.0.to_string());
            metadata.uid.clone_from(&extras.uid);
            metadata.finalizers.clone_from(&extras.finalizers);
            labels.clone_from(&extras.labels);
            annotations.clone_from(&extras.annotations);
        }
        labels.append(&mut wanted_labels(&self.place));
        annotations.extend(self.annotations());
        metadata.labels = Some(labels);
        metadata.annotations = Some(annotations);
        metadata
    }

    fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        let Wanted { leader, epoch, handled, .. } = self.wanted;
        [
            (INSTANCE, Some(self.place.instance.to_owned())),
            (EPOCH, epoch.map(|Epoch(epoch)| epoch.to_string())),
            (LEADER_POD_UID, leader.as_ref().map(|leader| leader.uid().to_owned())),
            (LEADER_POD_NAME, leader.as_ref().map(|leader| leader.name().to_owned())),
            (TERM_BY, Some(self.term_by.to_owned())),
            (SWITCHOVER_HANDLED, handled.as_ref().map(ToString::to_string)),
            (TRIGGER_TIME, self.triggered.map(|at| wall_time(at).to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    }
}

/// The name of a leader slice.
#[must_use]
pub fn name(place: &Place<'_>, family: Family) -> String {
    names::leader_slice(place.leader_service, family, place.source().first_family())
}

/// What the second family's slice shall say, given the acknowledged authority: its leader at the address of
/// that family, or nobody. None while the authority itself says what nobody ordered: it comes first.
#[must_use]
pub fn second_family(
    authority: &Publication,
    leader: Option<&PodRow>,
    view: &View,
    family: Family,
) -> Option<Wanted> {
    let row = leader.filter(|row| Some(&row.pod) == authority.leader.as_ref());
    let endpoint = row.and_then(|row| row.reach(view, family).endpoint());
    let shown = match authority.shown {
        Shown::Foreign => return None,
        Shown::Nobody => Shown::Nobody,
        Shown::Ready(_) => endpoint.map_or(Shown::Nobody, Shown::Ready),
        Shown::Terminating(_) => endpoint.map_or(Shown::Nobody, Shown::Terminating),
    };
    Some(Wanted { leader: authority.leader.clone(), epoch: authority.epoch, shown, handled: None })
}

/// The labels that a leader slice carries.
fn wanted_labels(place: &Place<'_>) -> BTreeMap<String, String> {
    let mut labels = place.labels();
    labels.insert(LABEL_SERVICE_NAME.to_owned(), place.leader_service.to_owned());
    labels.insert(LABEL_SLICE_MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    labels
}

fn endpoint(row: &PodRow, ordered: machine::Endpoint, terminating: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ordered.address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(!terminating),
            serving: Some(true),
            terminating: Some(terminating),
        }),
        node_name: row.node.as_deref().map(ToOwned::to_owned),
        zone: row.zone().map(ToOwned::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(row.namespace.to_string()),
            name: Some(row.pod.name().to_owned()),
            uid: Some(row.pod.uid().to_owned()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

fn port(resolved: ResolvedPort<'_>) -> EndpointPort {
    EndpointPort {
        name: Some(resolved.name.to_owned()),
        protocol: Some(resolved.protocol.to_owned()),
        port: Some(i32::from(resolved.port)),
        app_protocol: resolved.app_protocol.map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests;
