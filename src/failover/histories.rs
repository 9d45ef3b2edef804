//! Random histories of one Service, with an API server that fails, forgets and is overtaken: whatever happens, the
//! spans of what comes of it are in order and lie within each other.

use std::time::SystemTime;

use machine::{
    Departure, Effect, Election, Endpoint, Epoch, Event, Failback, Member, Micros, Obstruction, OrderId, Pod,
    Policy, Publication, Reach, Shown, Site, Standing, Timestamp, Version, Wanted,
};
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Call, Failover, Http, Ids, Journal, Outcome, Purpose, Seen};
use crate::apply::Exchange;
use crate::clock::Clock;
use crate::managed::{Identity, Key, Surroundings};
use crate::rows::Grounds;
use crate::traces::{Renderer, count};
use crate::world::Pods;

/// What happens next: a number for the act, one for whom or how, and how many microseconds it takes.
type Act = (u8, u8, u64);

const BEGUN: Timestamp = Timestamp(1_700_000_000_000_000);
const ENDPOINT: fn() -> Endpoint = || Endpoint { address: [10, 0, 0, 1].into(), content: 7 };

/// A write on its way; `done`: the server has taken it.
struct Write {
    id: OrderId,
    wanted: Wanted,
    ordered: Timestamp,
    done: Option<Version>,
}

struct World {
    election: Election,
    journal: Journal,
    clock: Clock,
    now: Timestamp,
    version: u64,
    /// The pods by number, and how often each was made anew.
    pods: [Option<Member>; 3],
    made: u32,
    stored: Option<Publication>,
    is_foreign: bool,
    /// All but the last are done, as the watch has shown: only their answers are still to come.
    writes: Vec<Write>,
    reads: Vec<(OrderId, Option<Pod>, Timestamp)>,
    removal: Option<OrderId>,
    is_paused: bool,
    is_blocked: bool,
    over: Vec<Failover>,
}

impl World {
    fn new(policy: Policy) -> Self {
        let mut world = Self {
            election: Election::new(policy),
            journal: Journal::default(),
            clock: Clock::start(),
            now: BEGUN,
            version: 1,
            pods: [None, None, None],
            made: 0,
            stored: None,
            is_foreign: false,
            writes: Vec::new(),
            reads: Vec::new(),
            removal: None,
            is_paused: false,
            is_blocked: false,
            over: Vec::new(),
        };
        world.tell(Event::Synced { members: Vec::new(), standing: Standing::default() });
        world
    }

    fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn tell(&mut self, event: Event) {
        let step = self.election.step(self.now, &event);
        let identity = Identity { instance: "system/zen-lead".into(), replica: "zen-lead-0".into() };
        let key = Key { namespace: "shop".into(), name: "orders".into() };
        let cx = Surroundings {
            at: self.now,
            clock: self.clock,
            identity: &identity,
            acts_first: true,
            tracer: None,
            budget: Micros::from_secs(5),
            pods: &Pods::new(),
            horizon: Version(self.version),
            grounds: &Grounds::default(),
        };
        let seen = Seen {
            key: &key,
            event: &event,
            transition: step.transition.as_ref(),
            election: &self.election,
            cx: &cx,
            is_foreign: self.is_foreign,
            budget: cx.budget,
        };
        self.journal.follow(&seen, &mut self.over);
        let ordered = self.now;
        for effect in step.effects {
            match effect {
                Effect::Publish { id, wanted, .. } => {
                    self.journal.writes(id);
                    assert!(self.writes.iter().all(|write| write.done.is_some()), "one write at a time");
                    self.writes.push(Write { id, wanted, ordered, done: None });
                }
                Effect::Read { id } => self.reads.push((id, None, ordered)),
                Effect::Confirm { id, pod } => self.reads.push((id, Some(pod), ordered)),
                Effect::Remove { id, .. } => self.removal = Some(id),
                Effect::Mirror { .. } | Effect::Notify { .. } => {}
            }
        }
    }

    /// The journal is told of an answer that was there some time ago, of what was ordered before.
    fn called(&mut self, id: OrderId, purpose: Purpose, ordered: Timestamp, outcome: &'static str, part: u8) {
        let waited = self.now.since(ordered).0;
        let begun = ordered.plus(Micros(waited / 8 * u64::from(part % 4)));
        let ended = begun.plus(Micros(self.now.since(begun).0 / 4 * u64::from(part % 5)));
        let exchange = Exchange {
            method: http::Method::PUT,
            path: "/apis/x".into(),
            begun: Instant::now(),
            ended: None,
            status: None,
            span: None,
        };
        let http = Some(Http { exchange, begun, ended });
        self.journal.called(Call { id, purpose, ordered, begun, ended, http, outcome }, &mut self.over);
    }

