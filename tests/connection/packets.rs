//! Packets that are silently dropped on the controller's connections, as by a dead node or a firewall that forgot
//! them. Needs root and nft.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Lab, PacketDrop, client_ports};
use tokio::time::{interval, timeout};

use crate::kept_the_promise;
use crate::support::{SOON, Stage};

/// The API server's port, and the controller's connections to it: one for watches, one for writes.
fn connections(stage: &Stage) -> Result<(u16, [u16; 2])> {
    let (_, port) = stage.ns.connection().url(0).rsplit_once(':').context("a URL with a port")?;
    let port = port.parse()?;
    let open = client_ports(port, Some(stage.controller.pid()?))?;
    Ok((port, open.try_into().map_err(|open| anyhow::anyhow!("two connections, not {open:?}"))?))
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_dropped_before_a_loss_delay_the_failover_by_less_than_five_seconds() -> Result<()> {
    PacketDrop::available()?;
    let stage = Stage::on(Lab::shared().await?, "drop", &[]).await?;
    let pods = stage.led_pair().await?;
    let (port, open) = connections(&stage)?;

    let dropped = PacketDrop::of(port, &open)?;
    let cut = Instant::now();
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    kept_the_promise(cut, "packets dropped, then the leader lost");
    assert!(dropped.packets()? > 0, "something was dropped");
    let ready = stage.controller.until_probe("/readyz", |answer| answer.starts_with("HTTP/1.1 200")).await?;
    assert!(ready.contains("(1 reconnects, 0 relists)"), "the watches went on where they were: {ready}");
    let (_, again) = connections(&stage)?;
    assert!(again.iter().all(|port| !open.contains(port)), "{again:?} are new");
    stage.end().await
}

/// One of the connections is that for writes: the publication goes out on it, into the void. The other is that for
/// watches: the loss is seen late.
#[tokio::test(flavor = "multi_thread")]
async fn either_connection_may_die_alone() -> Result<()> {
    one_after_the_other("half", PacketDrop::of).await
}

/// The publication arrives, and its answer does not: the watch tells of it, and nothing is written twice.
#[tokio::test(flavor = "multi_thread")]
async fn either_connection_may_lose_its_answers_alone() -> Result<()> {
    one_after_the_other("answers", PacketDrop::answers).await
}

/// Cuts one connection and takes the leader away; then the other connection and the other leader.
async fn one_after_the_other(purpose: &str, cut: fn(u16, &[u16]) -> Result<PacketDrop>) -> Result<()> {
    PacketDrop::available()?;
    let stage = Stage::on(Lab::shared().await?, purpose, &[]).await?;
    let pods = stage.led_pair().await?;
    let (port, open) = connections(&stage)?;
    let before = epoch(&stage).await?;
    let mut carried_the_write = Vec::new();
    for (lost, successor) in [(0, "orders-1"), (1, "orders-0")] {
        let failures = stage.controller.log()?.matches("publication failed").count();
        let dropped = cut(port, &[open[lost]])?;
        let begun = Instant::now();
        pods[lost].unready().await?;
        stage.until_led_by(successor).await?;
        kept_the_promise(begun, "one connection cut, then the leader lost");
        until_left(&stage, port, open[lost]).await?;
        kept_the_promise(begun, "the connection left");
        assert!(dropped.packets()? > 0, "something was dropped");
        carried_the_write.push(stage.controller.log()?.matches("publication failed").count() > failures);
        // Whoever knows the later pod knows that this one is back.
        pods[lost].ready().await?;
        let (source, later) = (format!("later-{lost}"), format!("later-{lost}-0"));
        stage.source(&source).create().await?;
        stage.member(&source, &later).ready().create().await?;
        stage.ns.slices().until_leader(&format!("{source}-leader"), &later, SOON).await?;
    }
    assert!(carried_the_write[0] ^ carried_the_write[1], "{carried_the_write:?}");
    assert_eq!(epoch(&stage).await?, before + 2, "one term a failover");
    stage.end().await
}

async fn epoch(stage: &Stage) -> Result<u64> {
    let slices = stage.ns.slices().of("orders-leader").await?;
    let slice = slices.first().context("a slice")?;
    let annotations = slice.metadata.annotations.as_ref().context("annotations")?;
    Ok(annotations.get("zen-lead.io/epoch").context("an epoch")?.parse()?)
}

/// Waits until the controller has left this connection, and so knows what became of whatever it sent there.
async fn until_left(stage: &Stage, port: u16, connection: u16) -> Result<()> {
    let mut often = interval(Duration::from_millis(10));
    let left = async {
        while client_ports(port, Some(stage.controller.pid()?))?.contains(&connection) {
            often.tick().await;
        }
        anyhow::Ok(())
    };
    timeout(SOON, left).await.context("the connection is still open")?
}
