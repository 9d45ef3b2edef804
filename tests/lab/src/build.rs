//! etcd, the API server and kubectl as programs on this machine.
//!
//! They are one binary, built by Go from the modules of Kubernetes and etcd (`control-plane/`), that acts as the
//! component whose name it is called by. Building takes minutes, so the result is kept in the user's cache
//! directory under a hash of its sources: a fresh clone, another worktree or `cargo clean` do not build it again.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use anyhow::{Context, Result, bail, ensure};

use crate::process::last_lines;

/// The sources are compiled in, so that what is built and what is hashed cannot differ.
const SOURCES: [(&str, &str); 3] = [
    ("main.go", include_str!("../control-plane/main.go")),
    ("go.mod", include_str!("../control-plane/go.mod")),
    ("go.sum", include_str!("../control-plane/go.sum")),
];

/// The binary's own name. It appears by a rename when it is complete, so its presence says that it is usable.
const BINARY: &str = "kube-lab";

/// The names it is linked to: those that `control-plane/main.go` knows.
const COMPONENTS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
    "kubelet",
];

/// Without these the API server calls itself v0.0.0, which clients may take for a very old server.
const LINKER_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.35.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35";

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
        if let Some(directory) = env::var_os("KUBEBUILDER_ASSETS") {
            return Self::given(directory.into());
        }
        let directory = cache_directory()?.join(format!("{:016x}", hash(&SOURCES)));
        if !directory.join(BINARY).exists() {
            fs::create_dir_all(&directory)?;
            let _one_builder = lock(&directory.join("lock"))?;
            // Whoever held the lock before may have built it meanwhile.
            if !directory.join(BINARY).exists() {
                build(&directory)?;
            }
        }
        Ok(Self { directory })
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

fn build(directory: &Path) -> Result<()> {
    require_go()?;
    let sources = directory.join("source");
    fs::create_dir_all(&sources)?;
    for (name, content) in SOURCES {
        fs::write(sources.join(name), content)?;
    }
    for name in COMPONENTS {
        link(&directory.join(name))?;
    }
    // If a builder is killed, its compiler goes on for a while: it must not write into the next builder's file.
    let unfinished = directory.join(format!("unfinished-{}", process::id()));
    let log = directory.join("build.log");
    let output = File::create(&log)?;
    let mut go = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", LINKER_FLAGS, "-o"])
        .arg(&unfinished)
        .arg(".")
        .current_dir(&sources)
        .env("CGO_ENABLED", "0")
        // A workspace or vendor setting of the user's must not reach into this build.
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=readonly")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot start go")?;

    eprintln!(
        "lab: building etcd and Kubernetes from Go modules (first time only, about 6 minutes on 2 cores) into {}",
        directory.display()
    );
    let begun = Instant::now();
    let mut next_word = Duration::from_secs(15);
    let status = loop {
        if let Some(status) = go.try_wait()? {
            break status;
        }
        if begun.elapsed() >= next_word {
            eprintln!("lab: still building etcd and Kubernetes, {} s", begun.elapsed().as_secs());
            next_word += Duration::from_secs(15);
        }
        thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        bail!("go build ended with {status}; the end of {}:\n{}", log.display(), last_lines(&log, 20));
    }
    fs::rename(&unfinished, directory.join(BINARY))?;
    eprintln!("lab: built in {} s", begun.elapsed().as_secs());
    Ok(())
}

fn require_go() -> Result<()> {
    let found =
        Command::new("go").arg("version").stdin(Stdio::null()).output().is_ok_and(|o| o.status.success());
    ensure!(
        found,
        "the lab needs etcd and kube-apiserver, and there is no `go` on PATH to build them: install Go 1.25 or \
         later, or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl"
    );
    Ok(())
}

fn link(name: &Path) -> Result<()> {
    match symlink(BINARY, name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot link {}", name.display()))
        }
        _ => Ok(()),
    }
}

/// Held while building; the kernel releases it when the process ends, however that happens.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    if file.try_lock().is_err() {
        eprintln!("lab: waiting for another process that is building etcd and Kubernetes");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn cache_directory() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        // The specification wants relative paths ignored.
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set, so there is no place to keep the built programs")?;
    Ok(cache.join("zen-lead-lab"))
}

/// FNV-1a. The standard library's hasher may change with the toolchain, and that would cost everyone a build.
fn hash(sources: &[(&str, &str)]) -> u64 {
    sources
        .iter()
        .flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()])
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
