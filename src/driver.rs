//! The one task that decides. It takes facts from the watches and answers from the API server, in the order in
//! which they arrive, steps the elections that they concern and hands their orders to the lanes; it never waits
//! for the network.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use machine::{Departure, Event, Step, Timestamp, Version};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use crate::annotations::{self, Settings};
use crate::apply::{Answer, Apply, Order, Reply, Request, Target};
use crate::clock::Clock;
use crate::failure::{Failure, Kind};
use crate::health::Health;
use crate::kinds::{PodLite, ServiceLite, SliceLite, version};
use crate::managed::{Errand, Identity, Key, Managed, Outcome, Surroundings};
use crate::names::LABEL_SOURCE_SERVICE;
use crate::notice::{self, Notice, Regarding};
use crate::rows::{PodRow, View, event_for};
use crate::service::{Source, is_generated};
use crate::watch::Change;
use crate::world::{Namespace, ServiceFact, World};

/// The health server calls us dead if we are silent for some of these.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often slices of others are looked for.
const STRAYS_EVERY: Duration = Duration::from_secs(600);

/// On SIGTERM the writes in flight may finish, but not longer than this.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the watches tell.
#[derive(Debug)]
pub(crate) enum Feed {
    /// Pods, of the watch with this number.
    Pods(usize, Change<PodLite>),
    /// Services.
    Services(usize, Change<ServiceLite>),
    /// Slices that carry our label.
    Slices(usize, Change<SliceLite>),
    /// A watch works again after it did not.
    Reconnected,
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

/// A list in progress. It is put in place as a whole, so that nothing is decided from half of it.
type Relist<T> = Vec<T>;

/// One watch's part of the view.
#[derive(Default)]
struct Lists {
    pods: Relist<PodRow>,
    services: Relist<ServiceLite>,
    slices: Relist<SliceLite>,
    /// The highest version seen on the pod watch.
    horizon: Version,
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
    alarms: BinaryHeap<Reverse<(Timestamp, Key)>>,
    next_generation: u32,
    /// All lists are in.
    is_armed: bool,
    /// The API server did not answer the last request.
    is_cut_off: bool,
    /// Sources that cannot have a leader and were told so, by UID.
    invalid: HashSet<String>,
}

impl Driver {
    /// A driver that has seen nothing yet.
    #[must_use]
    pub(crate) fn new(identity: Identity, scope: Scope, apply: Apply<Purpose>, health: Health) -> Self {
        let lists = (0..scope.watches()).map(|_| Lists::default()).collect();
        Self {
            clock: Clock::start(),
            identity,
            scope,
            lists,
            world: World::default(),
            apply,
            health,
            alarms: BinaryHeap::new(),
            next_generation: 0,
            is_armed: false,
            is_cut_off: false,
            invalid: HashSet::new(),
        }
    }

