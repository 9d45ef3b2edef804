//! What a cluster could leave on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lab::cluster::Cluster;

/// Folders to which the components of a node write, as they are on a machine where nobody has kept them from it.
const FOLDERS: [&str; 7] = [
    "/etc/cni",
    "/opt/containerd",
    "/run/containerd",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/pods",
];

/// Settings of the kernel that kubelet would change for the whole machine.
const SETTINGS: [&str; 3] = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];

/// The machine at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    folders: BTreeSet<PathBuf>,
    settings: Vec<String>,
}

impl Machine {
    pub(crate) fn now() -> Result<Self> {
        let links = fs::read_dir("/sys/class/net")?.flatten();
        let there = |folder: &&&str| Path::new(folder).exists();
        let setting = |name: &str| Ok(fs::read_to_string(format!("/proc/sys/{name}"))?);
        Ok(Self {
            mounts: fs::read_to_string("/proc/self/mountinfo")?.lines().map(str::to_owned).collect(),
            links: links.map(|link| link.file_name().to_string_lossy().into_owned()).collect(),
            folders: FOLDERS.iter().filter(there).map(PathBuf::from).collect(),
            settings: SETTINGS.iter().map(|name| setting(name)).collect::<Result<_>>()?,
        })
    }

    /// Fails if it has changed since, if the cluster has a control group still, or if a process is in a namespace of
    /// the cluster's.
    pub(crate) fn is_unchanged(&self, cluster: &str, namespaces: &[PathBuf]) -> Result<()> {
        assert_eq!(*self, Self::now()?, "the machine is not as it was");
        let groups = control_groups(cluster);
        ensure!(groups.is_empty(), "control groups remain: {groups:?}");
        for process in processes() {
            let namespace = namespaces_of_process(process).into_iter().find(|one| namespaces.contains(one));
            ensure!(namespace.is_none(), "process {process} remains, in {namespace:?}");
        }
        Ok(())
    }
}

/// The namespaces of all nodes and of the control plane, as `/proc/<id>/ns` names them.
pub(crate) fn namespaces_of(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let mut components = vec![cluster.api_server()];
    components.extend(cluster.nodes().iter().map(lab::cluster::Node::kubelet));
    let ours = namespaces_of_process(std::process::id());
    let mut found = Vec::new();
    for component in components {
        found.extend(namespaces_of_process(component.pid().context("it runs")?));
    }
    found.retain(|namespace| !ours.contains(namespace));
    ensure!(
        found.len() == 1 + 3 * cluster.nodes().len(),
        "a node has three namespaces of its own: {found:?}"
    );
    Ok(found)
}

fn namespaces_of_process(process: u32) -> Vec<PathBuf> {
    let of = |kind: &&str| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
    ["net", "mnt", "pid"].iter().filter_map(of).collect()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether it does anything still: one that has ended and was not waited for does not.
pub(crate) fn runs(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The cluster of an owner, by the name of its control groups.
pub(crate) fn cluster_of(owner: u32) -> Result<String> {
    let prefix = format!("zen-lead-lab-cluster-{owner}-");
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    let mut names = control_groups(&prefix).iter().filter_map(name).collect::<Vec<_>>();
    names.sort_by_key(String::len);
    names.into_iter().next().with_context(|| format!("process {owner} has no cluster"))
}

/// The control groups whose names begin like this, in all hierarchies, without those below them.
pub(crate) fn control_groups(prefix: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hierarchies =
        mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let groups = hierarchies.flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten());
    groups
        .filter(|group| group.file_name().to_string_lossy().starts_with(prefix))
        .map(|group| group.path())
        .collect()
}

/// The processes in the control groups of a cluster's nodes.
pub(crate) fn members(cluster: &str) -> BTreeSet<u32> {
    let mut folders = control_groups(cluster);
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}
