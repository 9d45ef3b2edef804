//! A cluster for hands: `cargo lab cluster up`, `cargo lab cluster down`, `cargo lab kubectl`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, anyhow, bail};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task;

use super::owner::{self, Kept};
use super::{Cluster, Options, packages};
use crate::assets::Assets;

/// Starts a cluster, says how to use it, and keeps it until told to stop.
pub async fn up(options: Options, stop: &mut UnboundedReceiver<()>) -> Result<()> {
    if let Some(other) = owner::kept().first() {
        bail!("process {} keeps a cluster already; end it with `cargo lab cluster down`", other.process());
    }
    let cluster = tokio::select! {
        cluster = Cluster::start(options) => cluster?,
        _ = stop.recv() => return Ok(()),
    };
    println!("export KUBECONFIG={}", cluster.kubeconfig_for_hands()?.display());
    println!(
        "# kubectl: {}, or: cargo lab kubectl get pods -A",
        cluster.assets().program("kubectl").display()
    );
    println!("# logs: {}", cluster.logs().display());
    println!("# image for pods: {} (imagePullPolicy: IfNotPresent)", super::WEB);
    println!("# Ctrl-C ends it, and so does: cargo lab cluster down");
    stop.recv().await;
    // Kills, waits and removes.
    task::spawn_blocking(move || drop(cluster)).await?;
    eprintln!("lab: the cluster is gone");
    Ok(())
}

/// Ends the cluster of [`up`], and removes what others have left behind whose owners were killed. Blocks.
pub fn down() -> Result<()> {
    packages::require_root()?;
    let kept = owner::kept();
    for cluster in &kept {
        cluster.end()?;
        eprintln!("lab: ended the cluster of process {}", cluster.process());
    }
    let left = owner::remove_leftovers()?;
    for name in &left {
        eprintln!("lab: removed what was left of {name}");
    }
    if kept.is_empty() && left.is_empty() {
        eprintln!("lab: there is no cluster, and nothing is left of one");
    }
    Ok(())
}

/// Becomes kubectl with these arguments, for the cluster of [`up`]; returns only if that fails. Blocks.
pub fn kubectl(arguments: &[String]) -> Result<()> {
    let kept = owner::kept();
    let Some(Kept { kubeconfig, .. }) = kept.first() else {
        bail!("there is no cluster of yours; start one with `cargo lab cluster up`, as root");
    };
    let error = Command::new(Assets::find_or_build()?.program("kubectl"))
        .env("KUBECONFIG", kubeconfig)
        .args(arguments)
        .exec();
    Err(anyhow!(error).context("cannot start kubectl"))
}
