//! The pods as they truly are.

use std::sync::Arc;

use machine::{Departure, Member, Pod, Version};

use crate::server::Server;
use crate::support;

/// What the pods' watch shows.
#[derive(Clone, Debug)]
pub(crate) struct PodEvent {
    pub(crate) version: Version,
    pub(crate) pod: Pod,
    pub(crate) now: Result<Member, Departure>,
}

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PodFault {
    Ready,
    Unready,
    Terminating,
    Deleted,
    /// By another of its name and address, Ready at once.
    Replaced,
    Created,
}

impl Server {
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.pods.iter().flatten()
    }

    pub(crate) fn find(&self, pod: &Pod) -> Option<&Member> {
        self.members().find(|member| member.pod.uid() == pod.uid())
    }

    /// What can happen to the pod of this name.
    pub(crate) fn pod_faults(&self, slot: usize) -> &'static [PodFault] {
        use PodFault::{Created, Deleted, Ready, Replaced, Terminating, Unready};
        match &self.pods[slot] {
            None => &[Created],
            Some(pod) => match (pod.ready, pod.terminating) {
                (true, false) => &[Unready, Terminating, Deleted, Replaced],
                (false, false) => &[Ready, Terminating, Deleted, Replaced],
                (true, true) => &[Unready, Deleted, Replaced],
                (false, true) => &[Deleted, Replaced],
            },
        }
    }

    pub(crate) fn pod_fails(&mut self, slot: usize, fault: PodFault) {
        match fault {
            PodFault::Ready => self.change(slot, |pod| pod.ready = true),
            PodFault::Unready => self.change(slot, |pod| pod.ready = false),
            PodFault::Terminating => self.change(slot, |pod| pod.terminating = true),
            PodFault::Deleted => self.delete(slot),
            PodFault::Replaced => {
                self.delete(slot);
                self.create(slot);
            }
            PodFault::Created => self.create(slot),
        }
    }

    pub(crate) fn create(&mut self, slot: usize) {
        let version = self.next_version();
        self.born[slot] += 1;
        let name = ["a", "b", "c", "d"][slot];
        let uid = format!("{name}{}", self.born[slot]);
        let member = support::pod(name).uid(&uid).ready().version(version.0).0;
        self.pods[slot] = Some(member.clone());
        self.log.push(Arc::new(PodEvent { version, pod: member.pod.clone(), now: Ok(member) }));
    }

    fn delete(&mut self, slot: usize) {
        let version = self.next_version();
        if let Some(member) = self.pods[slot].take() {
            self.log.push(Arc::new(PodEvent { version, pod: member.pod, now: Err(Departure::Deleted) }));
        }
    }

    fn change(&mut self, slot: usize, change: impl FnOnce(&mut Member)) {
        let version = self.next_version();
        if let Some(member) = &mut self.pods[slot] {
            change(member);
            member.version = version;
            let (pod, now) = (member.pod.clone(), Ok(member.clone()));
            self.log.push(Arc::new(PodEvent { version, pod, now }));
        }
    }
}
