//! OTLP's messages as spans.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Sent;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as otlp;
use serde_json::{Map, Value};

use crate::span::{Attributes, Kind, Link, Span, SpanEvent, Status};

/// The spans of a request, in its order.
pub(super) fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = attributes(of_resource.resource.unwrap_or_default().attributes);
        for of_scope in of_resource.scope_spans {
            let scope = of_scope.scope.unwrap_or_default().name;
            spans.extend(of_scope.spans.into_iter().map(|sent| span(sent, &resource, &scope)));
        }
    }
    spans
}

fn span(sent: otlp::Span, resource: &Attributes, scope: &str) -> Span {
    let event = |event: otlp::span::Event| SpanEvent {
        name: event.name,
        at: time(event.time_unix_nano),
        attributes: attributes(event.attributes),
    };
    let link = |link: otlp::span::Link| Link {
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
        attributes: attributes(link.attributes),
    };
    Span {
        kind: kind(sent.kind()),
        trace_id: hex(&sent.trace_id),
        span_id: hex(&sent.span_id),
        parent: Some(hex(&sent.parent_span_id)).filter(|parent| !parent.is_empty()),
        name: sent.name,
        start: time(sent.start_time_unix_nano),
        end: time(sent.end_time_unix_nano),
        attributes: attributes(sent.attributes),
        events: sent.events.into_iter().map(event).collect(),
        links: sent.links.into_iter().map(link).collect(),
        status: status(sent.status),
        resource: resource.clone(),
        scope: scope.to_owned(),
    }
}

const fn kind(sent: otlp::span::SpanKind) -> Kind {
    match sent {
        otlp::span::SpanKind::Unspecified => Kind::Unspecified,
        otlp::span::SpanKind::Internal => Kind::Internal,
        otlp::span::SpanKind::Server => Kind::Server,
        otlp::span::SpanKind::Client => Kind::Client,
        otlp::span::SpanKind::Producer => Kind::Producer,
        otlp::span::SpanKind::Consumer => Kind::Consumer,
    }
}

fn status(sent: Option<otlp::Status>) -> Status {
    let Some(sent) = sent else { return Status::Unset };
    match sent.code() {
        otlp::status::StatusCode::Unset => Status::Unset,
        otlp::status::StatusCode::Ok => Status::Ok,
        otlp::status::StatusCode::Error => Status::Error(sent.message),
    }
}

fn attributes(sent: Vec<KeyValue>) -> Attributes {
    sent.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn value(sent: Option<AnyValue>) -> Value {
    match sent.and_then(|sent| sent.value) {
        // An index into a table that only profiles have.
        None | Some(Sent::StringValueStrindex(_)) => Value::Null,
        Some(Sent::StringValue(text)) => text.into(),
        Some(Sent::BoolValue(truth)) => truth.into(),
        Some(Sent::IntValue(number)) => number.into(),
        Some(Sent::DoubleValue(number)) => number.into(),
        Some(Sent::ArrayValue(array)) => array.values.into_iter().map(|item| value(Some(item))).collect(),
        Some(Sent::KvlistValue(list)) => {
            let pairs = list.values.into_iter().map(|pair| (pair.key, value(pair.value)));
            pairs.collect::<Map<String, Value>>().into()
        }
        Some(Sent::BytesValue(bytes)) => hex(&bytes).into(),
    }
}

fn time(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
