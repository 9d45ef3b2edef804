//! Prometheus' own tool, which checks and tests alerts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::build::GoProgram;

const PROMTOOL: GoProgram = GoProgram {
    what: "promtool",
    minutes: 6,
    sources: &[
        ("go.mod", include_str!("../promtool/go.mod")),
        ("go.sum", include_str!("../promtool/go.sum")),
    ],
    package: "github.com/prometheus/prometheus/cmd/promtool",
    linker_flags: "-s -w",
    binary: "promtool",
    links: &[],
    remedy: "install Go 1.26 or later, or set PROMTOOL to a promtool that you have",
};

/// A promtool on this machine.
#[derive(Debug, Clone)]
pub struct Promtool {
    program: PathBuf,
}

impl Promtool {
    /// That of `PROMTOOL` if it is set, else the one in the cache, which is built if it is missing.
    ///
    /// Blocks, for minutes the first time; says so on stderr.
    pub fn find_or_build() -> Result<Self> {
        Ok(Self { program: PROMTOOL.given_or_built("PROMTOOL")? })
    }

    /// Its path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it and returns what it says; fails with that if it finds anything wrong. Blocks.
    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "promtool ended with {}:\n{said}", output.status);
        Ok(said)
    }
}
