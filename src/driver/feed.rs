//! What the driver is told, and by whom.

use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::lease::Tenure;
use crate::nodes::Verdict;
use crate::watch::Change;

/// What is watched, in the order in which watches are numbered.
pub(crate) const PODS: usize = 0;
pub(crate) const SERVICES: usize = 1;
pub(crate) const SLICES: usize = 2;

/// What the watches tell.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Pods, of the watch with this number.
    Pods(usize, Change<PodLite>),
    /// Services.
    Services(usize, Change<ServiceLite>),
    /// Slices that carry our label.
    Slices(usize, Change<SliceLite>),
    /// The watch with this number, of all of every kind, does not work.
    Disconnected(usize),
    /// It works again.
    Reconnected(usize),
    /// Whether this replica holds the Lease, and how long.
    Lease(Tenure),
    /// A node is lost, or is back.
    Node(Verdict),
}

impl From<(usize, Change<PodLite>)> for Feed {
    fn from((watch, change): (usize, Change<PodLite>)) -> Self {
        Self::Pods(watch, change)
    }
}

impl From<(usize, Change<ServiceLite>)> for Feed {
    fn from((watch, change): (usize, Change<ServiceLite>)) -> Self {
        Self::Services(watch, change)
    }
}

impl From<(usize, Change<SliceLite>)> for Feed {
    fn from((watch, change): (usize, Change<SliceLite>)) -> Self {
        Self::Slices(watch, change)
    }
}

/// Which namespaces are watched.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All of them, by one watch a resource.
    Cluster,
    /// These, by one watch a resource and namespace.
    Namespaces(Vec<String>),
}

impl Scope {
    /// How many watches a resource has.
    #[must_use]
    pub(crate) fn watches(&self) -> usize {
        match self {
            Self::Cluster => 1,
            Self::Namespaces(names) => names.len(),
        }
    }

    pub(super) fn watch_of(&self, namespace: &str) -> usize {
        match self {
            Self::Cluster => 0,
            Self::Namespaces(names) => names.iter().position(|name| name == namespace).unwrap_or_default(),
        }
    }
}
