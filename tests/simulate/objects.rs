//! What the objects of the store say, as far as the invariants ask for it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::store::{Resource, SHOP, Store};

pub(crate) const INSTANCE: &str = "zen-lead.io/instance";
pub(crate) const OURS: &str = "system/zen-lead";

/// A pod and its address.
pub(crate) type Reached = (String, String);

pub(crate) fn fit_members(store: &Store, name: &str) -> BTreeSet<Reached> {
    let members = store.all(Resource::Pods).filter(|pod| pod["metadata"]["labels"]["app"] == name);
    members.filter(|pod| is_fit(pod)).filter_map(|pod| reached(pod)).collect()
}

pub(crate) fn ready_endpoints(slice: &Value) -> BTreeSet<Reached> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = endpoints.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.map(|endpoint| (text(&endpoint["targetRef"]["uid"]), text(&endpoint["addresses"][0]))).collect()
}

/// Whether a slice shows an address that is not that of the pod it names.
pub(crate) fn has_stray(store: &Store, name: &str) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: BTreeSet<_> = store.all(Resource::Pods).flat_map(|pod| all_reached(pod)).collect();
    let slices =
        ["", "-ipv6"].map(|suffix| store.get(Resource::Slices, SHOP, &format!("{name}-leader{suffix}")));
    let shown = slices
        .into_iter()
        .flatten()
        .filter(|slice| is_ours_and_routed(store, name, slice))
        .filter_map(|slice| slice["endpoints"].as_array())
        .flatten();
    shown
        .map(|endpoint| (text(&endpoint["targetRef"]["uid"]), text(&endpoint["addresses"][0])))
        .any(|shown| !all.contains(&shown))
}

/// Whether another installation claims it: that is left alone.
pub(crate) fn is_others(object: &Value) -> bool {
    object["metadata"]["annotations"][INSTANCE].as_str().is_some_and(|instance| instance != OURS)
}

/// Whether a slice feeds the leader Service of this name, and is ours to write and to remove. Whoever takes its labels
/// away takes it out of the routing, and disowns it: if nobody asks for it either, it goes with its owner.
pub(crate) fn is_ours_and_routed(store: &Store, name: &str, slice: &Value) -> bool {
    let is_routed = !slice["metadata"]["labels"]["kubernetes.io/service-name"].is_null();
    is_routed && !is_others(slice) && !is_left_over(store, name, slice)
}

/// Whether a former source left it under what is another installation's leader Service by now: the garbage collector is
/// coming for it, of which there is none here.
pub(crate) fn is_left_over(store: &Store, name: &str, slice: &Value) -> bool {
    let service = store.get(Resource::Services, SHOP, &format!("{name}-leader"));
    let owner = &slice["metadata"]["ownerReferences"][0]["uid"];
    let mut services = store.all(Resource::Services);
    service.is_some_and(|service| is_others(service))
        && !services.any(|service| service["metadata"]["uid"] == *owner)
}

pub(crate) fn is_enabled(source: &Value) -> bool {
    source["metadata"]["annotations"]["zen-lead.io/enabled"] == "true"
}

pub(crate) fn is_paused(source: &Value) -> bool {
    source["metadata"]["annotations"]["zen-lead.io/paused"] == "true"
}

pub(crate) fn is_source(service: &Value) -> bool {
    service["metadata"]["name"].as_str().is_some_and(|name| !name.ends_with("-leader"))
}

/// Whether a pod may lead, as far as it is the pod's own doing.
pub(crate) fn is_fit(pod: &Value) -> bool {
    let is_excluded = pod["metadata"]["annotations"]["zen-lead.io/never-lead"] == "true";
    let is_ready = pod["status"]["conditions"][0]["status"] == "True";
    is_ready && !is_excluded && pod["metadata"]["deletionTimestamp"].is_null()
}

/// A pod by each of its addresses.
pub(crate) fn all_reached(pod: &Value) -> Vec<Reached> {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let addresses = pod["status"]["podIPs"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
    addresses.filter_map(|address| Some((uid.to_owned(), address["ip"].as_str()?.to_owned()))).collect()
}

pub(crate) fn reached(pod: &Value) -> Option<Reached> {
    Some((pod["metadata"]["uid"].as_str()?.to_owned(), pod["status"]["podIP"].as_str()?.to_owned()))
}
