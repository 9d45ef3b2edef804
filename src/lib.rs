//! zen-lead.

pub mod client;
pub mod config;
pub mod health;
pub mod watch;