    /// Decides until `shutdown`; then lets the writes in flight finish.
    pub(crate) async fn run(mut self, mut feed: mpsc::Receiver<Feed>, shutdown: impl Future<Output = ()>) {
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
                _ = beat.tick() => self.health.driver_beat(),
                answer = self.apply.answer(), if self.apply.is_busy() => self.answered(answer),
                Some(fact) = feed.recv() => self.told(fact),
                () = async { sleep_until(alarm.unwrap_or_else(tokio::time::Instant::now)).await }, if alarm.is_some() => {}
                _ = strays.tick() => self.look_for_strays(),
            }
        }
        self.finish().await;
    }

    /// Publications in flight are awaited, so that their outcome is known; everything else stays as it is, and
    /// routing with it.
    async fn finish(&mut self) {
        let last = tokio::time::Instant::now() + FAREWELL;
        while self.apply.is_busy() {
            if tokio::time::timeout_at(last, self.apply.answer()).await.is_err() {
                warn!("writes were still in flight {FAREWELL:?} after the signal to stop");
                return;
            }
        }
        info!("stopped; routing stays as it is");
    }

    fn told(&mut self, fact: Feed) {
        // Watches are numbered through all resources, each of which has as many.
        let watches = self.lists.len();
        match fact {
            Feed::Pods(watch, change) => self.pods(watch % watches, change),
            Feed::Services(watch, change) => self.services(watch % watches, change),
            Feed::Slices(watch, change) => self.slices(watch % watches, change),
            Feed::Reconnected => self.server_back(),
        }
    }

    // Pods.

    fn pods(&mut self, watch: usize, change: Change<PodLite>) {
        match change {
            Change::Relisting => self.lists[watch].pods = Relist::new(),
            Change::Page(pods) => {
                let rows: Vec<_> = pods.iter().filter_map(|pod| self.world.row(pod)).collect();
                self.lists[watch].pods.extend(rows);
            }
            Change::Listed { version, restored } => self.pods_listed(watch, Version(version), restored),
            Change::Applied(pod) => {
                self.saw(watch, version(&pod.metadata));
                if let Some(row) = self.world.row(&pod) {
                    self.pod_seen(row);
                }
            }
            Change::Deleted(pod) => {
                self.saw(watch, version(&pod.metadata));
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                self.pod_gone(namespace, name, pod.metadata.uid.as_deref());
            }
            Change::Bookmark(version) => self.saw(watch, Version(version)),
            Change::Malformed { object, error } => warn!(pod = object, "a pod cannot be read: {error}"),
        }
    }

    fn saw(&mut self, watch: usize, version: Version) {
        let horizon = &mut self.lists[watch].horizon;
        *horizon = (*horizon).max(version);
    }

    fn pods_listed(&mut self, watch: usize, version: Version, restored: bool) {
        let rows = std::mem::take(&mut self.lists[watch].pods);
        self.lists[watch].horizon = if restored { version } else { self.lists[watch].horizon.max(version) };
        let mut listed: HashSet<(Arc<str>, String)> = HashSet::with_capacity(rows.len());
        for row in rows {
            listed.insert((row.namespace.clone(), row.pod.name().to_owned()));
            if restored {
                self.put_pod(row);
            } else {
                self.pod_seen(row);
            }
        }
        let gone: Vec<_> = self
            .namespaces_of(watch)
            .flat_map(|namespace| {
                namespace.pods.keys().map(|name| (namespace.name.clone(), name.to_string()))
            })
            .filter(|pod| !listed.contains(pod))
            .collect();
        for (namespace, name) in gone {
            self.pod_gone(&namespace, &name, None);
        }
        self.lists[watch].listed[0] = true;
        self.listed(watch, restored);
    }

    /// Rows are kept of all pods, also of those that concern nobody yet.
    fn put_pod(&mut self, row: PodRow) -> Option<PodRow> {
        let namespace = self.world.namespace(&row.namespace.clone());
        if let Some(known) = namespace.pods.get_mut(row.pod.name()) {
            return Some(std::mem::replace(known, row));
        }
        namespace.pods.insert(row.pod.name().into(), row);
        None
    }

    fn pod_seen(&mut self, row: PodRow) {
        let known =
            self.world.namespaces.get(&row.namespace).and_then(|space| space.pods.get(row.pod.name()));
        if known.is_some_and(|known| known.version > row.version) {
            return;
        }
        let (namespace, name) = (row.namespace.clone(), row.pod.name().to_owned());
        let old = self.put_pod(row);
        if !self.is_armed {
            return;
        }
        let Some(space) = self.world.namespaces.get(&namespace) else { return };
        let Some(new) = space.pods.get(&*name) else { return };
        let concerned = space.concerned(old.iter().chain([new]));
        let mut facts = Vec::new();
        for source in concerned {
            let Some(managed) = space.managed.get(&source).filter(|managed| managed.is_synced()) else {
                continue;
            };
            facts.extend(
                pod_facts(old.as_ref(), Some(new), &managed.view, &managed.view)
                    .into_iter()
                    .map(|event| (managed.key.clone(), event)),
            );
        }
        for (key, event) in facts {
            self.step(&key, event);
        }
    }

    /// `uid`: whose end was seen; none: whoever has that name is gone.
    fn pod_gone(&mut self, namespace: &str, name: &str, uid: Option<&str>) {
        let Some(space) = self.world.namespaces.get_mut(namespace) else { return };
        if space.pods.get(name).is_none_or(|row| uid.is_some_and(|uid| uid != row.pod.uid())) {
            return;
        }
        let Some(row) = space.pods.remove(name) else { return };
        if !self.is_armed {
            return;
        }
        let sources = space.concerned([&row]);
        let keys: Vec<_> = sources
            .iter()
            .filter_map(|source| space.managed.get(source))
            .filter(|managed| managed.is_synced() && row.membership(&managed.view.source.selector).is_ok())
            .map(|managed| managed.key.clone())
            .collect();
        for key in keys {
            self.step(&key, Event::PodGone { pod: row.pod.clone(), how: Departure::Deleted });
        }
    }

    // Services.

    fn services(&mut self, watch: usize, change: Change<ServiceLite>) {
        match change {
            Change::Relisting => self.lists[watch].services = Relist::new(),
            Change::Page(services) => self.lists[watch].services.extend(services),
            Change::Listed { restored, .. } => self.services_listed(watch, restored),
            Change::Applied(service) => self.service_seen(service),
            Change::Deleted(service) => {
                let (namespace, name) = names_of(&service.metadata);
                self.service_gone(&namespace, &name, Some(version(&service.metadata)));
            }
            Change::Bookmark(_) => {}
            Change::Malformed { object, error } => {
                warn!(service = object, "a Service cannot be read: {error}")
            }
        }
    }

    fn services_listed(&mut self, watch: usize, restored: bool) {
        let services = std::mem::take(&mut self.lists[watch].services);
        let listed: HashSet<_> = services.iter().map(|service| names_of(&service.metadata)).collect();
        let gone: Vec<_> = self
            .namespaces_of(watch)
            .flat_map(|space| space.services.keys().map(|name| (space.name.to_string(), name.to_string())))
            .filter(|service| !listed.contains(service))
            .collect();
        for service in services {
            if restored {
                let (namespace, name) = names_of(&service.metadata);
                self.world.namespace(&namespace).services.remove(&*name);
            }
            self.service_seen(service);
        }
        for (namespace, name) in gone {
            self.service_gone(&namespace, &name, None);
        }
        self.lists[watch].listed[1] = true;
        self.listed(watch, restored);
    }

    fn service_seen(&mut self, service: ServiceLite) {
        let (namespace, name) = names_of(&service.metadata);
        let space = self.world.namespace(&namespace);
        if space.services.get(&*name).is_some_and(|known| known.version() > version(&service.metadata)) {
            return;
        }
        if !self.is_armed {
            space.services.insert(name.into(), ServiceFact::of(service));
            return;
        }
        let fact = ServiceFact::of(service.clone());
        space.services.insert(name.as_str().into(), fact);
        self.leader_service_seen(&namespace, &name, Some(&service));
        if is_generated(&service) {
            self.sweep_service(&namespace, &name);
        } else {
            self.source_seen(&namespace, &service);
        }
    }

    fn service_gone(&mut self, namespace: &str, name: &str, seen: Option<Version>) {
        let Some(space) = self.world.namespaces.get_mut(namespace) else { return };
        if space.services.get(name).is_none_or(|known| seen.is_some_and(|seen| known.version() > seen)) {
            return;
        }
        space.services.remove(name);
        if self.is_armed {
            self.leader_service_seen(namespace, name, None);
            self.leave(&key(namespace, name), Event::ServiceGone);
        }
    }

    /// A Service that is, or is not, a source.
    fn source_seen(&mut self, namespace: &str, service: &ServiceLite) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let key = key(namespace, name);
        let nothing = std::collections::BTreeMap::new();
        let annotations = service.metadata.annotations.as_ref().unwrap_or(&nothing);
        let is_managed = self.managed(&key).is_some();
        if service.metadata.deletion_timestamp.is_some() {
            self.leave(&key, Event::ServiceGone);
            return;
        }
        if !annotations::opts_in(annotations) {
            self.leave(&key, Event::OptedOut);
            return;
        }
        let settings = annotations::parse(annotations, name);
        let source = match Source::new(service) {
            Ok(source) => source,
            Err(why) => {
                let uid = service.metadata.uid.clone().unwrap_or_default();
                if self.invalid.insert(uid) {
                    warn!(service = %key, "it opts in, but cannot have a leader: {why}");
                    self.send_notice(&Notice::invalid_service(why), &Regarding::from(service));
                }
                self.leave(&key, Event::OptedOut);
                return;
            }
        };
        self.invalid.remove(service.metadata.uid.as_deref().unwrap_or_default());
        if is_managed {
            self.update(&key, source, settings);
        } else {
            self.opt_in(key, source, settings, None);
        }
    }

    fn opt_in(&mut self, key: Key, source: Source, settings: Settings, renamed: Option<Managed>) {
        self.next_generation += 1;
        let generation = self.next_generation;
        let managed = match renamed {
            Some(former) => former.renamed(generation, source, settings),
            None => Managed::new(key.clone(), generation, source, settings),
        };
        let leader_service = managed.leader_service.clone();
        info!(service = %key, leader_service = %leader_service, "opted in");
        for invalid in &managed.settings.invalid {
            warn!(service = %key, annotation = invalid.annotation, value = %invalid.value, default = invalid.default, "invalid configuration: {}", invalid.why);
        }
        let invalid = managed.settings.invalid.clone();
        let view = managed.view.clone();
        let slices = managed.slice_names(&self.identity);
        let space = self.world.namespace(&key.namespace);
        space.index(&view.source.selector, &key.name);
        space.leaders.insert(leader_service.clone(), key.name.clone());
        space.managed.insert(key.name.clone(), managed);
        for invalid in &invalid {
            self.send_notice(&Notice::invalid_configuration(invalid, None), &Regarding::from(&*view.source));
        }
        // What is there already: the slices first, for the leader Service makes the election begin.
        for name in slices {
            let slice = self.world.namespace(&key.namespace).slices.get(&*name).cloned();
            if let Some(slice) = slice {
                self.with(&key, |managed, cx, out| managed.slice_seen(&slice, cx, out));
            }
        }
        self.leader_service_known(&key, &leader_service);
        let Some(managed) = self.managed(&key) else { return };
        let (generation, (errand, request)) = (managed.generation, managed.look_for_strays());
        if !managed.is_synced() {
            self.submit(&key, generation, errand, request);
        }
    }

    /// Tells the election's side how the Service of the leader's name stands, from what the watch has shown.
    fn leader_service_known(&mut self, key: &Key, leader_service: &str) {
        let Some(space) = self.world.namespaces.get(&key.namespace) else { return };
        match space.services.get(leader_service) {
            Some(ServiceFact::Full(service)) => {
                let service = service.clone();
                self.with(key, |managed, cx, out| managed.service_seen(Some(&service), cx, out));
            }
            // Foreign for certain, but why is in the object only.
            Some(ServiceFact::Plain(_)) => {
                self.with(key, |managed, _, out| managed.service_is_foreign(out));
            }
            None => self.with(key, |managed, cx, out| managed.service_seen(None, cx, out)),
        }
    }

    fn leader_service_seen(&mut self, namespace: &str, name: &str, seen: Option<&ServiceLite>) {
        let Some(source) = self.world.namespaces.get(namespace).and_then(|space| space.leaders.get(name))
        else {
            return;
        };
        let key = Key { namespace: namespace.into(), name: source.clone() };
        let has_selector = seen.is_some_and(|service| !service.spec.selector.is_empty());
        self.with(&key, |managed, cx, out| managed.service_seen(seen, cx, out));
        if has_selector && let Some(managed) = self.managed(&key) {
            let (generation, (errand, request)) = (managed.generation, managed.look_for_strays());
            self.submit(&key, generation, errand, request);
        }
    }

    /// The source Service changed while it is opted in.
    fn update(&mut self, key: &Key, source: Source, settings: Settings) {
        let Some(managed) = self.managed(key) else { return };
        if managed.is_leaving {
            return;
        }
        if managed.view.source.uid != source.uid
            || managed.view.source.first_family() != source.first_family()
        {
            self.leave(key, Event::ServiceGone);
            return;
        }
        if managed.settings == settings && *managed.view.source == source {
            return;
        }
        let name = settings.leader_service_name.clone();
        let name = name.unwrap_or_else(|| crate::names::leader_service(&key.name).into());
        if name != managed.leader_service {
            info!(service = %key, from = %managed.leader_service, to = %name, "the leader Service gets another name");
            if let Some(former) = self.take(key) {
                self.opt_in(key.clone(), source, settings, Some(former));
            }
            return;
        }
        let facts = self.changed(key, source, settings);
        for event in facts {
            self.step(key, event);
        }
        // Labels and owner may differ now from what the slices carry.
        let names = self.managed(key).map(|managed| managed.slice_names(&self.identity)).unwrap_or_default();
        for name in names {
            let slice = self.world.namespace(&key.namespace.clone()).slices.get(&*name).cloned();
            if let Some(slice) = slice {
                self.with(key, |managed, cx, out| managed.slice_seen(&slice, cx, out));
            }
        }
        self.with(key, |_, _, _| {});
    }

    /// What the election is told about the difference.
    fn changed(&mut self, key: &Key, source: Source, settings: Settings) -> Vec<Event> {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return Vec::new() };
        let Some(managed) = space.managed.get_mut(&key.name) else { return Vec::new() };
        let (old_settings, old_view) = (managed.settings.clone(), managed.view.clone());
        managed.view = View { source: Arc::new(source), ports_mode: settings.ports_mode };
        let view = managed.view.clone();
        managed.settings = settings;
        let settings = managed.settings.clone();
        let is_synced = managed.is_synced();
        space.unindex(&old_view.source.selector, &key.name);
        space.index(&view.source.selector, &key.name);
        for invalid in settings.invalid.iter().filter(|invalid| !old_settings.invalid.contains(invalid)) {
            self.send_notice(&Notice::invalid_configuration(invalid, None), &Regarding::from(&*view.source));
        }
        if !is_synced {
            return Vec::new();
        }
        let mut facts = Vec::new();
        if settings.policy != old_settings.policy {
            facts.push(Event::PolicyChanged { policy: settings.policy.clone() });
        }
        if settings.pause != old_settings.pause {
            facts.push(match settings.pause {
                Some(pause) => Event::Paused { until: pause.until },
                None => Event::Resumed,
            });
        }
        if settings.switchover != old_settings.switchover {
            facts.push(match settings.switchover {
                Some(request) => Event::SwitchoverRequested { request },
                None => Event::SwitchoverWithdrawn,
            });
        }
        let Some(space) = self.world.namespaces.get(&key.namespace) else { return facts };
        // New members first: who no longer is one may be the leader, and somebody has to follow.
        let mut gone = Vec::new();
        for row in space.pods.values() {
            for event in pod_facts(Some(row), Some(row), &old_view, &view) {
                if matches!(event, Event::PodGone { .. }) { gone.push(event) } else { facts.push(event) }
            }
        }
        facts.append(&mut gone);
        facts
    }

    /// The Service opts in no longer, or is gone.
    fn leave(&mut self, key: &Key, why: Event) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        if managed.is_leaving {
            return;
        }
        managed.is_leaving = true;
        info!(service = %key, "no longer opted in; what was made for it is removed");
        self.step(key, why);
    }

    /// Forgets an election.
    fn take(&mut self, key: &Key) -> Option<Managed> {
        let space = self.world.namespaces.get_mut(&key.namespace)?;
        let managed = space.managed.remove(&key.name)?;
        space.unindex(&managed.view.source.selector, &key.name);
        space.leaders.retain(|_, source| *source != key.name);
        Some(managed)
    }

    /// An election is over. The Service may have opted in again meanwhile.
    fn ended(&mut self, key: &Key) {
        let Some(managed) = self.take(key) else { return };
        let retired = managed.retired;
        for name in retired {
            self.sweep_name(&key.namespace, &name);
        }
        let space = self.world.namespaces.get(&key.namespace);
        let service =
            space.and_then(|space| space.services.get(&key.name)).and_then(ServiceFact::full).cloned();
        if let Some(service) = service {
            self.source_seen(&key.namespace.clone(), &service);
        }
    }

    // Slices.

    fn slices(&mut self, watch: usize, change: Change<SliceLite>) {
        match change {
            Change::Relisting => self.lists[watch].slices = Relist::new(),
            Change::Page(slices) => self.lists[watch].slices.extend(slices),
            Change::Listed { restored, .. } => self.slices_listed(watch, restored),
            Change::Applied(slice) => self.slice_seen(slice),
            Change::Deleted(slice) => self.slice_gone(&slice),
            Change::Bookmark(_) => {}
            Change::Malformed { object, error } => {
                warn!(slice = object, "an EndpointSlice cannot be read: {error}")
            }
        }
    }

    fn slices_listed(&mut self, watch: usize, restored: bool) {
        let slices = std::mem::take(&mut self.lists[watch].slices);
        let listed: HashSet<_> = slices.iter().map(|slice| names_of(&slice.metadata)).collect();
        let gone: Vec<_> = self
            .namespaces_of(watch)
            .flat_map(|space| space.slices.values())
            .filter(|slice| !listed.contains(&names_of(&slice.metadata)))
            .cloned()
            .collect();
        for slice in slices {
            if restored {
                let (namespace, name) = names_of(&slice.metadata);
                self.world.namespace(&namespace).slices.remove(&*name);
            }
            self.slice_seen(slice);
        }
        for slice in gone {
            self.slice_gone(&slice);
        }
        self.lists[watch].listed[2] = true;
        self.listed(watch, restored);
    }

    fn slice_seen(&mut self, slice: SliceLite) {
        let (namespace, name) = names_of(&slice.metadata);
        let space = self.world.namespace(&namespace);
        if space.slices.get(&*name).is_some_and(|known| version(&known.metadata) > version(&slice.metadata)) {
            return;
        }
        space.slices.insert(name.as_str().into(), slice.clone());
        if !self.is_armed {
            return;
        }
        match self.managed_of(&namespace, &slice) {
            Some(key) => self.with(&key, |managed, cx, out| managed.slice_seen(&slice, cx, out)),
            None => self.sweep_slice(&namespace, &name),
        }
    }

    fn slice_gone(&mut self, slice: &SliceLite) {
        let (namespace, name) = names_of(&slice.metadata);
        let Some(space) = self.world.namespaces.get_mut(&*namespace) else { return };
        if space.slices.get(&*name).is_some_and(|known| version(&known.metadata) > version(&slice.metadata)) {
            return;
        }
        space.slices.remove(&*name);
        if self.is_armed
            && let Some(key) = self.managed_of(&namespace, slice)
        {
            self.with(&key, |managed, cx, out| managed.slice_gone(slice, cx, out));
        }
    }

    /// Whose slice it is, by its name: labels can be stripped.
    fn managed_of(&self, namespace: &str, slice: &SliceLite) -> Option<Key> {
        let space = self.world.namespaces.get(namespace)?;
        let name = slice.metadata.name.as_deref()?;
        let leader = name.strip_suffix("-ipv4").or_else(|| name.strip_suffix("-ipv6"));
        [Some(name), leader].into_iter().flatten().find_map(|leader| {
            let managed = space.managed.get(space.leaders.get(leader)?)?;
            let is_one_of_ours = managed.slice_names(&self.identity).iter().any(|ours| ours == name);
            is_one_of_ours.then(|| managed.key.clone())
        })
    }

    // What nobody asks for any more.

    /// Objects of ours that belong to no opted-in Service are removed whenever they are seen.
    fn sweep_service(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.world.namespaces.get(namespace) else { return };
        let Some(service) = space.services.get(name).and_then(ServiceFact::full) else { return };
        if space.leaders.contains_key(name) || !self.is_abandoned(space, &service.metadata, name) {
            return;
        }
        let target = target(true, &service.metadata);
        info!(namespace, service = name, "removing a leader Service that no Service asks for");
        self.apply.submit(loose(namespace, Request::Delete(vec![target])));
    }

    fn sweep_slice(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.world.namespaces.get(namespace) else { return };
        let Some(slice) = space.slices.get(name) else { return };
        let service =
            slice.metadata.labels.as_ref().and_then(|labels| labels.get(crate::names::LABEL_SERVICE_NAME));
        if !self.is_abandoned(space, &slice.metadata, service.map_or(name, String::as_str)) {
            return;
        }
        let target = target(false, &slice.metadata);
        info!(namespace, slice = name, "removing a leader slice that no Service asks for");
        self.apply.submit(loose(namespace, Request::Delete(vec![target])));
    }

    fn sweep_name(&mut self, namespace: &str, leader_service: &str) {
        self.sweep_service(namespace, leader_service);
        for name in
            [leader_service.to_owned(), format!("{leader_service}-ipv4"), format!("{leader_service}-ipv6")]
        {
            self.sweep_slice(namespace, &name);
        }
    }

    /// Whether an object is ours, and its source Service does not ask for it.
    fn is_abandoned(
        &self,
        space: &Namespace,
        metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        leader_service: &str,
    ) -> bool {
        let Some(source) = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SOURCE_SERVICE))
        else {
            return false;
        };
        if metadata.deletion_timestamp.is_some() {
            return false;
        }
        if let Some(managed) = space.managed.get(source.as_str()) {
            // Under a former name it serves until the new ones do.
            let is_current = &*managed.leader_service == leader_service;
            let waits = managed.retired.iter().any(|name| &**name == leader_service) && !managed.serves();
            if is_current || waits {
                return false;
            }
        }
        let instance = metadata.annotations.as_ref().and_then(|all| all.get(annotations::INSTANCE));
        match instance {
            Some(instance) => **instance == *self.identity.instance,
            // The Go zen-lead's: only if the source is there to say that it does not ask for it.
            None => {
                let owners = metadata.owner_references.as_deref().unwrap_or_default();
                let source = space.services.get(source.as_str());
                source.is_some() && owners.iter().any(|owner| owner.kind == "Service")
            }
        }
    }

    fn look_for_strays(&mut self) {
        let looks: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| space.managed.values())
            .map(|managed| (managed.key.clone(), managed.generation, managed.look_for_strays()))
            .collect();
        for (key, generation, (errand, request)) in looks {
            self.submit(&key, generation, errand, request);
        }
    }

    // The gate.

    fn namespaces_of(&self, watch: usize) -> impl Iterator<Item = &Namespace> {
        self.world.namespaces.values().filter(move |space| self.scope.watch_of(&space.name) == watch)
    }

    fn listed(&mut self, watch: usize, restored: bool) {
        if !self.is_armed {
            let is_complete = self.lists.iter().all(|lists| lists.listed.iter().all(|listed| *listed));
            if is_complete {
                self.arm();
            }
        } else if restored {
            warn!("the API server's versions went back: its store was restored; everything is decided anew");
            let keys: Vec<_> = self
                .namespaces_of(watch)
                .flat_map(|space| space.managed.values())
                .filter(|managed| managed.is_synced())
                .map(|managed| managed.key.clone())
                .collect();
            for key in keys {
                self.begin(&key);
            }
        }
    }

    /// All lists are in: everything is decided from one consistent view. Losses come first.
    fn arm(&mut self) {
        self.is_armed = true;
        let mut sources = Vec::new();
        let mut generated = Vec::new();
        let mut pods = 0;
        for space in self.world.namespaces.values() {
            pods += space.pods.len();
            for service in space.services.values().filter_map(ServiceFact::full) {
                let name = service.metadata.name.clone().unwrap_or_default();
                if is_generated(service) {
                    generated.push((space.name.clone(), name));
                } else {
                    sources.push((space.name.clone(), service.clone()));
                }
            }
        }
        let opted_in = sources.len();
        for (namespace, service) in sources {
            self.source_seen(&namespace, &service);
        }
        let slices: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| {
                space.slices.values().map(|slice| (space.name.clone(), slice.metadata.name.clone()))
            })
            .collect();
        for (namespace, name) in generated {
            self.sweep_service(&namespace, &name);
        }
        for (namespace, name) in slices {
            let name = name.unwrap_or_default();
            let Some(slice) =
                self.world.namespaces.get(&namespace).and_then(|space| space.slices.get(&*name))
            else {
                continue;
            };
            if self.managed_of(&namespace, &slice.clone()).is_none() {
                self.sweep_slice(&namespace, &name);
            }
        }
        self.health.set_synced(true);
        info!(services = opted_in, pods, "armed: all lists are in");
    }

    /// Starts, or restarts, an election from what is known.
    fn begin(&mut self, key: &Key) {
        let at = self.clock.now();
        let horizon = self.horizon(&key.namespace);
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let selector = managed.view.source.selector.clone();
        let members = space
            .pods
            .values()
            .filter(|row| row.membership(&selector).is_ok())
            .map(|row| row.member(&managed.view))
            .collect();
        let wishes = if managed.is_synced() { Vec::new() } else { managed.wishes() };
        let synced = managed.begin(members, horizon, at);
        for event in wishes.into_iter().chain([synced]) {
            self.step(key, event);
        }
    }

    // Steps.

    fn managed(&self, key: &Key) -> Option<&Managed> {
        self.world.namespaces.get(&key.namespace)?.managed.get(&key.name)
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
        let at = self.clock.now();
        let horizon = self.horizon(&key.namespace);
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let cx = Surroundings { at, identity: &self.identity, pods: &space.pods, horizon };
        let mut out = Outcome::default();
        act(managed, &cx, &mut out);
        managed.tend(&cx, &mut out);
        let mut facts: std::collections::VecDeque<_> = std::mem::take(&mut out.events).into();
        while let Some(event) = facts.pop_front() {
            let step = managed.election.step(at, &event);
            report(managed, &event, &step);
            if step.transition.is_some() {
                managed.triggered(at);
            }
            let more = managed.carry_out(step, &cx);
            facts.extend(more.events);
            out.errands.extend(more.errands);
            out.notices.extend(more.notices);
        }
        let (generation, regarding) = (managed.generation, managed.regarding());
        let (can_begin, is_over) = (managed.can_begin(), managed.election.is_over());
        let retired = if managed.serves() { std::mem::take(&mut managed.retired) } else { Vec::new() };
        self.set_alarm(key);
        for (errand, request) in out.errands {
            self.submit(key, generation, errand, request);
        }
        for notice in &out.notices {
            self.send_notice(notice, &regarding);
        }
        for name in retired {
            self.sweep_name(&key.namespace, &name);
        }
        if is_over {
            self.ended(key);
        } else if can_begin && self.is_armed {
            self.begin(key);
        }
    }

    fn submit(&mut self, key: &Key, generation: u32, errand: Errand, request: Request) {
        let purpose = Purpose::Of(key.clone(), generation, errand);
        self.apply.submit(Order { purpose, namespace: key.namespace.to_string(), request });
    }

    fn send_notice(&mut self, notice: &Notice, regarding: &Regarding) {
        let event = notice::event(notice, regarding, self.clock.now(), &self.identity.replica);
        self.apply.submit(loose(&regarding.namespace, Request::Notify(Box::new(event))));
    }

    fn answered(&mut self, answer: Answer<Purpose>) {
        self.note_reachability(answer.result.as_ref().err());
        let Purpose::Of(key, generation, errand) = answer.purpose else {
            if let Err(failure) = answer.result {
                tracing::debug!("a loose order failed: {failure}");
            }
            return;
        };
        if let Errand::Confirm { name, uid, .. } = &errand {
            self.confirmed(&key, name, uid, &answer.result);
        }
        if self.managed(&key).is_none_or(|managed| managed.generation != generation) {
            return;
        }
        let result = answer.result;
        self.with(&key, |managed, cx, out| managed.answered(errand, result, cx, out));
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

    /// After an outage the first answer ends everybody's back-off.
    fn note_reachability(&mut self, failure: Option<&Failure>) {
        let is_cut_off =
            failure.is_some_and(|failure| matches!(failure.kind, Kind::Unknown | Kind::Unreachable));
        if self.is_cut_off && !is_cut_off {
            self.server_back();
        }
        self.is_cut_off = is_cut_off;
    }

    fn server_back(&mut self) {
        let keys: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| space.managed.values())
            .filter(|managed| managed.is_synced() && !managed.election.is_settled())
            .map(|managed| managed.key.clone())
            .collect();
        for key in keys {
            self.step(&key, Event::ServerBack);
        }
    }

    // Alarms.

    fn set_alarm(&mut self, key: &Key) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let deadline = managed.deadline();
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
        }
    }
}

