//! What the API server answers, and what then.

use machine::{Event, Outcome, Policy, Version};

use crate::support::{Facts, Run, START, pod, secs, slice};

/// a was deleted, b follows, its write is open.
fn run() -> Run {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready()]);
    run.gone("a").is("Reelecting b@8 by gone", &["publish b@8 .2"]);
    run
}

const STATE: &str = "Reelecting b@8 by gone";

#[test]
fn success_is_acknowledged_by_answer_or_watch() {
    let elected = ["tell LeaderChanged gone b after a", "mirror b@8"];
    run().published().is("Elected b@8", &elected).rests();
    run().echoed().is("Elected b@8", &elected).rests();
}

#[test]
fn conflict_waits_for_the_newer_object_on_the_watch() {
    let mut run = run();
    run.publish_failed(Outcome::Conflict).is(STATE, &[]);
    assert_eq!(run.due(), Some(50));
    run.observed(slice("a", 7).damaged(), Facts::Newer).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn conflict_reads_once_after_50_ms() {
    let mut run = run();
    run.publish_failed(Outcome::Conflict);
    run.wait(49).tell(Event::DeadlineReached).is_silent();
    run.wakes_after(1).is(STATE, &["read"]);
    run.read(Some(slice("a", 7).damaged()), Facts::Newer).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn conflict_is_not_answered_by_what_was_known_before() {
    let mut run = run();
    let known = run.election.published().unwrap().version;
    run.publish_failed(Outcome::Conflict);
    run.observed(slice("a", 7).version(known.0), Facts::Newer).is(STATE, &[]);
    run.wakes_after(50).is(STATE, &["read"]);
}

#[test]
fn conflict_with_something_newer_already_seen_decides_at_once() {
    let mut run = run();
    run.observed(slice("a", 7).damaged(), Facts::Newer).is(STATE, &[]);
    run.publish_failed(Outcome::Conflict).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn gone_creates_the_slice_empty_then_publishes() {
    let mut run = run();
    run.publish_failed(Outcome::Gone);
    run.is("Reelecting b@+0 by gone", &["tell EndpointSliceDeleted", "create nobody@none"]);
    run.published().is("Reelecting b@+0 by gone", &["publish b@+0 .2"]);
    run.published().is("Elected b@+0", &["tell LeaderChanged gone b after a", "mirror b@+0"]).rests();
}

#[test]
fn gone_is_no_news_if_a_newer_slice_was_seen() {
    let mut run = run();
    run.observed(slice("a", 7).damaged(), Facts::Newer);
    run.publish_failed(Outcome::Gone).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn exists_is_read_once_and_adopted_if_it_is_ours() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None).is("Reelecting a@+0 by first_election", &["create nobody@none"]);
    run.publish_failed(Outcome::Exists).is("Reelecting a@+0 by first_election", &["read"]);
    run.read(Some(slice("a", 9)), Facts::Newer).is("Elected a@9", &["mirror a@9"]).rests();
}

/// Whoever reads for the machine knows the newer version by now, and has nothing to tell when the watch shows it.
#[test]
fn a_read_that_the_watch_has_made_superfluous_counts_if_it_is_newer() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None).is("Reelecting a@+0 by first_election", &["create nobody@none"]);
    run.publish_failed(Outcome::Exists).is("Reelecting a@+0 by first_election", &["read"]);
    run.observed(slice("a", 9).empty().without_epoch(), Facts::Newer);
    run.is("Reelecting a@+0 by first_election", &[]);
    run.read(Some(slice("a", 9)), Facts::Newer).is("Elected a@9", &["mirror a@9"]);
}

#[test]
fn exists_again_and_again_is_not_repeated_without_a_pause() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None);
    run.publish_failed(Outcome::Exists);
    run.read(None, Facts::Newer).is("Reelecting a@+0 by first_election", &[]);
    run.wakes_after(20).publish_failed(Outcome::Exists);
    run.read(None, Facts::Newer);
    run.wakes_after(40);
}

