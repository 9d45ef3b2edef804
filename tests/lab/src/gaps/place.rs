//! Where rounds are played: a cluster with the controller deployed as it is shipped, pods to lead and pods to ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::{task, time};

use super::hand::{self, Hand};
use super::install::{CONTROLLERS, REPLICAS, install};
use super::recorder::Recorder;
use crate::cluster::{
    Cluster, Manners, Network, Options, Proxy, WEB, deploy_web_with, node_is_ready, pod_is_ready, ready_pods,
};
use crate::lab::Namespace;
use crate::slices::until_object;
use crate::within;

/// A leader and two to follow, one on each node.
const PODS: usize = 3;

/// How long a pod that is told to end serves on: longer than kube-proxy, which programs at most once a second
/// (`minSyncPeriod`), may send it new connections, also on a machine that is busy with something else. Without, a planned
/// move fails connections whoever moves the slice.
const LINGER: Duration = Duration::from_secs(5);

/// How long a program takes to start. One that is killed and back at once would end the failures before anybody has moved
/// anything.
const START: Duration = Duration::from_secs(2);

/// Longer than kube-proxy's `minSyncPeriod`: after a quiet stretch of this length a change is programmed at once.
const QUIET: Duration = Duration::from_millis(1_300);

/// A node that was away returns within it, and what was moved meanwhile is there again.
const SETTLED_WITHIN: Duration = Duration::from_mins(4);

/// Who moves a leader Service's slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mover {
    /// The controller.
    Controller,
    /// A client that watches the pods and knows beforehand what to write: nothing can be faster.
    Hand,
}

impl Mover {
    /// The Service in front of its pods.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Controller => "web",
            Self::Hand => hand::SOURCE,
        }
    }

    /// The Service whose slice it moves.
    #[must_use]
    pub const fn leader_service(self) -> &'static str {
        match self {
            Self::Controller => "web-leader",
            Self::Hand => hand::LEADER_SERVICE,
        }
    }
}

/// What kind of place it is to be.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The mode of kube-proxy.
    pub proxy: Proxy,
    /// The archive of the controller's image, under the name in `deploy/base/deployment.yaml`.
    pub image: PathBuf,
    /// Whether the controller watches nodes, as with the component `deploy/nodes`.
    pub watch_nodes: bool,
    /// Whether the Services in front of the pods have no address of their own.
    pub headless: bool,
}

/// A cluster in which rounds can be played.
pub struct Place {
    pub(super) shop: Namespace,
    pub(super) system: Namespace,
    pub(super) hand: Hand,
    pub(super) recorder: Recorder,
    /// The network of a pod on each node, by the node's name.
    seats: BTreeMap<String, Arc<Network>>,
    // After what is in its networks.
    pub(super) cluster: Cluster,
}

/// How everything stands before a round.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Who moves the slice.
    pub mover: Mover,
    /// The pods, one on each node.
    pub pods: Vec<Pod>,
    /// The one that leads.
    pub leader: Pod,
    /// The leader Service's cluster address.
    pub address: IpAddr,
    /// The node on which the clients are; not the leader's.
    pub seat: String,
    /// The network of a pod there.
    pub network: Arc<Network>,
}

impl Stage {
    /// The UID of the leader.
    #[must_use]
    pub fn leader_uid(&self) -> String {
        self.leader.uid().unwrap_or_default()
    }

    /// The node of the leader.
    #[must_use]
    pub fn leader_node(&self) -> String {
        node_name(&self.leader)
    }
}

impl Place {
    /// Starts one.
    pub async fn start(setting: Setting) -> Result<Self> {
        let Setting { proxy, image, watch_nodes, headless } = setting;
        let cluster = Cluster::start(Options { proxy, images: vec![image], ..Options::default() }).await?;
        let admin = cluster.admin().await?;
        let system = install(admin, watch_nodes).await?;
        let shop = cluster.namespace("shop").await?;
        shop.apply(&seats()).await?;
        let manners = Manners { answer: "metadata.uid", start: START, linger: LINGER, headless };
        for mover in [Mover::Controller, Mover::Hand] {
            deploy_web_with(&shop, mover.source(), PODS, manners).await?;
        }
        let opt_in = json!({ "metadata": { "annotations": { "zen-lead.io/enabled": "true" } } });
        let source = Mover::Controller.source();
        shop.api::<Service>().patch(source, &PatchParams::default(), &Patch::Merge(opt_in)).await?;
        let hand = Hand::new(&shop).await?;
        let mut seats = BTreeMap::new();
        for pod in ready_pods(&shop, "app=seat", cluster.nodes().len()).await? {
            seats.insert(node_name(&pod), cluster.node_of(&pod)?.network_of(&pod)?);
        }
        let recorder = Recorder::begin(&shop);
        Ok(Self { shop, system, hand, recorder, seats, cluster })
    }

