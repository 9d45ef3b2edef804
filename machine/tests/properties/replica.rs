//! One replica: an election, what it has been told, and the orders it has open.

use std::collections::VecDeque;

use machine::{
    Departure, Effect, Election, Epoch, Event, Member, OrderId, Outcome, Pod, Policy, Scope, Standing, Step,
    Timestamp, Version, Wanted,
};

use crate::met::{Met, met};
use crate::pods::{PodEvent, Uid, uid};
use crate::server::{Author, Server, Stored};
use crate::told::Told;

pub(crate) struct Replica {
    pub(crate) life: usize,
    pub(crate) election: Election,
    pub(crate) told: Told,
    pub(crate) log: Vec<(Timestamp, Event, Step)>,
    first_policy: Policy,
    /// How far the watches have come.
    pub(crate) pods: usize,
    pub(crate) slices: usize,
    /// Every order to publish that it gave.
    pub(crate) publishes: Vec<Publish>,
    /// Those whose fate is not sealed. All but the last are known to be done, and their answers are still to
    /// come.
    pub(crate) writes: VecDeque<OrderId>,
    pub(crate) reads: Vec<OrderId>,
    /// With what was known when the order was given.
    pub(crate) confirms: Vec<(OrderId, Pod, usize)>,
    pub(crate) mirrors: Vec<(OrderId, Option<Epoch>)>,
    pub(crate) removes: Vec<(OrderId, Scope)>,
    /// Answers on their way.
    pub(crate) late: VecDeque<Event>,
    /// The questions that it has no answer to yet, though it may need none any more.
    pub(crate) doubts: Vec<Doubt>,
    /// Pods that were read and were no members: the controller has these versions, and hands on newer ones only.
    pub(crate) raised: Vec<(Uid, Version)>,
    /// Who was elected last, and when it was another than before: since max-switches was set.
    pub(crate) led: Option<Uid>,
    pub(crate) switches: Vec<Timestamp>,
}

/// A pod is being read, or will be again.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    id: OrderId,
    pub(crate) pod: Uid,
    /// It is the leader: nothing may be written until the answer is there.
    pub(crate) holds: bool,
}

/// An order to publish.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) id: OrderId,
    pub(crate) wanted: Wanted,
    pub(crate) based_on: Option<Version>,
    /// How many facts were known.
    pub(crate) asked: usize,
    /// How often the slice had been seen.
    pub(crate) shown: usize,
    /// How often something new was seen of it.
    pub(crate) sights: usize,
    pub(crate) is_answered: bool,
    /// It certainly never happened: its epoch may be another's.
    pub(crate) is_void: bool,
    /// By its answer the slice is not what was known: it must be seen before another order.
    pub(crate) is_blind: bool,
}

impl Replica {
    pub(crate) fn new(life: usize, policy: &Policy) -> Self {
        Self {
            life,
            election: Election::new(policy.clone()),
            told: Told::new(policy),
            log: Vec::new(),
            first_policy: policy.clone(),
            pods: 0,
            slices: 0,
            publishes: Vec::new(),
            writes: VecDeque::new(),
            reads: Vec::new(),
            confirms: Vec::new(),
            mirrors: Vec::new(),
            removes: Vec::new(),
            late: VecDeque::new(),
            doubts: Vec::new(),
            raised: Vec::new(),
            led: None,
            switches: Vec::new(),
        }
    }

    pub(crate) fn horizon(&self, server: &Server) -> Version {
        match self.pods.checked_sub(1) {
            // A bookmark.
            _ if self.pods == server.pods.log.len() => server.version(),
            Some(last) => server.pods.log[last].version,
            None => Version(0),
        }
    }

    pub(crate) fn standing(&self, server: &Server, mirrored: Option<Epoch>) -> Standing {
        let published = server.slice.as_ref().map(|stored| stored.seen_by(self.life));
        Standing { published, mirrored, horizon: self.horizon(server), ..Standing::default() }
    }

    /// Whether an answer is still to come.
    pub(crate) fn waits(&self) -> bool {
        !self.writes.is_empty()
            || !self.reads.is_empty()
            || !self.confirms.is_empty()
            || !self.mirrors.is_empty()
            || !self.removes.is_empty()
            || !self.late.is_empty()
    }

