//! Histories of one to three replicas, as `machine/tests/properties` lives and judges them.

#![no_main]
#![allow(dead_code, clippy::option_option, reason = "the property tests use more of these")]

#[path = "../../../machine/tests/properties"]
mod properties {
    pub(crate) mod history;
    pub(crate) mod invariants;
    pub(crate) mod met;
    pub(crate) mod ops;
    pub(crate) mod pods;
    pub(crate) mod replica;
    pub(crate) mod server;
    pub(crate) mod told;
    pub(crate) mod world;
}

use properties::{history, met, ops, pods, replica, server, told, world};

/// A failing history is kept, and the property tests repeat it.
fn transcribe(_: impl FnOnce() -> String) {}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (replicas, ops) = history::from_bytes(bytes);
    history::live(replicas, &ops);
});
