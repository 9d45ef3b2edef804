//! A failure with as little as possible around it.

use std::fmt::Write as _;
use std::path::Path;

use crate::plan::Plan;
use crate::sabotage::Sabotage;
use crate::simulation::{record, simulate};

/// What went wrong, the fewest happenings that lead to something wrong, and the logs of what was decided then.
pub(crate) fn report(plan: &Plan, sabotage: Option<Sabotage>, logs: &Path) -> String {
    let fewest = shrink(plan, sabotage);
    let mut text = format!(
        "seed {} ({} replicas, {} Services with {} pods each, settings {:?})\n",
        plan.seed, plan.replicas, plan.services, plan.pods, plan.settings
    );
    for violation in simulate(plan, sabotage).violations {
        let _ = writeln!(text, "  {violation}");
    }
    let _ =
        writeln!(text, "shrunk from {} happenings to {}:", plan.happenings.len(), fewest.happenings.len());
    for happening in &fewest.happenings {
        let _ = writeln!(text, "  {:>6} ms {:?}", happening.at, happening.what);
    }
    let (verdict, recorded) = record(&fewest, sabotage);
    for line in verdict.last.iter().chain(&verdict.violations) {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("what each replica decided is shown by: zen-lead replay");
    for log in recorded {
        let _ = match log.write(logs) {
            Ok(file) => write!(text, " {}", file.display()),
            Err(error) => write!(text, "\n{error:#}\n"),
        };
    }
    text
}

/// Leaves out half of the happenings, a quarter, and at last one after another, while it still fails.
fn shrink(plan: &Plan, sabotage: Option<Sabotage>) -> Plan {
    let mut fewest = plan.clone();
    let mut size = plan.happenings.len().div_ceil(2);
    while size > 0 {
        let mut place = 0;
        while place < fewest.happenings.len() {
            let mut fewer = fewest.clone();
            fewer.happenings.drain(place..(place + size).min(fewest.happenings.len()));
            if simulate(&fewer, sabotage).violations.is_empty() {
                place += size;
            } else {
                fewest = fewer;
            }
        }
        size /= 2;
    }
    fewest
}
