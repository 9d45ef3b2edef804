//! As a plugin of the real kubectl.

use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result};
use lab::{Assets, Directory};

use crate::program::{Done, finish, program};
use crate::support::Stage;

/// Runs `kubectl zen-lead`.
fn kubectl(arguments: &[&str]) -> Result<Done> {
    let plugins = Directory::create()?;
    symlink(program(), plugins.path().join("kubectl-zen_lead"))?;
    let mut command = Command::new(Assets::find_or_build()?.program("kubectl"));
    command.arg("zen-lead").args(arguments).env("PATH", plugins.path());
    finish(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_it_with_its_own_flags_and_exit_codes() -> Result<()> {
    let stage = Stage::new("plugin").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let kubeconfig = stage.ns.kubeconfig_admin()?;
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let done = kubectl(&["status", &kubeconfig, "-n", stage.ns.name()])?;
    assert_eq!(
        done.told(&stage.ns),
        "NAME   LEADER   PHASE   SINCE   EPOCH   ELIGIBLE   NODE   NOTES\n\
         orders   orders-0   Elected   AGE   EPOCH   2/2   node-1   -"
    );
    let done = kubectl(&["status", &kubeconfig, "--all-namespaces", "-o", "name"])?;
    assert!(done.told.lines().any(|line| line == "service/orders"), "{done:?}");
    let done = kubectl(&["switchover", "orders", "--wait", &kubeconfig])?;
    assert_eq!(done.code, Some(0), "{done:?}");
    let unknown = kubectl(&["why", "ordres", &kubeconfig])?;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    stage.end().await
}

/// By an address: there are no kubelets here, which could forward a port. `tests/cluster` has them.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_hands_a_log_through_and_replays_it() -> Result<()> {
    let port = lab::free_port()?;
    let address = format!("--debug-address=http://127.0.0.1:{port}");
    let stage = Stage::with("logged", &[&format!("--debug-bind-address=127.0.0.1:{port}")]).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let kubeconfig = stage.ns.kubeconfig_admin()?;
    let log = kubectl(&["log", "orders", &address, &format!("--kubeconfig={}", kubeconfig.display())])?;
    assert_eq!((log.code, &*log.complained), (Some(0), ""));
    let file = kubeconfig.with_extension("jsonl");
    std::fs::write(&file, &log.told)?;
    let replayed = kubectl(&["replay", file.to_str().context("a path")?])?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    assert!(replayed.told.contains("orders-0"), "{replayed:?}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_zen_lead_alone_is_help_and_runs_no_controller() -> Result<()> {
    let help = kubectl(&[])?;
    assert_eq!(help.code, Some(0), "{help:?}");
    assert!(help.told.contains("Usage: kubectl zen-lead <COMMAND>"), "{help:?}");
    let wrong = kubectl(&["why"])?;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.complained.contains("Usage: kubectl zen-lead why <NAME>"), "{wrong:?}");
    Ok(())
}
