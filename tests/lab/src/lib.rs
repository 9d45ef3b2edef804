//! A real control plane for tests, benches and the demo; never shipped.
//!
//! etcd and kube-apiserver run as processes on loopback. There is no kubelet: a test plays it, and makes a pod Ready by
//! writing its status, which is all that a controller can see of a kubelet.

mod audit;
mod build;
mod component;
mod connection;
mod controlplane;
mod directory;
mod pki;
mod ports;
mod process;

pub use audit::{Audit, Entry};
pub use build::Assets;
pub use component::Component;
pub use connection::{Authority, Connection, Token, client, client_from};
pub use controlplane::{ADMIN, ControlPlane, Options};
pub use process::is_alive;
