//! One change of leadership: from the first fact that called for it to the acknowledgement of what followed.
//!
//! While it happens it is only written down, in about a kilobyte and without a lock. The trace, the figures, the
//! log line and the notice are made of that when it is over, so that none of them can delay it.

mod journal;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use machine::{Cause, Epoch, Micros, OrderId, Phase, Pod, Timestamp};
use opentelemetry::trace::{SpanId, TraceId};

use crate::apply::{Answer, Exchange};
use crate::clock::Clock;
use crate::managed::Key;

pub(crate) use journal::{Followed, Journal, Seen};

/// Phases and calls of one failover that are kept, each: an outage of hours must not grow without bound. What comes
/// after them takes the last one's place.
const KEPT: usize = 32;

/// A change of leadership.
#[derive(Clone, Debug)]
pub(crate) struct Failover {
    /// Of which Service.
    pub(crate) service: Key,
    /// When the first fact was seen that called for it.
    pub(crate) begun: Timestamp,
    /// When what followed was acknowledged.
    pub(crate) ended: Timestamp,
    /// Microseconds by which the wall clock was ahead of ours when it began. Ours never goes back.
    pub(crate) wall_ahead: i64,
    /// Why leadership changed, in the end.
    pub(crate) cause: Cause,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The term that it ended with.
    pub(crate) epoch: Option<Epoch>,
    /// The number of the election's step that saw the first fact.
    pub(crate) seq: u64,
    /// Who led before.
    pub(crate) before: Option<Who>,
    /// Who leads now.
    pub(crate) after: Option<Who>,
    /// What the trigger itself says about when it happened.
    pub(crate) trigger: Option<Trigger>,
    /// The phases that it went through.
    pub(crate) stays: Bounded<Stay>,
    /// The calls that it waited for.
    pub(crate) calls: Bounded<Call>,
    /// What it may take.
    pub(crate) budget: Micros,
    /// People were told that it took longer.
    pub(crate) is_told: bool,
    /// Its trace, if there is to be one.
    pub(crate) ids: Option<Ids>,
    /// The trace of the failover in which the leadership was lost that this one restores.
    pub(crate) follows: Option<Ids>,
    spent: [Micros; 4],
}

/// What came of a change of leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is not over.
    Open,
    /// The API server acknowledged a new leader.
    Elected,
    /// What somebody else had published is taken over.
    Adopted,
    /// What another replica had published is taken over: the failover is that one's to tell.
    Superseded,
    /// The leader from before leads on.
    Kept,
    /// The API server acknowledged that nobody leads.
    Leaderless,
    /// A foreign object stands in our place.
    Obstructed,
    /// The Service opted out or went.
    Removed,
    /// The controller was stopped.
    Interrupted,
}

impl Outcome {
    /// The word used in traces and logs.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Elected => "elected",
            Self::Adopted => "adopted",
            Self::Superseded => "superseded",
            Self::Kept => "kept",
            Self::Leaderless => "leaderless",
            Self::Obstructed => "obstructed",
            Self::Removed => "removed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether there ought to be a leader now, and is none.
    #[must_use]
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::Open | Self::Leaderless | Self::Obstructed | Self::Interrupted)
    }

    /// Whether somebody else leads now than before, or nobody.
    #[must_use]
    pub(crate) const fn is_change(self) -> bool {
        matches!(self, Self::Elected | Self::Adopted | Self::Leaderless | Self::Obstructed)
    }
}

/// A pod and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// The pod.
    pub(crate) pod: Pod,
    /// Its node, if it was known.
    pub(crate) node: Option<Arc<str>>,
}

/// What a fact says about when it happened. Kubernetes tells that by somebody else's clock, to the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// Whom it happened to.
    pub(crate) who: Who,
    /// When.
    pub(crate) at: Timestamp,
}

/// Some time in one phase, with one leader or candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    /// The phase.
    pub(crate) phase: Phase,
    /// The leader or candidate.
    pub(crate) who: Option<Who>,
    /// Why it was entered.
    pub(crate) cause: Cause,
    /// When it was entered.
    pub(crate) since: Timestamp,
    /// When it was left; while it was not: when it was entered.
    pub(crate) until: Timestamp,
}

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To write the slice.
    Publish,
    /// To read the slice.
    Read,
    /// To read a pod.
    Confirm,
}

/// A call to the API server.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Which of the election's orders.
    pub(crate) id: OrderId,
    /// What for.
    pub(crate) purpose: Purpose,
    /// When it was ordered.
    pub(crate) ordered: Timestamp,
    /// When it was its turn.
    pub(crate) begun: Timestamp,
    /// When its answer was there.
    pub(crate) ended: Timestamp,
    /// The HTTP request, if it came to one.
    pub(crate) http: Option<Http>,
    /// What came of it: `ok`, or the kind of failure.
    pub(crate) outcome: &'static str,
}

