//! Pods: every one is kept as a row, and told to the elections that it concerns.

use std::cmp::Reverse;
use std::collections::HashSet;

use machine::{Departure, Event, Member, Timestamp, Version};
use tracing::warn;

use super::Driver;
use crate::annotations::Invalid;
use crate::kinds::{PodLite, version};
use crate::notice::{Notice, Regarding};
use crate::rows::{Ground, PodRow, View, event_for};
use crate::watch::Change;
use crate::world::went_back;

impl Driver {
    pub(super) fn pods(&mut self, watch: usize, change: Change<PodLite>) {
        match change {
            Change::Relisting => self.lists[watch].pods.restart(),
            Change::Page(pods) => {
                let rows: Vec<_> = pods.iter().filter_map(|pod| self.world.row(pod)).collect();
                self.lists[watch].pods.page(rows);
            }
            Change::Listed { version, restored } => self.pods_listed(watch, Version(version), restored),
            Change::Applied(pod) => {
                self.lists[watch].pods.saw(version(&pod.metadata));
                if let Some(row) = self.world.row(&pod) {
                    self.pod_seen(row);
                }
            }
            Change::Deleted(pod) => {
                self.lists[watch].pods.saw(version(&pod.metadata));
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                self.pod_gone(namespace, name, pod.metadata.uid.as_deref());
            }
            Change::Bookmark(version) => self.lists[watch].pods.saw(Version(version)),
            Change::Malformed { object, error } => warn!(pod = object, "a pod cannot be read: {error}"),
        }
    }

    pub(super) fn pods_listed(&mut self, watch: usize, version: Version, restored: bool) {
        let rows = self.lists[watch].pods.take();
        let known = |row: &PodRow| {
            self.world.namespaces.get(&row.namespace)?.pods.get(row.pod.name()).map(|row| row.version)
        };
        let restored = restored
            || rows.iter().any(|row| known(row).is_some_and(|known| went_back(known, row.version, version)));
        self.lists[watch].pods.saw_list(version, restored);
        // What a read has told may be newer than the list: of its end the watch will tell.
        let is_due = |row: &&PodRow| restored || row.version <= version;
        let listed: HashSet<_> = rows.iter().map(|row| (&*row.namespace, row.pod.name())).collect();
        let mut gone: Vec<_> = self
            .namespaces_of(watch)
            .flat_map(|space| space.pods.values())
            .filter(|row| is_due(row) && !listed.contains(&(&*row.namespace, row.pod.name())))
            .map(|row| (row.namespace.clone(), row.pod.clone()))
            .collect();
        // Rows are in no order; what follows from them is.
        gone.sort_unstable_by(|a, b| (&a.0, a.1.name()).cmp(&(&b.0, b.1.name())));
        for row in rows {
            if restored {
                self.put_pod(row);
            } else {
                self.pod_seen(row);
            }
        }
        for (namespace, pod) in gone {
            self.pod_gone(&namespace, pod.name(), None);
        }
        self.listed(watch, restored);
    }

    /// Rows are kept of all pods, also of those that concern nobody yet.
    pub(super) fn put_pod(&mut self, mut row: PodRow) -> Option<PodRow> {
        let namespace = self.world.namespace(&row.namespace.clone());
        if let Some(known) = namespace.pods.get_mut(row.pod.name()) {
            if known.pod == row.pod {
                // One text for one pod, here and in the elections: it takes less, and is soon compared.
                row.pod.clone_from(&known.pod);
            }
            return Some(std::mem::replace(known, row));
        }
        namespace.pods.insert(row.pod.clone().into(), row);
        None
    }

