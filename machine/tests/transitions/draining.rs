//! The leader is on its way out and is still the published endpoint.

use machine::{Cause, Departure, Event, Policy};

use crate::support::{Facts, Run, pod, policy, secs, slice};

/// a terminates, and nobody can follow.
fn terminating() -> Run {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b")]);
    run.terminating(pod("a").ready());
    run.published().rests();
    run
}

/// a is NotReady, which is tolerated for five seconds.
fn unready() -> Run {
    let tolerant = policy(|policy| policy.failover_min_delay = secs(5));
    let mut run = Run::led(tolerant, [pod("a").ready(), pod("b").ready()]);
    run.unready(pod("a"));
    run.is("Draining a@7 by unready for 5000 ms", &["tell LeaderDraining unready a"]);
    run
}

#[test]
fn draining_terminating_a_member_becomes_eligible_reelects() {
    let mut run = terminating();
    run.ready(pod("b")).is("Reelecting b@8 by terminating", &["publish b@8 .2"]);
    run.published().is("Elected b@8", &["tell LeaderChanged terminating b after a", "mirror b@8"]).rests();
}

#[test]
fn draining_terminating_a_member_that_will_be_eligible_is_waited_for() {
    let mut run =
        Run::led(policy(|policy| policy.min_ready_duration = secs(3)), [pod("a").ready(), pod("b")]);
    run.terminating(pod("a").ready()).published();
    let now = run.now;
    run.ready(pod("b").ready_since(now)).is("Draining a@7 by terminating", &[]);
    run.wakes_after(3_000).is("Reelecting b@8 by terminating", &["publish b@8 .2"]);
}

#[test]
fn draining_terminating_begins_once_whatever_is_seen_meanwhile() {
    let mut run = terminating();
    let since = run.election.state().since();
    run.wait(1_000).unready(pod("c")).is("Draining a@7 by terminating", &[]);
    assert_eq!(run.election.state().since(), since);
}

#[test]
fn draining_terminating_leader_unready_is_leaderless() {
    let mut run = terminating();
    run.unready(pod("a").terminating()).is("Leaderless", &["publish nobody@7"]).by(Cause::Terminating);
}

#[test]
fn draining_terminating_leader_gone_is_leaderless() {
    let mut run = terminating();
    run.gone("a").is("Leaderless", &["publish nobody@7"]).by(Cause::Gone);
    let mut run = terminating();
    run.departed("a", Departure::Finished).is("Leaderless", &["publish nobody@7"]).by(Cause::Finished);
}

#[test]
fn draining_terminating_leader_that_moves_is_followed_to_its_address() {
    let mut run = terminating();
    run.changed(pod("a").ready().terminating().address(9));
    run.is("Draining a@7 by terminating", &["publish a@7 .9 terminating"]);
}

#[test]
fn draining_terminating_refused_for_good_is_leaderless() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.terminating(pod("a").ready());
    run.publish_failed(machine::Outcome::Refused { endpoint: true, words: "no".into() });
    run.is("Leaderless", &["tell PublishRejected a: no", "publish nobody@7"]).by(Cause::Terminating);
}

#[test]
fn draining_unready_leader_fit_again_is_elected() {
    let mut run = unready();
    run.wait(1_000).ready(pod("a"));
    run.is("Elected a@7", &["tell LeaderRecovered recovery a"]).by(Cause::Recovery).rests();
}

#[test]
fn draining_unready_deadline_reelects() {
    let mut run = unready();
    run.wait(4_999).tell(Event::DeadlineReached).is_silent();
    run.wakes_after(1).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
}

#[test]
fn draining_unready_deadline_without_successor_is_leaderless() {
    let mut run = unready();
    run.gone("b").is("Draining a@7 by unready for 5000 ms", &[]);
    run.wakes_after(5_000).is("Leaderless", &["publish nobody@7"]).by(Cause::Unready);
}

#[test]
fn draining_unready_leader_terminating_reelects_at_once() {
    let mut run = unready();
    run.terminating(pod("a")).is("Reelecting b@8 by terminating", &["publish b@8 .2"]);
}

#[test]
fn draining_unready_leader_terminating_but_ready_without_successor_drains_on() {
    let mut run = unready();
    run.gone("b");
    run.terminating(pod("a").ready());
    run.is("Draining a@7 by terminating", &["publish a@7 .1 terminating"]);
}

#[test]
fn draining_unready_leader_gone_or_otherwise_unfit_reelects() {
    let mut run = unready();
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    let mut run = unready();
    run.changed(pod("a").excluded()).is("Reelecting b@8 by excluded", &["publish b@8 .2"]);
    let mut run = unready();
    run.changed(pod("a").without_address()).is("Reelecting b@8 by address_lost", &["publish b@8 .2"]);
}

#[test]
fn draining_unready_leader_is_published_at_its_present_address() {
    let mut run = unready();
    run.changed(pod("a").unready_since(run.now).address(9));
    run.is("Draining a@7 by unready for 5000 ms", &["publish a@7 .9"]);
}

#[test]
fn draining_unready_another_delay_counts_from_when_it_began() {
    let mut run = unready();
    run.wait(1_000).policy(policy(|policy| policy.failover_min_delay = secs(3)));
    run.is("Draining a@7 by unready for 2000 ms", &[]);
    assert_eq!(run.due(), Some(2_000));
    run.policy(Policy::default()).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
}

#[test]
fn draining_unready_the_leaders_node_lost_ends_the_tolerance() {
    let mut run = unready();
    run.tell(Event::NodeLost { pod: pod("a").id() });
    run.is("Reelecting b@8 by node_lost", &["publish b@8 .2"]);
}

#[test]
fn draining_unready_while_paused_stays_published() {
    let mut run = unready();
    run.paused().is("Elected a@7", &["tell Paused"]);
    run.wait(60_000).tell(Event::DeadlineReached).is_silent();
    run.tell(Event::Resumed).is("Reelecting b@8 by unready", &["tell Resumed", "publish b@8 .2"]);
}

#[test]
fn draining_unready_withdrawn_by_another_replica_is_not_put_back() {
    let mut run = unready();
    run.observed(slice("a", 7).empty(), Facts::Newer).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
    let mut run = unready();
    run.gone("b").observed(slice("a", 7).empty(), Facts::Newer);
    run.is("Leaderless", &["tell NoReadyPods", "mirror nobody@7"]).rests();
}
