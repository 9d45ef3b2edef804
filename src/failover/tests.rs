use machine::{
    Cause, Departure, Effect, Election, Endpoint, Epoch, Event, Failback, Member, Micros, OrderId, Phase,
    Pod, Policy, Publication, Reach, Shown, Site, Standing, Timestamp, Version, Wanted,
};
use serde_json::json;

use super::{Call, Failover, Journal, Outcome, Purpose, Seen, Trigger, Who, millis};
use crate::clock::Clock;
use crate::kinds::fixtures::row;
use crate::managed::{Identity, Key, Surroundings};
use crate::rows::Grounds;
use crate::world::Pods;

mod told;

/// An election with its journal; time goes by in milliseconds.
struct Run {
    election: Election,
    journal: Journal,
    clock: Clock,
    now: u64,
    open: Option<OrderId>,
    /// The last read that was ordered, of the slice or a pod, and when.
    read: Option<(OrderId, Timestamp)>,
    pods: Pods,
    over: Vec<Failover>,
    acts_first: bool,
    /// Who wrote what is seen is no replica of ours.
    is_foreign: bool,
}

fn pod(name: &str) -> Pod {
    Pod::new(name, &format!("{name}-uid"))
}

fn member(name: &str, version: u64, ready: bool) -> Member {
    let endpoint = Endpoint { address: [10, 0, 0, 1].into(), content: 7 };
    Member {
        pod: pod(name),
        version: Version(version),
        created: Timestamp::from_secs(1),
        ready,
        ready_changed: Timestamp::from_secs(2),
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 0,
        reach: Reach::At(endpoint),
    }
}

/// What a slice says by which this pod leads.
fn publication(leader: &str, epoch: Epoch, version: u64) -> Publication {
    let shown = Shown::Ready(Endpoint { address: [10, 0, 0, 1].into(), content: 7 });
    let (version, leader, handled) = (Version(version), Some(pod(leader)), None);
    Wanted { leader, epoch: Some(epoch), shown, handled }.acknowledged(version)
}

impl Run {
    /// Nothing is known yet.
    fn new(policy: Policy) -> Self {
        Self {
            election: Election::new(policy),
            journal: Journal::default(),
            clock: Clock::start(),
            now: 0,
            open: None,
            read: None,
            pods: Pods::new(),
            over: Vec::new(),
            acts_first: true,
            is_foreign: false,
        }
    }

    /// `a` leads, `b` could.
    fn led() -> Self {
        Self::led_by_first_of(Policy::default(), vec![member("a", 1, true), member("b", 2, true)])
    }

    fn led_by_first_of(policy: Policy, members: Vec<Member>) -> Self {
        let mut run = Self::new(policy);
        run.tell(Event::Synced {
            members,
            standing: Standing { horizon: Version(3), ..Standing::default() },
        });
        // The slice, then the leader.
        run.published(9);
        run.published(10);
        assert_eq!((run.election.state().phase(), run.open), (Phase::Elected, None));
        run.over.clear();
        run
    }

