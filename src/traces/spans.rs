//! A failover as spans.

use std::borrow::Cow;
use std::time::SystemTime;

use http::Uri;
use machine::{Epoch, Phase};
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};

use crate::failover::{Call, Failover, Http, Ids, Outcome, Purpose, Stay, Who, millis};

/// The root span's name.
pub(super) const ROOT: &str = "failover";

/// Kubernetes gives times of conditions and deletions in whole seconds.
const RESOLUTION_MS: i64 = 1_000;

/// Makes spans of failovers.
#[derive(Debug)]
pub(crate) struct Renderer {
    scope: InstrumentationScope,
    server: Server,
}

/// The API server.
#[derive(Debug)]
struct Server {
    /// Its URL, without a slash at the end.
    url: String,
    host: String,
    port: i64,
}

/// How many spans a failover is.
pub(crate) fn count(failover: &Failover) -> u64 {
    let of_call = |call: &Call| 1 + u64::from(!is_earlier(call, failover)) + u64::from(call.http.is_some());
    let of_calls: u64 = failover.calls.iter().map(of_call).sum();
    let detect = u64::from(detected(failover).is_some());
    1 + detect + failover.stays.len() as u64 + of_calls
}

/// Whether a call was ordered before there was a reason for this failover.
fn is_earlier(call: &Call, failover: &Failover) -> bool {
    call.ordered < failover.begun
}

/// When the trigger happened, if that was before we saw it.
fn detected(failover: &Failover) -> Option<(&Who, SystemTime)> {
    let trigger = failover.trigger.as_ref().filter(|_| failover.clock_skew().is_none())?;
    // That clock is the wall's, whatever ours says by now.
    let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(trigger.at.0);
    Some((&trigger.who, at))
}

impl Renderer {
    /// For failovers whose writes go to the API server with this URL.
    pub(crate) fn new(server: &str) -> Self {
        let scope = InstrumentationScope::builder(crate::names::CONTROLLER)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let uri: Uri = server.parse().unwrap_or_default();
        let is_https = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default().to_owned();
        Self {
            scope,
            server: Server { url: server.trim_end_matches('/').to_owned(), host, port: port.into() },
        }
    }

    /// The trace of a failover; nothing if it has none.
    pub(crate) fn spans(&self, failover: &Failover) -> Vec<SpanData> {
        let Some(ids) = failover.ids else { return Vec::new() };
        let mut trace = Trace { renderer: self, failover, ids, spans: Vec::new() };
        trace.root();
        trace.detect();
        let mut parents = vec![(None, ids.root)];
        for (place, stay) in failover.stays.iter().enumerate() {
            let id = trace.stay(stay, place);
            parents.push((Some(stay), id));
        }
        for call in failover.calls.iter() {
            let is_parent =
                |(stay, _): &&(Option<&Stay>, SpanId)| stay.is_none_or(|stay| stay.since <= call.ordered);
            let parent = parents.iter().rev().find(is_parent).map_or(ids.root, |(_, id)| *id);
            trace.call(call, parent);
        }
        trace.spans
    }
}

struct Trace<'a> {
    renderer: &'a Renderer,
    failover: &'a Failover,
    ids: Ids,
    spans: Vec<SpanData>,
}

/// What differs from span to span.
struct Span<'a> {
    id: SpanId,
    parent: SpanId,
    name: Cow<'static, str>,
    begun: SystemTime,
    ended: SystemTime,
    who: Option<&'a Who>,
    attributes: Vec<KeyValue>,
}

