//! A folder of its own for whatever is written: by a control plane, a browser, a test. Removed with its owner.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::{Context, Result};

use crate::process::is_alive;

pub(crate) const PREFIX: &str = "zen-lead-lab-";

/// A folder of our own, named after this process so that a later one can tell whether its owner still lives.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new one, below the system's folder for temporary files.
    pub fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("{PREFIX}{}-{count}", process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Statics are not dropped when a test process ends, and a killed one drops nothing, so the next one cleans up.
pub(crate) fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let owner = entry.file_name().to_str().and_then(owner_of);
        if owner.is_some_and(|owner| !is_alive(owner)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_a_dead_process_is_removed_and_that_of_a_living_one_is_kept() {
        let mut short_lived = process::Command::new("true").spawn().unwrap();
        short_lived.wait().unwrap();
        let dead = env::temp_dir().join(format!("{PREFIX}{}-0", short_lived.id()));
        fs::create_dir_all(dead.join("etcd")).unwrap();

        let first = Directory::create().unwrap();
        let second = Directory::create().unwrap();

        assert!(!dead.exists());
        assert!(first.path().exists() && second.path().exists());
    }
}
