//! The command line and its environment variables.
//!
//! `zen-lead run` is the controller. The Go program that this one replaces had no subcommands and
//! flags that only tuned it; its manifests keep working: flags without a subcommand mean `run`, a
//! single dash is understood for every known flag, and the tuning flags are accepted, do nothing,
//! and are named in one warning ([`RunArgs::ignored_warning`]).

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::BoolishValueParser,
};
use tracing_subscriber::filter::{LevelFilter, Targets};

use machine::Micros;

use crate::annotations;
use crate::replay::{Override, Task};

/// Where Kubernetes puts the namespace of the pod's service account.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Flags of the Go program, of all its versions and of the manifests that were shipped with it, that
/// have no counterpart: its caches, client-side rate limit, retries, logger, and the CRD it once had.
/// The second field says whether it is a Go boolean, which never takes the next argument as its value.
const IGNORED_FLAGS: &[(&str, bool)] = &[
    ("qps", false),
    ("burst", false),
    ("max-concurrent-reconciles", false),
    ("enable-parallel-api-calls", true),
    ("enable-leader-pod-cache", true),
    ("leader-pod-cache-ttl-seconds", false),
    ("max-cache-size-per-namespace", false),
    ("cache-update-timeout", false),
    ("cache-update-timeout-seconds", false),
    ("metrics-collection-timeout", false),
    ("metrics-collection-timeout-seconds", false),
    ("retry-max-attempts", false),
    ("retry-initial-delay", false),
    ("retry-initial-delay-ms", false),
    ("retry-max-delay", false),
    ("retry-max-delay-ms", false),
    ("fast-retry-max-attempts", false),
    ("fast-retry-initial-delay-ms", false),
    ("fast-retry-max-delay-ms", false),
    ("leader-election-namespace", false),
    ("enable-leader-groups", true),
    ("zap-devel", true),
    ("zap-encoder", false),
    ("zap-log-level", false),
    ("zap-stacktrace-level", false),
    ("zap-time-encoding", false),
];

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
}

/// What is to be replayed.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Event logs: files of --record, or what /debug/elections/NAMESPACE/SERVICE/log answers
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Also tell what another policy would have changed; may be repeated. KEY: failback, sticky, min-ready-duration,
    /// failover-min-delay, strategy, prefer-new-revision, with values as in annotations
    #[arg(long = "policy", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,

    /// Also write a page with the phases of each Service and its failovers
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Tell only what is wrong, and the sums
    #[arg(long, short)]
    pub quiet: bool,

    /// What a failover may take, on the page
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = budget)]
    pub failover_budget: Duration,
}

impl ReplayArgs {
    /// As a task.
    #[must_use]
    pub fn task(self) -> Task {
        let Self { files, overrides, html, quiet, failover_budget } = self;
        let budget = Micros(u64::try_from(failover_budget.as_micros()).unwrap_or(u64::MAX));
        Task { files, overrides, html, quiet, budget }
    }
}

/// Settings of the controller.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "a command line has switches")]
pub struct RunArgs {
    /// Watch only this namespace; repeat it, or separate by commas. None: all namespaces
    #[arg(long = "namespace", short = 'n', env = "ZEN_LEAD_NAMESPACE", value_name = "NAME", value_delimiter = ',', value_parser = namespace_name)]
    pub namespaces: Vec<String>,

    /// Kubeconfig to use. Else $KUBECONFIG, else the service account of the pod, else ~/.kube/config
    #[arg(long, env = "ZEN_LEAD_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, instead of its current one
    #[arg(long, env = "ZEN_LEAD_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Decide and report, but write nothing to the cluster
    #[arg(long, env = "ZEN_LEAD_DRY_RUN", value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub dry_run: bool,

    /// Exit if the API server cannot be reached at start, instead of trying until it can
    #[arg(long, env = "ZEN_LEAD_EXIT_ON_START_ERROR", value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub exit_on_start_error: bool,

    /// Where to serve metrics; `:PORT` means all addresses, `0` switches it off
    #[arg(long, env = "ZEN_LEAD_METRICS_BIND_ADDRESS", value_name = "ADDRESS", default_value = ":8080")]
    pub metrics_bind_address: BindAddress,

