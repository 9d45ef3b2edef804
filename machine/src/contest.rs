//! Another writer keeps undoing what we write: two that never give way would only load the API server.

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};

/// This many reversals within [`WINDOW`] make a contest.
const REVERSALS: usize = 3;
const WINDOW: Micros = Micros::from_secs(60);
const PAUSE_FIRST: Micros = Micros::from_secs(1);
const PAUSE_MOST: Micros = Micros::from_secs(30);

/// The reversals of late, and how long we wait because of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Contest {
    /// The latest reversals, the oldest first; only those within the window count.
    recent: Vec<Timestamp>,
    /// Zero: not contested.
    pause: Micros,
    until: Timestamp,
}

impl Contest {
    /// Another writer undid what we had written. Answers whether that makes a contest of it.
    pub fn reversed(&mut self, at: Timestamp) -> bool {
        if self.is_over(at) {
            *self = Self::default();
        }
        self.recent.retain(|reversal| at.since(*reversal) < WINDOW);
        self.recent.push(at);
        let is_contested = self.pause > Micros::ZERO;
        if is_contested {
            self.recent.remove(0);
            self.pause = self.pause.doubled(PAUSE_MOST);
        } else if self.recent.len() >= REVERSALS {
            self.pause = PAUSE_FIRST;
        } else {
            return false;
        }
        self.until = at.plus(self.pause);
        !is_contested
    }

    /// A quiet minute ends it.
    #[must_use]
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.recent.last().is_none_or(|last| at.since(*last) >= WINDOW)
    }

    /// What has to be said now cannot wait: a loss, or an address that is no longer the leader's.
    pub fn hurry(&mut self) {
        self.until = Timestamp(0);
    }

    /// Nothing is to be written again before.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }
}
