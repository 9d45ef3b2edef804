//! Back-offs of what follows the election: nobody's traffic waits for it.

use machine::{Micros, Timestamp};

const FIRST: Micros = Micros::from_millis(100);
const MOST: Micros = Micros::from_secs(30);

/// A back-off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    until: Option<Timestamp>,
    pause: Micros,
}

impl Pace {
    /// Once more, and so longer.
    pub(super) fn fail(&mut self, at: Timestamp) {
        self.pause = self.pause.doubled(MOST).max(FIRST);
        self.wait(at.plus(self.pause), at);
    }

    /// Not before then, whatever else is waited for.
    pub(super) fn wait(&mut self, until: Timestamp, at: Timestamp) {
        if until > at {
            self.until = self.until.max(Some(until));
        }
    }

    /// Never again: a dry run pretends once.
    pub(super) fn rest(&mut self) {
        self.until = Some(Timestamp(u64::MAX));
    }

    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| until <= at)
    }

    /// When it is over, if it goes on and ever will be.
    pub(super) fn end(&self) -> Option<Timestamp> {
        self.until.filter(|until| *until < Timestamp(u64::MAX))
    }

    /// One that is over has done its work: only another failure starts the next.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.until.take_if(|until| *until <= at);
    }

    /// The API server is back: there is nothing to wait for.
    pub(super) fn hurry(&mut self) {
        if self.end().is_some() {
            *self = Self::default();
        }
    }

    /// Whether more than one try in a row has failed.
    pub(super) fn is_repeated(&self) -> bool {
        self.pause > FIRST
    }
}
