//! People and programs that put their hands on what is ours, or have put something where it belongs.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use lab::leader_of;
use serde_json::{Value, json};

use crate::support::{SOON, Stage};

impl Stage {
    async fn make_slice(&self, name: &str, service: &str, metadata: Value) -> Result<EndpointSlice> {
        let mut object = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.244.250.1"], "conditions": { "ready": true } }],
        });
        merge(&mut object["metadata"], metadata);
        Ok(self.slices_api().create(&PostParams::default(), &serde_json::from_value(object)?).await?)
    }

    async fn is_gone(&self, slice: &EndpointSlice) -> Result<()> {
        let uid = slice.uid();
        let gone = |all: &[EndpointSlice]| all.iter().all(|slice| slice.uid() != uid);
        lab::until(&self.slices_api(), "", SOON, gone).await.map(drop)
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": true })
}

/// Kubernetes makes a slice for a Service with a selector, of all the pods it matches; and leaves it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_selector_on_the_leader_service_goes_and_so_do_the_slices_that_came_of_it() -> Result<()> {
    let stage = Stage::new("selector").await?;
    stage.led("orders", 1).await?;
    let uid = stage.leader_service("orders").await?.uid().context("it has a UID")?;
    let controlled = json!({
        "labels": { "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" },
        "ownerReferences": [owner("Service", "orders-leader", &uid)],
    });
    let before = stage.make_slice("orders-leader-before", "orders-leader", controlled.clone()).await?;
    stage.edit_service("orders-leader", &json!({ "spec": { "selector": { "app": "orders" } } })).await?;
    stage
        .until_leader_service("orders", |service| {
            service
                .spec
                .as_ref()
                .is_some_and(|spec| spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty))
        })
        .await?;
    stage.is_gone(&before).await?;
    // One that is made after our look, as Kubernetes' own controller is not ours to wait for.
    let after = stage.make_slice("orders-leader-after", "orders-leader", controlled).await?;
    stage.is_gone(&after).await?;
    stage.end().await
}

/// The deletion fails for a while: no second endpoint may stay until somebody happens to look again.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_cannot_be_deleted_at_once_is_deleted_later() -> Result<()> {
    let stage = Stage::new("undeletable").await?;
    stage.led("orders", 1).await?;
    // The look at opting in, which would find it before it cannot be deleted.
    stage.controller.until_logged(&["answered: Strays"]).await?;
    let uid = stage.leader_service("orders").await?.uid().context("it has a UID")?;
    let theirs = json!({ "ownerReferences": [owner("Service", "orders-leader", &uid)] });
    let stray = stage.make_slice("orders-leader-x7k2p", "orders-leader", theirs).await?;
    let webhook = stage.break_writes_of_slices("DELETE").await?;
    stage.edit_service("orders-leader", &json!({ "spec": { "selector": { "app": "orders" } } })).await?;
    stage.controller.until_logged(&["DELETE failed", "failed calling webhook"]).await?;
    // The second look, after two seconds, fails as well.
    let deletions = |entries: &[lab::Entry]| {
        entries.iter().filter(|entry| entry.verb == "delete" && entry.code == 500).count() >= 2
    };
    stage.until_asked(deletions).await?;
    stage.mend_writes_of_slices(webhook).await?;
    stage.is_gone(&stray).await?;
    stage.end().await
}

/// An Endpoints object of the leader Service's name, mirrored by Kubernetes into a slice: somebody wants that.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoints_object_of_the_leaders_name_is_reported_and_left_alone() -> Result<()> {
    let mut stage = Stage::new("endpoints").await?;
    let object = json!({
        "metadata": { "name": "orders-leader" },
        "subsets": [{ "addresses": [{ "ip": "10.244.250.1" }], "ports": [{ "port": 80 }] }],
    });
    #[allow(deprecated, reason = "people still make them")]
    let endpoints = stage.ns.api::<Endpoints>();
    let made = endpoints.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let mirrored = json!({
        "labels": { "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io" },
        "ownerReferences": [owner("Endpoints", "orders-leader", &made.uid().context("a UID")?)],
    });
    let foreign = stage.make_slice("orders-leader-x2v9k", "orders-leader", mirrored).await?;
    stage.source("orders").create().await?;
    let mut pods = Vec::new();
    for name in ["orders-0", "orders-1"] {
        pods.push(stage.member("orders", name).ready().create().await?);
        stage.until_led_among("orders-leader", "orders-leader", "orders-0").await?;
    }
    stage.controller.until_logged(&["WARN", "orders-leader-x2v9k", "not ours"]).await?;
    pods[0].unready().await?;
    stage.until_led_among("orders-leader", "orders-leader", pods[1].name()).await?;
    stage.restart().await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.slices_api().get("orders-leader-x2v9k").await?, foreign);
    assert_eq!(endpoints.get("orders-leader").await?, made);
    stage.end().await
}

