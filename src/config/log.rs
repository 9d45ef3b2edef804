//! How and what is logged.

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks a filter here, where the answer is usage and exit 2, not later.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    text.parse::<Targets>().map_err(|error| error.to_string())?;
    Ok(text.into())
}
