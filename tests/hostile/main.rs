//! Bad input and odd neighbours on a real control plane: each has a rule, and a test that the rule is kept.

#[path = "../support/mod.rs"]
mod support;

mod annotations;
mod contests;
mod controls;
mod handover;
mod neighbours;
mod pods;
mod services;
