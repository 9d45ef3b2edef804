//! The one clock: the wall clock at process start plus the monotonic time since, so that it never goes back.

use std::time::{Duration, SystemTime};

use machine::Timestamp;
use tokio::time::Instant;

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    wall: Duration,
    tell: fn() -> SystemTime,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self::by(SystemTime::now)
    }

    /// The same by another wall clock than the system's: in a simulation time passes as that says.
    #[must_use]
    pub fn by(tell: fn() -> SystemTime) -> Self {
        Self { started: Instant::now(), wall: since_epoch(tell()), tell }
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
        let wall = i64::try_from(since_epoch((self.tell)()).as_micros()).unwrap_or(i64::MAX);
        wall.saturating_sub_unsigned(self.now().0)
    }

    /// When `at` will be; at once if it is over.
    #[must_use]
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let since_start = Duration::from_micros(at.0).saturating_sub(self.wall);
        self.started + since_start
    }
}

fn since_epoch(wall: SystemTime) -> Duration {
    wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