    /// Whose series the metrics have: `service`, each one's own; `aggregate`, one set for all Services of a namespace
    #[arg(
        long,
        env = "ZEN_LEAD_METRICS_DETAIL",
        value_name = "DETAIL",
        default_value = "service",
        hide_possible_values = true
    )]
    pub metrics_detail: MetricsDetail,

    /// Where to serve /healthz and /readyz; `:PORT` means all addresses, `0` switches it off
    #[arg(long, env = "ZEN_LEAD_HEALTH_PROBE_BIND_ADDRESS", value_name = "ADDRESS", default_value = ":8081")]
    pub health_probe_bind_address: BindAddress,

    /// Agree with other replicas who acts first, by a Lease in the installation's namespace. `false`: there are none
    #[arg(long, env = "ZEN_LEAD_LEADER_ELECT", value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub leader_elect: bool,

    /// Name of the Lease by which replicas agree who acts first
    #[arg(long, env = "ZEN_LEAD_LEADER_ELECTION_ID", value_name = "NAME", default_value = "zen-lead-controller-leader-election", value_parser = object_name)]
    pub leader_election_id: String,

    /// This installation, to tell its objects from those of another one [default: the pod's namespace, else `default`, and `zen-lead`]
    #[arg(long, env = "ZEN_LEAD_INSTANCE", value_name = "NAMESPACE/NAME")]
    pub instance: Option<Instance>,

    /// Name of this replica, recorded with every term of leadership that it writes [default: `POD_NAME`, else host name and process id]
    #[arg(long, env = "ZEN_LEAD_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Most writes that may be under way at once
    // 32 to 64 measured best with 500 leaders lost at once: 8 added 410 ms of queueing per Service,
    // 128 gained nothing.
    #[arg(long, env = "ZEN_LEAD_MAX_WRITES_IN_FLIGHT", value_name = "N", default_value = "48", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub max_writes_in_flight: u16,

    /// What a failover may take, from the first fact to the acknowledgement, before people are told; a Service's own
    /// annotation zen-lead.io/failover-budget wins
    #[arg(long, env = "ZEN_LEAD_FAILOVER_BUDGET", value_name = "DURATION", default_value = "5s", value_parser = budget)]
    pub failover_budget: Duration,

    /// Memory for the newest records of every election, in bytes, of all together; 256 of each at most
    #[arg(long, env = "ZEN_LEAD_FLIGHT_RECORDER", value_name = "BYTES", default_value = "4194304")]
    pub flight_recorder: usize,

    /// Also write every record to files in this directory, which no other replica may use; `zen-lead replay` reads them
    #[arg(long, env = "ZEN_LEAD_RECORD", value_name = "DIRECTORY")]
    pub record: Option<PathBuf>,

    /// A file of --record that has so many bytes is followed by another one
    #[arg(long, env = "ZEN_LEAD_RECORD_FILE_BYTES", value_name = "BYTES", default_value = "67108864", value_parser = clap::value_parser!(u64).range(1..))]
    pub record_file_bytes: u64,

    /// How many files --record keeps, those of earlier runs included
    #[arg(long, env = "ZEN_LEAD_RECORD_FILES", value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    pub record_files: u16,

    /// Where to serve /debug/elections/NAMESPACE/SERVICE/log; `0` switches it off
    #[arg(
        long,
        env = "ZEN_LEAD_DEBUG_BIND_ADDRESS",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:6060"
    )]
    pub debug_bind_address: BindAddress,

    /// Tell the API server which trace its requests belong to (header traceparent), for one that traces itself
    #[arg(long, env = "ZEN_LEAD_PROPAGATE_TO_APISERVER", value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub propagate_to_apiserver: bool,

    /// How log lines look
    #[arg(long, env = "ZEN_LEAD_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or directives like `info,kube=debug` [default: `RUST_LOG`, else info]
    #[arg(long, env = "ZEN_LEAD_LOG", value_name = "FILTER", value_parser = log_filter)]
    pub log_level: Option<String>,

    /// Flags of the Go program that were given and do nothing here. Warn about them once.
    #[arg(skip)]
    pub ignored: Vec<String>,
}

