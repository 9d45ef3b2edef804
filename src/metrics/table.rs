//! Values by key, of which a scrape can copy a few at a time.

use std::collections::HashMap;
use std::hash::Hash;

/// Values that are found by a hash of their key (a tree would compare some twenty names for each call), and that keep
/// their place for as long as they stay, so that who walks over all of them in several goes misses none.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    places: HashMap<K, usize>,
    slots: Vec<Option<(K, V)>>,
    free: Vec<usize>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Table<K, V> {
    /// Whether there is a value of this key.
    pub(super) fn has(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// The value of this key.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.slots.get_mut(place)?.as_mut().map(|(_, value)| value)
    }

    /// Puts in a value; replaces the one that was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> &mut V {
        let slots = &mut self.slots;
        let place = *self.places.entry(key.clone()).or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                slots.push(None);
                slots.len() - 1
            })
        });
        &mut slots[place].insert((key, value)).1
    }

    /// The value of this key, made if there is none.
    pub(super) fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        match self.places.get(key) {
            Some(place) => &mut self.slots[*place].get_or_insert_with(|| (key.clone(), make())).1,
            None => self.insert(key.clone(), make()),
        }
    }

    /// Takes out the value of this key.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.free.push(place);
        self.slots.get_mut(place)?.take().map(|(_, value)| value)
    }

    /// How many places there are, empty ones included.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// What stands in `count` places from this one on.
    pub(super) fn from(&self, place: usize, count: usize) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().skip(place).take(count).flatten().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(table: &Table<&'static str, u32>) -> Vec<(&'static str, u32)> {
        table.from(0, usize::MAX).map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let mut table = Table::default();
        assert_eq!(*table.insert("a", 1), 1);
        assert_eq!(*table.insert("b", 2), 2);
        assert_eq!(*table.get_or_insert_with(&"b", || 9), 2);
        *table.get_mut(&"a").unwrap() += 10;
        assert_eq!(all(&table), [("a", 11), ("b", 2)]);
        assert_eq!(table.remove(&"a"), Some(11));
        assert_eq!(table.remove(&"a"), None);
        assert!(!table.has(&"a") && table.has(&"b") && table.get_mut(&"a").is_none());
    }

    #[test]
    fn others_keep_their_place_and_free_places_are_used_again() {
        let mut table = Table::default();
        for key in ["a", "b", "c"] {
            table.insert(key, 0);
        }
        table.remove(&"b");
        assert_eq!(table.from(2, 1).collect::<Vec<_>>(), [(&"c", &0)]);
        table.get_or_insert_with(&"d", || 4);
        assert_eq!(all(&table), [("a", 0), ("d", 4), ("c", 0)]);
        table.insert("a", 1);
        assert_eq!((table.places(), all(&table)[0]), (3, ("a", 1)));
    }
}
