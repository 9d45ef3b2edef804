//! What kind of cluster it is to be.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// More would not fit on one machine, nor into the addresses.
const MOST_NODES: usize = 20;

/// How kube-proxy turns the addresses of Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// One transaction for each change.
    #[default]
    Nftables,
    /// Several tables, changed one after another.
    Iptables,
}

impl Proxy {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

/// What kind of cluster to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes, 1 to 20.
    pub nodes: usize,
    /// The mode of kube-proxy.
    pub proxy: Proxy,
    /// Archives of images for every node; see [`super::Node::import`].
    pub images: Vec<PathBuf>,
    /// Further arguments of the API server; a flag given here wins over ours.
    pub api_server_args: Vec<String>,
    /// Further arguments of the controller manager, such as `--node-monitor-grace-period=4s`.
    pub controller_manager_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            proxy: Proxy::default(),
            images: Vec::new(),
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
        }
    }
}

impl Options {
    /// Refuses what cannot be, before anything is started.
    pub(crate) fn check(&self) -> Result<()> {
        let nodes = self.nodes;
        ensure!((1..=MOST_NODES).contains(&nodes), "a cluster of {nodes} nodes: give 1 to {MOST_NODES}");
        for image in &self.images {
            ensure!(
                image.is_file(),
                "there is no archive of images at {}: give the path of a tar",
                image.display()
            );
        }
        Ok(())
    }
}