/// An HTTP request.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    /// What was asked and answered.
    pub(crate) exchange: Exchange,
    /// When it was sent.
    pub(crate) begun: Timestamp,
    /// When its answer was there, or was no longer waited for.
    pub(crate) ended: Timestamp,
}

impl Call {
    /// The call that this answers.
    #[must_use]
    pub(crate) fn new<T>(id: OrderId, purpose: Purpose, answer: &Answer<T>, clock: Clock) -> Self {
        let http = answer.exchange.clone().map(|exchange| Http {
            begun: clock.timestamp(exchange.begun),
            ended: clock.timestamp(exchange.ended.unwrap_or(answer.ended)),
            exchange,
        });
        Self {
            id,
            purpose,
            ordered: clock.timestamp(answer.ordered),
            begun: clock.timestamp(answer.begun),
            ended: clock.timestamp(answer.ended),
            http,
            outcome: answer.outcome(),
        }
    }
}

/// A trace and its first span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// The trace.
    pub(crate) trace: TraceId,
    /// Its root span.
    pub(crate) root: SpanId,
}

/// A list that does not grow beyond [`KEPT`].
#[derive(Clone, Debug)]
pub(crate) struct Bounded<T> {
    kept: Vec<T>,
    /// How many are missing.
    pub(crate) omitted: u32,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), omitted: 0 }
    }
}

impl<T> Bounded<T> {
    /// The last one, if there is no room, gives way: how something began and how it ended tell most.
    pub(crate) fn push(&mut self, item: T) {
        if self.kept.len() >= KEPT {
            self.kept.pop();
            self.omitted = self.omitted.saturating_add(1);
        }
        self.kept.push(item);
    }
}

impl<T> std::ops::Deref for Bounded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.kept
    }
}

impl Failover {
    /// One of `service` that begins now.
    #[must_use]
    pub(crate) fn new(service: Key, begun: Timestamp, cause: Cause, ids: Option<Ids>) -> Self {
        Self {
            service,
            begun,
            ended: begun,
            wall_ahead: 0,
            cause,
            outcome: Outcome::Open,
            epoch: None,
            seq: 0,
            before: None,
            after: None,
            trigger: None,
            stays: Bounded::default(),
            calls: Bounded::default(),
            budget: Micros(u64::MAX),
            is_told: false,
            ids,
            follows: None,
            spent: [Micros::ZERO; 4],
        }
    }

    /// How long it took, or takes until now.
    #[must_use]
    pub(crate) fn took(&self) -> Micros {
        self.ended.since(self.begun)
    }

    /// Whether it took longer than it may.
    #[must_use]
    pub(crate) fn is_over_budget(&self) -> bool {
        self.took() > self.budget
    }

    /// The time spent in each phase that it went through.
    pub(crate) fn phases(&self) -> impl Iterator<Item = (Phase, Micros)> + '_ {
        let went_through = |phase: &Phase| self.spent[*phase as usize] > Micros::ZERO;
        Phase::ALL.into_iter().filter(went_through).map(|phase| (phase, self.spent[phase as usize]))
    }

    /// The phase that took most of it.
    #[must_use]
    pub(crate) fn longest(&self) -> Option<(Phase, Micros)> {
        self.phases().max_by_key(|(_, spent)| *spent)
    }

    /// A moment of ours by the wall clock as it was when all this began.
    #[must_use]
    pub(crate) fn wall(&self, at: Timestamp) -> SystemTime {
        let micros = at.0.saturating_add_signed(self.wall_ahead);
        SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
    }

    /// By how many microseconds the trigger happened after we saw it, which only clocks that differ can say.
    #[must_use]
    pub(crate) fn clock_skew(&self) -> Option<Micros> {
        let seen = Timestamp(self.begun.0.saturating_add_signed(self.wall_ahead));
        let skew = self.trigger.as_ref()?.at.since(seen);
        (skew > Micros::ZERO).then_some(skew)
    }

    /// Goes on with another phase.
    pub(crate) fn enter(&mut self, stay: Stay) {
        self.leave(stay.since);
        self.cause = stay.cause;
        self.stays.push(stay);
    }

    /// It lasts until now at least.
    pub(crate) fn leave(&mut self, at: Timestamp) {
        self.ended = at;
        if let Some(stay) = self.stays.kept.last_mut() {
            let spent = &mut self.spent[stay.phase as usize];
            spent.0 += at.since(stay.until).0;
            stay.until = at;
        }
    }
}

/// A time in milliseconds, as logs and traces show it.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
#[must_use]
pub(crate) fn millis(time: Micros) -> f64 {
    time.0 as f64 / 1e3
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
