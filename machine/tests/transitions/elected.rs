//! The API server acknowledged the leader.

use machine::{Cause, Departure, Event, Outcome, Policy};

use crate::support::{Run, pod, policy, secs};

fn pair(policy: Policy) -> Run {
    Run::led(policy, [pod("a").ready(), pod("b").ready()])
}

fn alone(policy: Policy) -> Run {
    Run::led(policy, [pod("a").ready(), pod("b")])
}

#[test]
fn elected_leader_unready_with_a_delay_drains_until_the_deadline() {
    let mut run = pair(policy(|policy| policy.failover_min_delay = secs(5)));
    run.unready(pod("a"));
    run.is("Draining a@7 by unready for 5000 ms", &["tell LeaderDraining unready a"]);
    assert_eq!(run.due(), Some(5_000));
}

#[test]
fn elected_leader_unready_without_delay_moves_to_a_successor() {
    let mut run = pair(Policy::default());
    run.unready(pod("a")).is("Reelecting b@8 by unready", &["publish b@8 .2"]).by(Cause::Unready);
}

#[test]
fn elected_leader_unready_without_successor_is_leaderless() {
    let mut run = alone(Policy::default());
    run.unready(pod("a")).is("Leaderless", &["publish nobody@7"]).by(Cause::Unready);
    run.published();
    run.is("Leaderless", &["tell NoReadyPods", "tell LeaderLost unready after a", "mirror nobody@7"]);
    run.rests();
}

#[test]
fn elected_leader_terminating_moves_to_a_successor_at_once() {
    let mut run = pair(policy(|policy| policy.failover_min_delay = secs(5)));
    run.terminating(pod("a").ready());
    run.is("Reelecting b@8 by terminating", &["publish b@8 .2"]).by(Cause::Terminating);
}

#[test]
fn elected_leader_terminating_without_successor_drains() {
    let mut run = alone(Policy::default());
    run.terminating(pod("a").ready());
    run.is("Draining a@7 by terminating", &["publish a@7 .1 terminating"]).by(Cause::Terminating);
    run.published();
    run.is("Draining a@7 by terminating", &["tell LeaderDraining terminating a"]).rests();
}

#[test]
fn elected_leader_gone_moves_to_a_successor() {
    let mut run = pair(policy(|policy| policy.failover_min_delay = secs(5)));
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]).by(Cause::Gone);
    run.published().is("Elected b@8", &["tell LeaderChanged gone b after a", "mirror b@8"]).rests();
}

#[test]
fn elected_leader_gone_without_successor_is_leaderless() {
    let mut run = alone(Policy::default());
    run.gone("a").is("Leaderless", &["publish nobody@7"]).by(Cause::Gone);
}

#[test]
fn elected_leader_finished_or_relabelled_is_gone() {
    let mut run = pair(Policy::default());
    run.departed("a", Departure::Finished);
    run.is("Reelecting b@8 by finished", &["publish b@8 .2"]).by(Cause::Finished);
    let mut run = pair(Policy::default());
    run.departed("a", Departure::Relabelled);
    run.is("Reelecting b@8 by relabelled", &["publish b@8 .2"]).by(Cause::Relabelled);
}

#[test]
fn elected_leader_excluded_or_unreachable_is_unfit() {
    let mut run = pair(policy(|policy| policy.failover_min_delay = secs(5)));
    run.changed(pod("a").ready().excluded());
    run.is("Reelecting b@8 by excluded", &["publish b@8 .2"]);
    let mut run = pair(Policy::default());
    run.changed(pod("a").ready().without_port(true));
    run.is("Reelecting b@8 by port_unresolved", &["publish b@8 .2"]);
    let mut run = alone(Policy::default());
    run.changed(pod("a").ready().without_address());
    run.is("Leaderless", &["publish nobody@7"]).by(Cause::AddressLost);
}

#[test]
fn elected_leader_refused_for_good_is_unfit() {
    let mut run = pair(Policy::default());
    run.changed(pod("a").ready().address(9)).is("Elected a@7", &["publish a@7 .9"]);
    run.publish_failed(Outcome::Refused { endpoint: true, words: "loopback".into() });
    run.is("Reelecting b@8 by refused", &["tell PublishRejected a: loopback", "publish b@8 .2"]);
}

#[test]
fn elected_leader_that_moves_is_published_at_its_present_address() {
    let mut run = pair(Policy::default());
    run.changed(pod("a").ready().address(9)).is("Elected a@7", &["publish a@7 .9"]);
    run.published().is("Elected a@7", &[]).rests();
}

#[test]
fn elected_other_members_change_nothing() {
    let mut run = pair(Policy::default());
    run.gone("b").is_silent();
    run.ready(pod("c").priority(9)).is_silent();
    run.terminating(pod("c")).is_silent();
    run.gone("c").is_silent();
    run.gone("zz").is_silent().rests();
}

