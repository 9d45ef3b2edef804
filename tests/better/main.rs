//! What must be better than in the Go zen-lead, on a real control plane: one test or more a row of the list, named
//! after it. And the invariants, as far as they can be seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod families;
mod invariants;
mod losses;
mod objects;
mod outcomes;
mod quiet;
mod repairs;