    fn at(&self) -> Timestamp {
        self.clock.now().plus(Micros::from_millis(self.now))
    }

    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn tell(&mut self, event: Event) {
        self.now += 10;
        let at = self.at();
        let step = self.election.step(at, &event);
        let identity = Identity { instance: "system/zen-lead".into(), replica: "zen-lead-0".into() };
        let key = Key { namespace: "shop".into(), name: "orders".into() };
        let cx = Surroundings {
            at,
            clock: self.clock,
            identity: &identity,
            acts_first: self.acts_first,
            tracer: None,
            budget: Micros::from_secs(5),
            pods: &self.pods,
            horizon: Version(1),
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
        for effect in &step.effects {
            match effect {
                Effect::Publish { id, .. } => {
                    self.journal.writes(*id);
                    self.open = Some(*id);
                }
                Effect::Read { id } | Effect::Confirm { id, .. } => self.read = Some((*id, at)),
                Effect::Mirror { .. } | Effect::Notify { .. } | Effect::Remove { .. } => {}
            }
        }
    }

    /// The open write's answer, for the journal.
    fn call(&mut self) -> OrderId {
        self.answered("ok")
    }

    fn answered(&mut self, outcome: &'static str) -> OrderId {
        let id = self.open.take().expect("a write is open");
        let at = self.at();
        let call =
            Call { id, purpose: Purpose::Publish, ordered: at, begun: at, ended: at, http: None, outcome };
        self.journal.called(call, &mut self.over);
        id
    }

    /// The open read's answer, for the journal.
    fn looked(&mut self, purpose: Purpose) -> OrderId {
        let (id, ordered) = self.read.take().expect("a read is open");
        let ended = self.at();
        let call = Call { id, purpose, ordered, begun: ordered, ended, http: None, outcome: "ok" };
        self.journal.called(call, &mut self.over);
        id
    }

    fn published(&mut self, version: u64) {
        let id = self.call();
        self.tell(Event::Published { id, version: Version(version) });
    }

    /// The open write, as the watch shows it before its answer.
    fn echoed(&mut self, leader: &str, version: u64) {
        let epoch = self.election.state().epoch();
        let published = publication(leader, epoch.expect("a term"), version);
        self.tell(Event::PublicationObserved { published: Some(published), horizon: Version(1), by: None });
    }
}

#[test]
fn a_failover_lasts_from_the_fact_to_the_acknowledgement() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    assert_eq!(run.journal.open().map(|open| open.outcome), Some(Outcome::Open));
    run.published(12);
    let [failover] = &run.over[..] else { panic!("{:?}", run.over) };
    assert_eq!((failover.cause, failover.outcome), (Cause::Unready, Outcome::Elected));
    assert_eq!(failover.before.as_ref().map(|who| who.pod.name()), Some("a"));
    assert_eq!(failover.after.as_ref().map(|who| who.pod.name()), Some("b"));
    let phases: Vec<_> = failover.phases().collect();
    assert_eq!(phases, [(Phase::Reelecting, failover.took())]);
    assert_eq!(failover.calls.len(), 1);
    assert!(run.journal.open().is_none());
}

/// The watch is often quicker than the answer: the failover is over, but its write's times come with the answer.
#[test]
fn one_that_the_watch_acknowledges_waits_for_the_answer_to_its_write() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.echoed("b", 12);
    let ended = run.at();
    assert!(run.over.is_empty() && run.journal.open().is_none());
    run.now += 500;
    run.call();
    let [failover] = &run.over[..] else { panic!("{:?}", run.over) };
    assert_eq!((failover.outcome, failover.calls.len()), (Outcome::Elected, 1));
    assert!(failover.ended <= ended, "it was over before the answer came");
}

/// The answer never comes, and the controller stops.
#[test]
fn nothing_is_forgotten_at_the_end() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.echoed("b", 12);
    run.tell(Event::PodGone { pod: pod("b"), how: Departure::Deleted });
    let at = run.at();
    let over = run.journal.end(Outcome::Interrupted, at);
    let outcomes: Vec<_> = over.iter().map(|failover| failover.outcome).collect();
    assert_eq!(outcomes, [Outcome::Elected, Outcome::Interrupted]);
}

#[test]
fn what_takes_too_long_is_told_once_and_while_it_goes_on() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    let due = run.journal.deadline().expect("a budget");
    assert!(run.journal.overdue(Timestamp(due.0 - 1)).is_none());
    let failover = run.journal.overdue(due).expect("it is over the budget");
    assert_eq!(failover.longest().map(|(phase, _)| phase), Some(Phase::Reelecting));
    assert!(failover.is_over_budget() && failover.outcome == Outcome::Open);
    assert_eq!(
        (run.journal.overdue(due.plus(Micros::from_secs(60))).is_none(), run.journal.deadline()),
        (true, None)
    );
}

/// Another replica was quicker: it tells of the failover, not we.
#[test]
fn what_another_replica_wrote_is_its_failover() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    let epoch = run.election.state().epoch().expect("a term");
    let published = Publication { ours: false, ..publication("b", epoch, 12) };
    run.tell(Event::PublicationObserved { published: Some(published), horizon: Version(1), by: None });
    let id = run.open.expect("our write is on its way");
    run.call();
    run.tell(Event::PublishFailed { id, outcome: machine::Outcome::Conflict });
    let [failover] = &run.over[..] else { panic!("{:?}", run.over) };
    assert_eq!(failover.outcome, Outcome::Superseded);
    assert!(!failover.outcome.is_change() && !failover.outcome.is_failure());
}

