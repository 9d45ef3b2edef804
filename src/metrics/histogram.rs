//! Distributions: small ones for each Service, and fine ones with exemplars for all failovers.

use std::fmt::{Error, Write as _};
use std::time::{Duration, SystemTime};

use machine::{Cause, Phase};
use opentelemetry::trace::TraceId;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use super::counts::{self, CAUSES};

/// Bounds in seconds. A failover takes 2 ms where nothing is in its way, and its budget is 2 to 5 s.
pub(super) const FINE: [f64; 15] =
    [0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.0, 5.0, 10.0, 30.0, f64::INFINITY];

/// How often something took how long. The library's own histograms have a lock and an allocation each, which is more
/// than these few numbers.
#[derive(Clone, Debug)]
pub(super) struct Buckets<const N: usize> {
    counts: [u64; N],
    sum: Duration,
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: [0; N], sum: Duration::ZERO }
    }
}

impl<const N: usize> Buckets<N> {
    /// Counts one, in the first bucket whose bound it does not exceed; the last bound is infinite.
    pub(super) fn observe(&mut self, bounds: &[f64; N], took: Duration) {
        let seconds = took.as_secs_f64();
        let place = bounds.iter().position(|bound| seconds <= *bound);
        if let Some(count) = place.and_then(|place| self.counts.get_mut(place)) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(took);
    }

    /// The sum of all, in seconds.
    pub(super) fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The bounds, and how many are in each bucket alone.
    pub(super) fn with(&self, bounds: &[f64; N]) -> [(f64, u64); N] {
        std::array::from_fn(|place| (bounds[place], self.counts[place]))
    }
}

/// A distribution with the fine bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Fine(pub(super) Buckets<{ FINE.len() }>);

impl Fine {
    /// Counts one.
    pub(super) fn observe(&mut self, took: Duration) {
        self.0.observe(&FINE, took);
    }
}

/// The trace of a failover, as the label of an exemplar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace(TraceId);

impl EncodeLabelSet for Trace {
    fn encode(&self, labels: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        let mut label = labels.encode_label();
        let mut key = label.encode_label_key()?;
        key.write_str("trace_id")?;
        let mut value = key.encode_label_value()?;
        write!(value, "{}", self.0)?;
        value.finish()
    }
}

/// How long failovers took, by cause and by phase. All series are there from the beginning, so that `increase()` sees
/// the first failover of each cause.
///
/// These are the library's: nothing else can make its exemplars. Each has a lock of its own, which a scrape holds
/// while it writes 17 lines.
#[derive(Debug)]
pub(super) struct Failovers {
    pub(super) by_cause: [HistogramWithExemplars<Trace>; CAUSES.len()],
    pub(super) by_phase: [HistogramWithExemplars<Trace>; Phase::ALL.len()],
}

impl Default for Failovers {
    fn default() -> Self {
        let fine = |_| HistogramWithExemplars::new(FINE.into_iter());
        Self { by_cause: std::array::from_fn(fine), by_phase: std::array::from_fn(fine) }
    }
}

impl Failovers {
    /// A failover is over. It is told once, with its trace, and the newest of each bucket stays as its exemplar.
    pub(super) fn observe(
        &self,
        cause: Cause,
        took: Duration,
        phases: &[(Phase, Duration)],
        trace: Option<TraceId>,
        at: SystemTime,
    ) {
        let trace = trace.map(Trace);
        if let Some(durations) = self.by_cause.get(counts::slot(cause)) {
            durations.observe(took.as_secs_f64(), trace, Some(at));
        }
        for (phase, took) in phases {
            self.by_phase[*phase as usize].observe(took.as_secs_f64(), trace, Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let bounds = [0.001, 0.1, f64::INFINITY];
        let mut buckets = Buckets::default();
        for micros in [0, 1_000, 1_001, 100_000, 100_001, 9_000_000] {
            buckets.observe(&bounds, Duration::from_micros(micros));
        }
        assert_eq!(buckets.with(&bounds), [(0.001, 2), (0.1, 2), (f64::INFINITY, 2)]);
        assert_eq!((buckets.count(), buckets.sum()), (6, 9.202_002));
    }

    #[test]
    fn bounds_grow() {
        assert!(FINE.is_sorted() && counts::LATENCY.is_sorted() && counts::RECONCILIATION.is_sorted());
    }
}
