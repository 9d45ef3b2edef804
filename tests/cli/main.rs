//! What people ask for, on a real control plane with the real controller in it: each command, what it prints, and what
//! it says when it cannot.

#[path = "../support/mod.rs"]
mod support;

mod doctor;
mod errors;
mod history;
mod manual;
mod migrate;
mod nodes;
mod pause;
mod plugin;
mod program;
mod rights;
mod size;
mod status;
mod switchover;
mod why;
