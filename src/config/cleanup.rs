//! `zen-lead cleanup`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Instance, duration, namespace_name, object_name};
use crate::cleanup::Task;
use crate::client::ClientOptions;

/// What is to be removed.
#[derive(Debug, Clone, Args)]
pub struct CleanupArgs {
    /// Look only into this namespace; repeat it, or separate by commas. None: all namespaces
    #[arg(long = "namespace", short = 'n', value_name = "NAME", value_delimiter = ',', value_parser = namespace_name)]
    pub namespaces: Vec<String>,

    /// Kubeconfig to use. Else $KUBECONFIG, else the service account of the pod, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// The installation whose objects are removed [default: the pod's namespace, else `default`, and `zen-lead`]
    #[arg(long, env = "ZEN_LEAD_INSTANCE", value_name = "NAMESPACE/NAME")]
    pub instance: Option<Instance>,

    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// First scale this Deployment in the installation's namespace to zero, and wait until its pods are gone
    #[arg(long, value_name = "DEPLOYMENT", value_parser = object_name)]
    pub stop: Option<String>,

    /// How long to wait for those pods
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration, requires = "stop")]
    pub stop_timeout: Duration,
}

impl CleanupArgs {
    /// As a task.
    #[must_use]
    pub fn task(self) -> Task {
        let Self { mut namespaces, kubeconfig, context, instance, dry_run, stop, stop_timeout } = self;
        namespaces.retain(|name| !name.is_empty());
        let instance = instance.unwrap_or_else(Instance::of_this_pod);
        let client = ClientOptions { kubeconfig, context };
        Task { client, instance, namespaces, dry_run, stop, stop_timeout }
    }
}
