//! The four states, and what each knows.

use serde::{Deserialize, Serialize};

use crate::{Cause, Epoch, Pod, Timestamp};

/// A state of the election. An illegal combination cannot be written: what a state does not hold does not
/// exist in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum State {
    /// Nobody leads. Also the initial state, which wants nothing until `Synced`.
    Leaderless {
        /// Since when.
        since: Timestamp,
    },
    /// A successor is chosen; its publication is not acknowledged yet.
    Reelecting {
        /// The successor.
        candidate: Pod,
        /// Its term.
        epoch: Epoch,
        /// Who led before and may still be published.
        incumbent: Option<Pod>,
        /// Why leadership changes.
        cause: Cause,
        /// Since when.
        since: Timestamp,
    },
    /// The API server acknowledged this leader.
    Elected {
        /// The leader.
        leader: Pod,
        /// Its term.
        epoch: Epoch,
        /// Since when.
        since: Timestamp,
    },
    /// The leader is on its way out and is still the published endpoint.
    Draining {
        /// The leader.
        leader: Pod,
        /// Its term.
        epoch: Epoch,
        /// What drives it out.
        cause: Cause,
        /// Since when.
        since: Timestamp,
        /// NotReady: until when that is tolerated. None: it terminates, and nobody can follow yet.
        until: Option<Timestamp>,
    },
}

/// The state's name as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The API server acknowledged a leader.
    Elected,
    /// The leader is on its way out.
    Draining,
    /// Nobody leads.
    Leaderless,
    /// A successor is chosen.
    Reelecting,
}

impl Phase {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 4] = [Self::Elected, Self::Draining, Self::Leaderless, Self::Reelecting];

    /// The name as shown to users.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Elected => "Elected",
            Self::Draining => "Draining",
            Self::Leaderless => "Leaderless",
            Self::Reelecting => "Reelecting",
        }
    }
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Leaderless { .. } => Phase::Leaderless,
            Self::Reelecting { .. } => Phase::Reelecting,
            Self::Elected { .. } => Phase::Elected,
            Self::Draining { .. } => Phase::Draining,
        }
    }

    /// When it was entered.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        match self {
            Self::Leaderless { since }
            | Self::Reelecting { since, .. }
            | Self::Elected { since, .. }
            | Self::Draining { since, .. } => *since,
        }
    }

    /// The leader or the candidate.
    #[must_use]
    pub const fn pod(&self) -> Option<&Pod> {
        match self {
            Self::Leaderless { .. } => None,
            Self::Reelecting { candidate, .. } => Some(candidate),
            Self::Elected { leader, .. } | Self::Draining { leader, .. } => Some(leader),
        }
    }

    /// The term of the leader or the candidate.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Leaderless { .. } => None,
            Self::Reelecting { epoch, .. } | Self::Elected { epoch, .. } | Self::Draining { epoch, .. } => {
                Some(*epoch)
            }
        }
    }
}
