//! Facts from bytes. Small numbers choose among a few, so that facts meet; any other number there is can come, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;
use std::sync::Arc;

use machine::{
    Departure, Election, Endpoint, Epoch, Event, Failback, MaxSwitches, Member, Micros, Obstruction, OrderId,
    Outcome, Pod, Policy, Publication, Reach, Shown, Site, Standing, Strategy, Switchover, Timestamp,
    Version,
};

/// When it begins, in seconds since 1970.
const START: u64 = 1_772_442_000;

/// Makes up facts until the bytes are used up.
pub(super) struct Inventor<'a> {
    bytes: std::slice::Iter<'a, u8>,
    now: u64,
    orders: Vec<OrderId>,
}

impl<'a> Inventor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), now: START * 1_000_000, orders: Vec::new() }
    }

    /// An order was given: its answer may come.
    pub(super) fn ordered(&mut self, id: OrderId) {
        self.orders.push(id);
    }

    /// The next fact, and when it is told. None when the bytes are used up.
    pub(super) fn fact(&mut self, election: &Election) -> Option<(Timestamp, Event)> {
        let kind = *self.bytes.next()?;
        let step = [0, 1, 50_000, 1_000_000, 30_000_000, 3_600_000_000];
        match self.below(16) {
            15 => self.now = self.number(),
            14 => self.now = self.now.saturating_sub(1_000_000),
            13 => self.now = election.deadline().map_or(self.now, |deadline| deadline.0),
            kind => self.now = self.now.saturating_add(step[kind % step.len()]),
        }
        let event = self.event(kind);
        super::assert_is_told(&event);
        Some((Timestamp(self.now), event))
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn below(&mut self, most: u8) -> usize {
        usize::from(self.byte() % most)
    }

    fn is_so(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Any number; most often one that could be.
    fn number(&mut self) -> u64 {
        let small = u64::from(self.byte());
        match self.below(8) {
            0 => small,
            1 => u64::MAX - small,
            2 => START + small,
            3 => START * 1_000_000 + small,
            4 => self.now.saturating_add(small * 1_000_000),
            5 => i64::MAX as u64 - small,
            6 => small << 56,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.number())
    }

    fn version(&mut self) -> Version {
        if self.is_so() { Version(self.number()) } else { Version(self.byte().into()) }
    }

    fn order(&mut self) -> OrderId {
        let back = self.below(8);
        if back == 7 {
            #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
            return OrderId(self.number() as u32);
        }
        self.orders.iter().rev().nth(back).copied().unwrap_or(OrderId(0))
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.is_so().then(|| make(self))
    }

    fn text(&mut self) -> Arc<str> {
        ["", "orders-0", "orders-1", "orders-1/u1;t;2026-03-02T09:00:00Z", "\u{1f980}"][self.below(5)].into()
    }

    /// Names and UIDs are few, so that the same name is another pod's at times.
    fn pod(&mut self) -> Pod {
        let (name, uid) = (self.below(3), self.below(4));
        Pod::new(["orders-0", "orders-1", ""][name], ["u0", "u1", "u2", ""][uid])
    }

    fn endpoint(&mut self) -> Endpoint {
        let last = self.byte() % 4;
        let address =
            if last == 3 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::new(10, 0, 0, last).into() };
        Endpoint { address, content: self.below(3) as u64 }
    }

    fn member(&mut self) -> Member {
        let flags = self.byte();
        Member {
            pod: self.pod(),
            version: self.version(),
            created: if flags & 1 == 0 { Timestamp::from_secs(START - 60) } else { self.time() },
            ready: flags & 2 == 0,
            ready_changed: if flags & 4 == 0 { Timestamp::from_secs(START - 50) } else { self.time() },
            terminating: flags & 0x18 == 0x18,
            excluded: flags & 0x60 == 0x60,
            priority: [0, 0, 1, i32::MAX, i32::MIN][self.below(5)],
            // From bits that say something else as well: what was kept goes on saying what it was kept for.
            place: flags >> 3 & 3,
            site: [Site::Sound, Site::Sound, Site::Troubled, Site::Cordoned][usize::from(flags >> 5 & 3)],
            revision: self.below(3) as u64,
            reach: match self.below(8) {
                0 => Reach::NoAddress,
                1 => Reach::PortUnresolved { named: flags & 0x80 == 0 },
                _ => Reach::At(self.endpoint()),
            },
        }
    }

    fn members(&mut self) -> Vec<Member> {
        (0..self.below(5)).map(|_| self.member()).collect()
    }

    fn publication(&mut self) -> Publication {
        Publication {
            version: self.version(),
            leader: self.some(Self::pod),
            epoch: self.some(|inventor| Epoch(inventor.number())),
            shown: match self.below(4) {
                0 => Shown::Nobody,
                1 => Shown::Terminating(self.endpoint()),
                2 => Shown::Foreign,
                _ => Shown::Ready(self.endpoint()),
            },
            handled: self.some(Self::text),
            intact: self.below(4) > 0,
            ours: self.is_so(),
            anew: self.is_so(),
        }
    }

    fn standing(&mut self) -> Standing {
        let published = self.some(Self::publication);
        let mirrored = self.some(Self::number);
        let mirrored_leader = self.some(Self::pod).map(|pod| pod.uid().into());
        let (mirrored, switched) = (mirrored.map(Epoch), mirrored.map(Timestamp));
        Standing { published, mirrored, mirrored_leader, switched, horizon: self.version() }
    }

    fn policy(&mut self) -> Policy {
        let failback = match self.below(3) {
            0 => Failback::Never,
            1 => Failback::After(Micros::ZERO),
            _ => Failback::After(Micros(self.number())),
        };
        let [min_ready_duration, failover_min_delay] =
            [(); 2].map(|()| Micros(self.some(Self::number).unwrap_or_default()));
        let kind = self.byte();
        Policy {
            failback,
            min_ready_duration,
            failover_min_delay,
            strategy: [Strategy::Oldest, Strategy::Newest, Strategy::LongestReady][usize::from(kind % 3)],
            prefer_new_revision: self.is_so(),
            leave_cordoned: kind / 3 % 2 == 1,
            max_switches: NonZeroU8::new(kind / 64)
                .map(|count| MaxSwitches { count, window: Micros::from_secs(kind.into()) }),
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.below(8) {
            0 => Outcome::Conflict,
            1 => Outcome::Gone,
            2 => Outcome::Exists,
            3 => Outcome::Throttled(Micros(self.number())),
            4 => Outcome::Unknown,
            5 => Outcome::Unreachable,
            6 => Outcome::Refused { endpoint: self.is_so(), words: self.text() },
            _ => Outcome::Superseded,
        }
    }

    fn request(&mut self) -> Switchover {
        Switchover {
            text: self.text(),
            pod: self.text(),
            uid: self.some(|inventor| ["u0", "u1"][inventor.below(2)].into()),
            expires: self.some(Self::time),
        }
    }

    fn event(&mut self, kind: u8) -> Event {
        match kind % 34 {
            0 => Event::Synced { members: self.members(), standing: self.standing() },
            1 => Event::PodReady { member: self.member() },
            2 => Event::PodUnready { member: self.member() },
            3 => Event::PodTerminating { member: self.member() },
            4 => {
                let how = [Departure::Deleted, Departure::Finished, Departure::Relabelled][self.below(3)];
                Event::PodGone { pod: self.pod(), how }
            }
            5 => Event::PodChanged { member: self.member() },
            6 => Event::PolicyChanged { policy: self.policy() },
            7 => Event::OptedOut,
            8 => Event::ServiceGone,
            9 => Event::PublishFailed { id: self.order(), outcome: self.outcome() },
            10 => {
                let (id, published) = (self.order(), self.some(Self::publication));
                Event::ReadDone { id, published, horizon: self.version() }
            }
            11 => Event::ReadFailed { id: self.order() },
            12 => {
                let (id, member) = (self.order(), self.some(Self::member));
                Event::Confirmed { id, member, exists: self.is_so() }
            }
            13 => Event::ConfirmFailed { id: self.order() },
            14 => Event::Mirrored { id: self.order() },
            15 => Event::MirrorFailed { id: self.order() },
            16 => Event::Notified { id: self.order() },
            17 => Event::NotifyFailed { id: self.order() },
            18 => Event::Removed { id: self.order() },
            19 => Event::RemoveFailed { id: self.order() },
            20 => {
                let (published, horizon) = (self.some(Self::publication), self.version());
                Event::PublicationObserved { published, horizon, by: self.some(Self::text) }
            }
            21 if self.is_so() => Event::Blocked { by: Obstruction::Service(self.text()) },
            21 => Event::Blocked { by: Obstruction::Slice(self.text()) },
            22 => Event::Unblocked { standing: self.standing() },
            23 => Event::SwitchoverRequested { request: self.request() },
            24 => Event::SwitchoverWithdrawn,
            25 => Event::Paused { until: self.some(Self::time) },
            26 => Event::Resumed,
            27 => Event::LeaseHeld,
            28 => Event::LeaseLost,
            29 => Event::NodeLost { pod: self.pod() },
            30 => Event::NodeBack { pod: self.pod() },
            31 => Event::ServerBack,
            32 => Event::DeadlineReached,
            _ => Event::Published { id: self.order(), version: self.version() },
        }
    }
}
