//! Random histories against the design's invariants, as far as the machine alone can keep them.
//!
//! Three things make their silence mean something. The model keeps its own account of everything, pods' identities
//! included, and never asks the machine what is right. After each fact the state must agree with the facts, not
//! only at the end. And what histories must have met is counted: see [`met`].
//!
//! A failing history is shrunk, and printed with its seed. `ELECTION_SEED=<seed>` repeats a run,
//! `ELECTION_CASES=<n>` sets the number of histories of each test.

#![allow(
    clippy::option_option,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "the model mirrors the machine's own words, and hands its values over"
)]

mod history;
mod invariants;
mod met;
mod ops;
mod pods;
mod replica;
mod server;
mod told;
mod world;

use std::cell::{Cell, RefCell};

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use history::live;
use ops::Op;

/// So many histories in each test, unless more or fewer are asked for.
const CASES: u64 = 25_000;

thread_local! {
    /// What happened, step by step, if somebody wants to know.
    static TRANSCRIPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    /// Failures are expected: a history is being shrunk.
    static IS_SHRINKING: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn transcribe(line: impl FnOnce() -> String) {
    TRANSCRIPT.with_borrow_mut(|transcript| {
        if let Some(transcript) = transcript {
            transcript.push(line());
        }
    });
}

/// Shrinking fails hundreds of times; only the last one is worth a message.
fn quieten_shrinking() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_SHRINKING.get() {
                loud(info);
            }
        }));
    });
}

/// What happens in a history that fails.
fn transcript(replicas: usize, ops: &[Op]) -> String {
    TRANSCRIPT.set(Some(Vec::new()));
    let _ = std::panic::catch_unwind(|| live(replicas, ops));
    TRANSCRIPT.take().unwrap_or_default().join("\n")
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn check(replicas: usize, length: std::ops::Range<usize>) {
    // The gate is the same for everybody; whoever looks for more gives other seeds.
    let seed = from_env("ELECTION_SEED").unwrap_or(1);
    let cases = from_env("ELECTION_CASES").unwrap_or(CASES);
    let config = Config {
        cases: u32::try_from(cases).expect("a reasonable number"),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    };
    // Some situations take a long way.
    let is_long = length.start >= 20;
    let histories = proptest::collection::vec(ops::op(), length);
    quieten_shrinking();
    IS_SHRINKING.set(true);
    let (begun, ended) = (Cell::new(0), Cell::new(0));
    let result = TestRunner::new(config).run(&histories, |ops| {
        // After the first that does not end, those that it is shrunk to are not counted.
        let counts = usize::from(begun.get() == ended.get());
        begun.set(begun.get() + counts);
        live(replicas, &ops);
        ended.set(ended.get() + counts);
        Ok::<_, TestCaseError>(())
    });
    let failure = match result {
        Ok(()) => None,
        Err(TestError::Abort(why)) => Some(why.to_string()),
        Err(TestError::Fail(why, ops)) => Some(format!(
            "{why}\nELECTION_SEED={seed}, {replicas} replicas, history {}, shrunk to:\n{ops:?}\n{}",
            begun.get(),
            transcript(replicas, &ops)
        )),
    };
    IS_SHRINKING.set(false);
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    if is_long && cases >= CASES {
        let unmet = met::unmet();
        assert!(unmet.is_empty(), "nothing failed, but this hardly ever happened: {unmet:?}");
    }
}

#[test]
fn short_histories_of_one_replica() {
    check(1, 1..20);
}

#[test]
fn long_histories_of_one_replica() {
    check(1, 20..100);
}

#[test]
fn short_histories_of_two_replicas() {
    check(2, 1..30);
}

#[test]
fn long_histories_of_two_replicas() {
    check(2, 30..120);
}

/// What a fuzzer has found once: see `tests/fuzz` at the top.
#[test]
fn histories_that_were_found() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/kept/histories");
    let files: Vec<_> = std::fs::read_dir(directory).expect(directory).collect();
    assert!(!files.is_empty(), "{directory} is empty");
    for file in files {
        let path = file.expect(directory).path();
        let (replicas, ops) = history::from_bytes(&std::fs::read(&path).expect("a history"));
        // Whoever fails is told which.
        println!("{}: {replicas} replicas, {ops:?}", path.display());
        live(replicas, &ops);
    }
}
