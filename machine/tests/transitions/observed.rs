//! What the watch shows of the slice when others write it, too.

use machine::{Cause, Departure, Event, Outcome, Policy, Shown};

use crate::support::{Facts, Run, endpoint, pod, policy, secs, slice};

fn run() -> Run {
    Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()])
}

#[test]
fn a_higher_term_of_another_replica_is_adopted() {
    let mut run = run();
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &["mirror b@8"]).by(Cause::Adopted);
    run.rests();
}

#[test]
fn a_higher_term_is_adopted_though_we_had_chosen_another() {
    let mut run = run();
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    run.observed(slice("c", 8), Facts::Older).is("Elected c@8", &[]).by(Cause::Adopted);
    run.publish_failed(machine::Outcome::Conflict).is("Elected c@8", &["mirror c@8"]).rests();
}

#[test]
fn the_same_term_by_another_replica_is_not_our_acknowledgement() {
    let mut run = run();
    run.gone("a");
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &[]).by(Cause::Adopted);
    run.publish_failed(machine::Outcome::Superseded).is("Elected b@8", &["mirror b@8"]).rests();
}

#[test]
fn a_higher_term_of_a_leader_unfit_by_newer_facts_is_followed_in_the_same_step() {
    let mut run = run();
    run.unready(pod("b"));
    run.observed(slice("b", 8), Facts::Newer).is("Reelecting a@9 by unready", &["publish a@9 .1"]);
}

#[test]
fn a_higher_term_of_a_leader_unfit_by_older_facts_is_confirmed() {
    let mut run = run();
    run.unready(pod("b"));
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &["confirm b"]).by(Cause::Adopted);
    run.confirmed(pod("b").ready()).is("Elected b@8", &["mirror b@8"]).rests();
}

#[test]
fn a_higher_term_of_a_leader_confirmed_unfit_is_followed() {
    let mut run = run();
    run.unready(pod("b"));
    run.observed(slice("b", 8), Facts::Older);
    run.confirmed(pod("b")).is("Reelecting a@9 by unready", &["publish a@9 .1"]);
}

#[test]
fn i9_a_leader_that_a_read_shows_to_be_no_member_was_relabelled() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.confirmed_no_member().by(Cause::Relabelled);
    let mut run = self::run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.confirmed_absent().by(Cause::Gone);
}

#[test]
fn a_higher_term_of_an_unknown_pod_is_confirmed_until_it_answers() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.confirm_failed().is("Elected d@8", &[]);
    run.wakes_after(20).is("Elected d@8", &["confirm d"]);
    run.confirm_failed();
    run.wakes_after(40).is("Elected d@8", &["confirm d"]);
    run.confirmed_absent().is("Reelecting a@9 by gone", &["publish a@9 .1"]);
}

/// The watch on pods may be behind that on slices, as after a pause: whoever made this pod the leader knew better.
#[test]
fn an_adopted_leader_is_asked_about_before_older_news_unseats_it() {
    let late = || {
        let mut run = run();
        run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &["mirror b@8"]);
        run
    };
    for news in [pod("b"), pod("b").ready().excluded(), pod("b").ready().without_address()] {
        let mut run = late();
        run.changed(news.version(145)).is("Elected b@8", &["confirm b"]);
        run.confirmed(pod("b").ready().version(149)).is_silent().rests();
    }
    let mut run = late();
    run.unready(pod("b").version(145)).is("Elected b@8", &["confirm b"]);
    run.confirmed(pod("b").version(145)).is("Reelecting a@9 by unready", &["publish a@9 .1"]);
    let mut run = late();
    run.unready(pod("b").version(145)).ready(pod("b").version(147)).is_silent();
    run.unready(pod("b")).is("Reelecting a@9 by unready", &["publish a@9 .1"]);
}

#[test]
fn an_adopted_leader_goes_by_older_news_that_nothing_can_undo() {
    let mut run = run();
    run.observed(slice("b", 8), Facts::Older);
    run.terminating(pod("b").ready().version(145)).is("Reelecting a@9 by terminating", &["publish a@9 .1"]);
}

#[test]
fn a_leader_of_our_own_goes_by_news_from_before_its_publication() {
    let mut run = run();
    run.observed(slice("b", 8), Facts::Older);
    run.gone("b").is("Reelecting a@9 by gone", &["publish a@9 .1"]);
    run.published();
    run.unready(pod("a").version(145)).is("Reelecting c@10 by unready", &["publish c@10 .3"]);
}

