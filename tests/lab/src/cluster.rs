//! A real cluster on one machine: a control plane, and nodes with containers, without a registry, kubeadm or Docker.
//!
//! ```text
//! this machine ── 127.0.0.1:port ──┐ the door to the API server
//! ┌─ control plane's network ──────┴──────────────────────┐
//! │ etcd  kube-apiserver  controller manager  scheduler   │
//! │ br0 10.200.0.1/24 ──┬──────────────┬──────────────┬── │
//! └─────────────────────┼──────────────┼──────────────┼───┘
//!                 n1 10.200.0.11   n2 10.200.0.12     …      each: containerd, kubelet, kube-proxy
//!                 10.244.1.0/24    10.244.2.0/24             its pods, routed; Services in 10.96.0.0/16
//! ```
//!
//! Nothing of it is in the machine's own network. A node is a network, a mount and a PID namespace with tmpfs over the
//! folders to which its components write, so the kernel itself removes what a node was as soon as its first process
//! ends: pods and their shims, mounts, links, images, logs. That process, and every component, ends with the process
//! that owns the [`Cluster`], in whatever way that ends. What can remain is empty control groups and a folder of files,
//! and the next cluster removes those (so does `cargo lab cluster down`).
//!
//! Needs root, and packages of Debian's that are installed when missing. Ran on Debian 12 with control groups of
//! version 1. There is no DNS, and kube-proxy's IPVS mode needs a kernel module that is rare.

mod address;
mod cgroup;
mod door;
mod files;
mod hands;
mod image;
mod line;
mod network;
mod node;
mod options;
mod owner;
mod packages;
mod servers;
mod workload;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod, ServiceAccount};
use kube::{Api, Client, ResourceExt as _};
use tokio::task;

use self::address::Address;
use self::cgroup::Cgroup;
use self::servers::{Servers, kubeconfig_inside};
use crate::assets::Assets;
use crate::audit::Audit;
use crate::component::Component;
use crate::connection::{Authority, Connection, Token};
use crate::directory::Directory;
use crate::lab::Namespace;
use crate::slices::{until, until_object};
use crate::within;

pub use hands::{down, kubectl, up};
pub use image::{WEB, archive};
pub use line::{BadLine, Badness, Passed};
pub use network::Network;
pub use node::Node;
pub use options::{Options, Proxy};
pub use owner::remove_leftovers;
pub(crate) use workload::pod_is_ready;
pub use workload::{LINES, Manners, deploy_web, deploy_web_with, ready_pods, who_answers};

/// A running cluster. Dropping it ends it, and leaves nothing behind.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: processes, then what they were in, then the files they wrote to.
    nodes: Vec<Node>,
    servers: Servers,
    assets: Assets,
    namespaces: AtomicU32,
    _groups: Groups,
    directory: Directory,
    name: String,
}

/// The cluster's control groups; removed when dropped, with whatever should still be in them.
#[derive(Debug)]
struct Groups(Cgroup);

impl Drop for Groups {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("lab: {error:#}");
        }
    }
}

impl Cluster {
    /// Whether there can be one here; if not, why, and what to do about it. Installs packages when root; blocks then.
    pub fn available() -> Result<()> {
        Assets::require_nodes()?;
        packages::require()?;
        // Root of a container may have no power over these.
        let group = Cgroup::named(&owner::new_name()?)?;
        group.create()?;
        group.remove()
    }

    /// The same for a test, which is skipped if there can be none: says why, past the test harness, which shows only
    /// what failing tests say.
    #[must_use]
    pub fn is_possible() -> bool {
        match Self::available() {
            Ok(()) => true,
            Err(reason) => {
                let _ = writeln!(std::io::stderr(), "skipped: {reason:#}");
                false
            }
        }
    }

