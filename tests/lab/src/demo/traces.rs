//! `--traces`: each failover as a trace, in the web pages of Arize Phoenix.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::screen::{Screen, Tone};
use super::show::SOON;
use crate::chromium::Chromium;
use crate::phoenix::Phoenix;
use crate::process::last_lines;
use crate::trace::Trace;

/// Attributes of a failover's root: why it came about, who led before, and what came of it.
const CAUSE: &str = "zen_lead.cause";
const PREVIOUS: &str = "zen_lead.previous.pod.name";
const OUTCOME: &str = "zen_lead.outcome";
/// Its trace, in a line of the controller's log.
const TRACE_ID: &str = "trace_id=";
/// How long it took, in the line that ends it.
const TOOK: &str = "failover_ms=";

/// The window of a picture. In a smaller one, Phoenix draws no tree and no times.
const WINDOW: (u16, u16) = (1500, 800);

/// A failover that can be looked at.
struct Failover {
    cause: String,
    took: Duration,
    page: String,
}

/// Starts what keeps the traces.
pub(super) async fn start(screen: &mut Screen, begun: Instant) -> Result<Phoenix> {
    screen.progress(begun.elapsed(), "starting Arize Phoenix, which keeps the traces");
    let phoenix = Phoenix::start_and_say(&mut |words| screen.progress(begun.elapsed(), words)).await;
    let phoenix = phoenix.context("--traces")?;
    screen.progress(begun.elapsed(), &format!("Phoenix runs ({})", phoenix.url()));
    Ok(phoenix)
}

/// Says where the traces are, and takes a picture of the slowest failover's page if one is wanted.
pub(super) async fn show(
    phoenix: &Phoenix,
    log: &Path,
    picture: Option<&Path>,
    screen: &mut Screen,
) -> Result<()> {
    let failovers = failovers(phoenix, log).await?;
    let count = failovers.len();
    let slowest = failovers.iter().max_by_key(|failover| failover.took).context("there is at least one")?;
    let last = failovers.last().context("there is at least one")?;
    let what =
        format!("where the time of each failover went ({count}, from one leader to the next), as web pages");
    screen.scene("Traces", &what);
    screen.line("");
    for (which, failover) in [("the slowest", slowest), ("the last", last)] {
        let Failover { cause, took, page } = failover;
        let took = took.as_secs_f64() * 1000.0;
        screen.text(2, Tone::Faint, &format!("{which}: {took:.2} ms, cause {cause}"));
        // Not wrapped: it is to be clicked on, or copied.
        screen.line(&format!("  {page}"));
    }
    screen.text(2, Tone::Faint, "all, with elections and outages");
    screen.line(&format!("  {}", phoenix.traces_url().await?));
    if let Some(file) = picture {
        Chromium::find().context("--screenshot")?.screenshot(&slowest.page, WINDOW, file).await?;
        screen.text(2, Tone::Plain, &format!("a picture of the slowest one's page: {}", file.display()));
    }
    Ok(())
}

/// All failovers so far, from one leader to the next; the one that began first comes first.
async fn failovers(phoenix: &Phoenix, log: &Path) -> Result<Vec<Failover>> {
    let text = std::fs::read_to_string(log)?;
    // Not in this order: one that the watch has ended is sent when its write is answered, too.
    let logged: Vec<&str> = text.lines().filter(|line| line.contains(TOOK)).filter_map(trace_id).collect();
    ensure!(
        !logged.is_empty(),
        "the controller logged no failover with a trace; its log ends:\n{}",
        last_lines(log, 8)
    );
    let is_there = |trace: &Trace| trace.root().is_ok();
    for id in logged {
        phoenix.until_trace(id, SOON, is_there).await.with_context(|| {
            format!(
                "the trace of a failover did not come; the controller's log ends:\n{}",
                last_lines(log, 8)
            )
        })?;
    }
    let mut failovers = Vec::new();
    for trace in phoenix.traces().await? {
        let Ok(root) = trace.root() else { continue };
        let told = |name: &str| root.attributes.get(name).and_then(Value::as_str);
        if told(OUTCOME) == Some("elected") && told(PREVIOUS).is_some() {
            let cause = told(CAUSE).unwrap_or("unknown").to_owned();
            let page = phoenix.trace_url(trace.id()).await?;
            failovers.push(Failover { cause, took: root.duration()?, page });
        }
    }
    ensure!(!failovers.is_empty(), "none of the traces is of a failover from one leader to the next");
    Ok(failovers)
}

fn trace_id(line: &str) -> Option<&str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(TRACE_ID))
}
