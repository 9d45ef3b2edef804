//! The `zen-lead` binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;
use zen_lead::config::{Cli, Command, LogFormat, RunArgs};

fn main() -> ExitCode {
    let Cli { command } = zen_lead::config::parse();
    let args = match command {
        Command::Run(args) => args,
        Command::Replay(args) => return zen_lead::replay::run(&args.task()),
        Command::Operate(command) => return block_on(zen_lead::cli::main(&command)),
        Command::Cleanup(args) => return block_on(zen_lead::cleanup::main(&args.task())),
    };
    log_to_stderr(&args);
    block_on(async {
        match zen_lead::run::run(*args, told_to_stop()).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}

/// One worker: what we do takes microseconds, and a second one costs more in waking each other up (measured: a sixth of
/// the processor time of a failover) than it brings. Multi-threaded still, for what runs in `block_on`.
fn block_on(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            eprintln!("cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(args: &RunArgs) {
    let colours = std::io::stderr().is_terminal();
    let lines = layer().with_writer(std::io::stderr).with_ansi(colours);
    let filtered = registry().with(args.log_filter());
    match args.log_format {
        LogFormat::Text => filtered.with(lines).init(),
        LogFormat::Json => filtered.with(lines.json()).init(),
    }
}

/// SIGTERM, as Kubernetes sends it, or Ctrl-C; heeded from the call on.
fn told_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("interrupted: stopping"),
        }
    }
}
