//! What a leader slice that stands says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::Endpoint;
use machine::{Pod, Publication, Shown, Timestamp};

use super::{Content, wanted_labels};
use crate::annotations::{
    EPOCH, INSTANCE, LEADER_POD_NAME, LEADER_POD_UID, SWITCHOVER_HANDLED, TERM_BY, TRIGGER_TIME,
};
use crate::kinds::{Family, SliceLite, version};
use crate::names::{FIELD_MANAGER, is_rfc1123_subdomain};
use crate::service::{Place, epoch};

/// A leader slice as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What it says, for the machine.
    pub publication: Publication,
    /// What else is in it, for the next write.
    pub extras: Extras,
    /// The replica that wrote the term.
    pub term_by: Option<Arc<str>>,
    /// The field manager of the newest write, if that was not this program.
    pub manager: Option<Arc<str>>,
    /// The epoch's text, if it is not valid: to be reported.
    pub invalid_epoch: Option<Arc<str>>,
}

/// What a slice holds that is not ours to decide. A PUT replaces the whole object, so it gives this back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The object's identity.
    pub uid: Option<String>,
    /// Other people's labels.
    pub labels: BTreeMap<String, String>,
    /// Other people's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Other people's finalizers.
    pub finalizers: Option<Vec<String>>,
}

/// The annotations of a slice that are ours to decide.
const OURS: [&str; 7] =
    [INSTANCE, EPOCH, LEADER_POD_UID, LEADER_POD_NAME, TERM_BY, SWITCHOVER_HANDLED, TRIGGER_TIME];

/// Reads a slice that is ours or will be adopted. `identity` is this replica; `now` bounds the epochs that
/// are believed.
#[must_use]
pub fn observe(
    slice: &SliceLite,
    place: &Place<'_>,
    family: Family,
    identity: &str,
    now: Timestamp,
) -> Observed {
    let labels = wanted_labels(place);
    let recorded = Recorded::of(slice);
    let epoch_text = annotation(slice, EPOCH);
    let epoch = epoch_text.and_then(|text| epoch(text, now));
    let term_by = annotation(slice, TERM_BY);
    Observed {
        publication: Publication {
            version: version(&slice.metadata),
            shown: recorded.shown(slice, family),
            epoch,
            handled: annotation(slice, SWITCHOVER_HANDLED).map(Arc::from),
            intact: recorded.in_full && is_intact(slice, place, family, &labels),
            ours: term_by == Some(identity),
            anew: false,
            leader: recorded.leader,
        },
        extras: extras(slice, &labels),
        term_by: term_by.map(Arc::from),
        manager: slice.manager().filter(|manager| *manager != FIELD_MANAGER).map(Arc::from),
        invalid_epoch: epoch_text.filter(|_| epoch.is_none()).map(Arc::from),
    }
}

/// The leader that a slice records.
struct Recorded {
    leader: Option<Pod>,
    /// As we write it: by UID and name, or not at all.
    in_full: bool,
}

impl Recorded {
    /// The annotations say who leads; slices of the Go zen-lead, which knows no epochs, say so by their endpoint alone.
    /// If it puts a pod into a slice that we had emptied, the epoch that is left there is not this pod's.
    fn of(slice: &SliceLite) -> Self {
        let target = sole_target(slice);
        let target_uid = target.and_then(|target| target.uid.as_deref()).unwrap_or_default();
        let target_name = target.and_then(|target| target.name.as_deref()).unwrap_or_default();
        let Some(uid) = annotation(slice, LEADER_POD_UID) else {
            let in_full = slice.endpoints.is_empty() && annotation(slice, LEADER_POD_NAME).is_none();
            let is_term_over = annotation(slice, EPOCH).is_some();
            let leader = if is_term_over { None } else { pod(target_name, target_uid) };
            return Self { leader, in_full };
        };
        let name = annotation(slice, LEADER_POD_NAME);
        let contradicted = uid == target_uid && name.is_some_and(|name| name != target_name);
        let leader = pod(if uid == target_uid { target_name } else { name.unwrap_or_default() }, uid);
        let in_full = leader.is_some() && name.is_some() && !contradicted;
        Self { leader, in_full }
    }

