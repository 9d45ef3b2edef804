//! The one task that decides. It takes facts from the watches and answers from the API server, in the order in
//! which they arrive, steps the elections that they concern and hands their orders to the lanes; it never waits
//! for the network.

mod failures;
mod gate;
mod held;
mod leftovers;
mod measures;
mod nodes;
mod pods;
mod report;
mod services;
mod slices;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};
use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::{Cause, Event, Micros, Timestamp, Version};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use self::failures::Failures;
use self::held::Held;
use self::leftovers::{Leftover, Unswept};
use self::report::Moved;
use crate::apply::{Answer, Apply, Order, Parent, Reply, Request};
use crate::clock::Clock;
use crate::failover::{Call, Ids};
use crate::failure::{Failure, Kind};
use crate::health::Health;
use crate::kinds::{Kept, PodLite, ServiceLite, SliceLite};
use crate::leaders::Leaders;
use crate::lease::Tenure;
use crate::managed::{Errand, Identity, Key, Managed, Outcome, Surroundings};
use crate::metrics::Metrics;
use crate::nodes::Verdict;
use crate::notice::{self, Notice, Regarding};
use crate::record::{Record, Recorder};
use crate::rows::PodRow;
use crate::traces::Tracer;
use crate::watch::Change;
use crate::world::{ServiceFact, World};

/// The health server calls us dead if we are silent for some of these.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often slices of others are looked for.
const STRAYS_EVERY: Duration = Duration::from_mins(10);

/// On SIGTERM the writes in flight may finish, but not longer than this.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is watched, in the order in which watches are numbered.
pub(crate) const PODS: usize = 0;
pub(crate) const SERVICES: usize = 1;
pub(crate) const SLICES: usize = 2;

/// What the watches tell.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Pods, of the watch with this number.
    Pods(usize, Change<PodLite>),
    /// Services.
    Services(usize, Change<ServiceLite>),
    /// Slices that carry our label.
    Slices(usize, Change<SliceLite>),
    /// The watch with this number, of all of every kind, does not work.
    Disconnected(usize),
    /// It works again.
    Reconnected(usize),
    /// Whether this replica holds the Lease, and how long.
    Lease(Tenure),
    /// A node is lost, or is back.
    Node(Verdict),
}

impl From<(usize, Change<PodLite>)> for Feed {
    fn from((watch, change): (usize, Change<PodLite>)) -> Self {
        Self::Pods(watch, change)
    }
}

impl From<(usize, Change<ServiceLite>)> for Feed {
    fn from((watch, change): (usize, Change<ServiceLite>)) -> Self {
        Self::Services(watch, change)
    }
}

impl From<(usize, Change<SliceLite>)> for Feed {
    fn from((watch, change): (usize, Change<SliceLite>)) -> Self {
        Self::Slices(watch, change)
    }
}

/// What an order is for, as far as the driver is concerned.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// One Service's election, in this generation.
    Of(Key, u32, Errand),
    /// The removal of an object of ours that nobody asks for.
    Sweep(Leftover),
    /// Nobody waits for the answer.
    Loose,
}

/// Which namespaces are watched.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All of them, by one watch a resource.
    Cluster,
    /// These, by one watch a resource and namespace.
    Namespaces(Vec<String>),
}

impl Scope {
    /// How many watches a resource has.
    #[must_use]
    pub(crate) fn watches(&self) -> usize {
        match self {
            Self::Cluster => 1,
            Self::Namespaces(names) => names.len(),
        }
    }

    fn watch_of(&self, namespace: &str) -> usize {
        match self {
            Self::Cluster => 0,
            Self::Namespaces(names) => names.iter().position(|name| name == namespace).unwrap_or_default(),
        }
    }
}

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

