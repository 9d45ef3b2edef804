//! The second family's slice: a function of the acknowledged authority. Its failures change no state.

use machine::{Version, Wanted};

use super::obstacle::ForeignSlice;
use super::pace::Pace;
use super::{Errand, Managed, Outcome, Surroundings};
use crate::apply::{Reply, Request};
use crate::failure::{Failure, Kind};
use crate::kinds::{SliceLite, version};
use crate::notice::Notice;
use crate::service::Claim;
use crate::slice::{self, Draft, Observed};

/// The second family's slice.
#[derive(Default)]
pub(super) struct Second {
    pub(super) observed: Option<Box<Observed>>,
    /// The highest version in which it was known: what a watch that is behind shows is no news.
    pub(super) past: Version,
    /// A foreign slice has its name: nothing is written until that is gone.
    pub(super) foreign: Option<ForeignSlice>,
    pub(super) open: bool,
    pub(super) pace: Pace,
}

impl Managed {
    pub(super) fn tend_second(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        let Some(family) = self.view.source.second_family() else {
            self.second = Second::default();
            return;
        };
        if self.second.open || !self.second.pace.is_over(cx.at) {
            return;
        }
        if let Some(foreign) = &mut self.second.foreign {
            if foreign.is_due(cx.at) {
                self.second.open = true;
                let name = slice::name(&self.place(cx.identity), family);
                out.errands.push((Errand::FindSecond, Request::ReadSlice(name)));
            }
            return;
        }
        if !self.is_synced {
            return;
        }
        let second = &self.second;
        // The authority first: the second slice is a function of what was acknowledged.
        let Some(authority) = self.election.published().filter(|authority| authority.intact) else { return };
        let leader = authority.leader.as_ref().and_then(|leader| cx.row(leader));
        let Some(wanted) = slice::second_family(authority, leader, &self.view, family) else { return };
        let nobody = Wanted { leader: None, epoch: None, shown: machine::Shown::Nobody, handled: None };
        let (wanted, based_on) = match &second.observed {
            // Empty first: a creation that arrives late can then never publish anybody.
            None => (nobody, None),
            Some(observed) if observed.publication.says(&wanted) => return,
            Some(observed) => (wanted, Some((observed.publication.version, &observed.extras))),
        };
        let term_by = self.authority.as_ref().and_then(|observed| observed.term_by.as_deref());
        let draft = Draft {
            place: self.place(cx.identity),
            family,
            wanted: &wanted,
            row: leader,
            based_on,
            term_by: term_by.unwrap_or(&cx.identity.replica),
            triggered: self.triggered,
        };
        let Some(slice) = draft.slice().map(Box::new) else { return };
        let creates = based_on.is_none();
        self.second.open = true;
        let request = if creates { Request::CreateSlice(slice) } else { Request::ReplaceSlice(slice) };
        out.errands.push((Errand::Second, request));
    }

    pub(super) fn second_seen(
        &mut self,
        seen: &SliceLite,
        claim: &Claim,
        observed: Observed,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        if self.second.past > observed.publication.version {
            return;
        }
        self.second.past = observed.publication.version;
        if !matches!(claim, Claim::Foreign(_)) {
            self.count_beside(observed.publication.epoch);
        }
        let former = self.second.foreign.take();
        match claim {
            Claim::Ours | Claim::Adoptable => self.second.observed = Some(Box::new(observed)),
            Claim::Stale(_) => {
                self.second.observed = None;
                if !self.second.open && !self.is_leaving {
                    self.second.open = true;
                    out.errands.push((Errand::ReplaceSecond, self.delete_stale(&seen.metadata, false)));
                }
            }
            Claim::Foreign(why) => {
                self.second.observed = None;
                let found = ForeignSlice::new(seen, why, cx.at);
                // Told once, not at every look.
                if former.is_none_or(|former| former.words != found.words) {
                    out.notices.push(Notice::conflict(&found.words));
                }
                self.second.foreign = Some(found);
            }
        }
    }

    pub(super) fn second_written(
        &mut self,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.second.open = false;
        match result {
            Ok(Reply::Slice(slice)) => {
                self.second.pace = Pace::default();
                self.slice_seen(&slice, cx, out);
            }
            Ok(_) => self.second.pace.rest(),
            Err(failure) => {
                self.second.pace.fail(cx.at);
                // After a restore it may be older than we know by our own writes, and no watch tells: what is read is true.
                if failure.kind == Kind::Conflict
                    && let Some(known) = self.second.observed.as_deref_mut()
                {
                    known.publication.version = super::DISTRUSTED;
                }
                if failure.kind == Kind::NotFound {
                    self.second.observed = None;
                }
                if let Some(name) = self.slice_names(cx.identity).into_iter().nth(1) {
                    self.second.open = true;
                    out.errands.push((Errand::FindSecond, Request::ReadSlice(name)));
                }
            }
        }
    }

    /// The answer to a read of the second slice.
    pub(super) fn second_found(
        &mut self,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.second.open = false;
        match result {
            Ok(Reply::Slice(slice)) => {
                // A read is consistent, also after a restore.
                self.second.past = self.second.past.min(version(&slice.metadata));
                self.slice_seen(&slice, cx, out);
            }
            Err(failure) if failure.kind == Kind::NotFound && self.second.foreign.take().is_some() => {}
            Ok(_) | Err(_) => self.second.pace.fail(cx.at),
        }
    }

    /// The answer to the deletion of a second slice that has to be made anew.
    pub(super) fn second_replaced(&mut self, is_gone: bool, cx: &Surroundings<'_>) {
        self.second.open = false;
        if !is_gone {
            self.second.pace.fail(cx.at);
        }
    }
}
