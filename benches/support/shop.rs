//! A namespace of Services with two pods each, for the API server that only remembers.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::apiserver::ApiServer;
use crate::store::{Kind, now, text};

/// Which of a Service's pods leads.
pub fn leader(server: &ApiServer, number: usize) -> Result<usize> {
    let slice = server.get(Kind::Slices, &format!("orders-{number}-leader"));
    let pod = text(&slice["endpoints"][0]["targetRef"]["name"]);
    let pod = pod.rsplit('-').next().and_then(|pod| pod.parse().ok());
    pod.with_context(|| format!("orders-{number} has no leader: {slice}"))
}

/// A Service that opts in.
pub fn service(number: usize) -> Value {
    let name = format!("orders-{number}");
    let address = format!("10.97.0.{}", number + 1);
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "creationTimestamp": now(),
            "annotations": { "zen-lead.io/enabled": "true" },
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
        },
        "status": { "loadBalancer": {} },
    })
}

/// One of its pods.
pub fn pod(number: usize, member: usize, is_ready: bool) -> Value {
    let name = format!("orders-{number}-{member}");
    let address = format!("10.1.{member}.{}", number + 1);
    let ready = if is_ready { "True" } else { "False" };
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": { "app": format!("orders-{number}") },
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "nodeName": format!("node-{member}"),
            "containers": [{ "name": "main", "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }] }],
        },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": now() }],
        },
    })
}
