//! How a Service stands, and how many of a namespace stand how.

use machine::{Epoch, Phase, Timestamp};

/// How a Service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a gauge of its own")]
pub struct Gauges {
    /// Its election's phase.
    pub phase: Phase,
    /// The term of its leader or candidate.
    pub epoch: Option<Epoch>,
    /// Since when its leader leads; none: nobody does.
    pub leader_since: Option<Timestamp>,
    /// When the leader's pod was created; none: nobody leads.
    pub leader_created: Option<Timestamp>,
    /// How many of its pods could lead.
    pub available: u32,
    /// The leader is fit, and nothing is under way.
    pub is_stable: bool,
    /// The leader slice has an endpoint that clients are sent to.
    pub has_endpoints: bool,
    /// No choices are made.
    pub is_paused: bool,
    /// The leader Service exists.
    pub has_leader_service: bool,
    /// How many leader slices exist: one for each family.
    pub slices: u8,
}

/// How many Services of a namespace stand how. Kept up to date rather than counted at a scrape, which so need not walk
/// over ten thousand Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    phases: [u64; Phase::ALL.len()],
    pub(super) available: u64,
    pub(super) stable: u64,
    pub(super) without_endpoints: u64,
    pub(super) paused: u64,
    pub(super) leader_services: u64,
    pub(super) slices: u64,
}

impl Tally {
    /// One more stands like this.
    pub(super) fn add(&mut self, gauges: &Gauges) {
        self.each(gauges, |sum, one| *sum += one);
    }

    /// One less stands like this; it was added before.
    pub(super) fn remove(&mut self, gauges: &Gauges) {
        self.each(gauges, |sum, one| *sum -= one);
    }

    /// How many Services there are.
    pub(super) fn services(&self) -> u64 {
        self.phases.iter().sum()
    }

    /// How many are in this phase.
    pub(super) fn in_phase(&self, phase: Phase) -> u64 {
        self.phases[phase as usize]
    }

    fn each(&mut self, gauges: &Gauges, change: impl Fn(&mut u64, u64)) {
        change(&mut self.phases[gauges.phase as usize], 1);
        change(&mut self.available, gauges.available.into());
        change(&mut self.stable, gauges.is_stable.into());
        change(&mut self.without_endpoints, (!gauges.has_endpoints).into());
        change(&mut self.paused, gauges.is_paused.into());
        change(&mut self.leader_services, gauges.has_leader_service.into());
        change(&mut self.slices, gauges.slices.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_place_of_its_own() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
        }
    }
}
