//! Slices that carry our label, and what is to become of those that nobody asks for.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::Version;
use tracing::{info, warn};

use super::leftovers::sweep;
use super::{Driver, key_of};
use crate::annotations;
use crate::apply::Target;
use crate::kinds::{Kept, SliceLite, version};
use crate::managed::{Key, Managed};
use crate::names::{CONTROLLER, LABEL_SERVICE_NAME, LABEL_SLICE_MANAGED_BY, LABEL_SOURCE_SERVICE};
use crate::watch::Change;
use crate::world::{Namespace, ServiceFact};

impl Driver {
    pub(super) fn slices(&mut self, watch: usize, change: Change<SliceLite>) {
        match change {
            Change::Relisting => self.lists[watch].slices.restart(),
            Change::Page(slices) => {
                let kept = slices.iter().map(|slice| (key_of(&slice.metadata), Kept::new(slice)));
                self.lists[watch].slices.page(kept);
            }
            Change::Listed { version, restored } => self.slices_listed(watch, Version(version), restored),
            Change::Applied(slice) => {
                self.lists[watch].slices.saw(version(&slice.metadata));
                self.slice_seen(&key_of(&slice.metadata), &Kept::new(&slice));
            }
            Change::Deleted(slice) => {
                self.lists[watch].slices.saw(version(&slice.metadata));
                self.slice_gone(&key_of(&slice.metadata), version(&slice.metadata));
            }
            Change::Bookmark(version) => self.lists[watch].slices.saw(Version(version)),
            Change::Malformed { object, error } => {
                warn!(slice = object, "an EndpointSlice cannot be read: {error}");
            }
        }
    }

    fn slices_listed(&mut self, watch: usize, list: Version, restored: bool) {
        let slices = self.lists[watch].slices.take();
        let restored = restored || self.is_refuted(&slices, list, |space| &space.slices);
        if restored {
            self.distrust(watch, Managed::distrust_slices);
        }
        self.lists[watch].slices.saw_list(list, restored);
        let listed: HashSet<_> = slices.iter().map(|(key, _)| key).collect();
        let spaces = self.namespaces_of(watch);
        let gone: BTreeSet<_> = spaces
            .flat_map(|space| {
                let managed = space.managed.values();
                let written = managed.flat_map(|managed| managed.slices_due(list, &self.identity));
                space.slices.names().cloned().chain(written.map(Arc::from)).map(|name| space.key(&name))
            })
            .filter(|key| !listed.contains(key))
            .collect();
        for (key, slice) in slices {
            if restored {
                self.world.namespace(&key.namespace).slices.forget(&key.name);
            }
            self.slice_seen(&key, &slice);
        }
        for key in gone {
            if restored {
                self.world.namespace(&key.namespace).slices.forget(&key.name);
            }
            self.slice_gone(&key, list);
        }
        self.listed(watch, restored);
    }

    fn slice_seen(&mut self, key: &Key, slice: &Kept<SliceLite>) {
        let is_news = self.world.namespace(&key.namespace).slices.tell(&key.name, slice.clone());
        if !is_news || !self.knows_services {
            return;
        }
        let concerned = self.managed_of(&key.namespace, &key.name);
        if concerned.is_empty() {
            self.sweep_slice(&key.namespace, &key.name);
        }
        let Some(slice) = slice.read() else { return };
        if annotation(&slice, annotations::TERM_BY).is_some_and(|by| *by != *self.identity.replica) {
            self.held.progressed();
        }
        for source in concerned {
            self.with(&source, |managed, cx, out| managed.slice_seen(&slice, cx, out));
        }
        self.superseded(false, key, version(&slice.metadata).0);
    }

    /// A slice as the API server answers it, which the watch may show later: the Service's next election must not begin
    /// with less than this one knew. What the watch has come past is left to it: there is no such slice any more, or it
    /// lacks our label.
    pub(super) fn slice_answered(&mut self, slice: &SliceLite) {
        let key = key_of(&slice.metadata);
        let horizon = self.lists[self.scope.watch_of(&key.namespace)].slices.horizon;
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let is_watched = space.slices.get(&key.name).is_some() || is_labelled(slice);
        if is_watched && space.slices.is_news(&key.name, version(&slice.metadata), horizon) {
            space.slices.tell(&key.name, Kept::new(slice));
        }
    }

