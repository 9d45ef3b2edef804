//! The leader Service: what it looks like, what it is called, and whom it leaves alone.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use lab::{Change, leader_of, until};
use serde_json::json;

use crate::support::{SOON, Stage};

/// Two Services that only look as if: one has the default leader name of a Service that does not opt in, one that
/// of a Service that does.
#[tokio::test(flavor = "multi_thread")]
async fn b03_foreign_services_are_left_alone() -> Result<()> {
    let stage = Stage::new("b03").await?;
    let foreign = stage.ns.service("plain-leader").selector("app", "other").port("http", 80, 80);
    let foreign = foreign.create().await?;
    let taken = stage.ns.service("orders-leader").selector("app", "other").port("http", 80, 80);
    let taken = taken.create().await?;
    let (before, taken_before) = (foreign.get().await?, taken.get().await?);

    let plain = stage.ns.service("plain").selector("app", "plain").port("http", 80, 8080).create().await?;
    let orders = stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    stage.until_told("LeaderServiceConflict", &["orders-leader"]).await?;
    // In, out, gone: whatever the Service beside it does.
    plain.annotate("zen-lead.io/enabled", Some("false")).await?;
    plain.delete().await?;
    stage.all_is_seen().await?;
    assert_eq!(foreign.get().await?, before);
    assert_eq!(taken.get().await?, taken_before);
    assert_eq!(
        stage.ns.slices().of("orders-leader").await?,
        [],
        "kube-proxy would route a foreign Service to us"
    );

    // Its end is our beginning, without any other change.
    taken.delete().await?;
    stage.until_led("orders", &pod).await?;
    assert_eq!(stage.leader_service("orders").await?.owner_references()[0].uid, orders.uid());
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b03_a_service_that_takes_the_leaders_name_later_gets_none_of_our_pods() -> Result<()> {
    let stage = Stage::new("b03-later").await?;
    stage.led("orders", 1).await?;
    let ours = stage.leader_service("orders").await?;
    // Relabelled and given to somebody else: no longer ours.
    stage
        .edit_service(
            "orders-leader",
            &json!({ "metadata": {
                "labels": { "zen-lead.io/source-service": null, "app.kubernetes.io/managed-by": null },
                "annotations": { "zen-lead.io/instance": null },
                "ownerReferences": null,
            } }),
        )
        .await?;
    stage.until_told("LeaderServiceConflict", &["orders-leader"]).await?;
    stage.ns.slices().all_until("orders-leader", SOON, <[_]>::is_empty).await?;
    let now = stage.services_api().get("orders-leader").await?;
    assert_eq!(now.uid(), ours.uid());
    assert!(!now.labels().contains_key("zen-lead.io/source-service"), "somebody else's by now");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_the_leader_service_has_its_ports_while_nobody_leads() -> Result<()> {
    let stage = Stage::new("b04").await?;
    let source =
        stage.ns.service("orders").annotation("zen-lead.io/enabled", "true").selector("app", "orders");
    source.named_port("http", 80, "web").create().await?;
    stage.until_leaderless("orders").await?;
    let ports = |service: Service| service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let wanted = Some(IntOrString::String("web".into()));
    let [port] = &ports(stage.leader_service("orders").await?)[..] else { panic!("one port") };
    assert_eq!((port.port, port.name.as_deref(), port.target_port.clone()), (80, Some("http"), wanted));
    let pod = stage.member("orders", "orders-0").port("web", 8080).ready().create().await?;
    let slice = stage.until_led("orders", &pod).await?;
    assert_eq!(slice.ports.context("the slice has ports")?[0].port, Some(8080));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_sources_with_node_ports_get_an_ordinary_leader_service() -> Result<()> {
    let stage = Stage::new("b05").await?;
    for kind in ["NodePort", "LoadBalancer"] {
        let name = kind.to_lowercase();
        let source = stage.source(&name).spec(json!({ "type": kind })).create().await?;
        stage.members(&name, 1).await?;
        let spec = stage.leader_service(&name).await?.spec.context("it has a spec")?;
        assert_eq!(spec.type_.as_deref(), Some("ClusterIP"), "{kind}");
        assert_eq!(spec.ports.context("it has ports")?[0].node_port, None, "{kind}");
        let port = source.get().await?.spec.and_then(|spec| spec.ports).context("it has ports")?[0].node_port;
        assert!(port.is_some(), "the source has a node port");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b06_a_service_cannot_be_its_own_leader_service() -> Result<()> {
    let stage = Stage::new("b06").await?;
    let source =
        stage.source("orders").annotation("zen-lead.io/leader-service-name", "orders").create().await?;
    let before = source.get().await?;
    stage.members("orders", 1).await?;
    stage.until_told("InvalidConfiguration", &["zen-lead.io/leader-service-name", "own name"]).await?;
    assert_eq!(source.get().await?, before);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b07_under_a_new_name_the_old_objects_go_once_the_new_ones_serve() -> Result<()> {
    let stage = Stage::new("b07").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    let old_epoch = epoch(&stage.slice("orders").await?)?;
    let history = stage.ns.history().await?;
    source.annotate("zen-lead.io/leader-service-name", Some("primary")).await?;
    let new = stage.ns.slices().until_leader("primary", pods[0].name(), SOON).await?;
    assert!(epoch(&new)? > old_epoch, "a slice made anew begins a new term");
    until(&stage.services_api(), "", SOON, |services| {
        services.iter().all(|service| service.name_any() != "orders-leader")
    })
    .await?;
    stage.ns.slices().all_until("orders-leader", SOON, <[_]>::is_empty).await?;

    let revisions = history.up_to_now().await?;
    let serves = revisions
        .iter()
        .position(|revision| revision.slice.name_any() == "primary" && leader_of(&revision.slice).is_some());
    let goes = revisions.iter().position(|revision| {
        revision.slice.name_any() == "orders-leader"
            && (revision.change == Change::Deleted || revision.slice.endpoints.is_empty())
    });
    assert!(serves.context("the new one serves")? < goes.context("the old one goes")?);

    // And it is the new one that follows the pods, and goes when the Service opts out.
    pods[0].unready().await?;
    stage.ns.slices().until_leader("primary", pods[1].name(), SOON).await?;
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.ns.slices().all_until("primary", SOON, <[_]>::is_empty).await?;
    stage.end().await
}

fn epoch(slice: &k8s_openapi::api::discovery::v1::EndpointSlice) -> Result<u64> {
    Ok(slice.annotations().get("zen-lead.io/epoch").context("a slice has an epoch")?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn b08_no_annotation_of_the_source_is_copied() -> Result<()> {
    let stage = Stage::new("b08").await?;
    let acting = [
        ("service.beta.kubernetes.io/aws-load-balancer-type", "nlb"),
        ("external-dns.alpha.kubernetes.io/hostname", "orders.example"),
        ("prometheus.io/scrape", "true"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
    ];
    let source =
        acting.iter().fold(stage.source("orders"), |source, (key, value)| source.annotation(key, value));
    source.create().await?;
    let pod = stage.members("orders", 1).await?.remove(0);
    stage.until_announced("orders", &pod, "LeaderElected").await?;
    let service = stage.leader_service("orders").await?;
    let allowed = [
        "current-leader",
        "epoch",
        "instance",
        "leader-last-switch-time",
        "leader-pod-name",
        "leader-pod-uid",
    ];
    for name in service.annotations().keys() {
        let ours = name.strip_prefix("zen-lead.io/").is_some_and(|name| allowed.contains(&name));
        assert!(ours, "{name} was copied");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_long_names_are_shortened() -> Result<()> {
    let stage = Stage::new("b15").await?;
    for length in [57, 63] {
        let name = "a".repeat(length);
        stage.source(&name).create().await?;
        let pod = stage.member(&name, &format!("p-{length}")).ready().create().await?;
        let labelled = format!("zen-lead.io/source-service={name}");
        let leaders = until(&stage.services_api(), &labelled, SOON, |found| found.len() == 1).await?;
        let leader = leaders[0].name_any();
        assert_eq!(leader.len(), 63, "{leader}");
        assert_eq!(leader, zen_lead::names::leader_service(&name));
        stage.ns.slices().until_leader(&leader, pod.name(), SOON).await?;
    }
    // Opting out finds them again.
    for length in [57, 63] {
        stage.services_api().delete(&"a".repeat(length), &DeleteParams::default()).await?;
    }
    until(&stage.services_api(), "app.kubernetes.io/managed-by=zen-lead", SOON, <[_]>::is_empty).await?;
    let left = stage.slices_api().list(&ListParams::default()).await?.items;
    assert_eq!(left, []);
    stage.end().await
}
