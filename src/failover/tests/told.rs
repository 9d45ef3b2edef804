//! What a failover's story is made of, and whose it is to tell.

use std::time::{Duration, SystemTime};

use machine::Obstruction;

use super::*;

/// `b` is preferred, but has not been confirmed.
fn preferring() -> Run {
    let policy = Policy { failback: Failback::After(Micros::ZERO), ..Policy::default() };
    let mut run = Run::led_by_first_of(policy, vec![member("a", 1, true), member("b", 2, true)]);
    run.tell(Event::PodChanged { member: preferred() });
    run
}

fn preferred() -> Member {
    Member { priority: 5, ..member("b", 11, true) }
}

fn alone() -> Run {
    Run::led_by_first_of(Policy::default(), vec![member("a", 1, true)])
}

#[test]
fn a_failover_has_the_number_of_the_step_that_began_it() {
    assert_eq!(Journal::default().next_seq(), 1);
    let mut run = Run::led();
    assert_eq!(run.journal.next_seq(), 4);
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    let (seq, epoch) = (run.journal.next_seq(), run.election.state().epoch());
    let open = run.journal.open().expect("a failover");
    assert_eq!((open.seq, seq, open.epoch), (4, 5, epoch));
}

#[test]
fn it_goes_on_while_the_leader_drains_whatever_happens_meanwhile() {
    let policy = Policy { failover_min_delay: Micros::from_secs(60), ..Policy::default() };
    let mut run = Run::led_by_first_of(policy, vec![member("a", 1, true), member("b", 2, true)]);
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.tell(Event::LeaseHeld);
    assert!(run.election.is_acknowledged() && run.over.is_empty());
    assert_eq!(run.journal.open().map(|open| open.outcome), Some(Outcome::Open));
}

/// It began when the question was asked, though other facts came in before the answer.
#[test]
fn the_question_that_led_to_it_is_part_of_it() {
    let mut run = preferring();
    let asked = run.read.as_ref().expect("a question").1;
    let id = run.looked(Purpose::Confirm);
    run.tell(Event::LeaseHeld);
    run.tell(Event::Confirmed { id, member: Some(preferred()), exists: true });
    let open = run.journal.open().expect("a failover");
    assert_eq!((open.cause, open.begun, open.calls.len()), (Cause::Failback, asked, 1));
}

#[test]
fn a_repair_that_was_answered_before_is_no_part_of_it() {
    let mut run = preferring();
    let damaged =
        Publication { intact: false, ..publication("a", run.election.state().epoch().unwrap(), 20) };
    run.tell(Event::PublicationObserved { published: Some(damaged), horizon: Version(30), by: None });
    run.published(31);
    let id = run.looked(Purpose::Confirm);
    run.tell(Event::Confirmed { id, member: Some(preferred()), exists: true });
    let purposes: Vec<_> = run.journal.open().unwrap().calls.iter().map(|call| call.purpose).collect();
    assert_eq!(purposes, [Purpose::Confirm]);
}

#[test]
fn an_answer_is_awaited_until_it_comes() {
    let mut run = Run::led();
    assert!(!run.journal.is_writing());
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    assert!(run.journal.is_writing());
    run.call();
    assert!(!run.journal.is_writing());
}

#[test]
fn the_pod_says_when_it_happened() {
    for (event, over, at) in [
        (
            Event::PodUnready { member: member("a", 11, false) },
            json!({ "status": { "conditions": [
                { "type": "Ready", "status": "False", "lastTransitionTime": "2025-11-20T09:00:00Z" },
            ] } }),
            1_763_629_200,
        ),
        (
            Event::PodTerminating { member: Member { terminating: true, ..member("a", 11, true) } },
            json!({ "metadata": {
                "deletionTimestamp": "2025-11-20T09:00:30Z", "deletionGracePeriodSeconds": 30,
            } }),
            1_763_629_200,
        ),
    ] {
        let mut run = Run::led();
        let mut a = row(&over);
        a.pod = pod("a");
        run.pods.insert(a.pod.clone().into(), a);
        run.tell(event);
        let trigger = run.journal.open().and_then(|open| open.trigger.clone()).expect("a trigger");
        assert_eq!((trigger.who.pod.name(), trigger.at), ("a", Timestamp::from_secs(at)));
    }
}