#[test]
fn throttled_waits_as_told_at_most_a_second() {
    let mut run = run();
    run.publish_failed(Outcome::Throttled(machine::Micros::from_millis(300))).is(STATE, &[]);
    run.wakes_after(300).is(STATE, &["publish b@8 .2"]);
    run.publish_failed(Outcome::Throttled(secs(60))).is(STATE, &[]);
    run.wakes_after(1_000).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn unknown_reads_until_it_answers_20_ms_doubling_to_1_s() {
    let mut run = run();
    run.publish_failed(Outcome::Unknown).is(STATE, &[]);
    for pause in [20, 20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        run.wakes_after(pause).is(STATE, &["read"]);
        run.read_failed().is(STATE, &[]);
    }
    run.wakes_after(1_000).is(STATE, &["read"]);
    run.read(Some(slice("a", 7)), Facts::Newer).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn unknown_that_happened_is_our_own_term() {
    let mut run = run();
    run.publish_failed(Outcome::Unknown);
    run.wakes_after(20);
    run.read(Some(slice("b", 8).ours()), Facts::Newer);
    run.is("Elected b@8", &["tell LeaderChanged gone b after a", "mirror b@8"]).rests();
}

#[test]
fn unknown_that_happened_is_seen_by_the_watch_as_well() {
    let mut run = run();
    run.publish_failed(Outcome::Unknown);
    run.observed(slice("b", 8).ours(), Facts::Newer);
    run.is("Elected b@8", &["tell LeaderChanged gone b after a", "mirror b@8"]).rests();
}

#[test]
fn unknown_is_not_answered_by_an_older_slice_on_the_watch() {
    let mut run = run();
    let known = run.election.published().unwrap().version;
    run.publish_failed(Outcome::Unknown);
    run.observed(slice("a", 7).version(known.0), Facts::Newer).is(STATE, &[]);
    assert_eq!(run.election.published(), None);
}

#[test]
fn unknown_an_old_read_does_not_answer_for_a_newer_write() {
    let mut run = run();
    run.publish_failed(Outcome::Unknown);
    run.wakes_after(20).is(STATE, &["read"]);
    run.observed(slice("a", 7).damaged(), Facts::Newer).is(STATE, &["publish b@8 .2"]);
    run.publish_failed(Outcome::Unknown);
    run.read(Some(slice("a", 7).version(50)), Facts::Newer).is(STATE, &[]);
    run.wakes_after(20).is(STATE, &["read"]);
}

/// As with an admission webhook that cannot be called: reads succeed, and every write is answered by 500.
#[test]
fn unknown_again_and_again_is_not_repeated_without_a_pause() {
    let mut run = run();
    for pause in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        run.publish_failed(Outcome::Unknown).is(STATE, &[]);
        run.wakes_after(20).is(STATE, &["read"]);
        run.read(Some(slice("a", 7)), Facts::Newer);
        if pause == 20 {
            run.is(STATE, &["publish b@8 .2"]);
        } else {
            run.is(STATE, &[]).wakes_after(pause - 20).is(STATE, &["publish b@8 .2"]);
        }
    }
    run.published();
    run.gone("b").publish_failed(Outcome::Unreachable);
    assert_eq!(run.due(), Some(20), "what was acknowledged ends the back-off");
}

/// As in a namespace that has just gone, while the watch has not told so yet.
#[test]
fn gone_is_not_created_again_and_again_without_a_pause() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready()], None);
    for pause in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        run.publish_failed(Outcome::Gone).is("Reelecting a@+0 by first_election", &[]);
        run.wakes_after(pause).is("Reelecting a@+0 by first_election", &["create nobody@none"]);
    }
}

#[test]
fn unreachable_is_retried_likewise() {
    let mut run = run();
    for pause in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
        run.publish_failed(Outcome::Unreachable).is(STATE, &[]);
        run.wakes_after(pause).is(STATE, &["publish b@8 .2"]);
    }
}

#[test]
fn refused_for_the_candidates_address_takes_another_candidate() {
    let mut run = Run::led(Policy::default(), [pod("a").ready(), pod("b").ready(), pod("c").ready()]);
    run.gone("a");
    run.publish_failed(Outcome::Refused { endpoint: true, words: "loopback".into() });
    run.is("Reelecting c@8 by gone", &["tell PublishRejected b: loopback", "publish c@8 .3"]);
}

#[test]
fn refused_for_another_reason_is_retried_every_30_s_and_told_once() {
    let mut run = run();
    let refused = || Outcome::Refused { endpoint: false, words: "the namespace terminates".into() };
    run.publish_failed(refused()).is(STATE, &["tell PublishRejected b: the namespace terminates"]);
    run.wakes_after(30_000).is(STATE, &["publish b@8 .2"]);
    run.publish_failed(refused()).is(STATE, &[]);
    run.tell(Event::ServerBack).is(STATE, &[]);
    assert_eq!(run.due(), Some(30_000));
}