    pub(super) fn pod_seen(&mut self, row: PodRow) {
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
        let grounds = &self.world.grounds;
        let mut facts = Vec::new();
        let mut unclear = Vec::new();
        for source in concerned {
            let Some(managed) = space.managed.get(&source).filter(|managed| managed.is_synced()) else {
                continue;
            };
            let look = |row| Look { row, view: &managed.view, ground: grounds.of(row) };
            let told = pod_facts(old.as_ref().map(look), look(new));
            facts.extend(told.into_iter().map(|event| (managed.key.clone(), event)));
            unclear.extend(unclear_settings(old.as_ref(), new, &managed.view, &managed.view));
        }
        for (key, event) in facts {
            self.step(&key, event);
        }
        for (notice, regarding) in unclear {
            self.send_notice(&notice, &regarding);
        }
    }

    /// `uid`: whose end was seen; none: whoever has that name is gone.
    pub(super) fn pod_gone(&mut self, namespace: &str, name: &str, uid: Option<&str>) {
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
}

/// A pod, as a Service sees it where it runs.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) row: &'a PodRow,
    pub(super) view: &'a View,
    pub(super) ground: &'a Ground,
}

impl<'a> Look<'a> {
    /// Sorts the best first, as far as that needs no policy.
    pub(super) fn order(&self) -> (bool, Reverse<i32>, Reverse<u8>, Timestamp, &'a str) {
        let row = self.row;
        let place = row.place(self.ground, &self.view.preferred);
        (self.ground.is_avoided(), Reverse(row.priority), Reverse(place), row.created(), row.pod.name())
    }

    pub(super) fn membership(self) -> Result<(), Departure> {
        self.row.membership(&self.view.source.selector)
    }

    fn member(self) -> Member {
        self.row.member(self.view, self.ground)
    }
}

/// What a member's election is told when its pod changes from one row to another, its Service from one view to another,
/// or what is known of its node.
pub(super) fn pod_facts(old: Option<Look<'_>>, new: Look<'_>) -> Vec<Event> {
    let pod = &new.row.pod;
    let old = old.filter(|old| old.membership().is_ok());
    let mut facts = Vec::new();
    let membership = new.membership();
    let replaced = old.is_some_and(|old| *pod != old.row.pod);
    if let Some(old) = old {
        if replaced {
            facts.push(Event::PodGone { pod: old.row.pod.clone(), how: Departure::Deleted });
        } else if let Err(how) = membership {
            facts.push(Event::PodGone { pod: pod.clone(), how });
        }
    }
    if membership.is_ok() {
        let before = old.filter(|_| !replaced);
        let was_lost = before.is_some_and(|before| before.ground.is_lost);
        // First, so that whoever is new there is not chosen for a moment.
        if new.ground.is_lost && !was_lost {
            facts.push(Event::NodeLost { pod: pod.clone() });
        }
        facts.extend(event_for(before.map(Look::member).as_ref(), new.member()));
        if was_lost && !new.ground.is_lost {
            facts.push(Event::NodeBack { pod: pod.clone() });
        }
    }
    facts
}

/// What a Service's people are told of annotations of its pod that cannot be understood, and that they were not
/// told of before.
pub(super) fn unclear_settings(
    old: Option<&PodRow>,
    new: &PodRow,
    old_view: &View,
    view: &View,
) -> Vec<(Notice, Regarding)> {
    let of_member = |row: &PodRow, view: &View| {
        row.invalid.clone().filter(|_| row.membership(&view.source.selector).is_ok())
    };
    let Some(invalid) = of_member(new, view) else { return Vec::new() };
    let known = old.filter(|old| old.pod == new.pod).and_then(|old| of_member(old, old_view));
    let is_news = |invalid: &&Invalid| known.as_ref().is_none_or(|known| !known.contains(invalid));
    invalid
        .iter()
        .filter(is_news)
        .map(|invalid| {
            let Invalid { annotation, value, default, why } = invalid;
            warn!(pod = %new.pod, annotation, %value, default, "invalid configuration: {why}");
            let notice = Notice::invalid_configuration(invalid, Some(new.pod.clone()));
            (notice, Regarding::from(&*view.source))
        })
        .collect()
}
