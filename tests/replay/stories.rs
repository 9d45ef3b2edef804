//! The stories that are in the corpus besides what was recorded.

use machine::{Departure, Endpoint, Epoch, Event, Failback, Micros, Outcome, Policy, Reach, Shown};

use crate::story::{Story, pod};

/// Each story, and its file's name.
pub(crate) fn all() -> Vec<(&'static str, Story)> {
    vec![
        ("first-election", first_election()),
        ("leader-not-ready", leader_not_ready()),
        ("graceful-deletion", graceful_deletion()),
        ("force-deletion", force_deletion()),
        ("total-outage", total_outage()),
        ("draining-alone", draining_alone()),
        ("flapping-leader-tolerated", flapping()),
        ("failback-by-priority", failback()),
        ("switchover", switchover()),
        ("loss-while-paused", paused()),
        ("answer-lost", answer_lost()),
        ("edited-by-hand", edited_by_hand()),
        ("made-anew-unseen", made_anew_unseen()),
        ("opt-out-mid-failover", opted_out()),
        ("endpoint-refused", refused()),
        ("another-replica-was-first", another_replica()),
        ("log-starts-mid-life", mid_life()),
    ]
}

fn story(note: &str) -> Story {
    Story::new("shop/orders", note, Policy::default())
}

fn first_election() -> Story {
    let mut story =
        story("A Service opts in: its slice is created empty, then the oldest of three Ready pods leads.");
    story.begins([0, 1, 2]);
    story
}

pub(crate) fn leader_not_ready() -> Story {
    let mut story = story(
        "The leader's readiness probe fails; the next oldest pod follows with one write. Ready again, the old leader stays a follower.",
    );
    story.led([0, 1, 2]).unready(0).wait(4_000).ready(0).wait(1_000);
    story
}

fn graceful_deletion() -> Story {
    let mut story = story(
        "kubectl delete pod: the leader is followed when it is told to terminate, while it still serves.",
    );
    story.led([0, 1, 2]).terminating(0).wait(620).unready(0).wait(350);
    story.gone(0, Departure::Deleted).wait(2_000).ready(3).wait(100);
    story
}

fn force_deletion() -> Story {
    let mut story = story("kubectl delete pod --force: the leader is gone without a warning.");
    story.led([0, 1]).gone(0, Departure::Deleted).wait(500);
    story
}

pub(crate) fn total_outage() -> Story {
    let mut story = story(
        "All pods become NotReady; the slice is emptied, and the first pod to be Ready again leads in a new term.",
    );
    story.led([0, 1]).unready(1).wait(300).unready(0).wait(30_000).ready(1).wait(50).ready(0).wait(500);
    story
}

fn draining_alone() -> Story {
    let mut story = story(
        "The only pod is told to terminate: it stays published as terminating until its successor is Ready.",
    );
    story.led([0]).terminating(0).wait(5_000);
    story.ready(1).wait(100).gone(0, Departure::Deleted).wait(500);
    story
}

pub(crate) fn flapping() -> Story {
    let policy = Policy { failover_min_delay: Micros::from_secs(5), ..Policy::default() };
    let note = "failover-min-delay 5s: the leader is NotReady for 2 s, which is tolerated, and later for longer, which is not.";
    let mut story = Story::new("shop/orders", note, policy);
    story
        .led([0, 1])
        .unready(0)
        .wait(2_000)
        .ready(0)
        .wait(60_000)
        .unready(0)
        .wait(9_000)
        .ready(0)
        .wait(1_000);
    story
}

fn failback() -> Story {
    let policy = Policy { failback: Failback::After(Micros::from_secs(10)), ..Policy::default() };
    let note = "failback 10s: a pod of higher priority takes over from a fit leader, once it has been Ready for ten seconds.";
    let mut story = Story::new("shop/orders", note, policy);
    story.led([0, 1]).wait(1_000).changed(1, |member| member.priority = 100).wait(300).unready(1).wait(2_000);
    story.ready(1).wait(12_000);
    story
}

fn switchover() -> Story {
    let mut story = story(
        "A handover is asked for by pod, UID and token: that pod is read once more, and leads without a gap.",
    );
    story.led([0, 1, 2]).asked_for(2).wait(500).tell(Event::SwitchoverWithdrawn).wait(100);
    story
}

fn paused() -> Story {
    let mut story =
        story("Paused: the leader that is NotReady stays published; Resumed: it is followed at once.");
    story.led([0, 1]).tell(Event::Paused { until: None }).wait(1_000).unready(0).wait(20_000);
    story.tell(Event::Resumed).wait(500);
    story
}

fn answer_lost() -> Story {
    let mut story = story(
        "The write of the new leader times out although it has happened: the slice is read before anything else is decided.",
    );
    story.led([0, 1]).next_write_fails(Outcome::Unknown, true).unready(0).wait(1_000);
    story
}

fn edited_by_hand() -> Story {
    let mut story = story(
        "Somebody edits the leader slice with kubectl: it is repaired, with a new term since the edit broke the pair of leader and epoch.",
    );
    story.led([0, 1]).overwritten(Some("kubectl-edit"), |slice| {
        slice.epoch = Some(Epoch(17));
        slice.intact = false;
    });
    story.wait(500);
    story
}

fn made_anew_unseen() -> Story {
    let mut story = story(
        "While this replica is cut off its slice is deleted and made anew, which its next list shows by the slice's UID alone: of the terms between nobody tells, so the next one begins at the clock.",
    );
    story.led([0, 1]).wait(60_000).overwritten(None, |slice| slice.anew = true);
    story.wait(500).unready(0).wait(500);
    story
}

fn opted_out() -> Story {
    let mut story = story(
        "The Service opts out while the write of its new leader is under way: that is awaited, then all is removed.",
    );
    story.led([0, 1]).unready(0).tell(Event::OptedOut).wait(500);
    story
}

fn refused() -> Story {
    let mut story = story("The API server refuses the successor's address for good: the next one follows.");
    let outcome = Outcome::Refused { endpoint: true, words: "endpoints[0].addresses[0]: Invalid value: must not be in the loopback range (127.0.0.0/8, ::1/128)".into() };
    story.led([0, 1, 2]).changed(1, |member| {
        member.reach = Reach::At(Endpoint { address: [127, 0, 0, 1].into(), content: 3 });
    });
    story.wait(100).next_write_fails(outcome, false).unready(0).wait(1_000);
    story
}

pub(crate) fn another_replica() -> Story {
    let mut story = story(
        "Another replica publishes the next leader first: its term is adopted, and our own write is refused by its version.",
    );
    story.led([0, 1]);
    overtaken(story)
}

/// The same, seen by a replica that does not act first.
pub(crate) fn another_replica_with_the_lease() -> Story {
    let mut story = story("The replica that has the Lease publishes the next leader.");
    story.led([0, 1]).tell(Event::LeaseLost);
    overtaken(story)
}

fn overtaken(mut story: Story) -> Story {
    let next = story.pod(1);
    story.unready(0).wait(1).overwritten(None, |slice| {
        slice.leader = Some(pod(1));
        slice.epoch = slice.epoch.map(|Epoch(epoch)| Epoch(epoch + 1));
        slice.shown = next.reach.endpoint().map_or(Shown::Nobody, Shown::Ready);
        slice.ours = false;
    });
    story.wait(500);
    story
}

fn mid_life() -> Story {
    let mut story = total_outage();
    story.header.note = Some("A flight recorder's ring: it starts with the election as it was before its oldest record, here in the midst of an outage.".into());
    let middle = u64::try_from(story.records.len() / 2).unwrap();
    story.from(middle)
}
