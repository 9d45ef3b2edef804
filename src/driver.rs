//! The one task that decides. It takes facts from the watches and answers from the API server, in the order in
//! which they arrive, steps the elections that they concern and hands their orders to the lanes; it never waits
//! for the network.

mod answers;
mod failures;
mod feed;
mod gate;
mod held;
mod leftovers;
mod lists;
mod measures;
mod nodes;
mod pods;
mod report;
mod services;
mod slices;
mod steps;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::{Micros, Timestamp, Version};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

pub(crate) use self::answers::Purpose;
use self::failures::Failures;
pub(crate) use self::feed::{Feed, PODS, SERVICES, SLICES, Scope};
use self::held::Held;
use self::leftovers::Unswept;
use self::lists::Lists;
use crate::apply::Apply;
use crate::clock::Clock;
use crate::health::Health;
use crate::leaders::Leaders;
use crate::managed::{Identity, Key, Managed};
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::traces::Tracer;
use crate::world::World;

/// The health server calls us dead if we are silent for some of these.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often slices of others are looked for.
const STRAYS_EVERY: Duration = Duration::from_mins(10);

/// On SIGTERM the writes in flight may finish, but not longer than this.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is made of failovers besides decisions.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    /// Counts them, and everything else.
    pub(crate) metrics: Metrics,
    /// Makes their traces, if somebody wants them.
    pub(crate) tracer: Option<Tracer>,
    /// Takes note of every step.
    pub(crate) recorder: Recorder,
    /// Tells applications who leads, if they may ask.
    pub(crate) leaders: Option<Leaders>,
    /// What each may take, unless its Service says something else.
    pub(crate) budget: Micros,
}

/// The deciding task.
pub(crate) struct Driver {
    clock: Clock,
    identity: Identity,
    scope: Scope,
    lists: Vec<Lists>,
    world: World,
    apply: Apply<Purpose>,
    health: Health,
    metrics: Metrics,
    tracer: Option<Tracer>,
    recorder: Recorder,
    leaders: Option<Leaders>,
    /// What a failover may take, unless its Service says something else.
    budget: Micros,
    alarms: BinaryHeap<Reverse<(Timestamp, Key)>>,
    next_generation: u32,
    /// All Services and slices have been listed.
    knows_services: bool,
    /// All lists are in.
    is_armed: bool,
    /// The API server did not answer the last request.
    is_cut_off: bool,
    /// What we would write, if no other replica does, or if nobody can lead for all that is heard.
    held: Held,
    /// Sources that cannot have a leader and were told so, by UID.
    invalid: HashSet<String>,
    /// What could not be removed yet.
    unswept: Unswept,
    failures: Failures,
}

impl Driver {
    /// A driver that has seen nothing yet.
    #[must_use]
    pub(crate) fn new(
        identity: Identity,
        scope: Scope,
        apply: Apply<Purpose>,
        health: Health,
        telemetry: Telemetry,
    ) -> Self {
        let lists = (0..scope.watches()).map(|_| Lists::default()).collect();
        Self {
            clock: Clock::start(),
            identity,
            scope,
            lists,
            world: World::default(),
            apply,
            health,
            metrics: telemetry.metrics,
            tracer: telemetry.tracer,
            recorder: telemetry.recorder,
            leaders: telemetry.leaders,
            budget: telemetry.budget,
            alarms: BinaryHeap::new(),
            next_generation: 0,
            knows_services: false,
            is_armed: false,
            is_cut_off: false,
            held: Held::new(),
            invalid: HashSet::new(),
            unswept: Unswept::default(),
            failures: Failures::default(),
        }
    }

    /// The same by another clock.
    #[must_use]
    pub(crate) fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same, but other replicas are given their chance until [`Feed::Lease`] says that this one acts first.
    #[must_use]
    pub(crate) fn waiting_for_the_lease(mut self) -> Self {
        self.held.acts_first = false;
        self.metrics.act_first(false);
        self
    }

    /// Decides until `shutdown`; then lets the writes in flight finish. The feed is handed back, for the watches
    /// end when it is dropped, and must not seem to have failed.
    pub(crate) async fn run(
        mut self,
        mut feed: mpsc::Receiver<Feed>,
        shutdown: impl Future<Output = ()>,
    ) -> mpsc::Receiver<Feed> {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut strays = interval(STRAYS_EVERY);
        strays.set_missed_tick_behavior(MissedTickBehavior::Delay);
        strays.reset();
        tokio::pin!(shutdown);
        loop {
            self.ring();
            let alarm = self.alarms.peek().map(|Reverse((at, _))| self.clock.instant(*at));
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                _ = beat.tick() => {
                    self.health.driver_beat();
                    self.measure_queues();
                }
                answer = self.apply.answer(), if self.apply.is_busy() => self.answered(answer),
                Some(fact) = feed.recv() => self.told(fact),
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {}
                _ = strays.tick() => self.look_for_strays(),
                () = self.unswept.is_due() => self.sweep_again(),
                () = self.held.is_due() => self.release_due(),
            }
        }
        self.finish().await;
        feed
    }

    /// Publications in flight are awaited, so that their outcome is known; everything else stays as it is, and
    /// routing with it.
    async fn finish(&mut self) {
        self.release_due();
        let last = Instant::now() + FAREWELL;
        let mut is_done = true;
        while is_done && self.apply.is_busy() {
            match tokio::time::timeout_at(last, self.apply.answer()).await {
                Ok(answer) => self.answered(answer),
                Err(_) => is_done = false,
            }
        }
        self.end_failovers();
        if is_done {
            info!("stopped; routing stays as it is");
        } else {
            warn!("writes were still in flight {FAREWELL:?} after the signal to stop");
        }
    }

    fn told(&mut self, fact: Feed) {
        // Watches are numbered through all resources, each of which has as many.
        let watches = self.lists.len();
        match fact {
            Feed::Pods(watch, change) => self.pods(watch % watches, change),
            Feed::Services(watch, change) => self.services(watch % watches, change),
            Feed::Slices(watch, change) => self.slices(watch % watches, change),
            Feed::Disconnected(source) => self.watch_is(source, watches, false),
            Feed::Reconnected(source) => {
                self.watch_is(source, watches, true);
                self.server_back();
            }
            Feed::Lease(tenure) => self.lease(tenure),
            Feed::Node(verdict) => self.node(verdict),
        }
    }

    fn managed(&self, key: &Key) -> Option<&Managed> {
        self.world.namespaces.get(&key.namespace)?.managed.get(&key.name).map(Box::as_ref)
    }

    fn horizon(&self, namespace: &str) -> Version {
        self.lists[self.scope.watch_of(namespace)].pods.horizon
    }

    fn watch_is(&mut self, source: usize, watches: usize, is_live: bool) {
        if source / watches == PODS {
            self.held.pods_are_seen(source % watches, is_live);
        }
    }
}

/// Where an object is.
fn key_of(metadata: &ObjectMeta) -> Key {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    Key { namespace: text(&metadata.namespace), name: text(&metadata.name) }
}

#[cfg(test)]
mod tests;
