//! Every text that a record holds is counted, with what goes with its allocation.

use machine::{
    Departure, Endpoint, Epoch, Mirror, OrderId, Phase, Reach, Reason, Scope, Shown, Site, Standing, Step,
    Switchover, Timestamp, Transition, Version,
};

use super::*;

const ID: OrderId = OrderId(7);
/// What `orders-0/a0` takes.
const POD: usize = 11 + SHARED;
/// What `words` takes.
const WORDS: usize = 5 + SHARED;

fn orders() -> Pod {
    Pod::new("orders-0", "a0")
}

fn words() -> Arc<str> {
    "words".into()
}

fn led() -> Publication {
    let shown = Shown::Ready(Endpoint { address: [10, 0, 0, 1].into(), content: 7 });
    let (version, leader, handled) = (Version(5), Some(orders()), Some(words()));
    Wanted { leader, epoch: Some(Epoch(7)), shown, handled }.acknowledged(version)
}

fn orders_member() -> Member {
    Member {
        pod: orders(),
        version: Version(1),
        created: Timestamp(0),
        ready: true,
        ready_changed: Timestamp(0),
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 0,
        reach: Reach::NoAddress,
    }
}

fn record(event: Event, step: Step) -> Record {
    Record { seq: 1, at: Timestamp(0), event, step }
}

/// What an event without any text takes.
fn bare() -> usize {
    of(&record(Event::Resumed, Step::default()))
}

#[test]
fn a_record_without_texts_is_its_own_size() {
    assert_eq!(bare(), size_of::<Record>() + SHARED);
}

#[test]
fn each_event_is_counted_with_its_texts() {
    let standing = || Standing { published: Some(led()), horizon: Version(1), ..Standing::default() };
    let request = Switchover {
        text: "orders-0/a0;t;z".into(),
        pod: "orders-0".into(),
        uid: Some("a0".into()),
        expires: None,
    };
    let two = vec![orders_member(), orders_member()];
    for (event, texts) in [
        (
            Event::Synced { members: two, standing: standing() },
            2 * size_of::<Member>() + ALLOCATOR + 3 * POD + WORDS,
        ),
        (Event::Unblocked { standing: standing() }, POD + WORDS),
        (Event::PodReady { member: orders_member() }, POD),
        (Event::PodUnready { member: orders_member() }, POD),
        (Event::PodTerminating { member: orders_member() }, POD),
        (Event::PodChanged { member: orders_member() }, POD),
        (Event::Confirmed { id: ID, member: Some(orders_member()), exists: true }, POD),
        (Event::Confirmed { id: ID, member: None, exists: false }, 0),
        (Event::PodGone { pod: orders(), how: Departure::Deleted }, POD),
        (Event::NodeLost { pod: orders() }, POD),
        (Event::NodeBack { pod: orders() }, POD),
        (
            Event::PublishFailed { id: ID, outcome: Outcome::Refused { endpoint: true, words: words() } },
            WORDS,
        ),
        (Event::PublishFailed { id: ID, outcome: Outcome::Unknown }, 0),
        (Event::ReadDone { id: ID, published: Some(led()), horizon: Version(1) }, POD + WORDS),
        (
            Event::PublicationObserved { published: Some(led()), horizon: Version(1), by: Some(words()) },
            POD + 2 * WORDS,
        ),
        (Event::PublicationObserved { published: None, horizon: Version(1), by: None }, 0),
        (Event::Blocked { by: Obstruction::Service(words()) }, WORDS),
        (Event::Blocked { by: Obstruction::Slice(words()) }, WORDS),
        (Event::SwitchoverRequested { request }, 15 + 8 + 2 + 3 * SHARED),
    ] {
        let told = format!("{event:?}");
        assert_eq!(of(&record(event, Step::default())) - bare(), texts, "{told}");
    }
}

#[test]
fn each_order_is_counted_with_its_texts() {
    let (pod, text) = (|| Some(orders()), || Some(words()));
    let wanted = Wanted { leader: pod(), epoch: None, shown: Shown::Nobody, handled: text() };
    let mirror = Mirror { leader: pod(), epoch: None, switched: None, ours: true, handled: text() };
    let notice = Notice { reason: Reason::Paused, cause: None, pod: pod(), previous: pod(), detail: text() };
    for (effect, texts) in [
        (Effect::Publish { id: ID, wanted, based_on: None }, POD + WORDS),
        (Effect::Mirror { id: ID, mirror }, POD + WORDS),
        (Effect::Confirm { id: ID, pod: orders() }, POD),
        (Effect::Notify { id: ID, notice }, 2 * POD + WORDS),
        (Effect::Read { id: ID }, 0),
        (Effect::Remove { id: ID, scope: Scope::Everything }, 0),
    ] {
        let told = format!("{effect:?}");
        let step = Step { transition: None, effects: vec![effect] };
        let more = of(&record(Event::Resumed, step)) - bare();
        assert_eq!(more, size_of::<Effect>() + ALLOCATOR + texts, "{told}");
    }
}

#[test]
fn a_transition_is_counted_with_both_its_pods() {
    let (from, to, cause) = (Phase::Elected, Phase::Reelecting, machine::Cause::Gone);
    let (from_pod, to_pod) = (Some(orders()), Some(Pod::new("orders-1", "b")));
    let step =
        Step { transition: Some(Transition { from, to, from_pod, to_pod, cause }), effects: Vec::new() };
    assert_eq!(of(&record(Event::Resumed, step)) - bare(), POD + 10 + SHARED);
}
