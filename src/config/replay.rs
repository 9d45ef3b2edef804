//! `zen-lead replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use machine::Micros;

use super::values::budget;
use crate::replay::{Override, Task};

/// What is to be replayed.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Event logs: files of --record, or what /debug/elections/NAMESPACE/SERVICE/log answers
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Also tell what another policy would have changed; may be repeated. KEY: failback, sticky, min-ready-duration,
    /// failover-min-delay, strategy, prefer-new-revision, leave-cordoned, max-switches, with values as in annotations
    #[arg(long = "policy", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,

    /// Also write a page with the phases of each Service and its failovers
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Tell only what is wrong, and the sums
    #[arg(long, short)]
    pub quiet: bool,

    /// What a failover may take, on the page
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = budget)]
    pub failover_budget: Duration,
}

impl ReplayArgs {
    /// As a task.
    #[must_use]
    pub fn task(self) -> Task {
        let Self { files, overrides, html, quiet, failover_budget } = self;
        let budget = Micros(u64::try_from(failover_budget.as_micros()).unwrap_or(u64::MAX));
        Task { files, overrides, html, quiet, budget }
    }
}
