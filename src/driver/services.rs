//! Services: which of them opt in, in what way, and which have the name of a leader Service.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use machine::{Event, Version};
use tracing::{info, warn};

use super::{
    Driver, key_of,
    pods::{Look, pod_facts, unclear_settings},
};
use crate::annotations::{self, Settings};
use crate::failover;
use crate::kinds::{Kept, ServiceLite, Versioned as _, version};
use crate::managed::{Key, Managed};
use crate::notice::{Notice, Regarding};
use crate::rows::View;
use crate::service::Source;
use crate::watch::Change;
use crate::world::ServiceFact;

impl Driver {
    pub(super) fn services(&mut self, watch: usize, change: Change<ServiceLite>) {
        match change {
            Change::Relisting => self.lists[watch].services.restart(),
            Change::Page(services) => {
                let facts =
                    services.iter().map(|service| (key_of(&service.metadata), ServiceFact::of(service)));
                self.lists[watch].services.page(facts);
            }
            Change::Listed { version, restored } => self.services_listed(watch, Version(version), restored),
            Change::Applied(service) => {
                self.lists[watch].services.saw(version(&service.metadata));
                self.service_seen(&key_of(&service.metadata), ServiceFact::of(&service));
            }
            Change::Deleted(service) => {
                self.lists[watch].services.saw(version(&service.metadata));
                self.service_gone(&key_of(&service.metadata), version(&service.metadata));
            }
            Change::Bookmark(version) => self.lists[watch].services.saw(Version(version)),
            Change::Malformed { object, error } => {
                warn!(service = object, "a Service cannot be read: {error}");
            }
        }
    }

    fn services_listed(&mut self, watch: usize, list: Version, restored: bool) {
        let services = self.lists[watch].services.take();
        let restored = restored || self.is_refuted(&services, list, |space| &space.services);
        if restored {
            self.distrust(watch, Managed::distrust_service);
        }
        self.lists[watch].services.saw_list(list, restored);
        let listed: HashSet<_> = services.iter().map(|(key, _)| key).collect();
        let spaces = self.namespaces_of(watch);
        let gone: BTreeSet<_> = spaces
            .flat_map(|space| {
                let written = space.managed.values().filter(|managed| managed.is_service_due(list));
                let names = space.services.names().chain(written.map(|managed| &managed.leader_service));
                names.map(|name| space.key(name))
            })
            .filter(|key| !listed.contains(key))
            .collect();
        for (key, fact) in services {
            if restored {
                self.world.namespace(&key.namespace).services.forget(&key.name);
            }
            self.service_seen(&key, fact);
        }
        for key in gone {
            if restored {
                self.world.namespace(&key.namespace).services.forget(&key.name);
            }
            self.service_gone(&key, list);
        }
        self.listed(watch, restored);
    }

    fn service_seen(&mut self, key: &Key, fact: ServiceFact) {
        let is_news = self.world.namespace(&key.namespace).services.tell(&key.name, fact.clone());
        if !is_news || !self.knows_services {
            return;
        }
        let version = fact.version().0;
        let service = fact.kept().and_then(Kept::read);
        self.leader_service_seen(key, &fact, service.as_ref());
        match (fact, service) {
            (ServiceFact::Generated(_), _) => self.sweep_service(&key.namespace, &key.name),
            (ServiceFact::Source(_), Some(service)) => self.source_seen(key, &service),
            (ServiceFact::Plain(_) | ServiceFact::Source(_), _) => self.leave(key, Event::OptedOut),
        }
        self.superseded(true, key, version);
    }

    /// A leader Service as the API server answers it; see [`Self::slice_answered`].
    pub(super) fn service_answered(&mut self, service: &ServiceLite) {
        let key = key_of(&service.metadata);
        let horizon = self.lists[self.scope.watch_of(&key.namespace)].services.horizon;
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        if space.services.is_news(&key.name, version(&service.metadata), horizon) {
            space.services.tell(&key.name, ServiceFact::of(service));
        }
    }