#[test]
fn opting_out_is_no_failover() {
    let mut run = Run::led();
    run.tell(Event::OptedOut);
    assert!(run.over.is_empty(), "{:?}", run.over);
    // But it ends one.
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.tell(Event::OptedOut);
    run.call();
    assert_eq!(run.over[0].outcome, Outcome::Removed);
}

#[test]
fn a_loss_that_is_healed_before_it_was_published_is_one_story() {
    let mut run = Run::led();
    run.tell(Event::PodGone { pod: pod("b"), how: Departure::Deleted });
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.tell(Event::PodReady { member: member("a", 12, true) });
    run.published(13);
    // The withdrawal was under way, and the leader's return needs a write of its own.
    run.published(14);
    let stories: Vec<_> = run.over.iter().map(|failover| (failover.outcome, failover.stays.len())).collect();
    assert_eq!(stories, [(Outcome::Kept, 2)]);
    let phases: Vec<_> = run.over[0].phases().map(|(phase, _)| phase).collect();
    assert_eq!(phases, [Phase::Leaderless, Phase::Reelecting]);
}

/// While the controller was down, the leader was lost: the slice still says who that was.
#[test]
fn a_leader_that_was_lost_while_nobody_watched_is_known_by_the_slice() {
    let mut run = Run::new(Policy::default());
    let a = row(&json!({
        "metadata": { "name": "a", "uid": "a-uid" },
        "status": { "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": "2025-11-20T09:00:00Z" }] },
    }));
    run.pods.insert(a.pod.clone().into(), a);
    let standing = Standing {
        published: Some(publication("a", Epoch(7), 5)),
        horizon: Version(10),
        ..Standing::default()
    };
    let members = vec![member("a", 9, false), member("b", 2, true)];
    run.tell(Event::Synced { members, standing });
    run.published(11);
    let [failover] = &run.over[..] else { panic!("{:?}", run.over) };
    assert_eq!((failover.cause, failover.outcome), (Cause::Unready, Outcome::Elected));
    let before = failover.before.as_ref().expect("it is published");
    assert_eq!((before.pod.name(), before.node.as_deref()), ("a", Some("node-7")));
    let trigger = failover.trigger.as_ref().expect("the pod says when");
    assert_eq!((trigger.who.pod.name(), trigger.at), ("a", Timestamp::from_secs(1_763_629_200)));
}

#[test]
fn a_leader_that_was_found_unready_and_is_fit_again_is_kept() {
    let policy = Policy { failover_min_delay: Micros::from_secs(3_000_000_000), ..Policy::default() };
    let mut run = Run::new(policy);
    let standing = Standing {
        published: Some(publication("a", Epoch(7), 5)),
        horizon: Version(10),
        ..Standing::default()
    };
    run.tell(Event::Synced { members: vec![member("a", 9, false), member("b", 2, true)], standing });
    assert_eq!(run.election.state().phase(), Phase::Draining);
    run.tell(Event::PodReady { member: member("a", 11, true) });
    let outcomes: Vec<_> = run.over.iter().map(|failover| failover.outcome).collect();
    assert_eq!(outcomes, [Outcome::Kept]);
}

/// A read that came to nothing has nothing to do with what is decided hours later.
#[test]
fn a_failover_does_not_begin_with_a_read_of_the_day_before() {
    let policy = Policy { failback: Failback::After(Micros::ZERO), ..Policy::default() };
    let mut run = Run::led_by_first_of(policy, vec![member("a", 1, true), member("b", 2, true)]);
    run.tell(Event::PodChanged { member: Member { priority: 5, ..member("b", 11, true) } });
    let id = run.looked(Purpose::Confirm);
    run.tell(Event::ConfirmFailed { id });
    run.tell(Event::PodUnready { member: member("a", 12, false) });
    run.published(13);
    run.read = None;
    run.now += 86_400_000;
    run.tell(Event::PodReady { member: Member { priority: 9, ..member("a", 14, true) } });
    let id = run.looked(Purpose::Confirm);
    let asked_again = Member { priority: 9, ..member("a", 14, true) };
    run.tell(Event::Confirmed { id, member: Some(asked_again), exists: true });
    run.published(15);
    let causes: Vec<_> = run.over.iter().map(|failover| failover.cause).collect();
    assert_eq!(causes, [Cause::Unready, Cause::Failback]);
    assert!(run.over[1].took() < Micros::from_secs(60), "{:?}", run.over[1].took());
}

