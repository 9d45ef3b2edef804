//! What was committed, for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use crate::store::{Commit, Resource};

/// As many tell how it came to the end.
const SHOWN: usize = 16;

/// The last changes, notices and Leases aside.
pub(crate) fn last(log: &[Arc<Commit>]) -> Vec<String> {
    let matters = |commit: &&Arc<Commit>| !matches!(commit.resource, Resource::Events | Resource::Leases);
    let mut last: Vec<_> =
        log.iter().rev().filter(matters).take(SHOWN).map(|commit| describe(commit)).collect();
    last.reverse();
    last
}

fn describe(commit: &Commit) -> String {
    let Commit { version, at, writer, resource, name, before, after, .. } = commit;
    let head = format!("{at:>6} ms, version {version}, {writer:?}: {resource:?} {name}");
    match (before, after) {
        (_, None) => format!("{head} deleted"),
        (None, Some(after)) => format!("{head} created {after}"),
        (Some(before), Some(after)) => {
            let mut changes = String::new();
            differences("", before, after, &mut changes);
            head + &changes
        }
    }
}

/// Each field that differs, but for those that always do.
fn differences(path: &str, before: &Value, after: &Value, told: &mut String) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let fields: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for field in fields
                .into_iter()
                .filter(|field| !["resourceVersion", "managedFields"].contains(&field.as_str()))
            {
                differences(&format!("{path}.{field}"), &before[field], &after[field], told);
            }
        }
        _ if before != after => {
            // Text takes whatever is written to it.
            let _ = write!(told, " {path}: {before} -> {after};");
        }
        _ => {}
    }
}
