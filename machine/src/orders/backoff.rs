//! Pauses between tries.

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};

/// The first pause after a failure, and the longest: a failed write of the API server's is often the only one.
pub(crate) const RETRY_FIRST: Micros = Micros::from_millis(20);
const RETRY_MOST: Micros = Micros::from_secs(1);

/// A pause that doubles with each failure. The controller adds jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Backoff {
    until: Timestamp,
    pause: Micros,
}

impl Backoff {
    pub(crate) fn fail(&mut self, at: Timestamp) {
        self.pause = self.pause.doubled(RETRY_MOST).max(RETRY_FIRST);
        self.until = at.plus(self.pause);
    }

    pub(crate) const fn hold_until(&mut self, when: Timestamp) {
        self.until = when;
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn until(&self) -> Timestamp {
        self.until
    }

    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        self.until <= at
    }
}
