//! The authority slice: the election's orders as requests, and what is seen of it as facts for the election.

use std::sync::Arc;

use machine::{Event, OrderId, Publication, Version, Wanted};

use super::obstacle::ForeignSlice;
use super::{Errand, Identity, Managed, Outcome, Surroundings};
use crate::annotations::{EPOCH, Invalid};
use crate::apply::{Reply, Request};
use crate::failure::{Failure, Kind};
use crate::kinds::{Family, SliceLite};
use crate::notice::Notice;
use crate::service::{self, Claim, claim_slice};
use crate::slice::{self, Draft, Observed, observe};

impl Managed {
    pub(super) fn publish(
        &mut self,
        id: OrderId,
        wanted: &Wanted,
        based_on: Option<Version>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        let at = cx.at;
        let beside = self.beside.filter(|beside| service::is_plausible(*beside, at));
        if let Some(epoch) = beside.filter(|beside| wanted.epoch.is_some_and(|wanted| wanted < *beside)) {
            return out.events.push(Event::PublishFailed { id, outcome: machine::Outcome::Behind { epoch } });
        }
        self.count(wanted.epoch);
        let known = self.authority.as_ref().filter(|known| Some(known.publication.version) == based_on);
        let is_repair = known.is_some_and(|known| known.publication.epoch == wanted.epoch);
        let term_by = known.and_then(|known| known.term_by.clone()).filter(|_| is_repair);
        let draft = Draft {
            place: self.place(cx.identity),
            family: self.first_family(),
            wanted,
            row: wanted.leader.as_ref().and_then(|leader| cx.row(leader)),
            based_on: known.map(|known| (known.publication.version, &known.extras)),
            term_by: term_by.as_deref().unwrap_or(&cx.identity.replica),
            triggered: self.triggered,
        };
        // Without the slice that the order is based on there is nothing to be safely written. The election is told
        // that it did not happen and waits a little: at once it could only decide the same again.
        let is_sound = based_on.is_some() == known.is_some();
        match draft.slice().filter(|_| is_sound) {
            None => out.events.push(Event::PublishFailed { id, outcome: machine::Outcome::Unreachable }),
            Some(slice) => {
                self.drafted_for = Some(self.view.source.clone());
                self.journal.writes(id);
                let slice = Box::new(slice);
                let creates = based_on.is_none();
                // A term that does not follow the one that the slice shows begins at the clock.
                let shown = known.and_then(|known| known.publication.epoch);
                let follows = shown.is_some_and(|shown| {
                    wanted.epoch.is_some_and(|epoch| epoch.0 <= shown.0.saturating_add(1))
                });
                let request = match wanted.epoch.filter(|_| !follows && wanted.leader.is_some()) {
                    _ if creates => Request::CreateSlice(slice),
                    Some(epoch) => {
                        let leader_service = self.leader_service.to_string();
                        Request::ResumeTerms { slice, epoch, leader_service, at: cx.at }
                    }
                    None => Request::ReplaceSlice(slice),
                };
                out.errands.push((Errand::Publish { id, creates }, request));
            }
        }
    }

    /// The answer to the election's read, which was ordered when the slice was known in the version `known`.
    pub(super) fn read(
        &mut self,
        id: OrderId,
        known: Version,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        match result {
            Ok(Reply::Slice(slice)) => {
                let (claim, observed) = self.look_at(&slice, self.first_family(), cx);
                // A read is consistent: the store was restored to a time before a write of ours that no watch has shown
                // us, so that none will tell us.
                if observed.publication.version < known {
                    self.authority = None;
                }
                self.past = self.past.min(observed.publication.version);
                self.authority_seen(&slice, claim, observed, Some(id), cx, out);
            }
            Err(failure) if failure.kind == Kind::NotFound => {
                self.authority = None;
                out.events.push(Event::ReadDone { id, published: None, horizon: cx.horizon });
            }
            Ok(_) | Err(_) => out.events.push(Event::ReadFailed { id }),
        }
    }

