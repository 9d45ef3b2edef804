//! `zen-lead replay` as people use it.

use std::path::PathBuf;
use std::process::{Command, Output};

use lab::Directory;

use crate::corpus::logs;
use crate::stories;

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zen-lead")).arg("replay").args(arguments).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct File {
    path: PathBuf,
    _directory: Directory,
}

impl File {
    fn of(text: &[u8]) -> Self {
        let directory = Directory::create().unwrap();
        let path = directory.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        Self { path, _directory: directory }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[test]
fn the_whole_corpus_ends_with_0() {
    let files: Vec<_> = std::fs::read_dir(logs()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let names: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = replay(&names);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stderr));
    let told = words(&output.stdout);
    assert!(told.contains("Elected orders-6c9f8d7b5-x7k2p -> Reelecting orders-6c9f8d7b5-m4q9t, for unready: the leader was not Ready"), "{told}");
    assert!(told.contains("all as recorded"), "{told}");
}

#[test]
fn quiet_tells_sums_only() {
    let file = File::of(&stories::total_outage().log());
    let output = replay(&["--quiet", file.name()]);
    let expected = "files: 1, Services: 1, records: 15: all as recorded\n\
                    shop/orders: changes of leader: 1, time without a Ready one: 30.00 s\n";
    assert_eq!((output.status.code(), words(&output.stdout).as_str()), (Some(0), expected));
}

/// A record that says something else is named with file, line and number, and what differs is shown.
#[test]
fn a_difference_ends_with_1_and_is_shown() {
    let log = words(&stories::leader_not_ready().log());
    let line = log.lines().position(|line| line.contains("\"to\":\"reelecting\"")).unwrap() + 1;
    let file = File::of(log.replacen("\"epoch\":1772355618", "\"epoch\":1772355619", 1).as_bytes());
    let output = replay(&["--quiet", file.name()]);
    assert_eq!(output.status.code(), Some(1));
    let told = words(&output.stdout);
    let seq = line - 1;
    assert!(told.starts_with(&format!("{}:{line}: shop/orders: step {seq} differs", file.name())), "{told}");
    let differs: Vec<_> =
        told.lines().filter(|line| line.contains("epoch") && !line.contains("fact")).map(str::trim).collect();
    assert_eq!(
        differs,
        ["-           \"epoch\": 1772355619,", "+           \"epoch\": 1772355618,"],
        "{told}"
    );
    assert!(told.contains("1 differ, and "), "{told}");
    // What both have is shown once, and nothing is said of a machine that is this one.
    for mark in ["  - ", "  + "] {
        assert_eq!(told.lines().filter(|line| line.starts_with(mark)).count(), 2, "{mark}: {told}");
    }
    assert!(!told.contains("the log is of machine"), "{told}");
}

/// One that decided something else, or nothing, is found likewise.
#[test]
fn every_part_of_a_step_is_checked() {
    let log = words(&stories::leader_not_ready().log());
    for (what, instead) in [
        ("\"to\":\"reelecting\"", "\"to\":\"leaderless\""),
        ("\"cause\":\"unready\"", "\"cause\":\"gone\""),
        ("\"to_pod\":\"orders-6c9f8d7b5-m4q9t/a84e17d3-0b5f-4c6e-8f21-5d90e2b3c722\"", "\"to_pod\":\"a/1\""),
        (",\"effects\":[{\"mirror\"", ",\"effects\":[{\"read\":{\"id\":9}},{\"mirror\""),
    ] {
        assert!(log.contains(what), "{what} in {log}");
        let file = File::of(log.replacen(what, instead, 1).as_bytes());
        assert_eq!(replay(&[file.name()]).status.code(), Some(1), "{what}");
    }
}

#[test]
fn what_cannot_be_read_ends_with_2_and_the_line() {
    let mut log = words(&stories::leader_not_ready().log());
    log.push_str("{]\n");
    let lines = log.lines().count();
    let file = File::of(log.as_bytes());
    for (name, expected) in [
        (file.name(), format!("{}:{lines}: this is no line of an event log", file.name())),
        ("/nowhere/a.jsonl", "/nowhere/a.jsonl: cannot be read: No such file".to_owned()),
    ] {
        let output = replay(&[name]);
        assert_eq!(output.status.code(), Some(2));
        assert!(words(&output.stderr).starts_with(&expected), "{}", words(&output.stderr));
    }
}

#[test]
fn a_last_line_cut_short_is_a_note() {
    let log = stories::leader_not_ready().log();
    let file = File::of(&log[..log.len() - 30]);
    let output = replay(&["--quiet", file.name()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        words(&output.stdout).contains("the last line is cut short and left out"),
        "{}",
        words(&output.stdout)
    );
}

/// Whoever reads only the beginning has not found a difference.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zen-lead"));
    let names: Vec<_> = (0..400).map(|_| logs().join("total-outage.jsonl")).collect();
    let mut child = child.arg("replay").args(names).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
