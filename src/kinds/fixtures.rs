//! Objects for tests, as an API server would send them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{PodLite, ServiceLite};
use crate::annotations::Settings;
use crate::rows::{Interner, PodRow, View};
use crate::service::Source;

/// A Pod of a Deployment with two containers and a sidecar, as a kubelet and an API server left it.
pub(crate) const POD: &str = include_str!("pod.json");

/// When the fixtures' pods are created, and when they become Ready, in seconds since 1970.
pub(crate) const CREATED: u64 = 1_763_625_600;
pub(crate) const READY: u64 = CREATED + 7;

/// The object that this JSON describes.
pub(crate) fn decode<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// `base` with what `over` says, as a merge patch would have it.
pub(crate) fn with(mut base: Value, over: &Value) -> Value {
    merge(&mut base, over);
    base
}

pub(crate) fn merge(base: &mut Value, over: &Value) {
    let Value::Object(over) = over else {
        *base = over.clone();
        return;
    };
    if !base.is_object() {
        *base = json!({});
    }
    for (key, value) in over {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut base[key.as_str()], value);
        }
    }
}

/// A Ready pod of the Service `orders`, called `orders-0`, with UID `a0`.
pub(crate) fn pod_json() -> Value {
    json!({
        "metadata": {
            "name": "orders-0", "namespace": "shop", "uid": "a0", "resourceVersion": "100",
            "creationTimestamp": "2025-11-20T08:00:00Z",
            "labels": {"app": "orders", "topology.kubernetes.io/zone": "eu-1a"},
        },
        "spec": {
            "nodeName": "node-7",
            "containers": [{"name": "main", "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "grpc", "containerPort": 9000, "protocol": "TCP"},
            ]}],
        },
        "status": {
            "phase": "Running", "podIP": "10.0.7.21", "podIPs": [{"ip": "10.0.7.21"}, {"ip": "fd00:7::21"}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-11-20T08:00:07Z"}],
        },
    })
}

pub(crate) fn pod(over: &Value) -> PodLite {
    decode(with(pod_json(), over))
}

pub(crate) fn row(over: &Value) -> PodRow {
    PodRow::new(&pod(over), &mut Interner::default()).unwrap()
}

/// The source Service `orders`, opted in, with a named and a numeric target port, dual stack.
pub(crate) fn service_json() -> Value {
    json!({
        "metadata": {
            "name": "orders", "namespace": "shop", "uid": "s0", "resourceVersion": "7",
            "labels": {"app": "orders", "app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"zen-lead.io/enabled": "true", "external-dns/hostname": "orders.example.org"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00:96::9"],
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": "orders"}, "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [
                {"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "http"},
                {"name": "rpc", "port": 9000, "protocol": "TCP", "targetPort": 9000},
            ],
        },
    })
}

pub(crate) fn service(over: &Value) -> ServiceLite {
    decode(with(service_json(), over))
}

pub(crate) fn view(over: &Value) -> View {
    View::new(Source::new(&service(over)).unwrap(), &Settings::default())
}