impl RunArgs {
    /// What is logged: `--log-level`, else `ZEN_LEAD_LOG`, else `RUST_LOG`, else `info`. A `RUST_LOG` that does not
    /// parse counts as none: it is no flag of ours. (No `EnvFilter`, which can look into spans and fields: nobody asks
    /// a controller for that, and its regular expressions are a twentieth of the binary.)
    #[must_use]
    pub fn log_filter(&self) -> Targets {
        let parsed = |text: &String| text.parse().ok();
        let inherited = || std::env::var("RUST_LOG").ok().as_ref().and_then(parsed);
        let info = || Targets::new().with_default(LevelFilter::INFO);
        self.log_level.as_ref().and_then(parsed).or_else(inherited).unwrap_or_else(info)
    }

    /// This installation; see [`Instance::of_this_pod`] for the default.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance.clone().unwrap_or_else(Instance::of_this_pod)
    }

    /// This replica: `--identity`, else `POD_NAME`, else host name and process id.
    #[must_use]
    pub fn identity(&self) -> String {
        self.identity.clone().or_else(|| variable("POD_NAME")).unwrap_or_else(|| {
            let host = variable("HOSTNAME").or_else(|| first_line("/proc/sys/kernel/hostname"));
            format!("{}-{}", host.as_deref().unwrap_or("zen-lead"), std::process::id())
        })
    }

    /// The one warning about flags that do nothing, if any was given.
    #[must_use]
    pub fn ignored_warning(&self) -> Option<String> {
        if self.ignored.is_empty() {
            return None;
        }
        let flags: Vec<_> = self.ignored.iter().map(|name| format!("--{name}")).collect();
        Some(format!(
            "{}: flags of the Go implementation that do nothing here; remove them from the command line",
            flags.join(", ")
        ))
    }

    /// `--context=` in a manifest comes from a value left empty: it means "not given".
    fn forget_empty(&mut self) {
        self.namespaces.retain(|name| !name.is_empty());
        self.namespaces.sort();
        self.namespaces.dedup();
        self.kubeconfig.take_if(|path| path.as_os_str().is_empty());
        self.context.take_if(|name| name.is_empty());
        self.identity.take_if(|name| name.is_empty());
        self.record.take_if(|path| path.as_os_str().is_empty());
        self.log_level.take_if(|filter| filter.is_empty());
    }
}

/// Reads the process's command line; prints usage and exits with 2 if it is wrong.
#[must_use]
pub fn parse() -> Cli {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line, the program's name first, with what the Go program accepted on top.
pub fn parse_from(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Cli, clap::Error> {
    let arguments = arguments.into_iter().map(Into::into).collect();
    let (arguments, ignored) = without_ignored_flags(with_double_dashes(arguments));
    let matches = without_empty_variables(Cli::command()).try_get_matches_from(with_subcommand(arguments))?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Command::Run(run) = &mut cli.command {
        run.ignored = ignored;
        run.forget_empty();
    }
    Ok(cli)
}

/// An installation of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Namespace that the controller runs in.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Instance {
    /// `zen-lead` in the namespace that this process's pod runs in: `POD_NAMESPACE`, else the file
    /// of the service account, else `default`.
    #[must_use]
    pub fn of_this_pod() -> Self {
        let namespace = variable("POD_NAMESPACE").or_else(|| first_line(NAMESPACE_FILE));
        Self { namespace: namespace.unwrap_or_else(|| "default".into()), name: "zen-lead".into() }
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::of_this_pod());
        }
        let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
        if namespace.is_empty() {
            return Err("the namespace is missing".into());
        }
        Ok(Self { namespace: namespace_name(namespace)?, name: object_name(name)? })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// `0`: nowhere.
    Disabled,
    /// `:PORT`: every address of the host, of both families where it has them.
    AllAddresses(u16),
    /// `HOST:PORT`.
    Host(String, u16),
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self::Disabled);
        }
        let (host, port) = text.rsplit_once(':').ok_or("expected :PORT, HOST:PORT, or 0 for none")?;
        let port = port.parse().map_err(|_| format!("`{port}` is no port: expected 0 to 65535"))?;
        match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Ok(Self::AllAddresses(port)),
            host => Ok(Self::Host(host.into(), port)),
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("0"),
            Self::AllAddresses(port) => write!(f, ":{port}"),
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Whose series the metrics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricsDetail {
    /// Those of each Service: about 40, at most 60.
    Service,
    /// Those of each namespace, for thousands of Services.
    Aggregate,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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

/// `-qps=5` becomes `--qps=5`: Go's flag package takes one dash or two. Only for names we know, so
/// that a mistyped short flag still gets the usual answer.
fn with_double_dashes(arguments: Vec<OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let run = command.find_subcommand("run");
    let ours = run.into_iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
    let known: Vec<&str> = ours.chain(IGNORED_FLAGS.iter().map(|(name, _)| *name)).collect();
    let double = |argument: OsString| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if known.contains(&flag_name(rest)) => format!("--{rest}").into(),
        _ => argument,
    };
    arguments.into_iter().map(double).collect()
}

