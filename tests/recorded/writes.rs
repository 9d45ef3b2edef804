//! Writes that fail, or whose answers are missing.

use anyhow::{Context as _, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use lab::{Forwarder, Lab};
use serde_json::json;

use crate::recording::{Record, Recording};
use crate::support::Stage;

/// Answered by 500: a webhook that nobody serves.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail() -> Result<()> {
    let recording = Recording::new("writes-fail").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    let broken = stage.break_writes_of_slices("UPDATE").await?;
    pods[0].unready().await?;
    let failed = |entries: &[lab::Entry]| {
        entries.iter().filter(|entry| entry.verb == "update" && entry.code == 500).count() >= 2
    };
    stage.until_asked(failed).await?;
    stage.mend_writes_of_slices(broken).await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "A webhook that nobody serves lets the write of the new leader fail: the slice is read, \
             and the write tried again after longer and longer pauses.",
            &[
                "-> Reelecting orders-1, for unready",
                "publish orders-1",
                " failed: ",
                "read the slice",
                "read: orders-0 is published",
                "publish orders-1",
                "-> Elected orders-1, for unready",
            ],
        )
        .await
}

/// The next write is due at a time that is known, so that the way can be blocked before.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_not_answered() -> Result<()> {
    let record = Record::new()?;
    let lab = Lab::shared().await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    let mut stage = Stage::new("write-not-answered").await?;
    stage.controller.stop()?;
    let kubeconfig = stage.account.kubeconfig_for(&way.url()).await?;
    let record_to = record.argument();
    stage.controller = crate::support::Controller::start(
        &kubeconfig,
        stage.ns.name(),
        &["--namespace", stage.ns.name(), &record_to, crate::recording::IDENTITY],
    )?;
    stage.controller.until_ready().await?;
    stage.source("orders").annotation("zen-lead.io/failover-min-delay", "2s").create().await?;
    let pods = stage.members("orders", 2).await?;
    stage.all_is_seen().await?;
    pods[0].unready().await?;
    stage.controller.until_logged(&["transition", "to=\"Draining\""]).await?;
    way.black_hole().await?;
    stage.controller.until_logged(&["publication failed", "orders"]).await?;
    way.forward().await?;
    stage.until_led("orders", &pods[1]).await?;
    Recording { name: "write-not-answered", stage, record }
        .keep(
            "The way to the API server is dead when the write of the new leader is due: no answer \
             within a second, so that it may have happened. The slice is read before anything else \
             is decided.",
            &[
                "-> Draining orders-0, for unready",
                "-> Reelecting orders-1, for unready",
                "failed: the answer is missing",
                "read the slice",
                "read: orders-0 is published",
                "-> Elected orders-1",
            ],
        )
        .await
}

/// Its label was stripped while the controller was away.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_there_unseen() -> Result<()> {
    let mut recording = Recording::new("slice-unseen").await?;
    let (_, pods) = recording.stage.led("orders", 2).await?;
    recording.stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    recording.stage.controller.stop()?;
    let strip = json!({ "metadata": { "labels": { "endpointslice.kubernetes.io/managed-by": null } } });
    recording.stage.edit_slice("orders-leader", &strip).await?;
    recording.stage.controller = recording.another().await?;
    let labelled =
        |slice: &EndpointSlice| slice.labels().contains_key("endpointslice.kubernetes.io/managed-by");
    recording.stage.slice_when(labelled).await.context("it is labelled again")?;
    recording
        .keep(
            "The slice's label was stripped while the controller was away, so that no list shows \
             it: its creation is refused since it exists, it is read, and the same pod leads on.",
            &[
                "all lists are in: 2 members; there is no slice",
                "create the slice, with nobody",
                "failed: there is one already",
                "read: orders-0 is published",
            ],
        )
        .await
}
