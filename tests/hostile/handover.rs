//! `switchover-to`: done or refused, once.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use lab::{Pod, leader_of};

use crate::support::{Stage, leaders};

const SWITCHOVER: &str = "zen-lead.io/switchover-to";
const HANDLED: &str = "zen-lead.io/switchover-handled";

fn request(pod: &Pod, token: &str, in_seconds: i64) -> String {
    let expiry = Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_secs(in_seconds);
    format!("{}/{};{token};{expiry}", pod.name(), pod.uid())
}

async fn handled(stage: &Stage) -> Result<Option<String>> {
    let annotations = stage.slice("orders").await?.metadata.annotations.unwrap_or_default();
    Ok(annotations.get(HANDLED).cloned())
}

async fn leader(stage: &Stage) -> Result<Option<String>> {
    Ok(leader_of(&stage.slice("orders").await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_named_takes_over_once() -> Result<()> {
    let mut stage = Stage::new("by-name").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    let history = stage.ns.history().await?;
    source.annotate(SWITCHOVER, Some("orders-2")).await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.until_told("SwitchoverCompleted", &["orders-2"]).await?;
    assert_eq!(handled(&stage).await?.as_deref(), Some("orders-2"), "in the same write");
    // The same text does nothing again, in this process and in the next.
    pods[2].unready().await?;
    stage.until_led("orders", &pods[0]).await?;
    pods[2].ready().await?;
    stage.all_is_seen().await?;
    stage.restart().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    let seen = leaders(&history.up_to_now().await?, "orders-leader");
    assert_eq!(seen, ["orders-0", "orders-2", "orders-0"], "and never nobody");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_token_can_be_made_again_with_another() -> Result<()> {
    let stage = Stage::new("by-token").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    for (token, to) in [("a", &pods[1]), ("b", &pods[0]), ("c", &pods[1])] {
        let request = request(to, token, 600);
        source.annotate(SWITCHOVER, Some(&request)).await?;
        stage.until_led("orders", to).await?;
        assert_eq!(handled(&stage).await?, Some(request));
    }
    stage.end().await
}

/// It waits until the pod is eligible, and counts in a loss until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_its_pod() -> Result<()> {
    let stage = Stage::new("waits").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    pods[2].unready().await?;
    source.annotate(SWITCHOVER, Some("orders-2")).await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    pods[2].ready().await?;
    stage.until_led("orders", &pods[2]).await?;
    // One that does not exist yet is waited for, too; withdrawn, it is not.
    source.annotate(SWITCHOVER, Some("orders-8")).await?;
    stage.all_is_seen().await?;
    let late = stage.member("orders", "orders-8").ready().create().await?;
    stage.until_led("orders", &late).await?;
    source.annotate(SWITCHOVER, Some("orders-9")).await?;
    stage.all_is_seen().await?;
    source.annotate(SWITCHOVER, None).await?;
    stage.all_is_seen().await?;
    stage.member("orders", "orders-9").ready().create().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-8"));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_is_refused() -> Result<()> {
    let stage = Stage::new("refused").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    // Over before it was made.
    let late = request(&pods[1], "late", -60);
    source.annotate(SWITCHOVER, Some(&late)).await?;
    stage.until_told("SwitchoverRefused", &[&late]).await?;
    // Another pod has the name by now.
    let former = request(&pods[2], "former", 600);
    pods[2].vanish().await?;
    let again = stage.member("orders", "orders-2").ready().create().await?;
    source.annotate(SWITCHOVER, Some(&former)).await?;
    stage.until_told("SwitchoverRefused", &[&former]).await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    // What was refused stays so; what is asked for anew does not.
    source.annotate(SWITCHOVER, Some(&request(&again, "new", 600))).await?;
    stage.until_led("orders", &again).await?;
    stage.end().await
}

/// It expires while it waits, though nothing happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_too_long_is_refused() -> Result<()> {
    let stage = Stage::new("expires").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    pods[1].unready().await?;
    let request = request(&pods[1], "soon", 3);
    source.annotate(SWITCHOVER, Some(&request)).await?;
    let asked = std::time::Instant::now();
    stage.until_told("SwitchoverRefused", &[&request]).await?;
    assert!(asked.elapsed() > Duration::from_secs(1));
    pods[1].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    stage.end().await
}
