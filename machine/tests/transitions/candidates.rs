//! What is told of who could follow agrees with who does.

use machine::{Bar, Chance, Policy};

use crate::support::{PodBuilder, Run, pod, policy, secs};

fn told(run: &Run) -> Vec<(String, Chance)> {
    let candidates = run.election.candidates();
    candidates.into_iter().map(|one| (one.member.pod.name().to_owned(), one.chance)).collect()
}

fn ready(name: &str) -> PodBuilder {
    pod(name).ready()
}

#[test]
fn those_that_can_be_chosen_come_in_the_order_in_which_they_would_be() {
    let mut run = Run::led(Policy::default(), [ready("z"), ready("c"), ready("a").priority(-1), ready("b")]);
    let order: Vec<_> = told(&run).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, ["b", "c", "z", "a"]);
    for next in ["b", "c", "a"] {
        assert_eq!(run.election.successor().map(machine::Pod::name), Some(next));
        let leader = run.election.state().pod().expect("a leader").name().to_owned();
        run.gone(&leader);
        assert_eq!(run.election.state().pod().map(machine::Pod::name), Some(next));
        run.published();
    }
    assert_eq!(run.election.successor(), None);
}

#[test]
fn each_bar_is_told_and_keeps_a_member_from_being_chosen() {
    let barred = [
        (pod("unready"), Bar::Unready),
        (ready("terminating").terminating(), Bar::Terminating),
        (ready("excluded").excluded(), Bar::Excluded),
        (ready("lost").without_address(), Bar::NoAddress),
        (ready("portless").without_port(true), Bar::PortUnresolved),
    ];
    for (member, bar) in barred {
        let name = member.id().name().to_owned();
        let run = Run::led(Policy::default(), [ready("z"), member]);
        assert_eq!(told(&run), [("z".into(), Chance::Eligible), (name, Chance::Barred(bar))]);
        assert_eq!((run.election.eligible(), run.election.successor()), (1, None));
    }
}

#[test]
fn a_lost_node_bars_unless_there_is_more_to_say() {
    let mut run = Run::led(Policy::default(), [ready("z"), ready("a"), pod("b")]);
    for name in ["a", "b"] {
        run.tell(machine::Event::NodeLost { pod: pod(name).id() });
    }
    let bars: Vec<_> = told(&run).into_iter().skip(1).map(|(_, chance)| chance).collect();
    assert_eq!(bars, [Chance::Barred(Bar::NodeLost), Chance::Barred(Bar::Unready)]);
}

#[test]
fn who_has_not_been_ready_for_long_is_told_from_when_on_it_can_be_chosen() {
    let patient = policy(|policy| policy.min_ready_duration = secs(30));
    let mut run = Run::led(patient, [ready("z")]);
    let since = run.now;
    run.changed(ready("a").ready_since(since));
    assert_eq!(told(&run)[1], ("a".into(), Chance::From(since.plus(secs(30)))));
    run.now = since.plus(secs(30));
    run.tell(machine::Event::DeadlineReached);
    assert_eq!(told(&run)[0], ("a".into(), Chance::Eligible));
}
