//! What is counted for a Service, or for all Services of a namespace.

use std::time::Duration;

use machine::Cause;

use super::histogram::Buckets;

/// The causes of failovers, in the order in which they are declared and shown. Whoever adds one is sent here by the
/// compiler, from [`is_everyday`]. [`Cause::Removal`], the last one, is none: what is given up on purpose has no successor.
pub(super) const CAUSES: [Cause; 17] = [
    Cause::FirstElection,
    Cause::Recovery,
    Cause::Unready,
    Cause::Terminating,
    Cause::Gone,
    Cause::Finished,
    Cause::Relabelled,
    Cause::Excluded,
    Cause::AddressLost,
    Cause::PortUnresolved,
    Cause::Refused,
    Cause::NodeLost,
    Cause::Failback,
    Cause::Cordoned,
    Cause::Switchover,
    Cause::Adopted,
    Cause::Obstruction,
];

/// The words of [`Failure::category`](crate::failure::Failure::category), and one for whatever else there is. With
/// eight of them a Service has 60 series at most, which is the limit.
pub(super) const ERROR_TYPES: [&str; 8] =
    ["conflict", "exists", "not_found", "refused", "throttled", "unknown", "unreachable", "other"];

/// Bounds of a Service's own histograms, in seconds. Few: the fine ones are in the histograms without Service.
pub(super) const LATENCY: [f64; 6] = [0.01, 0.1, 1.0, 5.0, 30.0, f64::INFINITY];
/// A decision takes microseconds; one that shows here has waited for a processor.
pub(super) const RECONCILIATION: [f64; 4] = [0.001, 0.01, 0.1, f64::INFINITY];

/// Whether this cause is shown from the beginning. A series that begins with 1 is invisible to `increase()`, which
/// sees no growth; all 17 at every Service would be a third more text that says 0. So these are the causes that every
/// Service meets sooner or later, the others appear with their first failover, and who must not miss one asks
/// `failover_latency_seconds_count` of the Service, or `failover_duration_seconds_count` of the cause: both count
/// every failover and begin with 0.
pub(super) const fn is_everyday(cause: Cause) -> bool {
    match cause {
        Cause::Unready | Cause::Terminating | Cause::Gone | Cause::Failback | Cause::Switchover => true,
        Cause::FirstElection
        | Cause::Recovery
        | Cause::Finished
        | Cause::Relabelled
        | Cause::Excluded
        | Cause::AddressLost
        | Cause::PortUnresolved
        | Cause::Refused
        | Cause::NodeLost
        | Cause::Cordoned
        | Cause::Adopted
        | Cause::Obstruction
        | Cause::Removal => false,
    }
}

/// Where a cause is among [`CAUSES`].
pub(super) const fn slot(cause: Cause) -> usize {
    cause as usize
}

/// A counter of a Service that has no further label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A write of the leader slice failed.
    EndpointWriteError,
    /// The ports of the Service did not resolve on a pod that could lead otherwise.
    PortResolutionFailure,
    /// A leader was looked for among the pods.
    LeaderSelection,
    /// Pods were looked at, and the leader stayed.
    StickyHit,
    /// Pods were looked at, and the leader did not stay.
    StickyMiss,
    /// Something that had failed was tried again.
    Retry,
    /// It succeeded when it was tried again.
    RetrySuccess,
    /// A failover took longer than its budget.
    BudgetExceeded,
}

impl Counter {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 8] = [
        Self::EndpointWriteError,
        Self::PortResolutionFailure,
        Self::LeaderSelection,
        Self::StickyHit,
        Self::StickyMiss,
        Self::Retry,
        Self::RetrySuccess,
        Self::BudgetExceeded,
    ];
}

/// Everything that only grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) failovers: [u64; CAUSES.len()],
    pub(super) errors: [u64; ERROR_TYPES.len()],
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) latency: Buckets<{ LATENCY.len() }>,
    pub(super) reconciliation: Buckets<{ RECONCILIATION.len() }>,
    plain: [u64; Counter::ALL.len()],
}

impl Counts {
    /// Adds one.
    pub(super) fn add(&mut self, counter: Counter) {
        self.plain[counter as usize] += 1;
    }

    /// The counter's value.
    pub(super) fn get(&self, counter: Counter) -> u64 {
        self.plain[counter as usize]
    }

    /// Counts a decision.
    pub(super) fn decided(&mut self, took: Duration, is_ok: bool) {
        *(if is_ok { &mut self.succeeded } else { &mut self.failed }) += 1;
        self.reconciliation.observe(&RECONCILIATION, took);
    }

    /// Counts an error.
    pub(super) fn erred(&mut self, error_type: &str) {
        let known = ERROR_TYPES.iter().position(|known| *known == error_type);
        self.errors[known.unwrap_or(ERROR_TYPES.len() - 1)] += 1;
    }

    /// Counts a failover.
    pub(super) fn failed_over(&mut self, cause: Cause, took: Duration) {
        if let Some(count) = self.failovers.get_mut(slot(cause)) {
            *count += 1;
        }
        self.latency.observe(&LATENCY, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn every_cause_and_counter_has_a_place_of_its_own() {
        for (place, cause) in CAUSES.into_iter().enumerate() {
            assert_eq!(slot(cause), place, "{cause:?}");
        }
        for (place, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place, "{counter:?}");
        }
    }

    #[test]
    fn every_kind_of_failure_is_a_known_error_type() {
        for kind in [
            Kind::NotFound,
            Kind::Conflict,
            Kind::Exists,
            Kind::Throttled(Duration::ZERO),
            Kind::Unknown,
            Kind::Unreachable,
            Kind::Refused { endpoint: true },
        ] {
            let failure = crate::failure::Failure { kind, words: "".into(), is_general: false };
            assert!(ERROR_TYPES.contains(&failure.category()), "{}", failure.category());
        }
    }
}