    fn observed(&self) -> Event {
        let (published, horizon) = (self.stored.clone(), Version(self.version));
        Event::PublicationObserved { published, horizon, by: None }
    }

    fn take(&mut self) -> Option<Version> {
        let version = self.next_version();
        let write = self.writes.last_mut()?;
        let done = *write.done.get_or_insert(version);
        if done == version {
            self.stored = Some(write.wanted.clone().acknowledged(version));
            self.is_foreign = false;
        }
        Some(done)
    }

    /// One of the writes is answered, with success.
    fn answer(&mut self, number: u8) {
        if self.take().is_none() {
            return;
        }
        let Write { id, ordered, done, .. } = self.writes.remove(usize::from(number) % self.writes.len());
        self.called(id, Purpose::Publish, ordered, "ok", number);
        if let Some(version) = done {
            self.tell(Event::Published { id, version });
        }
    }

    /// The last write fails, unless the watch has shown already that it did not.
    fn fail(&mut self, outcome: machine::Outcome, word: &'static str, number: u8) {
        let Some(Write { id, ordered, .. }) = self.writes.pop_if(|write| write.done.is_none()) else {
            return;
        };
        self.called(id, Purpose::Publish, ordered, word, number);
        self.tell(Event::PublishFailed { id, outcome });
    }

    fn looked(&mut self, is_answered: bool, part: u8) {
        if self.reads.is_empty() {
            return;
        }
        let (id, pod, ordered) = self.reads.remove(0);
        let purpose = if pod.is_some() { Purpose::Confirm } else { Purpose::Read };
        self.called(id, purpose, ordered, if is_answered { "ok" } else { "unknown" }, part);
        self.tell(match (pod, is_answered) {
            (None, false) => Event::ReadFailed { id },
            (Some(_), false) => Event::ConfirmFailed { id },
            (None, true) => {
                Event::ReadDone { id, published: self.stored.clone(), horizon: Version(self.version) }
            }
            (Some(pod), true) => {
                let member = self.pods.iter().flatten().find(|member| member.pod == pod).cloned();
                Event::Confirmed { id, exists: member.is_some(), member }
            }
        });
    }

    fn pod(&mut self, number: u8, change: impl FnOnce(&mut Member)) -> Option<Member> {
        let version = self.next_version();
        let member = self.pods[usize::from(number % 3)].as_mut()?;
        member.version = version;
        change(member);
        Some(member.clone())
    }

    fn ready(&mut self, number: u8) {
        let place = usize::from(number % 3);
        if self.pods[place].as_ref().is_none_or(|member| member.terminating) {
            self.made += 1;
            let (name, now) = (format!("orders-{place}"), self.now);
            let former = self.pods[place].replace(Member {
                pod: Pod::new(&name, &format!("{name}-{}", self.made)),
                version: Version(0),
                created: now,
                ready: true,
                ready_changed: now,
                terminating: false,
                excluded: false,
                priority: 0,
                place: 0,
                site: Site::Sound,
                revision: 0,
                reach: Reach::At(ENDPOINT()),
            });
            if let Some(former) = former {
                self.tell(Event::PodGone { pod: former.pod, how: Departure::Deleted });
            }
        }
        let now = self.now;
        let ready = |member: &mut Member| (member.ready, member.ready_changed) = (true, now);
        if let Some(member) = self.pod(number, ready) {
            self.tell(Event::PodReady { member });
        }
    }

    fn publish_as(&mut self, ours: bool, number: u8) {
        let version = self.next_version();
        let Some(member) = &self.pods[usize::from(number % 3)] else { return };
        let Some(stored) = &mut self.stored else { return };
        let epoch = stored.epoch.map_or(1, |Epoch(epoch)| epoch + 1);
        let shown = Shown::Ready(ENDPOINT());
        *stored = Publication {
            version,
            leader: Some(member.pod.clone()),
            epoch: Some(Epoch(epoch)),
            shown,
            ours,
            ..stored.clone()
        };
        self.tell(self.observed());
    }

