//! Tar files that only depend on what is in them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// The image's one layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The tar file: its digest is what a node verifies after unpacking.
    pub(super) tar: Vec<u8>,
    /// As it is pulled.
    pub(super) compressed: Vec<u8>,
}

/// The program and its licence, at the root.
pub(super) fn of(program: &[u8], license: &[u8]) -> Result<Layer> {
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "LICENSE", license, 0o644)?;
    append(&mut tar, "zen-lead", program, 0o755)?;
    let tar = tar.into_inner()?;
    // Its header says no time and no name of its own accord.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    Ok(Layer { compressed: gzip.finish()?, tar })
}

/// A whole directory as one file.
pub(super) fn archive(directory: &Path, file: &Path) -> Result<()> {
    let output = File::create(file).with_context(|| file.display().to_string())?;
    let mut tar = Builder::new(BufWriter::new(output));
    append_all(&mut tar, directory, "")?;
    tar.into_inner()?.flush().with_context(|| file.display().to_string())
}

fn append_all<W: io::Write>(tar: &mut Builder<W>, directory: &Path, prefix: &str) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        names.push(entry?.file_name().into_string().ok().context("a name in the layout is not UTF-8")?);
    }
    // A directory tells its files in any order.
    names.sort();
    for name in names {
        let (path, in_tar) = (directory.join(&name), format!("{prefix}{name}"));
        if path.is_dir() {
            append_all(tar, &path, &format!("{in_tar}/"))?;
        } else {
            append(tar, &in_tar, &fs::read(&path)?, 0o644)?;
        }
    }
    Ok(())
}

/// A file of root's and of 1970: neither who builds nor when is anybody's business.
fn append<W: io::Write>(tar: &mut Builder<W>, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len().try_into()?);
    tar.append_data(&mut header, name, content).with_context(|| name.to_owned())
}
