//! One node, and how old its Lease is.

use std::sync::Arc;
use std::time::Duration;

use machine::{Site, Version};
use tokio::time::Instant;

use crate::rows::Ground;

/// What a kubelet says if nobody has configured it.
const LEASE_SECONDS: u32 = 40;

/// A kubelet renews its Lease so often while it lasts.
const RENEWALS: u32 = 4;

/// One node.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(super) struct Node {
    /// There is such a Node.
    pub(super) exists: bool,
    /// Somebody has declared it out of service.
    pub(super) is_out: bool,
    /// The zone that it says it is in.
    pub(super) zone: Option<Arc<str>>,
    /// What is said of it.
    pub(super) site: Site,
    pub(super) lease: Option<Lease>,
    /// It is taken for lost, since its Lease did not change.
    pub(super) is_silent: bool,
    /// What the driver knows of it.
    pub(super) told: Ground,
    /// Since when there is neither Node nor Lease.
    pub(super) gone: Option<Instant>,
}

/// The Lease of a node.
pub(super) struct Lease {
    pub(super) version: Version,
    /// How often it is renewed.
    pub(super) period: Duration,
    /// When it changed last, later by the time in which we could not hear.
    pub(super) changed: Instant,
}

impl Lease {
    /// One that has just changed. `seconds`: how long it lasts.
    pub(super) fn new(version: Version, seconds: u32, changed: Instant) -> Self {
        Self { version, period: period(seconds), changed }
    }

    /// At which age its node is lost.
    fn timeout(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or_default().max(least(self.period))
    }

    /// Whether it is so old that its node is lost.
    pub(super) fn is_silent(&self, asked: Option<Duration>, now: Instant) -> bool {
        now.saturating_duration_since(self.changed) >= self.timeout(asked)
    }

    /// Whether it is as old as one that went silent together with one that is silent by now.
    pub(super) fn is_overdue(&self, asked: Option<Duration>, now: Instant) -> bool {
        now.saturating_duration_since(self.changed) + self.period >= self.timeout(asked)
    }
}

/// How often a Lease that lasts so many seconds is renewed.
pub(super) fn period(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()) / RENEWALS
}

/// How long a Lease lasts that says so.
pub(super) fn seconds(said: Option<i32>) -> u32 {
    said.and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .unwrap_or(LEASE_SECONDS)
}

/// The shortest time after which a node is taken for lost: two and a half renewals.
pub(super) fn least(period: Duration) -> Duration {
    period * 5 / 2
}

impl Node {
    /// What its pods stand on.
    pub(super) fn ground(&self) -> Ground {
        Ground { is_lost: self.is_out || self.is_silent, zone: self.zone.clone(), site: self.site }
    }

    /// Whether its silence says anything about the others.
    pub(super) fn counts(&self) -> Option<&Lease> {
        self.lease.as_ref().filter(|_| self.exists && !self.is_out)
    }
}
