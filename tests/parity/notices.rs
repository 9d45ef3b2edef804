//! The reasons that people filter by: each is really sent, about the source Service.

use anyhow::{Context as _, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::DeleteParams;

use crate::support::{ENABLED, SOON, Stage};

const LEADER: &str = "orders-leader";

/// Of this type, about the source Service, by us.
fn check(notice: &Event, kind: &str, source: &lab::Service) -> Result<()> {
    let reason = notice.reason.clone().unwrap_or_default();
    assert_eq!(notice.type_.as_deref(), Some(kind), "{reason}");
    assert_eq!(notice.reporting_controller.as_deref(), Some("zen-lead"), "{reason}");
    let regarding = notice.regarding.clone().with_context(|| format!("{reason} is about nothing"))?;
    assert_eq!(regarding.kind.as_deref(), Some("Service"), "{reason}");
    assert_eq!(regarding.name.as_deref(), Some(source.name()), "{reason}");
    assert_eq!(regarding.uid.as_deref(), Some(source.uid()), "{reason}");
    assert!(notice.note.as_deref().is_some_and(|note| !note.is_empty()), "{reason} says nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn p20_nobody_to_lead() -> Result<()> {
    let stage = Stage::new("p20-nobody").await?;
    let source = stage.source("orders").create().await?;
    check(&stage.until_notice("LeaderServiceCreated").await?, "Normal", &source)?;
    check(&stage.until_notice("NoPodsFound").await?, "Warning", &source)?;
    let pod = stage.member("orders", "orders-0").unready().create().await?;
    check(&stage.until_notice("NoReadyPods").await?, "Warning", &source)?;

    // Only when something changes.
    pod.annotate("example.com/touched", Some("yes")).await?;
    stage.member("orders", "orders-1").unready().create().await?;
    stage.mark().await?;
    assert_eq!(stage.reasons_about("orders").await?, ["LeaderServiceCreated", "NoPodsFound", "NoReadyPods"]);

    let invalid =
        stage.ns.service("bare").annotation(ENABLED, "true").port("http", 80, 8080).create().await?;
    check(&stage.until_notice("InvalidService").await?, "Warning", &invalid)?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p20_leaders_come_and_go() -> Result<()> {
    let stage = Stage::new("p20-leaders").await?;
    let first = stage.member("orders", "orders-0").ready().create().await?;
    let second = stage.member("orders", "orders-1").ready().create().await?;
    let source = stage.source("orders").create().await?;
    check(&stage.until_notice("LeaderServiceCreated").await?, "Normal", &source)?;
    let available = stage.until_notice("LeaderRoutingAvailable").await?;
    check(&available, "Normal", &source)?;
    assert_eq!(available.related.and_then(|pod| pod.name).as_deref(), Some("orders-0"));

    first.unready().await?;
    let changed = stage.until_notice("LeaderChanged").await?;
    check(&changed, "Normal", &source)?;
    let related = changed.related.context("a change of leaders names the new one")?;
    assert_eq!((related.kind.as_deref(), related.name.as_deref()), (Some("Pod"), Some("orders-1")));
    assert_eq!(related.uid.as_deref(), Some(second.uid()));
    let note = changed.note.unwrap_or_default();
    assert!(note.contains("orders-0") && note.contains("unready"), "{note}");

    stage.ns.api::<EndpointSlice>().delete(LEADER, &DeleteParams::default()).await?;
    check(&stage.until_notice("EndpointSliceDeleted").await?, "Warning", &source)?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    stage.mark().await?;
    let mut reasons = stage.reasons_about("orders").await?;
    reasons.sort();
    let once = [
        "EndpointSliceDeleted",
        "LeaderChanged",
        "LeaderElected",
        "LeaderRoutingAvailable",
        "LeaderServiceCreated",
    ];
    assert_eq!(reasons, once);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p20_ports_that_do_not_resolve() -> Result<()> {
    let stage = Stage::new("p20-ports").await?;
    let orders = stage.ns.service("orders").annotation(ENABLED, "true").selector("app", "orders");
    let orders = orders.named_port("http", 80, "nowhere").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    check(&stage.until_notice("NamedPortResolutionFailed").await?, "Warning", &orders)?;
    let bills = stage.source("bills").create().await?;
    stage.member("bills", "bills-0").ready().create().await?;
    stage.until_mirrored("bills-leader", "bills-0").await?;
    stage.store_target_port(&bills, -1).await?;
    check(&stage.until_notice("PortResolutionFailed").await?, "Warning", &bills)?;
    stage.end().await
}
