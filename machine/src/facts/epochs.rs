//! Which epochs are taken, and which comes next.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Publication, Timestamp};

/// No epoch may lie further ahead of the clock than this: ten years. Epochs start at the Unix time in seconds,
/// so one beyond it was not made by us.
const HORIZON_SECS: u64 = 10 * 365 * 24 * 3600;

/// What is known of the line of epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Epochs {
    /// The highest that the API server has shown us; zero: there was no term yet.
    known: Epoch,
    /// The highest that an empty slice has shown: its term is over.
    ended: Epoch,
    /// The highest that a write of ours may have used up.
    spent: Epoch,
    /// When the line last broke: the slice is made anew, or what it records contradicts itself.
    broken: Option<Timestamp>,
    /// Somebody edited it, and no term of ours has begun since. One of others' mends it for them, but does not tell us what
    /// came between, nor whether somebody took that back before we looked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_behind: bool,
}

impl Epochs {
    /// The epoch of a new term.
    pub(crate) fn next(&self, at: Timestamp) -> Epoch {
        // Only a log that somebody made up can be at the last one.
        let next = self.known.max(self.spent).0.saturating_add(1);
        Epoch(if self.broken.is_some() || self.is_behind { next.max(at.as_secs()) } else { next })
    }

    /// The highest that the API server has shown us, if there was a term.
    pub(crate) fn known(&self) -> Option<Epoch> {
        (self.known > Epoch(0)).then_some(self.known)
    }

    /// What an empty slice records: the last term, unless terms may have been lost. Without an epoch it tells
    /// whoever reads it after us to begin at the clock, too. Nor has a slice that is made anew one: its creation may arrive
    /// after later terms have come and gone.
    pub(crate) fn kept(&self) -> Option<Epoch> {
        self.known().filter(|_| self.broken.is_none())
    }

    /// Nobody can have reached an epoch this far ahead.
    pub(crate) fn is_plausible(epoch: Epoch, at: Timestamp) -> bool {
        epoch.0 <= at.as_secs() + HORIZON_SECS
    }

    pub(crate) fn see(&mut self, epoch: Option<Epoch>) {
        self.known = self.known.max(epoch.unwrap_or_default());
    }

    /// The slice was seen to be empty.
    pub(crate) fn end(&mut self, epoch: Option<Epoch>) {
        self.ended = self.ended.max(epoch.unwrap_or_default());
    }

    /// A write that begins the term `epoch` is ordered. Answers what had been spent before.
    pub(crate) fn spend(&mut self, epoch: Epoch) -> Epoch {
        let before = self.spent;
        self.spent = self.spent.max(epoch);
        before
    }

    /// The write of `epoch` certainly did not happen, so it is free again.
    pub(crate) fn give_back(&mut self, epoch: Epoch, spent_before: Epoch) {
        if self.spent == epoch {
            self.spent = spent_before;
        }
    }

    /// Whether `epoch` is a term that has not been seen published.
    pub(crate) fn is_new(&self, epoch: Epoch) -> bool {
        epoch > self.known
    }

    /// Whether a write of the new term `epoch` may have happened.
    pub(crate) fn may_be_used(&self, epoch: Epoch) -> bool {
        self.is_new(epoch) && self.spent == epoch
    }

    /// Terms may have come and gone that we never saw: the next one starts at the clock.
    pub(crate) fn breaks(&mut self, at: Timestamp) {
        self.broken = Some(at);
    }

    /// Likewise, because the slice does not say what it ought to.
    pub(crate) fn edited(&mut self, at: Timestamp) {
        self.breaks(at);
        // Before the first term the slice has no epoch.
        self.is_behind |= self.known > Epoch(0);
    }

    /// A term of ours was acknowledged.
    pub(crate) const fn begun(&mut self) {
        self.is_behind = false;
    }

    /// A sound term is published. One below the clock when the line broke may be from before: the watch can be
    /// behind the answer that told us.
    pub(crate) fn mended_by(&mut self, epoch: Epoch) {
        self.broken.take_if(|since| epoch.0 >= since.as_secs());
    }

    /// Whether `epoch` may not be published as `published` stands (nothing: there is no slice), the pair of
    /// leader and epoch being the recorded one or not.
    pub(crate) fn is_stale(&self, epoch: Epoch, published: Option<&Publication>, is_recorded: bool) -> bool {
        if self.is_new(epoch) {
            return self.broken.is_some_and(|since| epoch.0 < since.as_secs());
        }
        published.is_none() || !is_recorded || epoch < self.known || epoch <= self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a log may have it that somebody made up.
    #[test]
    fn no_epoch_comes_after_the_last() {
        let mut epochs = Epochs::default();
        epochs.see(Some(Epoch(u64::MAX)));
        assert_eq!(epochs.next(Timestamp(0)), Epoch(u64::MAX));
    }
}
