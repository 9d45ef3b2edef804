//! What is kept of fuzzing, without a fuzzer: the inputs that it starts from, and those that it found something with.
//! `cargo lab fuzz` looks for more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, and its helpers")]

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

/// Feeds all that is kept for this target.
fn feed(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/kept").join(target);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in files {
        // Whoever fails is told which.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn annotations() {
    feed("annotations", fuzz::annotations::run);
}

#[test]
fn facts() {
    feed("facts", fuzz::facts::run);
}

#[test]
fn logs() {
    feed("log", fuzz::log::run);
}

#[test]
fn watches() {
    feed("watch", fuzz::watch::run);
}
