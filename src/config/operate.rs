//! The commands with which people ask the cluster what happened, and take the wheel.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::values::{budget, namespace_name};
use crate::client::ClientOptions;

const STATUS_HELP: &str = "\
Examples:
  zen-lead status
  zen-lead status orders --namespace shop
  zen-lead status --all-namespaces -o wide
  zen-lead status --watch

Of one Service, it tells the successor as `zen-lead why` does; with --watch nodes are not looked at.";

const WHY_HELP: &str = "\
Examples:
  zen-lead why orders
  zen-lead why orders --namespace shop -o json

It tells of members whose nodes are cordoned or lost if you may get nodes. A controller that runs with --watch-nodes chooses
them last; whether it does is looked up in the arguments of its pods if you may list these, so that ranks are as it has
them.";

const SWITCHOVER_HELP: &str = "\
Without --wait it exits with 0 once the request is placed.

Examples:
  zen-lead switchover orders --wait
  zen-lead switchover orders --to orders-2 --wait --timeout 30s
  zen-lead switchover orders --dry-run";

const PAUSE_HELP: &str = "\
Examples:
  zen-lead pause orders --for 2h
  zen-lead pause --all --namespace shop
  zen-lead resume --all --namespace shop";

const HISTORY_HELP: &str = "\
Notices are kept for an hour unless the API server is told otherwise. The flight recorder of a replica has the newest 256
steps of every Service, with exact times: it is asked as well, as `zen-lead log` does, if that is possible.

Examples:
  zen-lead history orders
  zen-lead history orders -o json";

const LOG_HELP: &str = "\
It forwards a port to the controller's pods, that which wrote the present term first, for which you need the rights to list
pods and to get and create pods/portforward in the controller's namespace.

Examples:
  zen-lead log orders > incident.jsonl
  zen-lead replay incident.jsonl

By a port that is forwarded already:
  kubectl port-forward --namespace zen-lead-system deployment/zen-lead 6060 &
  zen-lead log orders --debug-address http://localhost:6060";

const DOCTOR_HELP: &str = "\
Exits with 0 if nothing was found, with 1 if something was or could not be looked at, with 2 if the usage is wrong.

It looks at Services that opt in, their pods, PodDisruptionBudgets, minReadySeconds of the one Deployment or StatefulSet that
owns the pods, and kube-proxy's configuration where kubeadm puts it (ConfigMap kube-system/kube-proxy); what may not be read
is said and left out. It does not look at replicas that are wanted, at nodes and their zones (pods' own labels tell those), at
the controller's flags (--failover-budget=5s is assumed), or at which clients use the source Service's name.
Worst cases are those of an API server that answers, with kubelets' and Kubernetes' defaults. kube-proxy takes up to its
minSyncPeriod more for a source without an address if another Service's endpoints changed just before.

With --migrate it reads what the Go zen-lead has left and tells, for each Service that opts in and for the cluster, what this
controller will do with it; nothing is changed. Exits with 1 then if something will change, or stay, that a person should look
at, with 0 if there is nothing to do. It looks into the Go program's Deployment and Lease if it may (list deployments, get
leases). In JSON and YAML, `look` marks what a person should look at. deploy/README.md has the other steps.

Examples:
  zen-lead doctor orders
  zen-lead doctor --all-namespaces
  zen-lead doctor -A -o name
  zen-lead doctor --migrate -A";

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(zen-lead completions bash)
  zen-lead completions zsh > \"${fpath[1]}/_zen-lead\"
  zen-lead completions fish > ~/.config/fish/completions/zen-lead.fish";

/// What people can ask for, with their own rights and no access to the controller.
#[derive(Debug, Clone, Subcommand)]
pub enum Operate {
    /// Show who leads, and how every Service that opts in is doing
    #[command(after_help = STATUS_HELP)]
    Status(StatusArgs),
    /// Explain who leads a Service, who could, who cannot, and who would be next
    #[command(after_help = WHY_HELP)]
    Why(WhyArgs),
    /// Hand over to another pod, which serves before the present leader ceases to
    #[command(after_help = SWITCHOVER_HELP)]
    Switchover(SwitchoverArgs),
    /// Make no choices for a Service: no failover, no failback and no switchover
    #[command(after_help = PAUSE_HELP)]
    Pause(PauseArgs),
    /// Make choices again
    Resume(WhichArgs),
    /// Show the last changes of leadership, with cause and duration
    #[command(after_help = HISTORY_HELP)]
    History(HistoryArgs),
    /// Fetch what the controller's flight recorder has of a Service, as a log for `zen-lead replay`
    #[command(after_help = LOG_HELP)]
    Log(LogArgs),
    /// Find what makes failover slow or wrong, with evidence and remedy, and tell how long one takes at worst
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Print a script that completes this program's commands and flags in your shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual's pages, one a command
    Man {
        /// The directory to write them to
        directory: PathBuf,
    },
}

