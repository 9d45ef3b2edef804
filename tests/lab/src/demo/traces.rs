//! `--traces`: each failover as a trace, in the web pages of Arize Phoenix.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::screen::{Screen, Tone};
use super::show::SOON;
use crate::chromium::Chromium;
use crate::phoenix::Phoenix;
use crate::process::last_lines;
use crate::span::Span;
use crate::trace::Trace;

/// The root of a failover's trace.
const ROOT: &str = "failover";
/// Why it came about.
const CAUSE: &str = "zen_lead.cause";
/// Its trace, in a line of the controller's log.
const TRACE_ID: &str = "trace_id=";
/// How long it took, in the line that ends it.
const TOOK: &str = "failover_ms=";

/// The window of a picture: room for a failover's spans and the attributes of one.
const WINDOW: (u16, u16) = (1500, 800);

/// Starts what keeps the traces.
pub(super) async fn start(screen: &mut Screen, begun: Instant) -> Result<Phoenix> {
    screen.progress(begun.elapsed(), "starting Arize Phoenix, which keeps the traces");
    let phoenix = Phoenix::start_and_say(&mut |words| screen.progress(begun.elapsed(), words)).await;
    let phoenix = phoenix.context("--traces")?;
    screen.progress(begun.elapsed(), &format!("Phoenix runs ({})", phoenix.url()));
    Ok(phoenix)
}

/// Says where the traces are, and takes a picture of the slowest one's page if one is wanted.
pub(super) async fn show(
    phoenix: &Phoenix,
    log: &Path,
    picture: Option<&Path>,
    screen: &mut Screen,
) -> Result<()> {
    let failovers = failovers(phoenix, log).await?;
    let count = failovers.len();
    let slowest = failovers.iter().max_by_key(|(_, _, took)| *took).context("there is at least one")?;
    let last = failovers.last().context("there is at least one")?;
    screen.scene("Traces", &format!("where the time of {count} failovers went, as web pages, until Ctrl-C"));
    screen.line("");
    for (which, (trace, root, took)) in [("the slowest", slowest), ("the last", last)] {
        let cause = root.attributes.get(CAUSE).and_then(serde_json::Value::as_str).unwrap_or("unknown");
        let took = took.as_secs_f64() * 1000.0;
        screen.text(2, Tone::Faint, &format!("{which}: {took:.2} ms, cause {cause}"));
        // Not wrapped: it is to be clicked on, or copied.
        screen.line(&format!("  {}", phoenix.trace_url(trace.id()).await?));
    }
    if let Some(file) = picture {
        let url = phoenix.trace_url(slowest.0.id()).await?;
        Chromium::find().context("--screenshot")?.screenshot(&url, WINDOW, file).await?;
        screen.text(2, Tone::Plain, &format!("a picture of the slowest one's page: {}", file.display()));
    }
    Ok(())
}

/// All failovers that the controller logged the end of, each with its root and how long it took; the one that began
/// first comes first.
async fn failovers(phoenix: &Phoenix, log: &Path) -> Result<Vec<(Trace, Span, Duration)>> {
    let text = std::fs::read_to_string(log)?;
    let last = text.lines().rev().filter(|line| line.contains(TOOK)).find_map(trace_id);
    let last = last.with_context(|| {
        format!("the controller logged no failover with a trace; its log ends:\n{}", last_lines(log, 8))
    })?;
    // It sends them one after the other: with the last one there are all.
    let is_whole = |trace: &Trace| trace.root().is_ok();
    phoenix.until_trace(last, SOON, is_whole).await.with_context(|| {
        format!(
            "the trace of the last failover did not come; the controller's log ends:\n{}",
            last_lines(log, 8)
        )
    })?;
    let mut failovers = Vec::new();
    for trace in phoenix.traces().await? {
        // Of others, a part may still be on its way.
        let Some(root) = trace.root().ok().filter(|root| root.name == ROOT).cloned() else { continue };
        let took = root.duration()?;
        failovers.push((trace, root, took));
    }
    ensure!(!failovers.is_empty(), "none of the traces that Phoenix has is called {ROOT}");
    Ok(failovers)
}

fn trace_id(line: &str) -> Option<&str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(TRACE_ID))
}