#[test]
fn a_repair_of_anothers_term_does_not_make_older_news_count() {
    let mut run = run();
    run.observed(slice("b", 8), Facts::Older);
    run.observed(slice("b", 8).damaged(), Facts::Older).is("Elected b@8", &["publish b@8 .2"]);
    run.published();
    run.unready(pod("b").version(145)).is("Elected b@8", &["confirm b"]);
}

#[test]
fn a_doubt_is_resolved_by_newer_news_of_the_pod() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.ready(pod("d")).is("Elected d@8", &["mirror d@8"]).rests();
    run.confirmed_absent().is_silent();
}

#[test]
fn a_doubt_is_resolved_by_the_pods_deletion() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.gone("d").is("Reelecting a@9 by gone", &["publish a@9 .1"]);
    run.confirmed(pod("d").ready().version(7)).is_silent();
    run.gone("a").is("Reelecting b@10 by gone", &[]);
}

#[test]
fn a_doubt_is_resolved_by_the_pods_end() {
    let mut run = run();
    run.unready(pod("b"));
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &["confirm b"]);
    run.confirm_failed();
    run.departed("b", Departure::Finished).is("Reelecting a@9 by finished", &["publish a@9 .1"]);
}

#[test]
fn a_doubted_pod_that_was_no_member_for_a_while_is_asked_about_anew() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.departed("d", Departure::Relabelled).is("Elected d@8", &["confirm d"]);
    run.confirmed(pod("d").ready()).is("Elected d@8", &["mirror d@8"]);
}

#[test]
fn a_pod_confirmed_absent_is_not_raised_by_its_late_watch_events() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older);
    run.confirmed_absent()
        .published()
        .is("Elected a@9", &["tell LeaderChanged gone a after d", "mirror a@9"]);
    run.ready(pod("d").priority(9).version(3)).is_silent();
    run.gone("a").is("Reelecting b@10 by gone", &["publish b@10 .2"]);
    run.gone("d").is_silent();
}

#[test]
fn a_pod_confirmed_to_be_no_member_may_become_one() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older);
    run.confirmed_no_member().published();
    run.gone("b").gone("c").ready(pod("d")).is_silent();
    run.gone("a").is("Reelecting d@10 by gone", &["publish d@10 .4"]);
}

#[test]
fn the_answer_to_a_doubt_that_is_moot_is_a_fact_all_the_same() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    run.observed(slice("b", 9), Facts::Older).is("Elected b@9", &["mirror b@9"]);
    run.confirmed(pod("d").ready().priority(1)).is_silent();
    run.gone("b").is("Reelecting d@10 by gone", &["publish d@10 .4"]);
}

#[test]
fn a_question_that_failed_leaves_the_others_open() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).is("Elected d@8", &["confirm d"]);
    let about_d = run.asked();
    run.observed(slice("e", 9), Facts::Older).is("Elected e@9", &["confirm e"]);
    run.confirm_failed().is("Elected e@9", &[]);
    let member = Some(pod("d").ready().priority(1).version(500).0);
    run.tell(Event::Confirmed { id: about_d, member, exists: true }).is_silent();
    run.wakes_after(20).confirmed_absent().is("Reelecting d@10 by gone", &["publish d@10 .4"]);
}

#[test]
fn the_last_news_of_one_that_is_gone_does_not_raise_another() {
    let mut run = run();
    run.observed(slice("d", 8), Facts::Older).confirmed_absent();
    run.is("Reelecting a@9 by gone", &["publish a@9 .1"]).published();
    run.observed(slice("e", 10), Facts::Older).confirmed_absent();
    run.is("Reelecting a@11 by gone", &["publish a@11 .1"]).published();
    run.gone("d").is_silent();
    run.ready(pod("e").priority(9)).is_silent();
    run.gone("a").is("Reelecting b@12 by gone", &["publish b@12 .2"]);
}

#[test]
fn a_higher_term_that_drains_is_confirmed_if_our_facts_are_older() {
    let mut run = run();
    run.observed(slice("b", 8).terminating(), Facts::Older).is("Elected b@8", &["confirm b"]);
    run.confirmed(pod("b").ready().terminating());
    run.is("Reelecting a@9 by terminating", &["publish a@9 .1"]);
}

#[test]
fn an_edit_with_newer_facts_is_repaired_at_once() {
    let mut run = run();
    run.observed(slice("a", 7).shown(Shown::Foreign), Facts::Newer).is("Elected a@7", &["publish a@7 .1"]);
    run.published().rests();
    run.observed(slice("a", 7).damaged(), Facts::Older).is("Elected a@7", &["publish a@7 .1"]);
}

#[test]
fn a_repair_that_another_replica_made_answers_ours() {
    let mut run = run();
    run.observed(slice("a", 7).damaged(), Facts::Newer).is("Elected a@7", &["publish a@7 .1"]);
    run.observed(slice("a", 7), Facts::Newer).is("Elected a@7", &[]).rests();
    run.publish_failed(Outcome::Conflict).is_silent().rests();
}

