//! The program, linked statically, with nothing in it of where it was built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::arch::Arch;

/// What variables of the user's begin with that would change what is built.
const LEFT_OUT: [&str; 9] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_PROFILE_",
    "CARGO_TARGET_X86_64_",
    "CARGO_TARGET_AARCH64_",
    "CC_",
    "CFLAGS",
    "TARGET_C",
];

/// What cargo is told, here and in `deploy/Containerfile`.
pub(super) const ARGUMENTS: [&str; 5] =
    ["build", "--release", "--locked", "--package=zen-lead", "--bin=zen-lead"];

/// Builds it, and tells where it is.
pub(super) fn build(repository: &Path, arch: Arch) -> Result<PathBuf> {
    require_tools(arch)?;
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context(
            "neither CARGO_HOME nor HOME is set, so the crates' place cannot be kept out of the binary",
        )?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [remap(repository, "/zen-lead"), remap(&cargo_home, "/cargo")];
    let mut cargo = Command::new("cargo");
    cargo
        .args(ARGUMENTS)
        .args(["--message-format=json-render-diagnostics", "--target", arch.triple()])
        // Added to the flags in `.cargo/config.toml`; a variable would replace them.
        .arg(format!("--config=target.{}.rustflags={flags:?}", arch.triple()))
        .current_dir(repository)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let of_the_lab = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (name, _) in env::vars_os() {
        let starts_with = |start: &&str| name.to_str().is_some_and(|name| name.starts_with(*start));
        if LEFT_OUT.iter().chain(&of_the_lab).any(starts_with) {
            cargo.env_remove(name);
        }
    }
    eprintln!("lab: building zen-lead for {arch}, which takes minutes if much has changed");
    let output = cargo.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "zen-lead does not build for {arch}: see above");
    executable(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo built zen-lead for {arch}, and does not tell where"))
}

/// What cargo's messages name as the built program.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "zen-lead")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn require_tools(arch: Arch) -> Result<()> {
    let told = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    ensure!(
        told("clang", &["--version"]).is_some(),
        "no clang, which compiles ring's C for any architecture: apt-get install clang"
    );
    let triple = arch.triple();
    let library =
        told("rustc", &["--print", "target-libdir", "--target", triple]).context("cannot run rustc")?;
    ensure!(
        Path::new(&library).exists(),
        "this compiler has no standard library for {arch}: rustup target add {triple}, or leave {arch} out by --arch"
    );
    Ok(())
}

/// Refuses a program that would not start on scratch: of another architecture, or one that wants an interpreter.
pub(super) fn require_static(program: &[u8], arch: Arch) -> Result<()> {
    /// The program header that names the dynamic linker.
    const PT_INTERP: u32 = 3;
    let field = |at: usize, length: usize| {
        let bytes = program.get(at..at + length).context("not a whole ELF file")?;
        Ok::<_, anyhow::Error>(
            bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)),
        )
    };
    // 64 bits, little-endian: both architectures' are.
    ensure!(program.starts_with(b"\x7fELF\x02\x01"), "not an ELF file of 64 bits");
    let machine = field(18, 2)?;
    ensure!(machine == usize::from(arch.in_elf()), "for machine {machine}, which is not {arch}");
    let (start, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
    for header in 0..count {
        if field(start + header * size, 4)? == PT_INTERP as usize {
            bail!("linked dynamically: scratch has no dynamic linker and no libraries");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_refused_and_so_is_another_architectures() {
        let own = std::fs::read(env::current_exe().unwrap()).unwrap();
        let here = Arch::of_this_machine().expect("tests run on amd64 and arm64");
        let other = Arch::ALL.into_iter().find(|arch| *arch != here).unwrap();
        let refusal = |program: &[u8], arch| require_static(program, arch).unwrap_err().to_string();
        assert!(refusal(&own, here).starts_with("linked dynamically"), "{}", refusal(&own, here));
        assert!(refusal(&own, other).contains("which is not"), "{}", refusal(&own, other));
        assert_eq!(refusal(&own[..40], here), "not a whole ELF file");
        assert_eq!(refusal(b"#!/bin/sh", here), "not an ELF file of 64 bits");
    }

    #[test]
    fn the_program_is_found_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"machine"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"zen-lead"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"zen-lead"},"executable":"/t/release/zen-lead"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/t/release/zen-lead".into()));
    }
}
