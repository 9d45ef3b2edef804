//! `cargo lab`: a control plane for hands.

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::{Assets, ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task;

/// A real Kubernetes control plane on this machine, without containers.
#[derive(Parser)]
#[command(name = "lab")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start etcd and kube-apiserver, and keep them until Ctrl-C
    Up {
        /// How many API servers to run on the one etcd
        #[arg(long, default_value_t = 1)]
        api_servers: usize,
    },
    /// Only build etcd, kube-apiserver and kubectl into the user's cache
    Build,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Up { api_servers } => up(Options { api_servers, ..Options::default() }).await,
        Command::Build => {
            let assets = task::spawn_blocking(Assets::find_or_build).await??;
            println!("{}", assets.directory().display());
            Ok(())
        }
    }
}

async fn up(options: Options) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let control_plane = ControlPlane::start(options).await?;
    println!("export KUBECONFIG={}", control_plane.kubeconfig_admin()?.display());
    println!("# kubectl: {}", control_plane.assets().program("kubectl").display());
    for component in control_plane.components() {
        println!(
            "# {}: process {}, port {}",
            component.name(),
            component.pid().unwrap_or(0),
            component.port()
        );
    }
    println!("# logs: {}", control_plane.logs().display());
    println!("# Ctrl-C ends it");
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
