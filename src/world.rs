//! Everything the watches have told, by namespace: pods as rows, Services, our slices, and which opted-in
//! Service a pod can concern.

mod shelf;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use machine::{Epoch, Timestamp, Version};

use crate::annotations;
use crate::kinds::{Kept, PodLite, ServiceLite, SliceLite, Versioned, version};
use crate::managed::{Key, Managed};
use crate::rows::{ByName, Grounds, Interner, PodRow, Selector};
use crate::service::is_generated;

pub(crate) use shelf::{Shelf, went_back};

/// All namespaces that are watched.
#[derive(Default)]
pub(crate) struct World {
    /// By name; ordered, so that whatever walks over them does so the same way each time.
    pub(crate) namespaces: BTreeMap<Arc<str>, Namespace>,
    /// Texts that many pods share.
    pub(crate) interner: Interner,
    /// What is known of nodes.
    pub(crate) grounds: Grounds,
}

/// One namespace.
pub(crate) struct Namespace {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// All its pods, by name.
    pub(crate) pods: Pods,
    /// All its Services.
    pub(crate) services: Shelf<ServiceFact>,
    /// The slices that carry our label.
    pub(crate) slices: Shelf<Kept<SliceLite>>,
    /// The Services that opted in, by name.
    pub(crate) managed: BTreeMap<Arc<str>, Box<Managed>>,
    /// Which source Services a pod with this label can belong to.
    by_label: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Epochs of Services that opted out, as far as they are ahead of the clock: a Service that opts in again
    /// begins at the clock, and must not fall back.
    epochs: HashMap<Arc<str>, Epoch>,
    /// Which source Services ask for a leader Service of this name. One of them has it, if any; it must not go
    /// unheard because another one asks for the same.
    leaders: HashMap<Arc<str>, Vec<Arc<str>>>,
}

/// What is kept of a Service.
#[derive(Clone, Debug)]
pub(crate) enum ServiceFact {
    /// Neither opted in nor ours: only that it exists.
    Plain(Version),
    /// Opted in.
    Source(Kept<ServiceLite>),
    /// Made by zen-lead.
    Generated(Kept<ServiceLite>),
}

impl ServiceFact {
    /// Keeps as much as matters.
    #[must_use]
    pub(crate) fn of(service: &ServiceLite) -> Self {
        if is_generated(service) {
            Self::Generated(Kept::new(service))
        } else if service.metadata.annotations.as_ref().is_some_and(annotations::opts_in) {
            Self::Source(Kept::new(service))
        } else {
            Self::Plain(version(&service.metadata))
        }
    }

    /// All of it, if it was kept.
    #[must_use]
    pub(crate) const fn kept(&self) -> Option<&Kept<ServiceLite>> {
        match self {
            Self::Plain(_) => None,
            Self::Source(service) | Self::Generated(service) => Some(service),
        }
    }
}

impl Versioned for ServiceFact {
    fn version(&self) -> Version {
        match self {
            Self::Plain(version) => *version,
            Self::Source(service) | Self::Generated(service) => service.version(),
        }
    }

    /// Of which nothing was kept, that says nothing.
    fn contradicts(&self, other: &Self) -> bool {
        self.kept().zip(other.kept()).is_some_and(|(known, other)| known.contradicts(other))
    }
}

/// Pods by name.
pub(crate) type Pods = HashMap<ByName, PodRow>;

impl World {
    /// The namespace, made if it is new.
    pub(crate) fn namespace(&mut self, name: &str) -> &mut Namespace {
        if !self.namespaces.contains_key(name) {
            let name: Arc<str> = name.into();
            self.namespaces.insert(name.clone(), Namespace::new(name));
        }
        self.namespaces.entry(name.into()).or_insert_with(|| Namespace::new(name.into()))
    }

    /// The row of a pod as the API server describes it.
    pub(crate) fn row(&mut self, pod: &PodLite) -> Option<PodRow> {
        PodRow::new(pod, &mut self.interner)
    }
}

impl Namespace {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            pods: HashMap::new(),
            services: Shelf::default(),
            slices: Shelf::default(),
            managed: BTreeMap::new(),
            by_label: HashMap::new(),
            leaders: HashMap::new(),
            epochs: HashMap::new(),
        }
    }

    /// One of its Services, or whatever else has this name in it.
    pub(crate) fn key(&self, name: &Arc<str>) -> Key {
        Key { namespace: self.name.clone(), name: name.clone() }
    }

    /// How many of the Services that opted in have a leader.
    pub(crate) fn led(&self) -> usize {
        self.managed.values().filter(|managed| managed.election.state().pod().is_some()).count()
    }

    /// From now on pods that match `selector` concern `source`.
    pub(crate) fn index(&mut self, selector: &Selector, source: &Arc<str>) {
        self.by_label.entry(selector.index_pair().clone()).or_default().insert(source.clone());
    }

    /// The opposite of [`Self::index`].
    pub(crate) fn unindex(&mut self, selector: &Selector, source: &str) {
        let pair = selector.index_pair();
        if let Some(sources) = self.by_label.get_mut(pair) {
            sources.remove(source);
            if sources.is_empty() {
                self.by_label.remove(pair);
            }
        }
    }

    /// Remembers the highest epoch of a Service that is no longer opted in.
    pub(crate) fn remember_epoch(&mut self, source: &Arc<str>, epoch: Option<Epoch>, at: Timestamp) {
        let is_ahead = |epoch: &Epoch| epoch.0 >= at.as_secs();
        self.epochs.retain(|_, epoch| is_ahead(epoch));
        if let Some(epoch) = epoch.filter(is_ahead) {
            self.epochs.insert(source.clone(), epoch);
        }
    }

    /// The epoch that a Service which opts in again must not fall below.
    pub(crate) fn former_epoch(&mut self, source: &str) -> Option<Epoch> {
        self.epochs.remove(source)
    }

    /// From now on `source` asks for a leader Service of this name.
    pub(crate) fn name_leader(&mut self, leader_service: &Arc<str>, source: &Arc<str>) {
        self.leaders.entry(leader_service.clone()).or_default().push(source.clone());
    }

    /// The opposite of [`Self::name_leader`].
    pub(crate) fn unname_leader(&mut self, leader_service: &str, source: &str) {
        if let Some(sources) = self.leaders.get_mut(leader_service) {
            sources.retain(|named| &**named != source);
            if sources.is_empty() {
                self.leaders.remove(leader_service);
            }
        }
    }

    /// The sources that ask for a leader Service of this name.
    pub(crate) fn leader_of(&self, leader_service: &str) -> &[Arc<str>] {
        self.leaders.get(leader_service).map(Vec::as_slice).unwrap_or_default()
    }

    /// The sources that a pod with one of these rows can concern.
    #[must_use]
    pub(crate) fn concerned<'a>(&self, rows: impl IntoIterator<Item = &'a PodRow>) -> BTreeSet<Arc<str>> {
        let labels = rows.into_iter().flat_map(PodRow::labels);
        labels.filter_map(|label| self.by_label.get(label)).flatten().cloned().collect()
    }
}