/// Takes the tuning flags of the Go program out, with their values, and names them.
fn without_ignored_flags(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut kept, mut ignored) = (Vec::with_capacity(arguments.len()), Vec::new());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let flag = text.strip_prefix("--").and_then(ignored_flag);
        let Some((name, boolean)) = flag else {
            kept.push(argument);
            continue;
        };
        let inline = text.contains('=');
        if !inline && !boolean {
            // `--qps 50`: the value is the next argument.
            arguments.next_if(|next| !next.to_string_lossy().starts_with('-'));
        }
        if !ignored.iter().any(|seen| seen == name) {
            ignored.push(name.to_owned());
        }
    }
    (kept, ignored)
}

fn ignored_flag(rest: &str) -> Option<(&'static str, bool)> {
    IGNORED_FLAGS.iter().copied().find(|(name, _)| *name == flag_name(rest))
}

/// `qps` of `qps=5`.
fn flag_name(rest: &str) -> &str {
    rest.split_once('=').map_or(rest, |(name, _)| name)
}

/// Puts `run` in front when there is no subcommand, as for the Go program.
fn with_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).map(|argument| argument.to_string_lossy().into_owned());
    let runs = match first.as_deref() {
        None => true,
        Some("-h" | "--help" | "-V" | "--version") => false,
        Some(argument) => argument.starts_with('-'),
    };
    if runs {
        let at = arguments.len().min(1);
        arguments.insert(at, "run".into());
    }
    arguments
}

/// A DNS label, as namespaces must be; empty means none (see `forget_empty`).
fn namespace_name(text: &str) -> Result<String, String> {
    if text.len() > 63 || text.contains('.') {
        return Err("a namespace has at most 63 characters and no dots".into());
    }
    if text.is_empty() { Ok(String::new()) } else { object_name(text) }
}

/// A DNS subdomain, as names of most objects must be.
fn object_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let whole = text.chars().all(|c| inner(c) || c == '-' || c == '.');
    let ends = text.starts_with(inner) && text.ends_with(inner);
    if whole && ends && text.len() <= 253 {
        Ok(text.into())
    } else {
        Err("expected lower-case letters, digits, `-` and `.`, with a letter or digit at both ends".into())
    }
}

/// A duration as annotations have it.
fn budget(text: &str) -> Result<Duration, &'static str> {
    annotations::budget(text).map(|budget| Duration::from_micros(budget.0))
}