    fn act(&mut self, (act, number, micros): Act) {
        use machine::Outcome::{Conflict, Refused, Unknown, Unreachable};
        self.now = self.now.plus(Micros(micros));
        match act {
            0..=3 => self.ready(number),
            4..=6 => {
                if let Some(member) = self.pod(number, |member| member.ready = false) {
                    self.tell(Event::PodUnready { member });
                }
            }
            7 => {
                if let Some(member) = self.pod(number, |member| member.terminating = true) {
                    self.tell(Event::PodTerminating { member });
                }
            }
            8 => {
                if let Some(member) = self.pods[usize::from(number % 3)].take() {
                    self.tell(Event::PodGone { pod: member.pod, how: Departure::Deleted });
                }
            }
            9..=14 => self.answer(number),
            // The watch is quicker than the answer.
            15 | 16 => {
                if self.take().is_some() {
                    self.tell(self.observed());
                }
            }
            17 => {
                self.fail(Conflict, "conflict", number);
                self.tell(self.observed());
            }
            18 => {
                let refused = Refused { endpoint: number.is_multiple_of(2), words: "no".into() };
                self.fail(refused, "refused", number);
            }
            19 => self.fail(Unreachable, "unreachable", number),
            20 => self.fail(Unknown, "unknown", number),
            21 => {
                // It was done, but nobody knows.
                let version = self.next_version();
                if let Some(write) = self.writes.last().filter(|write| write.done.is_none()) {
                    self.stored = Some(write.wanted.clone().acknowledged(version));
                    self.is_foreign = false;
                }
                self.fail(Unknown, "unknown", number);
            }
            22..=24 => self.looked(true, number),
            25 => self.looked(false, number),
            26 => {
                self.is_foreign = true;
                self.publish_as(false, number);
            }
            27 => self.publish_as(false, number),
            28..=31 => {
                self.now = self.now.max(self.election.deadline().unwrap_or(self.now));
                self.tell(Event::DeadlineReached);
                let _ = self.journal.overdue(self.now);
            }
            32 => {
                self.is_paused = !self.is_paused;
                self.tell(if self.is_paused { Event::Paused { until: None } } else { Event::Resumed });
            }
            33 => {
                self.is_blocked = !self.is_blocked;
                let standing = Standing {
                    published: self.stored.clone(),
                    horizon: Version(self.version),
                    ..Standing::default()
                };
                self.tell(if self.is_blocked {
                    Event::Blocked { by: Obstruction::Slice("theirs".into()) }
                } else {
                    Event::Unblocked { standing }
                });
            }
            _ => {
                if let Some(member) = self.pod(number, |member| member.priority = i32::from(number)) {
                    self.tell(Event::PodChanged { member });
                }
            }
        }
    }
}

fn check(failover: &Failover) -> Result<(), TestCaseError> {
    prop_assert!(failover.begun <= failover.ended);
    prop_assert!(failover.stays.iter().all(|stay| stay.since <= stay.until && stay.since >= failover.begun));
    if failover.stays.omitted == 0 {
        prop_assert!(failover.stays.windows(2).all(|pair| pair[0].until == pair[1].since));
    }
    if let Some(last) = failover.stays.last() {
        prop_assert_eq!(last.until, failover.ended);
    }
    let is_of_it = |call: &Call| call.ordered <= failover.ended;
    prop_assert!(failover.calls.iter().all(is_of_it), "a call of what came later: {:?}", failover);
    let spent: u64 = failover.phases().map(|(_, spent)| spent.0).sum();
    prop_assert!(spent <= failover.took().0);

    let spans = Renderer::new("https://10.0.0.1:6443").spans(failover);
    prop_assert_eq!(spans.len() as u64, count(failover));
    let of = |id: SpanId| spans.iter().find(|span| span.span_context.span_id() == id);
    let root = &spans[0];
    for span in &spans[1..] {
        let parent = of(span.parent_span_id);
        prop_assert!(parent.is_some(), "{} has no parent", span.name);
        let Some(parent) = parent else { continue };
        let times = |span: &SpanData| (span.name.clone(), micros(span.start_time), micros(span.end_time));
        let what = format!("{:?} in {:?} in {:?}", times(span), times(parent), times(root));
        prop_assert!(span.start_time <= span.end_time && span.start_time >= parent.start_time, "{}", what);
        // A write that the watch acknowledged is answered later, and what was overtaken may still wait for its turn.
        let outlives = ["queue", "publish", "PUT"].contains(&&*span.name);
        prop_assert!(outlives || span.end_time <= root.end_time, "{}", what);
        let is_event_within = |at: SystemTime| at >= span.start_time;
        prop_assert!(span.events.events.iter().all(|event| is_event_within(event.timestamp)), "{}", what);
    }
    Ok(())
}

fn micros(at: SystemTime) -> u128 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() - u128::from(BEGUN.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_are_in_order_and_lie_within_each_other(
        acts in prop::collection::vec((0..35_u8, 0..20_u8, 0..2_000_000_u64), 1..120),
        patience in prop::sample::select(vec![0_u64, 3_000]),
        prefers in any::<bool>(),
    ) {
        let policy = Policy {
            failover_min_delay: Micros::from_millis(patience),
            failback: if prefers { Failback::After(Micros::ZERO) } else { Failback::Never },
            ..Policy::default()
        };
        let mut world = World::new(policy);
        for act in acts {
            world.act(act);
        }
        let now = world.now;
        let rest = world.journal.end(Outcome::Interrupted, now);
        for mut failover in world.over.into_iter().chain(rest) {
            failover.ids = Some(Ids { trace: TraceId::from(7), root: SpanId::from(8) });
            failover.wall_ahead = 0;
            check(&failover)?;
        }
    }
}
