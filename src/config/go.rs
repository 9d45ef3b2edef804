//! What the Go program accepted on its command line, beyond what is ours.

use std::ffi::OsString;

use clap::CommandFactory as _;

use super::Cli;

/// Flags of the Go program, of all its versions and of the manifests that were shipped with it, that
/// have no counterpart: its caches, client-side rate limit, retries, logger, and the CRD it once had.
/// The second field says whether it is a Go boolean, which never takes the next argument as its value.
pub(super) const IGNORED_FLAGS: &[(&str, bool)] = &[
    ("qps", false),
    ("burst", false),
    ("max-concurrent-reconciles", false),
    ("enable-parallel-api-calls", true),
    ("enable-leader-pod-cache", true),
    ("leader-pod-cache-ttl-seconds", false),
    ("max-cache-size-per-namespace", false),
    ("cache-update-timeout", false),
    ("cache-update-timeout-seconds", false),
    ("metrics-collection-timeout", false),
    ("metrics-collection-timeout-seconds", false),
    ("retry-max-attempts", false),
    ("retry-initial-delay", false),
    ("retry-initial-delay-ms", false),
    ("retry-max-delay", false),
    ("retry-max-delay-ms", false),
    ("fast-retry-max-attempts", false),
    ("fast-retry-initial-delay-ms", false),
    ("fast-retry-max-delay-ms", false),
    ("leader-election-namespace", false),
    ("enable-leader-groups", true),
    ("zap-devel", true),
    ("zap-encoder", false),
    ("zap-log-level", false),
    ("zap-stacktrace-level", false),
    ("zap-time-encoding", false),
];

/// `-qps=5` becomes `--qps=5`: Go's flag package takes one dash or two. Only for names we know, so
/// that a mistyped short flag still gets the usual answer.
pub(super) fn with_double_dashes(arguments: Vec<OsString>) -> Vec<OsString> {
    let command = Cli::command();
    let run = command.find_subcommand("run");
    let ours = run.into_iter().flat_map(clap::Command::get_arguments).filter_map(clap::Arg::get_long);
    let known: Vec<&str> = ours.chain(IGNORED_FLAGS.iter().map(|(name, _)| *name)).collect();
    let double = |argument: OsString| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if known.contains(&flag_name(rest)) => format!("--{rest}").into(),
        _ => argument,
    };
    arguments.into_iter().map(double).collect()
}

/// Takes the tuning flags of the Go program out, with their values, and names them.
pub(super) fn without_ignored_flags(arguments: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let (mut kept, mut ignored) = (Vec::with_capacity(arguments.len()), Vec::new());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let flag = text.strip_prefix("--").and_then(ignored_flag);
        let Some((name, boolean)) = flag else {
            kept.push(argument);
            continue;
        };
        let inline = text.contains('=');
        if !inline && !boolean {
            // `--qps 50`: the value is the next argument.
            arguments.next_if(|next| !next.to_string_lossy().starts_with('-'));
        }
        if !ignored.iter().any(|seen| seen == name) {
            ignored.push(name.to_owned());
        }
    }
    (kept, ignored)
}

fn ignored_flag(rest: &str) -> Option<(&'static str, bool)> {
    IGNORED_FLAGS.iter().copied().find(|(name, _)| *name == flag_name(rest))
}

/// `qps` of `qps=5`.
fn flag_name(rest: &str) -> &str {
    rest.split_once('=').map_or(rest, |(name, _)| name)
}

/// Puts `run` in front when there is no subcommand, as for the Go program.
pub(super) fn with_subcommand(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let first = arguments.get(1).map(|argument| argument.to_string_lossy().into_owned());
    let runs = match first.as_deref() {
        None => true,
        Some("-h" | "--help" | "-V" | "--version") => false,
        Some(argument) => argument.starts_with('-'),
    };
    if runs {
        let at = arguments.len().min(1);
        arguments.insert(at, "run".into());
    }
    arguments
}
