//! What somebody edits or deletes by hand is repaired, without waiting for anything else to happen.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use lab::Pod;
use serde_json::{Value, json};

use crate::support::{SOON, Stage};

fn epoch(slice: &EndpointSlice) -> Result<u64> {
    Ok(slice.annotations().get("zen-lead.io/epoch").context("a slice has an epoch")?.parse()?)
}

/// What somebody might make of a slice.
fn edits(other: &Pod) -> [(&'static str, Value); 6] {
    let target = json!({ "kind": "Pod", "name": other.name(), "uid": other.uid() });
    [
        ("emptied", json!({ "endpoints": [] })),
        ("swapped", json!({ "endpoints": [{ "addresses": [other.ip()], "targetRef": target }] })),
        ("doubled", json!({ "endpoints": [{ "addresses": [other.ip()] }, { "addresses": ["10.1.2.3"] }] })),
        ("port", json!({ "ports": [{ "name": "http", "port": 9, "protocol": "TCP" }] })),
        ("label", json!({ "metadata": { "labels": { "zen-lead.io/source-service": "else" } } })),
        ("epoch", json!({ "metadata": { "annotations": { "zen-lead.io/epoch": "7" } } })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_an_edited_slice_is_repaired() -> Result<()> {
    let stage = Stage::new("b13").await?;
    let other = stage.member("nobody", "other").ready().create().await?;
    for (what, edit) in edits(&other) {
        stage.led(what, 1).await?;
        let right = stage.slice(what).await?;
        let name = format!("{what}-leader");
        let edited = stage.edit_slice(&name, &edit).await?;
        let is_right = |slice: &EndpointSlice| {
            slice.endpoints == right.endpoints
                && slice.ports == right.ports
                && slice.labels() == right.labels()
                && slice.owner_references() == right.owner_references()
        };
        assert!(!is_right(&edited) || what == "epoch", "{what}: this edit is none");
        let repaired =
            |slice: &EndpointSlice| is_right(slice) && slice.resource_version() != edited.resource_version();
        let slice = stage.ns.slices().until(&name, SOON, repaired).await;
        let slice = slice.with_context(|| format!("repairing what was {what}"))?;
        assert!(epoch(&slice)? >= epoch(&right)?, "{what}: the epoch fell");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_a_deleted_slice_is_made_anew_with_a_higher_epoch() -> Result<()> {
    let stage = Stage::new("b13-slice").await?;
    let (_, pods) = stage.led("orders", 1).await?;
    let before = stage.slice("orders").await?;
    stage.slices_api().delete("orders-leader", &DeleteParams::default()).await?;
    let anew = |slice: &EndpointSlice| slice.uid() != before.uid() && slice.endpoints == before.endpoints;
    let after = stage.ns.slices().until("orders-leader", SOON, anew).await?;
    assert!(epoch(&after)? > epoch(&before)?);
    stage.until_notice("EndpointSliceDeleted").await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b13_an_edited_leader_service_is_repaired() -> Result<()> {
    let stage = Stage::new("b13-service").await?;
    let (_, pods) = stage.led("orders", 1).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let right = stage.leader_service("orders").await?;
    let edits = [
        json!({ "spec": { "ports": [{ "name": "http", "port": 81, "targetPort": 9 }] } }),
        json!({ "spec": { "selector": { "app": "else" } } }),
        json!({ "spec": { "type": "NodePort" } }),
        json!({ "spec": { "internalTrafficPolicy": "Local" } }),
        json!({ "spec": { "sessionAffinity": "ClientIP" } }),
        json!({ "metadata": { "labels": { "zen-lead.io/source-service": null } } }),
        json!({ "metadata": { "ownerReferences": null } }),
        json!({ "metadata": { "annotations": { "zen-lead.io/instance": null } } }),
        json!({ "metadata": { "annotations": { "zen-lead.io/enabled": "true" } } }),
    ];
    for edit in edits {
        let edited = stage.edit_service("orders-leader", &edit).await?;
        let is_right = |service: &Service| {
            service.spec == right.spec
                && service.labels() == right.labels()
                && service.owner_references() == right.owner_references()
                && service.annotations() == right.annotations()
        };
        assert!(!is_right(&edited), "{edit} changes something");
        stage.until_leader_service("orders", is_right).await.with_context(|| edit.to_string())?;
    }
    stage.end().await
}

/// Clients may know its addresses.
#[tokio::test(flavor = "multi_thread")]
async fn b13_a_deleted_leader_service_is_made_anew_with_its_cluster_ips() -> Result<()> {
    let stage = Stage::new("b13-ips").await?;
    stage.source("orders").dual_stack().create().await?;
    let pod = stage.member("orders", "orders-0").dual_stack().ready().create().await?;
    let led =
        |slices: &[EndpointSlice]| slices.len() == 2 && slices.iter().all(|slice| slice.endpoints.len() == 1);
    stage.ns.slices().all_until("orders-leader", SOON, led).await?;
    let before = stage.leader_service("orders").await?;
    let epoch_before = epoch(&stage.slice("orders").await?)?;
    stage.services_api().delete("orders-leader", &DeleteParams::default()).await?;
    let after = stage.until_leader_service("orders", |service| service.uid() != before.uid()).await?;
    let ips = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ips.clone());
    assert_eq!(ips(&after), ips(&before));
    // The slices stand as they did, and what the Service mirrors comes back.
    assert_eq!(epoch(&stage.slice("orders").await?)?, epoch_before);
    stage
        .until_leader_service("orders", |service| {
            service.annotations().get("zen-lead.io/leader-pod-uid").map(String::as_str) == Some(pod.uid())
                && service.annotations().get("zen-lead.io/epoch") == Some(&epoch_before.to_string())
        })
        .await?;
    stage.end().await
}

/// Everything at once, its own objects and the source: what is left is as for a new one.
#[tokio::test(flavor = "multi_thread")]
async fn b13_all_objects_deleted_at_once_come_back() -> Result<()> {
    let stage = Stage::new("b13-all").await?;
    let (source, pods) = stage.led("orders", 1).await?;
    let before = stage.slice("orders").await?;
    source.delete().await?;
    // The garbage collector's part.
    for _ in 0..2 {
        drop(stage.services_api().delete("orders-leader", &DeleteParams::default()).await);
        drop(stage.slices_api().delete("orders-leader", &DeleteParams::default()).await);
    }
    let again = stage.source("orders").create().await?;
    let owned = |slice: &EndpointSlice| {
        let owner = slice.owner_references().first();
        owner.is_some_and(|owner| owner.uid == again.uid()) && slice.endpoints == before.endpoints
    };
    let after = stage.ns.slices().until("orders-leader", SOON, owned).await?;
    assert!(epoch(&after)? > epoch(&before)?);
    stage.until_led("orders", &pods[0]).await?;
    stage
        .until_leader_service("orders", |service| {
            service.owner_references().first().is_some_and(|owner| owner.uid == again.uid())
        })
        .await?;
    stage.end().await
}
