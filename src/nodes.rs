//! Nodes that are lost or had better be avoided, and their zones, for those who ask for it (`--watch-nodes`).
//!
//! Kubernetes itself takes about 50 s to tell: a node's Lease has to run out before its pods are marked NotReady. Each
//! kubelet renews its Lease four times in that; what missed two and a half renewals is taken for lost here, and its
//! leaders are followed. So is a node on which somebody has put the taint `node.kubernetes.io/out-of-service`. The pods
//! there are not touched.
//!
//! Nodes that are cordoned, or of which Kubernetes itself says that they are not ready or cannot be reached, are not lost:
//! others are chosen before their pods, and a Service may ask to leave cordoned ones. A pod that does not say in which
//! zone it runs is in its node's.
//!
//! ```text
//! watch of Nodes, watch of Leases -> Nodes { age of each Lease } -> Feed::Node -> driver -> NodeLost, NodeBack, PodChanged
//! ```
//!
//! Nobody waits for the first list of Nodes: who is chosen before that is chosen as if there were nothing to say of them,
//! and leadership being sticky, stays.
//!
//! This is a task of its own: a thousand nodes renew a hundred Leases a second, and the deciding task hears of none of
//! them.
//!
//! # Whose time
//!
//! A Lease is as old as the last change of it that we have seen, by this process's monotonic clock; what clocks have
//! written into it is not read. Time in which we could not have heard of a change does not count: while the watch of
//! Leases is down, or while this process did not run. After more than [`table::CUT_OFF`] of that, all ages start anew.
//!
//! # When many are silent at once
//!
//! If more than one node and more than 30 % of them miss their renewals, something between all of them and us is broken
//! (etcd, an API server, a network), and none more is taken for lost. Since renewals are spread over their period, those
//! who have gone silent together do not reach the limit together: the first would be alone. So whoever has missed a
//! renewal by half its period, when the first reaches the limit, counts. When that is over, whoever is still silent has
//! the whole time once more. A node that a person has declared out of service needs no such care and does not count.
//!
//! People are told of that by the log, a gauge and an alert. There is no notice at each Service: thousands of Kubernetes
//! Events at once would be the last thing that a control plane in trouble needs.

mod node;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::client::Clients;
use crate::dice::Dice;
use crate::driver::Feed;
use crate::health::Health;
use crate::kinds::{NodeLeaseLite, NodeLite};
use crate::metrics::Metrics;
use crate::rows::Ground;
use crate::watch::{Change, Phase, WatchOptions, WatchState, WatchStatus, follow};

use table::Nodes;

/// Where kubelets keep their Leases.
const NAMESPACE: &str = "kube-node-lease";

/// How often ages are looked at; a loss is noticed so late at most.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Changes that may wait; with a full queue the watches wait.
const QUEUE: usize = 1_024;

/// What is known of a node has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Its name.
    pub(crate) node: Arc<str>,
    /// What its pods stand on.
    pub(crate) ground: Ground,
}

/// What the two watches tell.
#[derive(Debug)]
enum Told {
    Nodes(Change<NodeLite>),
    Leases(Change<NodeLeaseLite>),
}

impl From<(usize, Change<NodeLite>)> for Told {
    fn from((_, change): (usize, Change<NodeLite>)) -> Self {
        Self::Nodes(change)
    }
}

impl From<(usize, Change<NodeLeaseLite>)> for Told {
    fn from((_, change): (usize, Change<NodeLeaseLite>)) -> Self {
        Self::Leases(change)
    }
}

/// What the watch of nodes needs.
pub(crate) struct Watch<'a> {
    /// Where the API server is.
    pub(crate) clients: &'a Clients,
    /// Shows how the watches are.
    pub(crate) health: &'a Health,
    /// What spreads retries.
    pub(crate) dice: &'a Dice,
    /// Shows how many are lost.
    pub(crate) metrics: &'a Metrics,
    /// Who is told.
    pub(crate) sink: &'a mpsc::Sender<Feed>,
    /// The numbers of the two watches among all.
    pub(crate) sources: [usize; 2],
    /// How old a Lease may become; none: as short as it may be.
    pub(crate) timeout: Option<Duration>,
}