#[test]
fn refused_for_another_reason_is_retried_on_any_change() {
    let mut run = run();
    run.publish_failed(Outcome::Refused { endpoint: false, words: "quota".into() });
    run.ready(pod("c")).is(STATE, &["publish b@8 .2"]);
    run.publish_failed(Outcome::Refused { endpoint: false, words: "quota".into() });
    run.policy(Policy::default()).is(STATE, &["publish b@8 .2"]);
}

#[test]
fn the_servers_return_ends_the_back_offs() {
    let mut run = run();
    for _ in 0..6 {
        run.publish_failed(Outcome::Unreachable);
        let pause = run.due().unwrap();
        run.wakes_after(pause);
    }
    run.publish_failed(Outcome::Unreachable).is(STATE, &[]);
    run.tell(Event::ServerBack).is(STATE, &["publish b@8 .2"]);
    run.publish_failed(Outcome::Unknown).tell(Event::ServerBack).is(STATE, &["read"]);
}

#[test]
fn an_answer_that_comes_after_something_newer_changes_nothing() {
    let mut run = run();
    run.observed(slice("c", 9).version(5_000), Facts::Older).is("Elected c@9", &["confirm c"]);
    run.published().is("Elected c@9", &[]);
    assert_eq!(run.election.published().unwrap().version, Version(5_000));
}

/// The store was restored to an older state: what was answered may have been lost with the rest.
#[test]
fn an_answer_to_what_was_ordered_before_new_lists_is_read() {
    let mut run = run();
    run.synced([pod("b").ready()], Some(slice("a", 7).version(50)));
    run.is("Reelecting b@9 by gone", &[]);
    run.published().is("Reelecting b@9 by gone", &["read"]);
    run.read(Some(slice("a", 7).version(50)), Facts::Newer)
        .is("Reelecting b@+0 by gone", &["publish b@+0 .2"]);
}

/// I10: what the watch showed was another replica's slice, which was deleted before ours was created.
#[test]
fn a_creation_that_happened_after_another_of_the_same_is_read() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a")], None).is("Leaderless", &["create nobody@none"]);
    let nobody = || slice("a", 7).empty().without_epoch();
    run.observed(nobody(), Facts::Newer);
    let others = run.election.published().unwrap().version;
    run.published().is("Leaderless", &["read"]);
    run.observed(nobody().version(others.0), Facts::Newer).is_silent();
    run.read(Some(nobody()), Facts::Newer).is("Leaderless", &[]).rests();
}

#[test]
fn an_answer_that_no_order_waits_for_and_that_is_newer_is_read() {
    let mut run = run();
    run.echoed().answered_echo();
    let id = machine::OrderId(2);
    run.tell(Event::Published { id, version: Version(999) }).is("Elected b@8", &["read"]);
}

#[test]
fn a_mirror_that_failed_is_retried() {
    let mut run = Run::new(Policy::default()).without_mirror_answers();
    run.synced([pod("a").ready()], Some(slice("a", 7))).is("Elected a@7", &["mirror a@7"]);
    for pause in [20, 40] {
        let id = run.mirror.take().unwrap();
        run.tell(Event::MirrorFailed { id }).is("Elected a@7", &[]);
        run.wakes_after(pause).is("Elected a@7", &["mirror a@7"]);
    }
    let id = run.mirror.take().unwrap();
    run.tell(Event::Mirrored { id }).is_silent().rests();
}

#[test]
fn a_mirror_that_was_overtaken_is_followed_by_the_newer_one() {
    let mut run = Run::new(Policy::default()).without_mirror_answers();
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 7)));
    run.gone("a").published().is("Elected b@8", &["tell LeaderChanged gone b after a"]);
    let id = run.mirror.take().unwrap();
    run.tell(Event::Mirrored { id }).is("Elected b@8", &["mirror b@8"]);
}

#[test]
fn a_mirror_says_when_the_leader_changed_if_that_was_seen() {
    let mut run = Run::new(Policy::default());
    run.synced([pod("a").ready(), pod("b").ready()], Some(slice("a", 7))).is("Elected a@7", &["mirror a@7"]);
    assert_eq!(run.mirrored().switched, None, "a leadership that was found");
    run.wait(1_000).gone("a").wait(1_000).published();
    assert_eq!(run.mirrored().switched, Some(START.plus(secs(2))));
}

#[test]
fn a_notice_that_failed_is_not_sent_again() {
    let mut run = Run::led(Policy::default(), [pod("a").ready()]);
    run.tell(Event::NotifyFailed { id: machine::OrderId(3) }).is_silent();
}
