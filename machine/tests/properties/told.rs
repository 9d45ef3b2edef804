//! What a replica has been told, in the model's own words: the facts that its decisions must agree with.

use std::cmp::Reverse;

use machine::{
    Endpoint, Epoch, Event, Member, Policy, Publication, Site, Strategy, Switchover, Timestamp, Version,
    Wanted,
};

use crate::met::{Met, met};
use crate::pods::{Uid, is_fit, uid};

/// A member as it was told last, by whatever order the facts came.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) member: Member,
    /// Since when it was seen as Ready, or not, as it is.
    seen: Timestamp,
}

/// The server would not take this endpoint.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    pod: Uid,
    endpoint: Endpoint,
    /// The answer was not overtaken, and nothing since says that the server may take it after all.
    is_sure: bool,
}

#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(crate) struct Told {
    /// How many facts there were.
    pub(crate) facts: usize,
    pub(crate) members: Vec<Known>,
    /// When a pod was told of last.
    heard: Vec<(Uid, usize)>,
    /// Who departed, and when.
    departed: Vec<(Uid, usize)>,
    /// Confirmed to be absent; their last events may still be on their way.
    buried: Vec<Uid>,
    /// Whether the election took the answer that they are absent depends on what it knew when it came.
    unsure: Vec<Uid>,
    pub(crate) policy: Policy,
    pub(crate) paused: Option<Option<Timestamp>>,
    pub(crate) request: Option<Switchover>,
    pub(crate) lease: bool,
    /// What the server refused to it.
    refused: Vec<Refusal>,
    pub(crate) node_lost: Vec<Uid>,
    /// How often something new was seen of the slice.
    pub(crate) sights: usize,
    /// The slice, each time that it was seen.
    pub(crate) shown: Vec<Publication>,
    /// The newest version of the slice that it cannot have missed: the watch showed it, or the answer to an order.
    pub(crate) newest: Version,
    /// When the lists came in last: what older orders were based on is forgotten then.
    pub(crate) begun: usize,
    is_synced: bool,
    is_blocked: bool,
    is_leaving: bool,
}

