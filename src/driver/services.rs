//! Services: which of them opt in, in what way, and which have the name of a leader Service.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use machine::{Event, Version};
use tracing::{info, warn};

use super::{
    Driver,
    gate::went_back,
    key, names_of,
    pods::{pod_facts, unclear_settings},
};
use crate::annotations::{self, Settings};
use crate::kinds::{ServiceLite, version};
use crate::managed::{Key, Managed};
use crate::notice::{Notice, Regarding};
use crate::rows::View;
use crate::service::{Source, is_generated};
use crate::watch::Change;
use crate::world::ServiceFact;

impl Driver {
    pub(super) fn services(&mut self, watch: usize, change: Change<ServiceLite>) {
        match change {
            Change::Relisting => self.lists[watch].services = Vec::new(),
            Change::Page(services) => self.lists[watch].services.extend(services),
            Change::Listed { version, restored } => self.services_listed(watch, Version(version), restored),
            Change::Applied(service) => self.service_seen(service),
            Change::Deleted(service) => {
                let (namespace, name) = names_of(&service.metadata);
                self.service_gone(&namespace, &name, Some(version(&service.metadata)));
            }
            Change::Bookmark(_) => {}
            Change::Malformed { object, error } => {
                warn!(service = object, "a Service cannot be read: {error}");
            }
        }
    }

    pub(super) fn services_listed(&mut self, watch: usize, listed: Version, restored: bool) {
        let services = std::mem::take(&mut self.lists[watch].services);
        let known = |service: &ServiceLite| {
            let (namespace, name) = names_of(&service.metadata);
            self.world.namespaces.get(&*namespace)?.services.get(&*name).map(ServiceFact::version)
        };
        let is_older = |service: &ServiceLite| went_back(known(service), version(&service.metadata), listed);
        let restored = restored || services.iter().any(is_older);
        if restored {
            self.distrust(watch, Managed::distrust_service);
        }
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

    pub(super) fn service_seen(&mut self, service: ServiceLite) {
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

    pub(super) fn service_gone(&mut self, namespace: &str, name: &str, seen: Option<Version>) {
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
    pub(super) fn source_seen(&mut self, namespace: &str, service: &ServiceLite) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let key = key(namespace, name);
        let nothing = BTreeMap::new();
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
            self.opt_in(&key, source, settings, None);
        }
    }

    pub(super) fn opt_in(&mut self, key: &Key, source: Source, settings: Settings, renamed: Option<Managed>) {
        self.next_generation += 1;
        let generation = self.next_generation;
        let mut managed = match renamed {
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
        managed.count(space.former_epoch(&key.name));
        space.index(&view.source.selector, &key.name);
        space.name_leader(&leader_service, &key.name);
        space.managed.insert(key.name.clone(), managed);
        for invalid in &invalid {
            self.send_notice(&Notice::invalid_configuration(invalid, None), &Regarding::from(&*view.source));
        }
        // What is there already: the slices first, for the leader Service makes the election begin.
        for name in slices {
            let slice = self.world.namespace(&key.namespace).slices.get(&*name).cloned();
            if let Some(slice) = slice {
                self.with(key, |managed, cx, out| managed.slice_seen(&slice, cx, out));
            }
        }
        self.leader_service_known(key, &leader_service);
        let Some(managed) = self.managed(key) else { return };
        let (generation, (errand, request)) = (managed.generation, managed.look_for_strays());
        // At start the regular look is soon enough: what stands has been looked at before.
        if self.is_armed {
            self.submit(key, generation, errand, request);
        }
    }

    /// Tells the election's side how the Service of the leader's name stands, from what the watch has shown.
    pub(super) fn leader_service_known(&mut self, key: &Key, leader_service: &str) {
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

    pub(super) fn leader_service_seen(&mut self, namespace: &str, name: &str, seen: Option<&ServiceLite>) {
        for key in self.leaders_named(namespace, name) {
            self.with(&key, |managed, cx, out| managed.service_seen(seen, cx, out));
        }
    }

    fn leaders_named(&self, namespace: &str, leader_service: &str) -> Vec<Key> {
        let Some(space) = self.world.namespaces.get(namespace) else { return Vec::new() };
        let sources = space.leader_of(leader_service).iter();
        sources.map(|source| Key { namespace: space.name.clone(), name: source.clone() }).collect()
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
        let names = self.managed(key).map(|managed| managed.slice_names(&self.identity)).unwrap_or_default();
        for name in names {
            let slice = self.world.namespace(&key.namespace.clone()).slices.get(&*name).cloned();
            if let Some(slice) = slice {
                self.with(key, |managed, cx, out| managed.slice_seen(&slice, cx, out));
            }
        }
        self.with(key, |managed, _, _| managed.reconsider());
        // A second family may have gone.
        self.sweep_name(&key.namespace, &name);
    }

    /// What the election is told about the difference.
    pub(super) fn changed(&mut self, key: &Key, source: Source, settings: Settings) -> Vec<Event> {
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
        let mut unclear = Vec::new();
        // Told one by one, the first that can lead is elected: so the best comes first, as far as that needs no
        // policy, and never whoever a hash table happens to hold first.
        let mut rows: Vec<_> = space.pods.values().collect();
        rows.sort_unstable_by_key(|row| (Reverse(row.priority), row.created(), row.pod.name()));
        for row in rows {
            unclear.extend(unclear_settings(Some(row), row, &old_view, &view));
            for event in pod_facts(Some(row), Some(row), &old_view, &view) {
                if matches!(event, Event::PodGone { .. }) { gone.push(event) } else { facts.push(event) }
            }
        }
        facts.append(&mut gone);
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
        info!(service = %key, "no longer opted in; what was made for it is removed");
        self.step(key, why);
    }

    /// Forgets an election.
    pub(super) fn take(&mut self, key: &Key) -> Option<Managed> {
        let space = self.world.namespaces.get_mut(&key.namespace)?;
        let managed = space.managed.remove(&key.name)?;
        space.unindex(&managed.view.source.selector, &key.name);
        space.unname_leader(&managed.leader_service, &key.name);
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
        let service =
            space.and_then(|space| space.services.get(&key.name)).and_then(ServiceFact::full).cloned();
        if let Some(service) = service {
            self.source_seen(&key.namespace.clone(), &service);
        }
    }
}
