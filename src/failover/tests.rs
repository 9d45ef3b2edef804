use machine::{
    Cause, Departure, Effect, Election, Endpoint, Event, Member, Micros, OrderId, Phase, Pod, Policy, Reach,
    Standing, Timestamp, Version,
};

use super::{Call, Failover, Journal, Outcome, Purpose, Seen};
use crate::clock::Clock;
use crate::managed::{Identity, Key, Surroundings};
use crate::world::Pods;

/// An election with its journal; time goes by in milliseconds.
struct Run {
    election: Election,
    journal: Journal,
    clock: Clock,
    now: u64,
    open: Option<OrderId>,
    over: Vec<Failover>,
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
        revision: 0,
        reach: Reach::At(endpoint),
    }
}

impl Run {
    /// `a` leads, `b` could.
    fn led() -> Self {
        let clock = Clock::start();
        let mut run = Self {
            election: Election::new(Policy::default()),
            journal: Journal::default(),
            clock,
            now: 0,
            open: None,
            over: Vec::new(),
        };
        let members = vec![member("a", 1, true), member("b", 2, true)];
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
            acts_first: true,
            at,
            clock: self.clock,
            identity: &identity,
            tracer: None,
            budget: Micros::from_secs(5),
            pods: &Pods::new(),
            horizon: Version(1),
        };
        let seen = Seen {
            key: &key,
            event: &event,
            transition: step.transition.as_ref(),
            election: &self.election,
            cx: &cx,
            is_foreign: false,
            budget: cx.budget,
        };
        self.journal.follow(&seen, &mut self.over);
        for effect in &step.effects {
            if let Effect::Publish { id, .. } = effect {
                self.journal.writes(*id);
                self.open = Some(*id);
            }
        }
    }

    /// The open write's answer, for the journal.
    fn call(&mut self) -> OrderId {
        let id = self.open.take().expect("a write is open");
        let at = self.at();
        let call = Call {
            id,
            purpose: Purpose::Publish,
            ordered: at,
            begun: at,
            ended: at,
            http: None,
            outcome: "ok",
        };
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
        let published = machine::Publication {
            version: Version(version),
            leader: Some(pod(leader)),
            epoch,
            shown: machine::Shown::Ready(Endpoint { address: [10, 0, 0, 1].into(), content: 7 }),
            handled: None,
            intact: true,
            ours: true,
        };
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
    let (epoch, ours) = (run.election.state().epoch(), false);
    let shown = machine::Shown::Ready(Endpoint { address: [10, 0, 0, 1].into(), content: 7 });
    let published = machine::Publication {
        version: Version(12),
        leader: Some(pod("b")),
        epoch,
        shown,
        handled: None,
        intact: true,
        ours,
    };
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
