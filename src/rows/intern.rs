//! Stores texts that many pods share once.

use std::collections::HashSet;
use std::sync::Arc;

use super::NamedPort;

/// The texts and port lists in use. What nobody uses any more goes at the next purge, which comes by itself
/// whenever the table has doubled.
#[derive(Debug)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
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
        Self { texts: HashSet::new(), ports: HashSet::new(), full: PURGE_FROM, scratch: String::new() }
    }
}

impl Interner {
    /// The one copy of this text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        self.make_room();
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
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

    /// The one copy of this list. Pods of one template have the same.
    pub fn ports(&mut self, ports: Vec<NamedPort>) -> Arc<[NamedPort]> {
        if let Some(known) = self.ports.get(&*ports) {
            return known.clone();
        }
        self.make_room();
        let new: Arc<[NamedPort]> = ports.into();
        self.ports.insert(new.clone());
        new
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len() + self.ports.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what nobody uses.
    pub fn purge(&mut self) {
        // Port lists first: they hold texts.
        self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.ports.shrink_to(self.ports.len() * 2);
        self.texts.shrink_to(self.texts.len() * 2);
    }

    fn make_room(&mut self) {
        if self.len() >= self.full {
            self.purge();
            self.full = (self.len() * 2).max(PURGE_FROM);
        }
    }
}