    fn shown(&self, slice: &SliceLite, family: Family) -> Shown {
        let [endpoint] = &*slice.endpoints else {
            return if slice.endpoints.is_empty() { Shown::Nobody } else { Shown::Foreign };
        };
        let Some(address) = self.address(endpoint, family) else { return Shown::Foreign };
        let content = Content::of_slice(endpoint, &slice.ports).digest();
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        // As the API defines what is absent.
        let ready = conditions.ready.unwrap_or(true);
        let serving = conditions.serving.unwrap_or(ready);
        let terminating = conditions.terminating.unwrap_or(false);
        match (ready, serving, terminating) {
            (true, true, false) => Shown::Ready(machine::Endpoint { address, content }),
            (false, true, true) => Shown::Terminating(machine::Endpoint { address, content }),
            // What we never write.
            _ => Shown::Foreign,
        }
    }

    /// The endpoint's address, if it is one of this family and of the recorded leader.
    fn address(&self, endpoint: &Endpoint, family: Family) -> Option<IpAddr> {
        let target = endpoint.target_ref.as_ref()?;
        let leader = self.leader.as_ref()?;
        let [address] = &*endpoint.addresses else { return None };
        let is_leader = target.kind.as_deref() == Some("Pod") && target.uid.as_deref() == Some(leader.uid());
        address.parse().ok().filter(|address| is_leader && Family::of(*address) == family)
    }
}

/// A pod that somebody wrote down. Its name becomes part of a request's path one day: nothing else may.
fn pod(name: &str, uid: &str) -> Option<Pod> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let uid_is_sound = !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(sound);
    (uid_is_sound && is_rfc1123_subdomain(name)).then(|| Pod::new(name, uid))
}

fn sole_target(slice: &SliceLite) -> Option<&ObjectReference> {
    let [endpoint] = &*slice.endpoints else { return None };
    endpoint.target_ref.as_ref()
}

/// Whether all that the machine does not look at is as we write it.
fn is_intact(
    slice: &SliceLite,
    place: &Place<'_>,
    family: Family,
    labels: &BTreeMap<String, String>,
) -> bool {
    let label = |key| slice.metadata.labels.as_ref()?.get(key);
    slice.address_type == family.as_str()
        && labels.iter().all(|(key, value)| label(key) == Some(value))
        && place.owns(slice.metadata.owner_references.as_ref())
        && annotation(slice, INSTANCE) == Some(place.instance)
        && annotation(slice, TERM_BY).is_some()
        && (!slice.endpoints.is_empty() || slice.ports.is_empty())
        && slice.endpoints.iter().all(is_plain)
}

/// Whether an endpoint holds nothing that we never write, and no condition is left to be guessed.
fn is_plain(endpoint: &Endpoint) -> bool {
    let told = endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.ready.is_some() && conditions.serving.is_some() && conditions.terminating.is_some()
    });
    told && endpoint.hints.is_none() && endpoint.hostname.is_none() && endpoint.deprecated_topology.is_none()
}

fn extras(slice: &SliceLite, labels: &BTreeMap<String, String>) -> Extras {
    let without = |map: &Option<BTreeMap<String, String>>, ours: &dyn Fn(&str) -> bool| {
        let kept = map.iter().flatten().filter(|(key, _)| !ours(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    Extras {
        uid: slice.metadata.uid.clone(),
        labels: without(&slice.metadata.labels, &|key| labels.contains_key(key)),
        annotations: without(&slice.metadata.annotations, &|key| OURS.contains(&key)),
        finalizers: slice.metadata.finalizers.clone(),
    }
}

fn annotation<'a>(slice: &'a SliceLite, name: &str) -> Option<&'a str> {
    let value = slice.metadata.annotations.as_ref()?.get(name)?;
    (!value.is_empty()).then_some(value)
}