    /// As of this version there is no such slice.
    fn slice_gone(&mut self, key: &Key, as_of: Version) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        if space.slices.gone(&key.name, as_of) && self.knows_services {
            for source in self.managed_of(&key.namespace, &key.name) {
                self.with(&source, |managed, cx, out| managed.slice_gone(&key.name, as_of, cx, out));
            }
        }
    }

    /// Whether a slice of this name belongs to a Service that opted in.
    pub(super) fn is_asked_for(&self, namespace: &str, name: &str) -> bool {
        !self.managed_of(namespace, name).is_empty()
    }

    /// Who asks for a slice of this name: labels can be stripped.
    fn managed_of(&self, namespace: &str, name: &str) -> Vec<Key> {
        let Some(space) = self.world.namespaces.get(namespace) else { return Vec::new() };
        let leader = name.strip_suffix("-ipv4").or_else(|| name.strip_suffix("-ipv6"));
        let sources = [Some(name), leader].into_iter().flatten().flat_map(|leader| space.leader_of(leader));
        sources
            .filter_map(|source| space.managed.get(source))
            .filter(|managed| managed.slice_names(&self.identity).iter().any(|ours| ours == name))
            .map(|managed| managed.key.clone())
            .collect()
    }

    /// Objects of ours that belong to no opted-in Service are removed whenever they are seen.
    pub(super) fn sweep_service(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.world.namespaces.get(namespace) else { return };
        let Some(service) = space.services.get(name).and_then(ServiceFact::kept) else { return };
        let Some(service) = service.read() else { return };
        if !space.leader_of(name).is_empty() || !self.is_abandoned(space, &service.metadata, name) {
            return;
        }
        if !self.held.acts_first {
            return;
        }
        let (target, source) = (Target::of(true, &service.metadata), source_of(&service.metadata));
        info!(namespace, service = name, "removing a leader Service that no Service asks for");
        self.apply.submit(sweep(namespace, target, source));
    }

    pub(super) fn sweep_slice(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.world.namespaces.get(namespace) else { return };
        let Some(slice) = space.slices.get(name).and_then(Kept::read) else { return };
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME));
        let is_asked_for = self.is_asked_for(namespace, name);
        if is_asked_for || !self.is_abandoned(space, &slice.metadata, service.map_or(name, String::as_str)) {
            return;
        }
        if !self.held.acts_first {
            return;
        }
        let (target, source) = (Target::of(false, &slice.metadata), source_of(&slice.metadata));
        info!(namespace, slice = name, "removing a leader slice that no Service asks for");
        self.apply.submit(sweep(namespace, target, source));
    }

    pub(super) fn sweep_name(&mut self, namespace: &str, leader_service: &str) {
        self.sweep_service(namespace, leader_service);
        for name in
            [leader_service.to_owned(), format!("{leader_service}-ipv4"), format!("{leader_service}-ipv6")]
        {
            self.sweep_slice(namespace, &name);
        }
    }

    /// Whether an object that nobody asks for by its name is ours, and may go.
    pub(super) fn is_abandoned(
        &self,
        space: &Namespace,
        metadata: &ObjectMeta,
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
            if managed.retired.iter().any(|name| &**name == leader_service) && !managed.serves() {
                return false;
            }
        }
        let instance = metadata.annotations.as_ref().and_then(|all| all.get(annotations::INSTANCE));
        if let Some(instance) = instance {
            return **instance == *self.identity.instance;
        }
        // The Go zen-lead's: only if the source is there to say that it does not ask for it.
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        space.services.get(source).is_some() && owners.iter().any(|owner| owner.kind == "Service")
    }

    /// Slices of others under the leader Services' names.
    pub(super) fn look_for_strays(&mut self) {
        if !self.held.acts_first {
            return;
        }
        let managed = self.world.namespaces.values().flat_map(|space| space.managed.values());
        let looks: Vec<_> = managed
            .map(|managed| (managed.key.clone(), managed.generation, managed.look_for_strays()))
            .collect();
        for (key, generation, (errand, request)) in looks {
            self.submit(&key, generation, errand, request, None);
        }
    }
}

/// Whether our watch shows it.
fn is_labelled(slice: &SliceLite) -> bool {
    let label = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SLICE_MANAGED_BY));
    label.is_some_and(|by| by == CONTROLLER)
}

fn annotation<'a>(slice: &'a SliceLite, name: &str) -> Option<&'a String> {
    slice.metadata.annotations.as_ref()?.get(name)
}

/// The name of the Service that an object was made for.
fn source_of(metadata: &ObjectMeta) -> &str {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SOURCE_SERVICE));
    label.map(String::as_str).unwrap_or_default()
}
