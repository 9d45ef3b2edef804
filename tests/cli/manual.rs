//! `zen-lead completions` and `man`, and what krew installs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::{Directory, documents};

use crate::program::{Done, finish, program};

fn run(arguments: &[&str]) -> Result<Done> {
    let mut command = Command::new(program());
    command.args(arguments);
    finish(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_commands_and_flags() -> Result<()> {
    let directory = Directory::create()?;
    let script = directory.path().join("completions");
    fs::write(&script, run(&["completions", "bash"])?.told)?;
    let asked = r#"source "$1"; function=$(complete -p zen-lead | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(zen-lead switchover --t); COMP_CWORD=2; "$function" zen-lead --t switchover
        echo "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", asked, "bash"]).arg(&script);
    let done = finish(bash)?;
    assert_eq!((done.code, done.told.trim()), (Some(0), "--to --timeout"), "{done:?}");
    for shell in ["zsh", "fish"] {
        let done = run(&["completions", shell])?;
        assert!(done.code == Some(0) && done.told.contains("switchover"), "{shell}: {done:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_has_a_page_a_command() -> Result<()> {
    let directory = Directory::create()?;
    let place = directory.path().join("man1");
    let done = run(&["man", place.to_str().context("a path")?])?;
    assert_eq!((done.code, &*done.told, &*done.complained), (Some(0), "", ""));
    for page in ["zen-lead", "zen-lead-status", "zen-lead-switchover", "zen-lead-run"] {
        let text = fs::read_to_string(place.join(format!("{page}.1"))).with_context(|| page.to_owned())?;
        ensure!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let refused = run(&["man", "/proc/nowhere"])?;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.complained.starts_with("error: cannot write the manual into /proc/nowhere: "),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_krew_installs_is_what_was_packed() -> Result<()> {
    let (directory, folder) = (Directory::create()?, Path::new(env!("CARGO_MANIFEST_DIR")));
    let output = directory.path().join("krew");
    let mut pack = Command::new(folder.join("deploy/krew/pack"));
    // Any file will do, and a small one is soon packed.
    pack.arg("https://example.com/zen-lead/")
        .arg(&output)
        .args([folder.join("Cargo.toml"), folder.join("README.md")]);
    let done = finish(pack)?;
    assert_eq!(done.code, Some(0), "{done:?}");
    let manifest =
        documents(&fs::read_to_string(output.join("zen-lead.yaml"))?)?.pop().context("a manifest")?;
    assert_eq!(manifest["spec"]["version"], concat!("v", env!("CARGO_PKG_VERSION")));
    for platform in manifest["spec"]["platforms"].as_array().context("platforms")? {
        let url = platform["uri"].as_str().context("a URI")?;
        let archive =
            output.join(url.strip_prefix("https://example.com/zen-lead/").context("below the URL")?);
        let mut sum = Command::new("sha256sum");
        sum.arg(&archive);
        let sum = finish(sum)?.told;
        assert_eq!(sum.split(' ').next(), platform["sha256"].as_str(), "{url}");
        let mut list = Command::new("tar");
        list.arg("-tzf").arg(&archive);
        let bin = platform["bin"].as_str().context("a program")?;
        assert!(finish(list)?.told.lines().any(|line| line == bin), "{url}");
    }
    Ok(())
}
