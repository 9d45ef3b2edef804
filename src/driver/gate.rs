//! The gate: nothing is decided before all lists are in, and everything is decided anew after a restore.

use std::collections::HashMap;
use std::sync::Arc;

use machine::{Member, Version};
use tracing::{info, warn};

use super::Driver;
use super::pods::unclear_settings;
use crate::kinds::ServiceLite;
use crate::managed::{Key, Managed};
use crate::rows::PodRow;
use crate::service::is_generated;
use crate::world::Namespace;

/// Whether a list proves that the store was restored: it has an object in an older version than we know, and is itself
/// newer than that. With the server's count raised beyond what it was, as the manuals of etcd advise for a restore,
/// nothing else shows it. (An object that we know in a version beyond the list was read since the list was made.)
pub(super) fn went_back(known: Option<Version>, listed: Version, list: Version) -> bool {
    known.is_some_and(|known| listed < known && known <= list)
}

impl Driver {
    /// What these elections know of their own objects may be newer than what there is.
    pub(super) fn distrust(&mut self, watch: usize, forget: fn(&mut Managed)) {
        let scope = &self.scope;
        let spaces = self.world.namespaces.values_mut();
        let restored = spaces.filter(|space| scope.watch_of(&space.name) == watch);
        restored.flat_map(|space| space.managed.values_mut()).for_each(forget);
    }

    pub(super) fn namespaces_of(&self, watch: usize) -> impl Iterator<Item = &Namespace> {
        self.world.namespaces.values().filter(move |space| self.scope.watch_of(&space.name) == watch)
    }

    pub(super) fn listed(&mut self, watch: usize, restored: bool) {
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
        let (sources, generated) = self.services_that_matter();
        for (namespace, service) in &sources {
            self.source_seen(namespace, service);
        }
        self.is_armed = true;
        for (key, members) in self.all_members() {
            self.begin_with(&key, members);
        }
        self.health.set_synced(true);
        for Key { namespace, name } in generated {
            self.sweep_service(&namespace, &name);
        }
        let slices: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| space.slices.keys().map(|name| (space.name.clone(), name.clone())))
            .collect();
        for (namespace, name) in slices {
            if !self.is_asked_for(&namespace, &name) {
                self.sweep_slice(&namespace, &name);
            }
        }
        let pods: usize = self.world.namespaces.values().map(|space| space.pods.len()).sum();
        info!(services = sources.len(), pods, "armed: all lists are in");
    }

    /// The Services that opt in, and the names of those that zen-lead made.
    fn services_that_matter(&self) -> (Vec<(Arc<str>, ServiceLite)>, Vec<Key>) {
        let (mut sources, mut generated) = (Vec::new(), Vec::new());
        for space in self.world.namespaces.values() {
            for (name, fact) in &space.services {
                match fact.full() {
                    Some(service) if is_generated(service) => {
                        generated.push(Key { namespace: space.name.clone(), name: name.clone() });
                    }
                    Some(service) => sources.push((space.name.clone(), service.clone())),
                    None => {}
                }
            }
        }
        (sources, generated)
    }

    /// The members of all elections that can begin, in one walk over the pods.
    fn all_members(&self) -> Vec<(Key, Vec<Member>)> {
        let mut all = Vec::new();
        for space in self.world.namespaces.values() {
            let waiting = space.managed.values().filter(|managed| managed.can_begin());
            let mut members: HashMap<_, Vec<_>> =
                waiting.map(|managed| (managed.key.name.clone(), Vec::new())).collect();
            for row in space.pods.values() {
                for source in space.concerned([row]) {
                    let (Some(managed), Some(members)) =
                        (space.managed.get(&source), members.get_mut(&source))
                    else {
                        continue;
                    };
                    if row.membership(&managed.view.source.selector).is_ok() {
                        members.push(row.member(&managed.view));
                    }
                }
            }
            all.extend(
                members
                    .into_iter()
                    .map(|(name, members)| (Key { namespace: space.name.clone(), name }, members)),
            );
        }
        all
    }

    /// Starts, or restarts, an election from what is known.
    pub(super) fn begin(&mut self, key: &Key) {
        let Some(space) = self.world.namespaces.get(&key.namespace) else { return };
        let Some(managed) = space.managed.get(&key.name) else { return };
        let is_member = |row: &&PodRow| row.membership(&managed.view.source.selector).is_ok();
        let members = space.pods.values().filter(is_member).map(|row| row.member(&managed.view)).collect();
        self.begin_with(key, members);
    }

    fn begin_with(&mut self, key: &Key, members: Vec<Member>) {
        let at = self.clock.now();
        let horizon = self.horizon(&key.namespace);
        self.with(key, |managed, cx, out| {
            if !managed.is_synced() {
                out.events.extend(managed.wishes());
                let rows = members.iter().filter_map(|member| cx.row(&member.pod));
                let unclear = rows.flat_map(|row| unclear_settings(None, row, &managed.view, &managed.view));
                out.notices.extend(unclear.map(|(notice, _)| notice));
            }
            let synced = managed.begin(members, horizon, at);
            out.events.push(synced);
        });
    }
}
