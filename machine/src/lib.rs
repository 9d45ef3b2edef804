//! The election.
