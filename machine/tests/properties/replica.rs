//! One replica: an election, what it has been told, and the orders it has open.

use std::collections::VecDeque;

use machine::{
    Cause, Departure, Effect, Election, Endpoint, Epoch, Event, Member, OrderId, Phase, Pod, Policy, Scope,
    Shown, Standing, Step, Timestamp, Version, Wanted,
};

use crate::server::{Server, is_fit};

pub(crate) struct Replica {
    pub(crate) life: usize,
    pub(crate) election: Election,
    pub(crate) log: Vec<(Timestamp, Event, Step)>,
    first_policy: Policy,
    /// How far the watches have come.
    pub(crate) pods: usize,
    pub(crate) slices: usize,
    /// The members as it was told last, by whatever order the facts came.
    pub(crate) told: Vec<Member>,
    /// Departed, and when it was told.
    departed: Vec<(Pod, usize)>,
    buried: Vec<Pod>,
    /// Whether the election took the answer that they are absent depends on what it knew when it came.
    unsure: Vec<Pod>,
    policy: Policy,
    pub(crate) paused: Option<Option<Timestamp>>,
    /// What the server refused to it.
    pub(crate) refused: Vec<(Pod, Endpoint)>,
    node_lost: Vec<Pod>,
    /// All but the last are known to be done, and their answers are still to come.
    pub(crate) writes: VecDeque<(OrderId, Wanted, Option<Version>)>,
    pub(crate) reads: Vec<OrderId>,
    pub(crate) confirms: Vec<(OrderId, Pod, usize)>,
    pub(crate) mirrors: Vec<(OrderId, Option<Epoch>)>,
    pub(crate) removes: Vec<(OrderId, Scope)>,
    /// Answers on their way.
    pub(crate) late: VecDeque<Event>,
    pub(crate) lease: bool,
}

impl Replica {
    pub(crate) fn new(life: usize, policy: &Policy) -> Self {
        Self {
            life,
            election: Election::new(policy.clone()),
            log: Vec::new(),
            first_policy: policy.clone(),
            pods: 0,
            slices: 0,
            told: Vec::new(),
            departed: Vec::new(),
            buried: Vec::new(),
            unsure: Vec::new(),
            policy: policy.clone(),
            paused: None,
            refused: Vec::new(),
            node_lost: Vec::new(),
            writes: VecDeque::new(),
            reads: Vec::new(),
            confirms: Vec::new(),
            mirrors: Vec::new(),
            removes: Vec::new(),
            late: VecDeque::new(),
            lease: true,
        }
    }

    pub(crate) fn horizon(&self, server: &Server) -> Version {
        match self.pods.checked_sub(1) {
            // A bookmark.
            _ if self.pods == server.pod_log.len() => server.version(),
            Some(last) => server.pod_log[last].version,
            None => Version(0),
        }
    }