    /// One fact, and all that must hold after it.
    pub(crate) fn feed(&mut self, at: Timestamp, event: Event) {
        self.note(at, &event);
        let before = self.election.state().clone();
        let step = self.election.step(at, &event);
        crate::transcribe(|| {
            let text = |value| serde_json::to_string(value).expect("text");
            let state = serde_json::to_string(self.election.state()).expect("text");
            format!(
                "#{} {} {}\n    {state}\n    {}",
                self.life,
                at.0,
                serde_json::to_string(&event).expect("text"),
                text(&step)
            )
        });
        self.told.facts += 1;
        self.check_transition(at, &event, &before, &step);
        for effect in &step.effects {
            self.take(at, effect);
        }
        if self.election.deferred().is_some() {
            met(Met::Deferred);
        }
        self.check_trust(&event);
        self.log.push((at, event, step));
        self.check_state(at);
        self.check_armed(at);
    }

    fn note(&mut self, at: Timestamp, event: &Event) {
        self.told.note(at, event);
        match event {
            Event::Synced { .. } => {
                for (_, pod, _) in &self.confirms {
                    self.told.unlisted(uid(pod));
                }
                self.doubts.clear();
            }
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => {
                // It answers the question if it is newer than whatever raised it.
                let is_news = self.told.shown.iter().all(|shown| shown.version < member.version);
                self.doubts.retain(|doubt| !is_news || doubt.pod != uid(&member.pod));
                for doubt in self.doubts.iter_mut().filter(|doubt| doubt.pod == uid(&member.pod)) {
                    doubt.holds = false;
                }
            }
            // A pod that lost its label may have got it back.
            Event::PodGone { how: Departure::Relabelled, .. } => {}
            Event::PodGone { pod, .. } => self.doubts.retain(|doubt| doubt.pod != uid(pod)),
            Event::Blocked { .. } => self.doubts.clear(),
            Event::PolicyChanged { policy } if policy.max_switches.is_none() => {
                self.led = None;
                self.switches.clear();
            }
            Event::Published { id, version } => {
                if let Some(publish) = self.answered(*id) {
                    let (asked, wanted) = (publish.asked, publish.wanted.clone());
                    self.told.acknowledge(at, asked, &wanted.acknowledged(*version));
                }
            }
            Event::PublishFailed { id, outcome } => {
                if let Some(publish) = self.answered(*id) {
                    publish.is_void = is_void(outcome);
                    publish.is_blind = is_blind(outcome);
                }
            }
            Event::Confirmed { id, member, exists } => {
                self.doubts.retain(|doubt| doubt.id != *id);
                if let Some(index) = self.confirms.iter().position(|(confirm, ..)| confirm == id) {
                    let (_, pod, asked) = self.confirms.remove(index);
                    self.told.confirm(at, uid(&pod), asked, member.as_ref(), *exists);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, id: OrderId) -> Option<&mut Publish> {
        let publish = self.publishes.iter_mut().find(|publish| publish.id == id && !publish.is_answered)?;
        publish.is_answered = true;
        Some(publish)
    }

    fn take(&mut self, at: Timestamp, effect: &Effect) {
        match effect {
            Effect::Publish { id, wanted, based_on } => {
                self.check_order(wanted, *based_on);
                self.check_epoch(wanted, *based_on);
                self.check_wanted(at, wanted, based_on.is_none());
                self.writes.push_back(*id);
                self.publishes.push(Publish {
                    id: *id,
                    wanted: wanted.clone(),
                    based_on: *based_on,
                    asked: self.told.facts,
                    shown: self.told.shown.len(),
                    sights: self.told.sights,
                    is_answered: false,
                    is_void: false,
                    is_blind: false,
                });
            }
            Effect::Read { id } => self.reads.push(*id),
            Effect::Confirm { id, pod } => {
                let holds = self.election.state().pod().map(uid) == Some(uid(pod));
                self.doubts.retain(|doubt| doubt.pod != uid(pod));
                self.doubts.push(Doubt { id: *id, pod: uid(pod), holds });
                self.confirms.push((*id, pod.clone(), self.told.facts));
            }
            Effect::Mirror { id, mirror } => self.mirrors.push((*id, mirror.epoch)),
            Effect::Remove { id, scope } => self.removes.push((*id, *scope)),
            Effect::Notify { .. } => {}
        }
    }

    /// The order to publish whose fate is next.
    pub(crate) fn next_write(&mut self) -> Option<Publish> {
        let id = self.writes.pop_front()?;
        self.publishes.iter().find(|publish| publish.id == id).cloned()
    }

    /// Whether it knows who was published last, and in which epoch: it was shown that, or ordered it and cannot
    /// rule out that it happened.
    pub(crate) fn knows(&self, stored: &Stored) -> bool {
        let published = &stored.publication;
        let is_ordered = |last: &Publish| {
            let leaders = [&last.wanted.leader, &published.leader].map(|leader| leader.as_ref().map(uid));
            !last.is_void && leaders[0] == leaders[1] && last.wanted.epoch == published.epoch
        };
        self.election.published().is_some_and(|seen| seen.version == published.version)
            || stored.term_by == Author::Replica(self.life) && self.publishes.last().is_some_and(is_ordered)
    }

    pub(crate) fn is_raised_beyond(&self, shown: &PodEvent) -> bool {
        self.raised.iter().any(|(pod, version)| *pod == uid(&shown.pod) && *version >= shown.version)
    }

    /// The pod's event, as the controller tells it.
    pub(crate) fn pod_event(&self, shown: &PodEvent) -> Event {
        match &shown.now {
            Err(how) => Event::PodGone { pod: shown.pod.clone(), how: *how },
            Ok(member) => self.member_event(member.clone()),
        }
    }

    fn member_event(&self, member: Member) -> Event {
        let old = self.told.member(uid(&member.pod));
        if member.terminating && old.is_none_or(|old| !old.terminating) {
            Event::PodTerminating { member }
        } else if old.is_some_and(|old| old.ready == member.ready) {
            Event::PodChanged { member }
        } else if member.ready {
            Event::PodReady { member }
        } else {
            Event::PodUnready { member }
        }
    }

    /// What the pods' watch missed, as the controller finds it in a new list: by name, and for each first who is
    /// gone, then who is there.
    pub(crate) fn difference(&self, listed: &[Member]) -> Vec<Event> {
        let mut events = Vec::new();
        let is_listed = |known: &Member| listed.iter().any(|member| uid(&member.pod) == uid(&known.pod));
        let known = self.told.members.iter().map(|known| &known.member);
        for gone in known.clone().filter(|known| !is_listed(known)) {
            events.push((gone.pod.name(), Event::PodGone { pod: gone.pod.clone(), how: Departure::Deleted }));
        }
        for member in listed {
            if known.clone().all(|known| known != member) {
                events.push((member.pod.name(), self.member_event(member.clone())));
            }
        }
        events.sort_by_key(|(name, _)| *name);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// I14: the same events lead to the same steps, byte for byte, also if the election is put into words on the way.
    pub(crate) fn check_replay(&self, bytes: bool) {
        let mut election = Election::new(self.first_policy.clone());
        for (number, (at, event, step)) in self.log.iter().enumerate() {
            if bytes && number % 5 == 4 {
                let text = serde_json::to_string(&election).expect("an election as text");
                let read: Election = serde_json::from_str(&text).expect("an election from text");
                assert_eq!(read, election, "I14: {text}");
                election = read;
            }
            let again = if bytes {
                let text = serde_json::to_string(event).expect("an event as text");
                let read: Event = serde_json::from_str(&text).expect("an event from text");
                assert_eq!(read, *event, "the log keeps events as they are: {text}");
                let again = election.step(*at, &read);
                let texts = [&again, step].map(|step| serde_json::to_string(step).expect("a step as text"));
                assert_eq!(texts[0], texts[1], "I14");
                again
            } else {
                election.step(*at, event)
            };
            assert_eq!(again, *step, "I14: {event:?}");
        }
        assert_eq!(election, self.election, "I14");
        assert_eq!(election.deadline(), self.election.deadline(), "I14");
    }
}

/// Whether a write so answered certainly never happened.
const fn is_void(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Conflict
        | Outcome::Gone
        | Outcome::Superseded
        | Outcome::Behind { .. }
        | Outcome::Refused { .. } => true,
        Outcome::Exists | Outcome::Throttled(_) | Outcome::Unknown | Outcome::Unreachable => false,
    }
}

/// Whether the slice may be anything after such an answer.
const fn is_blind(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Conflict | Outcome::Exists | Outcome::Unknown => true,
        Outcome::Gone
        | Outcome::Superseded
        | Outcome::Behind { .. }
        | Outcome::Refused { .. }
        | Outcome::Throttled(_)
        | Outcome::Unreachable => false,
    }
}