#[test]
fn a_term_of_which_only_an_edit_is_seen_is_repaired_as_it_was_begun() {
    for edited in [Shown::Foreign, Shown::Nobody] {
        let mut run = run();
        run.observed(slice("b", 8).shown(edited), Facts::Newer).is("Elected b@8", &["publish b@8 .2"]);
    }
}

#[test]
fn an_edit_with_older_facts_is_confirmed_first() {
    let mut run = run();
    run.observed(slice("a", 7).empty(), Facts::Older).is("Elected a@7", &["confirm a"]);
    run.confirmed(pod("a").ready()).is("Elected a@8", &["publish a@8 .1"]);
}

#[test]
fn an_edit_of_another_replica_whose_reason_we_had_not_seen_is_followed() {
    let mut run = run();
    run.observed(slice("a", 7).empty(), Facts::Older);
    run.confirmed_absent().is("Reelecting b@8 by gone", &["publish b@8 .2"]);
}

#[test]
fn a_withdrawal_to_terminating_by_another_replica_is_confirmed_first() {
    let mut run = run();
    run.observed(slice("a", 7).terminating(), Facts::Older).is("Elected a@7", &["confirm a"]);
    run.confirmed(pod("a").ready().terminating());
    run.is("Reelecting b@8 by terminating", &["publish b@8 .2"]);
}

#[test]
fn an_endpoint_that_contradicts_the_recorded_leader_is_repaired_in_the_same_term() {
    let mut run = run();
    run.observed(slice("a", 7).shown(Shown::Ready(endpoint(66))), Facts::Newer);
    run.is("Elected a@7", &["publish a@7 .1"]);
}

#[test]
fn a_leader_that_contradicts_its_epoch_is_repaired_in_a_new_term() {
    let mut run = run();
    run.observed(slice("b", 7), Facts::Newer).is("Elected a@+0", &["publish a@+0 .1"]);
}

#[test]
fn an_older_epoch_is_repaired_in_a_new_term_for_terms_that_were_not_seen_may_be_taken_back_with_it() {
    let mut run = run();
    run.observed(slice("b", 5), Facts::Newer).is("Elected a@+0", &["publish a@+0 .1"]);
}

#[test]
fn an_edit_while_leaderless_is_withdrawn() {
    let mut run = Run::new(Policy::default());
    run.synced([], Some(slice("a", 7).empty()));
    run.observed(slice("a", 7), Facts::Older).is("Leaderless", &["publish nobody@7"]);
}

#[test]
fn an_edit_while_draining_is_confirmed_then_repaired() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.terminating(pod("a").ready()).published();
    run.observed(slice("a", 7), Facts::Older).is("Draining a@7 by terminating", &["confirm a"]);
    run.confirmed(pod("a").ready().terminating());
    run.is("Draining a@7 by terminating", &["publish a@7 .1 terminating"]);
}

#[test]
fn a_slice_deleted_is_created_anew_with_a_new_term() {
    let mut run = run();
    run.slice_deleted().is("Elected a@+0", &["tell EndpointSliceDeleted", "create nobody@none"]);
    run.published().is("Elected a@+0", &["publish a@+0 .1"]);
    run.published().is("Elected a@+0", &["mirror a@+0"]).rests();
    run.wait(1).slice_deleted().is("Elected a@+1", &["tell EndpointSliceDeleted", "create nobody@none"]);
}

#[test]
fn what_is_not_newer_is_no_news() {
    let mut run = run();
    run.observed(slice("b", 99).version(2), Facts::Newer).is_silent();
    let now = run.election.published().cloned();
    run.tell(Event::PublicationObserved { published: now, horizon: machine::Version(0), by: None })
        .is_silent();
}

#[test]
fn a_takeover_by_another_replica_during_tolerance_is_adopted() {
    let tolerant = policy(|policy| policy.failover_min_delay = secs(5));
    let mut run = Run::led(tolerant, [pod("a").ready(), pod("b").ready()]);
    run.unready(pod("a"));
    run.observed(slice("b", 8), Facts::Older).is("Elected b@8", &["mirror b@8"]).by(Cause::Adopted);
}

#[test]
fn a_slice_that_the_source_asks_to_be_different_is_repaired_in_its_term() {
    let mut run = run();
    let version = run.election.published().map(|published| published.version.0).unwrap_or_default();
    run.observed(slice("a", 7).ours().damaged().version(version), Facts::Newer);
    run.is("Elected a@7", &["publish a@7 .1"]);
}
