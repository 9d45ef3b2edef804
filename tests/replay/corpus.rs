//! Every log in `tests/logs` is replayed.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use zen_lead::record::{Entry, Reader, Start};
use zen_lead::replay::{self, Task};

use crate::stories;

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
    assert!(files.len() >= 16, "the corpus is incomplete: {files:?}");
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

#[test]
fn a_log_may_start_at_any_step() {
    for (name, story) in stories::all() {
        let Start::New(_) = story.header.start else { continue };
        for seq in 0..story.records.len() as u64 {
            let log = story.from(seq).log();
            let mut text = Vec::new();
            replay::update(&mut Reader::new(name, &*log), &mut text).unwrap();
            assert!(log == text, "{name} from {seq}");
        }
    }
}
