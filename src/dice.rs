//! Chance, which spreads out what many replicas would else do at the same moment. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `SplitMix64`: each number is a hash of a counter that goes on by this.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of chance; clones draw from the same one.
#[derive(Clone, Debug)]
pub struct Dice(Arc<AtomicU64>);

impl Dice {
    /// One that nobody can foretell.
    #[must_use]
    pub fn new() -> Self {
        // The keys of a `RandomState` differ every time.
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// One that draws the same for the same seed, so that what happened can happen again.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Any number.
    #[must_use]
    pub fn number(&self) -> u64 {
        let mixed = self.0.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(u32::try_from(self.number() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }

    /// One of these numbers.
    #[must_use]
    pub fn one_of(&self, range: RangeInclusive<u32>) -> u32 {
        let span = u64::from(range.end().saturating_sub(*range.start())) + 1;
        range.start() + u32::try_from(self.number() % span).unwrap_or_default()
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |dice: &Dice| (0..100).map(|_| dice.number()).collect::<Vec<_>>();
        assert_eq!(draw(&Dice::seeded(7)), draw(&Dice::seeded(7)));
        assert_ne!(draw(&Dice::seeded(7)), draw(&Dice::seeded(8)));
    }

    #[test]
    fn what_is_drawn_stays_within_its_range_and_reaches_its_ends() {
        let dice = Dice::seeded(1);
        let drawn: std::collections::BTreeSet<_> = (0..1_000).map(|_| dice.one_of(3..=6)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert!((0..1_000).map(|_| dice.share()).all(|share| (0.0..=1.0).contains(&share)));
    }
}
