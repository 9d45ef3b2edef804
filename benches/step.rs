//! What an event costs the machine, in time and allocations, for each kind and with ten members; and what an election
//! of ten takes of memory. No control plane.
//!
//! divan's table is for people. No program can read it, so the figures are taken beside it, in the same way.
//!
//! `cargo bench --bench step [-- --rounds N] [--json FILE]`

#![allow(missing_docs, reason = "a program")]

#[path = "support/mod.rs"]
mod support;

use std::alloc::System;
use std::fmt::{self, Display};
use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use divan::{AllocProfiler, Bencher, Divan};
use machine::{
    Departure, Effect, Election, Endpoint, Epoch, Event, Failback, Member, Micros, Obstruction, OrderId,
    Outcome, Pod, Policy, Publication, Reach, Shown, Site, Standing, Step, Switchover, Timestamp, Version,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Figure, number, report};

/// divan counts for its table, the one inside for the figures.
#[global_allocator]
static ALLOCATOR: AllocProfiler<&StatsAlloc<System>> = AllocProfiler::new(&INSTRUMENTED_SYSTEM);

/// A sample is the mean of so many elections that are told one event each: the clock itself takes some 25 ns, and
/// many more would not fit the processor's nearest cache.
const BATCH: u32 = 8;

const MEMBERS: usize = 10;
const LEADER: usize = 0;
const FOLLOWER: usize = 4;
const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn main() -> Result<()> {
    Divan::default().sample_size(BATCH).sample_count(100).run_benches();
    let rounds = number("--rounds", 1_000)?;
    let mut samples = vec![Vec::with_capacity(rounds); CASES.len()];
    let mut alarms = Vec::with_capacity(rounds);
    // One after another in each round, so that all of them see the same noise.
    for _ in 0..rounds {
        for (case, samples) in CASES.iter().zip(&mut samples) {
            samples.push(nanos(|| case.moment(), Moment::happen));
        }
        alarms.push(nanos(|| Run::led(Policy::default()), |run| run.election.deadline()));
    }
    let times = CASES.iter().zip(&samples).map(|(case, samples)| Figure::of(case.to_string(), "ns", samples));
    let mut figures: Vec<_> = times.collect();
    figures.push(Figure::of("deadline(), asked for after each event", "ns", &alarms));
    figures.extend(CASES.iter().map(|case| Figure::of(case.to_string(), "allocs", &[case.allocations()])));
    let members = members();
    let own = bytes(|| Run::led_among(members.clone(), Policy::default()).election);
    let all = bytes(|| Run::led(Policy::default()).election);
    figures.push(Figure::of("an election with 10 members (2 KiB)", "B", &[own]));
    figures.push(Figure::of("  with its pods' names, which the rows share", "B", &[all]));
    report("step", &figures)
}

#[divan::bench(args = CASES)]
fn step(bencher: Bencher<'_, '_>, case: &Case) {
    bencher.with_inputs(|| case.moment()).bench_local_refs(|moment| drop(black_box(moment.happen())));
}

/// Nanoseconds for one call, and for dropping its outcome, as the controller does before the next.
fn nanos<I, O>(input: impl Fn() -> I, call: impl Fn(&mut I) -> O) -> f64 {
    let all = |inputs: &mut [I]| inputs.iter_mut().for_each(|input| drop(black_box(call(black_box(input)))));
    let [mut first, mut second] = [(); 2].map(|()| (0..BATCH).map(|_| input()).collect::<Vec<I>>());
    // The first ones show the processor the way: what it knows is of the case before.
    all(&mut first);
    let begun = Instant::now();
    all(&mut second);
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
}

/// What an election takes: itself, and what it has allocated and not freed.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn bytes(election: impl FnOnce() -> Election) -> f64 {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    let election = election();
    let change = region.change();
    (size_of_val(&election) + change.bytes_allocated - change.bytes_deallocated) as f64
}

/// An election, and what happens next.
struct Moment {
    run: Run,
    event: Event,
}

impl Moment {
    fn happen(&mut self) -> Step {
        self.run.election.step(self.run.now, &self.event)
    }
}

struct Case {
    name: &'static str,
    /// What happens before and, as the answer, what is measured.
    arrange: fn(&mut Run) -> Event,
    policy: fn() -> Policy,
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn case(name: &'static str, arrange: fn(&mut Run) -> Event) -> Case {
    Case { name, arrange, policy: Policy::default }
}

impl Case {
    const fn by(mut self, policy: fn() -> Policy) -> Self {
        self.policy = policy;
        self
    }

    fn moment(&self) -> Moment {
        let mut run = Run::led((self.policy)());
        let event = (self.arrange)(&mut run);
        Moment { run, event }
    }

