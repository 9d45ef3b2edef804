//! What of one Service is counted and gauged.

use machine::{Cause, Effect, Event, Phase, Reason, Shown, Step, Timestamp, Transition};

use super::{Managed, Outcome, Surroundings};
use crate::metrics::{Counter, Gauges};

impl Managed {
    /// How it stands.
    pub(crate) fn gauges(&self, cx: &Surroundings<'_>) -> Gauges {
        let state = self.election.state();
        let phase = state.phase();
        let leader = state.pod().filter(|_| matches!(phase, Phase::Elected | Phase::Draining));
        let published = self.election.published();
        Gauges {
            phase,
            epoch: state.epoch(),
            leader_since: leader.and(self.led_since),
            leader_created: leader.and_then(|leader| cx.row(leader)).map(crate::rows::PodRow::created),
            available: u32::try_from(self.election.eligible()).unwrap_or(u32::MAX),
            // A pause keeps one that is not fit.
            is_stable: phase == Phase::Elected
                && self.election.is_leader_fit()
                && self.election.is_acknowledged(),
            has_endpoints: published.is_some_and(|published| published.shown != Shown::Nobody),
            is_paused: self.election.is_paused(),
            has_leader_service: self.service.observed.is_some(),
            slices: u8::from(self.authority.is_some()) + u8::from(self.second.observed.is_some()),
        }
    }

    /// Counts what a fact led to, and notes since when its leader leads.
    pub(crate) fn measure(&mut self, event: &Event, step: &Step, at: Timestamp, out: &mut Outcome) {
        let leads = |phase| matches!(phase, Phase::Elected | Phase::Draining);
        if let Some(Transition { from, to, from_pod, to_pod, cause }) = &step.transition {
            let is_found = matches!(event, Event::Synced { .. });
            if leads(*to) && (from_pod != to_pod || !leads(*from)) {
                self.led_since = self.remembered_switch.filter(|_| is_found).or(Some(at));
            }
            let chooses = *to == Phase::Reelecting || *to != Phase::Elected && leads(*from);
            out.counters.extend(chooses.then_some(Counter::LeaderSelection));
            // One that drains still leads.
            let is_given_up = leads(*from) && !leads(*to);
            out.counters.extend(is_given_up.then_some(Counter::StickyMiss));
            out.counters.extend((*cause == Cause::PortUnresolved).then_some(Counter::PortResolutionFailure));
        } else if event.is_about_a_member() && leads(self.election.state().phase()) {
            out.counters.push(Counter::StickyHit);
        }
        for effect in &step.effects {
            match effect {
                Effect::Notify { notice, .. } => {
                    let is_of_ports = matches!(
                        notice.reason,
                        Reason::NamedPortResolutionFailed | Reason::PortResolutionFailed
                    );
                    out.counters.extend(is_of_ports.then_some(Counter::PortResolutionFailure));
                }
                Effect::Publish { .. } if self.has_failed => out.counters.push(Counter::Retry),
                Effect::Publish { .. }
                | Effect::Read { .. }
                | Effect::Confirm { .. }
                | Effect::Mirror { .. }
                | Effect::Remove { .. } => {}
            }
        }
        // Done after all, by a write whose answer was lost or by somebody else: the next one repeats nothing. If the
        // watch was only quicker than the answer, that is still to be counted.
        if self.has_failed && !self.journal.is_writing() && self.election.is_acknowledged() {
            self.has_failed = false;
        }
    }

    /// Counts the end of a write of the authority slice.
    pub(crate) fn measure_write(&mut self, is_ok: bool, out: &mut Outcome) {
        if !is_ok {
            out.counters.push(Counter::EndpointWriteError);
        } else if self.has_failed {
            out.counters.push(Counter::RetrySuccess);
        }
        self.has_failed = !is_ok;
    }
}
