//! What people and their tools are told: a log line for each change, and of each failover its trace.

use machine::{Epoch, Micros, Phase, Timestamp, Transition};
use opentelemetry::trace::TraceId;
use tracing::{debug, info, warn};

use super::Driver;
use crate::failover::{Failover, Outcome, millis};
use crate::managed::Key;
use crate::metrics::Counter;
use crate::notice::{Notice, Regarding};

/// A change of phase, or of who leads or is to lead.
pub(super) struct Moved {
    pub(super) transition: Transition,
    /// The term, after it.
    pub(super) epoch: Option<Epoch>,
    /// How long the phase before has lasted; none: it was the beginning.
    pub(super) lasted: Option<Micros>,
    /// What was found as it should be.
    pub(super) is_found: bool,
    /// The failover that it belongs to.
    pub(super) trace: Option<TraceId>,
    /// How long that has taken, if this ends it.
    pub(super) took: Option<Micros>,
}

impl Moved {
    /// The line for people.
    pub(super) fn log(&self, key: &Key) {
        let Self { transition, epoch, lasted, is_found, trace, took } = self;
        let pod = transition.to_pod.as_ref().map(machine::Pod::name);
        // What is found as it should be is nothing that happened: at start one line tells of all of it.
        if *is_found {
            debug!(service = %key, pod, "adopted");
            return;
        }
        info!(
            service = %key,
            from = transition.from.as_str(),
            to = transition.to.as_str(),
            cause = transition.cause.as_str(),
            previous = transition.from_pod.as_ref().map(machine::Pod::name),
            pod,
            epoch = epoch.map(|epoch| epoch.0),
            duration_ms = lasted.map(millis),
            failover_ms = took.map(millis),
            trace_id = trace.map(tracing::field::display),
            "transition"
        );
    }
}

impl Driver {
    /// Failovers that are over.
    pub(super) fn over(&mut self, failovers: Vec<Failover>, regarding: &Regarding) {
        for failover in failovers {
            let is_ours = failover.outcome != Outcome::Superseded;
            if is_ours && failover.is_over_budget() && !failover.is_told {
                self.over_budget(&failover, regarding);
            }
            self.measure_failover(&failover);
            if let Some(tracer) = self.tracer.as_ref().filter(|_| is_ours) {
                tracer.export(failover);
            }
        }
    }

    /// A failover takes, or took, longer than it may.
    pub(super) fn over_budget(&mut self, failover: &Failover, regarding: &Regarding) {
        let (phase, spent) = failover.longest().unwrap_or_else(|| (Phase::Reelecting, failover.took()));
        warn!(
            service = %failover.service,
            cause = failover.cause.as_str(),
            budget_ms = millis(failover.budget),
            used_ms = millis(failover.took()),
            longest_phase = phase.as_str(),
            longest_phase_ms = millis(spent),
            is_over = failover.outcome != Outcome::Open,
            trace_id = failover.ids.map(|ids| tracing::field::display(ids.trace)),
            "failover over budget"
        );
        self.metrics.count(&failover.service, Counter::BudgetExceeded);
        self.send_notice(&Notice::budget_exceeded(failover, phase, spent), regarding);
    }

    /// Those that have taken longer than they may without being over.
    pub(super) fn look_for_overdue(&mut self, key: &Key, at: Timestamp) {
        if !self.held.acts_first {
            return;
        }
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let regarding = managed.regarding();
        let Some(failover) = managed.journal.overdue(at).cloned() else { return };
        self.over_budget(&failover, &regarding);
    }

    /// The controller stops: what is not over by now is not for us to finish.
    pub(super) fn end_failovers(&mut self) {
        let at = self.clock.now();
        let managed = self.world.namespaces.values_mut().flat_map(|space| space.managed.values_mut());
        let over: Vec<_> = managed
            .map(|managed| (managed.regarding(), managed.journal.end(Outcome::Interrupted, at)))
            .filter(|(_, over)| !over.is_empty())
            .collect();
        for (regarding, over) in over {
            self.over(over, &regarding);
        }
    }
}
