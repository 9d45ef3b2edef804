//! Objects that are seldom looked at.

use std::marker::PhantomData;
use std::sync::Arc;

use machine::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::version;

/// What is kept of an object.
pub(crate) trait Versioned {
    /// The object's version.
    fn version(&self) -> Version;

    /// Whether the same version says something else. Versions come again after a restore: one of the two was lost.
    fn contradicts(&self, other: &Self) -> bool;
}

/// An object as text: decoded, with a map for its labels and a string for every word, a Service takes five times the
/// memory. Clones share the text.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    text: Arc<[u8]>,
    version: Version,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), version: self.version, kind: PhantomData }
    }
}

impl<T: kube::Resource + Serialize + DeserializeOwned> Kept<T> {
    /// Keeps an object.
    #[must_use]
    pub(crate) fn new(object: &T) -> Self {
        let text = serde_json::to_vec(object).unwrap_or_default();
        Self { text: text.into(), version: version(object.meta()), kind: PhantomData }
    }

    /// The object as it was. Always there: the text is its own.
    #[must_use]
    pub(crate) fn read(&self) -> Option<T> {
        serde_json::from_slice(&self.text).ok()
    }
}

impl<T> Versioned for Kept<T> {
    fn version(&self) -> Version {
        self.version
    }

    fn contradicts(&self, other: &Self) -> bool {
        self.version == other.version && self.text != other.text
    }
}
