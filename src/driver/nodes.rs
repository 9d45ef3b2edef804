//! Nodes that are lost or back, or elsewhere than was thought: the elections of all Services with a member there are told.

use machine::Event;

use super::Driver;
use super::pods::{Look, pod_facts};
use crate::managed::Key;
use crate::nodes::Verdict;
use crate::rows::{Ground, PodRow};

impl Driver {
    pub(super) fn node(&mut self, Verdict { node, ground }: Verdict) {
        let old = self.world.grounds.put(&node, ground.clone());
        if old == ground || !self.is_armed {
            return;
        }
        for (key, event) in self.facts_of_node(&node, &old, &ground) {
            self.step(&key, event);
        }
    }

    /// What is to be told of all members on a node.
    fn facts_of_node(&self, node: &str, old: &Ground, new: &Ground) -> Vec<(Key, Event)> {
        let mut facts = Vec::new();
        for space in self.world.namespaces.values() {
            let is_there = |row: &&PodRow| row.node.as_deref() == Some(node);
            let rows: Vec<_> = space.pods.values().filter(is_there).collect();
            for managed in space.managed.values().filter(|managed| managed.is_synced()) {
                let look = |row| Look { row, view: &managed.view, ground: new };
                let mut members: Vec<_> =
                    rows.iter().copied().map(look).filter(|look| look.membership().is_ok()).collect();
                // Of those who are back the first one that can lead is elected: the best comes first. The leader of those
                // who had better not lead comes last, so that nobody there is chosen to follow.
                let leader = managed.election.state().pod();
                members.sort_by_key(|look| (new.is_avoided() && leader == Some(&look.row.pod), look.order()));
                for new in members {
                    let told = pod_facts(Some(Look { ground: old, ..new }), new);
                    facts.extend(told.into_iter().map(|event| (managed.key.clone(), event)));
                }
            }
        }
        facts
    }
}
