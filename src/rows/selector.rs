//! Which pods a Service selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PodRow;

/// A Service's selector: all its labels have to be there. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// `key=value`, sorted.
    pairs: Box<[Arc<str>]>,
    /// Which of them to index by.
    index: usize,
}

impl Selector {
    /// The selector with these pairs; none if there are no pairs, since such a Service selects nothing.
    #[must_use]
    pub fn new(pairs: &BTreeMap<String, String>) -> Option<Self> {
        let mut sorted: Vec<(Arc<str>, usize)> =
            pairs.iter().map(|(key, value)| (format!("{key}={value}").into(), value.len())).collect();
        sorted.sort_unstable();
        let index = (0..sorted.len()).max_by_key(|&i| sorted[i].1)?;
        Some(Self { pairs: sorted.into_iter().map(|(pair, _)| pair).collect(), index })
    }

    /// Whether it selects this pod, of the Service's own namespace.
    #[must_use]
    pub fn matches(&self, row: &PodRow) -> bool {
        self.pairs.iter().all(|pair| row.labels.binary_search(pair).is_ok())
    }

    /// The pair to index Services by: a pod without it cannot match. The one with the longest value, since
    /// what names an application is longer than `web` or `backend`, and so shared by fewer pods.
    #[must_use]
    pub fn index_pair(&self) -> &Arc<str> {
        &self.pairs[self.index]
    }
}
