//! Failovers as traces, as a collector receives them: their shape for each cause, how they are sent, and what becomes
//! of the failover, the controller and the log when the collector is bad.

#[path = "../support/mod.rs"]
mod support;

mod budget;
mod causes;
mod collectors;
mod propagation;
mod settings;

use anyhow::{Context as _, Result};
use lab::{Collector, Lab, Pod, Span, Trace};
use serde_json::Value;

use crate::support::{SOON, Stage};

/// A stage whose controller sends its traces to a collector and logs in JSON.
struct Traced {
    stage: Stage,
    collector: Collector,
}

impl Traced {
    async fn new(purpose: &str) -> Result<Self> {
        Self::with(purpose, &[], &[]).await
    }

    async fn with(purpose: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Self> {
        Self::on(Lab::shared().await?, purpose, Collector::start().await?, variables, arguments).await
    }

    async fn on(
        lab: &Lab,
        purpose: &str,
        collector: Collector,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self> {
        let endpoint = collector.endpoint();
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)], variables].concat();
        let stage =
            Stage::set(lab, purpose, &variables, &[&["--log-format=json"], arguments].concat()).await?;
        Ok(Self { stage, collector })
    }

    /// The trace of the failover with this cause and this outcome.
    async fn trace(&self, cause: &str, outcome: &str) -> Result<Trace> {
        let is_wanted = |trace: &Trace| {
            trace.root().is_ok_and(|root| {
                root.attributes["zen_lead.cause"] == cause && root.attributes["zen_lead.outcome"] == outcome
            })
        };
        let trace = self.collector.until_trace(SOON, is_wanted).await;
        trace.with_context(|| format!("waiting for the trace of a failover: {cause}, {outcome}"))
    }

    /// The lines of the log that belong to a trace.
    fn logged(&self, trace: &Trace) -> Result<Vec<Value>> {
        let log = self.stage.controller.log()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter(|line| line["fields"]["trace_id"] == trace.id()).collect())
    }
}

/// What every trace of ours is like, whatever its shape.
fn check(trace: &Trace, service: &str) -> Result<()> {
    let root = trace.root()?;
    assert_eq!(root.name, "failover");
    assert_eq!(root.attributes["k8s.service.name"], service);
    for span in trace.spans() {
        span.duration()?;
        assert_eq!(span.scope, "zen-lead", "{}", span.name);
        assert_eq!(span.resource["service.name"], "zen-lead");
        let Some(parent) = trace.parent_of(span) else { continue };
        // Detection lies before what we know; the watch may be quicker than the answer to the write.
        let may_begin_before = span.name == "detect";
        assert!(may_begin_before || span.start >= parent.start, "{} begins too early:\n{trace}", span.name);
        let follows_the_answer = ["publish", "PUT", "POST"].contains(&&*span.name);
        assert!(follows_the_answer || span.end <= parent.end, "{} ends too late:\n{trace}", span.name);
    }
    // The phases fill the failover, without gaps.
    let phases: Vec<&Span> = trace.children_of(root).into_iter().filter(|span| is_phase(span)).collect();
    for pair in phases.windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "{} and {}:\n{trace}", pair[0].name, pair[1].name);
    }
    if let Some(last) = phases.last() {
        assert_eq!(last.end, root.end, "{trace}");
    }
    Ok(())
}

fn is_phase(span: &Span) -> bool {
    span.attributes.contains_key("zen_lead.phase")
}

fn is_about(span: &Span, pod: &Pod) -> bool {
    span.attributes.get("k8s.pod.name").is_some_and(|name| *name == *pod.name())
        && span.attributes.get("k8s.pod.uid").is_some_and(|uid| *uid == *pod.uid())
}
