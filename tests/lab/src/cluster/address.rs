//! Who has which address, and how the networks are joined.

use std::fmt::Write as _;

use anyhow::Result;

use super::network::Network;

/// The control plane's address among the nodes.
pub(crate) const GATEWAY: &str = "10.200.0.1";

/// All addresses of pods.
pub(crate) const PODS: &str = "10.244.0.0/16";

/// Which node it is, from 1; all its names and addresses follow from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) usize);

impl Address {
    pub(crate) fn name(self) -> String {
        format!("n{}", self.0)
    }

    pub(crate) fn ip(self) -> String {
        format!("10.200.0.{}", 10 + self.0)
    }

    pub(crate) fn pods(self) -> String {
        format!("10.244.{}.0/24", self.0)
    }
}

/// A node's end of its cable.
pub(crate) const LINK: &str = "eth0";

/// A cable to the control plane's bridge, a route from there to the node's pods, and routes from the node to the pods of
/// the other nodes by way of these.
pub(crate) fn link(
    address: Address,
    nodes: usize,
    control_plane: &Network,
    network: &Network,
    first: u32,
) -> Result<()> {
    let (name, ip, pods) = (address.name(), address.ip(), address.pods());
    control_plane.ip(&format!(
        "link add {name} type veth peer name {LINK} netns {first}\nlink set {name} master br0 up\n\
         route add {pods} via {ip}\n"
    ))?;
    // Without a default route, a connection to a Service's address fails before the rules turn it.
    let mut commands = format!(
        "link set lo up\naddr add {ip}/24 dev {LINK}\nlink set {LINK} up\nroute add default via {GATEWAY}\n"
    );
    for other in (1..=nodes).map(Address).filter(|other| *other != address) {
        writeln!(commands, "route add {} via {}", other.pods(), other.ip())?;
    }
    network.ip(&commands)
}