impl Watch<'_> {
    /// Begins to watch.
    pub(crate) fn begin(self, tasks: &mut JoinSet<&'static str>) {
        let (sink, told) = mpsc::channel(QUEUE);
        let nodes = self.health.watch("nodes");
        let leases = self.health.watch(format!("{NAMESPACE}/leases"));
        let client = &self.clients.watch;
        let options = || WatchOptions { dice: self.dice.clone(), ..WatchOptions::default() };
        let [of_nodes, of_leases] = self.sources;
        let watch = follow(Api::<NodeLite>::all(client.clone()), options(), of_nodes, sink.clone(), nodes);
        tasks.spawn(async move {
            watch.await;
            "nodes"
        });
        let api = Api::<NodeLeaseLite>::namespaced(client.clone(), NAMESPACE);
        let watch = follow(api, options(), of_leases, sink, leases.clone());
        tasks.spawn(async move {
            watch.await;
            "node leases"
        });
        let judge = Judge::new(self.timeout, leases, self.sink.clone(), self.metrics.clone());
        tasks.spawn(judge.run(told));
    }
}

/// Judges which nodes are lost.
struct Judge {
    nodes: Nodes,
    leases: WatchStatus,
    /// Since when the watch of Leases is live, as last seen.
    live: Option<Instant>,
    sink: mpsc::Sender<Feed>,
    metrics: Metrics,
}

impl Judge {
    fn new(
        timeout: Option<Duration>,
        leases: WatchStatus,
        sink: mpsc::Sender<Feed>,
        metrics: Metrics,
    ) -> Self {
        Self { nodes: Nodes::new(timeout, Instant::now()), leases, live: None, sink, metrics }
    }

    /// Judges until nobody wants to know.
    async fn run(mut self, mut told: mpsc::Receiver<Told>) -> &'static str {
        let mut changes = self.leases.subscribe();
        changes.mark_changed();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What was heard goes before what is made of it.
                biased;
                Ok(()) = changes.changed() => {
                    let state = changes.borrow_and_update().clone();
                    self.hears(&state);
                }
                Some(told) = told.recv() => self.told(told),
                _ = look.tick() => {
                    self.nodes.look(Instant::now());
                    self.metrics.nodes_are(self.nodes.lost(), self.nodes.held());
                }
            }
            for verdict in self.nodes.verdicts() {
                if self.sink.send(Feed::Node(verdict)).await.is_err() {
                    return "nodes' judge";
                }
            }
        }
    }

    /// The watch of Leases has changed its state.
    fn hears(&mut self, WatchState { phase, since, .. }: &WatchState) {
        let live = (*phase == Phase::Live).then_some(*since);
        if live == self.live {
            return;
        }
        // Live again, and in between it was not, although nobody saw that.
        if self.live.is_some() {
            self.nodes.hears_nothing(Instant::now());
        }
        if live.is_some() {
            self.nodes.hears_again(Instant::now());
        }
        self.live = live;
    }

    fn told(&mut self, told: Told) {
        let now = Instant::now();
        match told {
            Told::Nodes(Change::Relisting) => self.nodes.relist_nodes(),
            Told::Nodes(Change::Page(page)) => page.iter().for_each(|node| self.nodes.node_listed(node)),
            Told::Nodes(Change::Listed { .. }) => self.nodes.nodes_listed(now),
            Told::Nodes(Change::Applied(node)) => self.nodes.node_seen(&node),
            Told::Nodes(Change::Deleted(node)) => self.nodes.node_gone(node.name(), now),
            Told::Leases(Change::Relisting) => self.nodes.relist_leases(),
            Told::Leases(Change::Page(page)) => {
                for lease in &page {
                    self.nodes.lease_listed(lease, now);
                }
            }
            Told::Leases(Change::Listed { .. }) => self.nodes.leases_listed(now),
            Told::Leases(Change::Applied(lease)) => self.nodes.lease_seen(&lease, now),
            Told::Leases(Change::Deleted(lease)) => self.nodes.lease_gone(lease.name(), now),
            Told::Leases(Change::Malformed { object, error }) => {
                // It may be renewed as ever: nobody can tell.
                let name = object.rsplit('/').next().unwrap_or_default();
                self.nodes.lease_gone(name, now);
                warn!(
                    node = name,
                    "its Lease cannot be read, so that it can be silent without notice: {error}"
                );
            }
            Told::Nodes(Change::Malformed { .. } | Change::Bookmark(_))
            | Told::Leases(Change::Bookmark(_)) => {}
        }
    }
}
