//! What is done with bytes that others have written: each module takes any, and fails if something panics that must not,
//! or if what must always hold does not.
//!
//! The fuzzer feeds these by `targets/`; `tests/fuzzed.rs` feeds them what is kept in `seeds/` and what was found.

#![allow(unreachable_pub, reason = "of a test that includes it")]

pub mod annotations;
pub mod facts;
pub mod log;
pub mod watch;