/// The answer to a write was lost, and by the time a read finds it done another candidate had been chosen.
#[test]
fn a_term_of_ours_that_is_found_late_is_our_failover() {
    let members = ["a", "b", "c"].map(|name| member(name, 1, true));
    let mut run = Run::led_by_first_of(Policy::default(), members.into());
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    let (id, epoch) = (run.call(), run.election.state().epoch().expect("a term"));
    run.tell(Event::PublishFailed { id, outcome: machine::Outcome::Unknown });
    run.tell(Event::PodUnready { member: member("b", 12, false) });
    assert_eq!(run.election.state().pod(), Some(&pod("c")));
    assert_eq!(run.journal.open().and_then(|open| open.epoch), run.election.state().epoch());
    run.tell(Event::PodReady { member: member("b", 13, true) });
    let id = run.looked(Purpose::Read);
    let published = Some(publication("b", epoch, 14));
    run.tell(Event::ReadDone { id, published, horizon: Version(20) });
    let [failover] = &run.over[..] else { panic!("{:?}", run.over) };
    assert_eq!(failover.after.as_ref().map(|who| who.pod.name()), Some("b"));
    assert_eq!((failover.cause, failover.outcome), (Cause::Unready, Outcome::Elected));
}

#[test]
fn an_outcome_says_whether_anything_changed_and_whether_it_failed() {
    let told = |outcome: Outcome| (outcome.as_str(), outcome.is_change(), outcome.is_failure());
    assert_eq!(told(Outcome::Open), ("open", false, true));
    assert_eq!(told(Outcome::Elected), ("elected", true, false));
    assert_eq!(told(Outcome::Adopted), ("adopted", true, false));
    assert_eq!(told(Outcome::Superseded), ("superseded", false, false));
    assert_eq!(told(Outcome::Kept), ("kept", false, false));
    assert_eq!(told(Outcome::Leaderless), ("leaderless", true, true));
    assert_eq!(told(Outcome::Obstructed), ("obstructed", true, true));
    assert_eq!(told(Outcome::Removed), ("removed", false, false));
    assert_eq!(told(Outcome::Interrupted), ("interrupted", false, true));
}

fn failover(begun: u64) -> Failover {
    let service = Key { namespace: "shop".into(), name: "orders".into() };
    Failover::new(service, Timestamp::from_secs(begun), Cause::Gone, None)
}

#[test]
fn what_takes_all_of_its_budget_is_within_it() {
    let mut failover = failover(100);
    failover.budget = Micros::from_secs(2);
    failover.leave(Timestamp::from_secs(102));
    assert!(!failover.is_over_budget());
    failover.leave(Timestamp(102_000_001));
    assert!(failover.is_over_budget());
}

#[test]
fn a_trigger_that_comes_after_its_being_seen_is_the_clocks_doing() {
    let mut failover = failover(100);
    let trigger = |at| Some(Trigger { who: Who { pod: pod("a"), node: None }, at: Timestamp::from_secs(at) });
    assert_eq!(failover.clock_skew(), None);
    for (at, skew) in [(99, None), (100, None), (103, Some(Micros::from_secs(3)))] {
        failover.trigger = trigger(at);
        assert_eq!(failover.clock_skew(), skew, "{at}");
    }
    failover.wall_ahead = 1_000_000;
    assert_eq!(failover.clock_skew(), Some(Micros::from_secs(2)));
}

#[test]
fn milliseconds_have_their_microseconds_behind_the_point() {
    assert!((millis(Micros(1_234_567)) - 1_234.567).abs() < 1e-9);
}
