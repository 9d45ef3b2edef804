//! Runs of the program, and what they print with everything masked that differs from run to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use lab::Namespace;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) told: String,
    pub(crate) complained: String,
}

/// A run as administrator, in this namespace.
pub(crate) fn zen_lead(ns: &Namespace, arguments: &[&str]) -> Result<Done> {
    run(&ns.kubeconfig_admin()?, arguments)
}

/// A run with this kubeconfig.
pub(crate) fn run(kubeconfig: &Path, arguments: &[&str]) -> Result<Done> {
    let mut program = Command::new(program());
    program.args(arguments).arg("--kubeconfig").arg(kubeconfig);
    finish(program)
}

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_zen-lead").into()
}

/// Waits for its end.
pub(crate) fn finish(mut program: Command) -> Result<Done> {
    let output = tokio::task::block_in_place(|| program.output())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { code: output.status.code(), told: text(output.stdout), complained: text(output.stderr) })
}

impl Done {
    /// What was told, if all went well and nothing was complained of, masked.
    #[track_caller]
    pub(crate) fn told(&self, ns: &Namespace) -> String {
        assert_eq!((self.code, &*self.complained), (Some(0), ""), "{self:?}");
        masked(&self.told, ns)
    }

    /// The one line that was complained of, if it ended with 1 and told nothing, masked.
    #[track_caller]
    pub(crate) fn refusal(&self, ns: &Namespace) -> String {
        assert_eq!((self.code, &*self.told), (Some(1), ""), "{self:?}");
        assert_eq!(self.complained.lines().count(), 1, "{self:?}");
        assert!(self.complained.starts_with("error: "), "{self:?}");
        masked(&self.complained["error: ".len()..], ns).trim_end().to_owned()
    }
}

/// A text with times, ages, UIDs, addresses, epochs and the namespace's name replaced, and columns of any width.
pub(crate) fn masked(text: &str, ns: &Namespace) -> String {
    let text = text.replace(ns.name(), "NS");
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let cells = line.trim_start().split("  ").filter(|cell| !cell.is_empty());
        let cells: Vec<String> = cells.map(|cell| words(cell.trim())).collect();
        lines.push(format!("{indent}{}", cells.join("   ")));
    }
    lines.join("\n")
}

/// The words of a cell, each masked; a number and its unit are one.
fn words(cell: &str) -> String {
    let mut masked: Vec<String> = Vec::new();
    for word in cell.split(' ') {
        let unit = word.trim_end_matches([',', ')', ';', ':']);
        let rest = &word[unit.len()..];
        if ["us", "ms", "s"].contains(&unit) && masked.last().is_some_and(|last| is_number(last)) {
            masked.pop();
            masked.push(format!("SPAN{rest}"));
        } else {
            masked.push(whole(word));
        }
    }
    masked.join(" ")
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit() || c == '.') && !word.is_empty()
}

/// A word without the punctuation around it, masked if it is one of those.
fn whole(word: &str) -> String {
    let around = |c: char| "()\",;:".contains(c);
    let inner = word.trim_matches(around);
    let (before, after) = word.split_once(inner).unwrap_or((word, ""));
    let mask = match inner {
        "" => return word.to_owned(),
        time if is_like(time, "0000-00-00T00:00:00Z") => "TIME",
        uid if is_uid(uid) => "UID",
        epoch if is_like(epoch, "0000000000") => "EPOCH",
        ip if is_number(ip) && ip.matches('.').count() == 3 => "ADDRESS",
        age if is_age(age) => "AGE",
        other => other,
    };
    format!("{before}{mask}{after}")
}

fn is_like(word: &str, pattern: &str) -> bool {
    let same = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    word.len() == pattern.len() && word.chars().zip(pattern.chars()).all(same)
}

fn is_uid(word: &str) -> bool {
    let groups: Vec<usize> = word.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// `5s`, `2m3s`.
fn is_age(word: &str) -> bool {
    let units = word.trim_matches(|c: char| c.is_ascii_digit());
    word.starts_with(|c: char| c.is_ascii_digit())
        && units.starts_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|c| c.is_ascii_digit() || "smhd".contains(c))
}
