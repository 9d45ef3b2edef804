//! What counts as a switch, and to which cause an outage goes.

use machine::{
    Endpoint, Epoch, Member, Outcome, Policy, Reach, Shown, Site, Standing, Step, Version, Wanted,
};

use super::*;

fn pod(name: &str) -> Pod {
    Pod::new(name, name)
}

fn member(name: &str, version: u64, ready: bool) -> Member {
    Member {
        pod: pod(name),
        version: Version(version),
        created: Timestamp(1),
        ready,
        ready_changed: Timestamp(1),
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 0,
        reach: Reach::At(Endpoint { address: [10, 0, 0, 1].into(), content: 7 }),
    }
}

/// An election with its tally, a second a step; `a` leads, and alone.
struct Run {
    election: Election,
    tally: Tally,
    at: u64,
    version: u64,
    open: Option<OrderId>,
}

impl Run {
    fn led() -> Self {
        let shown = Shown::Ready(Endpoint { address: [10, 0, 0, 1].into(), content: 7 });
        let (version, leader, epoch) = (Version(5), Some(pod("a")), Some(Epoch(7)));
        let published = Wanted { leader, epoch, shown, handled: None }.acknowledged(version);
        let standing = Standing { published: Some(published), horizon: Version(10), ..Standing::default() };
        let mut election = Election::new(Policy::default());
        let _ = election
            .step(Timestamp::from_secs(1), &Event::Synced { members: vec![member("a", 1, true)], standing });
        let mut tally = Tally::default();
        tally.start(&election);
        Self { election, tally, at: 1, version: 10, open: None }
    }

    fn tell(&mut self, event: &Event) {
        self.at += 1;
        let at = Timestamp::from_secs(self.at);
        let step = self.election.step(at, event);
        for effect in &step.effects {
            if let Effect::Publish { id, .. } = effect {
                self.open = Some(*id);
            }
        }
        self.tally.step(at, step.transition.as_ref(), &self.election);
    }

    fn ready(&mut self, name: &str, ready: bool) {
        self.version += 1;
        let member = member(name, self.version, ready);
        self.tell(&if ready { Event::PodReady { member } } else { Event::PodUnready { member } });
    }

    fn published(&mut self) {
        self.version += 1;
        let (id, version) = (self.open.take().expect("a write is open"), Version(self.version));
        self.tell(&Event::Published { id, version });
    }
}

#[test]
fn a_switch_is_from_who_led_when_it_began() {
    let mut run = Run::led();
    run.ready("b", true);
    run.ready("a", false);
    run.published();
    let cost = Cost { switches: 1, outage: Micros::from_secs(1) };
    assert_eq!((run.tally.costs.get(&Some(Cause::Unready)), run.tally.sum()), (Some(&cost), cost));
}

/// From the loss to the acknowledgement; the choice of who follows does not divide it.
#[test]
fn an_outage_goes_to_the_cause_that_began_it() {
    let mut run = Run::led();
    run.ready("a", false);
    run.published();
    run.ready("b", true);
    run.published();
    let outage = Micros::from_secs(3);
    assert_eq!(run.tally.costs.get(&Some(Cause::Unready)), Some(&Cost { switches: 0, outage }));
    assert_eq!(run.tally.sum().outage, outage);
}

#[test]
fn nothing_is_out_once_the_service_opted_out() {
    let mut run = Run::led();
    run.ready("b", true);
    run.ready("a", false);
    run.tell(&Event::OptedOut);
    run.at += 60;
    run.tell(&Event::LeaseHeld);
    assert_eq!(run.tally.sum().outage, Micros::from_secs(1));
}

fn record(secs: u64, event: Event, orders: &[OrderId]) -> Record {
    let publish = |id: &OrderId| {
        let wanted = Wanted { leader: None, epoch: None, shown: Shown::Nobody, handled: None };
        Effect::Publish { id: *id, wanted, based_on: None }
    };
    let step = Step { transition: None, effects: orders.iter().map(publish).collect() };
    Record { seq: 1, at: Timestamp::from_secs(secs), event, step }
}

fn tallies(services: &[Arc<str>]) -> Tallies {
    let mut tallies = Tallies::default();
    for service in services {
        let header = Header::new(service.clone(), 1, crate::record::Start::New(Policy::default()));
        tallies.start(&header, &header.election());
    }
    tallies
}

/// An order's number counts within its Service.
#[test]
fn each_services_writes_are_timed_for_themselves() {
    let services: [Arc<str>; 2] = ["shop/a".into(), "shop/b".into()];
    let mut tallies = tallies(&services);
    let election = Election::new(Policy::default());
    let id = OrderId(1);
    for (service, secs) in services.iter().zip([1, 2]) {
        tallies.step(service, &record(secs, Event::LeaseHeld, &[id]), &election);
    }
    assert_eq!((tallies.services(), tallies.answer_time()), (2, ANSWER_TIME));
    for service in &services {
        tallies.step(service, &record(5, Event::Published { id, version: Version(1) }, &[]), &election);
    }
    assert_eq!(tallies.answers, [4_000_000, 3_000_000]);
    assert_eq!(tallies.answer_time(), Micros::from_secs(4));
}

#[test]
fn a_write_that_failed_took_no_time_to_be_answered() {
    let services: [Arc<str>; 1] = ["shop/a".into()];
    let mut tallies = tallies(&services);
    let election = Election::new(Policy::default());
    let id = OrderId(1);
    let failed = Event::PublishFailed { id, outcome: Outcome::Conflict };
    tallies.step(&services[0], &record(1, Event::LeaseHeld, &[id]), &election);
    tallies.step(&services[0], &record(2, failed, &[]), &election);
    tallies.step(&services[0], &record(3, Event::Published { id, version: Version(1) }, &[]), &election);
    assert!(tallies.answers.is_empty(), "{:?}", tallies.answers);
}

#[test]
fn no_more_answers_are_kept_than_a_median_needs() {
    let services: [Arc<str>; 1] = ["shop/a".into()];
    let mut tallies = tallies(&services);
    let election = Election::new(Policy::default());
    for number in 1..=5_000 {
        let id = OrderId(number);
        let number = u64::from(number);
        tallies.step(&services[0], &record(number, Event::LeaseHeld, &[id]), &election);
        tallies.step(
            &services[0],
            &record(number, Event::Published { id, version: Version(1) }, &[]),
            &election,
        );
    }
    assert_eq!(tallies.answers.len(), ANSWERS_MOST);
}
