//! What goes wrong with a list or a watch, how long it is waited for, and how often it is logged.

use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;

/// Longest wait before the first retry, doubled with every further failure. So short because a
/// failover may be pending: a controller that waits a second to look again has lost a second.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);

/// Longest wait between retries, also when the server asks for more: a few requests a second from
/// a controller are nothing, even for a server that comes up.
pub(super) const LAST_RETRY: Duration = Duration::from_secs(1);

/// A trouble that goes on is logged again after this time.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// The receiver is gone; nobody wants to know.
pub(super) struct Closed;

/// Why a list or a watch ended before its time.
pub(super) enum Trouble {
    Closed,
    /// 410: the server has forgotten the version or the page.
    Expired,
    /// The server's version is below what we have seen, or an object was lost sight of: only a list
    /// can tell.
    Doubt(String),
    /// Anything else, for people, and the wait that the server asks for.
    Failed {
        reason: String,
        retry_after: Option<Duration>,
    },
}

impl From<Closed> for Trouble {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Trouble {
    pub(super) fn failed(reason: String) -> Self {
        Self::Failed { reason, retry_after: None }
    }
}

/// Waits between tries: the first within [`FIRST_RETRY`], then twice as long each, [`LAST_RETRY`] at most.
pub(super) struct Backoff {
    failures: u32,
    dice: Dice,
}

impl Backoff {
    pub(super) const fn new(dice: Dice) -> Self {
        Self { failures: 0, dice }
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) fn next(&mut self) -> Duration {
        // 16 doublings are far beyond the maximum already.
        let most = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
        self.failures += 1;
        // Between half and all of it: replicas that lost the same server do not come back as one.
        most.mul_f64(0.5 + 0.5 * self.dice.share())
    }
}

/// Says a trouble once, and again every [`LOG_EVERY`] while it lasts.
#[derive(Default)]
pub(super) struct TroubleLog {
    said: Option<(Instant, Instant)>,
}

impl TroubleLog {
    pub(super) fn trouble(&mut self, watch: &str, reason: &str) {
        match &mut self.said {
            None => {
                self.said = Some((Instant::now(), Instant::now()));
                tracing::error!(watch, reason, "the watch is down: trying again until it works");
            }
            Some((since, last)) if last.elapsed() >= LOG_EVERY => {
                *last = Instant::now();
                tracing::error!(
                    watch,
                    reason,
                    seconds = since.elapsed().as_secs(),
                    "the watch is still down"
                );
            }
            Some(_) => tracing::debug!(watch, reason, "the watch is down"),
        }
    }

    pub(super) fn over(&mut self, watch: &str, live_since: Instant) {
        if let Some((since, _)) = self.said.take() {
            tracing::info!(
                watch,
                seconds = live_since.duration_since(since).as_secs_f32(),
                "the watch is back"
            );
        }
    }
}