/// Which cluster, and where in it.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Kubeconfig to use. Else $KUBECONFIG, else the service account of the pod, else ~/.kube/config
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,

    /// Namespace, instead of the context's own
    #[arg(long, short = 'n', value_name = "NAME", value_parser = namespace_name, help_heading = "Cluster")]
    pub namespace: Option<String>,

    /// All namespaces; with a name: whichever one has a Service of that name
    #[arg(long, short = 'A', conflicts_with = "namespace", help_heading = "Cluster")]
    pub all_namespaces: bool,
}

impl ClusterArgs {
    /// Where the API server is.
    #[must_use]
    pub fn client(&self) -> ClientOptions {
        ClientOptions { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names only, as `service/NAME`.
    Name,
}

/// What `status` shows.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME. None: all of them
    pub name: Option<String>,

    /// Stay, and show every change
    #[arg(long, short)]
    pub watch: bool,

    /// How to show it, instead of as a table
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Format>,

    /// Whose flag --watch-nodes is looked at.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `why` explains.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME
    pub name: String,

    /// How to show it, instead of as a table
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Format>,

    /// Whose flag --watch-nodes is looked at.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `switchover` does.
#[derive(Debug, Clone, Args)]
pub struct SwitchoverArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME
    pub name: String,

    /// The pod that shall lead. None: the one that would follow anyway
    #[arg(long, value_name = "POD")]
    pub to: Option<String>,

    /// Wait until it has come about; exit with 1 if it has not
    #[arg(long)]
    pub wait: bool,

    /// For how long the request holds
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = budget)]
    pub timeout: Duration,

    /// Tell what would be asked for, and ask for nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Whose flag --watch-nodes is looked at.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which Services are meant.
#[derive(Debug, Clone, Args)]
pub struct WhichArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME
    #[arg(required_unless_present = "all")]
    pub name: Option<String>,

    /// All Services that opt in, in the namespace or, with -A, everywhere
    #[arg(long, conflicts_with = "name")]
    pub all: bool,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `pause` does.
#[derive(Debug, Clone, Args)]
pub struct PauseArgs {
    /// Which Services.
    #[command(flatten)]
    pub which: WhichArgs,

    /// Resume by itself after so long. None: not before somebody resumes
    #[arg(long = "for", value_name = "DURATION", value_parser = budget)]
    pub span: Option<Duration>,
}

/// Where the controller is.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// Where the controller runs
    #[arg(
        long,
        value_name = "NAME",
        default_value = "zen-lead-system",
        value_parser = namespace_name,
        help_heading = "Controller"
    )]
    pub controller_namespace: String,
}

/// Where the controller's flight recorder is.
#[derive(Debug, Clone, Args)]
pub struct RecorderArgs {
    /// Ask at this address, such as that of a port that is forwarded already, instead of forwarding one
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["controller_namespace", "debug_port"],
        help_heading = "Flight recorder"
    )]
    pub debug_address: Option<String>,

    /// In which pods it is.
    #[command(flatten)]
    pub controller: ControllerArgs,

    /// The port of the controller's --debug-bind-address
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 6060,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = "Flight recorder"
    )]
    pub debug_port: u16,
}

/// What `history` shows.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME
    pub name: String,

    /// How to show it, instead of as a table
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Format>,

    /// Where its flight recorder is.
    #[command(flatten)]
    pub recorder: RecorderArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `log` fetches.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME
    pub name: String,

    /// Where it is.
    #[command(flatten)]
    pub recorder: RecorderArgs,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What `doctor` examines.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The Service that opts in, as NAME or NAMESPACE/NAME. None: all of them
    pub name: Option<String>,

    /// Tell what changes when this controller takes over from the Go zen-lead, instead
    #[arg(long)]
    pub migrate: bool,

    /// With --migrate: where the Go zen-lead runs [default: zen-system]
    #[arg(long, value_name = "NAME", requires = "migrate", value_parser = namespace_name)]
    pub go_namespace: Option<String>,

    /// How to show it, instead of as text; `name`: those with findings only
    #[arg(long, short, value_name = "FORMAT")]
    pub output: Option<Format>,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
