//! Notices read back, for people who ask what happened.

use k8s_openapi::api::events::v1::Event;
use machine::{Micros, Timestamp};

use super::Reason;
use crate::kinds::timestamp;
use crate::names::CONTROLLER;

/// What a Service was told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// When.
    pub at: Timestamp,
    /// The reason's public name.
    pub reason: String,
    /// The cause's public name.
    pub cause: Option<String>,
    /// The pod that it is about.
    pub pod: Option<String>,
    /// The pod that led before.
    pub previous: Option<String>,
    /// The term.
    pub epoch: Option<u64>,
    /// For how long a failover that took longer than it may had taken when this was said.
    pub took: Option<Micros>,
    /// All of it, in words.
    pub note: String,
}

impl Told {
    /// Reads an Event if it is a notice of ours about a Service.
    #[must_use]
    pub(crate) fn of_ours(event: &Event) -> Option<Self> {
        let is_ours = event.reporting_controller.as_deref() == Some(CONTROLLER);
        let regards = event.regarding.as_ref()?.kind.as_deref();
        Self::read(event).filter(|_| is_ours && regards == Some("Service"))
    }

    /// Reads a notice as [`super::event`] wrote it; none if it is about no Service.
    #[must_use]
    pub fn read(event: &Event) -> Option<Self> {
        let regarding = event.regarding.as_ref()?;
        let note = plain(event.note.as_deref().unwrap_or_default());
        let at = event.event_time.as_ref().map(|time| time.0);
        let at = at.or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0))?;
        let after = |words: &str| note.split_once(words).map(|(_, rest)| rest);
        let number = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            text[..end].trim_end_matches('.').to_owned()
        };
        let is_late = event.reason.as_deref() == Some(Reason::BudgetExceeded.as_str());
        let (headline, _) = note.split_once(" before.").unwrap_or_default();
        Some(Self {
            namespace: regarding.namespace.clone().unwrap_or_default(),
            service: regarding.name.clone()?,
            at: timestamp(at),
            reason: plain(event.reason.as_deref().unwrap_or_default()),
            cause: after(" Cause: ").and_then(|rest| rest.split(' ').next()).map(str::to_owned),
            pod: event.related.as_ref().and_then(|pod| pod.name.as_deref()).map(plain),
            previous: headline.rsplit(' ').next().filter(|name| !name.is_empty()).map(str::to_owned),
            epoch: after(" Epoch: ").and_then(|rest| number(rest).parse().ok()),
            took: after(" Note: ").filter(|_| is_late).and_then(|rest| micros(&number(rest))),
            note,
        })
    }
}

/// A text in one line. Anybody who may create Events can write one in our name, and it must not reach a terminal as
/// anything but text.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Seconds with a fraction.
fn micros(text: &str) -> Option<Micros> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(Micros(seconds.parse::<u64>().ok()?.saturating_mul(1_000_000).saturating_add(fraction)))
}
