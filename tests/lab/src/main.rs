//! `cargo lab`: a control plane and a cluster for hands, what their clients see, the simulation, the fuzzer, and the image.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use lab::cluster::{self, Proxy};
use lab::demo::{self, Screen};
use lab::{Assets, ControlPlane, Options, fuzz, gaps, image};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
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
    /// A cluster with real nodes: containers, kubelet, kube-proxy; needs root
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// kubectl for the cluster of `cluster up`: cargo lab kubectl get pods -A
    #[command(disable_help_flag = true)]
    Kubectl {
        /// As kubectl wants them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Only build etcd, kube-apiserver and kubectl into the user's cache
    Build,
    /// Show what the controller does, on a real API server, and check it
    Demo(demo::Arguments),
    /// Simulate the controller with all that can go wrong, on all cores; `cargo lab simulate --help` tells more
    #[command(disable_help_flag = true)]
    Simulate {
        /// What the simulation is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Feed anything to what reads from outside: needs a nightly compiler and cargo-fuzz
    Fuzz(fuzz::Arguments),
    /// Measure how long clients of a leader Service fail while things go wrong, on real nodes; needs root
    Gaps(gaps::Arguments),
    /// Build the image, without a daemon and without containers; needs clang
    Image(image::Arguments),
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Start a control plane and nodes, and keep them until Ctrl-C or `cluster down`
    ///
    /// Each node has its own network, containerd, kubelet and kube-proxy. Missing packages of Debian's are installed.
    /// Nothing is added to this machine's own network, and nothing remains of the cluster when it ends.
    Up {
        /// How many nodes, 1 to 20
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// How kube-proxy turns the addresses of Services
        #[arg(long, value_enum, default_value_t)]
        proxy: Proxy,
        /// An archive of images for the nodes, as `docker save` or an OCI layout in a tar; may be given again
        #[arg(long = "image", value_name = "FILE")]
        images: Vec<PathBuf>,
    },
    /// End the cluster of `cluster up`, and remove what is left of clusters that were killed
    Down,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Up { api_servers } => up(Options { api_servers, ..Options::default() }).await,
        Command::Cluster(ClusterCommand::Up { nodes, proxy, images }) => {
            let options = cluster::Options { nodes, proxy, images, ..cluster::Options::default() };
            let result = cluster::up(options, &mut told_to_stop()?).await;
            if let Err(error) = &result {
                eprintln!("Error: {error:?}");
            }
            // Not by returning, here and below: a build of the lab that was interrupted may hold a thread for minutes.
            process::exit(result.is_err().into());
        }
        Command::Cluster(ClusterCommand::Down) => task::spawn_blocking(cluster::down).await?,
        Command::Kubectl { arguments } => task::spawn_blocking(move || cluster::kubectl(&arguments)).await?,
        Command::Build => {
            let assets = task::spawn_blocking(Assets::find_or_build).await??;
            println!("{}", assets.directory().display());
            Ok(())
        }
        Command::Fuzz(arguments) => task::spawn_blocking(move || fuzz::run(&arguments)).await?,
        Command::Gaps(arguments) => {
            let result = gaps::run(&arguments, &mut told_to_stop()?).await;
            if let Err(error) = &result {
                eprintln!("Error: {error:?}");
            }
            process::exit(result.map_or(2, |met| (!met).into()));
        }
        Command::Image(arguments) => task::spawn_blocking(move || image::run(&arguments)).await?,
        Command::Demo(arguments) => {
            let outcome = demo::run(&arguments, &mut Screen::stdout(), &mut told_to_stop()?).await;
            process::exit(outcome.code().into());
        }
        Command::Simulate { arguments } => simulate(&arguments),
    }
}

/// Builds the simulation to be fast, and becomes it: it is a package of its own, for the lab knows nothing of the
/// controller.
fn simulate(arguments: &[OsString]) -> Result<()> {
    let mut cargo = process::Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--profile=simulate", "--package=simulate"]);
    cargo.arg(concat!("--manifest-path=", env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
    // `cargo run` describes the lab's package in variables, at which build scripts look.
    for (name, _) in env::vars_os() {
        let is_of_the_lab =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_the_lab) {
            cargo.env_remove(name);
        }
    }
    Err(cargo.arg("--").args(arguments).exec()).context("cannot run cargo, which builds the simulation")
}

/// A message for each SIGINT and SIGTERM.
fn told_to_stop() -> Result<mpsc::UnboundedReceiver<()>> {
    let (mut interrupted, mut terminated) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, receiver) = mpsc::unbounded_channel();
    task::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            if sender.send(()).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
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
