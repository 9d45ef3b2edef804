//! Packets that vanish: the failure in which nobody, not even a kernel, says anything.
//!
//! A [`crate::Forwarder`] can be silent, but its kernel still acknowledges what a client sends. Here the packets of
//! chosen connections are dropped by nftables in both directions, so a client sees what it sees of a dead node or a cut
//! cable. Needs root and nft.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Network;
use crate::process::is_alive;

const PREFIX: &str = "zen_lead_lab_";

/// The kernel's number for ESTABLISHED in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// Connections whose packets are dropped until this is dropped.
#[derive(Debug)]
pub struct PacketDrop {
    table: String,
    /// Where, if not in this process's own network.
    network: Option<Arc<Network>>,
}

impl PacketDrop {
    /// Whether it can be done here; if not, why, and what to do about it.
    pub fn available() -> Result<()> {
        ensure!(rustix::process::geteuid().is_root(), "dropping packets needs root, for nftables");
        nft(&["list", "tables"], "").map(drop).context(
            "dropping packets needs a working nft: install it (Debian: apt-get install nftables) on a kernel with \
             nf_tables",
        )
    }

    /// Drops the packets of the connections that this process (any, without an id) has to this port of 127.0.0.1 now.
    /// Later connections pass.
    pub fn established(server_port: u16, process: Option<u32>) -> Result<Self> {
        let ports = client_ports(server_port, process)?;
        ensure!(!ports.is_empty(), "there is no connection to port {server_port}");
        Self::of(server_port, &ports)
    }

    /// Drops the packets of the connections between these clients' ports and a server's.
    pub fn of(server_port: u16, client_ports: &[u16]) -> Result<Self> {
        let ports = client_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        Self::with_rules(&format!(
            "tcp sport {server_port} tcp dport {{ {ports} }} counter drop\n\
             tcp dport {server_port} tcp sport {{ {ports} }} counter drop\n"
        ))
    }

    /// Drops the packets from a server to these clients' ports: what they ask arrives, and no answer returns.
    pub fn answers(server_port: u16, client_ports: &[u16]) -> Result<Self> {
        let ports = client_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        Self::with_rules(&format!("tcp sport {server_port} tcp dport {{ {ports} }} counter drop\n"))
    }

    /// Drops everything from and to a server's port, also of later connections: a dead node.
    pub fn all(server_port: u16) -> Result<Self> {
        Self::with_rules(&format!(
            "tcp sport {server_port} counter drop\ntcp dport {server_port} counter drop\n"
        ))
    }

    /// Drops everything between clients in a network of a [`crate::cluster`], a pod's for example, and a server's port
    /// anywhere else, in both directions and also of later connections: they are cut off from that server alone.
    pub fn between(network: &Arc<Network>, server_port: u16) -> Result<Self> {
        let table = new_table();
        let chain = |hook: &str, port: &str| {
            format!(
                "chain {hook} {{\ntype filter hook {hook} priority -300;\ntcp {port} {server_port} counter drop\n}}\n"
            )
        };
        let chains = chain("input", "sport") + &chain("output", "dport");
        network.run(|| nft(&["-f", "-"], &format!("table inet {table} {{\n{chains}}}\n")))?;
        Ok(Self { table, network: Some(network.clone()) })
    }

    fn with_rules(rules: &str) -> Result<Self> {
        Self::available()?;
        remove_leftovers()?;
        let table = new_table();
        // Before connection tracking and everything else. On loopback every packet is input once, whoever sent it.
        let chain = format!("type filter hook input priority -300; policy accept;\n{rules}");
        nft(&["-f", "-"], &format!("table inet {table} {{\nchain input {{\n{chain}}}\n}}\n"))?;
        Ok(Self { table, network: None })
    }

    /// How many packets have been dropped so far.
    pub fn packets(&self) -> Result<u64> {
        let listing = self.nft(&["list", "table", "inet", &self.table])?;
        // counter packets 12 bytes 720 drop
        let mut words = listing.split_whitespace();
        let mut packets = 0;
        while words.by_ref().any(|word| word == "packets") {
            packets += words.next().context("a number follows")?.parse::<u64>()?;
        }
        Ok(packets)
    }

    fn nft(&self, arguments: &[&str]) -> Result<String> {
        match &self.network {
            Some(network) => network.run(|| nft(arguments, "")),
            None => nft(arguments, ""),
        }
    }
}

impl Drop for PacketDrop {
    fn drop(&mut self) {
        let _ = self.nft(&["delete", "table", "inet", &self.table]);
    }
}

/// The local ports of the connections that this process (any, without an id) has to a port of 127.0.0.1.
pub fn client_ports(server_port: u16, process: Option<u32>) -> Result<Vec<u16>> {
    let sockets = process.map(sockets_of).transpose()?;
    let mut remote = String::new();
    write!(remote, "0100007F:{server_port:04X}")?;
    let mut ports = Vec::new();
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, to, state, _, _, _, _, _, inode, ..] = fields[..] else { continue };
        let ours = sockets.as_ref().is_none_or(|sockets| sockets.contains(inode));
        if to == remote && state == ESTABLISHED && ours {
            let (_, port) = local.rsplit_once(':').context("address:port")?;
            ports.push(u16::from_str_radix(port, 16)?);
        }
    }
    Ok(ports)
}

/// The inodes of a process's sockets.
fn sockets_of(process: u32) -> Result<HashSet<String>> {
    let directory = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect())
}

fn new_table() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A test that was killed has left its rules in the kernel.
fn remove_leftovers() -> Result<()> {
    for table in
        nft(&["list", "tables", "inet"], "")?.lines().filter_map(|line| line.split_whitespace().nth(2))
    {
        let owner = table.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')?.0.parse().ok());
        if owner.is_some_and(|owner: u32| !is_alive(owner)) {
            nft(&["delete", "table", "inet", table], "")?;
        }
    }
    Ok(())
}

fn nft(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nft")?;
    child.stdin.take().context("stdin is piped")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("nft {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
