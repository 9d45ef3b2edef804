//! Every log in `tests/logs` is replayed: those of `stories`, and those of the real control plane, whose names begin with
//! `real-` and which `tests/recorded` keeps.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use zen_lead::record::{Entry, Reader};
use zen_lead::replay::{self, Task};

use crate::stories;
use crate::story::Story;

pub(crate) fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(logs()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    files.sort();
    files
}

fn reader(file: &Path) -> Reader<BufReader<File>> {
    Reader::new(&file.display().to_string(), BufReader::new(File::open(file).unwrap()))
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_LOGS").is_some_and(|value| value == "1")
}

/// The logs are brought up to date first, if they are to be, so that one run does all.
#[test]
fn i14_every_log_is_replayed_with_the_same_steps() {
    if is_update() {
        for (name, story) in stories::all() {
            fs::write(logs().join(format!("{name}.jsonl")), story.log()).unwrap();
        }
    }
    let files = files();
    assert!(files.len() >= 16 + 25, "the corpus is incomplete: {files:?}");
    for file in &files {
        if is_update() {
            let mut text = Vec::new();
            replay::update(&mut reader(file), &mut text).unwrap();
            fs::write(file, text).unwrap();
        }
        let task = Task {
            files: vec![file.clone()],
            overrides: Vec::new(),
            html: None,
            quiet: true,
            budget: machine::Micros::from_secs(5),
        };
        let mut out = Vec::new();
        let differs = replay::replay(&task, &mut out).unwrap();
        let words = String::from_utf8(out).unwrap();
        assert!(!differs, "UPDATE_LOGS=1 rewrites what the logs expect:\n{words}");
    }
    for (name, story) in stories::all() {
        let text = fs::read(logs().join(format!("{name}.jsonl"))).unwrap();
        assert!(
            text == story.log(),
            "{name}: the story and its log differ; UPDATE_LOGS=1 writes the log anew"
        );
    }
}

#[test]
fn every_log_says_in_its_first_line_what_it_shows() {
    for file in files() {
        let Some(Entry::Start(header)) = reader(&file).read().unwrap() else { panic!("{file:?}") };
        assert!(header.note.is_some_and(|note| note.len() > 20), "{file:?}: no note");
    }
}

/// A log is rewritten as it is: what is read is what was written, and the same facts lead to the same text.
#[test]
fn i14_every_log_is_the_same_bytes_again() {
    for file in files() {
        let mut text = Vec::new();
        replay::update(&mut reader(&file), &mut text).unwrap();
        assert!(fs::read(&file).unwrap() == text, "{file:?}");
    }
}

/// As a ring does that has lost its oldest records: the election as it was then is all that counts.
#[test]
fn a_log_may_start_at_any_step() {
    for file in files() {
        for run in runs(&file) {
            for record in &run.records {
                let log = run.from(record.seq).log();
                let mut text = Vec::new();
                replay::update(&mut Reader::new("", &*log), &mut text).unwrap();
                assert!(log == text, "{} from {}", file.display(), record.seq);
            }
        }
    }
}

/// Each has happened on a real control plane, but for the loss of a node, which nothing looks for yet.
#[test]
fn every_cause_is_in_a_real_log() {
    use machine::Cause::{
        AddressLost, Adopted, Excluded, Failback, Finished, FirstElection, Gone, Obstruction, PortUnresolved,
        Recovery, Refused, Relabelled, Removal, Switchover, Terminating, Unready,
    };
    let real = files()
        .into_iter()
        .filter(|file| file.file_name().unwrap().to_str().is_some_and(|name| name.starts_with("real-")));
    let runs: Vec<_> = real.flat_map(|file| runs(&file)).collect();
    let steps = runs.iter().flat_map(|run| &run.records).filter_map(|record| record.step.transition.as_ref());
    let causes: BTreeSet<_> = steps.map(|moved| moved.cause.as_str()).collect();
    let all = [
        AddressLost,
        Adopted,
        Excluded,
        Failback,
        Finished,
        FirstElection,
        Gone,
        Obstruction,
        PortUnresolved,
        Recovery,
        Refused,
        Relabelled,
        Removal,
        Switchover,
        Terminating,
        Unready,
    ];
    assert_eq!(causes, all.map(machine::Cause::as_str).into());
}

/// The elections in a log of one Service.
fn runs(file: &Path) -> Vec<Story> {
    let mut runs = Vec::new();
    let mut reader = reader(file);
    while let Some(entry) = reader.read().unwrap() {
        match entry {
            Entry::Start(header) => runs.push(Story::read(header, Vec::new())),
            Entry::Step(_, record) => runs.last_mut().unwrap().records.push(record),
        }
    }
    runs
}

/// What is published with the source is of interest for what it shows, and not for where it was recorded.
#[test]
fn no_log_tells_of_the_machine_that_recorded_it() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        for place in ["/tmp/", "/home/", "/root/", "127.0.0.1:", "localhost"] {
            assert!(!text.contains(place), "{} tells of {place}", file.display());
        }
    }
}
