//! Spans as a test reads them, wherever they were received.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

/// Attributes by name. As JSON, because both ways in (OTLP and REST) map to it, and it compares with plain literals:
/// `span.attributes["zen_lead.cause"] == "unready"`.
pub type Attributes = BTreeMap<String, Value>;

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace, as 32 hexadecimal digits.
    pub trace_id: String,
    /// Itself, as 16 hexadecimal digits.
    pub span_id: String,
    /// The span that it is a part of; none of a root.
    pub parent: Option<String>,
    /// What it is called.
    pub name: String,
    /// Its side of a request.
    pub kind: Kind,
    /// When it began, by the sender's wall clock.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Its attributes.
    pub attributes: Attributes,
    /// What happened meanwhile, in the order it was sent.
    pub events: Vec<SpanEvent>,
    /// Spans of other traces that it belongs to.
    pub links: Vec<Link>,
    /// How it ended.
    pub status: Status,
    /// Attributes of whoever sent it.
    pub resource: Attributes,
    /// The tracer's name.
    pub scope: String,
}

/// Which side of a request a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None was sent.
    Unspecified,
    /// Within the process.
    Internal,
    /// Answers.
    Server,
    /// Asks.
    Client,
    /// Puts into a queue.
    Producer,
    /// Takes from a queue.
    Consumer,
}

/// A moment within a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    /// What it is called.
    pub name: String,
    /// When it was.
    pub at: SystemTime,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A span that another one belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its trace.
    pub trace_id: String,
    /// Itself.
    pub span_id: String,
    /// The link's attributes.
    pub attributes: Attributes,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It does not say.
    Unset,
    /// Well.
    Ok,
    /// With this error.
    Error(String),
}

impl Span {
    /// How long it took; an error if it ended before it began.
    pub fn duration(&self) -> Result<Duration> {
        let duration = self.end.duration_since(self.start);
        duration.with_context(|| format!("span {} ended before it began: {self:?}", self.name))
    }

    /// The event of this name, if there is one.
    #[must_use]
    pub fn event(&self, name: &str) -> Option<&SpanEvent> {
        self.events.iter().find(|event| event.name == name)
    }
}
