//! Every outcome of a write, and the order of the lanes, by a scripted API server on paused time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode, header::RETRY_AFTER};
use http_body_util::Full;
use kube::client::Body;
use machine::{Epoch, Timestamp};
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use super::*;
use crate::failure::Kind;

// --- outcomes ---

#[tokio::test(start_paused = true)]
async fn conflicts_are_told_from_what_exists_already_and_from_what_is_gone() {
    assert_eq!(refused(409, "Conflict").await, Kind::Conflict);
    assert_eq!(refused(409, "AlreadyExists").await, Kind::Exists);
    assert_eq!(refused(404, "NotFound").await, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_says_in_json_or_in_a_header_how_long_to_wait() {
    let told = json!({ "code": 429, "reason": "TooManyRequests", "details": { "retryAfterSeconds": 3 } });
    let throttled = |seconds| Kind::Throttled(Duration::from_secs(seconds));
    assert_eq!(kind(Script::json(429, &told)).await, throttled(3));
    // What the API server's own limits answer.
    let overloaded = |code| Script::text(code, "Too many requests, please try again later.");
    assert_eq!(kind(overloaded(429).retry_after("1")).await, throttled(1));
    assert_eq!(kind(overloaded(503).retry_after("2")).await, throttled(2));
    assert_eq!(kind(overloaded(429)).await, Kind::Throttled(Duration::from_millis(100)));
    assert_eq!(
        kind(overloaded(429).retry_after("Wed, 21 Oct")).await,
        Kind::Throttled(Duration::from_millis(100))
    );
}

#[tokio::test(start_paused = true)]
async fn what_certainly_did_not_happen_is_unreachable() {
    for (code, reason) in [(401, "Unauthorized"), (403, "Forbidden"), (503, "ServiceUnavailable")] {
        assert_eq!(refused(code, reason).await, Kind::Unreachable, "{code}");
    }
    let failure = failure(Script::json(401, &json!({ "code": 401, "message": "Unauthorized" }))).await;
    assert!(failure.words.contains("does not accept our token"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_unknown() {
    for (code, reason) in [(500, "InternalError"), (504, "Timeout"), (502, "")] {
        assert_eq!(refused(code, reason).await, Kind::Unknown, "{code}");
    }
    assert_eq!(kind(Script::text(200, "no JSON")).await, Kind::Unknown);
    let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    assert_eq!(kind(Script::Lost(lost)).await, Kind::Unknown);
}

#[tokio::test(start_paused = true)]
async fn what_will_never_happen_is_refused_and_the_endpoint_blamed_if_it_is_that() {
    let endless = |code, field: &str| {
        let causes = json!([{ "reason": "FieldValueInvalid", "message": "no", "field": field }]);
        Script::json(
            code,
            &json!({ "code": code, "reason": "Invalid", "message": "no", "details": { "causes": causes } }),
        )
    };
    let refused = |endpoint| Kind::Refused { endpoint };
    assert_eq!(kind(endless(422, "endpoints[0].addresses[0]")).await, refused(true));
    assert_eq!(kind(endless(422, "ports[3].name")).await, refused(false));
    assert_eq!(kind(endless(422, "metadata.labels")).await, refused(false));
    assert_eq!(kind(Script::text(413, "too large")).await, refused(false));
    assert_eq!(kind(Script::text(400, "bad")).await, refused(false));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_terminates_refuses_for_good_and_a_missing_right_does_not() {
    let causes =
        json!([{ "reason": "NamespaceTerminating", "message": "it is", "field": "metadata.namespace" }]);
    let terminating =
        json!({ "code": 403, "reason": "Forbidden", "message": "no", "details": { "causes": causes } });
    assert_eq!(kind(Script::json(403, &terminating)).await, Kind::Refused { endpoint: false });
    let denied = json!({ "code": 403, "reason": "Forbidden", "message": "no", "details": { "kind": "endpointslices" } });
    assert_eq!(kind(Script::json(403, &denied)).await, Kind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_server_is_given_up_after_a_second_and_its_webhooks_after_three() {
    for (request, limit) in
        [(publication(), 1), (Request::ReadSlice("x".into()), 1), (service(), 3), (mirror(), 3)]
    {
        let mut apply = Server::new(|_| Script::Hang).apply(4);
        let what = request.to_string();
        apply.submit(order(0, request));
        let begun = Instant::now();
        let failure = apply.answer().await.result.unwrap_err();
        assert_eq!((failure.kind, begun.elapsed()), (Kind::Unknown, Duration::from_secs(limit)), "{what}");
        assert!(!apply.is_busy());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_names_uid_and_version_and_passes_over_what_is_gone() {
    let server = Server::new(|uri| match uri.rsplit('/').next() {
        Some("gone") => Script::json(404, &json!({ "code": 404, "reason": "NotFound" })),
        Some("stuck") => Script::json(403, &json!({ "code": 403, "reason": "Forbidden" })),
        _ => Script::json(200, &json!({ "kind": "Status", "status": "Success" })),
    });
    let mut apply = server.apply(4);
    let target = |name: &str| Target { is_service: false, name: name.into(), uid: "u".into(), version: 7 };
    apply.submit(order(0, Request::Delete(vec![target("gone"), target("here")])));
    assert!(matches!(apply.answer().await.result, Ok(Reply::Done)));
    apply.submit(order(1, Request::Delete(vec![target("stuck"), target("never")])));
    assert_eq!(apply.answer().await.result.unwrap_err().kind, Kind::Unreachable);
    let asked = server.asked();
    let names: Vec<_> = asked.iter().filter_map(|(_, uri, _)| uri.rsplit('/').next()).collect();
    assert_eq!(names, ["gone", "here", "stuck"]);
    for (method, _, body) in &asked {
        assert_eq!(
            (method, &body["preconditions"]),
            (&Method::DELETE, &json!({ "uid": "u", "resourceVersion": "7" }))
        );
    }
}

// --- lanes ---

#[tokio::test(start_paused = true)]
async fn a_webhook_that_hangs_on_services_does_not_delay_a_publication() {
    let hangs = |uri: &str| {
        if uri.contains("/services") { Script::Hang } else { Script::json(200, &slice_as_read()) }
    };
    let mut apply = Server::new(hangs).apply(4);
    for number in 0..3 * SIDE_IN_FLIGHT {
        apply.submit(order(number, service()));
    }
    apply.submit(order(1_000, publication()));
    let begun = Instant::now();
    let first = apply.answer().await;
    assert_eq!(
        (first.purpose, first.begun - first.ordered, begun.elapsed()),
        (1_000, Duration::ZERO, Duration::ZERO)
    );
    assert!(matches!(first.result, Ok(Reply::Slice(_))));
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_are_in_flight_and_the_others_wait_for_their_turn() {
    for (request, most) in [(publication as fn() -> Request, 3), (service, SIDE_IN_FLIGHT)] {
        let server = Server::new(|_| Script::Slow(Duration::from_millis(10)));
        let mut apply = server.apply(3);
        let orders = 5 * most;
        (0..orders).for_each(|number| apply.submit(order(number, request())));
        let mut answered = Vec::new();
        for _ in 0..orders {
            answered.push(apply.answer().await.purpose);
        }
        assert_eq!(server.peak.load(SeqCst), most);
        let (first, last) =
            (answered.iter().position(|n| *n == 0), answered.iter().position(|n| *n == orders - 1));
        assert!(first < Some(most) && last >= Some(orders - most), "first come, first served: {answered:?}");
        assert!(!apply.is_busy());
    }
}

#[tokio::test(start_paused = true)]
async fn mirrors_and_notices_wait_for_publications_then_go_one_by_one_and_at_once_when_these_are_done() {
    const PUBLICATIONS: usize = 30;
    let slow = |uri: &str| Script::Slow(Duration::from_millis(if uri.contains("slices") { 100 } else { 10 }));
    let server = Server::new(slow);
    let mut apply = server.apply(1);
    (0..PUBLICATIONS).for_each(|number| apply.submit(order(number, publication())));
    (0..400).for_each(|number| apply.submit(order(2_000 + number, notice())));
    apply.submit(order(1_000, mirror()));
    let begun = Instant::now();
    let (mut publications, mut later) = (0, Vec::new());
    while apply.is_busy() {
        let is_beside = publications < PUBLICATIONS;
        let answer = apply.answer().await;
        if answer.purpose < PUBLICATIONS {
            publications += 1;
        } else {
            assert!(begun.elapsed() >= LATER_PATIENCE, "{} beside publications", answer.purpose);
            later.push(answer.purpose);
        }
        assert!(!is_beside || server.peak.load(SeqCst) <= 2, "one by one");
    }
    assert_eq!(later[..2], [1_000, 2_000], "the mirror goes before the notices");
    assert_eq!((later.len(), server.peak.load(SeqCst)), (401, LATER_IN_FLIGHT));
}

#[tokio::test(start_paused = true)]
async fn a_notice_whose_answer_was_lost_is_sent_again_and_not_told_twice() {
    let exists = json!({ "code": 409, "reason": "AlreadyExists" });
    let tries = AtomicUsize::new(0);
    let server = Server::new(move |_| match tries.fetch_add(1, SeqCst) {
        0 => Script::Hang,
        _ => Script::json(409, &exists),
    });
    let mut apply = server.apply(4);
    apply.submit(order(0, notice()));
    assert!(matches!(apply.answer().await.result, Ok(Reply::Done)));
    let asked = server.asked();
    assert_eq!((asked.len(), &asked[0].2), (2, &asked[1].2), "the very same");
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_given_up_after_three_tries_and_at_once_where_it_is_refused() {
    for (script, tries) in [(500, 3), (429, 3), (403, 1), (422, 1), (404, 1)] {
        let server = Server::new(move |_| Script::text(script, "no"));
        let mut apply = server.apply(4);
        apply.submit(order(0, notice()));
        assert!(apply.answer().await.result.is_err());
        assert_eq!(server.asked().len(), tries, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn notices_beyond_a_bound_are_dropped_and_answered() {
    let server = Server::new(|_| Script::Hang);
    let mut apply = server.apply(4);
    (0..LATER_IN_FLIGHT + NOTICES_WAITING + 7).for_each(|number| apply.submit(order(number, notice())));
    for number in 0..7 {
        let dropped = apply.answer().await;
        assert_eq!(dropped.purpose, LATER_IN_FLIGHT + NOTICES_WAITING + number);
        assert!(dropped.result.unwrap_err().words.contains("not sent"));
    }
    assert_eq!(server.asked().len(), 0, "nothing has waited for them");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_reads_and_writes_nothing() {
    let server = Server::new(|_| Script::json(200, &slice_as_read()));
    let mut apply = Apply::new(server.client.clone(), 4, true);
    let target = Target { is_service: true, name: "x".into(), uid: "u".into(), version: 7 };
    let delete = Request::Delete(vec![target]);
    for request in [publication(), service(), notice(), delete, Request::PatchService("x".into(), json!({}))]
    {
        apply.submit(order(0, request));
        assert!(apply.answer().await.result.is_ok());
    }
    assert_eq!(server.asked().len(), 0);
    apply.submit(order(0, Request::ReadSlice("x".into())));
    assert!(matches!(apply.answer().await.result, Ok(Reply::Slice(_))));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn i3_a_term_over_a_slice_without_an_epoch_is_not_written_if_the_leader_service_tells_of_a_later_one() {
    for (mirrored, is_written) in [(None, true), (Some("41"), true), (Some("42"), false), (Some("43"), false)]
    {
        let server = Server::new(move |uri| match mirrored {
            _ if uri.contains("slices") => Script::json(200, &slice_as_read()),
            None => Script::json(404, &json!({ "code": 404, "reason": "NotFound" })),
            Some(epoch) => {
                Script::json(200, &json!({ "metadata": { "annotations": { "zen-lead.io/epoch": epoch } } }))
            }
        });
        let mut apply = server.apply(4);
        let Request::ReplaceSlice(slice) = publication() else { unreachable!("that is what publishes") };
        let (leader_service, at) = ("orders-leader".to_owned(), Timestamp::from_secs(50));
        apply.submit(order(0, Request::ResumeTerms { slice, epoch: Epoch(42), leader_service, at }));
        let result = apply.answer().await.result;
        assert_eq!(result.is_ok(), is_written, "{mirrored:?}");
        let is_put = |(method, ..): &Asked| *method == Method::PUT;
        assert_eq!(server.asked().iter().filter(|asked| is_put(asked)).count(), usize::from(is_written));
        if let Err(failure) = result {
            let epoch = Epoch(mirrored.and_then(|epoch| epoch.parse().ok()).unwrap_or_default());
            assert_eq!(failure.outcome(), machine::Outcome::Behind { epoch });
        }
    }
}

// --- the scripted server ---

/// What the server does with a request.
enum Script {
    Answer { code: u16, retry_after: Option<&'static str>, body: String },
    Slow(Duration),
    Hang,
    Lost(fn() -> std::io::Error),
}

impl Script {
    fn json(code: u16, body: &Value) -> Self {
        Self::Answer { code, retry_after: None, body: body.to_string() }
    }

    fn text(code: u16, body: &str) -> Self {
        Self::Answer { code, retry_after: None, body: body.into() }
    }

    fn retry_after(self, value: &'static str) -> Self {
        match self {
            Self::Answer { code, body, .. } => Self::Answer { code, retry_after: Some(value), body },
            other => other,
        }
    }

    async fn play(self) -> Result<http::Response<Full<Bytes>>, BoxError> {
        let (code, retry_after, body) = match self {
            Self::Answer { code, retry_after, body } => (code, retry_after, body),
            Self::Slow(time) => {
                tokio::time::sleep(time).await;
                (200, None, slice_as_read().to_string())
            }
            Self::Hang => std::future::pending().await,
            Self::Lost(error) => return Err(error().into()),
        };
        let mut answer = http::Response::new(Full::from(body));
        *answer.status_mut() = StatusCode::from_u16(code)?;
        if let Some(value) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, value.parse()?);
        }
        Ok(answer)
    }
}

/// Method, path and body of a request.
type Asked = (Method, String, Value);

struct Server {
    client: kube::Client,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// The most requests that were open at once.
    peak: Arc<AtomicUsize>,
}

impl Server {
    fn new(script: impl Fn(&str) -> Script + Send + Sync + 'static) -> Self {
        let (asked, peak) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (script, open) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let (log, most) = (asked.clone(), peak.clone());
        let service = service_fn(move |request: http::Request<Body>| {
            let (script, open, log, most) = (script.clone(), open.clone(), log.clone(), most.clone());
            async move {
                most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                let path = head.uri.path().to_owned();
                let reply = script(&path);
                log.lock().unwrap().push((
                    head.method,
                    path,
                    serde_json::from_slice(&body).unwrap_or_default(),
                ));
                let answer = reply.play().await;
                open.fetch_sub(1, SeqCst);
                answer
            }
        });
        Self { client: kube::Client::new(service, "shop"), asked, peak }
    }

    fn apply(&self, most: usize) -> Apply<usize> {
        Apply::new(self.client.clone(), most, false)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn order(purpose: usize, request: Request) -> Order<usize> {
    Order::new(purpose, "shop".into(), request)
}

fn publication() -> Request {
    Request::ReplaceSlice(Box::new(serde_json::from_value(slice_as_read()).unwrap()))
}

fn slice_as_read() -> Value {
    json!({ "metadata": { "name": "orders-leader", "resourceVersion": "7" }, "addressType": "IPv4", "endpoints": [] })
}

fn service() -> Request {
    Request::CreateService(Box::new(
        serde_json::from_value(json!({ "metadata": { "name": "orders-leader" } })).unwrap(),
    ))
}

fn mirror() -> Request {
    Request::PatchService("orders-leader".into(), json!({}))
}

fn notice() -> Request {
    Request::Notify(Box::new(serde_json::from_value(json!({ "metadata": {}, "eventTime": null })).unwrap()))
}

async fn failure(script: Script) -> Failure {
    let script = Mutex::new(Some(script));
    let server = Server::new(move |_| script.lock().unwrap().take().expect("one request"));
    let mut apply = server.apply(4);
    apply.submit(order(0, publication()));
    apply.answer().await.result.unwrap_err()
}

async fn kind(script: Script) -> Kind {
    failure(script).await.kind
}

/// A refusal as the API server words it.
async fn refused(code: u16, reason: &str) -> Kind {
    kind(Script::json(
        code,
        &json!({ "kind": "Status", "status": "Failure", "reason": reason, "message": "no", "code": code }),
    ))
    .await
}
