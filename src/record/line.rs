//! One line of a log, as text and back.

use std::sync::Arc;

use machine::{Cause, Effect, Election, Event, Phase, Pod, Policy, Step, Timestamp, Transition};
use serde::{Deserialize, Serialize};

use super::{Header, Record, Start, VERSION};

#[derive(Serialize)]
struct HeaderLine<'a> {
    log: u32,
    service: &'a str,
    machine: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a Policy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    election: Option<&'a Election>,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    seq: u64,
    at: Timestamp,
    event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_pod: Option<&'a Pod>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_pod: Option<&'a Pod>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(skip_serializing_if = "<[Effect]>::is_empty")]
    effects: &'a [Effect],
}

/// Appends a header's line.
pub fn write_header(buffer: &mut Vec<u8>, header: &Header) -> Result<(), serde_json::Error> {
    let Header { service, machine, note, seq, start } = header;
    let (policy, election) = match start {
        Start::New(policy) => (Some(policy), None),
        Start::Midst(election) => (None, Some(&**election)),
    };
    let seq = (election.is_some() || *seq != 1).then_some(*seq);
    let note = note.as_deref();
    append(buffer, &HeaderLine { log: VERSION, service, machine, note, policy, seq, election })
}

/// Appends a record's line, with its Service's name if that is not the one of the header before it. Allocates
/// nothing but what the buffer needs.
pub fn write_record(
    buffer: &mut Vec<u8>,
    service: Option<&str>,
    record: &Record,
) -> Result<(), serde_json::Error> {
    let Record { seq, at, event, step: Step { transition, effects } } = record;
    let transition = transition.as_ref();
    let line = RecordLine {
        service,
        seq: *seq,
        at: *at,
        event,
        from: transition.map(|transition| transition.from),
        to: transition.map(|transition| transition.to),
        from_pod: transition.and_then(|transition| transition.from_pod.as_ref()),
        to_pod: transition.and_then(|transition| transition.to_pod.as_ref()),
        cause: transition.map(|transition| transition.cause),
        effects,
    };
    append(buffer, &line)
}

fn append(buffer: &mut Vec<u8>, line: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *buffer, line)?;
    buffer.push(b'\n');
    Ok(())
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Line<'a> {
    Header(Header),
    Record(Option<&'a str>, Record),
}

/// Why a line is none of ours.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// It is of a newer format: its version, and that of the machine that wrote it.
    Newer(u32, Option<String>),
    Wrong(String),
}

/// The fields of a record, which nearly every line is. Those of no version up to ours are refused: somebody has mistyped
/// one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordFields<'a> {
    #[serde(borrow)]
    service: Option<&'a str>,
    seq: Option<u64>,
    at: Option<Timestamp>,
    event: Option<Event>,
    from: Option<Phase>,
    to: Option<Phase>,
    from_pod: Option<Pod>,
    to_pod: Option<Pod>,
    cause: Option<Cause>,
    #[serde(default)]
    effects: Vec<Effect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFields<'a> {
    #[serde(rename = "log")]
    _version: u32,
    #[serde(borrow)]
    service: Option<&'a str>,
    machine: Option<Arc<str>>,
    note: Option<Arc<str>>,
    policy: Option<Policy>,
    election: Option<Box<Election>>,
    seq: Option<u64>,
}

/// What every version of a header has.
#[derive(Deserialize)]
struct AnyVersion {
    log: u32,
    machine: Option<String>,
}

pub(super) fn read(text: &[u8]) -> Result<Line<'_>, Unreadable> {
    // All of the text at once: serde would look at each word of it.
    let text = std::str::from_utf8(text)
        .map_err(|error| Unreadable::Wrong(format!("it is no UTF-8 (column {})", error.valid_up_to() + 1)))?;
    match serde_json::from_str::<RecordFields<'_>>(text) {
        Ok(fields) => fields.into_record(),
        Err(error) => read_header(text, &error),
    }
}

/// `no_record`: why it is no record.
fn read_header<'a>(text: &'a str, no_record: &serde_json::Error) -> Result<Line<'a>, Unreadable> {
    if let Ok(AnyVersion { log, machine }) = serde_json::from_str(text)
        && log > VERSION
    {
        return Err(Unreadable::Newer(log, machine));
    }
    match serde_json::from_str::<HeaderFields<'_>>(text) {
        Ok(fields) => fields.into_header(),
        // It is what it could be read as for longer.
        Err(error) => Err(wrong(if error.column() > no_record.column() { &error } else { no_record })),
    }
}

/// The position that serde names is one in the line, which is the reader's to name.
fn wrong(error: &serde_json::Error) -> Unreadable {
    let words = error.to_string();
    let words = words.split_once(" at line ").map_or(&*words, |(words, _)| words);
    Unreadable::Wrong(format!("{words} (column {})", error.column()))
}

impl<'a> HeaderFields<'a> {
    fn into_header(self) -> Result<Line<'a>, Unreadable> {
        let service: Arc<str> = self.service.ok_or_else(|| missing("service", "header"))?.into();
        let machine = self.machine.ok_or_else(|| missing("machine", "header"))?;
        let (seq, start) = match (self.policy, self.election) {
            (Some(policy), None) => (self.seq.unwrap_or(1), Start::New(policy)),
            (None, Some(election)) => {
                (self.seq.ok_or_else(|| missing("seq", "header with an `election`"))?, Start::Midst(election))
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err(Unreadable::Wrong(
                    "a header has either a `policy` or an `election` to start from".into(),
                ));
            }
        };
        Ok(Line::Header(Header { service, machine, note: self.note, seq, start }))
    }
}

impl<'a> RecordFields<'a> {
    fn into_record(self) -> Result<Line<'a>, Unreadable> {
        let seq = self.seq.ok_or_else(|| missing("seq", "record"))?;
        let at = self.at.ok_or_else(|| missing("at", "record"))?;
        let event = self.event.ok_or_else(|| missing("event", "record"))?;
        let (from_pod, to_pod) = (self.from_pod, self.to_pod);
        let transition = match (self.from, self.to, self.cause) {
            (Some(from), Some(to), Some(cause)) => Some(Transition { from, to, from_pod, to_pod, cause }),
            (None, None, None) if from_pod.is_none() && to_pod.is_none() => None,
            _ => {
                return Err(Unreadable::Wrong(
                    "a change of phase has `from`, `to` and `cause`, or none of them".into(),
                ));
            }
        };
        let step = Step { transition, effects: self.effects };
        Ok(Line::Record(self.service, Record { seq, at, event, step }))
    }
}

fn missing(field: &str, of: &str) -> Unreadable {
    Unreadable::Wrong(format!("a {of} needs `{field}`"))
}
