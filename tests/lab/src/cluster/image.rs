//! Container images without a registry and without a daemon: archives that containerd imports.

use std::env::{self, consts};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// What holds a pod's namespaces.
pub(crate) const PAUSE: &str = "docker.io/lab/pause:1";

/// The image of the server that says who answers: see `tests/lab/web/src/main.rs` for its ports and its settings. Its
/// pods say `imagePullPolicy: IfNotPresent`, or kubelet looks for a registry.
pub const WEB: &str = "docker.io/lab/web:1";

/// The lab's own images: their archives, made below this folder.
pub(crate) fn build_own(directory: &Path) -> Result<Vec<PathBuf>> {
    let web = static_program("lab-web")?;
    let image = |tag, arguments: &[&str]| {
        archive(&web, tag, arguments).with_context(|| format!("making the image {tag}"))
    };
    fs::create_dir_all(directory)?;
    let mut archives = Vec::new();
    for (name, content) in [("pause", image(PAUSE, &["pause"])?), ("web", image(WEB, &[])?)] {
        let path = directory.join(format!("{name}.tar"));
        fs::write(&path, content)?;
        archives.push(path);
    }
    Ok(archives)
}

/// Builds a package of this workspace as one static file, by cargo, which keeps what it has built.
///
/// Blocks, for half a minute the first time.
fn static_program(package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", consts::ARCH);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    require_target(&target)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--package", package, "--target", &target])
        .args(["--message-format", "json"])
        .current_dir(&workspace)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo cannot build {package} for {target}");
    // The folder of the results is the user's choice; cargo says where they are.
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    let found = String::from_utf8_lossy(&output.stdout).lines().find_map(executable);
    found.with_context(|| format!("cargo does not say where {package} is"))
}

fn require_target(target: &str) -> Result<()> {
    // Where Rust was not installed by rustup there is nothing to ask, and the build tells what is missing.
    let Ok(installed) = rustup(&["target", "list", "--installed"]) else { return Ok(()) };
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    eprintln!("lab: installing Rust's standard library for {target}");
    rustup(&["target", "add", target]).map(drop)
}

fn rustup(arguments: &[&str]) -> Result<String> {
    let output = Command::new("rustup").args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("rustup {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An image with one file, as `docker save` writes it.
fn archive(program: &Path, tag: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let folder = crate::Directory::create()?;
    let (layer, image) = (folder.path().join("layer"), folder.path().join("image"));
    fs::create_dir(&layer)?;
    fs::create_dir(&image)?;
    fs::copy(program, layer.join("web"))?;
    tar(&layer, &image.join("layer.tar"))?;
    let digest = digest(&SHA256, &fs::read(image.join("layer.tar"))?);
    let digest = super::hex(digest.as_ref())?;
    let entry_point = [&["/web"], arguments].concat();
    let config = json!({
        "architecture": architecture()?,
        "os": "linux",
        "config": { "Entrypoint": entry_point },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    fs::write(image.join("config.json"), config.to_string())?;
    fs::write(image.join("manifest.json"), manifest.to_string())?;
    let archive = folder.path().join("image.tar");
    tar(&image, &archive)?;
    Ok(fs::read(archive)?)
}

/// All of a folder, by GNU tar: the same bytes for the same content.
fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let output = Command::new("tar")
        .args([
            "--create",
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--directory",
        ])
        .arg(folder)
        .arg(".")
        .stdin(Stdio::null())
        .stdout(File::create(archive)?)
        .stderr(Stdio::piped())
        .output()
        .context("cannot start tar")?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// This machine's, as images name it.
fn architecture() -> Result<&'static str> {
    match consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("the lab's cluster runs on x86_64 and aarch64, not on {other}"),
    }
}
