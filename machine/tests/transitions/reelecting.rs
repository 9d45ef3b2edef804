//! A successor is chosen, its publication is not acknowledged.

use machine::{Cause, Outcome, Policy};

use crate::support::{Run, pod, policy, secs};

/// a was deleted, b follows, its write is open.
fn reelecting() -> Run {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.unready(pod("a")).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
    run
}

#[test]
fn reelecting_published_is_elected() {
    let mut run = reelecting();
    run.published().is("Elected b@8", &["tell LeaderChanged unready b after a", "mirror b@8"]);
    run.by(Cause::Unready).rests();
}

#[test]
fn reelecting_our_own_publication_on_the_watch_is_elected() {
    let mut run = reelecting();
    run.echoed().is("Elected b@8", &["tell LeaderChanged unready b after a", "mirror b@8"]);
    run.rests();
    run.answered_echo().is_silent();
}

#[test]
fn reelecting_an_answer_to_another_order_is_nothing() {
    let mut run = reelecting();
    let id = machine::OrderId(999);
    run.tell(machine::Event::Published { id, version: machine::Version(999) }).is_silent();
    run.tell(machine::Event::PublishFailed { id, outcome: Outcome::Conflict }).is_silent();
}

#[test]
fn reelecting_candidate_lost_unsent_incumbent_fit_again_is_elected_as_before() {
    let mut run = reelecting();
    run.publish_failed(Outcome::Throttled(secs(1))).is("Reelecting b@8 by unready", &[]);
    // A server that asked us to wait may have had it: only what was superseded is known to be unsent.
    let mut run = reelecting();
    run.ready(pod("a")).is("Reelecting b@8 by unready", &[]);
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    run.is("Elected a@7", &["tell PublishRejected b: no"]).by(Cause::Recovery).rests();
}

#[test]
fn reelecting_candidate_lost_unsent_next_successor_takes_the_same_epoch() {
    let mut run = reelecting();
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    run.is("Reelecting c@8 by unready", &["tell PublishRejected b: no", "publish c@8 .3"]);
}

#[test]
fn reelecting_candidate_lost_unsent_terminating_incumbent_drains() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.terminating(pod("a").ready()).is("Reelecting b@8 by terminating", &["publish b@8 .2"]);
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    run.is("Draining a@7 by terminating", &["tell PublishRejected b: no", "publish a@7 .1 terminating"]);
}

#[test]
fn reelecting_candidate_lost_unsent_nobody_else_is_leaderless() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    run.is("Leaderless", &["tell PublishRejected b: no", "publish nobody@7"]);
}

#[test]
fn reelecting_candidate_lost_sent_incumbent_fit_again_is_a_new_term() {
    let mut run = reelecting();
    run.ready(pod("a"));
    run.gone("b").is("Reelecting a@9 by recovery", &[]);
    run.published().is("Reelecting a@9 by recovery", &["publish a@9 .1"]);
    run.published().is("Elected a@9", &["tell LeaderRecovered recovery a", "mirror a@9"]).rests();
}

#[test]
fn reelecting_candidate_lost_sent_next_successor_waits_for_the_answer() {
    let mut run = reelecting();
    run.gone("b").is("Reelecting c@9 by unready", &[]);
    run.published().is("Reelecting c@9 by unready", &["publish c@9 .3"]);
}

#[test]
fn reelecting_candidate_lost_outcome_unknown_waits_for_the_read() {
    let mut run = reelecting();
    run.publish_failed(Outcome::Unknown).is("Reelecting b@8 by unready", &[]);
    run.gone("b").is("Reelecting c@9 by unready", &[]);
    run.wakes_after(20).is("Reelecting c@9 by unready", &["read"]);
    let before = crate::support::slice("a", 7);
    run.read(Some(before), crate::support::Facts::Newer);
    run.is("Reelecting c@9 by unready", &["publish c@9 .3"]);
}

#[test]
fn reelecting_candidate_lost_sent_terminating_incumbent_drains_in_a_new_term() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.terminating(pod("a").ready());
    run.unready(pod("b")).is("Draining a@9 by terminating", &[]);
    run.published().is("Draining a@9 by terminating", &["publish a@9 .1 terminating"]);
}

#[test]
fn reelecting_candidate_lost_sent_nobody_else_is_leaderless() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a");
    run.gone("b").is("Leaderless", &[]);
    run.published().is("Leaderless", &["publish nobody@8"]);
    run.published()
        .is("Leaderless", &["tell NoPodsFound", "tell LeaderLost gone after a", "mirror nobody@8"]);
}

#[test]
fn reelecting_refused_for_good_the_candidate_is_not_eligible_until_it_changes() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a");
    run.publish_failed(Outcome::Refused { endpoint: true, words: "no".into() });
    run.published().is("Leaderless", &["tell LeaderLost gone after a", "mirror nobody@7"]);
    run.unready(pod("b")).is("Leaderless", &["tell NoReadyPods"]);
    run.ready(pod("b")).is("Leaderless", &[]).rests();
    run.changed(pod("b").ready().address(9)).is("Reelecting b@8 by recovery", &["publish b@8 .9"]);
}

#[test]
fn reelecting_a_candidate_that_moved_is_published_where_it_is() {
    let mut run = reelecting();
    run.changed(pod("b").ready().address(9)).is("Reelecting b@8 by unready", &[]);
    run.published().is("Elected b@8", &["publish b@8 .9"]);
    run.published().is("Elected b@8", &["tell LeaderChanged unready b after a", "mirror b@8"]);
}

#[test]
fn reelecting_a_better_member_does_not_change_the_choice() {
    let mut run = reelecting();
    run.ready(pod("d").priority(9)).is("Reelecting b@8 by unready", &[]);
    run.policy(policy(|policy| policy.min_ready_duration = secs(99_999))).is_silent();
    run.requested("c").is_silent();
}

#[test]
fn reelecting_while_paused_is_settled_and_retried() {
    let mut run = reelecting();
    run.paused();
    run.publish_failed(Outcome::Unreachable).is("Reelecting b@8 by unready", &[]);
    run.wakes_after(20).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
    run.published().is("Elected b@8", &["tell LeaderChanged unready b after a", "mirror b@8"]).rests();
}

#[test]
fn reelecting_while_paused_candidate_lost_goes_back_to_a_fit_incumbent_only() {
    let mut run = reelecting();
    run.paused();
    run.gone("b").is("Leaderless", &[]);
    let mut run = reelecting();
    run.paused();
    run.ready(pod("a"));
    run.gone("b").is("Reelecting a@9 by recovery", &[]);
}

#[test]
fn reelecting_superseded_before_it_was_sent_frees_its_epoch() {
    let mut run = reelecting();
    run.publish_failed(Outcome::Superseded).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
    run.publish_failed(Outcome::Conflict);
    run.gone("b").is("Reelecting c@8 by unready", &[]);
}

#[test]
fn reelecting_a_lost_node_of_the_candidate_is_a_loss() {
    let mut run = reelecting();
    run.tell(machine::Event::NodeLost { pod: pod("b").id() });
    run.is("Reelecting c@9 by unready", &[]);
}
