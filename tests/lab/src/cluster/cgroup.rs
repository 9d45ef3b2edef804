//! The control groups of a cluster: what kubelet accounts its pods in, and what holds all its processes, so that a
//! node can be frozen, and everything be found when whoever knew of it is gone.
//!
//! Ran with the hierarchies of version 1. Those of version 2 alone have the same files where this needs them, but were
//! not at hand to try.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than the kernel takes to stop or to end all processes of a node.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// A script by which a process joins a group and becomes the program that follows; `$0` is the group's folder in the
/// hierarchy that holds the processes. The programs of Debian's that it calls in turn are root's.
pub(crate) const JOIN: &str = r#"echo $$ >"$0/cgroup.procs"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin exec "$@""#;

/// A group of one name in all hierarchies.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    hierarchies: Vec<Hierarchy>,
    name: String,
}

#[derive(Debug, Clone)]
struct Hierarchy {
    root: PathBuf,
    /// Which controllers, for version 1; None for version 2.
    controllers: Option<Vec<String>>,
}

impl Cgroup {
    /// The group of this name; it need not exist.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let hierarchies = mounted()?;
        ensure!(
            !hierarchies.is_empty(),
            "no control groups are mounted; the cluster needs them at /sys/fs/cgroup"
        );
        Ok(Self { hierarchies, name: name.into() })
    }

    /// Names of groups at the top that begin like this.
    pub(crate) fn names(prefix: &str) -> Result<Vec<String>> {
        let all =
            mounted()?.into_iter().flat_map(|hierarchy| directories(&hierarchy.root).collect::<Vec<_>>());
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let mut names: Vec<String> = all.filter_map(name).filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The group of this name in this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self { name: format!("{}/{name}", self.name), ..self.clone() }
    }

    /// That of a pod on the node whose group this is, as kubelet names it.
    pub(crate) fn of_pod(&self, uid: &str) -> Self {
        // One of three, by the quality of service that the pod gets for what it requests.
        let classes = ["kubepods", "kubepods/burstable", "kubepods/besteffort"];
        let groups = classes.map(|class| self.child(&format!("{class}/pod{uid}")));
        let [first, ..] = &groups;
        groups.iter().find(|group| !group.directories().is_empty()).unwrap_or(first).clone()
    }

    /// Its name from the top, as kubelet wants it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Makes it where it is missing.
    pub(crate) fn create(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.root.join(&self.name);
            fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
            if hierarchy.controllers.is_none() {
                delegate(&hierarchy.root, &self.name)?;
            }
            if hierarchy.has("cpuset") {
                // Empty in a new group of version 1, and then no process can enter it.
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    inherit(&hierarchy.root, &self.name, file)?;
                }
            }
        }
        Ok(())
    }

    /// Its folder in the hierarchy that holds the processes: the one that can freeze them.
    pub(crate) fn holder(&self) -> Result<PathBuf> {
        let freezes = |hierarchy: &&Hierarchy| hierarchy.has("freezer");
        let unified = |hierarchy: &&Hierarchy| hierarchy.controllers.is_none();
        let found = self.hierarchies.iter().find(freezes).or_else(|| self.hierarchies.iter().find(unified));
        Ok(found.context("no hierarchy of control groups can freeze processes")?.root.join(&self.name))
    }

    /// Stops all processes in it and below; returns when they stand still.
    pub(crate) fn freeze(&self) -> Result<()> {
        let holder = self.holder()?;
        let (file, order, state, frozen) = freezer(&holder, true);
        fs::write(holder.join(file), order)?;
        until(|| Ok(fs::read_to_string(holder.join(state))?.contains(frozen)), "the processes do not freeze")
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        let holder = self.holder()?;
        let (file, order, ..) = freezer(&holder, false);
        fs::write(holder.join(file), order).with_context(|| format!("cannot thaw {}", self.name))
    }

    /// The processes in it and below, in whichever hierarchy.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .directories()
            .iter()
            .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Kills what is left in it, and removes it with all below.
    pub(crate) fn remove(&self) -> Result<()> {
        for directory in self.directories() {
            // A process that is frozen cannot even die.
            let (file, order, ..) = freezer(&directory, false);
            let file = directory.join(file);
            if file.exists() {
                let _ = fs::write(file, order);
            }
        }
        let gone = || {
            for process in self.processes() {
                // Its being in our group is the proof that it is ours.
                let id = i32::try_from(process).ok().and_then(Pid::from_raw);
                let _ = id.map(|id| kill_process(id, Signal::KILL));
            }
            // The deepest first.
            for directory in self.directories().iter().rev() {
                let _ = fs::remove_dir(directory);
            }
            Ok(self.directories().is_empty())
        };
        until(gone, "control groups are still in use").with_context(|| format!("removing {}", self.path()))
    }

    /// All its folders and those below, parents before children.
    fn directories(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.hierarchies.iter().map(|one| one.root.join(&self.name)).collect();
        found.retain(|directory| directory.is_dir());
        let mut next = 0;
        while next < found.len() {
            let below: Vec<PathBuf> = directories(&found[next]).collect();
            found.extend(below);
            next += 1;
        }
        found
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().flatten().any(|name| name == controller)
    }
}

fn mounted() -> Result<Vec<Hierarchy>> {
    Ok(hierarchies(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// `<id> <parent> <device> <root> <mount point> <options> [<fields>] - <type> <source> <options>`
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let of_line = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let root = PathBuf::from(mount.split(' ').nth(4)?);
        let mut filesystem = filesystem.split(' ');
        let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
        let controllers = match kind {
            "cgroup" => Some(options.split(',').map(str::to_owned).collect()),
            "cgroup2" => None,
            _ => return None,
        };
        Some(Hierarchy { root, controllers })
    };
    mountinfo.lines().filter_map(of_line).collect()
}

/// The file to order it, the order, the file to see it, and what is seen there when it is done.
fn freezer(directory: &Path, freeze: bool) -> (&'static str, &'static str, &'static str, &'static str) {
    if directory.join("freezer.state").exists() {
        let state = if freeze { "FROZEN" } else { "THAWED" };
        ("freezer.state", state, "freezer.state", state)
    } else {
        let (order, seen) = if freeze { ("1", "frozen 1") } else { ("0", "frozen 0") };
        ("cgroup.freeze", order, "cgroup.events", seen)
    }
}

/// Lets the groups from the top down to this one have what kubelet needs, in version 2, where the group above decides.
fn delegate(root: &Path, name: &str) -> Result<()> {
    let mut directory = root.to_owned();
    for part in Path::new(name) {
        for controller in fs::read_to_string(directory.join("cgroup.controllers"))?.split_whitespace() {
            // What cannot be had, kubelet names if it needs it.
            let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        directory.push(part);
    }
    Ok(())
}

/// Copies a setting from the top down to this group, where it is empty.
fn inherit(root: &Path, name: &str, file: &str) -> Result<()> {
    let value = fs::read_to_string(root.join(file))?;
    let mut directory = root.to_owned();
    for part in Path::new(name) {
        directory.push(part);
        let file = directory.join(file);
        if fs::read_to_string(&file)?.trim().is_empty() {
            fs::write(&file, &value).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

fn directories(parent: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn until(done: impl Fn() -> Result<bool>, what: &str) -> Result<()> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    while !done()? {
        ensure!(Instant::now() < deadline, "{what} after {} s", SETTLED_WITHIN.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
