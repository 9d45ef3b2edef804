//! What people ask for, by the source Service.

use std::num::NonZeroU8;

use machine::{Event, Failback, MaxSwitches, Micros, Policy, Strategy, Switchover};

use super::{World, obstruction};

impl World {
    pub(super) fn policy(&mut self, kind: u8) {
        let secs = Micros::from_secs;
        self.policy = Policy {
            failback: match kind % 4 {
                0 => Failback::After(Micros::ZERO),
                1 => Failback::After(secs(20)),
                _ => Failback::Never,
            },
            min_ready_duration: if kind.is_multiple_of(3) { secs(10) } else { Micros::ZERO },
            failover_min_delay: if kind.is_multiple_of(2) { secs(5) } else { Micros::ZERO },
            strategy: [Strategy::Oldest, Strategy::Newest, Strategy::LongestReady][usize::from(kind % 3)],
            prefer_new_revision: kind < 6,
            leave_cordoned: kind % 4 != 1,
            max_switches: NonZeroU8::new(1 + kind % 2)
                .filter(|_| kind >= 8)
                .map(|count| MaxSwitches { count, window: secs(30) }),
        };
        self.feed_all(&Event::PolicyChanged { policy: self.policy.clone() });
    }

    pub(super) fn pause(&mut self, kind: u8) {
        let until = (kind > 0).then(|| self.now.plus(Micros::from_secs(u64::from(kind) * 5 - 5)));
        self.pause = Some(until);
        self.feed_all(&Event::Paused { until });
    }

    pub(super) fn resume(&mut self) {
        self.pause = None;
        self.feed_all(&Event::Resumed);
    }

    pub(super) fn request(&mut self, slot: usize, kind: u8) {
        let Some(truth) = &self.server.pods.slots[slot] else { return };
        let pod = &truth.member.pod;
        let (uid, expires) = match kind {
            0 => (None, None),
            1 => (Some(pod.uid().into()), Some(self.now.plus(Micros::from_secs(60)))),
            2 => (Some("nobody".into()), Some(self.now.plus(Micros::from_secs(60)))),
            _ => (Some(pod.uid().into()), Some(self.now.plus(Micros::from_millis(20)))),
        };
        let text = format!("{pod}/{kind}").into();
        let request = Switchover { text, pod: pod.name().into(), uid, expires };
        self.request = Some(request.clone());
        self.feed_all(&Event::SwitchoverRequested { request });
    }

    pub(super) fn withdraw_request(&mut self) {
        self.request = None;
        self.feed_all(&Event::SwitchoverWithdrawn);
    }

    /// Rarely: it ends the history.
    pub(super) fn opt_out(&mut self) {
        if self.server.version().0.is_multiple_of(3) {
            self.opted_out = true;
            self.feed_all(&Event::OptedOut);
        }
    }

    pub(super) fn block(&mut self, by_service: bool) {
        self.blocked = Some(by_service);
        self.feed_all(&Event::Blocked { by: obstruction(by_service) });
    }

    pub(super) fn unblock(&mut self) {
        if self.blocked.take().is_none() {
            return;
        }
        let mirrored = self.remove_what_nobody_could_know().max(self.server.mirrored);
        for n in 0..self.replicas.len() {
            self.replicas[n].slices = self.server.revisions.len();
            let standing = self.replicas[n].standing(&self.server, mirrored);
            self.feed(n, Event::Unblocked { standing });
        }
    }
}
