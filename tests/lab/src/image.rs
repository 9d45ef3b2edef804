//! `cargo lab image`: the image, without a daemon, root or containers.
//!
//! ```text
//! cargo build for musl  ->  layer  ->  config, manifest  ->  index  ->  layout/, *.oci.tar
//!      (each architecture, by [`binary`] and [`layer`])            (by [`layout`])
//! ```
//!
//! The same commit, compiler and clang give the same digest, whoever builds it where and when: nothing in the image
//! comes from the clock, the directory or the user. `deploy/Containerfile` says the same to those who have a builder.

mod arch;
mod binary;
mod layer;
mod layout;
mod sbom;
mod source;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

pub use arch::Arch;
use layout::{Layout, Part};
use source::Source;

/// What the image is called where it is imported: what `deploy/base/deployment.yaml` names, in full.
pub const NAME: &str = concat!("docker.io/library/zen-lead:", env!("CARGO_PKG_VERSION"));

/// What a node has to pull before the controller runs there.
const COMPRESSED_BYTES_MOST: u64 = 12 << 20;

/// What to build, and where to write it.
#[derive(clap::Args, Debug, Clone)]
pub struct Arguments {
    /// For which architectures; all if none is named
    #[arg(long, value_enum)]
    pub arch: Vec<Arch>,
    /// The folder to write into; `image` in the target directory if none is named
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Image {
    /// Of the index of all architectures: what a registry gives as the image's digest, with `sha256:`.
    pub digest: String,
    /// Each architecture's compressed size: what a node pulls.
    pub sizes: Vec<(Arch, u64)>,
    /// The OCI layout, for tools that copy images.
    pub layout: PathBuf,
    /// The same in one file, for `ctr images import`.
    pub archive: PathBuf,
    /// Each architecture's bill of materials, in `CycloneDX`.
    pub bills: Vec<PathBuf>,
}

/// Builds the image and tells what came of it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let image = build(arguments)?;
    for (arch, size) in &image.sizes {
        println!(
            "{arch}: {} KiB compressed, of {} at most",
            size.div_ceil(1024),
            COMPRESSED_BYTES_MOST / 1024
        );
    }
    println!("{NAME}@{}", image.digest);
    println!("layout: {}", image.layout.display());
    println!("archive: {}", image.archive.display());
    for bill in &image.bills {
        println!("bill of materials: {}", bill.display());
    }
    Ok(())
}

/// Builds the image. Blocks for minutes.
pub fn build(arguments: &Arguments) -> Result<Image> {
    let repository = repository()?;
    let source = Source::of(&repository)?;
    let mut archs = if arguments.arch.is_empty() { Arch::ALL.to_vec() } else { arguments.arch.clone() };
    archs.sort_unstable();
    archs.dedup();
    let license = fs::read(repository.join("LICENSE")).context("LICENSE, which belongs into the image")?;
    let mut parts = Vec::new();
    let mut target_directory = None;
    let mut bills = Vec::new();
    for arch in archs {
        bills.push((arch, sbom::of(&repository, arch, &source)?));
        let binary = binary::build(&repository, arch)?;
        let program = fs::read(&binary).with_context(|| binary.display().to_string())?;
        binary::require_static(&program, arch).with_context(|| binary.display().to_string())?;
        parts.push(Part { arch, layer: layer::of(&program, &license)? });
        // `<target directory>/<triple>/release/zen-lead`
        target_directory = binary.ancestors().nth(3).map(Path::to_owned);
    }
    let output = match (&arguments.output, target_directory) {
        (Some(output), _) => output.clone(),
        (None, Some(target)) => target.join("image"),
        (None, None) => repository.join("target/image"),
    };
    let mut image = write(&output, &parts, &source)?;
    for (arch, bill) in bills {
        let file =
            output.join(format!(concat!("zen-lead-", env!("CARGO_PKG_VERSION"), "-{}.cdx.json"), arch));
        fs::write(&file, bill).with_context(|| file.display().to_string())?;
        image.bills.push(file);
    }
    Ok(image)
}

/// Writes the layout anew and refuses an image that is too big.
fn write(output: &Path, parts: &[Part], source: &Source) -> Result<Image> {
    let layout = output.join("layout");
    if layout.exists() {
        // Left as it was unless it is what this command writes: `--output` may name anything.
        ensure!(
            layout.join("oci-layout").exists(),
            "{} exists and is no OCI layout: remove it, or name another folder in --output",
            layout.display()
        );
        fs::remove_dir_all(&layout).with_context(|| layout.display().to_string())?;
    }
    let written = Layout::create(&layout)?.write(parts, source)?;
    for (arch, size) in &written.sizes {
        ensure!(
            *size <= COMPRESSED_BYTES_MOST,
            "the image for {arch} is {size} bytes, compressed, and at most {COMPRESSED_BYTES_MOST} are allowed: see what \
             the program has grown by, with `cargo bloat --release --crates`"
        );
    }
    let archive = output.join(concat!("zen-lead-", env!("CARGO_PKG_VERSION"), ".oci.tar"));
    layer::archive(&layout, &archive)?;
    Ok(Image { digest: written.digest, sizes: written.sizes, layout, archive, bills: Vec::new() })
}

fn repository() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("the lab is not in its repository")?;
    Ok(root.to_owned())
}

#[cfg(test)]
mod tests;
