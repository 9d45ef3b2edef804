//! What a controller at work on a real control plane has recorded, in memory and on disk, is replayed with the same steps.
//!
//! Each story happens anew in every run, and guards the recorder on the real thing. Its log is kept in `tests/logs`, as
//! `real-<name>.jsonl`: `UPDATE_LOGS=1 cargo test --test recorded` replaces them by what is recorded in that run.

#[path = "../support/mod.rs"]
mod support;

mod losses;
mod memory;
mod others;
mod outages;
mod recording;
mod replicas;
mod servers;
mod wishes;
mod writes;
