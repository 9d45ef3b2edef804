//! Routes a Service to exactly one Ready pod, and fails over in milliseconds.
//!
//! ```text
//! watch -> driver { rows, slice, service -> Election::step } -> apply -> API server
//!             ^                                                   |
//!             +---------------------- answers --------------------+
//! ```

pub mod annotations;
mod apply;
pub mod cleanup;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod debug;
pub mod dice;
mod driver;
mod failover;
mod failure;
pub mod halt;
pub mod health;
pub mod kinds;
mod leaders;
mod lease;
mod managed;
pub mod metrics;
pub mod names;
mod nodes;
pub mod notice;
pub mod record;
pub mod replay;
pub mod rows;
pub mod run;
pub mod serve;
pub mod service;
pub mod slice;
pub mod traces;
pub mod watch;
mod world;