/// Lists in progress, of the watches of one scope. Each is put in place as a whole, so that nothing is decided
/// from half of it.
#[derive(Default)]
struct Lists {
    pods: Vec<PodRow>,
    services: Vec<(Key, ServiceFact)>,
    slices: Vec<(Key, Kept<SliceLite>)>,
    /// The highest version seen on the pod watch.
    horizon: Version,
    /// Likewise on the watch of Services, and of slices.
    services_horizon: Version,
    slices_horizon: Version,
    listed: [bool; 3],
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
        self.lists[self.scope.watch_of(namespace)].horizon
    }

    /// One fact for one election, and everything that follows from it.
    fn step(&mut self, key: &Key, event: Event) {
        self.with(key, |_, _, out| out.events.push(event));
    }

    /// Lets `act` do something with one Service, tells its election the facts that come of it, and sends what
    /// that orders, until nothing more follows.
    fn with(&mut self, key: &Key, act: impl FnOnce(&mut Managed, &Surroundings<'_>, &mut Outcome)) {
        let begun = Instant::now();
        if self.held.is_tenure_over(begun) {
            self.lease(Tenure::Over);
        }
        let at = self.clock.timestamp(begun);
        let horizon = self.horizon(&key.namespace);
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let cx = Surroundings {
            at,
            clock: self.clock,
            identity: &self.identity,
            acts_first: self.held.acts_first,
            tracer: self.tracer.as_ref(),
            budget: self.budget,
            pods: &space.pods,
            horizon,
            grounds: &self.world.grounds,
        };
        let mut out = Outcome::default();
        act(managed, &cx, &mut out);
        let mut moves = Vec::new();
        let mut facts = std::collections::VecDeque::from(std::mem::take(&mut out.events));
        loop {
            while let Some(event) = facts.pop_front() {
                let since = managed.election.state().since();
                let seq = managed.journal.next_seq();
                let record = self.recorder.step(key, seq, at, &mut managed.election, event);
                let Record { event, step, .. } = &*record;
                managed.measure(event, step, at, &mut out);
                let followed = managed.follow(event, step.transition.as_ref(), &cx, &mut out);
                if let Some(transition) = &step.transition {
                    managed.triggered(at);
                    moves.push(Moved {
                        is_found: matches!(event, Event::Synced { .. }) && transition.cause == Cause::Adopted,
                        epoch: managed.election.state().epoch(),
                        lasted: (since > Timestamp(0)).then(|| at.since(since)),
                        trace: followed.ids.map(|ids| ids.trace),
                        took: followed.took,
                        transition: transition.clone(),
                    });
                }
                managed.carry_out(step, &cx, &mut out);
                facts.extend(out.events.drain(..));
            }
            // What comes of tending may have to be tended in turn: a mirror that is done makes room for the next.
            managed.tend(&cx, &mut out);
            facts.extend(out.events.drain(..));
            if facts.is_empty() {
                break;
            }
        }
        let generation = managed.generation;
        if let Some(leaders) = self.leaders.as_ref().filter(|_| !managed.is_leaving) {
            leaders.service_is(key, &managed.election, &mut managed.told);
        }
        let gauges = (!managed.is_leaving).then(|| managed.gauges(&cx));
        let has_news = !out.notices.is_empty() || !out.failovers.is_empty();
        let regarding = has_news.then(|| managed.regarding());
        let trace = managed.journal.open().and_then(|failover| failover.ids);
        let (can_begin, is_over) = (managed.can_begin(), managed.election.is_over());
        let retired = managed.take_retired();
        let is_led = managed.election.state().pod().is_some();
        self.set_alarm(key);
        if is_led {
            self.recall(key);
        }
        for (errand, request) in out.errands {
            self.submit(key, generation, errand, request, trace);
        }
        // Whoever waits for the publication comes first, whoever reads logs second.
        for moved in &moves {
            moved.log(key);
        }
        if let Some(regarding) = regarding {
            for notice in &out.notices {
                self.send_notice(notice, &regarding);
            }
            self.over(out.failovers, &regarding);
        }
        if let Some(gauges) = gauges {
            self.metrics.service_is(key, &gauges);
        }
        for counter in out.counters {
            self.metrics.count(key, counter);
        }
        self.metrics.decided(key, begun.elapsed(), !out.has_failed);
        for name in retired {
            self.sweep_name(&key.namespace, &name);
        }
        if is_over {
            self.ended(key);
        } else if can_begin && self.is_armed {
            self.begin(key);
        }
    }

    /// `trace`: that of the failover under way, if there is one.
    fn submit(&mut self, key: &Key, generation: u32, errand: Errand, request: Request, trace: Option<Ids>) {
        let trace = trace.filter(|_| errand.call().is_some());
        let parent = trace
            .zip(self.tracer.as_ref())
            .and_then(|(ids, tracer)| Some(Parent { trace: ids.trace, span: tracer.propagated()? }));
        let purpose = Purpose::Of(key.clone(), generation, errand);
        let order = Order::new(purpose, key.namespace.to_string(), request);
        self.give(Order { parent, ..order });
    }

    fn send_notice(&mut self, notice: &Notice, regarding: &Regarding) {
        let event = notice::event(notice, regarding, self.clock.now(), &self.identity.replica);
        self.apply.submit(loose(&regarding.namespace, Request::Notify(Box::new(event))));
    }

    fn answered(&mut self, answer: Answer<Purpose>) {
        self.note_reachability(&answer);
        self.note_failure(&answer);
        self.measure_call(&answer);
        let call = match &answer.purpose {
            Purpose::Of(_, _, errand) => {
                errand.call().map(|(id, what)| Call::new(id, what, &answer, self.clock))
            }
            Purpose::Sweep(_) | Purpose::Loose => None,
        };
        let (key, generation, errand) = match answer.purpose {
            Purpose::Of(key, generation, errand) => (key, generation, errand),
            Purpose::Sweep(leftover) => return self.unswept.answered(leftover, &answer.result),
            Purpose::Loose => return,
        };
        if let Errand::Confirm { name, uid, .. } = &errand {
            self.confirmed(&key, name, uid, &answer.result);
        }
        match &answer.result {
            Ok(Reply::Service(service)) => self.service_answered(service),
            Ok(Reply::Slice(slice)) => self.slice_answered(slice),
            Ok(_) | Err(_) => {}
        }
        if self.managed(&key).is_none_or(|managed| managed.generation != generation) {
            return;
        }
        let (waited, took) = (answer.begun - answer.ordered, answer.ended - answer.begun);
        debug!(service = %key, ?waited, ?took, "answered: {errand:?}");
        let result = answer.result;
        self.with(&key, |managed, cx, out| {
            out.has_failed = result.is_err();
            if let Errand::Publish { .. } = errand {
                managed.measure_write(result.is_ok(), out);
            }
            if let Some(call) = call {
                managed.journal.called(call, &mut out.failovers);
            }
            managed.answered(errand, result, cx, out);
        });
    }

    /// A pod that was read is a fact like any other, and may concern other Services as well.
    fn confirmed(&mut self, key: &Key, name: &str, uid: &str, result: &Result<Reply, Failure>) {
        match result {
            Ok(Reply::Pod(pod)) => {
                if pod.metadata.uid.as_deref() != Some(uid) {
                    self.pod_gone(&key.namespace, name, Some(uid));
                }
                if let Some(row) = self.world.row(pod) {
                    self.pod_seen(row);
                }
            }
            Err(failure) if failure.kind == Kind::NotFound => self.pod_gone(&key.namespace, name, Some(uid)),
            Ok(_) | Err(_) => {}
        }
    }

    /// After an outage the first answer ends everybody's back-off. A write that fails says nothing: that may be an
    /// admission webhook's doing, while all reads are answered, and each of these would end the back-off.
    fn note_reachability(&mut self, answer: &Answer<Purpose>) {
        let is_cut_off = match &answer.result {
            Err(failure) if failure.is_general => true,
            Err(failure) if matches!(failure.kind, Kind::Unknown | Kind::Unreachable) => {
                self.is_cut_off || !answer.is_write
            }
            Ok(_) | Err(_) => false,
        };
        if self.is_cut_off && !is_cut_off {
            self.server_back();
        }
        self.is_cut_off = is_cut_off;
    }

    /// Failures are logged here, whatever they were needed for, so that one that goes on is not logged at every try.
    fn note_failure(&mut self, answer: &Answer<Purpose>) {
        let Err(failure) = &answer.result else { return };
        match &answer.purpose {
            Purpose::Of(key, _, Errand::Publish { .. }) => {
                self.failures.note("publication", &key.namespace, Some(&key.name), failure);
            }
            // With its Service, where it is known what follows.
            Purpose::Of(_, _, Errand::LeaderService { .. }) => {}
            Purpose::Of(..) | Purpose::Sweep(_) | Purpose::Loose => {
                self.failures.note(answer.what, &answer.namespace, None, failure);
            }
        }
    }

    fn watch_is(&mut self, source: usize, watches: usize, is_live: bool) {
        if source / watches == PODS {
            self.held.pods_are_seen(source % watches, is_live);
        }
    }

    fn server_back(&mut self) {
        self.unswept.hurry();
        let keys: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| space.managed.values())
            .filter(|managed| !managed.election.is_settled() || managed.is_backing_off())
            .map(|managed| managed.key.clone())
            .collect();
        for key in keys {
            self.with(&key, |managed, _, out| {
                managed.hurry();
                out.events.extend(managed.is_synced().then_some(Event::ServerBack));
            });
        }
    }

    fn set_alarm(&mut self, key: &Key) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let deadline = managed.deadline(self.held.acts_first);
        if deadline != managed.alarm {
            managed.alarm = deadline;
            if let Some(at) = deadline {
                self.alarms.push(Reverse((at, key.clone())));
            }
        }
    }

    /// Tells everybody whose time has come.
    fn ring(&mut self) {
        let now = self.clock.now();
        let mut due = BTreeSet::new();
        while let Some(Reverse((at, _))) = self.alarms.peek()
            && *at <= now
        {
            let Some(Reverse((at, key))) = self.alarms.pop() else { break };
            if self.managed(&key).is_some_and(|managed| managed.alarm == Some(at)) {
                due.insert(key);
            }
        }
        for key in due {
            if let Some(managed) = self
                .world
                .namespaces
                .get_mut(&key.namespace)
                .and_then(|space| space.managed.get_mut(&key.name))
            {
                managed.alarm = None;
                managed.wake(now);
            }
            self.step(&key, Event::DeadlineReached);
            self.look_for_overdue(&key, now);
        }
    }
}

fn loose(namespace: &str, request: Request) -> Order<Purpose> {
    Order::new(Purpose::Loose, namespace.to_owned(), request)
}

/// Where an object is.
fn key_of(metadata: &ObjectMeta) -> Key {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    Key { namespace: text(&metadata.namespace), name: text(&metadata.name) }
}

#[cfg(test)]
mod tests;
