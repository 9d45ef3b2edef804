//! What the rounds of a scenario say together, beside the limit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figures;
use super::scenario::Scenario;

/// Quantiles: of 50 values, p99 is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// The value that 99 of 100 do not exceed.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; nothing if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        // The nearest rank.
        let rank = |hundredths: usize| values[(values.len() * hundredths).div_ceil(100).max(1) - 1];
        Some(Self { p50: rank(50), p99: rank(99), max })
    }

    /// Quantile by quantile.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self { p50: self.p50 / other.p50, p99: self.p99 / other.p99, max: self.max / other.max }
    }
}

/// All rounds of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Which.
    pub scenario: Scenario,
    /// How many came about.
    pub rounds: usize,
    /// Why others did not.
    pub broken: Vec<String>,
    /// New connections that failed, in a round.
    pub failed: Option<Spread>,
    /// The longest time without a good answer.
    pub gap: Option<Spread>,
    /// From the fault to when the API server told of it.
    pub detection: Option<Spread>,
    /// From then to the slice.
    pub controller: Option<Spread>,
    /// From the slice to the last connection that failed or reached the wrong pod.
    pub propagation: Option<Spread>,
    /// The last two together.
    pub reaction: Option<Spread>,
    /// That over the limit's.
    pub over_limit: Option<Spread>,
    /// The rounds.
    pub figures: Vec<Figures>,
}

impl Summary {
    /// Of the rounds of a scenario, some of which may not have come about.
    #[must_use]
    pub fn of(scenario: Scenario, figures: Vec<Figures>, broken: Vec<String>) -> Self {
        let spread = |value: fn(&Figures) -> Option<f64>| Spread::of(figures.iter().filter_map(value));
        Self {
            scenario,
            rounds: figures.len(),
            broken,
            failed: spread(|one| Some(count(one.failed))),
            gap: spread(|one| one.gap),
            detection: spread(|one| one.detection),
            controller: spread(|one| one.controller),
            propagation: spread(|one| one.propagation),
            reaction: spread(|one| one.reaction),
            over_limit: None,
            figures,
        }
    }

    /// The sum of a count over all rounds.
    #[must_use]
    pub fn total(&self, value: fn(&Figures) -> usize) -> usize {
        self.figures.iter().map(value).sum()
    }
}

/// Sets each beside its limit, as far as that was measured in the same run.
pub fn compare(summaries: &mut [Summary]) {
    let limits: BTreeMap<Scenario, Spread> =
        summaries.iter().filter_map(|one| Some((one.scenario, one.reaction?))).collect();
    for summary in summaries {
        let limit = summary.scenario.limit().and_then(|limit| limits.get(&limit));
        summary.over_limit = summary.reaction.zip(limit).map(|(own, limit)| own.over(limit));
    }
}

/// A count as a value among others.
pub(super) fn count(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_values_that_were_measured() {
        let hundred = (1..=100_u32).map(f64::from);
        assert_eq!(Spread::of(hundred), Some(Spread { p50: 50.0, p99: 99.0, max: 100.0 }));
        assert_eq!(Spread::of([3.0]), Some(Spread { p50: 3.0, p99: 3.0, max: 3.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_scenario_is_compared_with_its_own_limit() {
        let summary = |scenario, reaction| {
            let figures = Figures { reaction: Some(reaction), ..Figures::default() };
            Summary::of(scenario, vec![figures], Vec::new())
        };
        let mut summaries = [
            summary(Scenario::PutDelete, 50.0),
            summary(Scenario::PutKill, 40.0),
            summary(Scenario::Kill, 60.0),
        ];
        compare(&mut summaries);
        assert_eq!(summaries[2].over_limit.map(|over| over.p50), Some(1.5));
        assert_eq!(summaries[0].over_limit, None);
    }
}
