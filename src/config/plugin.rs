//! Called as a plugin of kubectl: `kubectl zen-lead ...`.

use std::ffi::OsString;
use std::path::Path;

/// What kubectl looks for on the `PATH` when it is asked for `zen-lead`.
pub const PLUGIN: &str = "kubectl-zen_lead";

/// Whether the program was called by that name.
pub(super) fn is_meant(arguments: &[OsString]) -> bool {
    let name = arguments.first().and_then(|program| Path::new(program).file_stem());
    name.is_some_and(|name| name == PLUGIN)
}

/// Calls itself in usage and errors as people have called it.
pub(super) fn command(command: clap::Command) -> clap::Command {
    command.bin_name("kubectl zen-lead")
}

/// Nobody means to run the controller by `kubectl zen-lead` alone.
pub(super) fn with_help(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.len() == 1 {
        arguments.push("--help".into());
    }
    arguments
}