/// Checks a filter here, where the answer is usage and exit 2, not later.
fn log_filter(text: &str) -> Result<String, String> {
    text.parse::<Targets>().map_err(|error| error.to_string())?;
    Ok(text.into())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &str) -> RunArgs {
        let Command::Run(run) = parse(arguments).unwrap().command else { panic!("{arguments} is not run") };
        *run
    }

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        parse_from(std::iter::once("zen-lead").chain(arguments.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_run() {
        for arguments in ["", "run", "--metrics-bind-address=:8080", "run --metrics-bind-address :8080"] {
            assert_eq!(run(arguments).metrics_bind_address, BindAddress::AllAddresses(8080), "{arguments}");
        }
        assert_eq!(run("--health-probe-bind-address=0").health_probe_bind_address, BindAddress::Disabled);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let run = run("run");
        assert_eq!(run.health_probe_bind_address, BindAddress::AllAddresses(8081));
        assert_eq!(run.leader_election_id, "zen-lead-controller-leader-election");
        assert_eq!(run.max_writes_in_flight, 48);
        assert_eq!(run.log_format, LogFormat::Text);
        assert_eq!(run.metrics_detail, MetricsDetail::Service);
        assert_eq!(run.namespaces, Vec::<String>::new());
        assert_eq!(run.ignored_warning(), None);
        assert_eq!(run.failover_budget, Duration::from_secs(5));
        assert_eq!((run.flight_recorder, run.record_file_bytes, run.record_files), (4 << 20, 64 << 20, 8));
        assert_eq!(run.debug_bind_address, BindAddress::Host("127.0.0.1".into(), 6060));
        assert_eq!(run.record, None);
        assert!(!run.dry_run && !run.exit_on_start_error && !run.propagate_to_apiserver);
    }

    #[test]
    fn a_single_dash_is_understood_for_known_flags_only() {
        let run = run("-metrics-bind-address=127.0.0.1:9090 -dry-run -qps=5");
        assert_eq!(run.metrics_bind_address, BindAddress::Host("127.0.0.1".into(), 9090));
        assert!(run.dry_run);
        assert_eq!(run.ignored, ["qps"]);
        assert_eq!(parse("-unknown=1").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn tuning_flags_are_dropped_with_their_values_and_named_once() {
        let run = run(
            "--qps 50 --burst=100 --zap-devel --enable-leader-pod-cache=true --qps=60 --retry-max-delay 5s --namespace shop",
        );
        assert_eq!(run.ignored, ["qps", "burst", "zap-devel", "enable-leader-pod-cache", "retry-max-delay"]);
        assert_eq!(run.namespaces, ["shop"]);
        let warning = run.ignored_warning().unwrap();
        assert!(warning.contains("--qps, --burst, --zap-devel"), "{warning}");
    }

    #[test]
    fn a_boolean_tuning_flag_does_not_eat_the_next_flag_or_word() {
        assert_eq!(run("--zap-devel --namespace shop").namespaces, ["shop"]);
        assert_eq!(parse("--zap-devel shop").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn every_such_flag_of_the_go_program_is_accepted() {
        for (name, _) in IGNORED_FLAGS {
            assert_eq!(run(&format!("--{name}=1")).ignored, [*name]);
            assert_eq!(run(&format!("-{name}")).ignored, [*name]);
        }
    }

    #[test]
    fn metrics_are_of_services_or_of_namespaces() {
        assert_eq!(run("--metrics-detail=aggregate").metrics_detail, MetricsDetail::Aggregate);
        assert_eq!(run("-metrics-detail service").metrics_detail, MetricsDetail::Service);
    }

    #[test]
    fn replay_has_files_and_another_policy() {
        let Command::Replay(replay) =
            parse("replay --policy sticky=false --policy zen-lead.io/strategy=newest a b").unwrap().command
        else {
            panic!("not replay")
        };
        let overrides: Vec<_> = replay.overrides.iter().map(ToString::to_string).collect();
        assert_eq!(overrides, ["sticky=false", "strategy=newest"]);
        assert_eq!(replay.files, [PathBuf::from("a"), PathBuf::from("b")]);
        for (arguments, expected) in [
            ("replay", "<FILE>"),
            ("replay --policy budget=2s a", "failover-min-delay"),
            ("replay --policy failback=soon a", "30s or 1m30s"),
            ("replay --policy failback= a", "needs a value"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
            assert!(error.to_string().contains(expected), "{arguments}: {error}");
        }
    }

    #[test]
    fn namespaces_are_repeated_or_separated_by_commas() {
        assert_eq!(run("--namespace b,a --namespace c -n a").namespaces, ["a", "b", "c"]);
        assert_eq!(run("--namespace=").namespaces, Vec::<String>::new());
        assert_eq!(parse("--namespace Shop").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn booleans_take_a_value_the_go_way() {
        assert!(run("--dry-run").dry_run);
        assert!(run("--dry-run=true").dry_run);
        assert!(!run("--dry-run=false").dry_run);
        assert!(run("-leader-elect").leader_elect && !run("--leader-elect=false").leader_elect);
    }

    #[test]
    fn wrong_values_exit_with_2_and_say_what_was_expected() {
        for (arguments, expected) in [
            ("--metrics-bind-address=8080", "expected :PORT"),
            ("--metrics-bind-address=:99999", "no port"),
            ("--max-writes-in-flight=0", "1..=512"),
            ("--metrics-detail=pod", "service, aggregate"),
            ("--instance=zen-lead", "NAMESPACE/NAME"),
            ("--failover-budget=soon", "not a duration"),
            ("--failover-budget=0s", "no time at all"),
            ("--log-level=info,=x=y", "--log-level"),
            ("--leader-election-id=Lead", "lower-case"),
            ("frobnicate", "unrecognized subcommand"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
            assert!(error.to_string().contains(expected), "{arguments}: {error}");
        }
    }

    #[test]
    fn help_and_version_exit_with_0() {
        for arguments in ["--help", "run --help", "--version", "-V"] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 0, "{arguments}");
        }
        let help = parse("run --help").unwrap_err().to_string();
        assert!(help.contains("Examples:") && !help.contains("qps"), "{help}");
    }

    #[test]
    fn instance_and_bind_address_show_as_they_are_written() {
        for text in ["0", ":8080", "127.0.0.1:1", "[::1]:8081", "localhost:80"] {
            assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
        }
        assert_eq!(run("--instance ops/lead").instance().to_string(), "ops/lead");
    }

    #[test]
    fn identity_is_never_empty() {
        assert_eq!(run("--identity a-1").identity(), "a-1");
        assert!(!run("").identity().is_empty());
    }

    #[test]
    fn log_filter_prefers_the_flag() {
        let filter = run("--log-level info,kube=debug").log_filter();
        assert_eq!(filter, "info,kube=debug".parse().unwrap());
        assert!(filter.would_enable("kube::client", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("zen_lead", &tracing::Level::DEBUG));
    }

    /// Variables of the process can be set for a child only.
    fn run_with(variables: &[(&str, &str)]) -> String {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "config::tests::child", "--nocapture"]);
        let output = child.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The child of the tests below; by itself it only shows that nothing panics.
    #[test]
    fn child() {
        match parse("run --context flag") {
            Ok(Cli { command: Command::Run(run) }) => {
                println!(
                    "{run:?} filter={} identity={} instance={}",
                    run.log_filter(),
                    run.identity(),
                    run.instance()
                );
            }
            Ok(cli) => println!("{cli:?}"),
            Err(error) => println!("{error}"),
        }
    }

    #[test]
    fn variables_stand_in_for_flags_and_flags_win() {
        let seen = run_with(&[
            ("ZEN_LEAD_NAMESPACE", "shop,ops"),
            ("ZEN_LEAD_CONTEXT", "variable"),
            ("ZEN_LEAD_DRY_RUN", "true"),
            ("ZEN_LEAD_METRICS_BIND_ADDRESS", "0"),
            ("ZEN_LEAD_METRICS_DETAIL", "aggregate"),
            ("ZEN_LEAD_LOG", "debug"),
            ("RUST_LOG", "trace"),
            ("POD_NAME", "zen-lead-0"),
            ("POD_NAMESPACE", "system"),
        ]);
        for expected in [
            r#"namespaces: ["ops", "shop"]"#,
            r#"context: Some("flag")"#,
            "dry_run: true",
            "metrics_bind_address: Disabled",
            "metrics_detail: Aggregate",
            "filter=debug identity=zen-lead-0 instance=system/zen-lead",
        ] {
            assert!(seen.contains(expected), "{expected} in {seen}");
        }
    }

    #[test]
    fn empty_variables_mean_not_given() {
        let seen = run_with(&[
            ("ZEN_LEAD_NAMESPACE", ""),
            ("ZEN_LEAD_DRY_RUN", ""),
            ("ZEN_LEAD_METRICS_BIND_ADDRESS", ""),
            ("ZEN_LEAD_METRICS_DETAIL", ""),
            ("ZEN_LEAD_INSTANCE", ""),
            ("ZEN_LEAD_LOG", ""),
            ("RUST_LOG", "warn"),
            ("POD_NAMESPACE", ""),
        ]);
        for expected in [
            "namespaces: []",
            "dry_run: false",
            "metrics_bind_address: AllAddresses(8080)",
            "metrics_detail: Service",
            "filter=warn",
            "/zen-lead",
        ] {
            assert!(seen.contains(expected), "{expected} in {seen}");
        }
    }

    #[test]
    fn a_wrong_variable_is_refused_by_name() {
        let seen = run_with(&[("ZEN_LEAD_MAX_WRITES_IN_FLIGHT", "many")]);
        assert!(seen.contains("invalid value 'many'") && seen.contains("--max-writes-in-flight"), "{seen}");
    }
}
