//! What the objects of the store say, as far as the invariants ask for it.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::store::{Resource, SHOP, Store};

pub(crate) const INSTANCE: &str = "zen-lead.io/instance";
pub(crate) const OURS: &str = "system/zen-lead";

/// A pod's UID and one of its addresses.
pub(crate) type Reached<'a> = (&'a str, &'a str);

/// How a source Service fares by what the store shows, whatever the time.
pub(crate) struct Fares<'a> {
    pub(crate) name: &'a str,
    /// A slice of it shows an address that is not that of the pod it names.
    pub(crate) has_stray: bool,
    /// Who leads it is not fit, and it is not paused.
    pub(crate) is_led_by_unfit: bool,
}

/// All of them, in one walk over the pods.
pub(crate) fn all_fare(store: &Store) -> impl Iterator<Item = Fares<'_>> {
    let pods = || store.all(Resource::Pods).map(|pod| &**pod);
    let every: HashSet<Reached<'_>> = pods().flat_map(all_reached).collect();
    let fit: HashSet<_> =
        pods().filter(|pod| is_fit(pod)).filter_map(|pod| Some((app(pod)?, reached(pod)?))).collect();
    store.all(Resource::Services).filter(|service| is_source(service)).map(move |service| {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let slice = |suffix: &str| {
            let slice = store.get(Resource::Slices, SHOP, &format!("{name}-leader{suffix}"))?;
            is_ours_and_routed(store, name, slice).then_some(&**slice)
        };
        let mut endpoints = ["", "-ipv6"].into_iter().filter_map(slice).flat_map(endpoints);
        let has_stray = is_enabled(service) && endpoints.any(|endpoint| !every.contains(&shown(endpoint)));
        let ready = slice("").map(ready_endpoints).unwrap_or_default();
        let is_led_by_unfit =
            !is_paused(service) && !ready.into_iter().all(|ready| fit.contains(&(name, ready)));
        Fares { name, has_stray, is_led_by_unfit }
    })
}

pub(crate) fn fit_members<'a>(store: &'a Store, name: &str) -> BTreeSet<Reached<'a>> {
    let members = store.all(Resource::Pods).filter(|pod| app(pod) == Some(name));
    members.filter(|pod| is_fit(pod)).filter_map(|pod| reached(pod)).collect()
}

pub(crate) fn ready_endpoints(slice: &Value) -> BTreeSet<Reached<'_>> {
    endpoints(slice).filter(|endpoint| endpoint["conditions"]["ready"] == true).map(shown).collect()
}

/// Whether a slice shows nobody.
pub(crate) fn is_empty(slice: &Value) -> bool {
    endpoints(slice).next().is_none()
}

pub(crate) fn endpoints(slice: &Value) -> impl Iterator<Item = &Value> {
    slice["endpoints"].as_array().into_iter().flatten()
}

/// Whom an endpoint shows.
fn shown(endpoint: &Value) -> Reached<'_> {
    (
        endpoint["targetRef"]["uid"].as_str().unwrap_or_default(),
        endpoint["addresses"][0].as_str().unwrap_or_default(),
    )
}

/// The Service whose member a pod is.
pub(crate) fn app(pod: &Value) -> Option<&str> {
    pod["metadata"]["labels"]["app"].as_str()
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
fn is_left_over(store: &Store, name: &str, slice: &Value) -> bool {
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
pub(crate) fn all_reached(pod: &Value) -> impl Iterator<Item = Reached<'_>> {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let addresses = pod["status"]["podIPs"].as_array().into_iter().flatten();
    addresses.filter_map(move |address| Some((uid, address["ip"].as_str()?)))
}

fn reached(pod: &Value) -> Option<Reached<'_>> {
    Some((pod["metadata"]["uid"].as_str()?, pod["status"]["podIP"].as_str()?))
}