    /// The cluster under it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Ends it; nothing remains.
    pub async fn end(self) -> Result<()> {
        Ok(task::spawn_blocking(move || drop(self)).await?)
    }

    /// Returns when everything is as it should be, and nothing has changed for a while.
    pub async fn settle(&self, mover: Mover) -> Result<Stage> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut often = time::interval(Duration::from_millis(100));
        loop {
            often.tick().await;
            let unsettled = match time::timeout(within(5), self.settled(mover)).await {
                Ok(Ok(Ok(stage))) => return Ok(stage),
                Ok(Ok(Err(why))) => why,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "the API server does not answer".into(),
            };
            if Instant::now() > deadline {
                bail!("not as it should be after {} s: {unsettled}", SETTLED_WITHIN.as_secs());
            }
        }
    }

    /// The stage, or what is not as it should be.
    async fn settled(&self, mover: Mover) -> Result<Result<Stage, String>> {
        let nodes: Api<NodeObject> = Api::all(self.shop.client());
        let ready =
            nodes.list(&ListParams::default()).await?.iter().filter(|node| node_is_ready(node)).count();
        if ready < self.cluster.nodes().len() {
            return Ok(Err(format!("{ready} nodes are Ready")));
        }
        for (namespace, labels, count) in [
            (&self.system, CONTROLLERS, REPLICAS),
            (&self.shop, "app=web", PODS),
            (&self.shop, "app=bare", PODS),
        ] {
            let pods = pods(namespace, labels).await?;
            let fit = pods.iter().filter(|pod| is_fit(pod)).count();
            if fit < count || pods.len() > count {
                return Ok(Err(format!("of {} pods with {labels}, {fit} are Ready", pods.len())));
            }
        }
        let service = mover.leader_service();
        let pods = pods(&self.shop, &format!("app={}", mover.source())).await?;
        if mover == Mover::Hand {
            self.hand.point_to_one_of(&pods).await?;
        }
        let slice = self.shop.slices().of(service).await?;
        let uid = slice.first().and_then(|slice| slice.endpoints.first()?.target_ref.as_ref()?.uid.clone());
        let Some(leader) = pods.iter().find(|pod| pod.uid() == uid).cloned() else {
            return Ok(Err(format!("{service} leads to {uid:?}, which is no pod")));
        };
        let now = Instant::now();
        let quiet = self.recorder.so_far(|history| {
            let slices = history.slices.iter().map(|revision| revision.at).max();
            let pods = history.pods.iter().map(|fact| fact.at).max();
            slices.max(pods).is_some_and(|last| now.duration_since(last) > QUIET)
        });
        if !quiet {
            return Ok(Err("it is not quiet".into()));
        }
        let away = node_name(&leader);
        let seat = self.seats.iter().find(|(node, _)| **node != away).context("there is another node")?;
        let (seat, network) = (seat.0.clone(), seat.1.clone());
        let address = self.address_of(service).await?;
        Ok(Ok(Stage { mover, pods, leader, address, seat, network }))
    }

    async fn address_of(&self, service: &str) -> Result<IpAddr> {
        let has_address =
            |service: &Service| service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.is_some());
        let service = until_object(&self.shop.api(), service, within(30), has_address).await?;
        Ok(service.spec.and_then(|spec| spec.cluster_ip).context("a cluster address")?.parse()?)
    }

    /// The controller's pods; first the one that holds the Lease.
    pub(super) async fn controllers(&self) -> Result<Vec<Pod>> {
        let lease: Lease = self.system.api().get("zen-lead-controller-leader-election").await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).context("nobody holds the Lease")?;
        let mut found = pods(&self.system, CONTROLLERS).await?;
        found.sort_by_key(|pod| !holder.contains(&pod.name_any()));
        Ok(found)
    }
}

/// The pods with these labels.
pub(super) async fn pods(namespace: &Namespace, labels: &str) -> Result<Vec<Pod>> {
    Ok(namespace.api().list(&ListParams::default().labels(labels)).await?.items)
}

pub(super) fn node_name(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}

fn is_fit(pod: &Pod) -> bool {
    pod_is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// A pod on each node that does nothing: its network is where clients ask from.
fn seats() -> String {
    let labels = json!({ "app": "seat" });
    let container =
        json!({ "name": "seat", "image": WEB, "imagePullPolicy": "IfNotPresent", "args": ["pause"] });
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "seat" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    });
    // JSON is YAML.
    set.to_string()
}
