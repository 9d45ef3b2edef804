//! zen-lead.
fn main() {}
