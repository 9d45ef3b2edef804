//! What a cluster needs of the machine: root, and programs of Debian's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// A program, or a CNI plugin, and the package that brings it.
const NEEDED: [(&str, &str); 8] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

/// Where root's programs are, also for a shell that was not told of them.
const ROOTS_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Returns if all is there. Installs what is missing when root; else says what to do.
///
/// Blocks, for half a minute when it installs.
pub(crate) fn require() -> Result<()> {
    // apt installs for one at a time, and tests ask side by side.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let packages = missing();
    let root = rustix::process::geteuid().is_root();
    let install = "apt-get install -y --no-install-recommends";
    match (root, packages.is_empty()) {
        (true, true) => return require_namespaces(),
        (true, false) => {}
        (false, true) => {
            bail!("a cluster of real nodes needs root, for namespaces and containers; run it as root")
        }
        (false, false) => bail!(
            "a cluster of real nodes needs root, for namespaces and containers, and packages that are missing here; \
             as root: {install} {}",
            packages.join(" ")
        ),
    }
    eprintln!("lab: installing {}", packages.join(" "));
    let mut result = apt(&["install", "-y", "-qq", "--no-install-recommends"], &packages);
    if result.is_err() {
        // The lists of packages may be old, or not there at all.
        apt(&["update", "-qq"], &[])?;
        result = apt(&["install", "-y", "-qq", "--no-install-recommends"], &packages);
    }
    result.with_context(|| format!("install them by hand: {install} {}", packages.join(" ")))?;
    let missing = missing();
    if !missing.is_empty() {
        bail!("still missing after their installation: {}", missing.join(" "));
    }
    require_namespaces()
}

/// Root of a container may not make them.
fn require_namespaces() -> Result<()> {
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .output()
        .context("cannot start unshare")?;
    let error = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).with_context(|| {
        format!("a cluster of real nodes needs namespaces, which root may not make here: {}", error.trim())
    })
}

/// Returns if root, which alone may look after clusters.
pub(crate) fn require_root() -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    root.then_some(()).context("only root has clusters here; run it as root")
}

fn missing() -> Vec<&'static str> {
    NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect()
}

/// The path of a program, among root's too.
fn find(program: &str) -> Option<PathBuf> {
    let path = search_path();
    env::split_paths(&path).map(|directory| directory.join(program)).find(|path| is_file(path))
}

/// `PATH` with root's programs.
pub(crate) fn search_path() -> String {
    format!("{}:{ROOTS_PATH}", env::var("PATH").unwrap_or_default())
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn apt(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("there is no apt-get")?;
    if !output.status.success() {
        bail!("apt-get {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
