//! The deciding task with a server whose answers come when the test wants.

mod contests;
mod epochs;
mod late;
mod nodes;
mod replicas;
mod successors;
mod told;
mod withdrawals;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use machine::Micros;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{advance, timeout};
use tower::{BoxError, service_fn};

use self::replicas::{second_replica_with_a_loss, slice_of};
use super::{Driver, Feed, PODS, Purpose, SLICES, Scope, Telemetry};
use crate::apply::Apply;
use crate::config::MetricsDetail;
use crate::health::Health;
use crate::kinds::fixtures::{decode, merge, pod, service, service_json, with};
use crate::lease::Tenure;
use crate::managed::Identity;
use crate::metrics::{BuildInfo, Metrics};
use crate::record::Recorder;
use crate::watch::Change;

/// Takes every write as it is; patches of Services wait until they are let through.
struct Server {
    /// The leader Service, and the version of the last write.
    stored: Mutex<(Value, u64)>,
    patches: Semaphore,
    /// What was sent as slices, and what they became.
    slices: Mutex<Vec<(Value, Value)>>,
    /// The reasons of the notices that were sent.
    reasons: Mutex<Vec<String>>,
    /// There is no connection.
    is_away: AtomicBool,
    tries: AtomicUsize,
    deletions: AtomicUsize,
    /// An object in a version that no watch has shown: whoever deletes another one of it is refused.
    unseen: Mutex<Option<Value>>,
    /// The source Service, if it is to be read.
    source: Mutex<Option<Value>>,
}

impl Server {
    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        self.tries.fetch_add(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        let body = body.collect().await?.to_bytes();
        let mut object =
            if body.is_empty() { json!({ "items": [] }) } else { serde_json::from_slice(&body)? };
        let is_service = head.uri.path().contains("/services");
        if is_service && head.method == Method::PATCH {
            self.patches.acquire().await?.forget();
        }
        let source = self.source.lock().unwrap().clone();
        if let Some(source) = source
            && head.method == Method::GET
            && head.uri.path().ends_with("/services/orders")
        {
            return Ok(Response::new(Full::from(serde_json::to_vec(&source)?)));
        }
        if head.method == Method::DELETE {
            let unseen = self.unseen.lock().unwrap().clone();
            let version = |object: &Value, of: &str| object[of]["resourceVersion"].clone();
            if unseen.is_some_and(|unseen| version(&unseen, "metadata") != version(&object, "preconditions"))
            {
                return refused(409, "Conflict");
            }
            self.deletions.fetch_add(1, SeqCst);
            return Ok(Response::new(Full::from("{}")));
        }
        let reads_slice = head.method == Method::GET && head.uri.path().contains("/endpointslices/");
        if let Some(unseen) = self.unseen.lock().unwrap().as_ref().filter(|_| reads_slice) {
            return Ok(Response::new(Full::from(serde_json::to_vec(unseen)?)));
        }
        let sent = object.clone();
        self.reasons.lock().unwrap().extend(sent["reason"].as_str().map(str::to_owned));
        let mut stored = self.stored.lock().unwrap();
        if is_service && head.method == Method::GET {
            return Ok(Response::new(Full::from(serde_json::to_vec(&stored.0)?)));
        }
        stored.1 += 1;
        let version =
            json!({ "metadata": { "resourceVersion": stored.1.to_string(), "uid": head.uri.path() } });
        if is_service && head.method == Method::PATCH {
            object["metadata"]["uid"].take();
            let mut patched = stored.0.clone();
            merge(&mut patched, &object);
            object = patched;
        }
        merge(&mut object, &version);
        if is_service {
            object["metadata"]["uid"] = json!("leader-service");
            stored.0 = object.clone();
        } else if sent["addressType"].is_string() {
            self.slices.lock().unwrap().push((sent, object.clone()));
        }
        Ok(Response::new(Full::from(serde_json::to_vec(&object)?)))
    }

    fn told(&self) -> Value {
        self.stored.lock().unwrap().0["metadata"]["annotations"]["zen-lead.io/current-leader"].clone()
    }
}

