//! The one clock: the wall clock at process start plus the monotonic time since, so that it never goes back.

use std::time::{Duration, SystemTime};

use machine::Timestamp;
use tokio::time::Instant;

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    wall: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), wall }
    }

    /// The time now.
    #[must_use]
    pub(crate) fn now(&self) -> Timestamp {
        self.timestamp(Instant::now())
    }

    /// The moment at which something happened since this clock was started.
    #[must_use]
    pub(crate) fn timestamp(&self, at: Instant) -> Timestamp {
        let since_epoch = self.wall + at.saturating_duration_since(self.started);
        Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// By how many microseconds the wall clock is ahead by now, because somebody has set it.
    #[must_use]
    pub(crate) fn wall_ahead(&self) -> i64 {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
        wall.saturating_sub_unsigned(self.now().0)
    }

    /// When `at` will be; at once if it is over.
    #[must_use]
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let since_start = Duration::from_micros(at.0).saturating_sub(self.wall);
        self.started + since_start
    }
}
