//! Whose a cluster is: its name tells, so that one whose owner has died can be found and removed.
//!
//! The kernel ends all processes of a cluster with its owner, and their mounts and networks with them (see
//! [`super`]). What can stay behind is empty control groups, and the folder of its files.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::cgroup::Cgroup;
use crate::directory;

/// How all their names begin.
const PREFIX: &str = "zen-lead-lab-cluster-";

/// The kubeconfig of a cluster that was started for hands, in the folder of its files.
const HANDS: &str = "kubeconfig";

/// Longer than a cluster takes to be removed.
const DOWN_WITHIN: Duration = Duration::from_mins(1);

/// A process, so that another one with its id is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    id: u32,
    /// In ticks of the kernel's clock.
    started: u64,
}

impl Owner {
    fn this() -> Result<Self> {
        let id = process::id();
        Ok(Self { id, started: started(id).context("/proc does not show this process")? })
    }

    fn is_alive(self) -> bool {
        started(self.id) == Some(self.started)
    }

    /// `<prefix><id>-<started>-<count>`
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        Some(Self { id: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? })
    }
}

/// A name for a new cluster of this process.
pub(crate) fn new_name() -> Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Owner { id, started } = Owner::this()?;
    Ok(format!("{PREFIX}{id}-{started}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Removes what clusters have left behind whose owners are dead; returns their names. Blocks.
pub fn remove_leftovers() -> Result<Vec<String>> {
    directory::remove_leftovers();
    let mut names = Cgroup::names(PREFIX)?;
    names.retain(|name| Owner::of(name).is_some_and(|owner| !owner.is_alive()));
    for name in &names {
        Cgroup::named(name)?.remove()?;
    }
    Ok(names)
}

/// A cluster that `cargo lab cluster up` keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    owner: Owner,
    pub(crate) kubeconfig: PathBuf,
}

/// Where to put the kubeconfig of such a cluster: from its being there others know of the cluster.
pub(crate) fn kubeconfig_for_hands(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.{HANDS}"))
}

/// Those that are kept now.
pub(crate) fn kept() -> Vec<Kept> {
    let folders = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten();
    let files = folders
        .filter(|folder| folder.file_name().to_string_lossy().starts_with(directory::PREFIX))
        .flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let cluster = |file: fs::DirEntry| {
        // In a folder that others may write to as well, only our own word tells us to end a process.
        let ours = file.metadata().ok()?.uid() == geteuid().as_raw();
        let name = file.file_name().into_string().ok().filter(|_| ours)?;
        let owner = Owner::of(name.strip_suffix(HANDS)?.strip_suffix('.')?)?;
        Some(Kept { owner, kubeconfig: file.path() })
    };
    files.filter_map(cluster).filter(|cluster| cluster.owner.is_alive()).collect()
}

impl Kept {
    /// The process that keeps it.
    pub(crate) fn process(&self) -> u32 {
        self.owner.id
    }

    /// Tells its owner to end it, and returns when both are gone. Blocks.
    pub(crate) fn end(&self) -> Result<()> {
        let id = i32::try_from(self.owner.id).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(id, Signal::TERM).with_context(|| format!("SIGTERM to process {}", self.owner.id))?;
        let deadline = Instant::now() + DOWN_WITHIN;
        while self.owner.is_alive() {
            let seconds = DOWN_WITHIN.as_secs();
            ensure!(Instant::now() < deadline, "process {} is still there after {seconds} s", self.owner.id);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// When a process began; None if there is none of this id, or only what is left of one.
fn started(id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which is in parentheses and may contain any character: fields 3 (state) and on; 22 is the start.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    (fields[0] != "Z").then(|| fields.get(19)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_and_another_process_of_that_id_is_not_it() {
        let name = new_name().unwrap();
        let owner = Owner::of(&name).unwrap();
        assert!(owner.is_alive());
        assert!(!Owner { started: owner.started + 1, ..owner }.is_alive());
        assert_eq!(Owner::of("zen-lead-lab-cluster-12"), None);
        assert_ne!(name, new_name().unwrap());
    }
}
