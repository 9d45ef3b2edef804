use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use machine::{Cause, Epoch, Micros, OrderId, Phase, Pod, Timestamp};
use opentelemetry::Value;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::trace::SpanData;
use tokio::time::Instant;

use super::{Renderer, count};
use crate::apply::Exchange;
use crate::failover::{Call, Failover, Http, Ids, Outcome, Purpose, Stay, Trigger, Who};
use crate::managed::Key;

const BEGUN: u64 = 1_700_000_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp(BEGUN + millis * 1_000)
}

fn who(name: &str) -> Who {
    Who { pod: Pod::new(name, &format!("{name}-uid")), node: Some("node-1".into()) }
}

fn call(ordered: u64, ended: u64, outcome: &'static str) -> Call {
    let exchange = Exchange {
        method: Method::PUT,
        path: "/apis/x".into(),
        begun: Instant::now(),
        ended: None,
        status: (outcome == "ok").then_some(StatusCode::OK),
        span: None,
    };
    let (begun, ended) = (at(ordered + 1), at(ended));
    let http = Some(Http { exchange, begun, ended });
    Call { id: OrderId(1), purpose: Purpose::Publish, ordered: at(ordered), begun, ended, http, outcome }
}

/// From `a` to `b`, in ten milliseconds, by one write.
fn failover() -> Failover {
    let key = Key { namespace: "shop".into(), name: "orders".into() };
    let ids = Ids { trace: TraceId::from(7), root: SpanId::from(8) };
    let mut failover = Failover::new(key, at(0), Cause::Unready, Some(ids));
    failover.before = Some(who("a"));
    failover.after = Some(who("b"));
    failover.epoch = Some(Epoch(9));
    failover.enter(Stay {
        phase: Phase::Reelecting,
        who: Some(who("b")),
        cause: Cause::Unready,
        since: at(0),
        until: at(0),
    });
    failover.calls.push(call(0, 9, "ok"));
    failover.leave(at(10));
    failover.outcome = Outcome::Elected;
    failover
}

fn spans(failover: &Failover) -> Vec<SpanData> {
    let spans = Renderer::new("https://10.0.0.1:6443/").spans(failover);
    assert_eq!(spans.len() as u64, count(failover), "what is dropped is counted as what is sent");
    spans
}

fn span<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"))
}

fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    span.attributes
        .iter()
        .find(|attribute| attribute.key.as_str() == key)
        .map(|attribute| attribute.value.clone())
}

#[test]
fn times_are_the_wall_clocks_of_the_moment_at_which_it_began() {
    let mut failover = failover();
    failover.wall_ahead = -3_600_000_000;
    let spans = spans(&failover);
    let root = span(&spans, "failover");
    assert_eq!(root.start_time, SystemTime::UNIX_EPOCH + Duration::from_micros(BEGUN - 3_600_000_000));
    assert_eq!(root.end_time.duration_since(root.start_time).unwrap(), Duration::from_millis(10));
}

#[test]
fn a_trigger_in_the_future_is_a_skew_and_no_span() {
    let mut failover = failover();
    failover.trigger = Some(Trigger { who: who("a"), at: at(2_500) });
    let skewed = spans(&failover);
    assert!(skewed.iter().all(|span| span.name != "detect"));
    assert_eq!(attribute(span(&skewed, "failover"), "zen_lead.clock_skew_ms"), Some(Value::F64(2_500.0)));

    // The wall clock was set after our start: that is no skew between us and whoever wrote the time.
    failover.wall_ahead = 3_000_000;
    let detected = spans(&failover);
    let detect = span(&detected, "detect");
    assert_eq!(detect.end_time.duration_since(detect.start_time).unwrap(), Duration::from_millis(500));
    assert_eq!(attribute(span(&detected, "failover"), "zen_lead.clock_skew_ms"), None);
}

#[test]
fn a_trigger_in_the_same_moment_is_a_span_of_no_length() {
    let mut failover = failover();
    failover.trigger = Some(Trigger { who: who("a"), at: at(0) });
    let spans = spans(&failover);
    let detect = span(&spans, "detect");
    assert_eq!(detect.start_time, detect.end_time);
}

#[test]
fn a_write_that_was_on_its_way_before_has_only_its_wait_in_the_trace() {
    let mut failover = failover();
    failover.begun = at(4);
    let spans = spans(&failover);
    let publish = span(&spans, "publish");
    assert_eq!(publish.start_time, failover.wall(at(4)));
    assert_eq!(attribute(publish, "zen_lead.earlier"), Some(Value::Bool(true)));
    assert!(spans.iter().all(|span| span.name != "queue"));
}

#[test]
fn requests_without_an_answer_say_what_we_make_of_that() {
    let mut failover = failover();
    failover.calls.push(call(10, 1_010, "unknown"));
    let spans = spans(&failover);
    let unanswered = spans.iter().rfind(|span| span.name == "PUT").unwrap();
    assert_eq!(attribute(unanswered, "error.type"), Some(Value::from("unknown")));
    assert_eq!(attribute(unanswered, "http.response.status_code"), None);
    assert_eq!(attribute(unanswered, "url.full"), Some(Value::from("https://10.0.0.1:6443/apis/x")));
    assert_eq!(attribute(unanswered, "server.port"), Some(Value::I64(6443)));
}

/// An outage of hours: the record stays small, and says that something is missing.
#[test]
fn a_thousand_tries_are_few_spans_and_a_number() {
    let mut failover = failover();
    for number in 0..1_000 {
        failover.calls.push(call(10 * number, 10 * number + 5, "unreachable"));
    }
    let spans = spans(&failover);
    assert!(spans.len() < 110, "{}", spans.len());
    assert_eq!(attribute(span(&spans, "failover"), "zen_lead.omitted"), Some(Value::I64(969)));
    let last = spans.iter().rfind(|span| span.name == "publish").unwrap();
    assert_eq!(last.end_time, failover.wall(at(9_995)), "how it ended is not what is left out");
}

#[test]
fn the_status_tells_failures_and_budgets() {
    let mut failover = failover();
    let status = |failover: &Failover| span(&spans(failover), "failover").status.clone();
    assert_eq!(status(&failover), Status::Ok);
    failover.budget = Micros::from_millis(9);
    assert_eq!(status(&failover), Status::error("took longer than its budget"));
    failover.outcome = Outcome::Leaderless;
    assert_eq!(status(&failover), Status::error("ended leaderless"));
}

#[test]
fn what_no_sampler_wanted_is_no_span() {
    let mut failover = failover();
    failover.ids = None;
    assert_eq!(Renderer::new("https://10.0.0.1").spans(&failover), Vec::new());
}
