//! The command line and its environment variables.
//!
//! `zen-lead run` is the controller. The Go program that this one replaces had no subcommands and
//! flags that only tuned it; its manifests keep working: flags without a subcommand mean `run`, a
//! single dash is understood for every known flag, and the tuning flags are accepted, do nothing,
//! and are named in one warning ([`RunArgs::ignored_warning`]).

mod cleanup;
mod go;
mod log;
mod operate;
mod plugin;
mod replay;
mod run;
mod values;

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use cleanup::CleanupArgs;
pub use log::LogFormat;
pub use operate::{
    ClusterArgs, ControllerArgs, DoctorArgs, Format, HistoryArgs, LogArgs, Operate, PauseArgs, RecorderArgs,
    StatusArgs, SwitchoverArgs, WhichArgs, WhyArgs,
};
pub use plugin::PLUGIN;
pub use replay::ReplayArgs;
pub use run::RunArgs;
pub use values::{BindAddress, Instance, MetricsDetail};

const EXAMPLES: &str = "\
Examples:
  # in a cluster, as the Deployment starts it
  zen-lead run
  # from a workstation, one namespace, without writing anything
  zen-lead run --kubeconfig ~/.kube/config --context staging --namespace shop --dry-run
  # as the Go program was started: no subcommand, Go-style flags
  zen-lead -metrics-bind-address=:8080 -health-probe-bind-address=:8081

Every flag of `run` has an environment variable: --log-level is ZEN_LEAD_LOG, the others are
ZEN_LEAD_ and the flag's name, --dry-run is ZEN_LEAD_DRY_RUN. The flag wins.

Each failover is a trace, sent to the OTLP/gRPC receiver of OTEL_EXPORTER_OTLP_ENDPOINT (none: no
traces). Also heeded, as OpenTelemetry defines them, with _TRACES_ after OTLP or without:
OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY, _TIMEOUT, _INSECURE,
_PROTOCOL (grpc); OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and _SAMPLER_ARG,
OTEL_TRACES_EXPORTER (otlp, none), OTEL_SDK_DISABLED.";

const REPLAY_HELP: &str = "\
Exits with 0 if every transition and every order is as recorded, with 1 if one differs, with 2 if a log cannot be read.

Examples:
  zen-lead replay incident.jsonl
  zen-lead replay --quiet --policy failover-min-delay=2s incident.jsonl
  zen-lead replay --html incident.html incident.jsonl";

const CLEANUP_HELP: &str = "\
Removes every leader Service and EndpointSlice that carries this installation's zen-lead.io/instance, and nothing else;
clients of those leader Services are rejected from then on. Services stay opted in: a controller that is started again
makes all of it anew.

Exits with 0 if nothing of the installation is left, with 1 if something is, with 2 if it could not look.

Examples:
  zen-lead cleanup --instance zen-lead-system/zen-lead --dry-run
  zen-lead cleanup --instance zen-lead-system/zen-lead --stop zen-lead";

/// The command line of the `zen-lead` binary.
#[derive(Debug, Clone, Parser)]
#[command(name = "zen-lead", version, about = "Routes a Service to exactly one Ready pod, and fails over in milliseconds", after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the controller
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Replay event logs: check every decision, and tell what happened and why
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Remove everything that an installation of the controller made
    #[command(after_help = CLEANUP_HELP)]
    Cleanup(CleanupArgs),
    /// What people ask for, as `kubectl zen-lead` or by itself.
    #[command(flatten)]
    Operate(Operate),
}

/// The whole command line, for whoever describes it.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the process's command line; prints usage and exits with 2 if it is wrong.
#[must_use]
pub fn parse() -> Cli {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line, the program's name first, with what the Go program accepted on top.
pub fn parse_from(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let (command, arguments, ignored) = if plugin::is_meant(&arguments) {
        (plugin::command(Cli::command()), plugin::with_help(arguments), Vec::new())
    } else {
        let (arguments, ignored) = go::without_ignored_flags(go::with_double_dashes(arguments));
        (Cli::command(), go::with_subcommand(arguments), ignored)
    };
    let matches = without_empty_variables(command).try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Command::Run(run) = &mut cli.command {
        run.ignored = ignored;
        run.forget_empty();
        if run.node_lease_timeout.is_some() && !run.watch_nodes {
            let words = "--node-lease-timeout does nothing without --watch-nodes: add it, or leave both out";
            return Err(Cli::command().error(ErrorKind::MissingRequiredArgument, words));
        }
    }
    Ok(cli)
}

/// Unset values of a manifest often arrive as empty variables; they mean "not given".
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let without = |argument: clap::Arg| match argument.get_env() {
        Some(name) if empty(name) => argument.env(None::<&'static str>),
        _ => argument,
    };
    command.mut_subcommand("run", |run| run.mut_args(without))
}

#[cfg(test)]
mod tests;
