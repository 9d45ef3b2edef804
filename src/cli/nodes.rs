//! The nodes on which a Service's pods run, as far as the caller may read them, and whether the controller goes by them.
//!
//! That it does is told by the command line of its pods (`--watch-nodes`). Whoever may not read those is told what would
//! follow if it did. What a controller finds out from Leases alone is not known here: a node that has been silent for less
//! than Kubernetes' 40 s looks sound.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Api, ListParams};
use machine::Site;
use serde::Serialize;

use super::Error;
use super::cluster::{Cluster, answered, request};
use super::recorder;
use crate::config::{self, Command};
use crate::kinds::NodeLite;
use crate::rows::{Ground, Grounds, PodRow};

/// Nodes asked for at a time: a Service has few members, and a cluster may have thousands of nodes, so that none are listed.
const AT_ONCE: usize = 16;

/// What is known of nodes; by default nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    grounds: Grounds,
    /// Whether the controller goes by them; none: that is not known.
    pub(super) are_watched: Option<bool>,
}

/// What is wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Trouble {
    OutOfService,
    Cordoned,
    /// Unreachable or not ready, by its taints.
    Troubled,
}

impl Nodes {
    /// Reads these nodes; and what must be said if the caller may not.
    pub(super) async fn read(
        cluster: &Cluster,
        names: BTreeSet<Arc<str>>,
        controller: &str,
    ) -> Result<(Self, Option<Error>), Error> {
        let (found, are_watched) = futures::join!(nodes(cluster, names), are_watched(cluster, controller));
        let are_watched = are_watched?;
        match found {
            Ok(found) => Ok((Self::new(&found, are_watched), None)),
            // Nothing is missed if the controller does not read them either.
            Err(error) if error.is_forbidden() => {
                Ok((Self::new(&[], are_watched), Some(error).filter(|_| are_watched != Some(false))))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn new(found: &[NodeLite], are_watched: Option<bool>) -> Self {
        let mut grounds = Grounds::default();
        for node in found {
            let zone = node.zone().map(Into::into);
            let ground = Ground { is_lost: node.is_out_of_service(), zone, site: node.site() };
            grounds.put(&node.name().into(), ground);
        }
        Self { grounds, are_watched }
    }

    /// Where a pod runs, as far as the controller is known to go by it.
    pub(super) fn heeded(&self, row: &PodRow) -> Ground {
        if self.are_watched == Some(true) { self.grounds.of(row).clone() } else { Ground::default() }
    }

    /// The zone that a pod runs in.
    pub(super) fn zone<'a>(&'a self, row: &'a PodRow) -> Option<&'a str> {
        row.zone().or_else(|| self.grounds.of(row).zone.as_deref())
    }

    /// What is wrong with a pod's node.
    pub(super) fn trouble(&self, row: &PodRow) -> Option<Trouble> {
        let ground = self.grounds.of(row);
        match ground.site {
            _ if ground.is_lost => Some(Trouble::OutOfService),
            Site::Cordoned => Some(Trouble::Cordoned),
            Site::Troubled => Some(Trouble::Troubled),
            Site::Sound => None,
        }
    }

    /// What is wrong with a pod's node, and what follows from that.
    pub(super) fn words(&self, row: &PodRow) -> Option<String> {
        let (node, trouble) = row.node.as_deref().zip(self.trouble(row))?;
        let (what, follows) = match trouble {
            Trouble::OutOfService => ("out of service", "it cannot lead"),
            Trouble::Cordoned => ("cordoned", "it is chosen last"),
            Trouble::Troubled => ("unreachable or not ready", "it is chosen last"),
        };
        let follows = match self.are_watched {
            Some(true) => format!(": {follows}"),
            Some(false) => ", which does not count without --watch-nodes".to_owned(),
            None => format!(": with --watch-nodes {follows}"),
        };
        Some(format!("its node {node} is {what}{follows}"))
    }
}

/// Those of the nodes that are there.
async fn nodes(cluster: &Cluster, names: BTreeSet<Arc<str>>) -> Result<Vec<NodeLite>, Error> {
    let api = &Api::<NodeLite>::all(cluster.client.clone());
    let read = |name: Arc<str>| async move {
        answered(request::<NodeLite>("get", None, Some(&name)), api.get_opt(&name)).await
    };
    let found: Vec<_> = stream::iter(names).map(read).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether the controller in this namespace watches nodes; nothing if there is none to be seen.
async fn are_watched(cluster: &Cluster, namespace: &str) -> Result<Option<bool>, Error> {
    let pods = cluster.list::<Pod>(Some(namespace), ListParams::default().labels(recorder::PODS)).await;
    match pods {
        Ok(pods) => Ok(told(&pods.items)),
        Err(error) if error.is_forbidden() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the replicas are told, if all of them are told the same: during an update there are two kinds.
fn told(pods: &[Pod]) -> Option<bool> {
    let mut told = pods.iter().map(|pod| is_told(pod.spec.as_ref().map_or(&[], |spec| &*spec.containers)));
    let first = told.next()??;
    told.all(|other| other == Some(first)).then_some(first)
}

/// Whether the flag is given to a replica, by an argument or else by a variable, as the replica itself reads it.
fn is_told(containers: &[Container]) -> Option<bool> {
    const FLAG: &str = "--watch-nodes";
    const VARIABLE: &str = "ZEN_LEAD_WATCH_NODES";
    let arguments = containers.iter().flat_map(|container| container.command.iter().chain(&container.args));
    let is_flag = |argument: &&String| argument.split('=').next() == Some(FLAG);
    let argument = arguments.flatten().rfind(is_flag).cloned();
    let variables = containers.iter().flat_map(|container| &container.env).flatten();
    let variable = || variables.clone().find(|variable| variable.name == VARIABLE)?.value.clone();
    let flag = argument.or_else(|| Some(format!("{FLAG}={}", variable()?)));
    let flag = flag.unwrap_or_else(|| format!("{FLAG}=false"));
    match config::parse_from(["zen-lead", "run", &flag]).ok()?.command {
        Command::Run(run) => Some(run.watch_nodes),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
