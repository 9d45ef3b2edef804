//! The lab itself: it is real, it can be disturbed, and it leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use lab::{ControlPlane, Lab, Options, within};
use tokio::time;

/// Whether a list is answered within a second.
async fn answers(control_plane: &ControlPlane, index: usize) -> Result<bool> {
    let pods: Api<Pod> = Api::all(control_plane.connection().client_of(index).await?);
    let list = ListParams::default();
    Ok(time::timeout(Duration::from_secs(1), pods.list(&list)).await.is_ok_and(|answer| answer.is_ok()))
}

/// Waits until no process has this id; the kernel may need a moment to take it away.
async fn is_gone(id: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while lab::is_alive(id) {
        if Instant::now() > deadline {
            return false;
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    true
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() -> Result<()> {
    let control_plane = ControlPlane::start(Options::default()).await?;
    let directory = control_plane.directory().to_owned();
    let ids: Vec<u32> = control_plane.components().filter_map(lab::Component::pid).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| lab::is_alive(*id)));

    drop(control_plane);

    assert!(!directory.exists());
    assert!(ids.iter().all(|id| !lab::is_alive(*id)));
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_paused_does_not_answer_until_it_is_resumed() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let server = lab.control_plane.api_server(0);

    server.pause()?;
    assert!(!answers(&lab.control_plane, 0).await?);

    server.resume()?;
    server_ready(&lab.control_plane).await
}

#[tokio::test]
async fn etcd_that_is_paused_stops_writes_until_it_is_resumed() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let namespace = lab.namespace("etcd").await?;

    lab.control_plane.etcd().pause()?;
    let pod = namespace.pod("a");
    let write = time::timeout(Duration::from_secs(1), pod.create()).await;
    assert!(write.is_err());

    lab.control_plane.etcd().resume()?;
    namespace.pod("b").create().await?;
    Ok(())
}

#[tokio::test]
async fn components_start_again_with_their_ports_and_data() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let namespace = lab.namespace("restart").await?;
    let pod = namespace.pod("a").ready().create().await?;

    lab.control_plane.api_server(0).restart().await?;
    assert_eq!(pod.get().await?.metadata.uid.as_deref(), Some(pod.uid()));

    lab.control_plane.etcd().restart().await?;
    server_ready(&lab.control_plane).await?;
    assert_eq!(pod.get().await?.metadata.uid.as_deref(), Some(pod.uid()));

    lab.control_plane.api_server(0).stop().await?;
    assert_eq!(lab.control_plane.api_server(0).pid(), None);
    assert!(!answers(&lab.control_plane, 0).await?);
    Ok(())
}

#[tokio::test]
async fn of_two_api_servers_one_goes_on_when_the_other_is_killed() -> Result<()> {
    let lab = Lab::start(Options::two_api_servers()).await?;
    let pod = lab.namespace("two").await?.pod("a").create().await?;

    lab.control_plane.api_server(0).kill();

    let other: Api<Pod> = Api::namespaced(lab.control_plane.connection().client_of(1).await?, "two-0");
    assert_eq!(other.get("a").await?.metadata.uid.as_deref(), Some(pod.uid()));
    assert!(!answers(&lab.control_plane, 0).await?);
    Ok(())
}

#[tokio::test]
async fn an_owner_that_is_killed_takes_its_components_along() -> Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(owner.stdout.take().context("stdout is piped")?);
    let mut ids = Vec::new();
    let mut directory = None;
    for line in output.lines() {
        let line = line?;
        if let Some((_, id)) = line.split_once(": process ") {
            ids.push(id.split(',').next().unwrap_or_default().parse::<u32>()?);
        }
        if let Some(logs) = line.strip_prefix("# logs: ") {
            directory = std::path::Path::new(logs).parent().map(std::path::Path::to_owned);
        }
        if line.starts_with("# Ctrl-C") {
            break;
        }
    }
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| lab::is_alive(*id)));

    owner.kill()?;
    owner.wait()?;

    for id in ids {
        assert!(is_gone(id).await, "process {id} outlives its owner");
    }
    // The folder stays until the next start of any lab.
    let directory = directory.context("it says where its logs are")?;
    drop(ControlPlane::start(Options::default()).await?);
    assert!(!directory.exists());
    Ok(())
}

#[tokio::test]
async fn a_component_that_cannot_start_tells_why() -> Result<()> {
    let options = Options::default().api_server_arg("--no-such-flag");
    let error = ControlPlane::start(options).await.err().context("it cannot start")?;
    assert!(format!("{error:#}").contains("unknown flag: --no-such-flag"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn kubectl_works_with_the_administrators_kubeconfig() -> Result<()> {
    let lab = Lab::shared().await?;
    let version = lab.control_plane.kubectl(&["version"]).await?;
    assert!(version.contains("Server Version: v1."), "{version}");
    assert!(fs::read_dir(lab.control_plane.logs())?.count() >= 3);
    Ok(())
}

/// Waits for the API server to answer again after something behind it was disturbed.
async fn server_ready(control_plane: &ControlPlane) -> Result<()> {
    let deadline = Instant::now() + within(20);
    while !answers(control_plane, 0).await? {
        anyhow::ensure!(Instant::now() < deadline, "the API server does not answer again");
        time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
