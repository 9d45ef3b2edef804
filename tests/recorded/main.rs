//! What a controller at work has recorded, in memory and on disk, is replayed with the same steps.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use lab::Directory;

use crate::support::{Controller, Stage};

/// Replays logs, and answers what was told.
fn replay(logs: &[PathBuf]) -> Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_zen-lead")).arg("replay").args(logs).output()?;
    let words = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    Ok(words)
}

fn logs(directory: &Path) -> Result<Vec<PathBuf>> {
    let files: std::io::Result<Vec<_>> =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect();
    let mut files = files?;
    files.sort();
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn i14_what_is_recorded_is_replayed() -> Result<()> {
    let directory = Directory::create()?;
    let port = lab::free_port()?;
    let debug = format!("--debug-bind-address=127.0.0.1:{port}");
    let record = format!("--record={}", directory.path().display());
    let mut stage = Stage::with("recorded", &[&debug, &record]).await?;
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
    let told = replay(&[ring])?;
    let follows = format!("-> Reelecting {}, for unready", pods[1].name());
    ensure!(told.contains(&follows) && told.contains("-> Leaderless, for unready"), "{told}");

    stage.controller.stop()?;
    let files: Vec<_> = logs(directory.path())?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|of| of == "jsonl"))
        .collect();
    ensure!(files.len() == 1, "{files:?}");
    let told = replay(&files)?;
    ensure!(told.contains(&follows) && told.contains("all as recorded"), "{told}");
    stage.end().await
}

/// A second run starts where the first one's files are, which it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_recorded() -> Result<()> {
    let directory = Directory::create()?;
    let record = format!("--record={}", directory.path().display());
    let mut stage = Stage::with("recorded-twice", &[&record]).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.controller.stop()?;
    stage.controller = stage.another(&[&record]).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.controller.stop()?;
    let files = logs(directory.path())?;
    ensure!(files.len() == 2, "{files:?}");
    let told = replay(&files)?;
    ensure!(told.contains("files: 2, Services: 1") && told.contains("for unready"), "{told}");
    stage.end().await
}
