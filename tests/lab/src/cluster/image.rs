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
    fs::create_dir_all(directory)?;
    let archives = [directory.join("pause.tar"), directory.join("web.tar")];
    archive(&web, &["pause"], PAUSE, &archives[0])?;
    archive(&web, &[], WEB, &archives[1])?;
    Ok(archives.to_vec())
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

/// Writes an image as `docker save` does: this program without what debuggers need, with these arguments before those of
/// the pod, and the libraries that it is linked to, if it is not a static one. The name is a full one, such as `docker.io/library/orders:1`. Blocks.
pub fn archive(program: &Path, arguments: &[&str], name: &str, archive: &Path) -> Result<()> {
    let folder = crate::Directory::create()?;
    let (layer, image) = (folder.path().join("layer"), folder.path().join("image"));
    fs::create_dir(&image)?;
    let executable = Path::new("/").join(program.file_name().context("a program has a name")?);
    strip(&copy_into(&layer, program, &executable)?)?;
    for library in libraries(program)? {
        copy_into(&layer, &library, &library)?;
    }
    tar(&layer, &image.join("layer.tar"))?;
    let digest = digest(&SHA256, &fs::read(image.join("layer.tar"))?);
    let digest = super::hex(digest.as_ref())?;
    let path = executable.to_string_lossy();
    let entry_point = [&[&*path], arguments].concat();
    let config = json!({
        "architecture": architecture()?,
        "os": "linux",
        "config": { "Entrypoint": entry_point },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    fs::write(image.join("config.json"), config.to_string())?;
    fs::write(image.join("manifest.json"), manifest.to_string())?;
    tar(&image, archive).with_context(|| format!("making the image {name}"))
}

/// What a program is linked to, by its path on this machine; nothing for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output =
        Command::new("ldd").arg(program).stdin(Stdio::null()).output().context("cannot start ldd")?;
    // name => path (address), or path (address) for the loader; the kernel's own has no path.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// Nodes keep images in memory, twice, and a debug build is a hundred megabytes.
fn strip(program: &Path) -> Result<()> {
    let output = Command::new("strip").arg(program).output().context("cannot start strip, of binutils")?;
    ensure!(output.status.success(), "strip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn copy_into(root: &Path, from: &Path, to: &Path) -> Result<PathBuf> {
    let to = root.join(to.strip_prefix("/")?);
    fs::create_dir_all(to.parent().context("it is below the root")?)?;
    fs::copy(from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(to)
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
