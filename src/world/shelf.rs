//! What is known of the objects of one kind in a namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::Version;

use crate::kinds::Versioned;

/// Objects by name, each in the newest version that anything has told of; ordered, so that whatever walks over them does
/// so the same way each time.
pub(crate) struct Shelf<T> {
    objects: BTreeMap<Arc<str>, T>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new() }
    }
}

impl<T: Versioned> Shelf<T> {
    /// What is known of this one.
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.objects.get(name)
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.objects.keys()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.objects.iter()
    }

    /// A watch or a list tells of an object. False: a newer version of it is known, and stays.
    pub(crate) fn tell(&mut self, name: &Arc<str>, object: T) -> bool {
        if self.get(name).is_some_and(|known| known.version() > object.version()) {
            return false;
        }
        self.objects.insert(name.clone(), object);
        true
    }

    /// As of this version there is no such object. False: a newer version of it is known, and stays.
    pub(crate) fn gone(&mut self, name: &str, as_of: Version) -> bool {
        if self.get(name).is_some_and(|known| known.version() > as_of) {
            return false;
        }
        self.objects.remove(name);
        true
    }

    /// Whatever was known of it, in whichever version, is of a store that was restored since.
    pub(crate) fn forget(&mut self, name: &str) {
        self.objects.remove(name);
    }

    /// Whether an answer with this version of an object tells more than the watch, which may show it later. What the watch
    /// has come past (`horizon`) is left to it: there may be no such object any more.
    pub(crate) fn is_news(&self, name: &str, version: Version, horizon: Version) -> bool {
        version > self.get(name).map_or(horizon, Versioned::version)
    }

    /// Whether this object, of a list in this version, proves that the store was restored.
    pub(crate) fn is_refuted(&self, name: &str, listed: &T, list: Version) -> bool {
        self.get(name).is_some_and(|known| {
            went_back(known.version(), listed.version(), list) || known.contradicts(listed)
        })
    }
}

/// Whether a list proves that the store was restored: it has an object in an older version than we know, and is itself
/// newer than that. With the server's count raised beyond what it was, as the manuals of etcd advise for a restore,
/// nothing else shows it. (An object that we know in a version beyond the list was read since the list was made.)
pub(crate) fn went_back(known: Version, listed: Version, list: Version) -> bool {
    listed < known && known <= list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Object(u64, &'static str);

    impl Versioned for Object {
        fn version(&self) -> Version {
            Version(self.0)
        }

        fn contradicts(&self, other: &Self) -> bool {
            self.0 == other.0 && self.1 != other.1
        }
    }

    fn shelf() -> Shelf<Object> {
        let mut shelf = Shelf::default();
        assert!(shelf.tell(&"orders".into(), Object(7, "a")));
        shelf
    }

    #[test]
    fn what_is_older_than_known_changes_nothing() {
        for (version, is_taken) in [(6, false), (7, true), (8, true)] {
            let mut shelf = shelf();
            assert_eq!(shelf.tell(&"orders".into(), Object(version, "b")), is_taken, "{version}");
            assert_eq!(shelf.get("orders").unwrap().1, if is_taken { "b" } else { "a" }, "{version}");

            let mut shelf = self::shelf();
            assert_eq!(shelf.gone("orders", Version(version)), is_taken, "{version}");
            assert_eq!(shelf.get("orders").is_none(), is_taken, "{version}");
        }
    }

    #[test]
    fn an_answer_is_news_beyond_what_is_known_or_else_beyond_the_watch() {
        let is_news = |name, version| shelf().is_news(name, Version(version), Version(9));
        assert_eq!([7, 8].map(|version| is_news("orders", version)), [false, true]);
        assert_eq!([9, 10].map(|version| is_news("carts", version)), [false, true]);
    }

    /// An object that is known in a version beyond the list was read since the list was made.
    #[test]
    fn i10_a_list_that_goes_back_within_what_it_covers_is_of_a_restored_store() {
        let is_refuted = |object, list| shelf().is_refuted("orders", &object, Version(list));
        assert!(is_refuted(Object(6, "a"), 7));
        assert!(!is_refuted(Object(6, "a"), 6));
        assert!(is_refuted(Object(7, "b"), 7));
        assert!(!is_refuted(Object(7, "a"), 7));
        assert!(!is_refuted(Object(8, "b"), 9));
        assert!(!shelf().is_refuted("carts", &Object(1, "a"), Version(9)));
    }
}
