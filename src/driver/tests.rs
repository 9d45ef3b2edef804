//! The deciding task with a server whose answers come when the test wants.

mod contests;
mod counted;
mod epochs;
mod late;
mod leaving;
mod nodes;
mod replicas;
mod restored;
mod server;
mod successors;
mod told;
mod withdrawals;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use machine::Micros;
use serde_json::{Value, json};
use tokio::time::{advance, timeout};
use tower::service_fn;

use self::server::{Server, server};
use super::{Driver, Feed, PODS, Purpose, SLICES, Scope, Telemetry};
use crate::apply::Apply;
use crate::config::MetricsDetail;
use crate::health::Health;
use crate::kinds::fixtures::{decode, pod, service, service_json, with};
use crate::managed::Identity;
use crate::metrics::{BuildInfo, Metrics};
use crate::record::Recorder;
use crate::watch::Change;

fn driver(server: &Arc<Server>) -> Driver {
    let server = server.clone();
    let service = service_fn(move |request| server.clone().answer(request));
    let apply: Apply<Purpose> = Apply::new(kube::Client::new(service, "shop"), 48, false);
    let identity = Identity { instance: "system/zen-lead".into(), replica: "zen-lead-0".into() };
    let health = Health::new();
    let build = BuildInfo { version: "0", installation: "".into(), replica: "".into() };
    let metrics = Metrics::new(MetricsDetail::Service, &health, build);
    let telemetry = Telemetry {
        metrics,
        tracer: None,
        recorder: Recorder::new(0),
        leaders: None,
        budget: Micros::from_secs(5),
    };
    Driver::new(identity, Scope::Cluster, apply, health, telemetry)
}

/// Hears answers until none comes without something else happening: time stands still, and goes on only when
/// everybody waits.
async fn hear(driver: &mut Driver) {
    driver.release_due();
    while let Ok(answer) = timeout(Duration::from_millis(1), driver.apply.answer()).await {
        driver.answered(answer);
    }
}

fn listed<T>(objects: Vec<T>) -> [Change<T>; 3] {
    [Change::Relisting, Change::Page(objects), Change::Listed { version: 100, restored: false }]
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_follows_while_the_one_before_is_being_told_is_told_next() {
    let server = server(0);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = pod(&json!({ "metadata": { "name": "orders-1", "uid": "a1" } }));
    let first = |version: &str, ready: &str| {
        pod(&json!({
            "metadata": { "resourceVersion": version },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
    };
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![first("100", "True"), second]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    driver.told(Feed::Pods(0, Change::Applied(first("2000", "False"))));
    hear(&mut driver).await;
    assert_eq!(server.told(), Value::Null, "nothing has been let through");

    server.patches.add_permits(1);
    hear(&mut driver).await;
    assert_eq!(server.told(), "orders-0");
    server.patches.add_permits(1);
    hear(&mut driver).await;
    assert_eq!(server.told(), "orders-1");
}

/// The leader Service is not written by the election, and has a back-off of its own, of up to 30 s.
#[tokio::test(start_paused = true)]
async fn i11_the_servers_return_ends_the_back_off_of_a_leader_service() {
    let server = server(100);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    driver.lists[0].pods.is_complete = true;
    driver.lists[0].slices.is_complete = true;
    server.is_away.store(true, SeqCst);
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for seconds in [1, 2, 4, 8, 16] {
        hear(&mut driver).await;
        advance(Duration::from_secs(seconds)).await;
        driver.ring();
    }
    hear(&mut driver).await;
    let tries = server.tries.load(SeqCst);
    assert!((5..=20).contains(&tries), "it tries again, and not too often: {tries}");

    server.is_away.store(false, SeqCst);
    driver.told(Feed::Reconnected(SLICES));
    hear(&mut driver).await;
    assert_eq!(server.stored.lock().unwrap().0["metadata"]["name"], "orders-leader", "without a pause");
}

/// `orders` with two pods, led by the first.
async fn led(driver: &mut Driver) {
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = json!({ "metadata": { "name": "orders-1", "uid": "a1", "creationTimestamp": "2025-11-20T09:00:00Z" } });
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({})), pod(&second)]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(driver).await;
}

fn readiness(name: &str, uid: &str, version: &str, ready: &str) -> Feed {
    Feed::Pods(
        0,
        Change::Applied(pod(&json!({
            "metadata": { "name": name, "uid": uid, "resourceVersion": version },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))),
    )
}

/// The pods are told one after the other: who is to follow has to be known as it is now.
#[tokio::test(start_paused = true)]
async fn a_leader_that_a_change_of_ports_unseats_is_followed_with_the_new_ports_at_once() {
    let server = server(100);
    let mut driver = driver(&server);
    driver.lists[0].slices.is_complete = true;
    let ports =
        |target: &str| json!({ "spec": { "ports": [{ "name": "web", "port": 80, "targetPort": target }] } });
    for change in listed(vec![decode(source(&ports("http")))]) {
        driver.told(Feed::Services(0, change));
    }
    let second = json!({
        "metadata": { "name": "orders-1", "uid": "a1", "creationTimestamp": "2025-11-20T09:00:00Z" },
        "spec": { "containers": [{ "name": "main", "ports": [
            { "name": "http", "containerPort": 8080 }, { "name": "api", "containerPort": 8081 },
        ] }] },
    });
    for change in listed(vec![pod(&json!({})), pod(&second)]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    let changed = source(&with(ports("api"), &json!({ "metadata": { "resourceVersion": "101" } })));
    driver.told(Feed::Services(0, Change::Applied(decode(changed))));
    // Sooner than any retry.
    hear(&mut driver).await;
    let (sent, _) = server.slices.lock().unwrap().last().cloned().unwrap();
    assert_eq!(sent["endpoints"][0]["targetRef"]["name"], "orders-1");
    assert_eq!(sent["ports"][0]["port"], 8081);
}

/// The source Service `orders` as the API server tells it.
fn source(over: &Value) -> Value {
    let spec = json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } });
    with(with(service_json(), &spec), over)
}

/// A replica whose Service `orders` is led.
async fn led_alone() -> (Arc<Server>, Driver) {
    let server = server(9);
    let driver = led_by(&server).await;
    (server, driver)
}

/// The same with this server.
async fn led_by(server: &Arc<Server>) -> Driver {
    let mut driver = driver(server);
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![decode(source(&json!({})))]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({}))]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    driver
}
