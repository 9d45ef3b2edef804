//! A harness that feeds facts to an election, and keeps its open orders.

use machine::{
    Departure, Effect, Election, Event, Member, Micros, Mirror, Obstruction, OrderId, Outcome, Policy,
    Publication, Standing, Step, Timestamp, Version, Wanted,
};

use super::builders::{PodBuilder, START, SliceBuilder, pod, request, slice};
use super::words::{told, told_state};

/// How new the facts about pods are when a slice is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Facts {
    Newer,
    Older,
}

/// An election and the open orders of its controller. Mirrors and notices are answered at once, in silence.
pub(crate) struct Run {
    pub(crate) election: Election,
    pub(crate) now: Timestamp,
    version: u64,
    last: Step,
    publish: Option<(OrderId, Wanted, Option<Version>)>,
    read: Option<OrderId>,
    confirm: Option<OrderId>,
    remove: Option<OrderId>,
    pub(crate) mirror: Option<OrderId>,
    answers_mirrors: bool,
}

impl Run {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            election: Election::new(policy),
            now: START,
            version: 100,
            last: Step::default(),
            publish: None,
            read: None,
            confirm: None,
            remove: None,
            mirror: None,
            answers_mirrors: true,
        }
    }

    /// A run whose slice publishes the first of `pods` in term 7, with nothing left to do.
    pub(crate) fn led<const N: usize>(policy: Policy, pods: [PodBuilder; N]) -> Self {
        let leader = pods[0].0.pod.name().to_owned();
        let mut run = Self::new(policy);
        run.synced(pods, Some(slice(&leader, 7)));
        assert_eq!(run.state(), format!("Elected {leader}@7"));
        assert!(run.election.is_settled());
        run
    }

    pub(crate) fn without_mirror_answers(mut self) -> Self {
        self.answers_mirrors = false;
        self
    }

    /// With room in between, for what happened elsewhere.
    fn next_version(&mut self) -> Version {
        self.version += 10;
        Version(self.version)
    }

    fn member(&mut self, builder: PodBuilder) -> Member {
        let mut member = builder.0;
        if member.version == Version(0) {
            member.version = self.next_version();
        }
        member
    }

    fn publication(&mut self, builder: SliceBuilder) -> Publication {
        let mut publication = builder.0;
        if publication.version == Version(0) {
            publication.version = self.next_version();
        }
        publication
    }

    fn horizon(&self, facts: Facts) -> Version {
        if facts == Facts::Newer { Version(self.version) } else { Version(1) }
    }

    pub(crate) fn standing(&mut self, published: Option<SliceBuilder>) -> Standing {
        let published = published.map(|slice| self.publication(slice));
        // As after an orderly life: the leader Service says what the slice does.
        let mirrored = published.as_ref().and_then(|publication| publication.epoch);
        Standing { published, mirrored, horizon: Version(self.version), ..Standing::default() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    pub(crate) fn tell(&mut self, event: Event) -> &mut Self {
        let published = self.election.published().map(|publication| publication.version);
        let step = self.election.step(self.now, &event);
        if std::env::var_os("SHOW_RUN").is_some() {
            eprintln!("{event:?}\n  -> {}\n  {:?}", self.state(), told(&step.effects));
        }
        let mut quiet = Vec::new();
        for effect in &step.effects {
            match effect {
                Effect::Publish { id, wanted, based_on } => {
                    assert!(self.publish.is_none(), "one write at a time");
                    let present = self.election.published().map(|publication| publication.version);
                    assert_eq!(
                        *based_on, present,
                        "a write is based on what is published; before: {published:?}"
                    );
                    self.publish = Some((*id, wanted.clone(), *based_on));
                }
                Effect::Read { id } => self.read = Some(*id),
                Effect::Confirm { id, .. } => self.confirm = Some(*id),
                Effect::Remove { id, .. } => self.remove = Some(*id),
                Effect::Mirror { id, .. } => {
                    self.mirror = Some(*id);
                    if self.answers_mirrors {
                        quiet.push(Event::Mirrored { id: *id });
                    }
                }
                Effect::Notify { id, .. } => quiet.push(Event::Notified { id: *id }),
            }
        }
        for answer in quiet {
            assert_eq!(self.election.step(self.now, &answer), Step::default(), "{answer:?} is silent");
        }
        self.last = step;
        self
    }

    /// The state and the exact effects that the last event led to.
    #[track_caller]
    pub(crate) fn is(&mut self, state: &str, effects: &[&str]) -> &mut Self {
        assert_eq!(self.state(), state);
        assert_eq!(told(&self.last.effects), effects);
        self
    }

    /// Nothing happened at all.
    #[track_caller]
    pub(crate) fn is_silent(&mut self) -> &mut Self {
        assert_eq!(self.last, Step::default());
        self
    }

    #[track_caller]
    pub(crate) fn by(&mut self, cause: machine::Cause) -> &mut Self {
        assert_eq!(self.last.transition.as_ref().map(|transition| transition.cause), Some(cause));
        self
    }

    pub(crate) fn state(&self) -> String {
        told_state(self.election.state(), self.now)
    }

    pub(crate) fn synced<const N: usize>(
        &mut self,
        pods: [PodBuilder; N],
        published: Option<SliceBuilder>,
    ) -> &mut Self {
        let members = pods.into_iter().map(|pod| self.member(pod)).collect();
        let standing = self.standing(published);
        self.tell(Event::Synced { members, standing })
    }

    /// The slice is newer than the list of pods.
    pub(crate) fn synced_early<const N: usize>(
        &mut self,
        pods: [PodBuilder; N],
        published: SliceBuilder,
    ) -> &mut Self {
        let members = pods.into_iter().map(|pod| self.member(pod)).collect();
        let horizon = Version(self.version);
        let standing = Standing { horizon, ..self.standing(Some(published)) };
        self.tell(Event::Synced { members, standing })
    }

    pub(crate) fn ready(&mut self, pod: PodBuilder) -> &mut Self {
        let member = self.member(pod.ready());
        self.tell(Event::PodReady { member })
    }

    pub(crate) fn unready(&mut self, pod: PodBuilder) -> &mut Self {
        let now = self.now;
        let member = self.member(pod.unready_since(now));
        self.tell(Event::PodUnready { member })
    }

    pub(crate) fn terminating(&mut self, pod: PodBuilder) -> &mut Self {
        let member = self.member(pod.terminating());
        self.tell(Event::PodTerminating { member })
    }

    pub(crate) fn changed(&mut self, pod: PodBuilder) -> &mut Self {
        let member = self.member(pod);
        self.tell(Event::PodChanged { member })
    }

    pub(crate) fn gone(&mut self, name: &str) -> &mut Self {
        self.tell(Event::PodGone { pod: pod(name).id(), how: Departure::Deleted })
    }

    pub(crate) fn departed(&mut self, name: &str, how: Departure) -> &mut Self {
        self.tell(Event::PodGone { pod: pod(name).id(), how })
    }

    /// The API server acknowledges the open write.
    #[track_caller]
    pub(crate) fn published(&mut self) -> &mut Self {
        let (id, ..) = self.publish.take().expect("a write is open");
        let version = self.next_version();
        self.tell(Event::Published { id, version })
    }

    #[track_caller]
    pub(crate) fn publish_failed(&mut self, outcome: Outcome) -> &mut Self {
        let (id, ..) = self.publish.take().expect("a write is open");
        self.tell(Event::PublishFailed { id, outcome })
    }

    /// Our open write as the watch shows it.
    #[track_caller]
    pub(crate) fn echoed(&mut self) -> &mut Self {
        let (_, wanted, _) = self.publish.clone().expect("a write is open");
        let version = self.next_version();
        let published = Some(wanted.acknowledged(version));
        self.tell(Event::PublicationObserved { published, horizon: Version(1), by: None })
    }

    /// The answer to the write that the watch has just shown.
    #[track_caller]
    pub(crate) fn answered_echo(&mut self) -> &mut Self {
        let (id, ..) = self.publish.take().expect("a write is open");
        let version = self.election.published().expect("a slice").version;
        self.tell(Event::Published { id, version })
    }

    /// The open write, whose answer keeps others waiting no longer and comes when the test wants.
    #[track_caller]
    pub(crate) fn answered_later(&mut self) -> (OrderId, Version) {
        let (id, ..) = self.publish.take().expect("a write is open");
        (id, self.election.published().expect("a slice").version)
    }

    /// The open question about a pod, which is answered when the test wants.
    #[track_caller]
    pub(crate) fn asked(&mut self) -> OrderId {
        self.confirm.take().expect("a pod is being read")
    }

    /// What the last step orders the leader Service to mirror.
    #[track_caller]
    pub(crate) fn mirrored(&self) -> &Mirror {
        let mut mirrors = self.last.effects.iter().filter_map(|effect| match effect {
            Effect::Mirror { mirror, .. } => Some(mirror),
            _ => None,
        });
        mirrors.next().expect("a mirror is ordered")
    }

    pub(crate) fn observed(&mut self, slice: SliceBuilder, facts: Facts) -> &mut Self {
        let published = Some(self.publication(slice));
        let horizon = self.horizon(facts);
        self.tell(Event::PublicationObserved { published, horizon, by: None })
    }

    pub(crate) fn undone_by(&mut self, manager: &str, slice: SliceBuilder) -> &mut Self {
        let published = Some(self.publication(slice));
        let horizon = self.horizon(Facts::Newer);
        self.tell(Event::PublicationObserved { published, horizon, by: Some(manager.into()) })
    }

    pub(crate) fn slice_deleted(&mut self) -> &mut Self {
        let horizon = self.horizon(Facts::Newer);
        self.tell(Event::PublicationObserved { published: None, horizon, by: None })
    }

    #[track_caller]
    pub(crate) fn read(&mut self, slice: Option<SliceBuilder>, facts: Facts) -> &mut Self {
        let id = self.read.take().expect("a read is open");
        let published = slice.map(|slice| self.publication(slice));
        let horizon = self.horizon(facts);
        self.tell(Event::ReadDone { id, published, horizon })
    }

    #[track_caller]
    pub(crate) fn read_failed(&mut self) -> &mut Self {
        let id = self.read.take().expect("a read is open");
        self.tell(Event::ReadFailed { id })
    }

    #[track_caller]
    pub(crate) fn confirmed(&mut self, pod: PodBuilder) -> &mut Self {
        let id = self.confirm.take().expect("a pod is being read");
        let member = Some(self.member(pod));
        self.tell(Event::Confirmed { id, member, exists: true })
    }

    #[track_caller]
    pub(crate) fn confirmed_absent(&mut self) -> &mut Self {
        let id = self.confirm.take().expect("a pod is being read");
        self.tell(Event::Confirmed { id, member: None, exists: false })
    }

    /// The pod is there, but the selector does not match it.
    #[track_caller]
    pub(crate) fn confirmed_no_member(&mut self) -> &mut Self {
        let id = self.confirm.take().expect("a pod is being read");
        self.tell(Event::Confirmed { id, member: None, exists: true })
    }

    #[track_caller]
    pub(crate) fn confirm_failed(&mut self) -> &mut Self {
        let id = self.confirm.take().expect("a pod is being read");
        self.tell(Event::ConfirmFailed { id })
    }

    #[track_caller]
    pub(crate) fn removed(&mut self) -> &mut Self {
        let id = self.remove.take().expect("a removal is open");
        self.tell(Event::Removed { id })
    }

    #[track_caller]
    pub(crate) fn remove_failed(&mut self) -> &mut Self {
        let id = self.remove.take().expect("a removal is open");
        self.tell(Event::RemoveFailed { id })
    }

    pub(crate) fn policy(&mut self, policy: Policy) -> &mut Self {
        self.tell(Event::PolicyChanged { policy })
    }

    pub(crate) fn requested(&mut self, text: &str) -> &mut Self {
        self.tell(Event::SwitchoverRequested { request: request(text) })
    }

    pub(crate) fn paused(&mut self) -> &mut Self {
        self.tell(Event::Paused { until: None })
    }

    pub(crate) fn blocked_by_service(&mut self) -> &mut Self {
        self.tell(Event::Blocked { by: Obstruction::Service("orders-leader".into()) })
    }

    pub(crate) fn blocked_by_slice(&mut self) -> &mut Self {
        self.tell(Event::Blocked { by: Obstruction::Slice("orders-leader".into()) })
    }

    pub(crate) fn unblocked(&mut self, published: Option<SliceBuilder>) -> &mut Self {
        let standing = self.standing(published);
        self.tell(Event::Unblocked { standing })
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        self.now = self.now.plus(Micros::from_millis(millis));
        self
    }

    /// How many milliseconds from now the election wants to be woken.
    pub(crate) fn due(&self) -> Option<u64> {
        self.election.deadline().map(|when| when.since(self.now).0 / 1_000)
    }

    /// The alarm rings, after exactly this many milliseconds.
    #[track_caller]
    pub(crate) fn wakes_after(&mut self, millis: u64) -> &mut Self {
        assert_eq!(self.due(), Some(millis));
        self.wait(millis).tell(Event::DeadlineReached)
    }

    /// Nothing is left to do, and nothing wakes us.
    #[track_caller]
    pub(crate) fn rests(&mut self) -> &mut Self {
        assert!(self.election.is_settled(), "{}", self.state());
        assert_eq!(self.due(), None);
        self
    }
}