    #[allow(clippy::cast_precision_loss, reason = "few")]
    fn allocations(&self) -> f64 {
        let mut moment = self.moment();
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        let step = moment.happen();
        let change = region.change();
        drop(step);
        (change.allocations + change.reallocations) as f64
    }
}

/// An election with its open orders. Mirrors and notices are answered at once.
struct Run {
    election: Election,
    /// The controller's rows, with which it shares the names.
    members: Vec<Member>,
    now: Timestamp,
    version: u64,
    open: OrderId,
}

impl Run {
    /// The first of the members leads, in term 7, and nothing is left to do.
    fn led(policy: Policy) -> Self {
        Self::led_among(members(), policy)
    }

    fn led_among(members: Vec<Member>, policy: Policy) -> Self {
        let (election, now, open) = (Election::new(policy), START, OrderId(0));
        let mut run = Self { election, members: members.clone(), now, version: 1_000, open };
        let standing = run.standing();
        run.tell(&Event::Synced { members, standing });
        assert!(run.election.is_settled(), "nothing is left to do");
        run
    }

    fn tell(&mut self, event: &Event) {
        let step = self.election.step(self.now, event);
        for effect in step.effects {
            let answer = match effect {
                Effect::Mirror { id, .. } => Event::Mirrored { id },
                Effect::Notify { id, .. } => Event::Notified { id },
                Effect::Publish { id, .. }
                | Effect::Read { id }
                | Effect::Confirm { id, .. }
                | Effect::Remove { id, .. } => {
                    self.open = id;
                    continue;
                }
            };
            self.tell(&answer);
        }
    }

    /// The same, and what follows from it.
    fn after(&mut self, event: &Event, next: impl FnOnce(&mut Self) -> Event) -> Event {
        self.tell(event);
        next(self)
    }

    fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    /// A member as the watch shows it now.
    fn member(&mut self, number: usize) -> Member {
        let version = self.next_version();
        Member { version, pod: self.pod(number), ..member(number) }
    }

    fn unready(&mut self, number: usize) -> Event {
        let member = Member { ready: false, ready_changed: self.now, ..self.member(number) };
        Event::PodUnready { member }
    }

    fn pod(&self, number: usize) -> Pod {
        let known = self.members.iter().find(|known| known.pod == pod(number));
        known.map_or_else(|| pod(number), |known| known.pod.clone())
    }

    fn gone(&self, number: usize) -> Event {
        Event::PodGone { pod: self.pod(number), how: Departure::Deleted }
    }

    fn publication(&mut self, leader: usize, epoch: u64) -> Publication {
        Publication {
            version: self.next_version(),
            leader: Some(pod(leader)),
            epoch: Some(Epoch(epoch)),
            shown: Shown::Ready(endpoint(leader)),
            handled: None,
            intact: true,
            ours: false,
            anew: false,
        }
    }

    fn standing(&mut self) -> Standing {
        let published = Some(self.publication(LEADER, 7));
        Standing {
            published,
            mirrored: Some(Epoch(7)),
            horizon: Version(self.version),
            ..Standing::default()
        }
    }

    fn observed(&self, published: Publication) -> Event {
        Event::PublicationObserved { published: Some(published), horizon: Version(self.version), by: None }
    }

    /// The slice as it was shown already.
    fn shown(&self) -> Option<Publication> {
        let known = self.election.published()?;
        let leader = Some(pod(LEADER));
        Some(Publication { leader, ..known.clone() })
    }

    fn published(&mut self) -> Event {
        Event::Published { id: self.open, version: self.next_version() }
    }

