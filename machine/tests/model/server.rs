//! The API server: a compare-and-swap store of one slice, the pods, and what the watches have to show of both.

use std::sync::Arc;

use machine::{Endpoint, Epoch, Member, OrderId, Outcome, Pod, Publication, Shown, Version, Wanted};

use crate::canon::FIRST_VERSION;
use crate::invariants::Broken;
use crate::pods::PodEvent;
use crate::support;

/// Who wrote a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The replica of this number, in its present life.
    Replica(usize),
    /// A replica that is no more, or somebody else.
    Other,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) publication: Publication,
    pub(crate) term_by: Author,
}

impl Stored {
    pub(crate) fn seen_by(&self, replica: usize) -> Publication {
        Publication { ours: self.term_by == Author::Replica(replica), ..self.publication.clone() }
    }
}

/// A revision of the slice, as the watch shows it; nothing: it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) stored: Option<Stored>,
    pub(crate) is_foreign: bool,
}

/// An order to publish, on its way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Write {
    pub(crate) id: OrderId,
    pub(crate) wanted: Wanted,
    pub(crate) based_on: Option<Version>,
}

/// What somebody does to the slice who keeps no rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edit {
    Emptied,
    SecondEndpoint,
    Deleted,
}

#[derive(Clone)]
pub(crate) struct Server {
    /// Whether a write must name the version that is there: a store that does not ask is no store for us.
    pub(crate) compares: bool,
    version: Version,
    pub(crate) slice: Option<Stored>,
    pub(crate) revisions: Vec<Arc<Revision>>,
    /// The last epoch published by the rules, and who leads in it.
    pub(crate) last: Option<(Epoch, Option<Pod>)>,
    /// Revisions of the slice since the last new epoch, or fault.
    pub(crate) repairs: u8,
    /// Writes that seemed lost, and may happen yet.
    pub(crate) limbo: Vec<(Author, Write)>,
    pub(crate) pods: Vec<Option<Member>>,
    pub(crate) born: Vec<u8>,
    pub(crate) log: Vec<Arc<PodEvent>>,
}

impl Server {
    /// With so many pods, all Ready, and no slice.
    pub(crate) fn new(pods: usize, compares: bool) -> Self {
        let mut server = Self {
            compares,
            version: Version(FIRST_VERSION),
            slice: None,
            revisions: Vec::new(),
            last: None,
            repairs: 0,
            limbo: Vec::new(),
            pods: vec![None; pods],
            born: vec![0; pods],
            log: Vec::new(),
        };
        for slot in 0..pods {
            server.create(slot);
        }
        server.log.clear();
        server
    }

    pub(crate) const fn version(&self) -> Version {
        self.version
    }

    /// Of a pod.
    pub(crate) const fn next_version(&mut self) -> Version {
        self.version.0 += if self.version.0.is_multiple_of(2) { 2 } else { 1 };
        self.version
    }

    /// Of the slice.
    const fn next_revision(&mut self) -> Version {
        self.version.0 += if self.version.0.is_multiple_of(2) { 1 } else { 2 };
        self.version
    }

    /// A write arrives. Answers the new version, or why there is none; and what must never be, if it is.
    pub(crate) fn write(
        &mut self,
        write: &Write,
        author: Author,
    ) -> (Result<Version, Outcome>, Option<Broken>) {
        let present = self.slice.as_ref().map(|stored| stored.publication.version);
        match (present, write.based_on) {
            (Some(_), None) => return (Err(Outcome::Exists), None),
            (None, Some(_)) => return (Err(Outcome::Gone), None),
            (Some(present), Some(based_on)) if self.compares && present != based_on => {
                return (Err(Outcome::Conflict), None);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let mut broken = (present != write.based_on).then_some(Broken::I4);
        let known = self.slice.as_ref().filter(|stored| stored.publication.epoch == write.wanted.epoch);
        let term_by = known.map_or(author, |stored| stored.term_by);
        let version = self.next_revision();
        let publication = write.wanted.clone().acknowledged(version);
        if !is_sound(&publication) {
            broken = Some(Broken::I1);
        }
        if !self.succeeds(&publication) {
            broken = Some(Broken::I3);
        }
        self.store(Some(Stored { publication, term_by }), false);
        (Ok(version), broken)
    }

    /// I3: the epoch only grows. Nobody leads in the epoch of the last leader; whoever leads after nobody, or after
    /// somebody else, begins a term.
    fn succeeds(&mut self, publication: &Publication) -> bool {
        let Some(epoch) = publication.epoch else { return publication.leader.is_none() };
        let leader = publication.leader.clone();
        let is_rising = self.last.as_ref().is_none_or(|(last, before)| {
            let goes_on = leader.is_none() || leader.as_ref().map(Pod::uid) == before.as_ref().map(Pod::uid);
            if goes_on { epoch >= *last } else { epoch > *last }
        });
        if self.last.as_ref().is_none_or(|(last, _)| epoch > *last) {
            self.repairs = 0;
        }
        self.last = Some((epoch, leader));
        is_rising
    }

    fn store(&mut self, stored: Option<Stored>, is_foreign: bool) {
        self.repairs = self.repairs.saturating_add(1);
        self.slice.clone_from(&stored);
        self.revisions.push(Arc::new(Revision { stored, is_foreign }));
    }

    /// The slice as it is when a history begins.
    pub(crate) fn publish(&mut self, leader: &Member, epoch: u64) {
        let version = self.next_revision();
        let publication = support::slice(leader.pod.name(), epoch).version(version.0).0;
        self.last = Some((Epoch(epoch), publication.leader.clone()));
        self.slice = Some(Stored { publication, term_by: Author::Other });
    }

    pub(crate) fn edit(&mut self, edit: Edit) {
        let version = self.next_revision();
        let Some(mut stored) = self.slice.clone() else { return };
        let publication = &mut stored.publication;
        publication.version = version;
        match edit {
            Edit::Emptied => {
                (publication.leader, publication.shown) = (None, Shown::Nobody);
                // Whoever empties the slice ends the term.
                if let Some((_, leader)) = &mut self.last {
                    *leader = None;
                }
            }
            Edit::SecondEndpoint => publication.shown = Shown::Foreign,
            Edit::Deleted => return self.store(None, true),
        }
        self.store(Some(stored), true);
    }

    /// A replica is no more: what it has written is nobody's.
    pub(crate) fn forget(&mut self, author: usize) {
        let orphan = |stored: &mut Option<Stored>| {
            if let Some(stored) = stored.as_mut().filter(|stored| stored.term_by == Author::Replica(author)) {
                stored.term_by = Author::Other;
            }
        };
        orphan(&mut self.slice);
        for revision in &mut self.revisions {
            let mut orphaned = Revision::clone(revision);
            orphan(&mut orphaned.stored);
            *revision = Arc::new(orphaned);
        }
        for (by, _) in &mut self.limbo {
            if *by == Author::Replica(author) {
                *by = Author::Other;
            }
        }
    }
}

/// I1: one endpoint at most, and that of the recorded leader.
fn is_sound(publication: &Publication) -> bool {
    let is_leaders = |endpoint: Endpoint| {
        let leader = publication.leader.as_ref();
        leader.is_some_and(|leader| support::pod(leader.name()).0.reach.endpoint() == Some(endpoint))
    };
    match publication.shown {
        Shown::Nobody => publication.leader.is_none(),
        Shown::Ready(endpoint) | Shown::Terminating(endpoint) => is_leaders(endpoint),
        Shown::Foreign => false,
    }
}
