//! A failover as people see it: in a real OTLP backend, through its REST interface and its web page.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Chromium, Lab, Phoenix, Status, within};
use serde_json::Value;
use support::Stage;

/// How far what the log says may lie from what the trace says.
const AGREED_MS: f64 = 1.0;

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[track_caller]
fn agree(logged: &Value, traced_ms: f64) {
    let agrees = logged.as_f64().is_some_and(|logged| (logged - traced_ms).abs() < AGREED_MS);
    assert!(agrees, "logged: {logged} ms, traced: {traced_ms} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_phoenix_is_the_one_in_the_log() -> Result<()> {
    let phoenix = Phoenix::start().await?;
    let endpoint = phoenix.endpoint();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let stage = Stage::set(Lab::shared().await?, "phoenix", &variables, &["--log-format=json"]).await?;
    let (_source, pods) = stage.led("orders", 2).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;

    // The line that ends it.
    let line = stage.controller.until_logged(&["\"transition\"", "\"unready\"", "\"failover_ms\""]).await?;
    let line: Value = serde_json::from_str(&line)?;
    let logged = &line["fields"];
    assert_eq!((&logged["from"], &logged["to"]), (&"Reelecting".into(), &"Elected".into()), "{line}");
    let id = logged["trace_id"].as_str().with_context(|| format!("no trace id: {line}"))?;
    let trace = phoenix.until_trace(id, within(60), |trace| trace.span("PUT").is_ok()).await?;

    let shape = [
        "failover",
        "failover > detect",
        "failover > reelecting",
        "failover > reelecting > queue",
        "failover > reelecting > publish",
        "failover > reelecting > publish > PUT",
    ];
    let mut paths = trace.paths();
    paths.sort_unstable();
    let mut expected = shape.to_vec();
    expected.sort_unstable();
    assert_eq!(paths, expected, "{trace}");

    let root = trace.root()?;
    let of_root = [
        ("k8s.namespace.name", stage.ns.name()),
        ("k8s.service.name", "orders"),
        ("k8s.pod.name", pods[1].name()),
        ("k8s.pod.uid", pods[1].uid()),
        ("zen_lead.previous.pod.name", pods[0].name()),
        ("zen_lead.previous.pod.uid", pods[0].uid()),
        ("zen_lead.outcome", "elected"),
    ];
    for (name, value) in of_root {
        assert_eq!(root.attributes.get(name), Some(&value.into()), "{name} in {root:#?}");
    }
    assert_eq!(root.attributes["zen_lead.cause"], logged["cause"]);
    assert_eq!(root.attributes["zen_lead.epoch"], logged["epoch"]);
    assert_eq!(root.attributes["zen_lead.budget.limit_ms"], 5_000.0);
    assert_eq!(root.status, Status::Ok);
    let put = trace.span("PUT")?;
    assert_eq!(put.attributes["http.request.method"], "PUT");
    assert_eq!(put.attributes["http.response.status_code"], 200);

    let used = root.attributes["zen_lead.budget.used_ms"].as_f64();
    agree(&logged["failover_ms"], ms(root.duration()?));
    agree(&logged["failover_ms"], used.context("a number")?);
    agree(&logged["duration_ms"], ms(trace.span("reelecting")?.duration()?));
    // What is detected lies before the failover, and the call may end after it: the watch is as good as the answer.
    assert_eq!(trace.span("detect")?.end, root.start, "{trace}");
    for name in ["reelecting", "queue", "publish", "PUT"] {
        let part = trace.span(name)?;
        assert!(part.start >= root.start && part.start <= root.end, "{name}:\n{trace}");
    }
    let page = Chromium::find()?.dom(&phoenix.trace_url(id).await?, (1500, 800)).await?;
    for words in ["failover", "reelecting", "publish", "PUT", pods[1].uid()] {
        assert!(page.contains(words), "{words} is not in the page, which has {} bytes", page.len());
    }
    stage.end().await
}
