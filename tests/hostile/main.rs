//! Odd and hostile neighbours, on a real control plane.

fn main() {}
