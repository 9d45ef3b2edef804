mod exposition;
mod text;

use machine::{Epoch, Timestamp};
use tokio::time::advance;

use self::exposition::Exposition;
use super::counts::{CAUSES, ERROR_TYPES};
use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn metrics(detail: MetricsDetail) -> Metrics {
    metrics_of(detail, &Health::new())
}

fn metrics_of(detail: MetricsDetail, health: &Health) -> Metrics {
    let build =
        BuildInfo { version: "1.2.3", installation: "ops/zen-lead".into(), replica: "zen-lead-0".into() };
    Metrics::new(detail, health, build)
}

fn read(metrics: &Metrics) -> Exposition {
    Exposition::read(&metrics.encode()).unwrap()
}

/// A Service that is led, with three pods.
fn led() -> Gauges {
    Gauges {
        phase: Phase::Elected,
        epoch: Some(Epoch(1_732_339_871)),
        leader_since: None,
        leader_created: None,
        available: 3,
        is_stable: true,
        has_endpoints: true,
        is_paused: false,
        has_leader_service: true,
        slices: 2,
    }
}

fn lost() -> Gauges {
    Gauges {
        phase: Phase::Leaderless,
        epoch: None,
        available: 0,
        is_stable: false,
        has_endpoints: false,
        is_paused: true,
        ..led()
    }
}

/// Everything that can happen to a Service.
fn happen_all(metrics: &Metrics, key: &Key) {
    for counter in Counter::ALL {
        metrics.count(key, counter);
    }
    for cause in CAUSES {
        metrics.failed_over(key, cause, 3 * MS, &[(Phase::Reelecting, 2 * MS)], None);
    }
    for error_type in ERROR_TYPES {
        metrics.erred(key, error_type);
    }
    metrics.erred(key, "a word that nobody knows");
    metrics.decided(key, MS, true);
    metrics.decided(key, 2 * MS, false);
}

