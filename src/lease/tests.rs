use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use super::*;

/// A Lease as the API server keeps it.
#[derive(Default)]
struct Server {
    /// None: there is none.
    lease: Mutex<Option<Value>>,
    version: AtomicU64,
    hangs: AtomicBool,
    /// It answers, but neither reads nor writes.
    fails: AtomicBool,
    /// It knows no role of ours.
    refuses: AtomicBool,
    /// Who said that it writes.
    manager: Mutex<String>,
}

impl Server {
    async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        if self.hangs.load(SeqCst) {
            return std::future::pending().await;
        }
        if self.fails.load(SeqCst) {
            return Ok(status(500, "InternalError"));
        }
        if self.refuses.load(SeqCst) {
            return Ok(status(403, "Forbidden"));
        }
        let body = body.collect().await?.to_bytes();
        let mut lease = self.lease.lock().unwrap();
        let Some(known) = lease.as_mut() else { return Ok(status(404, "NotFound")) };
        if head.method == Method::PUT {
            let sent: Value = serde_json::from_slice(&body)?;
            if sent["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"] {
                return Ok(status(409, "Conflict"));
            }
            *known = sent;
            *self.manager.lock().unwrap() = head.uri.query().unwrap_or_default().to_owned();
            known["metadata"]["resourceVersion"] = json!((self.version.fetch_add(1, SeqCst) + 1).to_string());
        }
        Ok(Response::new(Full::from(serde_json::to_vec(known)?)))
    }

    /// Another replica takes it, or renews it.
    fn set_holder(&self, holder: &str) {
        let version = (self.version.fetch_add(1, SeqCst) + 1).to_string();
        let metadata = json!({ "name": "lease", "namespace": "system", "resourceVersion": version });
        *self.lease.lock().unwrap() =
            Some(json!({ "metadata": metadata, "spec": { "holderIdentity": holder } }));
    }

    fn spec(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"].clone()
    }

    fn holder(&self) -> String {
        self.spec()["holderIdentity"].as_str().unwrap().to_owned()
    }
}

fn status(code: u16, reason: &str) -> Response<Full<bytes::Bytes>> {
    let body =
        json!({ "kind": "Status", "code": code, "reason": reason, "message": reason, "status": "Failure" });
    Response::builder().status(code).body(Full::from(body.to_string())).unwrap()
}

struct Run {
    server: Arc<Server>,
    feed: mpsc::Receiver<Feed>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    told: Option<bool>,
}

impl Run {
    /// A candidate called `me`, before a Lease with this holder.
    fn with(holder: Option<&str>) -> Self {
        let server = Arc::new(Server::default());
        if let Some(holder) = holder {
            server.set_holder(holder);
        }
        let answering = server.clone();
        let service = service_fn(move |request| answering.clone().answer(request));
        let api = Api::namespaced(kube::Client::new(service, "system"), "system");
        let (sink, feed) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let candidate = Candidate::new(api, "lease".into(), "me".into(), sink, Clock::start());
        Self { server, feed, stop, task: tokio::spawn(candidate.run(stopped)), told: None }
    }