impl Stage {
    /// Waits until this slice of a Service that may have others shows this leader.
    async fn until_led_among(&self, service: &str, slice: &str, pod: &str) -> Result<EndpointSlice> {
        let led = |found: &EndpointSlice| {
            found.name_any() == slice && lab::leader_of(found).as_deref() == Some(pod)
        };
        self.ns.slices().until(service, SOON, led).await
    }
}

/// All of our labels, on both objects: they are still ours by name, instance and owner.
#[tokio::test(flavor = "multi_thread")]
async fn stripped_labels_come_back() -> Result<()> {
    let stage = Stage::new("stripped").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let (slice, service) = (stage.slice("orders").await?, stage.leader_service("orders").await?);
    let strip = json!({ "metadata": { "labels": null } });
    stage.edit_service("orders-leader", &strip).await?;
    stage.until_leader_service("orders", |now| now.labels() == service.labels()).await?;
    stage.edit_slice("orders-leader", &strip).await?;
    let repaired = |now: &EndpointSlice| now.labels() == slice.labels() && now.endpoints == slice.endpoints;
    let now = stage.ns.slices().until("orders-leader", SOON, repaired).await?;
    assert_eq!(now.uid(), slice.uid());
    // And with the next failover in the same moment.
    stage.edit_slice("orders-leader", &strip).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

/// A slice of the leader's name that somebody else made: without our labels, and with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_slice_of_the_leaders_name_blocks_and_is_left_alone() -> Result<()> {
    let stage = Stage::new("foreign-slice").await?;
    let theirs = [owner("Endpoints", "orders", "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a11")];
    let with_labels = json!({
        "labels": {
            "endpointslice.kubernetes.io/managed-by": "zen-lead", "app.kubernetes.io/managed-by": "zen-lead",
            "zen-lead.io/source-service": "labelled",
        },
        "ownerReferences": theirs,
    });
    let cases = [("plain", json!({})), ("labelled", with_labels)];
    for (source, metadata) in cases {
        let name = format!("{source}-leader");
        let foreign = stage.make_slice(&name, "whatever", metadata).await?;
        stage.source(source).create().await?;
        let pod = stage.member(source, &format!("{source}-0")).ready().create().await?;
        stage.until_told("LeaderServiceConflict", &["EndpointSlice", &name]).await?;
        stage.all_is_seen().await?;
        assert_eq!(stage.slices_api().get(&name).await?, foreign, "{source}");
        // When it goes, ours comes. One that is not on the watch is looked for every 10 s.
        stage.slices_api().delete(&name, &DeleteParams::default()).await?;
        let slice = stage.ns.slices().until_leader(&name, pod.name(), lab::within(40)).await?;
        assert_ne!(slice.uid(), foreign.uid());
    }
    stage.end().await
}

/// Likewise where the second family's slice belongs: the first family is served all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_slice_of_the_second_familys_name_is_told_and_outlived() -> Result<()> {
    let stage = Stage::new("foreign-second").await?;
    let foreign = stage.make_slice("orders-leader-ipv6", "whatever", json!({})).await?;
    stage.source("orders").dual_stack().create().await?;
    let pod = stage.member("orders", "orders-0").dual_stack().ready().create().await?;
    stage.until_led("orders", &pod).await?;
    stage.until_told("LeaderServiceConflict", &["EndpointSlice", "orders-leader-ipv6"]).await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.slices_api().get("orders-leader-ipv6").await?, foreign);
    stage.slices_api().delete("orders-leader-ipv6", &DeleteParams::default()).await?;
    let both = |slices: &[EndpointSlice]| {
        slices.len() == 2 && slices.iter().all(|slice| leader_of(slice).as_deref() == Some(pod.name()))
    };
    stage.ns.slices().all_until("orders-leader", lab::within(40), both).await?;
    let told = stage.reasons_about("orders").await?;
    assert_eq!(told.iter().filter(|reason| *reason == "LeaderServiceConflict").count(), 1, "{told:?}");
    stage.end().await
}