fn server(patches: usize) -> Arc<Server> {
    let (stored, patches) = (Mutex::new((json!({}), 1_000)), Semaphore::new(patches));
    let (slices, reasons, is_away, tries, deletions, unseen, source) = Default::default();
    Arc::new(Server { stored, patches, slices, reasons, is_away, tries, deletions, unseen, source })
}

fn refused(code: u16, reason: &str) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
    let status =
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
    Ok(Response::builder().status(code).body(Full::from(serde_json::to_vec(&status)?))?)
}

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
    driver.lists[0].listed[2] = true;
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

/// A store restored with its count raised, as the manuals of etcd advise: lists are newer than ever, and some objects
/// older than known.
#[tokio::test(start_paused = true)]
async fn i10_a_list_with_an_older_object_than_known_is_of_a_restored_store() {
    listed_otherwise(Some("900")).await;
}

/// Without that, and when as much has been written since: the same versions come again.
#[tokio::test(start_paused = true)]
async fn i10_a_list_with_the_same_version_of_something_else_is_of_a_restored_store() {
    listed_otherwise(None).await;
}

/// The slice's list has another leader than was written, in this version or in the same.
async fn listed_otherwise(version: Option<&str>) {
    let server = server(100);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = pod(&json!({
        "metadata": { "name": "orders-1", "uid": "a1", "creationTimestamp": "2025-11-20T09:00:00Z" },
    }));
    driver.lists[0].listed[2] = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({})), second]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    let (sent, published) = server.slices.lock().unwrap().last().cloned().unwrap();
    assert_eq!(sent["endpoints"][0]["targetRef"]["name"], "orders-0");
    driver.told(Feed::Slices(0, Change::Applied(decode(published.clone()))));
    hear(&mut driver).await;

    let version = version.map_or_else(|| published["metadata"]["resourceVersion"].clone(), Value::from);
    let former = json!({
        "metadata": {
            "resourceVersion": version,
            "annotations": {
                "zen-lead.io/leader-pod-name": "orders-1", "zen-lead.io/leader-pod-uid": "a1",
                "zen-lead.io/epoch": "77",
            },
        },
        "endpoints": [{
            "addresses": ["10.0.7.21"], "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": "orders-1", "uid": "a1" },
        }],
    });
    let restored = decode(with(published, &former));
    let [relisting, page, _] = listed(vec![restored]);
    for change in [relisting, page, Change::Listed { version: 1_000_000, restored: false }] {
        driver.told(Feed::Slices(0, change));
    }
    hear(&mut driver).await;
    let (sent_again, _) = server.slices.lock().unwrap().last().cloned().unwrap();
    let epoch = |slice: &Value| {
        let text = slice["metadata"]["annotations"]["zen-lead.io/epoch"].as_str().unwrap();
        text.parse::<u64>().unwrap()
    };
    assert_eq!(sent_again["metadata"]["resourceVersion"], version, "written to what there is: {sent_again}");
    assert_eq!(sent_again["endpoints"][0]["targetRef"]["name"], "orders-1", "who is found and fit stays");
    assert!(epoch(&sent_again) > epoch(&sent), "in a new term");
}

