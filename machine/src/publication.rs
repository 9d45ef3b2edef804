//! What a leader slice says, and what it should say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Pod, Version};

/// Counts the terms of leadership of one source Service; the fencing token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The endpoints of a leader slice, as far as they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The slice is empty.
    Nobody,
    /// One endpoint, ready and serving.
    Ready(Endpoint),
    /// One endpoint, not ready but serving and terminating: kube-proxy uses it if nothing is ready.
    Terminating(Endpoint),
    /// Anything else: several endpoints, one that contradicts the recorded leader, conditions we never write.
    Foreign,
}

/// What the authority slice says, as the API server last told us.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Publication {
    /// The slice's version.
    pub version: Version,
    /// The leader it records.
    pub leader: Option<Pod>,
    /// The epoch it records.
    pub epoch: Option<Epoch>,
    /// Its endpoints.
    pub shown: Shown,
    /// The switchover request that it records as handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Arc<str>>,
    /// Labels, owner, family and the rest of what we write are as they should be.
    pub intact: bool,
    /// The term was written by this replica.
    #[serde(default)]
    pub ours: bool,
    /// It is another object than the slice known before, of whose end no watch has told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}

/// What the machine wants the authority slice to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The leader to record.
    pub leader: Option<Pod>,
    /// The epoch to record; an empty slice keeps the last one.
    pub epoch: Option<Epoch>,
    /// The endpoints.
    pub shown: Shown,
    /// The switchover request to record as handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Arc<str>>,
}

impl Publication {
    /// Whether this says exactly what is wanted.
    #[must_use]
    pub fn says(&self, wanted: &Wanted) -> bool {
        self.intact
            && self.leader == wanted.leader
            && self.epoch == wanted.epoch
            && self.shown == wanted.shown
            && self.handled == wanted.handled
    }
}

impl Wanted {
    /// What the API server holds once it has acknowledged this.
    #[must_use]
    pub fn acknowledged(self, version: Version) -> Publication {
        let Self { leader, epoch, shown, handled } = self;
        Publication { version, leader, epoch, shown, handled, intact: true, ours: true, anew: false }
    }
}
