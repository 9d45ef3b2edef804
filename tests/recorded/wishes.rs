//! What people ask for: patience, another leader, no changes, no leader at all.

use anyhow::Result;

use crate::recording::Recording;
use crate::support::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn switchover() -> Result<()> {
    let recording = Recording::new("switchover").await?;
    let stage = &recording.stage;
    let (source, pods) = stage.led("orders", 3).await?;
    source.annotate("zen-lead.io/switchover-to", Some("orders-2")).await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.until_told("SwitchoverCompleted", &["orders-2"]).await?;
    recording
        .keep(
            "A handover is asked for: that pod is read once more, and leads without a gap.",
            &[
                "asked to hand over to orders-2",
                "read orders-2",
                "read: orders-2 is Ready",
                "-> Reelecting orders-2, for switchover",
                "-> Elected orders-2, for switchover",
            ],
        )
        .await
}

/// Two members, of which the first is lost, followed by the second, and takes over again once it is Ready.
async fn until_the_first_leads_again(stage: &Stage) -> Result<()> {
    let pods = stage.members("orders", 2).await?;
    stage.all_is_seen().await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    stage.until_led("orders", &pods[0]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn failback() -> Result<()> {
    let recording = Recording::new("failback").await?;
    let stage = &recording.stage;
    stage.source("orders").annotation("zen-lead.io/failback", "2s").create().await?;
    until_the_first_leads_again(stage).await?;
    recording
        .keep(
            "failback 2s: the former leader, older than the one that followed, takes over again \
             once it has been Ready for two seconds.",
            &[
                "-> Reelecting orders-1, for unready",
                "orders-0 is Ready",
                "the alarm rings",
                "read: orders-0 is Ready",
                "-> Reelecting orders-0, for failback",
                "-> Elected orders-0, for failback",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn max_switches() -> Result<()> {
    let recording = Recording::new("max-switches").await?;
    let stage = &recording.stage;
    let source = stage.source("orders").annotation("zen-lead.io/failback", "immediate");
    source.annotation("zen-lead.io/max-switches", "1/5s").create().await?;
    until_the_first_leads_again(stage).await?;
    recording
        .keep(
            "max-switches 1/5s: one change of leader in five seconds, so the former leader, which ranks first, waits \
             before it takes over again.",
            &[
                "-> Reelecting orders-1, for unready",
                "orders-0 is Ready",
                "the alarm rings",
                "read: orders-0 is Ready",
                "-> Reelecting orders-0, for failback",
                "-> Elected orders-0, for failback",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_while_paused() -> Result<()> {
    let recording = Recording::new("paused").await?;
    let stage = &recording.stage;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    stage.until_notice("Paused").await?;
    pods[0].unready().await?;
    stage.all_is_seen().await?;
    source.annotate("zen-lead.io/paused", None).await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "Paused: the leader that is NotReady stays published. Resumed: it is followed at once.",
            &[
                "paused",
                "the leader orders-0 is NotReady",
                "resumed",
                "-> Reelecting orders-1, for unready",
                "-> Elected orders-1",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn patience() -> Result<()> {
    let recording = Recording::new("patience").await?;
    let stage = &recording.stage;
    let source = stage.source("orders").annotation("zen-lead.io/failover-min-delay", "5m").create().await?;
    let pods = stage.members("orders", 2).await?;
    pods[0].unready().await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].ready().await?;
    stage.until_told("LeaderRecovered", &["orders-0"]).await?;
    source.annotate("zen-lead.io/failover-min-delay", Some("1s")).await?;
    stage.all_is_seen().await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "failover-min-delay 5m: the leader is NotReady for a moment and stays. Then 1s: it is \
             NotReady for longer than that, and is followed.",
            &[
                "-> Draining orders-0, for unready",
                "-> Elected orders-0",
                "the Service asks for something else",
                "-> Draining orders-0, for unready",
                "the alarm rings",
                "-> Reelecting orders-1, for unready",
                "-> Elected orders-1",
            ],
        )
        .await
}

/// Out, and in again: terms are counted on.
#[tokio::test(flavor = "multi_thread")]
async fn opting_out_and_in() -> Result<()> {
    let recording = Recording::new("opt-out-and-in").await?;
    let stage = &recording.stage;
    let (source, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for("orders").await?;
    source.annotate("zen-lead.io/enabled", Some("true")).await?;
    stage.until_led("orders", &pods[0]).await?;
    recording
        .keep(
            "A Service opts out, and all that was made for it is removed; it opts in again, and the \
             same pod leads in a later term.",
            &[
                "-> Elected orders-0",
                "the Service no longer opts in",
                "-> Leaderless, for removal",
                "remove all that is ours",
                "-> Elected orders-0",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn opting_out_in_the_midst_of_a_failover() -> Result<()> {
    let recording = Recording::new("opt-out-mid-failover").await?;
    let stage = &recording.stage;
    let (source, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    let broken = stage.break_writes_of_slices("UPDATE").await?;
    pods[0].unready().await?;
    stage.controller.until_logged(&["publication failed", "orders"]).await?;
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for("orders").await?;
    stage.mend_writes_of_slices(broken).await?;
    recording
        .keep(
            "The Service opts out while the write of its new leader fails and is tried again: all \
             is removed, and nobody is published any more.",
            &[
                "-> Reelecting orders-1, for unready",
                "the Service no longer opts in",
                "-> Leaderless, for removal",
                "remove all that is ours",
                "what was ours is removed",
            ],
        )
        .await
}

/// The name stays, and all else is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_made_anew() -> Result<()> {
    let recording = Recording::new("service-made-anew").await?;
    let stage = &recording.stage;
    let (source, pods) = stage.led("orders", 1).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    source.delete().await?;
    stage.until_nothing_for("orders").await?;
    stage.source("orders").create().await?;
    stage.until_led("orders", &pods[0]).await?;
    recording
        .keep(
            "The Service is deleted, and another one of the same name is made: a new election, in a \
             later term.",
            &[
                "-> Elected orders-0",
                "the Service is gone",
                "-> Leaderless, for removal",
                "-> Elected orders-0",
            ],
        )
        .await
}
