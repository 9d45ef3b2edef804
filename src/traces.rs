//! Failovers as OpenTelemetry traces, sent over OTLP to whatever collects them.
//!
//! ```text
//! failover                      from the first fact to the acknowledgement
//! |- detect                     from when the trigger says that it happened, to when we saw it
//! |- confirm                    a read that the decision waited for
//! |- draining / leaderless      the time in each phase, in the order in which they came
//! |- reelecting                 from the decision to the acknowledgement
//! |  |- queue                   the write waits for its turn
//! |  |- publish                 the call
//! |  |  |- PUT                  the HTTP request
//! ```
//!
//! A failover waits in a queue as the record that it is, and becomes spans on the exporter's own thread. If the
//! queue is full it is dropped as a whole and counted: half a trace would tell lies.

mod export;
mod settings;
mod spans;

use std::sync::atomic::Ordering::Relaxed;

use opentelemetry::trace::{SpanId, SpanKind};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::failover::{Failover, Ids};
use crate::metrics::SpansDropped;

pub(crate) use export::Exporter;
pub use export::StartError;
pub use settings::{Settings, SettingsError};
#[cfg(test)]
pub(crate) use spans::{Renderer, count};

/// Failovers that may wait for the collector, about 1.5 KB each. Five hundred leaders lost at once fit.
const WAITING: usize = 1_024;

/// What makes traces of failovers.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    queue: mpsc::Sender<Failover>,
    sampler: Sampler,
    lost: SpansDropped,
    propagates: bool,
}

impl Tracer {
    fn new(queue: mpsc::Sender<Failover>, sampler: Sampler, lost: SpansDropped, propagates: bool) -> Self {
        Self { queue, sampler, lost, propagates }
    }

    /// The ids of a new trace, if the sampler wants it.
    pub(crate) fn begin(&self) -> Option<Ids> {
        let ids = RandomIdGenerator::default();
        let (trace, root) = (ids.new_trace_id(), ids.new_span_id());
        let sampled = self.sampler.should_sample(None, trace, spans::ROOT, &SpanKind::Internal, &[], &[]);
        (sampled.decision == SamplingDecision::RecordAndSample).then_some(Ids { trace, root })
    }

    /// The id of a request's span, if the API server shall know it.
    pub(crate) fn propagated(&self) -> Option<SpanId> {
        self.propagates.then(|| RandomIdGenerator::default().new_span_id())
    }

    /// Hands a failover over that is over. Never waits.
    pub(crate) fn export(&self, failover: Failover) {
        if failover.ids.is_none() {
            return;
        }
        if let Err(TrySendError::Full(failover) | TrySendError::Closed(failover)) =
            self.queue.try_send(failover)
        {
            self.lost.queue_full.fetch_add(spans::count(&failover), Relaxed);
        }
    }
}
