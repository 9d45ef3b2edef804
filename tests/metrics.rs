//! `/metrics` of a controller at work: true values, and nothing of Services that opted out.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use lab::{Collector, Lab};

use crate::support::{Stage, named_in, named_metrics};

/// The value of one series: its name and labels as they are written, less our own namespace.
fn value(scrape: &str, series: &str) -> Option<f64> {
    let line =
        scrape.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line[series.len()..].split_whitespace().next()?.parse().ok()
}

/// A series of the Service `orders` in the stage's namespace.
fn of_orders(stage: &Stage, name: &str, more: &str) -> String {
    format!("zen_lead_{name}{{namespace=\"{}\",service=\"orders\"{more}}}", stage.ns.name())
}

/// Waits until series of `orders` have these values.
async fn until(stage: &Stage, wanted: &[(&str, &str, f64)]) -> Result<String> {
    let has = |scrape: &str| {
        let is = |(name, more, wanted): &(&str, &str, f64)| {
            value(scrape, &of_orders(stage, name, more)) == Some(*wanted)
        };
        wanted.iter().all(is)
    };
    stage.controller.until_scraped(has).await.with_context(|| format!("waiting for {wanted:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn they_tell_the_truth_about_a_service() -> Result<()> {
    let mut stage = Stage::new("m-truth").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let led = [
        ("phase", ",phase=\"Elected\"", 1.0),
        ("phase", ",phase=\"Leaderless\"", 0.0),
        ("pods_available", "", 2.0),
        ("leader_stable", "", 1.0),
        ("leader_service_without_endpoints", "", 0.0),
        ("failover_count_total", ",reason=\"unready\"", 0.0),
        ("paused", "", 0.0),
    ];
    let scrape = until(&stage, &led).await?;
    let slice = stage.slice("orders").await?;
    let epoch: f64 = slice.metadata.annotations.context("annotations")?["zen-lead.io/epoch"].parse()?;
    assert_eq!(value(&scrape, &of_orders(&stage, "epoch", "")), Some(epoch));
    let space = format!("{{namespace=\"{}\"}}", stage.ns.name());
    assert_eq!(value(&scrape, &format!("zen_lead_leader_services_total{space}")), Some(1.0));
    assert_eq!(value(&scrape, &format!("zen_lead_endpointslices_total{space}")), Some(1.0));

    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    let followed = [
        ("failover_count_total", ",reason=\"unready\"", 1.0),
        ("sticky_leader_misses_total", "", 1.0),
        ("pods_available", "", 1.0),
        ("epoch", "", epoch + 1.0),
        ("failover_budget_exceeded_total", "", 0.0),
    ];
    until(&stage, &followed).await?;

    pods[1].unready().await?;
    stage.until_leaderless("orders").await?;
    let lost = [
        ("phase", ",phase=\"Leaderless\"", 1.0),
        ("leader_service_without_endpoints", "", 1.0),
        ("leader_stable", "", 0.0),
        ("pods_available", "", 0.0),
        ("leader_duration_seconds", "", 0.0),
        ("failover_count_total", ",reason=\"unready\"", 2.0),
        ("failover_latency_seconds_count", "", 3.0),
    ];
    let scrape = until(&stage, &lost).await?;
    assert_eq!(value(&scrape, "zen_lead_failover_duration_seconds_count{cause=\"unready\"}"), Some(2.0));
    assert_eq!(
        value(&scrape, "zen_lead_failover_duration_seconds_count{cause=\"first_election\"}"),
        Some(1.0)
    );
    assert_eq!(
        value(&scrape, "zen_lead_failover_phase_duration_seconds_count{phase=\"Leaderless\"}"),
        Some(1.0)
    );
    let writes = value(&scrape, "zen_lead_writes_total{resource=\"endpointslices\",outcome=\"ok\"}");
    assert!(writes >= Some(3.0), "{writes:?}\n{scrape}");

    // A restart does not make a leader younger.
    pods[0].ready().await?;
    stage.until_announced("orders", &pods[0], "LeaderRecovered").await?;
    let since = pods[0].get().await?.metadata.creation_timestamp.context("it was created")?.0;
    stage.restart().await?;
    let scrape = until(&stage, &[("leader_stable", "", 1.0)]).await?;
    let age = value(&scrape, &of_orders(&stage, "leader_pod_age_seconds", "")).context("an age")?;
    let real = k8s_openapi::jiff::Timestamp::now().duration_since(since).as_secs_f64();
    assert!(age <= real && age > 0.0, "{age} s of {real} s");
    let switched = stage.leader_service("orders").await?.metadata.annotations.context("annotations")?
        ["zen-lead.io/leader-last-switch-time"]
        .parse::<k8s_openapi::jiff::Timestamp>()?;
    let led = value(&scrape, &of_orders(&stage, "leader_duration_seconds", "")).context("a duration")?;
    let real = k8s_openapi::jiff::Timestamp::now().duration_since(switched).as_secs_f64();
    assert!(led <= real && real - led < 20.0, "{led} s of {real} s");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opted_out_is_gone_at_once_and_what_never_opted_in_never_shows() -> Result<()> {
    let stage = Stage::new("m-gone").await?;
    let (source, _) = stage.led("orders", 1).await?;
    stage.ns.service("other").selector("app", "orders").port("http", 80, 8080).create().await?;
    let name = format!("namespace=\"{}\",service=", stage.ns.name());
    let scrape =
        stage.controller.until_scraped(|scrape| scrape.contains(&format!("{name}\"orders\""))).await?;
    let series = scrape.lines().filter(|line| line.contains(&format!("{name}\"orders\""))).count();
    assert!((30..=60).contains(&series), "{series} series of one Service");
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for("orders").await?;
    let scrape = stage.controller.scrape().await?;
    assert!(!scrape.contains(&name), "{scrape}");
    stage.end().await
}

/// What the dashboard, the alerts and the README name exists.
#[tokio::test(flavor = "multi_thread")]
async fn every_name_that_people_are_given_is_in_a_scrape() -> Result<()> {
    let stage = Stage::new("m-names").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    // A failover and an error: some series begin with what they count.
    let broken = stage.break_writes_of_slices("UPDATE").await?;
    pods[0].unready().await?;
    let failed = of_orders(&stage, "endpoint_write_errors_total", "");
    stage.controller.until_scraped(|scrape| value(scrape, &failed) >= Some(1.0)).await?;
    stage.mend_writes_of_slices(broken).await?;
    stage.until_led("orders", &pods[1]).await?;
    let repeated =
        [("failover_count_total", ",reason=\"unready\"", 1.0), ("retry_success_after_retry_total", "", 1.0)];
    let scrape = until(&stage, &repeated).await?;
    let (head, body) = scrape.split_once("\r\n\r\n").context("an answer has a head")?;
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"));
    let there = named_in(body);
    let missing: Vec<_> = named_metrics().into_iter().filter(|name| !there.contains(name)).collect();
    assert_eq!(missing, Vec::<String>::new());
    stage.end().await
}

/// From a bar of the histogram to the trace that it is made of.
#[tokio::test(flavor = "multi_thread")]
async fn exemplars_name_the_traces_and_lost_spans_are_counted() -> Result<()> {
    let collector = Collector::start().await?;
    let endpoint = collector.endpoint();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let stage = Stage::set(Lab::shared().await?, "m-exemplar", &variables, &[]).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].unready().await?;
    let unready =
        |trace: &lab::Trace| trace.root().is_ok_and(|root| root.attributes["zen_lead.cause"] == "unready");
    let trace = collector.until_trace(support::SOON, unready).await?;
    let scrape = stage.controller.scrape().await?;
    let bars: BTreeMap<_, _> = scrape
        .lines()
        .filter(|line| line.starts_with("zen_lead_failover_duration_seconds_bucket{"))
        .filter_map(|line| line.split_once(" # "))
        .collect();
    let exemplar = format!("{{trace_id=\"{}\"}}", trace.id());
    assert!(
        bars.iter().any(|(bar, given)| bar.contains("cause=\"unready\"") && given.starts_with(&exemplar)),
        "{exemplar} in {bars:?}"
    );
    assert_eq!(value(&scrape, "zen_lead_spans_dropped_total{reason=\"export_failed\"}"), Some(0.0));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_name_no_service() -> Result<()> {
    let stage = Stage::with("m-aggregate", &["--metrics-detail=aggregate"]).await?;
    let (_, pods) = stage.led("orders", 1).await?;
    stage.led("shop", 1).await?;
    pods[0].unready().await?;
    stage.until_leaderless("orders").await?;
    let space = format!("namespace=\"{}\"", stage.ns.name());
    let without = format!("zen_lead_leader_service_without_endpoints{{{space}}}");
    let scrape = stage.controller.until_scraped(|scrape| value(scrape, &without) == Some(1.0)).await?;
    assert!(!scrape.contains("service=\""), "{scrape}");
    let elected = format!("zen_lead_services{{{space},phase=\"Elected\"}}");
    assert_eq!(value(&scrape, &elected), Some(1.0));
    stage.end().await
}
