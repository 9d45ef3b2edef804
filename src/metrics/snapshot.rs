//! What a scrape shows, copied so that it can be written down while the deciding task goes on.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use machine::Timestamp;

use super::counts::Counts;
use super::gauges::{Gauges, Tally};
use super::histogram::Fine;
use super::table::Table;
use super::{Key, Metrics, Shared, State};
use crate::config::MetricsDetail;

/// How many are copied before the lock is let go for a moment. Copying one takes some 100 ns, so that the deciding
/// task is held up for a few microseconds, however many there are.
const AT_A_TIME: usize = 32;

/// Everything as it was while it was copied. Services that came meanwhile may be missing; what is there of each was
/// true at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) shared: Arc<Shared>,
    pub(super) at: Timestamp,
    /// By name. Empty in aggregate detail.
    pub(super) services: Vec<(Key, Gauges, Counts)>,
    /// By name.
    pub(super) spaces: Vec<(Arc<str>, Tally, Option<Counts>)>,
    pub(super) writes: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) calls: BTreeMap<&'static str, Fine>,
    pub(super) depths: BTreeMap<&'static str, usize>,
    /// For each resource, the longest that one of its watches has heard nothing.
    pub(super) watches: BTreeMap<String, Duration>,
}

impl Metrics {
    /// Copies everything.
    pub(super) fn snapshot(&self) -> Snapshot {
        let services = match self.shared.detail {
            MetricsDetail::Service => self.copied(
                |state| &state.services,
                |key, service| Some((key.clone(), service.gauges, Counts::clone(service.counts.as_deref()?))),
            ),
            MetricsDetail::Aggregate => Vec::new(),
        };
        let spaces = self.copied(
            |state| &state.spaces,
            |name, space| Some((name.clone(), space.tally.clone(), space.counts.as_deref().cloned())),
        );
        let services = ordered(services, |(key, ..)| key);
        let spaces = ordered(spaces, |(name, ..)| name);
        let (writes, calls, depths) = {
            let state = self.state();
            (state.writes.clone(), state.calls.clone(), state.depths.clone())
        };
        let (shared, at, watches) = (self.shared.clone(), self.shared.clock.now(), self.watches());
        Snapshot { shared, at, services, spaces, writes, calls, depths, watches }
    }

    /// Copies a table, a few values at a time.
    fn copied<K: Clone + Eq + Hash, V, C>(
        &self,
        table: impl Fn(&State) -> &Table<K, V>,
        copy: impl Fn(&K, &V) -> Option<C>,
    ) -> Vec<C> {
        let mut copies = Vec::new();
        let mut place = 0;
        loop {
            // Room is made before the lock is taken, for that can take longer than all the copying.
            copies.reserve(AT_A_TIME);
            let state = self.state();
            let table = table(&state);
            if place >= table.places() {
                return copies;
            }
            copies.extend(table.from(place, AT_A_TIME).filter_map(|(key, value)| copy(key, value)));
            place += AT_A_TIME;
        }
    }

    fn watches(&self) -> BTreeMap<String, Duration> {
        let mut longest = BTreeMap::<String, Duration>::new();
        for watch in self.shared.health.watches() {
            // `pods`, or `shop/pods`.
            let resource = watch.name().rsplit('/').next().unwrap_or_default();
            let age = longest.entry(resource.to_owned()).or_default();
            *age = watch.idle_for().max(*age);
        }
        longest
    }
}

/// In order, and each once: who opted out and in again meanwhile may have been copied in both places, and a text with a
/// series that is there twice is refused as a whole.
fn ordered<T, K: Ord>(mut copies: Vec<T>, key: fn(&T) -> &K) -> Vec<T> {
    copies.sort_unstable_by(|one, other| key(one).cmp(key(other)));
    copies.dedup_by(|one, other| key(one) == key(other));
    copies
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_copied_in_two_places_is_there_once() {
        let copies = vec![("b", 1), ("a", 2), ("b", 3)];
        let names: Vec<_> =
            super::ordered(copies, |(name, _)| name).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
