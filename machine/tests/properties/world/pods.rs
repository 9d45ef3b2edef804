//! What happens to pods, and how replicas come to hear of it.

use machine::{Departure, Event, Pod, Reach, Site, Timestamp};

use crate::met::{Met, met};
use crate::ops::PodOp;
use crate::pods::uid;

use super::World;

impl World {
    pub(super) fn pod(&mut self, slot: usize, op: PodOp) {
        let now = self.now;
        let Some(truth) = &mut self.server.pods.slots[slot] else {
            if let PodOp::Ready | PodOp::Unready = op {
                self.server.create_pod(slot, now);
            }
            return;
        };
        let member = &mut truth.member;
        let was_ready = member.ready;
        match op {
            PodOp::Ready => member.ready = true,
            PodOp::Unready => member.ready = false,
            PodOp::Terminating => member.terminating = true,
            PodOp::Deleted => return self.server.pod_left(slot, Departure::Deleted),
            PodOp::Replaced => return self.server.replace_pod(slot, now),
            PodOp::Finished => return self.server.pod_left(slot, Departure::Finished),
            PodOp::Relabelled => truth.is_member = !truth.is_member,
            PodOp::Moved => {
                let reach = self.server.pods.next_address();
                if let Some(truth) = &mut self.server.pods.slots[slot] {
                    truth.member.reach = reach;
                }
            }
            PodOp::Addressless => member.reach = Reach::NoAddress,
            PodOp::Unreachable => member.reach = Reach::PortUnresolved { named: true },
            PodOp::Excluded => member.excluded = !member.excluded,
            PodOp::Priority => member.priority = 1 - member.priority,
            PodOp::Revision => member.revision += 1,
            PodOp::Place => member.place = (member.place + 1) % 4,
            PodOp::Site => {
                member.site = match member.site {
                    Site::Sound => Site::Cordoned,
                    Site::Cordoned => Site::Troubled,
                    Site::Troubled => Site::Sound,
                }
            }
        }
        if let Some(truth) = &mut self.server.pods.slots[slot]
            && truth.member.ready != was_ready
        {
            // 1 s resolution; the last one's node has a clock that is ahead.
            let ahead = if slot == 4 { 30 } else { 0 };
            truth.member.ready_changed = Timestamp::from_secs(now.as_secs() + ahead);
        }
        self.server.pod_changed(slot);
    }

    pub(super) fn show_pods(&mut self, n: usize, count: usize) {
        for _ in 0..count {
            let Some(shown) = self.server.pods.log.get(self.replicas[n].pods).cloned() else { return };
            self.replicas[n].pods += 1;
            if self.replicas[n].is_raised_beyond(&shown) {
                continue;
            }
            let event = self.replicas[n].pod_event(&shown);
            self.tell(n, event);
        }
    }

    /// A watch that was cut off shows again what it had shown, of a pod that is still there.
    pub(super) fn show_old_news(&mut self, n: usize, back: usize) {
        let replica = &self.replicas[n];
        let Some(index) = replica.pods.checked_sub(1 + back) else { return };
        let shown = &self.server.pods.log[index];
        let known = replica.told.member(uid(&shown.pod));
        let is_old = known.is_some_and(|known| known.version >= shown.version);
        if shown.now.is_ok() && is_old && !replica.is_raised_beyond(shown) {
            let event = replica.pod_event(shown);
            self.feed(n, event);
        }
    }

    /// A watch that was cut off begins anew, from a list: what it missed is found by difference.
    pub(super) fn relist(&mut self, n: usize) {
        let replica = &mut self.replicas[n];
        let missed =
            self.server.pods.log.len() - std::mem::replace(&mut replica.pods, self.server.pods.log.len());
        if missed > 1 {
            met(Met::Gap);
        }
        for event in replica.difference(&self.server.pods.members_at(self.server.pods.log.len())) {
            self.tell(n, event);
        }
    }

    /// With a new member the replica learns whether its node is lost.
    pub(super) fn tell(&mut self, n: usize, event: Event) {
        let is_known = |world: &Self, pod: &Pod| world.replicas[n].told.member(uid(pod)).is_some();
        let pod = match &event {
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member }
            | Event::Confirmed { member: Some(member), .. } => member.pod.clone(),
            _ => return self.feed(n, event),
        };
        let is_new = !is_known(self, &pod);
        self.feed(n, event);
        let is_lost = self.server.pods.find(uid(&pod)).is_some_and(|truth| truth.node_lost);
        if is_new && is_lost && is_known(self, &pod) {
            self.feed(n, Event::NodeLost { pod });
        }
    }

    pub(super) fn tell_lost_nodes(&mut self, n: usize) {
        let lost: Vec<_> = self.server.pods.present().filter(|truth| truth.node_lost).cloned().collect();
        for truth in lost {
            if self.replicas[n].told.member(truth.uid()).is_some() {
                self.feed(n, Event::NodeLost { pod: truth.member.pod });
            }
        }
    }

    pub(super) fn node(&mut self, slot: usize, lost: bool) {
        let Some(truth) = &mut self.server.pods.slots[slot] else { return };
        truth.node_lost = lost;
        let pod = truth.member.pod.clone();
        for n in 0..self.replicas.len() {
            if self.replicas[n].told.member(uid(&pod)).is_some() {
                let pod = pod.clone();
                self.feed(n, if lost { Event::NodeLost { pod } } else { Event::NodeBack { pod } });
            }
        }
    }
}
