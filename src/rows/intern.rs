//! Stores texts that many pods share once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::NamedPort;

/// The texts, sets of labels and lists of ports in use. What nobody uses any more goes at the next purge, which comes by itself
/// whenever the table has doubled.
#[derive(Debug)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Arc<[Arc<str>]>>,
    ports: HashSet<Arc<[NamedPort]>>,
    /// At how many entries to purge.
    full: usize,
    /// Where a label is put together, to look for it without an allocation.
    scratch: String,
}

/// Below this many entries a purge saves nothing worth its time.
const PURGE_FROM: usize = 1024;

impl Default for Interner {
    fn default() -> Self {
        let (texts, labels, ports) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { texts, labels, ports, full: PURGE_FROM, scratch: String::new() }
    }
}

impl Interner {
    /// The one copy of this text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        self.make_room();
        one_copy(&mut self.texts, text)
    }

    /// The one copy of this label, as `key=value`. Neither part of a label can hold a `=`.
    pub fn label(&mut self, key: &str, value: &str) -> Arc<str> {
        let mut label = std::mem::take(&mut self.scratch);
        label.clear();
        label.extend([key, "=", value]);
        let text = self.text(&label);
        self.scratch = label;
        text
    }

    /// The one copy of these labels. Pods of one template have the same, but for those of a StatefulSet.
    pub fn labels(&mut self, labels: &[Arc<str>]) -> Arc<[Arc<str>]> {
        self.make_room();
        one_copy(&mut self.labels, labels)
    }

    /// The one copy of these ports. Pods of one template have the same.
    pub fn ports(&mut self, ports: &[NamedPort]) -> Arc<[NamedPort]> {
        self.make_room();
        one_copy(&mut self.ports, ports)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len() + self.labels.len() + self.ports.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what nobody uses.
    pub fn purge(&mut self) {
        // Texts last: the others hold some.
        keep_used(&mut self.labels);
        keep_used(&mut self.ports);
        keep_used(&mut self.texts);
    }

    fn make_room(&mut self) {
        if self.len() >= self.full {
            self.purge();
            self.full = (self.len() * 2).max(PURGE_FROM);
        }
    }
}

fn one_copy<T: ?Sized + Hash + Eq>(known: &mut HashSet<Arc<T>>, wanted: &T) -> Arc<T>
where
    for<'a> Arc<T>: From<&'a T>,
{
    if let Some(known) = known.get(wanted) {
        return known.clone();
    }
    let new: Arc<T> = wanted.into();
    known.insert(new.clone());
    new
}

fn keep_used<T: ?Sized + Hash + Eq>(known: &mut HashSet<Arc<T>>) {
    known.retain(|entry| Arc::strong_count(entry) > 1);
    known.shrink_to(known.len() * 2);
}

#[cfg(test)]
mod tests;
