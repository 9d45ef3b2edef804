//! One node: its namespaces, containerd, kubelet and kube-proxy; and what can happen to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task;

use super::address::{Address, LINK, link};
use super::cgroup::{Cgroup, JOIN};
use super::line::{BadLine, Badness};
use super::network::Network;
use super::servers::until_there;
use super::{Options, files};
use crate::assets::Assets;
use crate::component::{Component, Probe};
use crate::process::Process;

/// The first process of a node's PID namespace; `$1` is the folder of the control group that holds the node's processes,
/// `$2` the file to make when all is there.
///
/// What a node writes to the machine, it writes to folders that go with its mount namespace. kubelet sets the kernel's
/// behaviour for the whole machine: here it finds it set already, in files that stand in for the kernel's.
const FIRST: &str = r#"set -e
echo $$ >"$1/cgroup.procs"
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 lab $folder; done
pin() {
    echo "$2" >"/run/pinned-${1##*/}"
    mount --bind "/run/pinned-${1##*/}" "/proc/sys/$1"
}
pin vm/overcommit_memory 1
pin vm/panic_on_oom 0
pin kernel/panic 10
pin kernel/panic_on_oops 1
pin kernel/keys/root_maxkeys 1000000
pin kernel/keys/root_maxbytes 25000000
echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$2"
# Waits also for every process whose parent has ended.
sleep infinity
exit"#;

/// A node of a [`super::Cluster`].
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the first process last, and with it whatever else is left in the node.
    kube_proxy: Component,
    kubelet: Component,
    containerd: Component,
    address: Address,
    network: Arc<Network>,
    control_plane: Arc<Network>,
    cgroup: Cgroup,
    first: Process,
}

impl Node {
    /// Makes the node's namespaces and its link to the control plane's network, and starts containerd in it.
    pub(crate) async fn start(
        address: Address,
        assets: &Assets,
        root: &Path,
        cgroup: &Cgroup,
        control_plane: Arc<Network>,
        kubeconfig: &Value,
        options: &Options,
    ) -> Result<Self> {
        let name = address.name();
        let (folder, logs) = (root.join(&name), root.join("logs"));
        fs::create_dir(&folder)?;
        let cgroup = cgroup.child(&name);
        let processes = cgroup.child("node");
        processes.create()?;
        let holder = processes.holder()?.display().to_string();
        files::write(&folder, address, options.proxy, &cgroup.path(), kubeconfig)?;

        let first = first_process(&folder, &holder, &logs.join(format!("{name}.log"))).await?;
        let network = Arc::new(Network::of_process(first.id())?);
        link(address, options.nodes, &control_plane, &network, first.id())?;

        let component = |what: &str, program: PathBuf, arguments: Vec<String>, port, probe| {
            let mut all = enter(first.id(), &holder);
            all.push(program.display().to_string());
            all.extend(arguments);
            Component::new(format!("{name}-{what}"), "nsenter".into(), all, &logs, port, probe).nested()
        };
        let file = |name: &str| folder.join(name).display().to_string();
        let socket = format!("/proc/{}/root/run/containerd/containerd.sock", first.id());
        let containerd = component(
            "containerd",
            "containerd".into(),
            vec!["--config".into(), file("containerd.toml"), "--log-level=warn".into()],
            0,
            Probe::Socket(socket.into()),
        );
        let kubelet = component(
            "kubelet",
            assets.program("kubelet"),
            vec![
                format!("--config={}", file("kubelet.json")),
                format!("--kubeconfig={}", file("kubeconfig")),
                format!("--hostname-override={name}"),
                format!("--node-ip={}", address.ip()),
            ],
            10248,
            Probe::Http(network.clone(), "/healthz"),
        );
        let kube_proxy = component(
            "kube-proxy",
            assets.program("kube-proxy"),
            vec![format!("--config={}", file("kube-proxy.json"))],
            10249,
            Probe::Http(network.clone(), "/healthz"),
        );
        containerd.start().await?;
        Ok(Self { kube_proxy, kubelet, containerd, address, network, control_plane, cgroup, first })
    }

    /// Starts the rest, when there is an API server to speak to.
    pub(crate) async fn join(&self) -> Result<()> {
        self.kubelet.launch()?;
        self.kube_proxy.start().await?;
        self.kubelet.ready().await
    }

    /// `n1`, `n2`, ...
    #[must_use]
    pub fn name(&self) -> String {
        self.address.name()
    }

    /// Its address among the nodes.
    #[must_use]
    pub fn ip(&self) -> String {
        self.address.ip()
    }

