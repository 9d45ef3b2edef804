//! Slices that carry our label, and what is to become of those that nobody asks for.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::Version;
use tracing::{info, warn};

use super::gate::went_back;
use super::leftovers::sweep;
use super::{Driver, names_of};
use crate::annotations;
use crate::apply::Target;
use crate::kinds::{SliceLite, version};
use crate::managed::{Key, Managed};
use crate::names::{LABEL_SERVICE_NAME, LABEL_SOURCE_SERVICE};
use crate::watch::Change;
use crate::world::{Namespace, ServiceFact};

impl Driver {
    pub(super) fn slices(&mut self, watch: usize, change: Change<SliceLite>) {
        match change {
            Change::Relisting => self.lists[watch].slices = Vec::new(),
            Change::Page(slices) => self.lists[watch].slices.extend(slices),
            Change::Listed { version, restored } => self.slices_listed(watch, Version(version), restored),
            Change::Applied(slice) => self.slice_seen(&slice),
            Change::Deleted(slice) => self.slice_gone(&slice),
            Change::Bookmark(_) => {}
            Change::Malformed { object, error } => {
                warn!(slice = object, "an EndpointSlice cannot be read: {error}");
            }
        }
    }

    pub(super) fn slices_listed(&mut self, watch: usize, listed: Version, restored: bool) {
        let slices = std::mem::take(&mut self.lists[watch].slices);
        let known = |slice: &SliceLite| {
            let (namespace, name) = names_of(&slice.metadata);
            self.world.namespaces.get(&*namespace)?.slices.get(&*name).map(|known| version(&known.metadata))
        };
        let is_older = |slice: &SliceLite| went_back(known(slice), version(&slice.metadata), listed);
        let restored = restored || slices.iter().any(is_older);
        if restored {
            self.distrust(watch, Managed::distrust_slices);
        }
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
            self.slice_seen(&slice);
        }
        for slice in gone {
            self.slice_gone(&slice);
        }
        self.lists[watch].listed[2] = true;
        self.listed(watch, restored);
    }

    pub(super) fn slice_seen(&mut self, slice: &SliceLite) {
        let (namespace, name) = names_of(&slice.metadata);
        let space = self.world.namespace(&namespace);
        if space.slices.get(&*name).is_some_and(|known| version(&known.metadata) > version(&slice.metadata)) {
            return;
        }
        space.slices.insert(name.as_str().into(), slice.clone());
        if !self.is_armed {
            return;
        }
        let concerned = self.managed_of(&namespace, &name);
        if concerned.is_empty() {
            self.sweep_slice(&namespace, &name);
        }
        for key in concerned {
            self.with(&key, |managed, cx, out| managed.slice_seen(slice, cx, out));
        }
    }

    pub(super) fn slice_gone(&mut self, slice: &SliceLite) {
        let (namespace, name) = names_of(&slice.metadata);
        let Some(space) = self.world.namespaces.get_mut(&*namespace) else { return };
        if space.slices.get(&*name).is_some_and(|known| version(&known.metadata) > version(&slice.metadata)) {
            return;
        }
        space.slices.remove(&*name);
        if self.is_armed {
            for key in self.managed_of(&namespace, &name) {
                self.with(&key, |managed, cx, out| managed.slice_gone(slice, cx, out));
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
        let Some(service) = space.services.get(name).and_then(ServiceFact::full) else { return };
        if !space.leader_of(name).is_empty() || !self.is_abandoned(space, &service.metadata, name) {
            return;
        }
        let target = Target::of(true, &service.metadata);
        info!(namespace, service = name, "removing a leader Service that no Service asks for");
        self.apply.submit(sweep(namespace, target));
    }

    pub(super) fn sweep_slice(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.world.namespaces.get(namespace) else { return };
        let Some(slice) = space.slices.get(name) else { return };
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME));
        let is_asked_for = self.is_asked_for(namespace, name);
        if is_asked_for || !self.is_abandoned(space, &slice.metadata, service.map_or(name, String::as_str)) {
            return;
        }
        let target = Target::of(false, &slice.metadata);
        info!(namespace, slice = name, "removing a leader slice that no Service asks for");
        self.apply.submit(sweep(namespace, target));
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
        space.services.contains_key(source.as_str()) && owners.iter().any(|owner| owner.kind == "Service")
    }

    /// Slices of others under the leader Services' names.
    pub(super) fn look_for_strays(&mut self) {
        let managed = self.world.namespaces.values().flat_map(|space| space.managed.values());
        let looks: Vec<_> = managed
            .map(|managed| (managed.key.clone(), managed.generation, managed.look_for_strays()))
            .collect();
        for (key, generation, (errand, request)) in looks {
            self.submit(&key, generation, errand, request);
        }
    }
}
