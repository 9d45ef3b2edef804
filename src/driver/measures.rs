//! What is counted as it goes by.

use std::time::Duration;

use super::{Driver, Purpose};
use crate::apply::Answer;
use crate::failover::Failover;

impl Driver {
    /// A call to the API server has come to an end.
    pub(super) fn measure_call(&self, answer: &Answer<Purpose>) {
        if answer.outcome() == "superseded" {
            // Nothing was asked of the API server.
            return;
        }
        // What a dry run pretends was not sent, nor was a notice that found no room; only the latter is a loss.
        let was_sent = answer.exchange.is_some();
        if was_sent {
            self.metrics.called(answer.what, answer.ended - answer.begun);
        }
        if answer.is_write && (was_sent || answer.result.is_err()) {
            self.metrics.wrote(answer.resource, answer.outcome());
        }
        if let (Purpose::Of(key, ..), Err(failure)) = (&answer.purpose, &answer.result) {
            self.metrics.erred(key, failure.category());
        }
    }

    /// A change of leadership is over.
    pub(super) fn measure_failover(&self, failover: &Failover) {
        if !failover.outcome.is_change() {
            return;
        }
        let time = |micros: machine::Micros| Duration::from_micros(micros.0);
        let phases: Vec<_> = failover.phases().map(|(phase, spent)| (phase, time(spent))).collect();
        let trace = failover.ids.map(|ids| ids.trace);
        self.metrics.failed_over(&failover.service, failover.cause, time(failover.took()), &phases, trace);
    }

    /// Orders that wait, now and then: a scrape sees a sample in any case.
    pub(super) fn measure_queues(&self) {
        for (lane, depth) in self.apply.waiting() {
            self.metrics.queue_depth(lane, depth);
        }
    }
}
