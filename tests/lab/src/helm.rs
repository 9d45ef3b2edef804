//! Helm, which renders, checks and installs the chart.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::build::GoProgram;

const HELM: GoProgram = GoProgram {
    what: "helm",
    minutes: 3,
    sources: &[("go.mod", include_str!("../helm/go.mod")), ("go.sum", include_str!("../helm/go.sum"))],
    package: "helm.sh/helm/v3/cmd/helm",
    // What it takes for the cluster's version when it renders without one; unset, that is 1.20.
    linker_flags: "-s -w -X helm.sh/helm/v3/internal/version.version=v3.20.0 \
        -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=35 \
        -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=35",
    binary: "helm",
    links: &[],
    remedy: "install Go 1.26 or later, or set HELM to a helm 3 that you have",
};

/// A helm on this machine.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// That of `HELM` if it is set, else the one in the cache, which is built if it is missing. It knows no cluster.
    ///
    /// Blocks, for minutes the first time; says so on stderr.
    pub fn find_or_build() -> Result<Self> {
        Ok(Self { program: HELM.given_or_built("HELM")?, kubeconfig: None })
    }

    /// The same for a cluster.
    #[must_use]
    pub fn with_kubeconfig(self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: Some(kubeconfig.to_owned()), ..self }
    }

    /// Runs it and returns what it writes to stdout; fails with what it writes to stderr. Blocks.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut helm = Command::new(&self.program);
        // Neither the user's cluster nor the user's settings.
        helm.env_clear()
            .env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or_else(|| Path::new("/dev/null")));
        let home = std::env::temp_dir().join("zen-lead-helm");
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME"] {
            helm.env(variable, &home);
        }
        let output = helm
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let (told, wrong) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "helm {} ended with {}:\n{told}{wrong}",
            arguments.join(" "),
            output.status
        );
        Ok(told)
    }
}
