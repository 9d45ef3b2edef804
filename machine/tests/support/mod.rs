//! Builders of facts, and a harness that feeds them to an election.

#![allow(dead_code, unused_imports, reason = "not every test uses every builder")]

mod builders;
mod run;
mod words;

pub(crate) use builders::{PodBuilder, START, SliceBuilder, at, endpoint, pod, policy, request, secs, slice};
pub(crate) use run::{Facts, Run};
