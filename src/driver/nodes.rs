//! Nodes that are lost or back: the elections of all Services with a member there are told.

use std::cmp::Reverse;

use machine::Event;

use super::Driver;
use crate::managed::Key;
use crate::nodes::Verdict;
use crate::rows::PodRow;

impl Driver {
    pub(super) fn node(&mut self, Verdict { node, is_lost }: Verdict) {
        let is_news = if is_lost {
            self.world.lost_nodes.insert(node.clone())
        } else {
            self.world.lost_nodes.remove(&node)
        };
        if !is_news || !self.is_armed {
            return;
        }
        for (key, event) in self.facts_of_node(&node, is_lost) {
            self.step(&key, event);
        }
    }

    /// What is to be told of all members on a node.
    fn facts_of_node(&self, node: &str, is_lost: bool) -> Vec<(Key, Event)> {
        let mut facts = Vec::new();
        for space in self.world.namespaces.values() {
            let is_there = |row: &&PodRow| row.node.as_deref() == Some(node);
            let mut rows: Vec<_> = space.pods.values().filter(is_there).collect();
            // Of those who are back the first one that can lead is elected: the best comes first, as far as that needs no
            // policy.
            rows.sort_unstable_by_key(|row| (Reverse(row.priority), row.created(), row.pod.name()));
            for managed in space.managed.values().filter(|managed| managed.is_synced()) {
                let members = rows.iter().filter(|row| row.membership(&managed.view.source.selector).is_ok());
                let mut members: Vec<_> = members.map(|row| &row.pod).collect();
                // The leader of those who are lost comes last, so that nobody there is chosen to follow.
                let leader = managed.election.state().pod();
                members.sort_by_key(|pod| is_lost && leader == Some(pod));
                facts.extend(members.into_iter().map(|pod| (managed.key.clone(), node_fact(pod, is_lost))));
            }
        }
        facts
    }
}

fn node_fact(pod: &machine::Pod, is_lost: bool) -> Event {
    let pod = pod.clone();
    if is_lost { Event::NodeLost { pod } } else { Event::NodeBack { pod } }
}
