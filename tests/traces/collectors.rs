//! Collectors that are absent, slow, hanging or wrong, and what is sent to those that are not.

use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::{Code, Collector, Lab, Mode};

use crate::support::{SOON, Stage};
use crate::{Traced, check};

/// Whatever waits at SIGTERM is sent before the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_end_is_sent() -> Result<()> {
    let mut traced = Traced::new("t-flush").await?;
    let (_, pods) = traced.stage.led("orders", 2).await?;
    pods[0].unready().await?;
    traced.stage.controller.until_logged(&["failover_ms", "unready"]).await?;
    // Sooner than failovers are sent by themselves.
    traced.stage.controller.stop()?;
    let sent = traced.collector.traces();
    let mut causes: Vec<_> =
        sent.iter().filter_map(|trace| trace.root().ok()?.attributes["zen_lead.cause"].as_str()).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["first_election", "unready"]);
    sent.iter().try_for_each(|trace| check(trace, "orders"))?;
    traced.stage.end().await
}

/// A failover that is under way at SIGTERM is not for us to finish, but it is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_the_end_is_told() -> Result<()> {
    let mut traced = Traced::new("t-under-way").await?;
    let source =
        traced.stage.source("orders").annotation("zen-lead.io/failover-min-delay", "5m").create().await?;
    let pods = traced.stage.members(source.name(), 2).await?;
    pods[0].unready().await?;
    traced.stage.until_told("LeaderDraining", &["orders-0"]).await?;
    traced.stage.controller.stop()?;
    let trace = traced.trace("unready", "interrupted").await?;
    check(&trace, "orders")?;
    traced.stage.end().await
}

/// A collector that never answers changes nothing for anybody, and does not keep the controller from ending: its own
/// patience would be minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_collector_delays_nothing() -> Result<()> {
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")];
    let mut traced = Traced::with("t-hanging", &variables, &[]).await?;
    traced.collector.set(Mode::Hang);
    let (_, pods) = traced.stage.led("orders", 2).await?;
    traced.collector.until_requests(1, SOON).await?;
    pods[0].unready().await?;
    traced.stage.until_led("orders", &pods[1]).await?;
    traced.stage.controller.stop()?;
    assert!(traced.collector.spans().is_empty());
    traced.stage.end().await
}

/// One that is away for a while gets everything in the end, and is complained about once.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_has_lost_nothing() -> Result<()> {
    let traced = Traced::new("t-away").await?;
    traced.collector.set(Mode::Refuse(Code::Unavailable));
    let (_, pods) = traced.stage.led("orders", 2).await?;
    pods[0].unready().await?;
    traced.stage.until_led("orders", &pods[1]).await?;
    traced.collector.until_requests(2, SOON).await?;
    traced.collector.set(Mode::Accept);
    check(&traced.trace("first_election", "elected").await?, "orders")?;
    check(&traced.trace("unready", "elected").await?, "orders")?;
    let log = traced.stage.controller.log()?;
    let complaints: Vec<_> = log.lines().filter(|line| line.contains("traces do not reach")).collect();
    let [complaint] = complaints[..] else { panic!("one line a minute: {complaints:?}") };
    assert!(complaint.contains("Unavailable") && complaint.contains("WARN"), "{complaint}");
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_is_no_reason_to_complain() -> Result<()> {
    let traced = Traced::new("t-slow").await?;
    traced.collector.set(Mode::Slow(Duration::from_secs(1)));
    traced.stage.led("orders", 1).await?;
    check(&traced.trace("first_election", "elected").await?, "orders")?;
    assert!(!traced.stage.controller.log()?.contains("traces do not reach"));
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_its_own_headers_and_resource() -> Result<()> {
    let collector = Collector::start_with_tls().await?;
    let ca = collector.ca_file().context("it has one")?.display().to_string();
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &*ca),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t0ken"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging"),
        ("POD_NAME", "zen-lead-7"),
        ("POD_NAMESPACE", "system"),
        ("NODE_NAME", "node-3"),
    ];
    let traced = Traced::on(Lab::shared().await?, "t-tls", collector, &variables, &[]).await?;
    traced.stage.led("orders", 1).await?;
    let trace = traced.trace("first_election", "elected").await?;
    check(&trace, "orders")?;
    let resource = &trace.root()?.resource;
    for (key, value) in [
        ("deployment.environment.name", "staging"),
        ("k8s.pod.name", "zen-lead-7"),
        ("k8s.namespace.name", "system"),
        ("k8s.node.name", "node-3"),
        ("service.instance.id", "zen-lead-7"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
    let requests = traced.collector.requests();
    assert_eq!(requests[0].headers["authorization"], "Bearer t0ken");
    traced.stage.end().await
}

/// The reason, not only that there is one.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_trusted_is_named_as_the_reason() -> Result<()> {
    let collector = Collector::start_with_tls().await?;
    let traced = Traced::on(Lab::shared().await?, "t-untrusted", collector, &[], &[]).await?;
    traced.stage.led("orders", 1).await?;
    let line = traced.stage.controller.until_logged(&["traces do not reach"]).await?;
    assert!(line.contains("certificate") && line.contains("WARN"), "{line}");
    assert!(traced.collector.spans().is_empty());
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_nothing_is_traced() -> Result<()> {
    let stage = Stage::with("t-off", &["--log-format=json"]).await?;
    stage.led("orders", 1).await?;
    let line = stage.controller.until_logged(&["failover_ms"]).await?;
    assert!(!line.contains("trace_id"), "{line}");
    stage.end().await
}
