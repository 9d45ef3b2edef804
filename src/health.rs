//! `/healthz` and `/readyz`: whether the driver is alive, and whether what it decides from is fresh.
//!
//! Health depends on nothing that the shipped role could forbid: it looks at the watches and at the
//! driver's heartbeat, never at the API server. `/healthz` (and `/livez`) fails when the driver is
//! stuck, which a restart may cure; a lost API server is no reason to restart, so it only fails
//! `/readyz`.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::ready;
use http::StatusCode;
use tokio::time::Instant;

use crate::{
    serve::{Answer, Routes, text},
    watch::{Phase, WatchState, WatchStatus},
};

/// A driver that has not beaten for this long is stuck: it beats every second and never waits for
/// the network. Some of it is for a starved node.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(5);

/// A watch may be away for this long before the controller counts as not ready: the server ends
/// every watch once in five minutes, and resuming takes a few milliseconds. A server that stopped is noticed
/// after 4 s, and should show here within 5.
const WATCH_GRACE: Duration = Duration::from_millis(500);

/// What health is made of. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    created: Instant,
    /// Milliseconds since `created`.
    beat: AtomicU64,
    synced: AtomicBool,
    watches: Mutex<Vec<WatchStatus>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A health without watches. Its making counts as the driver's first beat.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            created: Instant::now(),
            beat: AtomicU64::default(),
            synced: AtomicBool::default(),
            watches: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The driver is alive. To be called at least once a second.
    pub fn driver_beat(&self) {
        let now = u64::try_from(self.shared.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.beat.store(now, Relaxed);
    }

    /// Whether the driver has taken in the first lists of all its watches.
    pub fn set_synced(&self, synced: bool) {
        self.shared.synced.store(synced, Relaxed);
    }

    /// The status for a further watch, under a name like `pods` or `shop/pods`.
    #[must_use]
    pub fn watch(&self, name: impl Into<String>) -> WatchStatus {
        let status = WatchStatus::new(name);
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner).push(status.clone());
        status
    }

    /// All watches, in the order in which they were made, for metrics.
    #[must_use]
    pub fn watches(&self) -> Vec<WatchStatus> {
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time since the driver's last beat.
    #[must_use]
    pub fn driver_idle_for(&self) -> Duration {
        let beat = Duration::from_millis(self.shared.beat.load(Relaxed));
        self.shared.created.elapsed().saturating_sub(beat)
    }

    /// Whether the process is worth keeping.
    #[must_use]
    pub fn live(&self) -> Report {
        Report { checks: vec![self.driver()] }
    }

    /// Whether decisions rest on fresh facts.
    #[must_use]
    pub fn ready(&self) -> Report {
        let mut checks = vec![self.driver(), self.synced()];
        checks.extend(self.watches().iter().map(Check::of_watch));
        Report { checks }
    }

    /// Whether all that [`Self::ready`] reports has passed, without the words: for those who ask a thousand times in a
    /// row.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        is_alive(self.driver_idle_for()) && self.is_synced() && watches.iter().all(is_fresh)
    }

    fn is_synced(&self) -> bool {
        self.shared.synced.load(Relaxed)
    }

    fn driver(&self) -> Check {
        let idle = self.driver_idle_for();
        Check { passed: is_alive(idle), text: format!("driver: last heartbeat {} ago", Seconds(idle)) }
    }

    fn synced(&self) -> Check {
        let passed = self.is_synced();
        let text = if passed { "first lists taken in" } else { "still taking in the first lists" };
        Check { passed, text: format!("sync: {text}") }
    }
}

/// Whether a driver is that has last beaten so long ago.
fn is_alive(idle: Duration) -> bool {
    idle < DRIVER_TIMEOUT
}

fn is_fresh(watch: &WatchStatus) -> bool {
    watch.has_listed() && watch.down_for() <= WATCH_GRACE
}

/// Checks and whether they passed; shows as the body of an answer, one line a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

/// One check of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whether all is well.
    pub passed: bool,
    /// What was checked and what was found.
    pub text: String,
}

impl Report {
    /// Whether all checks passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    fn answer(&self) -> Answer {
        let status = if self.passed() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, self.to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { passed, text } in &self.checks {
            writeln!(f, "[{}]{text}", if *passed { '+' } else { '-' })?;
        }
        Ok(())
    }
}

