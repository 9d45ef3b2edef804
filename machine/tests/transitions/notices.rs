//! What people are told: on change only, and by one replica.

use machine::{Event, Outcome, Policy};

use crate::support::{Facts, Run, START, pod, policy, secs, slice};

fn vacant() -> Run {
    let mut run = Run::new(Policy::default());
    run.synced([], Some(slice("a", 7).empty())).is("Leaderless", &["tell NoPodsFound", "mirror nobody@7"]);
    run
}

#[test]
fn vacancy_says_why_nobody_can_lead_once() {
    let mut run = vacant();
    run.ready(pod("a").without_port(true)).is("Leaderless", &["tell NamedPortResolutionFailed"]);
    run.ready(pod("b").without_port(true)).is("Leaderless", &[]);
    run.gone("b").is("Leaderless", &[]);
    run.changed(pod("a").ready().without_port(false)).is("Leaderless", &["tell PortResolutionFailed"]);
    run.unready(pod("a")).is("Leaderless", &["tell NoReadyPods"]);
    run.terminating(pod("a").ready()).is("Leaderless", &[]);
    run.gone("a").is("Leaderless", &["tell NoPodsFound"]);
}

#[test]
fn vacancy_of_members_that_could_lead_but_shall_not_has_no_notice() {
    let mut run = vacant();
    run.ready(pod("a").excluded()).is("Leaderless", &[]);
    run.changed(pod("a").ready().without_address()).is("Leaderless", &[]);
}

#[test]
fn vacancy_is_told_after_the_withdrawal_is_acknowledged() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.published();
    run.is("Leaderless", &["tell NoPodsFound", "tell LeaderLost gone after a", "mirror nobody@7"]);
}

#[test]
fn a_transition_is_told_once_its_write_is_acknowledged() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    run.publish_failed(Outcome::Unreachable).is("Reelecting b@8 by gone", &[]);
    run.wakes_after(20).published();
    run.is("Elected b@8", &["tell LeaderChanged gone b after a", "mirror b@8"]);
}

#[test]
fn a_loss_that_was_healed_before_it_was_published_is_no_news() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.unready(pod("a")).is("Leaderless", &["publish nobody@7"]);
    run.ready(pod("a"));
    run.publish_failed(Outcome::Unreachable);
    run.wakes_after(20).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
    run.published().is("Elected a@8", &["mirror a@8"]);
}

#[test]
fn a_loss_that_was_healed_while_it_was_being_published_is_told_of_as_a_recovery() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.unready(pod("a")).is("Leaderless", &["publish nobody@7"]);
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &[]);
    run.published().is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
    run.published().is("Elected a@8", &["tell LeaderRecovered recovery a", "mirror a@8"]);
}

#[test]
fn a_recovery_is_told_by_who_wrote_it_whoever_holds_the_lease() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.tell(Event::LeaseLost);
    run.unready(pod("a")).published().is("Leaderless", &["tell LeaderLost unready after a"]);
    run.ready(pod("a")).is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
    run.published().is("Elected a@8", &["tell LeaderRecovered recovery a"]);
}

#[test]
fn what_waits_to_be_told_outlives_new_lists() {
    let tolerant = policy(|policy| policy.failover_min_delay = secs(5));
    let mut run = Run::led(tolerant, [pod("a").ready()]);
    run.unready(pod("a")).is("Draining a@7 by unready for 5000 ms", &["tell LeaderDraining unready a"]);
    run.observed(slice("a", 7).damaged(), Facts::Newer);
    run.is("Draining a@7 by unready for 5000 ms", &["publish a@7 .1"]);
    run.ready(pod("a")).is("Elected a@7", &[]);
    run.synced([pod("a").ready()], Some(slice("a", 7).damaged())).is("Elected a@7", &[]);
    run.publish_failed(Outcome::Conflict).is("Elected a@7", &["read"]);
    run.read(Some(slice("a", 7)), Facts::Newer).is("Elected a@7", &["tell LeaderRecovered recovery a"]);
}