    const fn failed(&self, outcome: Outcome) -> Event {
        Event::PublishFailed { id: self.open, outcome }
    }
}

/// As a list has them, in no order that means anything: the leader is in their midst.
fn members() -> Vec<Member> {
    (0..MEMBERS).map(|place| member((place + MEMBERS / 2) % MEMBERS)).collect()
}

fn pod(number: usize) -> Pod {
    // As random as the real ones, whose first and last characters differ.
    let random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (high, low) = (random >> 32, random & 0xffff_ffff);
    let uid = format!("{high:08x}-6d1b-4d2b-9e35-{low:08x}{:04x}", (random >> 16) & 0xffff);
    Pod::new(&format!("orders-6c9f8d7b5-{:05x}", low & 0xf_ffff), &uid)
}

fn endpoint(number: usize) -> Endpoint {
    let last = u8::try_from(number).unwrap_or_default();
    Endpoint { address: [10, 0, 0, last].into(), content: number as u64 }
}

fn member(number: usize) -> Member {
    Member {
        pod: pod(number),
        version: Version(number as u64),
        created: Timestamp::from_secs(1_690_000_000 + number as u64),
        ready: true,
        ready_changed: Timestamp::from_secs(1_690_000_010),
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 1,
        reach: Reach::At(endpoint(number)),
    }
}

fn patient() -> Policy {
    Policy { failover_min_delay: Micros::from_secs(5), ..Policy::default() }
}

fn prefers_the_best() -> Policy {
    Policy { failback: Failback::After(Micros::ZERO), ..Policy::default() }
}

fn request(number: usize) -> Event {
    let (text, pod) = (pod(number).name().into(), pod(number).name().into());
    Event::SwitchoverRequested { request: Switchover { text, pod, uid: None, expires: None } }
}

fn blocked() -> Event {
    Event::Blocked { by: Obstruction::Slice("orders-leader".into()) }
}

const NEVER_GIVEN: OrderId = OrderId(99_999);

/// First those after which nothing happens, which must not allocate either.
const CASES: &[Case] = &[
    case("PodReady, known (100 ns, 0)", |run| Event::PodReady { member: run.member(FOLLOWER) }),
    case("PodUnready, known", |run| {
        let known = run.unready(FOLLOWER);
        run.after(&known, |run| run.unready(FOLLOWER))
    }),
    case("PodTerminating, known", |run| {
        let known = Member { terminating: true, ..run.member(FOLLOWER) };
        run.after(&Event::PodTerminating { member: known }, |run| Event::PodTerminating {
            member: Member { terminating: true, ..run.member(FOLLOWER) },
        })
    }),
    case("PodGone, never known", |run| run.gone(MEMBERS)),
    case("PodChanged, known", |run| Event::PodChanged { member: run.member(LEADER) }),
    case("PolicyChanged, known", |_| Event::PolicyChanged { policy: Policy::default() }),
    case("Published, to no order", |run| Event::Published { id: NEVER_GIVEN, version: run.next_version() }),
    case("PublishFailed, to no order", |_| Event::PublishFailed {
        id: NEVER_GIVEN,
        outcome: Outcome::Unknown,
    }),
    case("ReadDone, to no order", |run| Event::ReadDone {
        id: NEVER_GIVEN,
        published: run.shown(),
        horizon: Version(run.version),
    }),
    case("ReadFailed, to no order", |_| Event::ReadFailed { id: NEVER_GIVEN }),
    case("Confirmed, to no order", |run| Event::Confirmed {
        id: NEVER_GIVEN,
        member: Some(run.member(FOLLOWER)),
        exists: true,
    }),
    case("ConfirmFailed, to no order", |_| Event::ConfirmFailed { id: NEVER_GIVEN }),
    case("Mirrored", |_| Event::Mirrored { id: NEVER_GIVEN }),
    case("MirrorFailed, to no order", |_| Event::MirrorFailed { id: NEVER_GIVEN }),
    case("Notified", |_| Event::Notified { id: NEVER_GIVEN }),
    case("NotifyFailed", |_| Event::NotifyFailed { id: NEVER_GIVEN }),
    case("Removed, to no order", |_| Event::Removed { id: NEVER_GIVEN }),
    case("RemoveFailed, to no order", |_| Event::RemoveFailed { id: NEVER_GIVEN }),
    case("PublicationObserved, known", |run| Event::PublicationObserved {
        published: run.shown(),
        horizon: Version(run.version),
        by: None,
    }),
    case("Unblocked, never blocked", |run| Event::Unblocked { standing: run.standing() }),
    case("SwitchoverWithdrawn, never made", |_| Event::SwitchoverWithdrawn),
    case("Resumed, never paused", |_| Event::Resumed),
    case("LeaseHeld, known", |_| Event::LeaseHeld),
    case("LeaseLost", |_| Event::LeaseLost),
    case("NodeLost, of a follower", |run| Event::NodeLost { pod: run.pod(FOLLOWER) }),
    case("NodeBack, known", |run| Event::NodeBack { pod: run.pod(FOLLOWER) }),
    case("ServerBack", |_| Event::ServerBack),
    case("DeadlineReached, too early", |_| Event::DeadlineReached),
    case("DeadlineReached, too early, Draining", |run| {
        let unready = run.unready(LEADER);
        run.after(&unready, |_| Event::DeadlineReached)
    })
    .by(patient),
    case("PodReady, known, failback immediate", |run| Event::PodReady { member: run.member(FOLLOWER) })
        .by(prefers_the_best),
    // A member changes, and who leads does not.
    case("PodReady, of a follower", |run| {
        let unready = run.unready(FOLLOWER);
        run.after(&unready, |run| Event::PodReady {
            member: Member { ready_changed: run.now, ..run.member(FOLLOWER) },
        })
    }),
    case("PodReady, of a new one", |run| Event::PodReady { member: run.member(MEMBERS) }),
    case("PodUnready, of a follower", |run| run.unready(FOLLOWER)),
    case("PodTerminating, of a follower", |run| Event::PodTerminating {
        member: Member { terminating: true, ..run.member(FOLLOWER) },
    }),
    case("PodGone, of a follower", |run| run.gone(FOLLOWER)),
    case("PodChanged, a follower moves", |run| Event::PodChanged {
        member: Member { reach: Reach::At(endpoint(99)), ..run.member(FOLLOWER) },
    }),
    // Who leads changes, or what is published.
    case("PodUnready, of the leader", |run| run.unready(LEADER)),
    case("PodUnready, of the leader, tolerated", |run| run.unready(LEADER)).by(patient),
    case("PodTerminating, of the leader", |run| Event::PodTerminating {
        member: Member { terminating: true, ..run.member(LEADER) },
    }),
    case("PodGone, of the leader", |run| run.gone(LEADER)),
    case("PodChanged, the leader moves", |run| Event::PodChanged {
        member: Member { reach: Reach::At(endpoint(99)), ..run.member(LEADER) },
    }),
    case("PodChanged, the leader is excluded", |run| Event::PodChanged {
        member: Member { excluded: true, ..run.member(LEADER) },
    }),
    case("NodeLost, of the leader", |run| Event::NodeLost { pod: run.pod(LEADER) }),
    case("DeadlineReached, patience is over", |run| {
        let unready = run.unready(LEADER);
        run.after(&unready, |run| {
            run.now = run.now.plus(Micros::from_secs(5));
            Event::DeadlineReached
        })
    })
    .by(patient),
    case("PodReady, of the leader, Draining", |run| {
        let unready = run.unready(LEADER);
        run.after(&unready, |run| Event::PodReady {
            member: Member { ready_changed: run.now, ..run.member(LEADER) },
        })
    })
    .by(patient),
    case("Published, the new leader", |run| run.after(&run.gone(LEADER), Run::published)),
    case("PublishFailed, conflict", |run| run.after(&run.gone(LEADER), |run| run.failed(Outcome::Conflict))),
    case("PublishFailed, unknown", |run| run.after(&run.gone(LEADER), |run| run.failed(Outcome::Unknown))),
    case("PublishFailed, endpoint refused", |run| {
        run.after(&run.gone(LEADER), |run| {
            run.failed(Outcome::Refused { endpoint: true, words: "invalid".into() })
        })
    }),
    case("ReadDone, a new term", |run| {
        run.tell(&run.gone(LEADER));
        let conflict = run.failed(Outcome::Unknown);
        run.tell(&conflict);
        run.now = run.now.plus(Micros::from_secs(1));
        run.after(&Event::DeadlineReached, |run| Event::ReadDone {
            id: run.open,
            published: Some(run.publication(FOLLOWER, 8)),
            horizon: Version(run.version),
        })
    }),
    case("PublicationObserved, a new term", |run| {
        let published = run.publication(FOLLOWER, 8);
        run.observed(published)
    }),
    case("PublicationObserved, edited", |run| {
        let published = Publication { intact: false, ..run.publication(LEADER, 7) };
        run.observed(published)
    }),
    case("SwitchoverRequested", |_| request(FOLLOWER)),
    case("Confirmed, of a switchover", |run| {
        run.after(&request(FOLLOWER), |run| Event::Confirmed {
            id: run.open,
            member: Some(run.member(FOLLOWER)),
            exists: true,
        })
    }),
    case("ConfirmFailed, of a switchover", |run| {
        run.after(&request(FOLLOWER), |run| Event::ConfirmFailed { id: run.open })
    }),
    case("PolicyChanged, failback immediate", |_| Event::PolicyChanged { policy: prefers_the_best() }),
    case("Paused", |_| Event::Paused { until: None }),
    case("Resumed", |run| run.after(&Event::Paused { until: None }, |_| Event::Resumed)),
    case("Blocked", |_| blocked()),
    case("Unblocked", |run| run.after(&blocked(), |run| Event::Unblocked { standing: run.standing() })),
    case("OptedOut", |_| Event::OptedOut),
    case("ServiceGone", |_| Event::ServiceGone),
    case("Removed, the end", |run| run.after(&Event::OptedOut, |run| Event::Removed { id: run.open })),
    case("Synced, all lists anew", |run| Event::Synced { members: members(), standing: run.standing() }),
];