    pub(crate) fn standing(&self, server: &Server, mirrored: Option<Epoch>) -> Standing {
        let published = server.slice.as_ref().map(|stored| stored.seen_by(self.life));
        Standing { published, mirrored, horizon: self.horizon(server) }
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

    pub(crate) fn told(&self, pod: &Pod) -> Option<&Member> {
        self.told.iter().find(|member| member.pod == *pod)
    }

    /// One fact, and all that must hold after it.
    pub(crate) fn feed(&mut self, at: Timestamp, event: Event) {
        self.note(at, &event);
        let before = (self.election.state().phase(), self.election.state().pod().cloned());
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
        let after = (self.election.state().phase(), self.election.state().pod().cloned());
        self.check_transition(&event, before, after, &step);
        for effect in &step.effects {
            self.take(at, effect);
        }
        self.log.push((at, event, step));
        let is_open = self.waits();
        assert!(
            self.election.is_settled() || is_open || self.election.deadline().is_some(),
            "I7: nothing is armed though wanted and published differ"
        );
    }

    fn note(&mut self, at: Timestamp, event: &Event) {
        let now = self.log.len();
        match event {
            Event::Synced { members, .. } => {
                self.told.clone_from(members);
                let is_listed = |pod: &Pod| members.iter().any(|member| member.pod == *pod);
                let asked = self.confirms.iter().map(|(_, pod, _)| pod.clone());
                self.departed.extend(asked.filter(|pod| !is_listed(pod)).map(|pod| (pod, now)));
                self.buried.clear();
                self.unsure.clear();
                self.refused.clear();
                self.node_lost.retain(|pod| members.iter().any(|member| member.pod == *pod));
            }
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => self.tell(member),
            Event::PodGone { pod, .. } => {
                self.buried.retain(|buried| buried != pod);
                self.unsure.retain(|unsure| unsure != pod);
                self.untell(pod);
                self.departed.push((pod.clone(), now));
            }
            Event::Confirmed { id, member, .. } => {
                let Some(index) = self.confirms.iter().position(|(confirm, ..)| confirm == id) else {
                    return;
                };
                let (_, pod, asked) = self.confirms.remove(index);
                let was_told = self.log[asked..].iter().any(|(_, event, _)| tells(event, &pod));
                let has_left = self.departed.iter().any(|(gone, when)| *gone == pod && *when >= asked);
                match member {
                    Some(member) if !has_left || self.told(&pod).is_some() => self.tell(member),
                    Some(_) => {}
                    None if has_left => {}
                    None if was_told => self.unsure.push(pod),
                    None => {
                        self.untell(&pod);
                        self.buried.push(pod);
                    }
                }
            }
            Event::PolicyChanged { policy } => self.policy = policy.clone(),
            Event::Paused { until } => {
                self.paused = Some(*until).filter(|_| until.is_none_or(|until| until > at));
            }
            Event::Resumed => self.paused = None,
            Event::NodeLost { pod } => self.node_lost.push(pod.clone()),
            Event::NodeBack { pod } => self.node_lost.retain(|lost| lost != pod),
            _ => {}
        }
        if let Event::DeadlineReached | Event::Synced { .. } | Event::Unblocked { .. } = event {
            self.paused.take_if(|until| until.is_some_and(|until| until <= at));
        }
    }

    fn tell(&mut self, member: &Member) {
        if self.buried.contains(&member.pod) {
            return;
        }
        match self.told.iter_mut().find(|told| told.pod == member.pod) {
            Some(told) if told.version > member.version => {}
            Some(told) => told.clone_from(member),
            None => self.told.push(member.clone()),
        }
        let endpoint = member.reach.endpoint();
        self.refused.retain(|(pod, refused)| *pod != member.pod || Some(*refused) == endpoint);
    }

    fn untell(&mut self, pod: &Pod) {
        self.told.retain(|member| member.pod != *pod);
        self.node_lost.retain(|lost| lost != pod);
    }

    /// I9: a leader changes only for a stated cause.
    fn check_transition(
        &self,
        event: &Event,
        before: (Phase, Option<Pod>),
        after: (Phase, Option<Pod>),
        step: &Step,
    ) {
        let Some(transition) = &step.transition else {
            assert_eq!(before, after, "I9: a change without a transition");
            return;
        };
        assert_ne!(before, after, "I9: a transition without a change");
        assert_eq!((transition.from, &transition.from_pod), (before.0, &before.1), "I9");
        assert_eq!((transition.to, &transition.to_pod), (after.0, &after.1), "I9");
        let is_begun = matches!(event, Event::Synced { .. } | Event::Unblocked { .. });
        let is_seen = matches!(event, Event::PublicationObserved { .. } | Event::ReadDone { .. });
        let is_possible = match transition.cause {
            Cause::Adopted => is_begun || is_seen,
            Cause::Removal => matches!(event, Event::OptedOut | Event::ServiceGone),
            Cause::Obstruction => matches!(event, Event::Blocked { .. }),
            Cause::Failback | Cause::Switchover if transition.to == Phase::Reelecting => {
                matches!(event, Event::Confirmed { .. }) && self.paused.is_none()
            }
            _ => true,
        };
        assert!(is_possible, "I9: {transition:?} by {event:?}");
        crate::ARROWS.with_borrow_mut(|arrows| arrows.insert((transition.from, transition.to)));
    }

    fn take(&mut self, at: Timestamp, effect: &Effect) {
        match effect {
            Effect::Publish { id, wanted, based_on } => {
                let known = self.election.published().map(|published| published.version);
                assert_eq!(*based_on, known, "I4: based on what is published");
                self.check_wanted(at, wanted, based_on.is_none());
                self.writes.push_back((*id, wanted.clone(), *based_on));
            }
            Effect::Read { id } => self.reads.push(*id),
            Effect::Confirm { id, pod } => self.confirms.push((*id, pod.clone(), self.log.len())),
            Effect::Mirror { id, mirror } => self.mirrors.push((*id, mirror.epoch)),
            Effect::Remove { id, scope } => self.removes.push((*id, *scope)),
            Effect::Notify { .. } => {}
        }
    }

    fn check_wanted(&self, at: Timestamp, wanted: &Wanted, creates: bool) {
        let Some(leader) = &wanted.leader else {
            assert_eq!(wanted.shown, Shown::Nobody, "I1");
            let eligible = self.told.iter().find(|member| self.is_eligible(member, at));
            assert!(creates || self.paused.is_some() || eligible.is_none(), "I6: {eligible:?} could lead");
            return;
        };
        assert!(!creates, "a slice is created empty");
        assert!(wanted.epoch.is_some(), "I3: a term without epoch");
        let told = self.told(leader);
        assert!(told.is_some(), "I2: {leader:?} is no member");
        let Some(member) = told else { return };
        let tolerates = match self.election.state() {
            machine::State::Draining { until, .. } => until.is_some(),
            _ => self.paused.is_some(),
        };
        let (shown, is_allowed) = match wanted.shown {
            Shown::Ready(endpoint) => (Some(endpoint), is_fit(member) || tolerates && !member.terminating),
            Shown::Terminating(endpoint) => (Some(endpoint), member.ready && member.terminating),
            Shown::Nobody | Shown::Foreign => (None, false),
        };
        assert!(is_allowed, "I2: {member:?} is not fit for {:?}", wanted.shown);
        assert_eq!(shown, member.reach.endpoint(), "I2: at its present address");
    }

    /// Whether it certainly is.
    fn is_eligible(&self, member: &Member, at: Timestamp) -> bool {
        is_fit(member)
            && member.ready_changed.plus(self.policy.min_ready_duration) <= at
            && !self.node_lost.contains(&member.pod)
            && !self.unsure.contains(&member.pod)
            && !self.refused.iter().any(|(pod, _)| *pod == member.pod)
    }

    /// The pod's event, as the controller tells it.
    pub(crate) fn pod_event(&self, pod: &Pod, now: &Result<Member, Departure>) -> Event {
        let member = match now {
            Err(how) => return Event::PodGone { pod: pod.clone(), how: *how },
            Ok(member) => member.clone(),
        };
        let old = self.told(pod);
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

    /// I14: the same events lead to the same steps, byte for byte.
    pub(crate) fn check_replay(&self, bytes: bool) {
        let mut election = Election::new(self.first_policy.clone());
        for (at, event, step) in &self.log {
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
        assert_eq!(election.state(), self.election.state(), "I14");
        assert_eq!(election.deadline(), self.election.deadline(), "I14");
    }
}

fn tells(event: &Event, pod: &Pod) -> bool {
    match event {
        Event::PodReady { member }
        | Event::PodUnready { member }
        | Event::PodTerminating { member }
        | Event::PodChanged { member } => member.pod == *pod,
        Event::Synced { members, .. } => members.iter().any(|member| member.pod == *pod),
        _ => false,
    }
}