    pub(super) fn published(
        &mut self,
        id: OrderId,
        creates: bool,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        match result {
            Ok(Reply::Slice(slice)) => {
                let place = self.place(cx.identity);
                let observed = observe(&slice, &place, self.first_family(), &cx.identity.replica, cx.at);
                let version = observed.publication.version;
                let published = Some(observed.publication.clone());
                if self.past <= version && self.is_newer(&observed) {
                    self.authority = Some(observed);
                }
                self.past = self.past.max(version);
                out.events.push(Event::Published { id, version });
                // The Service changed while this was on its way: it may ask for other labels by now.
                if self.drafted_for.as_ref().is_none_or(|source| !Arc::ptr_eq(source, &self.view.source)) {
                    out.events.push(Event::PublicationObserved { published, horizon: cx.horizon, by: None });
                }
                self.routes(&slice, out);
            }
            Ok(_) => {
                // A dry run: what was not written has no version either.
                let version = self.authority.as_ref().map_or(Version(0), |known| known.publication.version);
                out.events.push(Event::Published { id, version });
            }
            Err(failure) => {
                if !creates && failure.kind == Kind::NotFound {
                    self.authority = None;
                }
                if let Kind::Behind(epoch) = failure.kind {
                    self.count(Some(epoch));
                }
                out.events.push(Event::PublishFailed { id, outcome: failure.outcome() });
            }
        }
    }

    fn routes(&mut self, slice: &SliceLite, out: &mut Outcome) {
        if self.service.is_new && !slice.endpoints.is_empty() {
            self.service.is_new = false;
            let leader = self.election.state().pod().cloned();
            out.notices.push(Notice::leader_routing_available(&self.leader_service, leader));
        }
    }

    /// A slice of one of our names is now this.
    pub(crate) fn slice_seen(&mut self, seen: &SliceLite, cx: &Surroundings<'_>, out: &mut Outcome) {
        let name = seen.metadata.name.as_deref().unwrap_or_default();
        let place = self.place(cx.identity);
        let families = self.view.source.families.iter();
        let Some(family) = families.copied().find(|family| slice::name(&place, *family) == name) else {
            return;
        };
        let (claim, observed) = self.look_at(seen, family, cx);
        if family == self.first_family() {
            self.authority_seen(seen, claim, observed, None, cx, out);
        } else {
            self.second_seen(seen, &claim, observed, cx, out);
        }
    }

    /// Whose a slice is, and what it says.
    fn look_at(&self, slice: &SliceLite, family: Family, cx: &Surroundings<'_>) -> (Claim, Observed) {
        let place = self.place(cx.identity);
        let claim = claim_slice(slice, &place, family, self.service.uid());
        (claim, observe(slice, &place, family, &cx.identity.replica, cx.at))
    }

