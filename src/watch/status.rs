//! What is known about a watch at this moment, for health and metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// State of one watch, shared between the watch and whoever looks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WatchStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: watch::Sender<WatchState>,
    created: Instant,
    /// Milliseconds since `created`.
    active: AtomicU64,
    reconnects: AtomicU64,
    relists: AtomicU64,
    malformed: AtomicU64,
}

/// A watch at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchState {
    /// What it is doing.
    pub phase: Phase,
    /// Since when it has been live; in every other phase, since when it has not been.
    pub since: Instant,
    /// Whether it has ever listed completely.
    pub listed: bool,
}

/// What a watch is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing yet.
    Waiting,
    /// Listing, for the first time or again.
    Listing,
    /// Listed, and waiting for the watch that goes on from there.
    Opening,
    /// The server sends events as they happen.
    Live,
    /// Between two tries, for this reason.
    Disconnected(String),
}

impl WatchStatus {
    /// The status of a watch that has not begun, under the name that health and metrics show.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let state = WatchState { phase: Phase::Waiting, since: Instant::now(), listed: false };
        let shared = Shared {
            name: name.into(),
            state: watch::Sender::new(state),
            created: Instant::now(),
            active: AtomicU64::default(),
            reconnects: AtomicU64::default(),
            relists: AtomicU64::default(),
            malformed: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The name given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.shared.state.borrow().clone()
    }

    /// Whether events arrive as they happen.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.shared.state.borrow().phase == Phase::Live
    }

    /// Whether it has ever listed completely.
    #[must_use]
    pub fn has_listed(&self) -> bool {
        self.shared.state.borrow().listed
    }

    /// How long it has not been live; zero while it is.
    #[must_use]
    pub fn down_for(&self) -> Duration {
        let state = self.shared.state.borrow();
        if state.phase == Phase::Live { Duration::ZERO } else { state.since.elapsed() }
    }

    /// Notifies of every change of the state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<WatchState> {
        self.shared.state.subscribe()
    }

    /// Time since the server last sent something; bookmarks come about once a minute.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        let now = self.shared.created.elapsed();
        now.saturating_sub(Duration::from_millis(self.shared.active.load(Relaxed)))
    }

    /// How often the watch was resumed, with success.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.shared.reconnects.load(Relaxed)
    }

    /// How often it listed completely after the first time.
    #[must_use]
    pub fn relists(&self) -> u64 {
        self.shared.relists.load(Relaxed)
    }

    /// How often an object could not be read.
    #[must_use]
    pub fn malformed_objects(&self) -> u64 {
        self.shared.malformed.load(Relaxed)
    }

    /// A list is wanted. After a disconnection the reason stays visible until an answer comes.
    pub(crate) fn begin(&self) {
        if !matches!(self.state().phase, Phase::Disconnected(_)) {
            self.listing();
        }
    }

    pub(crate) fn listing(&self) {
        self.down(Phase::Listing);
    }

    pub(crate) fn listed(&self) {
        if self.has_listed() {
            self.shared.relists.fetch_add(1, Relaxed);
        }
        self.down(Phase::Opening);
        self.shared.state.send_modify(|state| state.listed = true);
    }

    pub(crate) fn live(&self, again: bool) {
        self.active();
        self.shared.reconnects.fetch_add(u64::from(again), Relaxed);
        self.shared.state.send_modify(|state| (state.phase, state.since) = (Phase::Live, Instant::now()));
    }

    pub(crate) fn disconnected(&self, reason: &str) {
        self.down(Phase::Disconnected(reason.into()));
    }

    pub(crate) fn active(&self) {
        let now = self.shared.created.elapsed().as_millis();
        self.shared.active.store(u64::try_from(now).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn malformed(&self) {
        self.shared.malformed.fetch_add(1, Relaxed);
    }

    fn down(&self, phase: Phase) {
        self.shared.state.send_modify(|state| {
            if state.phase == Phase::Live {
                state.since = Instant::now();
            }
            state.phase = phase;
        });
    }
}

#[cfg(test)]
mod tests;