/// What a member's election is told when its pod changes from one row to another, or its Service from one view
/// to another.
fn pod_facts(old: Option<&PodRow>, new: Option<&PodRow>, old_view: &View, view: &View) -> Vec<Event> {
    let old = old.filter(|row| row.membership(&old_view.source.selector).is_ok());
    let mut facts = Vec::new();
    let membership = new.map(|row| row.membership(&view.source.selector));
    let replaced = old.is_some_and(|old| new.is_some_and(|new| new.pod != old.pod));
    if let Some(old) = old {
        if replaced {
            facts.push(Event::PodGone { pod: old.pod.clone(), how: Departure::Deleted });
        } else if let Some(Err(how)) = membership {
            facts.push(Event::PodGone { pod: old.pod.clone(), how });
        }
    }
    if let (Some(new), Some(Ok(()))) = (new, membership) {
        let before = old.filter(|_| !replaced).map(|row| row.member(old_view));
        facts.extend(event_for(before.as_ref(), new.member(view)));
    }
    facts
}

/// What happened, for people who read logs.
fn report(managed: &Managed, event: &Event, step: &Step) {
    let Some(transition) = &step.transition else {
        tracing::trace!(service = %managed.key, ?event, effects = step.effects.len(), "step");
        return;
    };
    let state = managed.election.state();
    info!(
        service = %managed.key,
        from = transition.from.as_str(),
        to = transition.to.as_str(),
        cause = transition.cause.as_str(),
        previous = transition.from_pod.as_ref().map(machine::Pod::name),
        pod = transition.to_pod.as_ref().map(machine::Pod::name),
        epoch = state.epoch().map(|epoch| epoch.0),
        "transition"
    );
}

fn loose(namespace: &str, request: Request) -> Order<Purpose> {
    Order { purpose: Purpose::Loose, namespace: namespace.to_owned(), request }
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.into(), name: name.into() }
}

fn names_of(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> (String, String) {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn target(is_service: bool, metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Target {
    Target {
        is_service,
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        version: version(metadata).0,
    }
}
