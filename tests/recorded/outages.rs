//! Nobody can lead for a while.

use anyhow::Result;

use crate::recording::Recording;

#[tokio::test(flavor = "multi_thread")]
async fn first_election() -> Result<()> {
    let recording = Recording::new("first-election").await?;
    let stage = &recording.stage;
    let pods = [
        stage.member("orders", "orders-0").ready().create().await?,
        stage.member("orders", "orders-1").ready().create().await?,
    ];
    stage.all_is_seen().await?;
    stage.source("orders").create().await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    recording
        .keep(
            "A Service with two Ready pods opts in: its slice is created empty, then the oldest pod leads.",
            &[
                "all lists are in: 2 members; there is no slice",
                "-> Reelecting orders-0, for first_election",
                "create the slice, with nobody",
                "-> Elected orders-0, for first_election",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn total_outage() -> Result<()> {
    let recording = Recording::new("total-outage").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[1].unready().await?;
    stage.all_is_seen().await?;
    pods[0].unready().await?;
    stage.until_leaderless("orders").await?;
    stage.until_notice("NoReadyPods").await?;
    pods[1].ready().await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "All pods become NotReady: the slice is emptied, and the first pod to be Ready again \
             leads in a new term.",
            &[
                "-> Leaderless, for unready",
                "publish nobody",
                "orders-1 is Ready",
                "-> Reelecting orders-1, for recovery",
                "-> Elected orders-1, for recovery",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_until_a_successor_is_ready() -> Result<()> {
    let recording = Recording::new("draining-followed").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 1).await?;
    pods[0].terminate(lab::within(300)).await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    let heir = stage.member("orders", "orders-1").ready().create().await?;
    stage.until_led("orders", &heir).await?;
    pods[0].vanish().await?;
    recording
        .keep(
            "The only pod is told to terminate: it stays published, as terminating, until its \
             successor is Ready.",
            &[
                "-> Draining orders-0, for terminating",
                "publish orders-0, terminating,",
                "-> Reelecting orders-1, for terminating",
                "-> Elected orders-1",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_until_nobody_is_left() -> Result<()> {
    let recording = Recording::new("draining-alone").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 1).await?;
    pods[0].terminate(lab::within(300)).await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].vanish().await?;
    stage.until_leaderless("orders").await?;
    let heir = stage.member("orders", "orders-1").ready().create().await?;
    stage.until_led("orders", &heir).await?;
    recording
        .keep(
            "The only pod is told to terminate, drains, and is gone before there is another one: \
             nobody is published until the next pod is Ready.",
            &[
                "-> Draining orders-0, for terminating",
                "the leader orders-0 is deleted",
                "-> Leaderless, for gone",
                "publish nobody",
                "-> Reelecting orders-1, for recovery",
                "-> Elected orders-1",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn min_ready_duration() -> Result<()> {
    let recording = Recording::new("min-ready-duration").await?;
    let stage = &recording.stage;
    stage.source("orders").annotation("zen-lead.io/min-ready-duration", "2s").create().await?;
    stage.until_leaderless("orders").await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    stage.until_led("orders", &pod).await?;
    recording
        .keep(
            "min-ready-duration 2s: the only pod is Ready, and leads two seconds later.",
            &["orders-0 is Ready", "the alarm rings", "-> Reelecting orders-0", "-> Elected orders-0"],
        )
        .await
}