#[test]
fn what_another_replica_wrote_is_told_by_that() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.tell(Event::LeaseLost);
    run.gone("a");
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &[]);
    run.publish_failed(Outcome::Superseded).is("Elected b@8", &[]).rests();
    run.gone("b").is("Leaderless", &["publish nobody@8"]);
    run.observed(slice("b", 8).empty(), Facts::Newer).is("Leaderless", &[]).rests();
    run.publish_failed(Outcome::Conflict).is("Leaderless", &[]).rests();
    run.ready(pod("a")).published().is("Elected a@9", &["tell LeaderRecovered recovery a"]);
}

#[test]
fn a_withdrawal_seen_before_its_answer_is_told_once_that_says_it_is_ours() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.gone("a").echoed().is("Leaderless", &["tell NoPodsFound", "mirror nobody@7"]);
    run.answered_echo().is("Leaderless", &["tell LeaderLost gone after a"]).rests();
}

/// The Service changed while the write was under way, so that the watch shows labels that are no longer asked for.
#[test]
fn a_withdrawal_seen_to_be_outdated_is_told_once_its_answer_says_it_is_ours() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.gone("a").is("Leaderless", &["publish nobody@7"]);
    run.observed(slice("a", 7).empty().ours().damaged(), Facts::Newer).is("Leaderless", &[]);
    run.answered_echo();
    run.is("Leaderless", &["tell NoPodsFound", "tell LeaderLost gone after a", "mirror nobody@7"]);
}

/// The slice's creation is seen before its answer, and the first leader's write is answered before that, too.
#[test]
fn the_answer_to_an_older_write_that_the_watch_has_shown_takes_nothing_back() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a")], None).is("Leaderless", &["create nobody@none"]);
    run.echoed();
    let (id, version) = run.answered_later();
    run.ready(pod("a")).is("Reelecting a@+0 by first_election", &["publish a@+0 .1"]);
    run.published().is("Elected a@+0", &["tell LeaderElected first_election a", "mirror a@+0"]);
    run.tell(Event::Published { id, version }).is_silent();
    run.rests();
}

/// Likewise; that write's answer is lost, and the watch shows it to be done.
#[test]
fn a_term_of_ours_that_is_seen_is_told_although_the_answer_to_an_older_write_is_missing() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a")], None).is("Leaderless", &["create nobody@none"]);
    run.echoed();
    let (id, _) = run.answered_later();
    run.ready(pod("a")).is("Reelecting a@+0 by first_election", &["publish a@+0 .1"]);
    run.publish_failed(Outcome::Unknown);
    run.observed(slice("a", START.as_secs()).ours(), Facts::Newer);
    run.is("Elected a@+0", &["tell LeaderElected first_election a", "mirror a@+0"]);
    run.tell(Event::PublishFailed { id, outcome: Outcome::Unknown }).is_silent();
}

#[test]
fn what_needs_no_write_is_told_by_the_lease_holder() {
    let tolerant = policy(|policy| policy.failover_min_delay = secs(5));
    let mut run = Run::led(tolerant, [pod("a").ready()]);
    run.tell(Event::LeaseLost);
    run.unready(pod("a")).is("Draining a@7 by unready for 5000 ms", &[]);
    run.ready(pod("a")).is("Elected a@7", &[]);
    run.paused().is("Elected a@7", &[]);
    run.tell(Event::Resumed).is("Elected a@7", &[]);
    run.slice_deleted().is("Elected a@+0", &["create nobody@none"]);
}

#[test]
fn i8_the_same_facts_again_are_silent() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b")]);
    for _ in 0..3 {
        run.ready(pod("a")).is_silent();
        run.unready(pod("b")).is_silent();
        run.policy(Policy::default()).is_silent();
        run.tell(Event::Resumed).is_silent();
        run.tell(Event::LeaseHeld).is_silent();
        run.tell(Event::ServerBack).is_silent();
        run.tell(Event::DeadlineReached).is_silent();
        run.tell(Event::NodeBack { pod: pod("a").id() }).is_silent();
    }
    run.rests();
}
