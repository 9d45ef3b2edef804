//! What is recorded in memory, and what a second run adds to the files of the first.

use anyhow::{Context as _, Result, ensure};
use lab::Directory;

use crate::recording::{Recording, replay};
use crate::support::{Controller, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn i14_what_the_flight_recorder_answers_is_replayed() -> Result<()> {
    let directory = Directory::create()?;
    let port = lab::free_port()?;
    let debug = format!("--debug-bind-address=127.0.0.1:{port}");
    let stage = Stage::with("ring", &[&debug]).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[1].unready().await?;
    stage.until_leaderless("orders").await?;
    stage.all_is_seen().await?;

    let path = format!("/debug/elections/{}/orders/log", stage.ns.name());
    let answer = Controller::get(port, &path).await?;
    let (_, log) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let ring = directory.path().join("ring.txt");
    std::fs::write(&ring, log)?;
    let told = replay(&ring)?;
    ensure!(told.contains("-> Reelecting orders-1, for unready"), "{told}");
    ensure!(told.contains("-> Leaderless, for unready") && told.contains("all as recorded"), "{told}");
    stage.end().await
}

/// A second run starts where the first one's files are, which it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_recorded() -> Result<()> {
    let mut recording = Recording::new("restart").await?;
    let (_, pods) = recording.stage.led("orders", 2).await?;
    recording.stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    recording.stage.controller.stop()?;
    pods[0].unready().await?;
    recording.stage.controller = recording.another().await?;
    recording.stage.until_led("orders", &pods[1]).await?;
    ensure!(recording.record.files()?.len() == 2, "a file for each run");
    recording
        .keep(
            "The leader is lost while the controller is away: the next run finds it NotReady in its \
             first lists, and publishes the next pod. Two runs, one after the other.",
            &[
                "-> Elected orders-0, for first_election",
                "== ",
                "all lists are in: 2 members; orders-0 is published",
                "-> Reelecting orders-1, for unready",
                "-> Elected orders-1",
            ],
        )
        .await
}