    /// What it tells next, and after how many seconds.
    async fn told(&mut self) -> (bool, u64) {
        let begun = Instant::now();
        loop {
            let Some(Feed::Lease(tenure)) = self.feed.recv().await else { panic!("it says something else") };
            let is_held = tenure.is_held(Instant::now());
            if self.told.replace(is_held) != Some(is_held) {
                return (is_held, begun.elapsed().as_secs());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_nobodys_is_taken_at_once() {
    for holder in ["", "me"] {
        let mut run = Run::with(Some(holder));
        assert_eq!(run.told().await, (true, 0));
        assert_eq!(run.server.holder(), "me");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_change_any_more_is_taken_after_its_time_by_our_own_clock() {
    let mut run = Run::with(Some("other"));
    assert_eq!(run.told().await, (false, 0));
    sleep(Duration::from_secs(5)).await;
    // Renewed just in time: the count begins anew.
    run.server.set_holder("other");
    let (is_held, waited) = run.told().await;
    assert!(is_held && (6..=9).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn one_that_another_took_is_lost() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.server.set_holder("other");
    assert_eq!(run.told().await, (false, 2));
    assert_eq!(run.server.holder(), "other");
}

/// While others must think that it is ours, it is; then it is anybody's.
#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_renewed_is_lost_when_others_may_take_it() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.server.hangs.store(true, SeqCst);
    let (is_held, waited) = run.told().await;
    assert!(!is_held && (6..=9).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn where_there_is_none_it_acts_until_there_is_one_that_is_held() {
    let mut run = Run::with(None);
    assert_eq!(run.told().await, (true, 0));
    run.server.set_holder("other");
    assert_eq!(run.told().await, (false, 30));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_it_is_given_back_if_it_is_ours() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.stop.send(true).unwrap();
    run.task.await.unwrap();
    assert_eq!(run.server.holder(), "");

    let mut run = Run::with(Some("other"));
    assert_eq!(run.told().await, (false, 0));
    run.stop.send(true).unwrap();
    run.task.await.unwrap();
    assert_eq!(run.server.holder(), "other");
}

/// It must not keep the process from ending.
#[tokio::test(start_paused = true)]
async fn giving_it_back_does_not_take_long() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.server.hangs.store(true, SeqCst);
    let begun = Instant::now();
    run.stop.send(true).unwrap();
    run.task.await.unwrap();
    assert!(begun.elapsed() <= RELEASE_PATIENCE, "{:?}", begun.elapsed());
}

/// By which others, and people, see who holds it and since when.
#[tokio::test(start_paused = true)]
async fn what_is_written_tells_who_holds_it_since_when() {
    let mut run = Run::with(Some("other"));
    assert_eq!(run.told().await, (false, 0));
    assert!(run.told().await.0);
    let taken = run.server.spec();
    assert_eq!(
        (&taken["leaseTransitions"], &taken["leaseDurationSeconds"]),
        (&json!(1), &json!(DURATION.as_secs()))
    );
    assert_eq!(taken["acquireTime"], taken["renewTime"]);
    assert!(taken["acquireTime"].is_string(), "{taken}");
    assert!(run.server.manager.lock().unwrap().contains(&format!("fieldManager={FIELD_MANAGER}")));
    sleep(2 * RENEW_EVERY).await;
    let renewed = run.server.spec();
    assert_eq!((&renewed["acquireTime"], &renewed["leaseTransitions"]), (&taken["acquireTime"], &json!(1)));
    assert!(renewed["renewTime"].as_str() > taken["renewTime"].as_str(), "{renewed}");
}

/// An error says nothing about whose it is.
#[tokio::test(start_paused = true)]
async fn one_whose_server_fails_is_ours_while_others_must_think_so() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.server.fails.store(true, SeqCst);
    let (is_held, waited) = run.told().await;
    assert!(!is_held && (6..=9).contains(&waited), "{waited} s");
    run.server.fails.store(false, SeqCst);
    assert!(run.told().await.0);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_not_taken_for_nobodys() {
    let mut run = Run::with(Some(""));
    run.server.fails.store(true, SeqCst);
    assert_eq!(run.told().await, (false, 0));
    run.server.fails.store(false, SeqCst);
    assert!(run.told().await.0);
}

/// One that has just started, while its neighbour goes on to serve the holder: two would then act first, and both would
/// tell of what needs no write.
#[tokio::test(start_paused = true)]
async fn one_that_a_server_refuses_to_show_is_still_the_others() {
    let mut run = Run::with(Some("other"));
    assert_eq!(run.told().await, (false, 0));
    run.server.refuses.store(true, SeqCst);
    let (is_held, waited) = run.told().await;
    assert!(is_held && (30..=33).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn one_that_a_server_refuses_to_renew_is_ours_while_others_must_think_so() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    run.server.refuses.store(true, SeqCst);
    let (is_held, waited) = run.told().await;
    assert!(!is_held && (6..=9).contains(&waited), "{waited} s");
    run.server.refuses.store(false, SeqCst);
    assert!(run.told().await.0);
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_one_that_was_deleted_acts_until_there_is_one_that_is_held() {
    let mut run = Run::with(Some(""));
    assert_eq!(run.told().await, (true, 0));
    *run.server.lease.lock().unwrap() = None;
    sleep(Duration::from_secs(20)).await;
    run.server.set_holder("other");
    let (is_held, waited) = run.told().await;
    assert!(!is_held && (10..=31).contains(&waited), "{waited} s");
}
