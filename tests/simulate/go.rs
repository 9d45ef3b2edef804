//! The Go zen-lead where it runs beside us, on the same Services: it hears of every change, chooses by its own rules, and
//! writes what it thinks right, over the version that it knows. (The ids are those of what is told of it: p the rules
//! that people rely on, b its mistakes.)

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout_at};

use crate::net::{Net, State};
use crate::store::{Resource, SHOP, Store, Told, Writer};
use crate::time::{Moment, now, rfc3339};
use crate::world::{ENABLED, leader_slice_of_go};

/// From hearing of something to the first write, and from that to the second: b14.
const REACTION: Duration = Duration::from_millis(10);
const BETWEEN: Duration = Duration::from_millis(4);

const LEADER_UID: &str = "zen-lead.io/leader-pod-uid";
const LEADER_NAME: &str = "zen-lead.io/leader-pod-name";

/// Looks after one Service for so many milliseconds.
pub(crate) async fn run(net: Net, source: String, span: Moment) {
    let end = Instant::now() + Duration::from_millis(span);
    let (sink, mut told) = unbounded_channel();
    for resource in [Resource::Pods, Resource::Services, Resource::Slices] {
        net.state().store.watchers.push((resource, sink.clone()));
    }
    drop(sink);
    loop {
        reconcile(&net, &source).await;
        // There may always be something to hear.
        if Instant::now() >= end || !matches!(timeout_at(end, concerned(&mut told, &source)).await, Ok(true))
        {
            return;
        }
    }
}

/// Returns at the next change that concerns the Service; whatever else has been told by then needs no look of its own.
/// False: nothing more is told.
async fn concerned(told: &mut UnboundedReceiver<Told>, source: &str) -> bool {
    let is_it = |told: &Told| match told {
        Told::Change(commit) => commit.name.split('-').next() == Some(source),
        Told::Bookmark(..) => false,
    };
    while let Some(change) = told.recv().await {
        if is_it(&change) {
            while told.try_recv().is_ok() {}
            return true;
        }
    }
    false
}

async fn reconcile(net: &Net, source: &str) {
    let leader_name = format!("{source}-leader");
    let (service, leader_service, slice, leader) = {
        let store = &net.state().store;
        let get = |resource, name: &str| store.get(resource, SHOP, name).cloned();
        let leader_service = get(Resource::Services, &leader_name);
        let leader = choose(store, source, leader_service.as_deref());
        (get(Resource::Services, source), leader_service, get(Resource::Slices, &leader_name), leader)
    };
    sleep(REACTION).await;
    let Some(service) = service.filter(|service| service["metadata"]["annotations"][ENABLED] == "true")
    else {
        // p10
        for resource in [Resource::Slices, Resource::Services] {
            write(net, |store| store.remove(resource, &leader_name));
        }
        return;
    };
    // b01: of an endpoint that is nobody's the API server wants to hear nothing, and what is there stays.
    let Some(leader) = leader else { return };
    let service = told_of(leader_service.as_deref(), &service, &leader);
    put(net, Resource::Services, leader_service.is_some(), service);
    sleep(BETWEEN).await;
    let is_there = slice.is_some();
    let mut slice =
        slice.map_or_else(|| json!({ "metadata": { "name": leader_name } }), Arc::unwrap_or_clone);
    leader_slice_of_go(&mut slice, source, &leader);
    put(net, Resource::Slices, is_there, slice);
}

/// The leader that it knows, as long as that is Ready (p07), whatever its labels say by now (b12); else the oldest Ready
/// pod (p06). Either may be terminating (b02).
fn choose(store: &Store, source: &str, leader_service: Option<&Value>) -> Option<Arc<Value>> {
    let known = leader_service.map(|service| &service["metadata"]["annotations"][LEADER_UID]);
    let ready = || store.all(Resource::Pods).filter(|pod| pod["status"]["conditions"][0]["status"] == "True");
    let age = |pod: &&Arc<Value>| {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        (text("creationTimestamp"), text("name"))
    };
    let leader = ready().find(|pod| Some(&pod["metadata"]["uid"]) == known);
    leader
        .or_else(|| ready().filter(|pod| pod["metadata"]["labels"]["app"] == source).min_by_key(age))
        .cloned()
}

/// The leader Service with who leads (p19), made if need be.
fn told_of(known: Option<&Value>, source: &Value, leader: &Value) -> Value {
    let name = source["metadata"]["name"].as_str().unwrap_or_default();
    let mut service = known.cloned().unwrap_or_else(|| {
        json!({
            "metadata": {
                "name": format!("{name}-leader"),
                "labels": {
                    "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": name,
                },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "name": name, "uid": source["metadata"]["uid"],
                    "controller": true,
                }],
            },
            "spec": { "ports": source["spec"]["ports"], "ipFamilies": source["spec"]["ipFamilies"] },
        })
    });
    let annotations = &mut service["metadata"]["annotations"];
    if annotations[LEADER_UID] != leader["metadata"]["uid"] {
        annotations[LEADER_UID] = leader["metadata"]["uid"].clone();
        annotations[LEADER_NAME] = leader["metadata"]["name"].clone();
        annotations["zen-lead.io/current-leader"] = leader["metadata"]["name"].clone();
        annotations["zen-lead.io/leader-last-switch-time"] = json!(rfc3339(now()));
    }
    service
}

/// Creates, or updates what it read. A conflict it hears of as of any other change.
fn put(net: &Net, to: Resource, is_there: bool, object: Value) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    write(net, |store| {
        let _ = if is_there {
            store.replace(Writer::World, to, SHOP, &name, object)
        } else {
            store.create(Writer::World, to, SHOP, object)
        };
    });
}

fn write(net: &Net, write: impl FnOnce(&mut Store)) {
    let State { store, judge, .. } = &mut *net.state();
    write(store);
    judge.catch_up(store);
}