impl Told {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self {
            facts: 0,
            members: Vec::new(),
            heard: Vec::new(),
            departed: Vec::new(),
            buried: Vec::new(),
            unsure: Vec::new(),
            policy: policy.clone(),
            paused: None,
            request: None,
            lease: true,
            refused: Vec::new(),
            node_lost: Vec::new(),
            sights: 0,
            shown: Vec::new(),
            newest: Version(0),
            begun: 0,
            is_synced: false,
            is_blocked: false,
            is_leaving: false,
        }
    }

    /// Takes note of `event`. What answers an order is told apart: see the functions below.
    pub(crate) fn note(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::Synced { members, standing } => {
                self.is_synced = true;
                self.list(at, members);
                self.stands(at, standing.published.as_ref());
            }
            Event::PodReady { member }
            | Event::PodUnready { member }
            | Event::PodTerminating { member }
            | Event::PodChanged { member } => {
                self.heard.push((uid(&member.pod), self.facts));
                self.tell(at, member);
            }
            Event::PodGone { pod, .. } => {
                let pod = uid(pod);
                self.buried.retain(|buried| *buried != pod);
                self.untell(pod);
                self.departed.push((pod, self.facts));
            }
            Event::PolicyChanged { policy } => self.policy = policy.clone(),
            Event::OptedOut | Event::ServiceGone => self.is_leaving = true,
            Event::Blocked { .. } => self.is_blocked = true,
            Event::Unblocked { standing } => {
                self.is_blocked = false;
                self.stands(at, standing.published.as_ref());
            }
            Event::PublicationObserved { published, .. } => {
                let is_news = published.as_ref().is_none_or(|published| published.version >= self.newest);
                self.sights += usize::from(is_news);
                if let Some(published) = published {
                    self.show(at, published);
                    self.newest = self.newest.max(published.version);
                }
            }
            Event::ReadDone { published, .. } => {
                self.sights += 1;
                if let Some(published) = published {
                    self.show(at, published);
                }
            }
            Event::SwitchoverRequested { request } => self.request = Some(request.clone()),
            Event::SwitchoverWithdrawn => self.request = None,
            Event::Paused { until } => {
                self.paused = Some(*until).filter(|_| until.is_none_or(|until| until > at));
            }
            Event::Resumed => self.paused = None,
            Event::LeaseHeld => self.lease = true,
            Event::LeaseLost => self.lease = false,
            Event::NodeLost { pod } => self.node_lost.push(uid(pod)),
            Event::NodeBack { pod } => self.node_lost.retain(|lost| *lost != uid(pod)),
            Event::Published { .. }
            | Event::PublishFailed { .. }
            | Event::ReadFailed { .. }
            | Event::Confirmed { .. }
            | Event::ConfirmFailed { .. }
            | Event::Mirrored { .. }
            | Event::MirrorFailed { .. }
            | Event::Notified { .. }
            | Event::NotifyFailed { .. }
            | Event::Removed { .. }
            | Event::RemoveFailed { .. }
            | Event::ServerBack
            | Event::DeadlineReached => {}
        }
        if let Event::DeadlineReached | Event::Synced { .. } | Event::Unblocked { .. } = event {
            self.paused.take_if(|until| until.is_some_and(|until| until <= at));
        }
    }

    /// An order to publish, which was given when so many facts were known, was answered: it is published now.
    pub(crate) fn acknowledge(&mut self, at: Timestamp, asked: usize, published: &Publication) {
        self.show(at, published);
        if asked > self.begun {
            self.newest = self.newest.max(published.version);
        }
    }

    /// The answer to an order to read `pod`, which was given when so many facts were known.
    pub(crate) fn confirm(
        &mut self,
        at: Timestamp,
        pod: Uid,
        asked: usize,
        member: Option<&Member>,
        exists: bool,
    ) {
        let since = |facts: &[(Uid, usize)]| facts.iter().any(|(who, when)| *who == pod && *when >= asked);
        let (was_told, has_left) = (since(&self.heard), since(&self.departed));
        match member {
            Some(member) if !has_left || self.member(pod).is_some() => self.tell(at, member),
            Some(_) => {}
            None if has_left => {}
            None if was_told => self.unsure.push(pod),
            None if exists => self.untell(pod),
            None => {
                met(Met::Absent);
                self.untell(pod);
                self.buried.push(pod);
            }
        }
    }

    fn list(&mut self, at: Timestamp, members: &[Member]) {
        self.members = members
            .iter()
            .map(|member| Known { member: member.clone(), seen: member.ready_changed.min(at) })
            .collect();
        for known in &self.members {
            self.heard.push((uid(&known.member.pod), self.facts));
        }
        self.buried.clear();
        self.unsure.clear();
        self.refused.clear();
        let is_listed = |lost: &Uid| members.iter().any(|member| uid(&member.pod) == *lost);
        self.node_lost.retain(is_listed);
    }

    /// An order, which was given when so many facts were known and the slice had been seen so often, is refused
    /// because of its endpoint.
    pub(crate) fn refuse(&mut self, (asked, shown): (usize, usize), pod: Uid, endpoint: Endpoint) {
        if self.member(pod).is_some_and(|member| member.reach.endpoint() == Some(endpoint)) {
            let leads = |shown: &Publication| shown.leader.as_ref().map(uid) == Some(pod);
            let is_sure = asked > self.begun && !self.shown[shown..].iter().any(leads);
            self.refused.push(Refusal { pod, endpoint, is_sure });
        }
    }

    /// The list lacks a pod that is being read.
    pub(crate) fn unlisted(&mut self, pod: Uid) {
        if self.member(pod).is_none() {
            self.departed.push((pod, self.facts));
        }
    }

    fn tell(&mut self, at: Timestamp, member: &Member) {
        let pod = uid(&member.pod);
        if self.buried.contains(&pod) {
            return;
        }
        match self.members.iter_mut().find(|known| uid(&known.member.pod) == pod) {
            Some(known) if known.member.version > member.version => return met(Met::OldNews),
            Some(known) => {
                let (then, now) = (&known.member, member);
                if (then.ready, then.ready_changed) != (now.ready, now.ready_changed) {
                    known.seen = at;
                }
                known.member.clone_from(member);
            }
            None => self.members.push(Known { member: member.clone(), seen: at }),
        }
        let endpoint = member.reach.endpoint();
        self.refused.retain(|refused| refused.pod != pod || Some(refused.endpoint) == endpoint);
    }

    fn untell(&mut self, pod: Uid) {
        self.unsure.retain(|unsure| *unsure != pod);
        self.members.retain(|known| uid(&known.member.pod) != pod);
        self.node_lost.retain(|lost| *lost != pod);
        self.doubt_refusals(pod);
    }

    /// The server may take it now.
    fn doubt_refusals(&mut self, pod: Uid) {
        for refused in self.refused.iter_mut().filter(|refused| refused.pod == pod) {
            refused.is_sure = false;
        }
    }

    fn stands(&mut self, at: Timestamp, published: Option<&Publication>) {
        self.begun = self.facts;
        self.sights += 1;
        self.newest = published.map_or(Version(0), |published| published.version);
        if let Some(published) = published {
            self.show(at, published);
        }
    }

    fn show(&mut self, at: Timestamp, published: &Publication) {
        // Beyond ten years from now it is invalid, as if it were not there.
        if let Some(leader) = &published.leader {
            self.doubt_refusals(uid(leader));
        }
        let is_valid = |epoch: &Epoch| epoch.0 <= at.as_secs() + 10 * 365 * 24 * 3_600;
        self.shown.push(Publication { epoch: published.epoch.filter(is_valid), ..published.clone() });
    }
}

