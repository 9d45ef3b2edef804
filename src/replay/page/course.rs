//! What one Service went through, as far as a page shows it: bounded, however long the log is.

use std::collections::VecDeque;
use std::sync::Arc;

use machine::{Cause, Election, Micros, Phase, Pod, Timestamp, Transition};

use crate::record::{Header, Record};
use crate::replay::words;

/// The newest of each are kept.
const SPANS_MOST: usize = 2_000;
const FAILOVERS_MOST: usize = 500;
const ROWS_MOST: usize = 500;

/// The phases of one failover that goes back and forth are many only if somebody fights us.
const PARTS_MOST: usize = 50;

/// One Service's course.
#[derive(Default)]
pub(super) struct Course {
    pub(super) note: Option<Arc<str>>,
    pub(super) spans: VecDeque<Span>,
    pub(super) failovers: VecDeque<Failover>,
    pub(super) rows: VecDeque<Row>,
    pub(super) steps: u64,
    open: Option<Failover>,
}

/// A time in one phase.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) phase: Phase,
    pub(super) pod: Option<Pod>,
    pub(super) cause: Option<Cause>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// From a loss, or a choice, to the next leader that was acknowledged.
pub(super) struct Failover {
    pub(super) cause: Cause,
    pub(super) before: Option<Pod>,
    pub(super) after: Option<Pod>,
    pub(super) spans: Vec<Span>,
}

/// One step.
pub(super) struct Row {
    pub(super) at: Timestamp,
    pub(super) seq: u64,
    pub(super) fact: String,
    pub(super) change: String,
    pub(super) orders: Vec<String>,
    pub(super) cause: Option<Cause>,
}

impl Span {
    pub(super) const fn lasted(&self) -> Micros {
        self.to.since(self.from)
    }
}

impl Failover {
    pub(super) fn began(&self) -> Timestamp {
        self.spans.first().map_or(Timestamp(0), |span| span.from)
    }

    pub(super) fn took(&self) -> Micros {
        self.spans.last().map_or(Micros::ZERO, |span| span.to.since(self.began()))
    }
}

impl Course {
    pub(super) fn start(&mut self, header: &Header, election: &Election) {
        self.note = header.note.clone().or_else(|| self.note.take());
        self.open = None;
        let state = election.state();
        // Before the first step nothing is known of the time.
        let now = self.spans.back().map_or(Timestamp(0), |span| span.to).max(state.since());
        let (phase, pod) = (state.phase(), state.pod().cloned());
        keep(&mut self.spans, SPANS_MOST, Span { phase, pod, cause: None, from: now, to: now });
    }

    pub(super) fn step(&mut self, record: &Record, election: &Election) {
        let at = record.at;
        self.steps += 1;
        let leader = self.spans.back().and_then(|span| span.pod.clone());
        if let Some(span) = self.spans.back_mut() {
            // The first time that is known.
            if span.from == Timestamp(0) {
                span.from = at;
            }
            span.to = at;
        }
        let moved = record.step.transition.as_ref();
        keep(&mut self.rows, ROWS_MOST, Row::new(record, leader.as_ref()));
        if let Some(moved) = moved {
            self.moved(at, moved, election);
        }
    }

    fn moved(&mut self, at: Timestamp, moved: &Transition, election: &Election) {
        let Transition { from, to, from_pod, to_pod, cause } = moved;
        if *from == Phase::Elected && *to != Phase::Elected {
            self.open =
                Some(Failover { cause: *cause, before: from_pod.clone(), after: None, spans: Vec::new() });
        } else if let (Some(open), Some(ended)) = (&mut self.open, self.spans.back())
            && open.spans.len() < PARTS_MOST
        {
            open.spans.push(ended.clone());
        }
        if *to == Phase::Elected
            && let Some(open) = self.open.take()
        {
            keep(&mut self.failovers, FAILOVERS_MOST, Failover { after: to_pod.clone(), ..open });
        }
        let pod = election.state().pod().cloned();
        keep(&mut self.spans, SPANS_MOST, Span { phase: *to, pod, cause: Some(*cause), from: at, to: at });
    }

    /// From when to when there are spans.
    pub(super) fn bounds(&self) -> (Timestamp, Timestamp) {
        let first = self.spans.iter().map(|span| span.from).find(|from| *from > Timestamp(0));
        let last = self.spans.back().map(|span| span.to);
        (first.unwrap_or_default(), last.unwrap_or_default())
    }
}

impl Row {
    fn new(record: &Record, leader: Option<&Pod>) -> Self {
        let Record { seq, at, event, step } = record;
        let moved = step.transition.as_ref();
        let change = moved.map_or_else(String::new, |moved| {
            let from = words::state(moved.from, moved.from_pod.as_ref());
            format!("{from} to {}", words::state(moved.to, moved.to_pod.as_ref()))
        });
        Self {
            at: *at,
            seq: *seq,
            fact: words::event(event, leader),
            change,
            orders: step.effects.iter().map(words::effect).collect(),
            cause: moved.map(|moved| moved.cause),
        }
    }
}

fn keep<T>(all: &mut VecDeque<T>, most: usize, one: T) {
    if all.len() == most {
        all.pop_front();
    }
    all.push_back(one);
}