    /// Starts one (the programs and images are built first if they are missing); returns when all nodes are Ready. Says
    /// on stderr what it does.
    ///
    /// What a cluster has left behind whose owner was killed is removed before.
    pub async fn start(options: Options) -> Result<Self> {
        options.check()?;
        task::spawn_blocking(Self::available).await??;
        for name in task::spawn_blocking(owner::remove_leftovers).await?? {
            eprintln!("lab: removed what was left of {name}");
        }
        let assets = task::spawn_blocking(Assets::find_or_build).await??;
        let directory = Directory::create()?;
        let root = directory.path().to_owned();
        // In it is the key to the cluster, whose pods may be root on this machine.
        fs::set_permissions(&root, Permissions::from_mode(0o700))?;
        fs::create_dir(root.join("logs"))?;
        let folder = root.join("images");
        let mut images = task::spawn_blocking(move || image::build_own(&folder)).await??;
        images.extend(options.images.iter().cloned());

        let begun = Instant::now();
        let say = |what: &str| eprintln!("lab: {:4.1} s  {what}", begun.elapsed().as_secs_f64());
        let name = owner::new_name()?;
        let groups = Groups(Cgroup::named(&name)?);
        groups.0.create()?;
        let servers = Servers::lay_out(&assets, &root, &groups.0, &options).await?;
        let kubeconfig = kubeconfig_inside(&servers.connection);
        let start_node = |number| {
            let network = servers.network.clone();
            Node::start(Address(number), &assets, &root, &groups.0, network, &kubeconfig, &options)
        };
        let start_nodes = async {
            let nodes = try_join_all((1..=options.nodes).map(start_node)).await?;
            say("containerd runs on every node");
            let imports = nodes.iter().flat_map(|node| images.iter().map(|image| node.import(image)));
            try_join_all(imports).await?;
            say("images are imported");
            Ok(nodes)
        };
        let start_servers = async {
            servers.start().await?;
            say("the API server is ready");
            Ok::<_, anyhow::Error>(())
        };
        let (nodes, ()) = tokio::try_join!(start_nodes, start_servers)?;
        let cluster =
            Self { nodes, servers, assets, namespaces: AtomicU32::new(0), _groups: groups, directory, name };
        try_join_all(cluster.nodes.iter().map(Node::join)).await?;
        say("kubelet and kube-proxy run on every node");
        cluster.until_nodes_ready().await?;
        say("every node is Ready");
        Ok(cluster)
    }

    async fn until_nodes_ready(&self) -> Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.admin().await?);
        let all = |nodes: &[NodeObject]| {
            nodes.iter().filter(|node| node_is_ready(node)).count() == self.nodes.len()
        };
        until(&nodes, "", within(120), all).await.context("waiting for the nodes to be Ready").map(drop)
    }

    /// Its nodes, `n1` first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its name, such as that in a pod's `spec.nodeName`.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.with_context(|| format!("there is no node {name:?} among n1 to n{}", self.nodes.len()))
    }

    /// The node of a pod that has one.
    pub fn node_of(&self, pod: &Pod) -> Result<&Node> {
        let name = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        self.node(name.with_context(|| format!("the pod {} is on no node yet", pod.name_any()))?)
    }

    /// The store.
    #[must_use]
    pub fn etcd(&self) -> &Component {
        &self.servers.etcd
    }

    /// The API server.
    #[must_use]
    pub fn api_server(&self) -> &Component {
        &self.servers.api_server
    }

    /// What makes pods of Deployments, slices of Services, and endings of deletions.
    #[must_use]
    pub fn controller_manager(&self) -> &Component {
        &self.servers.controller_manager
    }

    /// What gives pods their nodes.
    #[must_use]
    pub fn scheduler(&self) -> &Component {
        &self.servers.scheduler
    }

    /// The network of the control plane, in which every node's cable ends: n1's is the interface `n1`.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.servers.network
    }

    /// How to reach it from this machine; may outlive it.
    #[must_use]
    pub fn connection(&self) -> Arc<Connection> {
        self.servers.connection.clone()
    }

    /// A client with the administrator's rights. Use it in the runtime that made it.
    pub async fn admin(&self) -> Result<Client> {
        self.servers.connection.client().await
    }

    /// What was asked of the API server so far and from now on.
    #[must_use]
    pub fn audit(&self) -> Audit {
        self.servers.audit()
    }

    /// The programs it runs, kubectl among them.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The folder of the components' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// Its name on this machine: that of its control groups.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new namespace in which pods can be made.
    pub async fn namespace(&self, purpose: &str) -> Result<Namespace> {
        let name = format!("{purpose}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace::create(self.connection(), name).await?;
        // Without it a pod is refused.
        until_object::<ServiceAccount>(&namespace.api(), "default", within(60), |_| true).await?;
        Ok(namespace)
    }

    /// Makes the images of an archive known to every node; see [`Node::import`].
    pub async fn import(&self, archive: &Path) -> Result<()> {
        try_join_all(self.nodes.iter().map(|node| node.import(archive))).await.map(drop)
    }

    /// A kubeconfig for hands, in whose being there other processes see the cluster.
    fn kubeconfig_for_hands(&self) -> Result<PathBuf> {
        let connection = &self.servers.connection;
        let token = Token::Inline(connection.admin_token.clone());
        let content = connection.kubeconfig(connection.url(0), Authority::Inline, &token, "default");
        let path = owner::kubeconfig_for_hands(self.directory.path(), &self.name);
        fs::write(&path, serde_json::to_vec_pretty(&content)?)?;
        Ok(path)
    }
}

/// Whether its kubelet says so, and has said so of late.
pub(crate) fn node_is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn hex(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}