    /// Its network: that of its kubelet and of pods with `hostNetwork`.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Its container runtime.
    #[must_use]
    pub fn containerd(&self) -> &Component {
        &self.containerd
    }

    /// Its kubelet.
    #[must_use]
    pub fn kubelet(&self) -> &Component {
        &self.kubelet
    }

    /// What turns the addresses of Services into those of pods on it. Paused, it leaves the rules as they are; a restart
    /// returns when it has written them anew.
    #[must_use]
    pub fn kube_proxy(&self) -> &Component {
        &self.kube_proxy
    }

    /// Stops everything on it where it stands: kubelet, containers, kube-proxy. Its kernel still answers for it.
    pub fn freeze(&self) -> Result<()> {
        self.cgroup.freeze().with_context(|| format!("freezing {}", self.name()))
    }

    /// Pulls its cable: no packet leaves it or reaches it.
    pub fn cut(&self) -> Result<()> {
        self.control_plane.ip(&format!("link set {} down", self.name()))
    }

    /// Makes the line bad on which it and its pods reach everything else, until that is ended.
    pub fn worsen_line(&self, badness: Badness) -> Result<BadLine> {
        BadLine::begin(self.network.clone(), LINK, badness)
    }

    /// Undoes [`Node::freeze`] and [`Node::cut`].
    pub fn bring_back(&self) -> Result<()> {
        self.control_plane.ip(&format!("link set {} up", self.name()))?;
        self.cgroup.thaw()
    }

    /// The network of a pod on it: to be its client, or anybody's from there.
    pub fn network_of(&self, pod: &Pod) -> Result<Arc<Network>> {
        let processes = self.group_of(pod)?.processes();
        let first = processes.first().with_context(|| self.nothing_of(pod))?;
        Network::of_process(*first).map(Arc::new)
    }

    /// Sends a signal to every process in the containers of a pod on it, as its status names them: `KILL` is a crash,
    /// `STOP` makes it hang, `CONT` ends that. The pod itself, its sandbox, stays.
    pub fn signal(&self, pod: &Pod, signal: Signal) -> Result<()> {
        let group = self.group_of(pod)?;
        let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
        let containers =
            statuses.filter_map(|status| status.container_id.as_deref()?.strip_prefix("containerd://"));
        let processes: Vec<u32> =
            containers.flat_map(|container| group.child(container).processes()).collect();
        ensure!(!processes.is_empty(), self.nothing_of(pod));
        for process in processes {
            let id = i32::try_from(process).ok().and_then(Pid::from_raw).context("no process id")?;
            kill_process(id, signal).with_context(|| format!("{signal:?} to process {process}"))?;
        }
        Ok(())
    }

    fn group_of(&self, pod: &Pod) -> Result<Cgroup> {
        Ok(self.cgroup.of_pod(pod.metadata.uid.as_deref().context("a pod that exists has a UID")?))
    }

    fn nothing_of(&self, pod: &Pod) -> String {
        format!("{} runs nothing of the pod {}, as it was when it was read", self.name(), pod.name_any())
    }

    /// Makes the images of an archive (of `docker save`, or an OCI layout in a tar) known to it; its pods then need no
    /// registry.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        let input = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
        let mut command = Command::new("nsenter");
        command
            .args([&format!("--target={}", self.first.id()), "--mount", "--"])
            .args(["ctr", "--namespace", "k8s.io", "images", "import", "-"])
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = task::spawn_blocking(move || command.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} cannot import {}: {error}", self.name(), archive.display());
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is frozen cannot end.
        let _ = self.cgroup.thaw();
    }
}

async fn first_process(folder: &Path, holder: &str, log: &Path) -> Result<Process> {
    let there = folder.join("there");
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let script = ["sh", "-c", FIRST, "sh", holder, &there.display().to_string()].map(str::to_owned);
    let arguments = [namespaces.map(str::to_owned).to_vec(), script.to_vec()].concat();
    let log_of_task = log.to_owned();
    let spawn = move || Process::spawn_nested(Path::new("unshare"), &arguments, &log_of_task);
    let mut process = task::spawn_blocking(spawn).await??;
    until_there(&mut process, &there, log).await?;
    Ok(process)
}

/// Arguments of `nsenter` before those of the component.
fn enter(first: u32, holder: &str) -> Vec<String> {
    let target = format!("--target={first}");
    [&target, "--mount", "--net", "--pid", "--", "sh", "-c", JOIN, holder].map(str::to_owned).to_vec()
}
