//! What is counted, and what is not.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;
use tower::service_fn;

use super::super::{Driver, Feed};
use super::{driver, hear, led, readiness, server};
use crate::apply::Apply;
use crate::kinds::fixtures::{decode, pod, service, with};
use crate::watch::Change;

/// One value of a scrape: of `orders`, if it is a Service's.
fn metric(driver: &Driver, name: &str) -> Option<f64> {
    let text = driver.metrics.encode();
    let series =
        [format!("zen_lead_{name} "), format!("zen_lead_{name}{{namespace=\"shop\",service=\"orders\"}} ")];
    let line =
        text.lines().find_map(|line| series.iter().find_map(|series| line.strip_prefix(series.as_str())));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok())
}

/// The answer to a write is lost, and the watch shows that it was done: the next write, hours later, repeats nothing.
#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_makes_no_retry_of_the_next() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let (_, published) = server.slices.lock().unwrap().last().cloned().unwrap();
    server.is_away.store(true, SeqCst);
    driver.told(readiness("orders-0", "a0", "2000", "False"));
    hear(&mut driver).await;
    assert_eq!(metric(&driver, "endpoint_write_errors_total"), Some(1.0));
    let epoch: u64 =
        published["metadata"]["annotations"]["zen-lead.io/epoch"].as_str().unwrap().parse().unwrap();
    let done = json!({
        "metadata": {
            "resourceVersion": "2001",
            "annotations": {
                "zen-lead.io/leader-pod-name": "orders-1", "zen-lead.io/leader-pod-uid": "a1",
                "zen-lead.io/epoch": (epoch + 1).to_string(),
            },
        },
        "endpoints": [{ "targetRef": { "name": "orders-1", "uid": "a1" } }],
    });
    let mut done = with(published.clone(), &done);
    done["endpoints"] = published["endpoints"].clone();
    done["endpoints"][0]["targetRef"]["name"] = json!("orders-1");
    done["endpoints"][0]["targetRef"]["uid"] = json!("a1");
    driver.told(Feed::Slices(0, Change::Applied(decode(done))));
    server.is_away.store(false, SeqCst);
    hear(&mut driver).await;
    assert_eq!(metric(&driver, "leader_stable"), Some(1.0));
    driver.told(readiness("orders-0", "a0", "2002", "True"));
    driver.told(readiness("orders-1", "a1", "2003", "False"));
    hear(&mut driver).await;
    let (sent, _) = server.slices.lock().unwrap().last().cloned().unwrap();
    assert_eq!(sent["endpoints"][0]["targetRef"]["name"], "orders-0");
    let retries = ["retry_attempts_total", "retry_success_after_retry_total"];
    assert_eq!(retries.map(|name| metric(&driver, name)), [Some(0.0), Some(0.0)]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_a_pause_keeps_although_it_is_not_ready_is_not_stable() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    assert_eq!(metric(&driver, "leader_stable"), Some(1.0));
    let paused = service(&json!({
        "metadata": { "annotations": { "zen-lead.io/paused": "true" }, "resourceVersion": "8" },
        "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] },
    }));
    driver.told(Feed::Services(0, Change::Applied(paused)));
    driver.told(readiness("orders-0", "a0", "2000", "False"));
    hear(&mut driver).await;
    assert_eq!((metric(&driver, "paused"), metric(&driver, "leader_stable")), (Some(1.0), Some(0.0)));
}

/// What a dry run would have written was neither written nor answered.
#[tokio::test(start_paused = true)]
async fn a_dry_run_counts_no_writes() {
    let server = server(100);
    let mut driver = driver(&server);
    driver.apply = {
        let service = service_fn(move |request| server.clone().answer(request));
        Apply::new(kube::Client::new(service, "shop"), 48, true)
    };
    led(&mut driver).await;
    assert_eq!(metric(&driver, "leader_stable"), Some(1.0));
    let text = driver.metrics.encode();
    let of_writes = |line: &&str| {
        ["zen_lead_writes_total{", "zen_lead_api_call_duration_seconds_count{operation=\"P"]
            .iter()
            .any(|series| line.starts_with(series))
    };
    assert_eq!(text.lines().filter(of_writes).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// A leader on its way out still leads; it is given up once, when it is gone.
#[tokio::test(start_paused = true)]
async fn a_leader_that_drains_is_lost_once() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    driver.told(readiness("orders-1", "a1", "2000", "False"));
    let on_its_way_out = pod(&json!({
        "metadata": { "resourceVersion": "2001", "deletionTimestamp": "2025-11-20T10:00:30Z", "deletionGracePeriodSeconds": 30 },
    }));
    driver.told(Feed::Pods(0, Change::Applied(on_its_way_out.clone())));
    hear(&mut driver).await;
    let text = driver.metrics.encode();
    assert!(text.contains("service=\"orders\",phase=\"Draining\"} 1\n"), "{text}");
    assert_eq!(metric(&driver, "sticky_leader_misses_total"), Some(0.0));
    driver.told(Feed::Pods(0, Change::Deleted(on_its_way_out)));
    hear(&mut driver).await;
    assert_eq!(metric(&driver, "leader_service_without_endpoints"), Some(1.0));
    assert_eq!(metric(&driver, "sticky_leader_misses_total"), Some(1.0));
}
