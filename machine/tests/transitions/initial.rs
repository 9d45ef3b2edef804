//! From the initial state, which wants nothing until `Synced`.

use machine::{Cause, Election, Event, Phase, Policy, Standing, Timestamp};

use crate::support::{Run, START, pod, policy, secs, slice};

#[test]
fn a_new_election_does_nothing() {
    let election = Election::new(Policy::default());
    assert_eq!(election.state().phase(), Phase::Leaderless);
    assert_eq!(election.deadline(), None);
    assert_eq!(election.published(), None);
    assert!(!election.is_over());
}

#[test]
fn nothing_is_decided_before_synced() {
    let mut run = Run::new(Policy::default());
    run.ready(pod("a")).is_silent();
    run.observed(slice("a", 7), crate::support::Facts::Newer).is_silent();
    run.paused().is_silent();
    run.requested("a").is_silent();
    run.tell(Event::DeadlineReached).is_silent().rests();
}

#[test]
fn initial_synced_published_leader_fit_is_elected_without_a_write() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("b").ready(), pod("a").ready()], Some(slice("b", 7)));
    run.is("Elected b@7", &["mirror b@7"]).by(Cause::Adopted).rests();
}

#[test]
fn initial_synced_published_leader_fit_without_epoch_gets_one_by_one_put() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], Some(slice("a", 0).without_epoch().damaged()));
    run.is("Elected a@+0", &["publish a@+0 .1"]);
    run.published().is("Elected a@+0", &["mirror a@+0"]).rests();
}

#[test]
fn initial_synced_published_leader_not_among_the_members_is_confirmed_first() {
    let mut run = Run::new(Policy::default());
    run.synced_early([pod("b").ready()], slice("a", 7)).is("Elected a@7", &["confirm a"]);
    run.ready(pod("c")).is("Elected a@7", &[]);
    assert_eq!(run.due(), None);
    run.confirmed(pod("a").ready()).is("Elected a@7", &["mirror a@7"]).rests();
}

#[test]
fn initial_synced_published_leader_confirmed_absent_is_followed_at_once() {
    let mut run = Run::new(Policy::default());
    run.synced_early([pod("b").ready()], slice("a", 7));
    run.confirmed_absent().is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_list_newer_than_the_slice_needs_no_confirmation() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("b").ready()], Some(slice("a", 7)));
    run.is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_published_leader_unready_within_the_delay_drains() {
    let mut run = Run::new(policy(|policy| policy.failover_min_delay = secs(10)));
    let since = Timestamp::from_secs(START.as_secs() - 4);
    run.synced([pod("a").unready_since(since), pod("b").ready()], Some(slice("a", 7)));
    run.is("Draining a@7 by unready for 6000 ms", &["tell LeaderDraining unready a", "mirror a@7"]);
    run.wakes_after(6_000).is("Reelecting b@8 by unready", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_published_leader_unready_beyond_the_delay_is_followed() {
    let mut run = Run::new(policy(|policy| policy.failover_min_delay = secs(10)));
    let since = Timestamp::from_secs(START.as_secs() - 10);
    run.synced([pod("a").unready_since(since), pod("b").ready()], Some(slice("a", 7)));
    run.is("Reelecting b@8 by unready", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_while_paused_keeps_the_published_leader_whatever_its_readiness() {
    let mut run = Run::new(Policy::default());
    run.paused();
    run.synced([pod("a"), pod("b").ready()], Some(slice("a", 7)));
    run.is("Elected a@7", &["mirror a@7"]).rests();
}

#[test]
fn initial_synced_while_paused_does_not_keep_a_leader_that_is_gone() {
    let mut run = Run::new(Policy::default());
    run.paused();
    run.synced([pod("b").ready()], Some(slice("a", 7))).is("Leaderless", &["publish nobody@7"]);
}

#[test]
fn initial_synced_published_leader_unfit_somebody_eligible_reelects() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready().excluded(), pod("b").ready()], Some(slice("a", 7)));
    run.is("Reelecting b@8 by excluded", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_nobody_published_somebody_eligible_reelects() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("b").ready(), pod("a").ready()], Some(slice("a", 7).empty()));
    run.is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}

#[test]
fn initial_synced_no_slice_creates_it_empty_then_publishes_by_put() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None);
    run.is("Reelecting a@+0 by first_election", &["create nobody@none"]);
    run.published().is("Reelecting a@+0 by first_election", &["publish a@+0 .1"]);
    run.published().is("Elected a@+0", &["tell LeaderElected first_election a", "mirror a@+0"]).rests();
}

#[test]
fn initial_synced_published_leader_terminating_but_ready_nobody_eligible_drains() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready().terminating(), pod("b")], Some(slice("a", 7)));
    run.is("Draining a@7 by terminating", &["publish a@7 .1 terminating"]);
    run.published();
    run.is("Draining a@7 by terminating", &["tell LeaderDraining terminating a", "mirror a@7"]).rests();
}

#[test]
fn initial_synced_otherwise_is_leaderless_and_what_is_published_is_withdrawn() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a")], Some(slice("a", 7))).is("Leaderless", &["publish nobody@7"]);
    run.published();
    run.is("Leaderless", &["tell NoReadyPods", "tell LeaderLost unready after a", "mirror nobody@7"]).rests();
}

#[test]
fn initial_synced_without_pods_creates_the_slice_empty() {
    let mut run = Run::new(Policy::default());
    run.synced([], None).is("Leaderless", &["create nobody@none"]);
    run.published().is("Leaderless", &["tell NoPodsFound", "mirror nobody@none"]).rests();
}

#[test]
fn synced_again_with_the_slice_lost_keeps_who_leads_in_a_new_term() {
    let mut run = Run::led(Policy::default(), [pod("b").ready(), pod("a").ready()]);
    run.synced([pod("b").ready(), pod("a").ready()], None);
    run.is("Reelecting b@+0 by recovery", &["create nobody@none"]);
    run.published().is("Reelecting b@+0 by recovery", &["publish b@+0 .2"]);
    run.published().is("Elected b@+0", &["mirror b@+0"]);
}

#[test]
fn synced_again_after_a_restore_believes_the_older_slice_but_not_its_epoch() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    let members = vec![pod("a").ready().version(3).0, pod("b").ready().version(3).0];
    let published = Some(slice("b", 5).version(4).0);
    let standing = Standing { published, horizon: machine::Version(5), ..Standing::default() };
    run.tell(Event::Synced { members, standing });
    run.is("Elected b@+0", &["publish b@+0 .2"]).by(Cause::Adopted);
}

#[test]
fn initial_synced_a_member_whose_node_is_known_to_be_lost_is_not_chosen() {
    let mut run = Run::new(Policy::default());
    run.tell(Event::NodeLost { pod: pod("a").id() }).is_silent();
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 7).empty()))
        .is("Reelecting b@8 by recovery", &["publish b@8 .2"]);
}

#[test]
fn initial_synced_a_member_whose_node_is_back_by_then_is_chosen() {
    let mut run = Run::new(Policy::default());
    run.tell(Event::NodeLost { pod: pod("a").id() }).tell(Event::NodeBack { pod: pod("a").id() });
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 7).empty()))
        .is("Reelecting a@8 by recovery", &["publish a@8 .1"]);
}