    /// `read`: the election's read that this answers.
    fn authority_seen(
        &mut self,
        seen: &SliceLite,
        claim: Claim,
        observed: Observed,
        read: Option<OrderId>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        // What a watch that is behind shows of the one before ours, another's perhaps, is no news; nor is how ours was
        // before somebody else took it.
        if read.is_none() && self.past > observed.publication.version {
            return;
        }
        self.past = self.past.max(observed.publication.version);
        let is_newer = self.is_newer(&observed);
        let is_other = |known: &Observed| known.extras.uid != observed.extras.uid;
        let anew = is_newer && self.authority.as_ref().is_some_and(is_other);
        // Also of one that has to go: with it goes the record of its terms.
        if !matches!(claim, Claim::Foreign(_)) {
            self.count(observed.publication.epoch);
        }
        match claim {
            Claim::Ours | Claim::Adoptable => {
                if is_newer {
                    self.report_epoch(&observed, out);
                    self.authority = Some(observed);
                }
                let Some(known) = &self.authority else { return };
                let published = Some(Publication { anew, ..known.publication.clone() });
                let horizon = cx.horizon;
                if self.foreign.take().is_some() {
                    self.unblock(cx, out);
                } else if let Some(id) = read {
                    out.events.push(Event::ReadDone { id, published, horizon });
                } else if is_newer {
                    let by = known.manager.clone();
                    out.events.push(Event::PublicationObserved { published, horizon, by });
                }
            }
            Claim::Stale(_) => {
                self.authority = None;
                // Whoever leaves replaces nothing: it may be the next one's.
                if self.is_leaving {
                    out.events.extend(read.map(|id| Event::ReadFailed { id }));
                } else {
                    let deletion = self.delete_stale(&seen.metadata, false);
                    out.errands.push((Errand::ReplaceSlice { read }, deletion));
                }
            }
            Claim::Foreign(why) => {
                self.authority = None;
                let found = ForeignSlice::new(seen, &why, cx.at);
                let is_known = self.foreign.as_ref().is_some_and(|foreign| foreign.words == found.words);
                self.foreign = Some(found);
                if !is_known {
                    self.block(out);
                }
                out.events.extend(read.map(|id| Event::ReadFailed { id }));
            }
        }
    }

    /// An epoch that nobody can have reached is not believed, and people should know.
    fn report_epoch(&self, observed: &Observed, out: &mut Outcome) {
        let Some(text) = &observed.invalid_epoch else { return };
        if self.authority.as_ref().is_some_and(|known| known.invalid_epoch == observed.invalid_epoch) {
            return;
        }
        let invalid = Invalid {
            annotation: EPOCH,
            value: text.clone(),
            default: "a new epoch",
            why: "it is no number, or more than ten years ahead",
        };
        out.notices.push(Notice::invalid_configuration(&invalid, None));
    }

    fn is_newer(&self, observed: &Observed) -> bool {
        self.authority.as_ref().is_none_or(|known| {
            known.publication.version < observed.publication.version
                || known.publication.version == observed.publication.version && known != observed
        })
    }

    /// Which of our slices a list of this version would have shown, were they still there. No watch has shown them, if
    /// it ended before it came to our own last writes: then the list is all that ever tells of their end.
    pub(crate) fn slices_due(&self, list: Version, identity: &Identity) -> Vec<String> {
        let known = [self.authority.as_ref(), self.second.observed.as_deref()];
        let is_due = |known: Option<&Observed>| known.is_some_and(|known| known.publication.version <= list);
        let names = self.slice_names(identity).into_iter().zip(known);
        names.filter(|(_, known)| is_due(*known)).map(|(name, _)| name).collect()
    }

    /// As of this version there is no slice of this name, which is one of ours, or it lacks our label.
    pub(crate) fn slice_gone(
        &mut self,
        name: &str,
        as_of: Version,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        let names = self.slice_names(cx.identity);
        if names.first().is_some_and(|first| first == name) {
            if self.past > as_of {
                return;
            }
            self.past = as_of;
            self.authority = None;
            if self.foreign.take().is_some() {
                self.unblock(cx, out);
            } else {
                out.events.push(Event::PublicationObserved {
                    published: None,
                    horizon: cx.horizon,
                    by: None,
                });
            }
        } else if names.get(1).is_some_and(|second| second == name) && self.second.past <= as_of {
            self.second.past = as_of;
            self.second.foreign = None;
            self.second.observed = None;
        }
    }
}

/// The answer to the deletion of an authority slice that has to be made anew. `read`: the election's read that waits
/// for it.
pub(super) fn replaced(read: Option<OrderId>, is_gone: bool, cx: &Surroundings<'_>, out: &mut Outcome) {
    let (published, horizon) = (None, cx.horizon);
    out.events.extend(match (is_gone, read) {
        (true, Some(id)) => Some(Event::ReadDone { id, published, horizon }),
        (true, None) => Some(Event::PublicationObserved { published, horizon, by: None }),
        (false, read) => read.map(|id| Event::ReadFailed { id }),
    });
}