impl Check {
    fn of_watch(watch: &WatchStatus) -> Self {
        let WatchState { phase, since, .. } = watch.state();
        let time = Seconds(since.elapsed());
        let mut text = format!("watch {}: ", watch.name());
        // Writing to a string cannot fail.
        let _ = match &phase {
            Phase::Waiting => write!(text, "not begun for {time}"),
            Phase::Listing => write!(text, "listing for {time}"),
            Phase::Opening => write!(text, "listed, opening, not live for {time}"),
            Phase::Live => write!(text, "live for {time}, last activity {} ago", Seconds(watch.idle_for())),
            Phase::Disconnected(reason) => write!(text, "disconnected for {time}: {reason}"),
        };
        let _ = match (watch.reconnects(), watch.relists()) {
            (0, 0) => Ok(()),
            (reconnects, relists) => write!(text, " ({reconnects} reconnects, {relists} relists)"),
        };
        Self { passed: is_fresh(watch), text }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

impl Routes {
    /// `/healthz`, `/livez` and `/readyz`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        let (live, alive, ready_) = (health.clone(), health.clone(), health.clone());
        self.with("/healthz", move |_| ready(live.live().answer()))
            .with("/livez", move |_| ready(alive.live().answer()))
            .with("/readyz", move |_| ready(ready_.ready().answer()))
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::time::advance;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(100);

    async fn get(routes: &Routes, path: &str) -> (u16, String) {
        let request = Request::get(path).body(()).unwrap();
        let (head, body) = routes.answer(request.into_parts().0).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    /// Said with words and without.
    fn is_ready(health: &Health) -> bool {
        assert_eq!(health.is_ready(), health.ready().passed());
        health.is_ready()
    }

    /// A health with two watches that are live and listed, and a driver that has taken them in.
    fn healthy() -> (Health, Routes, [WatchStatus; 2]) {
        let health = Health::new();
        let watches = [health.watch("pods"), health.watch("services")];
        for watch in &watches {
            watch.listing();
            watch.listed();
            watch.live(false);
        }
        health.set_synced(true);
        let routes = Routes::new().with_health(&health);
        (health, routes, watches)
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_watches_are_live_and_the_driver_beats() {
        let (health, routes, _) = healthy();
        advance(Duration::from_mins(1)).await;
        health.driver_beat();
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(
            text,
            "[+]driver: last heartbeat 0.0 s ago\n\
             [+]sync: first lists taken in\n\
             [+]watch pods: live for 60.0 s, last activity 60.0 s ago\n\
             [+]watch services: live for 60.0 s, last activity 60.0 s ago\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_down_for_more_than_half_a_second_is_not_ready_and_says_why() {
        let (health, routes, [pods, _]) = healthy();
        pods.disconnected("the server ended the watch");
        advance(WATCH_GRACE / 2).await;
        pods.disconnected("connection timed out");
        advance(WATCH_GRACE / 2).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200, "half a second of grace: {text}");
        assert!(text.contains("[+]watch pods: disconnected for 0.5 s: connection timed out\n"), "{text}");
        advance(MOMENT).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.contains("[-]watch pods: disconnected for 0.6 s: connection timed out\n"), "{text}");
        assert!(!is_ready(&health));
        assert!(text.contains("[+]watch services: live"), "{text}");
        health.driver_beat();
        assert_eq!(get(&routes, "/healthz").await.0, 200, "no reason for a restart");

        pods.live(true);
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200);
        assert!(text.contains("(1 reconnects, 0 relists)"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_takes_long_is_not_ready() {
        let (_health, routes, [pods, _]) = healthy();
        pods.listing();
        advance(WATCH_GRACE + MOMENT).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.contains("[-]watch pods: listing for 0.6 s"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn not_ready_before_everything_was_listed_and_taken_in() {
        let health = Health::new();
        let pods = health.watch("pods");
        assert!(!is_ready(&health));
        pods.live(false);
        health.set_synced(true);
        assert!(!is_ready(&health), "never listed");
        pods.listed();
        assert!(is_ready(&health));
        health.set_synced(false);
        assert!(!is_ready(&health));
        let text = health.ready().to_string();
        assert!(text.contains("[-]sync: still taking in the first lists"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_driver_is_neither_alive_nor_ready() {
        let (health, routes, _) = healthy();
        advance(DRIVER_TIMEOUT).await;
        for path in ["/healthz", "/livez", "/readyz"] {
            let (status, text) = get(&routes, path).await;
            assert_eq!(status, 503, "{path}");
            assert!(text.contains("[-]driver: last heartbeat 5.0 s ago"), "{text}");
        }
        assert!(!is_ready(&health));
        health.driver_beat();
        assert_eq!(get(&routes, "/livez").await.0, 200);
        advance(DRIVER_TIMEOUT.saturating_sub(MOMENT)).await;
        assert_eq!(get(&routes, "/healthz").await.0, 200);
    }
}
