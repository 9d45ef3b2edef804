//! Few writes, and none without need.

use anyhow::Result;
use kube::ResourceExt as _;
use lab::leader_of;
use serde_json::json;

use crate::support::{SOON, Stage, Written};

#[tokio::test(flavor = "multi_thread")]
async fn b14_a_failover_is_one_write_of_the_slice_and_three_in_all() -> Result<()> {
    let stage = Stage::new("b14").await?;
    let (_, pods) = stage.led("orders", 4).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let history = stage.ns.history().await?;
    for (from, to) in [(0, 1), (1, 2), (2, 3)] {
        stage.all_is_seen().await?;
        let before = stage.written_for("orders").await?;
        match from {
            0 => pods[0].unready().await?,
            1 => pods[1].terminate(lab::within(300)).await?,
            _ => pods[2].vanish().await?,
        }
        stage.until_led("orders", &pods[to]).await?;
        stage.until_announced("orders", &pods[to], "LeaderChanged").await?;
        stage.all_is_seen().await?;
        let written = stage.written_for("orders").await?.since(before);
        let expected = Written { slice: 1, service: 1, notices: 1 };
        assert_eq!(written, expected, "from orders-{from} to orders-{to}");
    }
    // The slice passed through nothing else, and was never empty.
    let revisions = history.up_to_now().await?;
    let leaders: Vec<_> = revisions
        .iter()
        .filter(|revision| revision.slice.name_any() == "orders-leader")
        .map(|revision| leader_of(&revision.slice))
        .collect();
    let expected = ["orders-0", "orders-1", "orders-2", "orders-3"].map(|pod| Some(pod.to_owned()));
    assert_eq!(leaders, expected);
    stage.end().await
}

/// The mirror is written after the slice and never before, so that it never says what is not so yet.
#[tokio::test(flavor = "multi_thread")]
async fn b14_the_slice_is_written_first() -> Result<()> {
    let stage = Stage::new("b14-order").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let before = stage.writes()?.len();
    pods[0].unready().await?;
    stage.until_announced("orders", &pods[1], "LeaderChanged").await?;
    let writes = stage.until_writes(|writes| {
        writes.iter().skip(before).any(|write| write.starts_with("patch services orders-leader"))
    });
    let writes = writes.await?;
    let at = |what: &str| writes.iter().skip(before).position(|write| write.starts_with(what));
    let (slice, service) = (at("update endpointslices orders-leader"), at("patch services orders-leader"));
    assert!(slice.is_some() && slice < service, "{writes:?}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_changes_that_decide_nothing_are_not_followed_by_writes() -> Result<()> {
    let stage = Stage::new("i8").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    stage.all_is_seen().await?;
    let before = stage.written_for("orders").await?;
    // Of pods that do not lead.
    pods[1].unready().await?;
    pods[1].ready().await?;
    pods[1].annotate("example.com/touched", Some("yes")).await?;
    pods[2].terminate(lab::within(300)).await?;
    pods[2].vanish().await?;
    let extra = stage.member("orders", "orders-9").ready().create().await?;
    extra.relabel("app", Some("else")).await?;
    // Of the leader, but not of what matters.
    pods[0].annotate("example.com/touched", Some("yes")).await?;
    pods[0].relabel("example.com/touched", Some("yes")).await?;
    pods[0].ready().await?;
    // Of the source, and an empty touch of what is ours.
    source.annotate("example.com/touched", Some("yes")).await?;
    stage
        .edit_service("orders-leader", &json!({ "metadata": { "annotations": { "example.com/x": "1" } } }))
        .await?;
    stage
        .edit_slice("orders-leader", &json!({ "metadata": { "annotations": { "example.com/x": "1" } } }))
        .await?;
    stage.all_is_seen().await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.written_for("orders").await?.since(before), Written::nothing());
    stage.end().await
}

/// A restart finds everything as it should be.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_restart_writes_nothing() -> Result<()> {
    let mut stage = Stage::new("i8-restart").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let settled = stage.source("settled").dual_stack().create().await?;
    stage.until_leader_service(settled.name(), |_| true).await?;
    stage.all_is_seen().await?;
    let (slice, service) = (stage.slice("orders").await?, stage.leader_service("orders").await?);
    let before = stage.written_for("orders").await?;
    stage.restart().await?;
    // Decided, and everything that follows from it as well: the mark comes by the same queues.
    pods[1].unready().await?;
    stage.source("later").create().await?;
    stage.members("later", 1).await?;
    assert_eq!(stage.written_for("orders").await?.since(before), Written::nothing());
    assert_eq!(stage.slice("orders").await?, slice);
    assert_eq!(stage.leader_service("orders").await?, service);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_decides_and_writes_nothing() -> Result<()> {
    let stage = Stage::with("dry-run", &["--dry-run"]).await?;
    let source = stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    let other = stage.member("orders", "orders-1").ready().create().await?;
    stage.controller.until_logged(&["would send", "POST service orders-leader"]).await?;
    stage.controller.until_logged(&["would send", "POST endpointslice orders-leader"]).await?;
    stage.controller.until_logged(&["transition", "elected", "orders-0"]).await?;
    pod.unready().await?;
    stage.controller.until_logged(&["transition", "cause=\"unready\"", "orders-1"]).await?;
    other.vanish().await?;
    stage.controller.until_logged(&["transition", "leaderless", "cause=\"gone\""]).await?;
    source.annotate("zen-lead.io/enabled", Some("false")).await?;
    stage.controller.until_logged(&["no longer opted in"]).await?;
    stage.controller.until_probe("/healthz", |answer| answer.starts_with("HTTP/1.1 200")).await?;
    assert_eq!(stage.writes()?, [""; 0]);
    assert_eq!(stage.services_api().get_opt("orders-leader").await?, None);
    stage.end().await
}

/// Beside a controller that does write: the one only watches.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_beside_the_real_one_follows_and_writes_nothing() -> Result<()> {
    let stage = Stage::new("dry-beside").await?;
    let watcher = stage.another(&["--dry-run", "--identity=watcher"]).await?;
    watcher.until_ready().await?;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].unready().await?;
    stage.until_announced("orders", &pods[1], "LeaderChanged").await?;
    watcher.until_logged(&["transition", "orders-1"]).await?;
    let slice = stage.slice("orders").await?;
    assert_ne!(slice.annotations().get("zen-lead.io/term-by").map(String::as_str), Some("watcher"));
    stage.until_led("orders", &pods[1]).await?;
    assert_eq!(stage.ns.slices().until_leader("orders-leader", "orders-1", SOON).await?, slice);
    stage.end().await
}
