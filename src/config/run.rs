//! `zen-lead run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::log::{LogFormat, log_filter};
use super::values::{
    BindAddress, Instance, MetricsDetail, budget, first_line, namespace_name, node_lease_timeout,
    object_name, variable,
};

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

    /// Watch Nodes and their Leases, too, and follow leaders on nodes that are lost; needs the rights of deploy/nodes
    #[arg(long, env = "ZEN_LEAD_WATCH_NODES", value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub watch_nodes: bool,

    /// With --watch-nodes: how long a node's Lease may go without a change before the node is lost. Default and least:
    /// 2.5 times what kubelets take to renew it, which is a quarter of its duration; 25 s if they are not configured
    #[arg(long, env = "ZEN_LEAD_NODE_LEASE_TIMEOUT", value_name = "DURATION", value_parser = node_lease_timeout)]
    pub node_lease_timeout: Option<Duration>,

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

    /// Where to serve /leader/NAMESPACE/SERVICE, which tells applications who leads and in which term; `0` is nowhere
    #[arg(long, env = "ZEN_LEAD_LEADER_BIND_ADDRESS", value_name = "ADDRESS", default_value = "0")]
    pub leader_bind_address: BindAddress,

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
    pub(super) fn forget_empty(&mut self) {
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