    /// As of this version there is no such Service.
    fn service_gone(&mut self, key: &Key, as_of: Version) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        if space.services.gone(&key.name, as_of) && self.knows_services {
            for source in self.leaders_named(key) {
                self.with(&source, |managed, cx, out| managed.service_gone(as_of, cx, out));
            }
            self.leave(key, Event::ServiceGone);
        }
    }

    /// A Service that opts in.
    pub(super) fn source_seen(&mut self, key: &Key, service: &ServiceLite) {
        if service.metadata.deletion_timestamp.is_some() {
            self.leave(key, Event::ServiceGone);
            return;
        }
        let nothing = BTreeMap::new();
        let settings =
            annotations::parse(service.metadata.annotations.as_ref().unwrap_or(&nothing), &key.name);
        let source = match Source::new(service) {
            Ok(source) => source,
            Err(why) => {
                let uid = service.metadata.uid.clone().unwrap_or_default();
                if self.invalid.insert(uid) {
                    warn!(service = %key, "it opts in, but cannot have a leader: {why}");
                    self.send_notice(&Notice::invalid_service(why), &Regarding::from(service));
                }
                self.leave(key, Event::OptedOut);
                return;
            }
        };
        self.invalid.remove(service.metadata.uid.as_deref().unwrap_or_default());
        if self.managed(key).is_some() {
            self.update(key, source, settings);
        } else {
            self.opt_in(key, source, settings, None);
        }
    }

    pub(super) fn opt_in(
        &mut self,
        key: &Key,
        source: Source,
        settings: Settings,
        renamed: Option<Box<Managed>>,
    ) {
        self.next_generation += 1;
        let generation = self.next_generation;
        let mut managed = match renamed {
            Some(former) => former.renamed(generation, source, settings),
            None => Managed::new(key.clone(), generation, source, settings),
        };
        let leader_service = managed.leader_service.clone();
        // At start one line tells how many there are.
        if self.is_armed {
            info!(service = %key, leader_service = %leader_service, "opted in");
        }
        for invalid in &managed.settings.invalid {
            warn!(service = %key, annotation = invalid.annotation, value = %invalid.value, default = invalid.default, "invalid configuration: {}", invalid.why);
        }
        let invalid = managed.settings.invalid.clone();
        let view = managed.view.clone();
        let space = self.world.namespace(&key.namespace);
        managed.count(space.former_epoch(&key.name));
        space.index(&view.source.selector, &key.name);
        space.name_leader(&leader_service, &key.name);
        space.managed.insert(key.name.clone(), Box::new(managed));
        for invalid in &invalid {
            self.send_notice(&Notice::invalid_configuration(invalid, None), &Regarding::from(&*view.source));
        }
        // What is there already: the slices first, for the leader Service makes the election begin.
        self.show_slices(key);
        let place = Key { namespace: key.namespace.clone(), name: leader_service };
        match self.world.namespace(&key.namespace).services.get(&place.name).cloned() {
            Some(fact) => self.leader_service_seen(&place, &fact, fact.kept().and_then(Kept::read).as_ref()),
            None => self.with(key, |managed, cx, out| managed.service_seen(None, cx, out)),
        }
        let Some(managed) = self.managed(key) else { return };
        let (generation, (errand, request)) = (managed.generation, managed.look_for_strays());
        // At start the regular look is soon enough: what stands has been looked at before.
        if self.is_armed {
            self.submit(key, generation, errand, request, None);
        }
    }

    /// Tells what the watch has shown of this Service's slices.
    fn show_slices(&mut self, key: &Key) {
        let names = self.managed(key).map(|managed| managed.slice_names(&self.identity)).unwrap_or_default();
        for name in names {
            let slice = self.world.namespace(&key.namespace).slices.get(&name).and_then(Kept::read);
            if let Some(slice) = slice {
                self.with(key, |managed, cx, out| managed.slice_seen(&slice, cx, out));
            }
        }
    }

    /// The Service of this name is now this: somebody's leader Service, perhaps. `service`: all of it, if it was kept.
    fn leader_service_seen(&mut self, key: &Key, fact: &ServiceFact, service: Option<&ServiceLite>) {
        for source in self.leaders_named(key) {
            self.with(&source, |managed, cx, out| match (fact, service) {
                // Foreign for certain: what zen-lead makes carries its words.
                (ServiceFact::Plain(_), _) => managed.service_is_foreign(out),
                (ServiceFact::Source(_) | ServiceFact::Generated(_), Some(_)) => {
                    managed.service_seen(service, cx, out);
                }
                (ServiceFact::Source(_) | ServiceFact::Generated(_), None) => {}
            });
        }
    }

    fn leaders_named(&self, leader_service: &Key) -> Vec<Key> {
        let Some(space) = self.world.namespaces.get(&leader_service.namespace) else { return Vec::new() };
        space.leader_of(&leader_service.name).iter().map(|source| space.key(source)).collect()
    }

    /// The source Service changed while it is opted in.
    pub(super) fn update(&mut self, key: &Key, source: Source, settings: Settings) {
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
                self.opt_in(key, source, settings, Some(former));
            }
            return;
        }
        let facts = self.changed(key, source, settings);
        for event in facts {
            self.step(key, event);
        }
        // Labels and owner may differ now from what the slices carry.
        self.show_slices(key);
        self.with(key, |managed, _, _| managed.reconsider());
        // A second family may have gone.
        self.sweep_name(&key.namespace, &name);
    }

    /// What the election is told about the difference.
    pub(super) fn changed(&mut self, key: &Key, source: Source, settings: Settings) -> Vec<Event> {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return Vec::new() };
        let Some(managed) = space.managed.get_mut(&key.name) else { return Vec::new() };
        let (old_settings, old_view) = (managed.settings.clone(), managed.view.clone());
        managed.view = View::new(source, &settings);
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
        // Who can lead first, as they are now: who no longer can may be the leader, and somebody has to follow.
        let mut unfit = Vec::new();
        let mut unclear = Vec::new();
        // Told one by one, the first that can lead is elected: so the best comes first, as far as that needs no
        // policy, and never whoever a hash table happens to hold first.
        let look = |row| Look { row, view: &view, ground: self.world.grounds.of(row) };
        let mut looks: Vec<_> = space.pods.values().map(look).collect();
        looks.sort_unstable_by_key(Look::order);
        for new in looks {
            unclear.extend(unclear_settings(Some(new.row), new.row, &old_view, &view));
            let old = Look { view: &old_view, ..new };
            for event in pod_facts(Some(old), new) {
                if takes_away(&event) { unfit.push(event) } else { facts.push(event) }
            }
        }
        facts.append(&mut unfit);
        for (notice, regarding) in unclear {
            self.send_notice(&notice, &regarding);
        }
        facts
    }

    /// The Service opts in no longer, or is gone.
    pub(super) fn leave(&mut self, key: &Key, why: Event) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        if managed.is_leaving {
            return;
        }
        managed.is_leaving = true;
        self.forget(key);
        info!(service = %key, "no longer opted in; what was made for it is removed");
        self.step(key, why);
    }

    /// What was told of it is told no longer.
    fn forget(&self, key: &Key) {
        self.metrics.forget(key);
        if let Some(leaders) = &self.leaders {
            leaders.forget(key);
        }
    }

    /// Forgets an election.
    pub(super) fn take(&mut self, key: &Key) -> Option<Box<Managed>> {
        let space = self.world.namespaces.get_mut(&key.namespace)?;
        let mut managed = space.managed.remove(&key.name)?;
        space.unindex(&managed.view.source.selector, &key.name);
        space.unname_leader(&managed.leader_service, &key.name);
        self.forget(key);
        let over = managed.journal.end(failover::Outcome::Removed, self.clock.now());
        self.over(over, &managed.regarding());
        Some(managed)
    }

    /// An election is over. The Service may have opted in again meanwhile.
    pub(super) fn ended(&mut self, key: &Key) {
        let Some(managed) = self.take(key) else { return };
        let at = self.clock.now();
        let epoch = managed.highest_epoch();
        self.world.namespace(&key.namespace).remember_epoch(&key.name, epoch, at);
        let retired = managed.retired;
        for name in retired {
            self.sweep_name(&key.namespace, &name);
        }
        let space = self.world.namespaces.get(&key.namespace);
        let service = space.and_then(|space| space.services.get(&key.name)).and_then(ServiceFact::kept);
        if let Some(service) = service.and_then(Kept::read) {
            self.source_seen(key, &service);
        }
    }
}

/// Whether a fact can be the end of a leader because its Service asks for something else now.
const fn takes_away(event: &Event) -> bool {
    match event {
        Event::PodGone { .. } => true,
        Event::PodChanged { member } => member.reach.endpoint().is_none(),
        _ => false,
    }
}
