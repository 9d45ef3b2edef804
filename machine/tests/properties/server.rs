//! A little model of what the API server holds: the authority slice with all its revisions, the pods, and what
//! the watches have to show of both.

use machine::{Endpoint, Epoch, Publication, Shown, Version, Wanted};

use crate::met::{Met, met};
use crate::pods::{Pods, Uid, uid};

/// Who wrote a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A replica in this history, by the number of its life.
    Replica(usize),
    /// A replica outside it, which keeps the rules.
    Other,
    /// Somebody who keeps none.
    Foreign,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) publication: Publication,
    pub(crate) term_by: Author,
}

impl Stored {
    pub(crate) fn seen_by(&self, life: usize) -> Publication {
        Publication { ours: self.term_by == Author::Replica(life), ..self.publication.clone() }
    }
}

/// A revision of the slice, as the watch shows it; nothing: it was deleted.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) stored: Option<Stored>,
    pub(crate) by: Author,
}

/// What a revision says of the leadership that a replica, or one like it, has written.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) leader: Option<Uid>,
    pub(crate) epoch: Epoch,
}

#[derive(Default)]
pub(crate) struct Server {
    version: u64,
    pub(crate) slice: Option<Stored>,
    pub(crate) revisions: Vec<Revision>,
    /// Of all slices there ever were.
    pub(crate) commits: Vec<Commit>,
    pub(crate) mirrored: Option<Epoch>,
    pub(crate) pods: Pods,
}

pub(crate) enum Rejection {
    Conflict,
    Gone,
    Exists,
}

impl Server {
    pub(crate) const fn version(&self) -> Version {
        Version(self.version)
    }

    pub(crate) const fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    pub(crate) fn write(
        &mut self,
        wanted: &Wanted,
        based_on: Option<Version>,
        author: Author,
    ) -> Result<Version, Rejection> {
        let present = self.slice.as_ref().map(|stored| stored.publication.version);
        match (present, based_on) {
            (Some(_), None) => return Err(Rejection::Exists),
            (None, Some(_)) => return Err(Rejection::Gone),
            (Some(present), Some(based_on)) if present != based_on => {
                met(Met::Conflict);
                return Err(Rejection::Conflict);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let known = self.slice.as_ref().filter(|stored| stored.publication.epoch == wanted.epoch);
        let term_by = known.map_or(author, |stored| stored.term_by);
        let version = self.next_version();
        let publication = wanted.clone().acknowledged(version);
        self.commit(&publication);
        self.store(Some(Stored { publication, term_by }), author);
        Ok(version)
    }

    /// I3, over everything that was published by the rules.
    fn commit(&mut self, publication: &Publication) {
        let Some(epoch) = publication.epoch else { return };
        let leader = publication.leader.as_ref().map(uid);
        for earlier in &self.commits {
            // Nobody leads in the epoch of the last leader; whoever leads after nobody begins a term.
            let goes_on = leader.is_none() || leader == earlier.leader;
            let is_rising = if goes_on { epoch >= earlier.epoch } else { epoch > earlier.epoch };
            assert!(is_rising, "I3: {publication:?} follows {earlier:?}");
        }
        self.commits.push(Commit { leader, epoch });
    }

    /// Whoever empties the slice ends the term: after that the same pod leads in a new one.
    fn end(&mut self, epoch: Option<Epoch>) {
        if let Some(epoch) = epoch
            && self.last_of(Some(epoch)).is_some_and(|last| last.leader.is_some())
        {
            self.commits.push(Commit { leader: None, epoch });
        }
    }

    fn store(&mut self, stored: Option<Stored>, by: Author) {
        self.slice.clone_from(&stored);
        self.revisions.push(Revision { stored, by });
    }

    /// A write by somebody outside this history; `legal`: it keeps the rules.
    pub(crate) fn overwrite(&mut self, legal: bool, change: impl FnOnce(&mut Publication)) {
        let Some(mut stored) = self.slice.clone() else { return };
        let epoch = stored.publication.epoch;
        change(&mut stored.publication);
        stored.publication.version = self.next_version();
        let by = if legal { Author::Other } else { Author::Foreign };
        if stored.publication.epoch != epoch {
            stored.term_by = by;
        }
        if legal {
            self.commit(&stored.publication);
        } else if stored.publication.leader.is_none() {
            self.end(stored.publication.epoch);
        }
        self.store(Some(stored), by);
    }

    pub(crate) fn delete_slice(&mut self) {
        if self.slice.is_some() {
            self.version += 1;
            self.store(None, Author::Foreign);
        }
    }

    pub(crate) fn highest_epoch(&self) -> Epoch {
        self.commits.iter().map(|commit| commit.epoch).max().unwrap_or_default()
    }

    pub(crate) fn last_of(&self, epoch: Option<Epoch>) -> Option<&Commit> {
        self.commits.iter().rfind(|commit| Some(commit.epoch) == epoch)
    }

    /// Whether the slice records a pair of leader and epoch that was published by the rules, and is the last of
    /// that epoch.
    pub(crate) fn is_true(&self, publication: &Publication) -> bool {
        self.last_of(publication.epoch)
            .is_some_and(|commit| commit.leader == publication.leader.as_ref().map(uid))
    }
}

pub(crate) const fn shown_endpoint(shown: Shown) -> Option<Endpoint> {
    match shown {
        Shown::Ready(endpoint) | Shown::Terminating(endpoint) => Some(endpoint),
        Shown::Nobody | Shown::Foreign => None,
    }
}