/// Ours by label, and nobody's by owner: taken over, as objects of the Go zen-lead are.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_with_our_labels_and_no_owner_is_adopted() -> Result<()> {
    let stage = Stage::new("ownerless").await?;
    let labels = json!({ "labels": {
        "endpointslice.kubernetes.io/managed-by": "zen-lead", "app.kubernetes.io/managed-by": "zen-lead",
        "zen-lead.io/source-service": "orders",
    } });
    let found = stage.make_slice("orders-leader", "orders-leader", labels).await?;
    let (source, _) = stage.led("orders", 1).await?;
    let slice = stage.slice("orders").await?;
    assert_eq!(slice.uid(), found.uid());
    assert_eq!(slice.owner_references()[0].uid, source.uid());
    stage.end().await
}

/// A foreign Service and a foreign slice: the end of one does not unblock what the other blocks.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_obstacles_both_have_to_go() -> Result<()> {
    let stage = Stage::new("two-obstacles").await?;
    let labels = json!({
        "labels": { "endpointslice.kubernetes.io/managed-by": "zen-lead" },
        "annotations": { "zen-lead.io/instance": "elsewhere/zen-lead" },
    });
    stage.make_slice("orders-leader", "orders-leader", labels).await?;
    let service = stage.ns.service("orders-leader").port("http", 80, 80).create().await?;
    stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    stage.until_told("LeaderServiceConflict", &["Service orders-leader"]).await?;
    stage.slices_api().delete("orders-leader", &DeleteParams::default()).await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.ns.slices().of("orders-leader").await?, []);
    service.delete().await?;
    stage.until_led("orders", &pod).await?;
    stage.end().await
}

/// One that asks for the name that another one has: refused, and the other one is none the worse.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_asks_for_anothers_leader_name_is_refused() -> Result<()> {
    let stage = Stage::new("thief").await?;
    let (_, pods) = stage.led("orders", 3).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let slice = stage.slice("orders").await?;
    let thief = stage.source("thief").annotation("zen-lead.io/leader-service-name", "orders-leader");
    let thief = thief.create().await?;
    stage.member("thief", "thief-0").ready().create().await?;
    stage.until_told("LeaderServiceConflict", &["orders"]).await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.slice("orders").await?, slice);
    // Failover and repair go on.
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.edit_slice("orders-leader", &json!({ "endpoints": [] })).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.services_api().delete("orders-leader", &DeleteParams::default()).await?;
    stage.until_leader_service("orders", |_| true).await?;
    // Also when the other one gives up.
    thief.annotate("zen-lead.io/enabled", None).await?;
    stage.all_is_seen().await?;
    pods[1].unready().await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.edit_slice("orders-leader", &json!({ "endpoints": [] })).await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.end().await
}

/// A chain: a Service whose default leader name is another's custom one, gone and back, in every order.
#[tokio::test(flavor = "multi_thread")]
async fn source_leader_service_and_slice_deleted_and_made_anew_in_turn() -> Result<()> {
    let stage = Stage::new("in-turn").await?;
    let (mut source, pods) = stage.led("orders", 1).await?;
    for _ in 0..3 {
        stage.slices_api().delete("orders-leader", &DeleteParams::default()).await?;
        stage.services_api().delete("orders-leader", &DeleteParams::default()).await?;
        source.delete().await?;
        source = stage.source("orders").create().await?;
        let uid = source.uid().to_owned();
        let is_its = |service: &Service| service.owner_references().iter().any(|owner| owner.uid == uid);
        stage.until_leader_service("orders", is_its).await?;
        stage.until_led("orders", &pods[0]).await?;
    }
    // What is left by a garbage collector that comes late: of the former source.
    let former = [owner("Service", "orders", "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a11")];
    let left = json!({ "metadata": { "ownerReferences": former } });
    let left = stage.edit_slice("orders-leader", &left).await?;
    let anew = |slice: &EndpointSlice| slice.uid() != left.uid() && slice.endpoints.len() == 1;
    stage.ns.slices().until("orders-leader", SOON, anew).await?;
    stage.end().await
}
