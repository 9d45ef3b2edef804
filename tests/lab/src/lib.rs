//! A real control plane for tests, benches and the demo; never shipped.
//!
//! etcd and kube-apiserver run as processes on loopback. There is no kubelet: a test plays it, and makes a pod Ready by
//! writing its status, which is all that a controller can see of a kubelet. Where there is root, [`cluster`] has real
//! nodes.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use lab::{Lab, within};
//!
//! let shop = Lab::shared().await?.namespace("shop").await?;
//! shop.service("orders").annotation("zen-lead.io/enabled", "true").selector("app", "orders").port("http", 80, 8080)
//!     .create().await?;
//! let first = shop.pod("orders-0").label("app", "orders").ready().create().await?;
//! shop.slices().until_leader("orders-leader", first.name(), within(5)).await?;
//! first.terminate(within(30)).await?;
//! shop.slices().until_leaderless("orders-leader", within(5)).await?;
//! # Ok(()) }
//! ```

mod access;
mod assets;
mod audit;
mod build;
mod bulk;
mod chromium;
pub mod cluster;
mod collector;
mod component;
mod connection;
mod controlplane;
pub mod demo;
mod directory;
mod forwarder;
pub mod fuzz;
pub mod gaps;
mod helm;
mod history;
pub mod image;
mod lab;
mod manifests;
mod packets;
mod phoenix;
mod pki;
mod pod;
mod pods;
mod ports;
mod process;
mod promtool;
mod schemas;
mod services;
mod slices;
mod span;
mod token;
mod trace;

use std::time::Duration;

pub use access::{Account, rotate};
pub use assets::Assets;
pub use audit::{Audit, Entry};
pub use chromium::Chromium;
pub use collector::{Collector, ExportRequest, Mode};
pub use component::Component;
pub use connection::{Authority, Connection, Token, client, client_from};
pub use controlplane::{ADMIN, ControlPlane, Options};
pub use directory::Directory;
pub use forwarder::{Forwarder, Route};
pub use helm::Helm;
pub use history::{Change, History, Revision};
pub use lab::{Lab, Namespace};
pub use manifests::{apply_yaml, documents};
pub use packets::{PacketDrop, client_ports};
pub use phoenix::Phoenix;
pub use pod::Pod;
pub use pods::{FINALIZER, PodBuilder, next_ipv4, next_ipv6, pod};
pub use ports::free as free_port;
pub use process::{Environment, Process, is_alive, last_lines};
pub use promtool::Promtool;
pub use rustix::process::Signal;
pub use schemas::Schemas;
pub use services::{Service, ServiceBuilder};
pub use slices::{SERVICE_NAME, Slices, leader_of, until, until_object};
pub use span::{Attributes, Kind, Link, Span, SpanEvent, Status};
pub use tonic::Code;
pub use trace::Trace;

/// So many seconds.
#[must_use]
pub const fn within(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
