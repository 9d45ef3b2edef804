//! What each replica recorded of its decisions, for `zen-lead replay`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use zen_lead::record::Recorder;

/// What one replica recorded in one of its lives.
pub(crate) struct Log {
    name: String,
    /// Of each Service that it saw.
    text: String,
}

impl Log {
    /// What is in a replica's flight recorder; none: it has decided nothing.
    pub(crate) fn of(seed: u64, replica: &str, recorder: &Recorder) -> Option<Self> {
        let services = recorder.services();
        let logs = services.iter().filter_map(|key| recorder.log(&key.namespace, &key.name));
        let text: String = logs.collect();
        (!text.is_empty()).then(|| Self { name: format!("seed-{seed}-{replica}.jsonl"), text })
    }

    /// Writes it into a folder, which is made if need be, and answers where it is.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join(&self.name);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, &self.text))
            .with_context(|| format!("cannot write {}; name a folder for logs with --log", file.display()))?;
        Ok(file)
    }
}
