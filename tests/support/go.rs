//! What the Go zen-lead leaves in a cluster.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::PostParams;
use lab::Pod;
use serde_json::{Value, json};

use super::{ENABLED, SOURCE_SERVICE, Stage};

/// When its leaders were elected.
pub const LONG_AGO: &str = "2025-01-05T08:00:00Z";

/// A stage whose controller is away, with two Ready pods, the older one first.
pub async fn before_the_upgrade(purpose: &str) -> Result<(Stage, [Pod; 2])> {
    let mut stage = Stage::new(purpose).await?;
    stage.controller.stop()?;
    let first = stage.member("orders", "orders-0").ready().create().await?;
    first.becomes_older().await?;
    let second = stage.member("orders", "orders-1").ready().create().await?;
    Ok((stage, [first, second]))
}

/// What the Go zen-lead left for this source, led by this pod: the annotations of the source copied to the leader
/// Service, the slice owned by that, no epoch, no instance.
pub async fn left_by_go(
    stage: &Stage,
    source: &lab::Service,
    leader: &Pod,
) -> Result<(Service, EndpointSlice)> {
    let name = format!("{}-leader", source.name());
    let labels =
        BTreeMap::from([("app.kubernetes.io/managed-by", "zen-lead"), (SOURCE_SERVICE, source.name())]);
    let owner = |name: &str, uid: &str| {
        json!([{ "apiVersion": "v1", "kind": "Service", "name": name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true }])
    };
    let service = json!({
        "metadata": {
            "name": name, "labels": labels, "ownerReferences": owner(source.name(), source.uid()),
            "annotations": {
                ENABLED: "true", "zen-lead.io/current-leader": leader.name(),
                "zen-lead.io/leader-pod-name": leader.name(), "zen-lead.io/leader-pod-uid": leader.uid(),
                "zen-lead.io/leader-last-switch-time": LONG_AGO,
            },
        },
        "spec": { "type": "ClusterIP", "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    let service: Service = create(stage, service).await?;
    let mut labels = labels;
    labels.insert("kubernetes.io/service-name", &name);
    labels.insert("endpointslice.kubernetes.io/managed-by", "zen-lead");
    let slice = json!({
        "metadata": {
            "name": name, "labels": labels, "ownerReferences": owner(&name, &service.uid().unwrap_or_default()),
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{
            "addresses": [leader.ip()], "conditions": { "ready": true }, "nodeName": "node-1",
            "targetRef": {
                "kind": "Pod", "namespace": stage.ns.name(), "name": leader.name(), "uid": leader.uid(),
            },
        }],
    });
    let slice = create(stage, slice).await?;
    Ok((service, slice))
}

async fn create<K>(stage: &Stage, object: Value) -> Result<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let params = PostParams { field_manager: Some("zen-lead".into()), ..PostParams::default() };
    Ok(stage.ns.api::<K>().create(&params, &serde_json::from_value(object)?).await?)
}
