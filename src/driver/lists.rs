//! Lists in progress. Each is put in place as a whole, so that nothing is decided from half of it.

use machine::Version;

use crate::kinds::{Kept, SliceLite};
use crate::managed::Key;
use crate::rows::PodRow;
use crate::world::ServiceFact;

/// Those of the watches of one scope.
#[derive(Default)]
pub(super) struct Lists {
    pub(super) pods: Listing<PodRow>,
    pub(super) services: Listing<(Key, ServiceFact)>,
    pub(super) slices: Listing<(Key, Kept<SliceLite>)>,
}

/// What one watch tells of one kind of objects.
pub(super) struct Listing<T> {
    /// The list's pages so far.
    pages: Vec<T>,
    /// The highest version that the watch has told of.
    pub(super) horizon: Version,
    /// A list has come in.
    pub(super) is_complete: bool,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), horizon: Version(0), is_complete: false }
    }
}

impl<T> Listing<T> {
    /// A list begins, perhaps in the middle of another one.
    pub(super) fn restart(&mut self) {
        self.pages = Vec::new();
    }

    /// A page of it.
    pub(super) fn page(&mut self, objects: impl IntoIterator<Item = T>) {
        self.pages.extend(objects);
    }

    /// It is whole.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.is_complete = true;
        std::mem::take(&mut self.pages)
    }

    /// The watch has come to this version.
    pub(super) fn saw(&mut self, version: Version) {
        self.horizon = self.horizon.max(version);
    }

    /// The watch has come to this list. After a restore that may be less than it had seen before.
    pub(super) fn saw_list(&mut self, list: Version, restored: bool) {
        self.horizon = if restored { list } else { self.horizon.max(list) };
    }
}