#[test]
fn what_a_stranger_published_is_taken_over() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.is_foreign = true;
    let epoch = run.election.state().epoch().expect("a term");
    let published = Publication { ours: false, ..publication("b", epoch, 12) };
    run.tell(Event::PublicationObserved { published: Some(published), horizon: Version(1), by: None });
    run.answered("conflict");
    assert_eq!(run.over[0].outcome, Outcome::Adopted);
}

#[test]
fn a_foreign_object_in_our_place_ends_it() {
    let mut run = Run::led();
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.tell(Event::Blocked { by: Obstruction::Service("orders-leader".into()) });
    run.call();
    assert_eq!(run.over[0].outcome, Outcome::Obstructed);
}

/// Of the replicas that act second, one tells: who wrote it.
#[test]
fn a_withdrawal_is_told_by_the_replica_that_wrote_it() {
    for (answer, outcome) in [("ok", Outcome::Leaderless), ("conflict", Outcome::Superseded)] {
        let mut run = alone();
        run.acts_first = false;
        run.tell(Event::PodUnready { member: member("a", 11, false) });
        let epoch = run.election.published().and_then(|now| now.epoch);
        let empty = Publication {
            leader: None,
            shown: Shown::Nobody,
            ..publication("a", epoch.expect("a term"), 12)
        };
        run.tell(Event::PublicationObserved { published: Some(empty), horizon: Version(1), by: None });
        run.answered(answer);
        let outcomes: Vec<_> = run.over.iter().map(|failover| failover.outcome).collect();
        assert_eq!(outcomes, [outcome], "{answer}");
    }
}

/// A term says who wrote it, whatever the last call was.
#[test]
fn a_new_leader_is_told_by_the_replica_that_wrote_the_term() {
    let mut run = Run::led();
    run.acts_first = false;
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    run.echoed("b", 12);
    run.answered("timeout");
    assert_eq!(run.over[0].outcome, Outcome::Elected);
}

/// A question is no write: who has only asked has nothing to tell.
#[test]
fn a_loss_that_another_replica_withdrew_is_not_ours_because_we_asked() {
    let mut run = alone();
    run.acts_first = false;
    let epoch = run.election.published().and_then(|now| now.epoch).expect("a term");
    let empty =
        Publication { leader: None, shown: Shown::Nobody, ours: false, ..publication("a", epoch, 12) };
    run.tell(Event::PublicationObserved { published: Some(empty), horizon: Version(1), by: None });
    let id = run.looked(Purpose::Confirm);
    run.tell(Event::Confirmed { id, member: None, exists: false });
    let outcomes: Vec<_> = run.over.iter().map(|failover| failover.outcome).collect();
    assert_eq!(outcomes, [Outcome::Superseded]);
}

#[test]
fn of_many_questions_the_first_few_are_remembered() {
    let mut run = preferring();
    let question = run.read;
    for _ in 0..6 {
        run.read = question;
        run.looked(Purpose::Confirm);
    }
    let id = question.expect("a question").0;
    run.tell(Event::Confirmed { id, member: Some(preferred()), exists: true });
    assert_eq!(run.journal.open().map(|open| open.calls.len()), Some(4));
}

/// Somebody sets the clock of the machine while the controller runs: traces are shown by what it says.
#[test]
fn it_knows_by_how_much_the_wall_clock_was_set() {
    fn set_forward() -> SystemTime {
        std::thread_local! { static IS_SET: std::cell::Cell<bool> = const { std::cell::Cell::new(false) }; }
        let ahead = if IS_SET.replace(true) { Duration::from_hours(1) } else { Duration::ZERO };
        SystemTime::now() + ahead
    }
    let mut run = Run::led();
    run.clock = Clock::by(set_forward);
    run.tell(Event::PodUnready { member: member("a", 11, false) });
    let ahead = run.journal.open().expect("a failover").wall_ahead;
    assert!((3_590_000_000..3_610_000_000).contains(&ahead), "{ahead}");
}
