//! How it is written down, what the process says of itself, and how it is served.

use http::{Method, Request};
use http_body_util::BodyExt as _;
use tokio::time::{advance, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failover_leaves_its_trace_as_an_exemplar() {
    let metrics = metrics(MetricsDetail::Service);
    let orders = key("shop", "orders");
    metrics.service_is(&orders, &led());
    let trace = TraceId::from(0x00ab_0000_0000_0000_0000_0000_0000_0001_u128);
    // Traces bear the time of the wall clock, which may have been set: an hour of ours that nobody else has seen.
    advance(3_600 * SECOND).await;
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let before = seconds();
    let phases = [(Phase::Draining, 40 * MS), (Phase::Reelecting, 2 * MS)];
    metrics.failed_over(&orders, Cause::Terminating, 42 * MS, &phases, Some(trace));
    let text = metrics.encode();
    let line = r#"zen_lead_failover_duration_seconds_bucket{le="0.1",cause="terminating"} 1 # {trace_id="00ab0000000000000000000000000001"} 0.042 "#;
    assert!(text.contains(line), "{text}");
    let shown = Exposition::read(&text).unwrap();
    let exemplars: Vec<_> = shown.samples.values().filter_map(|sample| sample.exemplar.as_ref()).collect();
    assert_eq!(exemplars.len(), 3, "one for the whole, one for each phase");
    let times = before..=seconds();
    assert!(exemplars.iter().all(|exemplar| times.contains(&exemplar.at)), "{times:?}: {exemplars:?}");
    let draining = shown.get(r#"failover_phase_duration_seconds_bucket{phase="Draining",le="0.1"}"#).unwrap();
    assert_eq!(draining.exemplar.as_ref().map(|exemplar| exemplar.value), Some(0.04));
    assert_eq!(shown.value(r#"failover_phase_duration_seconds_sum{phase="Reelecting"}"#), Some(0.002));

    metrics.failed_over(&orders, Cause::Gone, MS, &[], None);
    let exemplars = |shown: &Exposition| shown.samples.values().filter(|s| s.exemplar.is_some()).count();
    assert_eq!(exemplars(&read(&metrics)), 3, "without a trace there is none");
}

#[test]
fn names_are_escaped() {
    let metrics = metrics(MetricsDetail::Service);
    // No name of Kubernetes' looks like this; whoever lets one through shall not break the text.
    let odd = "a\"b\\c\nd";
    metrics.service_is(&key("shop", odd), &led());
    let text = metrics.encode();
    assert!(text.contains(r#"pods_available{namespace="shop",service="a\"b\\c\nd"} 3"#), "{text}");
    assert_eq!(Exposition::read(&text).unwrap().of("service", odd).len(), 40);
}

#[test]
fn every_family_says_what_it_is() {
    for detail in [MetricsDetail::Service, MetricsDetail::Aggregate] {
        let shown = read(&metrics(detail));
        let names = |kind: &str| {
            let of_kind = shown.families.iter().filter(|(_, head)| head.kind == kind);
            of_kind.map(|(name, _)| name.trim_start_matches("zen_lead_")).collect::<Vec<_>>()
        };
        assert_eq!(
            names("gauge"),
            [
                "acts_first",
                "apply_queue_depth",
                "cache_size",
                "endpointslices_total",
                "epoch",
                "leader_duration_seconds",
                "leader_pod_age_seconds",
                "leader_service_without_endpoints",
                "leader_services_total",
                "leader_stable",
                "nodes_held",
                "nodes_lost",
                "paused",
                "phase",
                "pods_available",
                "services",
                "watch_age_seconds",
            ]
        );
        assert_eq!(
            names("counter"),
            [
                "endpoint_write_errors",
                "failover_budget_exceeded",
                "failover_count",
                "leader_selection_attempts",
                "port_resolution_failures",
                "reconciliation_errors",
                "reconciliations",
                "records_dropped",
                "retry_attempts",
                "retry_success_after_retry",
                "spans_dropped",
                "sticky_leader_hits",
                "sticky_leader_misses",
                "writes",
            ]
        );
        assert_eq!(
            names("histogram"),
            [
                "api_call_duration_seconds",
                "failover_duration_seconds",
                "failover_latency_seconds",
                "failover_phase_duration_seconds",
                "reconciliation_duration_seconds",
            ]
        );
        assert_eq!(names("info"), ["build"]);
        for (name, head) in &shown.families {
            assert!(name.starts_with("zen_lead_") && head.help.ends_with('.'), "{name}: {}", head.help);
            let unit = name.ends_with("_seconds").then_some("seconds");
            assert_eq!(head.unit.as_deref(), unit, "{name}");
            assert!(unit.is_none() || head.help.contains("in seconds"), "{name}: {}", head.help);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_process_shows_its_watches_its_calls_and_itself() {
    let health = Health::new();
    let [old, young] = ["shop/pods", "ops/pods"].map(|name| health.watch(name));
    let services = health.watch("services");
    let metrics = metrics_of(MetricsDetail::Service, &health);
    advance(10 * SECOND).await;
    young.active();
    services.active();
    advance(2 * SECOND).await;
    assert!(old.idle_for() > young.idle_for());
    for _ in 0..2 {
        metrics.wrote("endpointslices", "acknowledged");
    }
    metrics.wrote("services", "conflict");
    metrics.called("PUT endpointslice", 2 * MS);
    metrics.queue_depth("publications", 7);
    metrics.queue_depth("publications", 5);
    metrics.spans_dropped().clone().queue_full.fetch_add(3, Relaxed);
    let shown = read(&metrics);
    for (series, value) in [
        (r#"watch_age_seconds{resource="pods"}"#, 12.0),
        (r#"watch_age_seconds{resource="services"}"#, 2.0),
        (r#"writes_total{resource="endpointslices",outcome="acknowledged"}"#, 2.0),
        (r#"writes_total{resource="services",outcome="conflict"}"#, 1.0),
        (r#"api_call_duration_seconds_bucket{operation="PUT endpointslice",le="0.002"}"#, 1.0),
        (r#"api_call_duration_seconds_bucket{operation="PUT endpointslice",le="0.0015"}"#, 0.0),
        (r#"apply_queue_depth{lane="publications"}"#, 5.0),
        (r#"spans_dropped_total{reason="queue_full"}"#, 3.0),
        (r#"build_info{version="1.2.3",installation="ops/zen-lead",replica="zen-lead-0"}"#, 1.0),
    ] {
        assert_eq!(shown.value(series), Some(value), "{series}");
    }
}

#[tokio::test]
async fn they_are_served_as_open_metrics() {
    let metrics = metrics(MetricsDetail::Service);
    metrics.service_is(&key("shop", "orders"), &led());
    let routes = metrics.with_metrics(Routes::new());
    let request = Request::builder().method(Method::GET).uri("/metrics").body(()).unwrap();
    let answer = routes.answer(request.into_parts().0).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let shown = Exposition::read(std::str::from_utf8(&body).unwrap()).unwrap();
    assert_eq!(shown.value(r#"pods_available{namespace="shop",service="orders"}"#), Some(3.0));
}

/// Paused time goes on by itself only while nothing is done, no text made.
#[tokio::test(start_paused = true)]
async fn scrapes_take_turns() {
    let metrics = metrics(MetricsDetail::Service);
    let turn = metrics.shared.turn.clone().acquire_owned().await.unwrap();
    let mut answer = Box::pin(metrics.answer());
    assert!(timeout(SECOND, &mut answer).await.is_err());
    drop(turn);
    assert_eq!(answer.await.status(), StatusCode::OK);
    assert_eq!(metrics.shared.turn.available_permits(), 1, "the turn is given back");
}
