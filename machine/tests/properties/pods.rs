//! The pods as they truly are, and what their watch has to show of them.

use machine::{Departure, Endpoint, Member, Pod, Reach, Site, Timestamp, Version};

use crate::server::Server;

/// Who a pod is, in the model's own words: the machine's idea of which pods are the same is what is tested here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uid(u32);

pub(crate) fn uid(pod: &Pod) -> Uid {
    Uid(pod.uid().parse().expect("a pod of this model"))
}

#[derive(Clone, Debug)]
pub(crate) struct TruePod {
    pub(crate) member: Member,
    pub(crate) is_member: bool,
    pub(crate) node_lost: bool,
}

impl TruePod {
    pub(crate) fn uid(&self) -> Uid {
        uid(&self.member.pod)
    }

    pub(crate) fn is_fit(&self) -> bool {
        self.is_member && is_fit(&self.member)
    }
}

pub(crate) fn is_fit(member: &Member) -> bool {
    member.ready && !member.terminating && !member.excluded && member.reach.endpoint().is_some()
}

#[derive(Clone, Debug)]
pub(crate) struct PodEvent {
    pub(crate) version: Version,
    pub(crate) pod: Pod,
    pub(crate) now: Result<Member, Departure>,
}

/// By name: those that are there, and how often a name, an address and a UID were given.
#[derive(Default)]
pub(crate) struct Pods {
    pub(crate) slots: [Option<TruePod>; 5],
    pub(crate) log: Vec<PodEvent>,
    addresses: u8,
    born: u32,
}

impl Pods {
    pub(crate) fn present(&self) -> impl Iterator<Item = &TruePod> {
        self.slots.iter().flatten()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &TruePod> {
        self.present().filter(|truth| truth.is_member)
    }

    pub(crate) fn find(&self, wanted: Uid) -> Option<&TruePod> {
        self.present().find(|truth| truth.uid() == wanted)
    }

    /// What the watch had shown up to `cursor`.
    pub(crate) fn members_at(&self, cursor: usize) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for event in &self.log[..cursor] {
            members.retain(|member| uid(&member.pod) != uid(&event.pod));
            members.extend(event.now.clone().ok());
        }
        members
    }

    /// There are few addresses, so that they are soon another pod's.
    pub(crate) fn next_address(&mut self) -> Reach {
        let taken = |last: u8| self.present().any(|pod| pod.member.reach.endpoint() == Some(endpoint(last)));
        let last = (1..=7).map(|step| (self.addresses + step) % 7).find(|last| !taken(*last)).unwrap_or(7);
        self.addresses = last;
        Reach::At(endpoint(last))
    }
}

impl Server {
    pub(crate) fn create_pod(&mut self, slot: usize, at: Timestamp) {
        let reach = self.pods.next_address();
        self.pod_born(slot, at, false, reach);
    }

    /// Another pod of that name, at the same address, no less Ready: as with a StatefulSet, if it is quick.
    pub(crate) fn replace_pod(&mut self, slot: usize, at: Timestamp) {
        let Some(former) = self.pods.slots[slot].clone() else { return };
        self.pod_left(slot, Departure::Deleted);
        self.pod_born(slot, at, former.member.ready, former.member.reach);
    }

    fn pod_born(&mut self, slot: usize, at: Timestamp, ready: bool, reach: Reach) {
        self.pods.born += 1;
        let name = ["a", "b", "c", "d", "e"][slot];
        let member = Member {
            pod: Pod::new(name, &self.pods.born.to_string()),
            version: Version(0),
            created: at,
            ready,
            ready_changed: at,
            terminating: false,
            excluded: false,
            priority: 0,
            place: 0,
            site: Site::Sound,
            revision: 0,
            reach,
        };
        self.pods.slots[slot] = Some(TruePod { member, is_member: true, node_lost: false });
        self.pod_changed(slot);
    }

    pub(crate) fn pod_changed(&mut self, slot: usize) {
        let version = self.next_version();
        if let Some(truth) = &mut self.pods.slots[slot] {
            truth.member.version = version;
            let (pod, now) = (truth.member.pod.clone(), truth.member.clone());
            let now = if truth.is_member { Ok(now) } else { Err(Departure::Relabelled) };
            self.pods.log.push(PodEvent { version, pod, now });
        }
    }

    pub(crate) fn pod_left(&mut self, slot: usize, how: Departure) {
        let version = self.next_version();
        if let Some(truth) = self.pods.slots[slot].take() {
            self.pods.log.push(PodEvent { version, pod: truth.member.pod, now: Err(how) });
        }
    }
}

pub(crate) fn endpoint(last: u8) -> Endpoint {
    Endpoint { address: std::net::Ipv4Addr::new(10, 0, 0, last).into(), content: u64::from(last) }
}