impl Told {
    /// Whether it is to decide anything.
    pub(crate) const fn is_running(&self) -> bool {
        self.is_synced && !self.is_blocked && !self.is_leaving
    }

    /// Until when a leader that is not Ready is tolerated.
    pub(crate) fn tolerated_until(&self, pod: Uid) -> Option<Timestamp> {
        self.known(pod).map(|known| known.seen.plus(self.policy.failover_min_delay))
    }

    pub(crate) fn member(&self, pod: Uid) -> Option<&Member> {
        self.known(pod).map(|known| &known.member)
    }

    fn known(&self, pod: Uid) -> Option<&Known> {
        self.members.iter().find(|known| uid(&known.member.pod) == pod)
    }

    pub(crate) fn is_unsure(&self, pod: Uid) -> bool {
        self.unsure.contains(&pod)
    }

    pub(crate) fn highest_epoch(&self) -> Option<Epoch> {
        self.shown.iter().filter_map(|shown| shown.epoch).max()
    }

    /// Whether the server refused it, and may still.
    pub(crate) fn is_refused(&self, pod: Uid) -> bool {
        self.refused.iter().any(|refused| refused.pod == pod)
    }

    pub(crate) fn is_surely_refused(&self, pod: Uid, endpoint: Endpoint) -> bool {
        self.refused
            .iter()
            .any(|refused| refused.pod == pod && refused.endpoint == endpoint && refused.is_sure)
    }

    /// The slice as it was at that version.
    pub(crate) fn shown_at(&self, version: Version) -> Option<&Publication> {
        self.shown.iter().rfind(|shown| shown.version == version)
    }

    /// Whether it may be chosen now, if the server does not refuse it.
    pub(crate) fn may_be_eligible(&self, pod: Uid, wait: machine::Micros, at: Timestamp) -> bool {
        self.known(pod).is_some_and(|Known { member, seen }| {
            is_fit(member)
                && member.ready_changed.min(*seen).plus(self.policy.min_ready_duration).plus(wait) <= at
                && !self.node_lost.contains(&pod)
        })
    }

    /// Who certainly may be chosen now.
    pub(crate) fn eligible(&self, at: Timestamp) -> impl Iterator<Item = &Member> {
        self.members.iter().map(|known| &known.member).filter(move |member| {
            let pod = uid(&member.pod);
            self.may_be_eligible(pod, machine::Micros::ZERO, at)
                && !self.is_unsure(pod)
                && !self.is_refused(pod)
        })
    }

    /// The smaller, the sooner chosen; requests apart.
    pub(crate) fn rank(&self, member: &Member) -> impl Ord + use<> {
        (member.site != Site::Sound, self.merit(member))
    }

    /// The smaller, the better; requests and nodes apart.
    pub(crate) fn merit(&self, member: &Member) -> impl Ord + use<> {
        let (name, text) = (member.pod.name().to_owned(), member.pod.uid().to_owned());
        let created = i128::from(member.created.0);
        let by_strategy = match self.policy.strategy {
            Strategy::Oldest => created,
            Strategy::Newest => -created,
            Strategy::LongestReady => i128::from(member.ready_changed.0),
        };
        let is_old = self.policy.prefer_new_revision && self.newest_revision() != Some(member.revision);
        (Reverse(member.priority), Reverse(member.place), is_old, by_strategy, created, name, text)
    }

    /// That of the youngest pod.
    fn newest_revision(&self) -> Option<u64> {
        let members = self.members.iter().map(|known| &known.member);
        let youngest = members.min_by_key(|member| {
            (Reverse(member.created), member.pod.name().to_owned(), member.pod.uid().to_owned())
        });
        youngest.map(|youngest| youngest.revision)
    }
}

/// Whether the slice says just that, in the model's own words.
pub(crate) fn says(shown: &Publication, wanted: &Wanted) -> bool {
    shown.intact
        && shown.leader.as_ref().map(uid) == wanted.leader.as_ref().map(uid)
        && shown.epoch == wanted.epoch
        && shown.shown == wanted.shown
        && shown.handled == wanted.handled
}
