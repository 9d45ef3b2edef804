//! Foreign objects where ours belong.

use std::sync::Arc;

use machine::{Event, Micros, Obstruction, Timestamp};

use super::{Errand, Managed, Outcome, Surroundings};
use crate::apply::{Reply, Request};
use crate::failure::{Failure, Kind};
use crate::kinds::{SliceLite, version};
use crate::slice;

/// A foreign slice without our label is not on our watch: whether it is gone is asked this often.
const BLOCKED_RECHECK: Micros = Micros::from_secs(10);

/// A slice of somebody else's where one of ours belongs.
pub(super) struct ForeignSlice {
    /// Which, and why it is not ours.
    pub(super) words: Arc<str>,
    /// When to look whether it still stands there.
    pub(super) recheck: Timestamp,
}

impl ForeignSlice {
    pub(super) fn new(slice: &SliceLite, why: &str, at: Timestamp) -> Self {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let words = format!("EndpointSlice {name}: {why}").into();
        Self { words, recheck: at.plus(BLOCKED_RECHECK) }
    }

    /// Whether to look now; then not again for a while.
    pub(super) fn is_due(&mut self, at: Timestamp) -> bool {
        let is_due = self.recheck <= at;
        if is_due {
            self.recheck = at.plus(BLOCKED_RECHECK);
        }
        is_due
    }
}

impl Managed {
    /// What stands in our place, if anything does. A foreign Service weighs more than a foreign slice: slices of
    /// ours must not stay beside it.
    pub(super) fn obstruction(&self) -> Option<Event> {
        let service = self.service.obstruction.clone().map(Obstruction::Service);
        let slice = self.foreign.as_ref().map(|foreign| Obstruction::Slice(foreign.words.clone()));
        service.or(slice).map(|by| Event::Blocked { by })
    }

    /// Something foreign is there now. An election that has not begun is told when it does.
    pub(super) fn block(&self, out: &mut Outcome) {
        out.events.extend(self.obstruction().filter(|_| self.is_synced));
    }

    /// Something foreign has gone; something else that is may be left.
    pub(super) fn unblock(&self, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.is_synced {
            let free = || Event::Unblocked { standing: self.standing(self.remembered(cx.at), cx.horizon) };
            out.events.push(self.obstruction().unwrap_or_else(free));
        }
    }

    /// Looks from time to time whether a foreign slice still stands in our place.
    pub(super) fn tend_obstacle(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.foreign.as_mut().is_some_and(|foreign| foreign.is_due(cx.at)) {
            let name = slice::name(&self.place(cx.identity), self.first_family());
            out.errands.push((Errand::Recheck, Request::ReadSlice(name)));
        }
    }

    /// The answer to that look.
    pub(super) fn rechecked(
        &mut self,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        match result {
            Ok(Reply::Slice(slice)) => {
                // A read is consistent, also after a restore.
                let read = version(&slice.metadata);
                self.past = self.past.min(read);
                self.authority.take_if(|known| known.publication.version > read);
                self.slice_seen(&slice, cx, out);
            }
            Err(failure) if failure.kind == Kind::NotFound && self.foreign.take().is_some() => {
                self.unblock(cx, out);
            }
            Ok(_) | Err(_) => {}
        }
    }
}