#[test]
fn elected_an_older_version_of_the_leader_is_no_news() {
    let mut run = pair(Policy::default());
    run.changed(pod("a").ready().version(500)).is_silent();
    run.unready(pod("a").version(499)).is_silent();
    run.unready(pod("a").version(501)).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
}

/// The Service asks for other ports: nothing about the pod itself has changed.
#[test]
fn elected_the_same_version_of_the_leader_may_be_out_of_reach_now() {
    let mut run = pair(Policy::default());
    run.changed(pod("a").ready().version(500)).is("Elected a@7", &[]);
    run.changed(pod("a").ready().version(500).without_port(true));
    run.is("Reelecting b@8 by port_unresolved", &["publish b@8 .2"]);
}

#[test]
fn elected_another_pod_of_the_same_name_is_another_pod() {
    let mut run = alone(Policy::default());
    run.ready(pod("a").uid("a2").address(9)).is_silent();
    run.gone("a").is("Reelecting a@8 by gone", &["publish a@8 .9"]);
    run.published().is("Elected a@8", &["tell LeaderChanged gone a after a", "mirror a@8"]);
    run.gone("a").is_silent();
}

#[test]
fn elected_node_lost_moves_to_a_successor_elsewhere() {
    let mut run = pair(Policy::default());
    run.tell(Event::NodeLost { pod: pod("a").id() });
    run.is("Reelecting b@8 by node_lost", &["publish b@8 .2"]).by(Cause::NodeLost);
}

#[test]
fn elected_node_lost_without_successor_stays_until_there_is_one() {
    let mut run = alone(policy(|policy| policy.min_ready_duration = secs(3)));
    run.tell(Event::NodeLost { pod: pod("a").id() }).is_silent().rests();
    let now = run.now;
    run.ready(pod("b").ready_since(now)).is("Elected a@7", &[]);
    run.wakes_after(3_000).is("Reelecting b@8 by node_lost", &["publish b@8 .2"]);
}

#[test]
fn elected_node_back_may_be_chosen_again() {
    let mut run = pair(Policy::default());
    run.tell(Event::NodeLost { pod: pod("b").id() }).is_silent();
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.published().is("Leaderless", &["tell LeaderLost gone after a", "mirror nobody@7"]);
    run.tell(Event::NodeBack { pod: pod("b").id() });
    run.is("Reelecting b@8 by recovery", &["publish b@8 .2"]);
}

#[test]
fn elected_while_paused_an_unready_leader_stays_at_its_present_address() {
    let mut run = pair(Policy::default());
    run.paused().is("Elected a@7", &["tell Paused"]);
    run.unready(pod("a")).is("Elected a@7", &[]);
    run.changed(pod("a").address(9)).is("Elected a@7", &["publish a@7 .9"]);
    run.published().rests();
    run.changed(pod("a").address(9).excluded()).is("Elected a@7", &[]);
}

#[test]
fn elected_while_paused_an_address_that_is_no_longer_the_leaders_is_withdrawn() {
    let mut run = pair(Policy::default());
    run.paused();
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.published().is("Leaderless", &["tell LeaderLost gone after a", "mirror nobody@7"]).rests();
}

#[test]
fn elected_while_paused_a_terminating_leader_drains() {
    let mut run = pair(Policy::default());
    run.paused();
    run.terminating(pod("a").ready());
    run.is("Draining a@7 by terminating", &["publish a@7 .1 terminating"]);
    run.published();
    run.unready(pod("a").terminating()).is("Leaderless", &["publish nobody@7"]);
}

#[test]
fn elected_resumed_decides_as_at_synced() {
    let mut run = pair(policy(|policy| policy.failover_min_delay = secs(5)));
    run.paused();
    run.unready(pod("a"));
    run.wait(2_000).tell(Event::Resumed);
    run.is("Draining a@7 by unready for 3000 ms", &["tell Resumed", "tell LeaderDraining unready a"]);
}

#[test]
fn elected_a_pause_that_ends_decides_whatever_event_comes_first() {
    let mut run = pair(Policy::default());
    let until = Some(run.now.plus(secs(1)));
    run.tell(Event::Paused { until });
    run.unready(pod("a")).is("Elected a@7", &[]);
    run.wait(1_500).tell(Event::LeaseHeld).is("Elected a@7", &[]);
    run.wakes_after(0).is("Reelecting b@8 by unready", &["tell Resumed", "publish b@8 .2"]);
}

#[test]
fn elected_a_longer_min_ready_duration_never_unseats_the_leader() {
    let mut run = pair(Policy::default());
    run.policy(policy(|policy| policy.min_ready_duration = secs(99_999))).is_silent();
}
