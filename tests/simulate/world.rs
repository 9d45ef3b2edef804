//! Everybody but the controller: kubelets, people, and another program.

use serde_json::{Value, json};

use crate::plan::{Plan, SETTINGS, SWITCHOVER, What};
use crate::store::{Resource, SHOP, Store, Writer};
use crate::time::{now, rfc3339};

pub(crate) const ENABLED: &str = "zen-lead.io/enabled";
const INSTANCE: &str = "zen-lead.io/instance";
const EPOCH: &str = "zen-lead.io/epoch";

/// What there is when a simulation begins: Services that opt in, their pods, and the Lease.
pub(crate) fn begin(store: &mut Store, plan: &Plan) {
    let lease = json!({ "metadata": { "name": "zen-lead-controller-leader-election" }, "spec": {} });
    create(store, Resource::Leases, "system", lease.clone());
    create(store, Resource::Leases, "others", lease);
    for service in 0..plan.services {
        make_source(store, plan, service);
    }
    for pod in 0..plan.services * plan.pods {
        appear(store, plan, pod, pod);
    }
}

fn create(store: &mut Store, resource: Resource, namespace: &str, object: Value) {
    // One that is there already stays.
    let _ = store.create(Writer::World, resource, namespace, object);
}

/// The name of a source Service.
pub(crate) fn source(service: usize) -> String {
    format!("s{service}")
}

fn leader(service: usize) -> String {
    format!("s{service}-leader")
}

fn pod_name(plan: &Plan, pod: usize) -> String {
    format!("s{}-{}", pod / plan.pods, pod % plan.pods)
}

fn make_source(store: &mut Store, plan: &Plan, service: usize) {
    let mut annotations = json!({ ENABLED: "true" });
    for (name, value) in SETTINGS[plan.settings[service]] {
        annotations[*name] = setting(service, name, value);
    }
    let families: &[&str] = if plan.is_dual { &["IPv4", "IPv6"] } else { &["IPv4"] };
    let source = json!({
        "metadata": { "name": source(service), "annotations": annotations },
        "spec": {
            "selector": { "app": source(service) },
            "ipFamilies": families,
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
        },
    });
    create(store, Resource::Services, SHOP, source);
}

fn setting(service: usize, name: &str, value: &str) -> Value {
    if name == SWITCHOVER { json!(format!("{}{value}", source(service))) } else { json!(value) }
}

fn appear(store: &mut Store, plan: &Plan, pod: usize, address: usize) {
    let name = pod_name(plan, pod);
    let free = |address: &usize| {
        let address = json!(format!("10.0.0.{address}"));
        !store.all(Resource::Pods).any(|pod| pod["status"]["podIP"] == address)
    };
    let Some(address) = (address..=255).find(free) else { return };
    let mut addresses = vec![json!({ "ip": format!("10.0.0.{address}") })];
    addresses.extend(plan.is_dual.then(|| json!({ "ip": format!("fd00::1:{address:x}") })));
    let pod = json!({
        "metadata": { "name": name, "labels": { "app": source(pod / plan.pods) } },
        "spec": { "nodeName": "node", "containers": [{ "name": "app" }] },
        "status": {
            "phase": "Running", "podIP": format!("10.0.0.{address}"), "podIPs": addresses,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": rfc3339(now()) }],
        },
    });
    create(store, Resource::Pods, SHOP, pod);
}