#[test]
fn a_service_has_the_series_that_dashboards_know() {
    let metrics = metrics(MetricsDetail::Service);
    let orders = key("shop", "orders");
    metrics.service_is(&orders, &led());
    happen_all(&metrics, &orders);
    let shown = read(&metrics);
    let labels = r#"namespace="shop",service="orders""#;
    for (series, value) in [
        ("leader_duration_seconds{}", 0.0),
        ("leader_pod_age_seconds{}", 0.0),
        ("pods_available{}", 3.0),
        ("leader_stable{}", 1.0),
        ("leader_service_without_endpoints{}", 0.0),
        ("paused{}", 0.0),
        ("epoch{}", 1_732_339_871.0),
        (r#"phase{phase="Elected"}"#, 1.0),
        (r#"phase{phase="Draining"}"#, 0.0),
        (r#"phase{phase="Leaderless"}"#, 0.0),
        (r#"phase{phase="Reelecting"}"#, 0.0),
        (r#"failover_count_total{reason="unready"}"#, 1.0),
        (r#"failover_count_total{reason="first_election"}"#, 1.0),
        (r#"reconciliations_total{result="success"}"#, 1.0),
        (r#"reconciliations_total{result="error"}"#, 1.0),
        (r#"reconciliation_errors_total{error_type="conflict"}"#, 1.0),
        (r#"reconciliation_errors_total{error_type="other"}"#, 2.0),
        ("endpoint_write_errors_total{}", 1.0),
        ("port_resolution_failures_total{}", 1.0),
        ("leader_selection_attempts_total{}", 1.0),
        ("sticky_leader_hits_total{}", 1.0),
        ("sticky_leader_misses_total{}", 1.0),
        ("retry_attempts_total{}", 1.0),
        ("retry_success_after_retry_total{}", 1.0),
        ("failover_budget_exceeded_total{}", 1.0),
        ("failover_latency_seconds_count{}", 17.0),
        ("failover_latency_seconds_sum{}", 0.051),
        (r#"failover_latency_seconds_bucket{le="0.01"}"#, 17.0),
        (r#"failover_latency_seconds_bucket{le="+Inf"}"#, 17.0),
        ("reconciliation_duration_seconds_count{}", 2.0),
        (r#"reconciliation_duration_seconds_bucket{le="0.001"}"#, 1.0),
        (r#"reconciliation_duration_seconds_bucket{le="0.01"}"#, 2.0),
    ] {
        let (name, more) = series.split_once('{').unwrap();
        let comma = if more == "}" { "" } else { "," };
        let series = format!("{name}{{{labels}{comma}{more}");
        assert_eq!(shown.value(&series), Some(value), "{series}");
    }
    for (name, value) in [("leader_services_total", 1.0), ("endpointslices_total", 2.0), ("cache_size", 1.0)]
    {
        assert_eq!(shown.value(&format!(r#"{name}{{namespace="shop"}}"#)), Some(value), "{name}");
    }
    assert_eq!(shown.value(r#"services{namespace="shop",phase="Elected"}"#), Some(1.0));
    assert_eq!(shown.value(r#"services{namespace="shop",phase="Draining"}"#), Some(0.0));
}

#[test]
fn a_service_has_60_series_at_most_and_about_40_usually() {
    let metrics = metrics(MetricsDetail::Service);
    let (busy, quiet) = (key("shop", "busy"), key("shop", "quiet"));
    metrics.service_is(&busy, &led());
    metrics.service_is(&quiet, &led());
    happen_all(&metrics, &busy);
    let shown = read(&metrics);
    assert_eq!(shown.of("service", "busy").len(), 60);
    assert_eq!(shown.of("service", "quiet").len(), 40);
}

#[test]
fn all_that_increase_looks_at_begins_with_zero() {
    let metrics = metrics(MetricsDetail::Service);
    metrics.service_is(&key("shop", "orders"), &led());
    let shown = read(&metrics);
    let labels = r#"namespace="shop",service="orders""#;
    for reason in ["unready", "terminating", "gone", "failback", "switchover"] {
        let series = format!(r#"failover_count_total{{{labels},reason="{reason}"}}"#);
        assert_eq!(shown.value(&series), Some(0.0), "{series}");
    }
    assert_eq!(shown.value(&format!("failover_latency_seconds_count{{{labels}}}")), Some(0.0));
    assert_eq!(shown.value(&format!("failover_budget_exceeded_total{{{labels}}}")), Some(0.0));
    for cause in CAUSES {
        let series = format!(r#"failover_duration_seconds_count{{cause="{}"}}"#, cause.as_str());
        assert_eq!(shown.value(&series), Some(0.0), "{series}");
    }
    for reason in ["queue_full", "export_failed"] {
        assert_eq!(shown.value(&format!(r#"spans_dropped_total{{reason="{reason}"}}"#)), Some(0.0));
    }
}

#[test]
fn the_series_of_a_service_that_opted_out_are_gone_at_once() {
    for detail in [MetricsDetail::Service, MetricsDetail::Aggregate] {
        let metrics = metrics(detail);
        let (orders, carts, other) = (key("shop", "orders"), key("shop", "carts"), key("ops", "orders"));
        for service in [&orders, &carts, &other] {
            metrics.service_is(service, &led());
        }
        metrics.forget(&orders);
        metrics.forget(&orders);
        let shown = read(&metrics);
        let rest = if detail == MetricsDetail::Service { 40 } else { 0 };
        assert_eq!(shown.of("service", "orders").len(), rest, "the other namespace's alone");
        assert_eq!(shown.value(r#"cache_size{namespace="shop"}"#), Some(1.0));
        metrics.forget(&carts);
        // What comes late brings nothing back.
        happen_all(&metrics, &carts);
        let shown = read(&metrics);
        assert!(shown.of("namespace", "shop").is_empty(), "{:?}", shown.of("namespace", "shop"));
        assert!(!shown.of("namespace", "ops").is_empty());
    }
}

#[test]
fn a_service_that_did_not_opt_in_has_no_series() {
    for detail in [MetricsDetail::Service, MetricsDetail::Aggregate] {
        let metrics = metrics(detail);
        metrics.service_is(&key("shop", "orders"), &led());
        let before = read(&metrics).samples.len();
        happen_all(&metrics, &key("shop", "carts"));
        happen_all(&metrics, &key("ops", "carts"));
        let shown = read(&metrics);
        assert_eq!(shown.samples.len(), before, "{detail:?}");
        assert_eq!(shown.value(r#"failover_duration_seconds_count{cause="gone"}"#), Some(2.0));
        let selections = shown.named("leader_selection_attempts_total");
        assert!(matches!(selections[..], [(_, 0.0)]), "{detail:?}: {selections:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn gauges_follow_the_service_and_ages_the_clock() {
    let metrics = metrics(MetricsDetail::Service);
    let orders = key("shop", "orders");
    let now = metrics.shared.clock.now();
    let before = |seconds: u64| Some(Timestamp(now.0 - seconds * 1_000_000));
    let led = Gauges { leader_since: before(5), leader_created: before(60), ..led() };
    metrics.service_is(&orders, &led);
    advance(SECOND).await;
    let shown = read(&metrics);
    let of = |shown: &Exposition, name: &str| {
        shown.value(&format!(r#"{name}{{namespace="shop",service="orders"}}"#))
    };
    assert_eq!(of(&shown, "leader_duration_seconds"), Some(6.0));
    assert_eq!(of(&shown, "leader_pod_age_seconds"), Some(61.0));

    metrics.service_is(&orders, &lost());
    let shown = read(&metrics);
    for (name, value) in [
        ("leader_duration_seconds", Some(0.0)),
        ("leader_pod_age_seconds", Some(0.0)),
        ("epoch", None),
        ("leader_stable", Some(0.0)),
        ("leader_service_without_endpoints", Some(1.0)),
        ("paused", Some(1.0)),
        ("pods_available", Some(0.0)),
    ] {
        assert_eq!(of(&shown, name), value, "{name}");
    }
    let phases = shown.named("phase").into_iter().filter(|(_, value)| *value > 0.0);
    assert_eq!(phases.map(|(labels, _)| labels["phase"].as_str()).collect::<Vec<_>>(), ["Leaderless"]);
    assert_eq!(shown.value(r#"services{namespace="shop",phase="Elected"}"#), Some(0.0));
    assert_eq!(shown.value(r#"services{namespace="shop",phase="Leaderless"}"#), Some(1.0));

    // A clock that was set back makes nothing younger than new.
    metrics.service_is(&orders, &Gauges { leader_since: Some(Timestamp(u64::MAX)), ..led });
    assert_eq!(of(&read(&metrics), "leader_duration_seconds"), Some(0.0));
}

#[test]
fn aggregate_says_of_a_namespace_what_its_services_say_together() {
    let metrics = metrics(MetricsDetail::Aggregate);
    let (orders, carts) = (key("shop", "orders"), key("shop", "carts"));
    metrics.service_is(&orders, &led());
    metrics.service_is(&carts, &lost());
    metrics.service_is(&carts, &lost());
    happen_all(&metrics, &orders);
    happen_all(&metrics, &carts);
    let expected = [
        ("pods_available", Some(3.0)),
        ("leader_stable", Some(1.0)),
        ("leader_service_without_endpoints", Some(1.0)),
        ("paused", Some(1.0)),
        ("cache_size", Some(2.0)),
        ("endpointslices_total", Some(4.0)),
        ("retry_attempts_total", Some(2.0)),
        ("failover_latency_seconds_count", Some(34.0)),
        ("leader_duration_seconds", None),
        ("epoch", None),
    ];
    let shown = read(&metrics);
    for (name, value) in expected {
        assert_eq!(shown.value(&format!(r#"{name}{{namespace="shop"}}"#)), value, "{name}");
    }
    assert!(shown.samples.keys().all(|series| !series.labels.contains_key("service")));
    assert_eq!(shown.value(r#"failover_count_total{namespace="shop",reason="unready"}"#), Some(2.0));
    assert_eq!(shown.value(r#"services{namespace="shop",phase="Leaderless"}"#), Some(1.0));

    metrics.forget(&carts);
    let shown = read(&metrics);
    assert_eq!(shown.value(r#"retry_attempts_total{namespace="shop"}"#), Some(2.0), "counters do not fall");
    assert_eq!(shown.value(r#"cache_size{namespace="shop"}"#), Some(1.0));
    assert_eq!(shown.value(r#"paused{namespace="shop"}"#), Some(0.0));
}

#[test]
fn ten_thousand_services_cost_no_more_than_their_namespace_in_aggregate() {
    let metrics = metrics(MetricsDetail::Aggregate);
    metrics.service_is(&key("shop", "orders"), &led());
    let one = read(&metrics).samples.len();
    for number in 0..10_000 {
        metrics.service_is(&key("shop", &number.to_string()), &led());
    }
    assert_eq!(read(&metrics).samples.len(), one);
}

#[test]
fn every_service_is_shown_once_however_many_there_are() {
    let metrics = metrics(MetricsDetail::Service);
    let names: Vec<_> =
        (0..100).map(|number| key(&format!("n{}", number % 70), &number.to_string())).collect();
    for name in &names {
        metrics.service_is(name, &led());
    }
    for name in names.iter().step_by(3) {
        metrics.forget(name);
    }
    // Reading fails if a series is there twice.
    let shown = read(&metrics);
    assert_eq!(shown.named("epoch").len(), 66);
}

/// Each of several replicas knows how Services stand; a sum over them counts each once.
#[test]
fn a_replica_that_does_not_act_first_shows_what_it_did_and_not_how_services_stand() {
    let metrics = metrics(MetricsDetail::Service);
    let orders = key("shop", "orders");
    metrics.service_is(&orders, &led());
    happen_all(&metrics, &orders);
    metrics.act_first(false);
    let shown = read(&metrics);
    for name in ["epoch", "phase", "pods_available", "services", "cache_size"] {
        assert_eq!(shown.named(name).len(), 0, "{name}");
    }
    let retries = r#"retry_attempts_total{namespace="shop",service="orders"}"#;
    assert_eq!((shown.value(retries), shown.named("acts_first")[0].1), (Some(1.0), 0.0));
    metrics.act_first(true);
    assert_eq!(read(&metrics).named("epoch").len(), 1);
}
