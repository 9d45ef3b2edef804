//! What the image is built from: a commit, and its time.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use k8s_openapi::jiff::Timestamp;

/// A state of the repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    /// The commit, `-dirty` if files differ from it; nothing without git or its history, as in an archive.
    pub(super) revision: Option<String>,
    /// Seconds since 1970, the image's only time: of the commit, or what `SOURCE_DATE_EPOCH` says.
    pub(super) epoch: i64,
}

impl Source {
    pub(super) fn of(repository: &Path) -> Result<Self> {
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .arg("-C")
                .arg(repository)
                .args(arguments)
                .stdin(Stdio::null())
                .output()
                .ok()?;
            let said = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| said.trim().to_owned())
        };
        let revision = git(&["rev-parse", "HEAD"]).map(|commit| {
            let is_dirty = git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
            commit + if is_dirty { "-dirty" } else { "" }
        });
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(given) => given.parse().with_context(|| {
                format!("SOURCE_DATE_EPOCH is `{given}`: give whole seconds since 1970, or unset it")
            })?,
            Err(_) => git(&["log", "-1", "--format=%ct"]).and_then(|time| time.parse().ok()).unwrap_or(0),
        };
        Ok(Self { revision, epoch })
    }

    /// As the specification wants it, in RFC 3339.
    pub(super) fn created(&self) -> Result<String> {
        let time = Timestamp::from_second(self.epoch)
            .with_context(|| format!("{} is no time: SOURCE_DATE_EPOCH is too big", self.epoch))?;
        Ok(time.to_string())
    }
}
