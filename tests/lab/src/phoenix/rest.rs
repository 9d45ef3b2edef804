//! Phoenix's REST interface: what it keeps, as spans. It keeps no links, and neither resource nor kind of a span.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ports;
use crate::span::{Attributes, Kind, Span, SpanEvent, Status};

/// The project that spans belong to whose sender names none.
pub(super) const PROJECT: &str = "default";

/// A page of an answer.
#[derive(Debug, Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Project {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Kept {
    name: String,
    context: Ids,
    parent_id: Option<String>,
    start_time: Timestamp,
    end_time: Timestamp,
    status_code: String,
    status_message: String,
    attributes: Attributes,
    events: Vec<KeptEvent>,
}

#[derive(Debug, Deserialize)]
struct Ids {
    trace_id: String,
    span_id: String,
}

#[derive(Debug, Deserialize)]
struct KeptEvent {
    name: String,
    timestamp: Timestamp,
    attributes: Attributes,
}

/// The spans of the project, or those of one trace, in the order they came; read in pages of `limit`.
pub(super) async fn spans(port: u16, trace_id: Option<&str>, limit: usize) -> Result<Vec<Span>> {
    let of_trace = trace_id.map_or_else(String::new, |id| format!("&trace_id={id}"));
    let first = format!("/v1/projects/{PROJECT}/spans?order=asc&limit={limit}{of_trace}");
    let mut page: Page<Kept> = get(port, &first).await?;
    let mut kept = page.data;
    while let Some(cursor) = page.next_cursor {
        page = get(port, &format!("{first}&cursor={cursor}")).await?;
        kept.append(&mut page.data);
    }
    Ok(kept.into_iter().map(Kept::into_span).collect())
}

/// The project's id, which the addresses of its web pages contain.
pub(super) async fn project_id(port: u16) -> Result<String> {
    // A page of one has the form of one.
    #[derive(Deserialize)]
    struct One {
        data: Project,
    }
    Ok(get::<One>(port, &format!("/v1/projects/{PROJECT}")).await?.data.id)
}

async fn get<T: DeserializeOwned>(port: u16, path: &str) -> Result<T> {
    let answer = ports::get(port, path).await.with_context(|| format!("asking Phoenix for {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer}"))?;
    ensure!(head.split(' ').nth(1) == Some("200"), "Phoenix answered {path} with:\n{answer}");
    serde_json::from_str(body).with_context(|| format!("Phoenix answered {path} with:\n{body}"))
}

impl Kept {
    fn into_span(self) -> Span {
        let event = |event: KeptEvent| SpanEvent {
            name: event.name,
            at: SystemTime::from(event.timestamp),
            attributes: event.attributes,
        };
        Span {
            trace_id: self.context.trace_id,
            span_id: self.context.span_id,
            parent: self.parent_id,
            name: self.name,
            kind: Kind::Unspecified,
            start: self.start_time.into(),
            end: self.end_time.into(),
            attributes: self.attributes,
            events: self.events.into_iter().map(event).collect(),
            links: vec![],
            status: match self.status_code.as_str() {
                "OK" => Status::Ok,
                "ERROR" => Status::Error(self.status_message),
                _ => Status::Unset,
            },
            resource: Attributes::new(),
            scope: String::new(),
        }
    }
}
