//! etcd, the API server and kubectl as programs on this machine.
//!
//! They are one binary, built by Go from the modules of Kubernetes and etcd (`control-plane/`), that acts as the
//! component whose name it is called by.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::build::GoProgram;

const CONTROL_PLANE: GoProgram = GoProgram {
    what: "etcd and Kubernetes",
    minutes: 6,
    sources: &[
        ("main.go", include_str!("../control-plane/main.go")),
        ("go.mod", include_str!("../control-plane/go.mod")),
        ("go.sum", include_str!("../control-plane/go.sum")),
    ],
    package: ".",
    // Without these the API server calls itself v0.0.0, which clients may take for a very old server.
    linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
        -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35",
    binary: "kube-lab",
    // Those that `control-plane/main.go` knows.
    links: &[
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubectl",
        "kubelet",
    ],
    remedy: "install Go 1.25 or later, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl",
};

/// What is needed beside a control plane's own where there are nodes.
const NODES: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"];

/// A folder with the programs of a control plane.
#[derive(Debug, Clone)]
pub struct Assets {
    directory: PathBuf,
}

impl Assets {
    /// Those of `KUBEBUILDER_ASSETS` if it is set, else those in the cache, which are built if they are missing.
    ///
    /// Blocks, for minutes the first time; says so on stderr.
    pub fn find_or_build() -> Result<Self> {
        match env::var_os("KUBEBUILDER_ASSETS") {
            Some(directory) => Self::given(directory.into()),
            None => Ok(Self { directory: CONTROL_PLANE.find_or_build()? }),
        }
    }

    /// Whether those that a node needs are there or can be built.
    pub(crate) fn require_nodes() -> Result<()> {
        let Some(directory) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else { return Ok(()) };
        let missing = NODES.iter().find(|name| !directory.join(name).exists());
        ensure!(
            missing.is_none(),
            "a cluster of real nodes needs {}, which is not in KUBEBUILDER_ASSETS, {}: unset it, and all are built by Go",
            missing.unwrap_or(&""),
            directory.display()
        );
        Ok(())
    }

    fn given(directory: PathBuf) -> Result<Self> {
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            let program = directory.join(name);
            ensure!(program.exists(), "KUBEBUILDER_ASSETS is set, but {} does not exist", program.display());
        }
        Ok(Self { directory })
    }

    /// Where the programs are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one of them: `etcd`, `kube-apiserver`, `kubectl`, ...
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