/// The leader Service is not written by the election, and has a back-off of its own, of up to 30 s.
#[tokio::test(start_paused = true)]
async fn i11_the_servers_return_ends_the_back_off_of_a_leader_service() {
    let server = server(100);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    driver.lists[0].listed = [true, false, true];
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

/// What is tended no more must not be due for ever: the driver would do nothing else.
#[tokio::test(start_paused = true)]
async fn i7_whoever_leaves_while_the_server_is_away_waits_for_its_removal_only() {
    let server = server(100);
    let mut driver = driver(&server);
    let source = |opted_in: &str, version: &str| {
        service(&json!({
            "metadata": { "annotations": { "zen-lead.io/enabled": opted_in }, "resourceVersion": version },
            "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] },
        }))
    };
    driver.lists[0].listed = [true, false, true];
    for change in listed(vec![source("true", "7")]) {
        driver.told(Feed::Services(0, change));
    }
    hear(&mut driver).await;
    // Kubernetes will have made a slice for it, which is looked for again after a while.
    let mut selecting = server.stored.lock().unwrap().0.clone();
    merge(
        &mut selecting,
        &json!({ "metadata": { "resourceVersion": "5000" }, "spec": { "selector": { "app": "x" } } }),
    );
    server.is_away.store(true, SeqCst);
    driver.told(Feed::Services(0, Change::Applied(decode(selecting))));
    driver.told(Feed::Services(0, Change::Applied(source("false", "5001"))));
    hear(&mut driver).await;
    for _ in 0..20 {
        advance(Duration::from_secs(3)).await;
        driver.ring();
        hear(&mut driver).await;
        let next = driver.alarms.peek().map(|alarm| alarm.0.0);
        assert!(next.is_some_and(|next| next > driver.clock.now()), "{next:?}");
    }
}

/// One value of a scrape: of `orders`, if it is a Service's.
fn metric(driver: &Driver, name: &str) -> Option<f64> {
    let text = driver.metrics.encode();
    let series =
        [format!("zen_lead_{name} "), format!("zen_lead_{name}{{namespace=\"shop\",service=\"orders\"}} ")];
    let line =
        text.lines().find_map(|line| series.iter().find_map(|series| line.strip_prefix(series.as_str())));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok())
}

/// `orders` with two pods, led by the first.
async fn led(driver: &mut Driver) {
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = json!({ "metadata": { "name": "orders-1", "uid": "a1", "creationTimestamp": "2025-11-20T09:00:00Z" } });
    driver.lists[0].listed[2] = true;
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
    driver.lists[0].listed[2] = true;
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

/// Two that mirror what each of them knew when it acted first would never end.
#[tokio::test(start_paused = true)]
async fn i8_who_no_longer_acts_first_leaves_the_mirror_to_who_does() {
    let (server, mut driver, _) = second_replica_with_a_loss().await;
    let mut told = server.stored.lock().unwrap().0.clone();
    assert_eq!(
        told["metadata"]["annotations"]["zen-lead.io/current-leader"], "orders-0",
        "mirrored while first"
    );
    let others = json!({
        "metadata": {
            "resourceVersion": "5000",
            "annotations": { "zen-lead.io/current-leader": "orders-1", "zen-lead.io/leader-pod-name": "orders-1" },
        },
    });
    merge(&mut told, &others);
    server.stored.lock().unwrap().0 = told.clone();
    driver.told(Feed::Services(0, Change::Applied(decode(told))));
    hear(&mut driver).await;
    advance(Duration::from_secs(1)).await;
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(server.told(), "orders-1");

    // First again, it says what it knows itself.
    driver.told(Feed::Lease(Tenure::Unlimited));
    hear(&mut driver).await;
    let leader =
        driver.world.namespaces["shop"].managed.values().next().unwrap().election.state().pod().cloned();
    assert_eq!(server.told(), leader.unwrap().name());
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
    driver.lists[0].listed[2] = true;
    for change in listed(vec![decode(source(&json!({})))]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({}))]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    driver
}

/// A Service was made anew, and another replica, which knows it already, has made its objects: the former one's removal
/// is not theirs.
#[tokio::test(start_paused = true)]
async fn i4_whoever_leaves_does_not_delete_what_the_next_one_was_given() {
    let (server, mut driver) = led_alone().await;
    let source = decode(source(&json!({})));
    let mut of_next = slice_of(&server, 1);
    let mut service_of_next = server.stored.lock().unwrap().0.clone();
    for object in [&mut of_next, &mut service_of_next] {
        object["metadata"]["ownerReferences"][0]["uid"] = json!("of-the-next");
        merge(object, &json!({ "metadata": { "uid": "new", "resourceVersion": "9000" } }));
    }
    // The removal cannot be over while the server is away.
    server.is_away.store(true, SeqCst);
    driver.told(Feed::Services(0, Change::Deleted(source)));
    driver.told(Feed::Slices(0, Change::Applied(decode(of_next))));
    driver.told(Feed::Services(0, Change::Applied(decode(service_of_next))));
    server.is_away.store(false, SeqCst);
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 2, "the former slice and leader Service, each by its own UID");
}

