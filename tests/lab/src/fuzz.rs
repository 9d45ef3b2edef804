//! `cargo lab fuzz`: everything that reads what others have written, fed with anything. See `tests/fuzz`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::process::last_lines;

/// An input that takes longer hangs, for people.
const INPUT_SECONDS_MOST: u32 = 10;

/// Logs of several records and objects as big as real ones have to fit.
const INPUT_BYTES_MOST: u32 = 16 << 10;

/// What to fuzz.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Only these targets; all if none is named
    targets: Vec<String>,
}

/// Fuzzes one target after the other, and tells what came of it. Ends at the first input that something is found with.
pub fn run(arguments: &Arguments) -> Result<()> {
    let place = Place::of_this_repository();
    let all = place.targets()?;
    if let Some(unknown) = arguments.targets.iter().find(|target| !all.contains(target)) {
        bail!("there is no target `{unknown}`: name some of {}", all.join(", "));
    }
    let seconds = arguments.minutes.saturating_mul(60);
    ensure!(seconds > 0, "--minutes 0 would fuzz nothing: give a number from 1 on");
    require_tools()?;
    let built = cargo_fuzz(&place, "build").status().context("cannot start cargo")?;
    ensure!(built.success(), "the targets do not compile: see above");
    for target in if arguments.targets.is_empty() { &all } else { &arguments.targets } {
        place.fuzz(target, seconds)?;
    }
    Ok(())
}

fn require_tools() -> Result<()> {
    let is_there = |arguments: &[&str]| {
        let told = Command::new("cargo").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        told.is_ok_and(|status| status.success())
    };
    ensure!(
        is_there(&["+nightly", "--version"]),
        "no nightly compiler, which alone can tell the fuzzer what code an input reaches: rustup toolchain install nightly"
    );
    ensure!(
        is_there(&["fuzz", "--version"]),
        "no cargo-fuzz: cargo install cargo-fuzz (it needs a C++ compiler)"
    );
    Ok(())
}

fn cargo_fuzz(place: &Place, verb: &str) -> Command {
    let mut cargo = Command::new("cargo");
    // Sanitizers look for what unsafe code does, and we have none.
    cargo.args(["+nightly", "fuzz", verb, "--sanitizer", "none", "--fuzz-dir"]).arg(&place.directory);
    // `cargo lab` comes with the lab's own: build scripts that look at them would run again, and all that needs them.
    let of_the_lab = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_the_lab)) {
        cargo.env_remove(name);
    }
    cargo.stdin(Stdio::null());
    cargo
}

/// `tests/fuzz`.
struct Place {
    directory: PathBuf,
}

impl Place {
    fn of_this_repository() -> Self {
        Self { directory: Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz") }
    }

    fn targets(&self) -> Result<Vec<String>> {
        let directory = self.directory.join("targets");
        let mut targets = Vec::new();
        for file in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            targets.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        targets.sort();
        Ok(targets)
    }

    fn fuzz(&self, target: &str, seconds: u32) -> Result<()> {
        let corpus = self.directory.join("corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        let mut cargo = cargo_fuzz(self, "run");
        // What is new goes into the first.
        cargo.arg(target).args([&corpus, &self.directory.join("kept").join(target)]);
        if target == "log" {
            cargo.arg(self.directory.with_file_name("logs"));
        }
        cargo.arg("--").arg(format!("-dict={}", self.directory.join("words").display())).args([
            format!("-max_total_time={seconds}"),
            format!("-max_len={INPUT_BYTES_MOST}"),
            format!("-timeout={INPUT_SECONDS_MOST}"),
            "-print_final_stats=1".to_owned(),
        ]);
        println!("{target}: for {seconds} s");
        let begun = Instant::now();
        let output = cargo.output().context("cannot start cargo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let log = self.directory.join("corpus").join(format!("{target}.log"));
        fs::write(&log, &output.stderr).with_context(|| log.display().to_string())?;
        let tally = Tally::of(&said);
        println!(
            "{target}: {} s, {} inputs, {} edges reached",
            begun.elapsed().as_secs(),
            tally.inputs,
            tally.edges
        );
        let kept = self.directory.join("kept").join(target);
        ensure!(
            output.status.success(),
            "{target}: an input was found, or it did not run. Once mended, move the input to {}, which `cargo test` \
             replays. All of it is in {}, which ends:\n{}",
            kept.display(),
            log.display(),
            last_lines(&log, 30)
        );
        Ok(())
    }
}

/// What the fuzzer has done, by its own account.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    inputs: u64,
    edges: u64,
}

impl Tally {
    fn of(said: &str) -> Self {
        let after = |line: &str, word: &str| line.split_once(word)?.1.split_whitespace().next()?.parse().ok();
        let mut tally = Self::default();
        for line in said.lines() {
            tally.inputs = after(line, "stat::number_of_executed_units:").unwrap_or(tally.inputs);
            tally.edges = after(line, " cov: ").unwrap_or(tally.edges);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzzers_account_is_read() {
        let said = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #99\tNEW    cov: 123 ft: 456 corp: 7/70b lim: 4 exec/s: 0 rss: 31Mb\n\
                    stat::number_of_executed_units: 4711\n";
        assert_eq!(Tally::of(said), Tally { inputs: 4711, edges: 123 });
    }

    #[test]
    fn every_target_is_found_and_has_kept_inputs() {
        let place = Place::of_this_repository();
        let targets = place.targets().unwrap();
        assert_eq!(targets, ["annotations", "facts", "histories", "log", "watch"]);
        for target in targets {
            assert!(place.directory.join("kept").join(&target).is_dir(), "{target}");
        }
    }
}
