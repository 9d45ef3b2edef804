//! Every outcome of a write has its own path, and health tells the truth under the shipped rights.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use lab::Lab;
use serde_json::json;

use crate::support::{Controller, SOON, Stage, authorise, manifest};

#[tokio::test(flavor = "multi_thread")]
async fn b18_it_is_ready_with_the_shipped_role_and_says_what_is_missing_without() -> Result<()> {
    let ns = Lab::shared().await?.namespace("b18").await?;
    let account = ns.account("zen-lead").await?;
    let controller = Controller::in_namespace(&ns, &account, &[]).await?;
    let answer = controller.until_probe("/readyz", |answer| answer.contains("forbidden")).await?;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(controller.probe("/healthz").await?.starts_with("HTTP/1.1 200"), "it lives, and tries again");
    authorise(&ns).await?;
    controller.until_ready().await?;
    assert!(manifest("deploy/namespaced/role.yaml")?.contains("endpointslices"));
    Ok(())
}

/// Conflicts: somebody touches the slice all the time while leaders come and go.
#[tokio::test(flavor = "multi_thread")]
async fn b19_conflicts_do_not_stop_failovers() -> Result<()> {
    let stage = Stage::new("b19").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let api = stage.slices_api();
    let toucher = tokio::spawn(async move {
        for touch in 0.. {
            let patch = json!({ "metadata": { "annotations": { "example.com/touch": touch.to_string() } } });
            let patch = kube::api::Patch::Merge(patch);
            drop(api.patch("orders-leader", &kube::api::PatchParams::default(), &patch).await);
        }
    });
    for round in 0..10 {
        let (loses, follows) = if round % 2 == 0 { (&pods[0], &pods[1]) } else { (&pods[1], &pods[0]) };
        loses.unready().await?;
        stage.until_led("orders", follows).await?;
        loses.ready().await?;
    }
    toucher.abort();
    let last = stage.slice("orders").await?;
    assert!(last.annotations().contains_key("example.com/touch"), "other people's annotations stay");
    stage.end().await
}

/// `NotFound` and `AlreadyExists`: the slice goes, and comes, at the very moment of a failover.
#[tokio::test(flavor = "multi_thread")]
async fn b19_a_slice_that_goes_at_the_moment_of_a_failover_is_made_anew() -> Result<()> {
    let stage = Stage::new("b19-gone").await?;
    // Once each: who does it thrice is a contest.
    for source in ["a", "b", "c", "d", "e"] {
        let (_, pods) = stage.led(source, 2).await?;
        let (api, params) = (stage.slices_api(), DeleteParams::default());
        let name = format!("{source}-leader");
        let (deleted, lost) = tokio::join!(api.delete(&name, &params), pods[0].unready());
        deleted?;
        lost?;
        stage.until_led(source, &pods[1]).await?;
    }
    stage.end().await
}

/// One that exists, but is not on the watch: its label was stripped while nobody looked.
#[tokio::test(flavor = "multi_thread")]
async fn b19_a_slice_that_exists_unseen_is_read_and_adopted() -> Result<()> {
    let mut stage = Stage::new("b19-exists").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let before = stage.slice("orders").await?;
    stage.controller.stop()?;
    let strip = json!({ "metadata": { "labels": { "endpointslice.kubernetes.io/managed-by": null } } });
    stage.edit_slice("orders-leader", &strip).await?;
    stage.restart().await?;
    let labelled = |slice: &EndpointSlice| {
        slice.labels().contains_key("endpointslice.kubernetes.io/managed-by")
            && slice.endpoints == before.endpoints
    };
    let after = stage.ns.slices().until("orders-leader", SOON, labelled).await?;
    assert_eq!(after.uid(), before.uid(), "written to, not made anew");
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

/// Refused for good: the API server takes no loopback address, so that this pod can never be published.
#[tokio::test(flavor = "multi_thread")]
async fn b19_a_pod_whose_address_is_refused_is_passed_over() -> Result<()> {
    let stage = Stage::new("b19-refused").await?;
    stage.source("orders").create().await?;
    stage.until_leaderless("orders").await?;
    let loopback = "127.0.0.1".parse().context("an address")?;
    stage.member("orders", "orders-0").ips([loopback]).ready().create().await?;
    stage.until_told("PublishRejected", &["orders-0", "loopback"]).await?;
    let sound = stage.member("orders", "orders-1").ready().create().await?;
    stage.until_led("orders", &sound).await?;
    // The last resort is no resort.
    sound.vanish().await?;
    stage.until_leaderless("orders").await?;
    // With an address that can be published it counts again.
    let now = "10.244.77.7";
    let status = json!({ "status": { "podIP": now, "podIPs": [{ "ip": now }] } });
    let pods = stage.ns.api::<k8s_openapi::api::core::v1::Pod>();
    let patch = kube::api::Patch::Merge(status);
    pods.patch_status("orders-0", &kube::api::PatchParams::default(), &patch).await?;
    let slice = stage.ns.slices().until_leader("orders-leader", "orders-0", SOON).await?;
    assert_eq!(slice.endpoints[0].addresses, [now]);
    stage.end().await
}

/// Reads succeed and every write is answered by 500: each write is paid for by a longer pause, no try has a line of its
/// own in the log, and the leader moves soon after the obstacle is gone.
#[tokio::test(flavor = "multi_thread")]
async fn b19_a_webhook_that_cannot_be_called_is_not_hammered() -> Result<()> {
    /// Long enough for a hundred tries, if there were no pauses.
    const BROKEN: Duration = Duration::from_secs(6);
    let stage = Stage::new("b19-webhook").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    let webhook = stage.break_writes_of_slices("UPDATE").await?;
    pods[0].unready().await?;
    let line = stage.controller.until_logged(&["publication failed", "failed calling webhook"]).await?;
    assert!(line.contains("WARN") && line.contains("orders"), "{line}");
    tokio::time::sleep(BROKEN).await;
    let asked = stage.asked()?;
    let tries = asked.iter().filter(|entry| entry.name == "orders-leader" && entry.code == 500).count();
    // 20 ms doubling to 1 s: 7 in the first 1.3 s, then one a second.
    assert!((4..=14).contains(&tries), "{tries} writes in {BROKEN:?}");
    let log = stage.controller.log()?;
    let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("failed calling webhook"));
    assert_eq!(lines.count(), 1, "{log}");

    stage.mend_writes_of_slices(webhook).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}