impl Trace<'_> {
    fn push(&mut self, span: Span<'_>) -> &mut SpanData {
        let Span { id, parent, name, begun, ended, who, mut attributes } = span;
        attributes.extend(who.into_iter().flat_map(of_pod));
        let place = self.spans.len();
        self.spans.push(SpanData {
            span_context: context(Ids { trace: self.ids.trace, root: id }),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: begun,
            end_time: ended.max(begun),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.renderer.scope.clone(),
        });
        &mut self.spans[place]
    }

    fn root(&mut self) {
        let failover = self.failover;
        let used = failover.took();
        let mut attributes = vec![
            KeyValue::new("k8s.namespace.name", failover.service.namespace.to_string()),
            KeyValue::new("k8s.service.name", failover.service.name.to_string()),
            KeyValue::new("zen_lead.cause", failover.cause.as_str()),
            KeyValue::new("zen_lead.outcome", failover.outcome.as_str()),
            KeyValue::new("zen_lead.seq", number(failover.seq)),
            KeyValue::new("zen_lead.budget.limit_ms", millis(failover.budget)),
            KeyValue::new("zen_lead.budget.used_ms", millis(used)),
            KeyValue::new("zen_lead.budget.exceeded", failover.is_over_budget()),
        ];
        attributes.extend(failover.epoch.map(|Epoch(epoch)| KeyValue::new("zen_lead.epoch", number(epoch))));
        if let Some(before) = &failover.before {
            attributes.push(KeyValue::new("zen_lead.previous.pod.name", before.pod.name().to_owned()));
            attributes.push(KeyValue::new("zen_lead.previous.pod.uid", before.pod.uid().to_owned()));
            let node = before.node.as_ref();
            attributes
                .extend(node.map(|node| KeyValue::new("zen_lead.previous.node.name", node.to_string())));
        }
        attributes
            .extend(failover.clock_skew().map(|skew| KeyValue::new("zen_lead.clock_skew_ms", millis(skew))));
        let omitted = failover.stays.omitted + failover.calls.omitted;
        attributes.extend((omitted > 0).then(|| KeyValue::new("zen_lead.omitted", i64::from(omitted))));
        let (begun, ended) = (failover.wall(failover.begun), failover.wall(failover.ended));
        let (id, parent) = (self.ids.root, SpanId::INVALID);
        let who = failover.after.as_ref();
        let root = self.push(Span { id, parent, name: ROOT.into(), begun, ended, who, attributes });
        root.status = status(failover);
        if failover.outcome == Outcome::Adopted {
            root.events.events.push(Event::new("adopted", ended, Vec::new(), 0));
        }
        let link = |lost: Ids| Link::new(context(lost), vec![KeyValue::new("zen_lead.link", "lost_in")], 0);
        root.links.links.extend(failover.follows.map(link));
    }

    /// From when the trigger says that it happened; it lies before the root, which begins with what we know.
    fn detect(&mut self) {
        let Some((who, begun)) = detected(self.failover) else { return };
        let attributes = vec![KeyValue::new("zen_lead.detect.resolution_ms", RESOLUTION_MS)];
        let (name, ended) = ("detect".into(), self.failover.wall(self.failover.begun));
        let (id, parent) = (new_id(), self.ids.root);
        self.push(Span { id, parent, name, begun, ended, who: Some(who), attributes });
    }

    fn stay(&mut self, stay: &Stay, place: usize) -> SpanId {
        let Stay { phase, who, cause, since, until } = stay;
        let attributes = vec![
            KeyValue::new("zen_lead.phase", phase.as_str()),
            KeyValue::new("zen_lead.cause", cause.as_str()),
        ];
        let (id, name) = (new_id(), name(*phase).into());
        let (begun, ended) = (self.failover.wall(*since), self.failover.wall(*until));
        let events = self.remarks(*since, self.failover.stays.get(place + 1));
        let span = Span { id, parent: self.ids.root, name, begun, ended, who: who.as_ref(), attributes };
        self.push(span).events.events = events;
        id
    }

    /// What else happened in a phase: writes that had to be repeated.
    fn remarks(&self, since: machine::Timestamp, next: Option<&Stay>) -> Vec<Event> {
        let is_here = |call: &&Call| {
            call.purpose == Purpose::Publish
                && call.ordered >= since
                && next.is_none_or(|next| call.ordered < next.since)
        };
        let mut events = Vec::new();
        for (tries, call) in self.failover.calls.iter().filter(is_here).enumerate() {
            if tries > 0 {
                let attributes = vec![KeyValue::new("zen_lead.retry", number(tries as u64))];
                events.push(Event::new("retry", self.failover.wall(call.ordered), attributes, 0));
            }
            if call.outcome != "ok" {
                events.push(Event::new(call.outcome, self.failover.wall(call.ended), Vec::new(), 0));
            }
        }
        events
    }

    fn call(&mut self, call: &Call, parent: SpanId) {
        let mut attributes = vec![KeyValue::new("zen_lead.outcome", call.outcome)];
        // A write that was on its way already, and that this had to wait for: only the wait is of this failover.
        if is_earlier(call, self.failover) {
            attributes.push(KeyValue::new("zen_lead.earlier", true));
        } else {
            let (id, name, attributes) = (new_id(), "queue".into(), Vec::new());
            let (begun, ended) = (self.failover.wall(call.ordered), self.failover.wall(call.begun));
            self.push(Span { id, parent, name, begun, ended, who: None, attributes });
        }
        let begun = self.failover.wall(call.begun.max(self.failover.begun));
        let ended = self.failover.wall(call.ended);
        let (id, name) = (new_id(), purpose(call.purpose).into());
        let span = self.push(Span { id, parent, name, begun, ended, who: None, attributes });
        if call.outcome != "ok" {
            span.status = Status::error(call.outcome);
        }
        if let Some(http) = &call.http {
            self.http(http, id, call.outcome);
        }
    }

    /// By the semantic conventions for HTTP client spans.
    fn http(&mut self, http: &Http, parent: SpanId, outcome: &'static str) {
        let Http { exchange, begun, ended } = http;
        let server = &self.renderer.server;
        let mut attributes = vec![
            KeyValue::new("http.request.method", exchange.method.to_string()),
            KeyValue::new("url.full", format!("{}{}", server.url, exchange.path)),
            KeyValue::new("server.address", server.host.clone()),
            KeyValue::new("server.port", server.port),
        ];
        let error: Option<Value> = match exchange.status {
            Some(status) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                (status.as_u16() >= 400).then(|| status.as_str().to_owned().into())
            }
            // Without an answer there is only what we make of that.
            None => Some(outcome.into()),
        };
        attributes.extend(error.clone().map(|error| KeyValue::new("error.type", error)));
        let begun = self.failover.wall((*begun).max(self.failover.begun));
        let ended = self.failover.wall(*ended);
        let (id, name) = (exchange.span.unwrap_or_else(new_id), exchange.method.to_string().into());
        let span = self.push(Span { id, parent, name, begun, ended, who: None, attributes });
        span.span_kind = SpanKind::Client;
        if error.is_some() {
            span.status = Status::error("");
        }
    }
}

fn status(failover: &Failover) -> Status {
    if failover.outcome.is_failure() {
        Status::error(format!("ended {}", failover.outcome.as_str()))
    } else if failover.is_over_budget() {
        Status::error("took longer than its budget")
    } else {
        Status::Ok
    }
}

fn of_pod(who: &Who) -> impl Iterator<Item = KeyValue> {
    let name = KeyValue::new("k8s.pod.name", who.pod.name().to_owned());
    let uid = KeyValue::new("k8s.pod.uid", who.pod.uid().to_owned());
    let node = who.node.as_ref().map(|node| KeyValue::new("k8s.node.name", node.to_string()));
    [name, uid].into_iter().chain(node)
}

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Elected => "elected",
        Phase::Draining => "draining",
        Phase::Leaderless => "leaderless",
        Phase::Reelecting => "reelecting",
    }
}

const fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Publish => "publish",
        Purpose::Read => "read",
        Purpose::Confirm => "confirm",
    }
}

fn context(ids: Ids) -> SpanContext {
    SpanContext::new(ids.trace, ids.root, TraceFlags::SAMPLED, false, TraceState::default())
}

fn new_id() -> SpanId {
    RandomIdGenerator::default().new_span_id()
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
