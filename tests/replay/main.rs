//! Event logs: written, read, replayed. `tests/logs` holds what was recorded, one story a file; a log that is put there is
//! replayed from then on. `UPDATE_LOGS=1` rewrites what the logs expect, so that a change of behaviour shows as a
//! difference to review.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, and its helpers")]

mod corpus;
mod page;
mod program;
mod reader;
mod recorder;
mod stories;
mod story;
mod what_if;