/// Does what does not concern the connections.
pub(crate) fn act(store: &mut Store, plan: &Plan, what: What) {
    match what {
        What::Ready(pod, is_ready) => store.edit(Resource::Pods, &pod_name(plan, pod), |pod| {
            let is_ending = !pod["metadata"]["deletionTimestamp"].is_null();
            let status = if is_ready && !is_ending { "True" } else { "False" };
            let condition = &mut pod["status"]["conditions"][0];
            if condition["status"] != status {
                condition["status"] = json!(status);
                condition["lastTransitionTime"] = json!(rfc3339(now()));
            }
        }),
        What::Terminate(pod) => store.edit(Resource::Pods, &pod_name(plan, pod), |pod| {
            pod["metadata"]["deletionTimestamp"] = json!(rfc3339(now() + 30_000));
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }),
        What::Vanish(pod) => store.remove(Resource::Pods, &pod_name(plan, pod)),
        What::Appear(pod, address) => appear(store, plan, pod, address),
        What::Select(pod, is_member) => {
            let app = if is_member { source(pod / plan.pods) } else { "nothing".into() };
            store.edit(Resource::Pods, &pod_name(plan, pod), |pod| {
                pod["metadata"]["labels"]["app"] = json!(app);
            });
        }
        What::Exclude(pod, is_excluded) => store.edit(Resource::Pods, &pod_name(plan, pod), |pod| {
            pod["metadata"]["annotations"]["zen-lead.io/never-lead"] = json!(is_excluded.to_string());
        }),
        What::DeleteSlice(service) => store.remove(Resource::Slices, &leader(service)),
        What::DeleteService(service) => store.remove(Resource::Services, &leader(service)),
        What::EmptySlice(service) => store.edit(Resource::Slices, &leader(service), |slice| {
            slice["endpoints"] = json!([]);
        }),
        What::AddEndpoint(service) => store.edit(Resource::Slices, &leader(service), |slice| {
            let extra = json!({ "addresses": ["10.9.9.9"], "conditions": { "ready": true } });
            if let Some(endpoints) = slice["endpoints"].as_array_mut() {
                endpoints.push(extra);
            }
        }),
        What::ShiftEpoch(service, by) => store.edit(Resource::Slices, &leader(service), |slice| {
            let epoch = &mut slice["metadata"]["annotations"][EPOCH];
            let shifted = epoch
                .as_str()
                .and_then(|epoch| epoch.parse::<u64>().ok())
                .map(|epoch| epoch.saturating_add_signed(by));
            if let Some(shifted) = shifted {
                *epoch = json!(shifted.to_string());
            }
        }),
        What::StripLabels(service) => store.edit(Resource::Slices, &leader(service), |slice| {
            // What carries neither labels nor annotations of ours is a stranger's, and stays.
            if !slice["metadata"]["annotations"][INSTANCE].is_null() {
                slice["metadata"]["labels"] = json!({});
            }
        }),
        What::Overwrite(service) => overwrite(store, service),
        What::Seize(service) => store.edit(Resource::Slices, &leader(service), |slice| {
            slice["metadata"]["annotations"][INSTANCE] = json!("others/zen-lead");
        }),
        What::Restore(ago) => store.restore(ago),
        What::Stray(service) => {
            let stray = json!({
                "metadata": {
                    "name": format!("{}-of-others", leader(service)),
                    "labels": { "kubernetes.io/service-name": leader(service) },
                },
                "addressType": "IPv4", "endpoints": [], "ports": [],
            });
            create(store, Resource::Slices, SHOP, stray);
        }
        What::OptIn(service, is_in) => store.edit(Resource::Services, &source(service), |service| {
            service["metadata"]["annotations"][ENABLED] = json!(is_in.to_string());
        }),
        What::Settings(number, choice) => store.edit(Resource::Services, &source(number), |service| {
            let enabled = service["metadata"]["annotations"][ENABLED].take();
            service["metadata"]["annotations"] = json!({ ENABLED: enabled });
            for (name, value) in SETTINGS[choice] {
                service["metadata"]["annotations"][*name] = setting(number, name, value);
            }
        }),
        What::Recreate(service) => {
            store.remove(Resource::Services, &source(service));
            make_source(store, plan, service);
        }
        What::Compact => store.compacted = store.version,
        What::Crash(_)
        | What::Stop(_)
        | What::Start(_)
        | What::Cut(..)
        | What::Stall(..)
        | What::Pause(..)
        | What::Go(..)
        | What::EndWatches(_)
        | What::Lag(..)
        | What::Fail(..)
        | What::Outage(_) => {}
    }
}

/// As the Go zen-lead writes: the first Ready pod, and nothing of epochs.
fn overwrite(store: &mut Store, service: usize) {
    let app = json!(source(service));
    let is_ready = |pod: &&std::sync::Arc<Value>| {
        pod["metadata"]["labels"]["app"] == app && pod["status"]["conditions"][0]["status"] == "True"
    };
    let Some(pod) = store.all(Resource::Pods).find(is_ready).cloned() else { return };
    store.edit(Resource::Slices, &leader(service), |slice| {
        slice["metadata"]["annotations"] = json!({});
        leader_slice_of_go(slice, &source(service), &pod);
    });
}

/// Makes of a slice what the Go zen-lead makes of it: p03. What it does not know stays.
pub(crate) fn leader_slice_of_go(slice: &mut Value, source: &str, pod: &Value) {
    slice["metadata"]["labels"] = json!({
        "app.kubernetes.io/managed-by": "zen-lead", "endpointslice.kubernetes.io/managed-by": "zen-lead",
        "kubernetes.io/service-name": format!("{source}-leader"), "zen-lead.io/source-service": source,
    });
    slice["addressType"] = json!("IPv4");
    slice["endpoints"] = json!([{
        "addresses": [pod["status"]["podIP"]], "conditions": { "ready": true },
        "targetRef": { "kind": "Pod", "name": pod["metadata"]["name"], "namespace": SHOP, "uid": pod["metadata"]["uid"] },
    }]);
}