/// The view of Services lags: by now the Service has opted in again, and what there is is another replica's work.
#[tokio::test(start_paused = true)]
async fn i4_what_the_service_asks_for_by_now_is_not_removed() {
    let (server, mut driver) = led_alone().await;
    let again = source(&json!({ "metadata": { "resourceVersion": "9001" } }));
    *server.source.lock().unwrap() = Some(again.clone());
    let out = json!({ "metadata": { "resourceVersion": "9000", "annotations": { "zen-lead.io/enabled": "false" } } });
    driver.told(Feed::Services(0, Change::Applied(decode(source(&out)))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0);
    driver.told(Feed::Services(0, Change::Applied(decode(again))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0);
    let managed = driver.world.namespaces["shop"].managed.values().next().unwrap();
    assert_eq!(
        managed.election.state().pod().map(machine::Pod::name),
        Some("orders-0"),
        "taken over as it stands"
    );
}

/// The view of Services lags that of slices: the foreign leader Service is no more, and the slice was made since.
#[tokio::test(start_paused = true)]
async fn i4_what_feeds_no_foreign_service_any_more_is_not_removed() {
    for is_there in [true, false] {
        let (server, mut driver) = led_alone().await;
        let over = json!({
            "metadata": {
                "uid": "foreign", "resourceVersion": "9000", "annotations": { "zen-lead.io/instance": "others/zen-lead" },
            },
        });
        let foreign = with(server.stored.lock().unwrap().0.clone(), &over);
        if is_there {
            server.stored.lock().unwrap().0 = foreign.clone();
        }
        driver.told(Feed::Services(0, Change::Applied(decode(foreign))));
        hear(&mut driver).await;
        assert_eq!(server.deletions.load(SeqCst), usize::from(is_there), "{is_there}");
    }
}

/// The view of Services lags: the owner that it does not know is not a former one but the present one.
#[tokio::test(start_paused = true)]
async fn i4_what_a_service_made_anew_owns_is_not_taken_for_a_leftover() {
    for (owner, deletions) in [("of-the-next", 0), ("of-a-former-one", 1)] {
        let (server, mut driver) = led_alone().await;
        let known = source(&json!({}))["metadata"]["uid"].clone();
        let is_next = owner == "of-the-next";
        let uid = if is_next { json!(owner) } else { known };
        *server.source.lock().unwrap() = Some(source(&json!({ "metadata": { "uid": uid } })));
        let mut slice = slice_of(&server, 1);
        slice["metadata"]["ownerReferences"][0]["uid"] = json!(owner);
        merge(&mut slice, &json!({ "metadata": { "uid": "new", "resourceVersion": "9000" } }));
        driver.told(Feed::Slices(0, Change::Applied(decode(slice))));
        hear(&mut driver).await;
        assert_eq!(server.deletions.load(SeqCst), deletions, "{owner}");
    }
}

/// Somebody took our label from the slice and changed it: no watch shows it any more.
#[tokio::test(start_paused = true)]
async fn i8_a_slice_that_no_watch_shows_is_read_before_its_removal_is_tried_again() {
    let (server, mut driver) = led_alone().await;
    let foreign = json!({ "metadata": { "uid": "foreign", "resourceVersion": "9000", "annotations": { "zen-lead.io/instance": "others/zen-lead" } } });
    let foreign = with(server.stored.lock().unwrap().0.clone(), &foreign);
    server.stored.lock().unwrap().0 = foreign.clone();
    let over = json!({ "metadata": { "resourceVersion": "9001", "labels": null } });
    *server.unseen.lock().unwrap() = Some(with(slice_of(&server, 1), &over));
    driver.told(Feed::Services(0, Change::Applied(decode(foreign))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0, "it was decided on what has changed since");
    advance(Duration::from_mins(1)).await;
    driver.ring();
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 1);
}
