//! The gate: nothing is decided before all lists are in, and everything is decided anew after a restore.

use std::collections::BTreeMap;

use machine::{Event, Member, Pod, Version};
use tracing::{info, warn};

use super::Driver;
use super::lists::Lists;
use super::pods::unclear_settings;
use crate::kinds::Versioned;
use crate::managed::{Key, Managed};
use crate::rows::PodRow;
use crate::world::{Namespace, ServiceFact, Shelf};

impl Driver {
    /// What these elections know of their own objects may be newer than what there is.
    pub(super) fn distrust(&mut self, watch: usize, forget: fn(&mut Managed)) {
        let scope = &self.scope;
        let spaces = self.world.namespaces.values_mut();
        let restored = spaces.filter(|space| scope.watch_of(&space.name) == watch);
        restored.flat_map(|space| space.managed.values_mut()).for_each(|managed| forget(managed));
    }

    /// Whether one of these objects, of a list in this version, proves that the store was restored.
    pub(super) fn is_refuted<T: Versioned>(
        &self,
        listed: &[(Key, T)],
        list: Version,
        known: fn(&Namespace) -> &Shelf<T>,
    ) -> bool {
        listed.iter().any(|(key, object)| {
            let space = self.world.namespaces.get(&key.namespace);
            space.is_some_and(|space| known(space).is_refuted(&key.name, object, list))
        })
    }

    pub(super) fn namespaces_of(&self, watch: usize) -> impl Iterator<Item = &Namespace> {
        self.world.namespaces.values().filter(move |space| self.scope.watch_of(&space.name) == watch)
    }

    pub(super) fn listed(&mut self, watch: usize, restored: bool) {
        if self.is_armed {
            if restored {
                self.begin_anew(watch);
            }
            return;
        }
        let are_listed = |is_complete: fn(&Lists) -> bool| self.lists.iter().all(is_complete);
        let pods = are_listed(|lists| lists.pods.is_complete);
        let services = are_listed(|lists| lists.services.is_complete);
        let slices = are_listed(|lists| lists.slices.is_complete);
        if services && slices && !self.knows_services {
            self.knows_services = true;
            self.opt_in_all();
        }
        if pods && services && slices {
            self.arm();
        }
    }

    fn begin_anew(&mut self, watch: usize) {
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

    /// All Services and slices are known. Pods are many, and their list is the last to come in: what can be done
    /// without them is done meanwhile.
    fn opt_in_all(&mut self) {
        let spaces = self.world.namespaces.values();
        let sources: Vec<_> = spaces
            .flat_map(|space| space.services.iter().map(|(name, fact)| (space.key(name), fact)))
            .filter_map(|(key, fact)| match fact {
                ServiceFact::Source(service) => Some((key, service.clone())),
                ServiceFact::Plain(_) | ServiceFact::Generated(_) => None,
            })
            .collect();
        for (key, service) in sources {
            if let Some(service) = service.read() {
                self.source_seen(&key, &service);
            }
        }
    }

    /// All lists are in: everything is decided from one consistent view. Losses come first.
    fn arm(&mut self) {
        self.is_armed = true;
        for (key, members) in self.all_members() {
            self.begin_with(&key, members);
        }
        self.health.set_synced(true);
        let spaces = self.world.namespaces.values();
        let services: usize = spaces.clone().map(|space| space.managed.len()).sum();
        let led: usize = spaces.clone().map(Namespace::led).sum();
        let pods: usize = spaces.clone().map(|space| space.pods.len()).sum();
        info!(services, led, pods, "armed: all lists are in");
        self.sweep_all();
    }

    /// Removes what is ours and nobody asks for.
    pub(super) fn sweep_all(&mut self) {
        let spaces = self.world.namespaces.values();
        let generated: Vec<_> = spaces
            .clone()
            .flat_map(|space| space.services.iter().map(|(name, fact)| (space.key(name), fact)))
            .filter(|(_, fact)| matches!(fact, ServiceFact::Generated(_)))
            .map(|(key, _)| key)
            .collect();
        let slices: Vec<_> =
            spaces.flat_map(|space| space.slices.names().map(|name| space.key(name))).collect();
        for key in generated {
            self.sweep_service(&key.namespace, &key.name);
        }
        for key in slices {
            self.sweep_slice(&key.namespace, &key.name);
        }
    }

    /// The members of all elections that can begin, in one walk over the pods.
    fn all_members(&self) -> Vec<(Key, Vec<Member>)> {
        let mut all = Vec::new();
        for space in self.world.namespaces.values() {
            let waiting = space.managed.values().filter(|managed| managed.can_begin());
            let mut members: BTreeMap<_, Vec<_>> =
                waiting.map(|managed| (managed.key.name.clone(), Vec::new())).collect();
            for row in space.pods.values() {
                for source in space.concerned([row]) {
                    let (Some(managed), Some(members)) =
                        (space.managed.get(&source), members.get_mut(&source))
                    else {
                        continue;
                    };
                    if row.membership(&managed.view.source.selector).is_ok() {
                        members.push(row.member(&managed.view, self.world.grounds.of(row)));
                    }
                }
            }
            all.extend(members.into_iter().map(|(name, members)| (space.key(&name), members)));
        }
        all
    }

    /// Starts, or restarts, an election from what is known.
    pub(super) fn begin(&mut self, key: &Key) {
        let Some(space) = self.world.namespaces.get(&key.namespace) else { return };
        let Some(managed) = space.managed.get(&key.name) else { return };
        let is_member = |row: &&PodRow| row.membership(&managed.view.source.selector).is_ok();
        let member = |row: &PodRow| row.member(&managed.view, self.world.grounds.of(row));
        let members = space.pods.values().filter(is_member).map(member).collect();
        self.begin_with(key, members);
    }

    /// Which of the members are on lost nodes.
    fn stranded(&self, key: &Key, members: &[Member]) -> Vec<Pod> {
        let pods = self.world.namespaces.get(&key.namespace).map(|space| &space.pods);
        let is_stranded = |pod: &Pod| {
            pods.and_then(|pods| pods.get(pod.name())).is_some_and(|row| self.world.grounds.of(row).is_lost)
        };
        members.iter().map(|member| &member.pod).filter(|pod| is_stranded(pod)).cloned().collect()
    }

    fn begin_with(&mut self, key: &Key, mut members: Vec<Member>) {
        // Rows are in no order; what follows from them is.
        members.sort_unstable_by(|a, b| a.pod.name().cmp(b.pod.name()));
        let at = self.clock.now();
        let horizon = self.horizon(&key.namespace);
        let acts_first = self.held.acts_first;
        let stranded = self.stranded(key, &members);
        self.with(key, |managed, cx, out| {
            // Before they are members, so that none of them is chosen for a moment.
            out.events.extend(stranded.into_iter().map(|pod| Event::NodeLost { pod }));
            if !managed.is_synced() {
                out.events.extend((!acts_first).then_some(Event::LeaseLost));
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
