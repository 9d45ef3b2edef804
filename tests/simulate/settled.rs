//! I7: how it must all end.

use serde_json::Value;

use crate::objects::{fit_members, is_enabled, is_others, is_ours_and_routed, is_paused, ready_endpoints};
use crate::store::{Resource, SHOP, Store};
use crate::terms::{EPOCH, LEADER_UID};

/// Whether a Service has come to what its objects and pods ask for, or what it lacks.
pub(crate) fn settled(store: &Store, name: &str, source: &Value) -> Result<(), String> {
    let leader_name = format!("{name}-leader");
    let service = store.get(Resource::Services, SHOP, &leader_name);
    let slice = store.get(Resource::Slices, SHOP, &leader_name);
    if slice.is_some_and(|slice| is_others(slice)) {
        return Ok(());
    }
    if service.is_some_and(|service| is_others(service)) {
        // Theirs to write, and nothing of ours may feed it.
        let is_in_the_way = slice.is_some_and(|slice| is_ours_and_routed(store, name, slice));
        let what = "a slice of ours stands under another installation's Service";
        return if is_in_the_way { Err(what.into()) } else { Ok(()) };
    }
    if !is_enabled(source) {
        return if service.is_none() && slice.is_none_or(|slice| !is_ours_and_routed(store, name, slice)) {
            Ok(())
        } else {
            Err("its objects were not removed".into())
        };
    }
    let (Some(service), Some(slice)) = (service, slice) else {
        return Err("there is no slice or Service".into());
    };
    let (fit, ready) = (fit_members(store, name), ready_endpoints(slice));
    // Nobody chooses then.
    if is_paused(source) {
        return Ok(());
    }
    if source["spec"]["ipFamilies"][1] == "IPv6" {
        let second = store.get(Resource::Slices, SHOP, &format!("{leader_name}-ipv6"));
        let second = second.map(|slice| ready_endpoints(slice)).unwrap_or_default();
        if !second.iter().map(|(uid, _)| uid).eq(ready.iter().map(|(uid, _)| uid)) {
            return Err(format!("of the second family {second:?} is ready, {ready:?} of the first"));
        }
    }
    if ready.len() != fit.len().min(1) || !ready.is_subset(&fit) {
        return Err(format!("fit are {fit:?}, ready are {ready:?}"));
    }
    let (told, mirrored) = (&slice["metadata"]["annotations"], &service["metadata"]["annotations"]);
    for annotation in [EPOCH, LEADER_UID] {
        // An empty slice made anew has no term to tell of; the mirror remembers the last one.
        let tells = annotation != EPOCH || !told[EPOCH].is_null();
        if tells && told[annotation] != mirrored[annotation] {
            return Err(format!(
                "{annotation} is {}, mirrored as {}",
                told[annotation], mirrored[annotation]
            ));
        }
    }
    Ok(())
}
