//! Simulated time: Tokio's paused clock, which goes on at once when nobody has anything to do.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// Where every simulation begins, in seconds since 1970.
const BEGINNING: u64 = 1_800_000_000;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Milliseconds since a simulation began.
pub(crate) type Moment = u64;

/// Lets time begin.
pub(crate) fn begin() {
    BEGUN.set(Some(Instant::now()));
}

fn elapsed() -> Duration {
    BEGUN.get().map(|begun| begun.elapsed()).unwrap_or_default()
}

/// Now.
pub(crate) fn now() -> Moment {
    u64::try_from(elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock of everybody in a simulation.
pub(crate) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING) + elapsed()
}

/// The same in seconds since 1970.
pub(crate) fn unix(at: Moment) -> u64 {
    BEGINNING + at / 1_000
}

/// As Kubernetes writes it: to the second.
pub(crate) fn rfc3339(at: Moment) -> String {
    let seconds = i64::try_from(unix(at)).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
