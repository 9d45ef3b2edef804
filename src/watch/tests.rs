//! The watch against a scripted server, on paused time.

mod script;

use serde_json::json;
use tokio::time::timeout;

use self::script::{
    FakeServer, Pod, Reply, bookmark, event, expired_line, gone, lines, listed, page, pod, pod_json, pods,
    said_and_open,
};
use super::server::{OPEN_TIMEOUT, PAGE_TIMEOUT, WATCH_SECONDS, WATCHES_PER_LANE};
use super::trouble::FIRST_RETRY;
use super::*;
use crate::client::Lane;

/// Far beyond every wait of a watch; on paused time it costs nothing.
const LONG: Duration = Duration::from_secs(20);

// --- lists ---

#[tokio::test(start_paused = true)]
async fn a_list_is_consistent_and_comes_in_pages() {
    let (server, mut changes, _) =
        start(vec![page(7, &["a", "b"], Some("more")), page(7, &["c"], None), Reply::hang()]);
    assert_eq!(
        changes.take(4).await,
        [Change::Relisting, Change::Page(pods(&["a", "b"])), Change::Page(pods(&["c"])), listed(7)]
    );
    let asked = server.asked(3).await;
    assert_eq!(asked[0], "/api/v1/namespaces/shop/pods?&labelSelector=app%3Dx&limit=2");
    assert!(asked[1].contains("limit=2") && asked[1].contains("continue=more"), "{}", asked[1]);
    let version_in_lists = asked[..2].iter().any(|uri| uri.contains("resourceVersion"));
    assert!(!version_in_lists, "a list with a version may be answered from a cache");
    for parameter in ["watch=true", "resourceVersion=7", "allowWatchBookmarks=true", "labelSelector=app%3Dx"]
    {
        assert!(asked[2].contains(parameter), "{parameter} in {}", asked[2]);
    }
    let seconds: u32 = asked[2].split("timeoutSeconds=").nth(1).unwrap()[..3].parse().unwrap();
    assert!(WATCH_SECONDS.contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_may_be_null() {
    let (_server, mut changes, _) = start(vec![
        Reply::json(&json!({"metadata": {"resourceVersion": "3"}, "items": null})),
        Reply::hang(),
    ]);
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(vec![]), listed(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_pages_starts_over_and_at_last_comes_in_one_piece() {
    let (server, mut changes, _) = start(vec![
        page(7, &["a", "b"], Some("more")),
        gone(),
        page(8, &["a", "b"], Some("more")),
        gone(),
        page(9, &["a", "b", "c"], None),
        Reply::hang(),
    ]);
    assert_eq!(changes.take(2).await, [Change::Relisting, Change::Page(pods(&["a", "b"]))]);
    assert_eq!(changes.take(2).await, [Change::Relisting, Change::Page(pods(&["a", "b"]))]);
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(pods(&["a", "b", "c"])), listed(9)]);
    let asked = server.asked(5).await;
    assert!(asked[2].contains("limit=2") && !asked[2].contains("continue="), "{}", asked[2]);
    assert!(!asked[4].contains("limit=") && !asked[4].contains("resourceVersion"), "{}", asked[4]);
}

#[tokio::test(start_paused = true)]
async fn a_malformed_object_in_a_list_is_named_and_the_others_survive() {
    let list = json!({"metadata": {"resourceVersion": "5"}, "items": [
        pod_json("a", 1),
        {"metadata": {"namespace": "shop", "name": "broken"}, "spec": {"node": 1}},
        "not even an object",
        pod_json("b", 1),
    ]});
    let (_server, mut changes, status) = start(vec![Reply::json(&list), Reply::hang()]);
    let told = changes.take(5).await;
    let Change::Malformed { object, error } = &told[1] else { panic!("{told:?}") };
    assert_eq!(object, "shop/broken");
    assert!(error.contains("string"), "{error}");
    let Change::Malformed { object, .. } = &told[2] else { panic!("{told:?}") };
    assert_eq!(object, "(unnamed)");
    assert_eq!(told[3..], [Change::Page(pods(&["a", "b"])), listed(5)]);
    assert_eq!(status.malformed_objects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_below_a_version_already_seen_is_thrown_away() {
    let (server, mut changes, _) = start(vec![
        page(10, &["a"], None),
        lines(vec![event("MODIFIED", "a", 20), expired_line()]),
        page(15, &[], None),
        page(21, &["a"], None),
        Reply::hang(),
    ]);
    changes.take(4).await;
    assert_eq!(
        changes.take(3).await,
        [Change::Relisting, Change::Page(pods(&["a"])), listed(21)],
        "nothing of the list at 15 is told: it lacks a pod that exists"
    );
    assert!(server.asked(5).await[4].contains("resourceVersion=21"));
}

#[tokio::test(start_paused = true)]
async fn three_lists_below_prove_a_restore() {
    let (server, mut changes, _) = start(vec![
        page(100, &["a", "b"], None),
        lines(vec![expired_line()]),
        page(50, &["a"], None),
        page(51, &["a"], None),
        page(51, &["a"], None),
        Reply::hang(),
    ]);
    changes.take(3).await;
    assert_eq!(
        changes.take(3).await,
        [Change::Relisting, Change::Page(pods(&["a"])), Change::Listed { version: 51, restored: true }]
    );
    assert!(server.asked(6).await[5].contains("resourceVersion=51"));
}

#[tokio::test(start_paused = true)]
async fn lists_below_that_fall_among_themselves_prove_nothing() {
    let (_server, mut changes, _) = start(vec![
        page(100, &["a"], None),
        lines(vec![expired_line()]),
        page(60, &[], None),
        page(50, &[], None),
        page(60, &[], None),
        page(101, &["a"], None),
        Reply::hang(),
    ]);
    changes.take(3).await;
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(pods(&["a"])), listed(101)]);
}

// --- watches ---

#[tokio::test(start_paused = true)]
async fn events_are_told_in_order() {
    let (_server, mut changes, _) = start(vec![
        page(1, &[], None),
        lines(vec![
            event("ADDED", "a", 2),
            event("MODIFIED", "a", 3),
            bookmark(9),
            event("DELETED", "a", 10),
        ]),
    ]);
    changes.take(3).await;
    assert_eq!(
        changes.take(4).await,
        [
            Change::Applied(pod("a", 2)),
            Change::Applied(pod("a", 3)),
            Change::Bookmark(9),
            Change::Deleted(pod("a", 10))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_the_server_ends_resumes_at_the_last_version_without_a_list() {
    let (watch, feed) = Reply::fed();
    let (server, mut changes, status) =
        start(vec![page(1, &["a"], None), watch, Reply::hang(), page(30, &[], None)]);
    changes.take(3).await;
    feed.send(bookmark(30)).await.unwrap();
    assert_eq!(changes.take(1).await, [Change::Bookmark(30)]);
    sleep(Duration::from_secs(280)).await;
    let ended = Instant::now();
    drop(feed);
    let asked = server.asked(4).await;
    assert!(asked[2].contains("watch=true") && asked[2].contains("resourceVersion=30"), "{}", asked[2]);
    assert!(ended.elapsed() < Duration::from_millis(10), "{:?}", ended.elapsed());
    assert!(status.is_live());
    assert_eq!((status.reconnects(), status.relists()), (1, 0));
    changes.nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expired_is_listed_again() {
    for expiry in [gone(), lines(vec![expired_line()])] {
        let (_server, mut changes, status) =
            start(vec![page(1, &["a"], None), expiry, page(9, &["b"], None), Reply::hang()]);
        changes.take(3).await;
        assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(pods(&["b"])), listed(9)]);
        assert_eq!(status.relists(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expires_at_once_every_time_is_no_busy_loop() {
    let mut script = Vec::new();
    for version in 1..40 {
        script.extend([page(version, &[], None), gone()]);
    }
    let (server, mut changes, _) = start(script);
    let drain = tokio::spawn(async move { while changes.receiver.recv().await.is_some() {} });
    let started = Instant::now();
    server.asked(20).await;
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
    drain.abort();
}

#[tokio::test(start_paused = true)]
async fn a_malformed_object_does_not_end_the_watch() {
    let broken = json!({"type": "MODIFIED", "object": {
        "metadata": {"namespace": "shop", "name": "b", "resourceVersion": "3"}, "spec": 1}});
    let (server, mut changes, status) = start(vec![
        page(1, &[], None),
        lines(vec![event("ADDED", "a", 2), broken.to_string() + "\n"]),
        Reply::hang(),
        page(3, &[], None),
    ]);
    changes.take(4).await;
    let told = changes.take(1).await;
    let Change::Malformed { object, error } = &told[0] else { panic!("{told:?}") };
    assert_eq!(object, "shop/b");
    assert!(error.contains("invalid type"), "{error}");
    let asked = server.asked(3).await;
    assert!(asked[2].contains("resourceVersion=3"), "it counts as seen: {}", asked[2]);
    assert_eq!(status.malformed_objects(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deletion_of_a_malformed_object_shows_in_a_list() {
    let broken = json!({"type": "DELETED", "object": {
        "metadata": {"namespace": "shop", "name": "a", "resourceVersion": "3"}, "spec": 1}});
    let (_server, mut changes, _) = start(vec![
        page(1, &["a"], None),
        lines(vec![broken.to_string() + "\n"]),
        page(4, &[], None),
        Reply::hang(),
    ]);
    changes.take(3).await;
    assert!(matches!(changes.take(1).await[..], [Change::Malformed { .. }]));
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(vec![]), listed(4)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_cut_off_comes_again() {
    let whole = event("MODIFIED", "a", 3);
    let cut = whole[..whole.len() / 2].to_owned();
    let (server, mut changes, status) = start(vec![
        page(1, &["a"], None),
        lines(vec![event("MODIFIED", "a", 2), cut]),
        said_and_open(whole),
        page(3, &["a"], None),
    ]);
    changes.take(3).await;
    assert_eq!(changes.take(2).await, [Change::Applied(pod("a", 2)), Change::Applied(pod("a", 3))]);
    assert!(server.asked(3).await[2].contains("resourceVersion=2"));
    sleep(LONG).await;
    assert_eq!(status.reconnects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_no_event_ends_the_stream() {
    let (server, mut changes, _) = start(vec![
        page(1, &[], None),
        lines(vec!["<html>504 gateway</html>\n".into(), event("ADDED", "a", 2)]),
        lines(vec![event("ADDED", "a", 2)]),
        page(2, &["a"], None),
    ]);
    changes.take(3).await;
    assert_eq!(changes.take(1).await, [Change::Applied(pod("a", 2))]);
    assert!(server.asked(3).await[2].contains("resourceVersion=1"));
}

#[tokio::test(start_paused = true)]
async fn lines_may_be_large_and_cut_anywhere() {
    let mut large = pod_json("big", 2);
    large["metadata"]["annotations"] = json!({"x": "y".repeat(4 << 20)});
    let text = format!("{}\n", json!({"type": "ADDED", "object": large})) + &event("ADDED", "b", 3);
    let chunks: Vec<String> =
        text.as_bytes().chunks(9973).map(|c| String::from_utf8(c.to_vec()).unwrap()).collect();
    let (_server, mut changes, _) = start(vec![page(1, &[], None), lines(chunks)]);
    changes.take(3).await;
    let Change::Applied(big) = changes.take(1).await.remove(0) else { panic!() };
    assert_eq!(big.metadata.annotations.unwrap()["x"].len(), 4 << 20);
    assert_eq!(changes.take(1).await, [Change::Applied(pod("b", 3))]);
}

#[tokio::test(start_paused = true)]
async fn several_events_in_one_chunk_are_all_told() {
    let text = event("ADDED", "a", 2) + &event("ADDED", "b", 3) + &event("ADDED", "c", 4);
    let (_server, mut changes, _) = start(vec![page(1, &[], None), lines(vec![text])]);
    changes.take(3).await;
    let expected = [("a", 2), ("b", 3), ("c", 4)].map(|(name, version)| Change::Applied(pod(name, version)));
    assert_eq!(changes.take(3).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_away_for_long_is_listed_anew() {
    let down = (0..200).map(|_| Reply::Fail);
    let script = [page(1, &["a"], None), lines(vec![])].into_iter().chain(down);
    let (server, mut changes, status) = start(script.collect());
    changes.take(3).await;
    let before = RELIST_AFTER.saturating_sub(LAST_RETRY * 2);
    sleep(before).await;
    assert!(server.asked(3).await[2..].iter().all(|uri| uri.contains("watch=true")), "resuming first");
    sleep(LAST_RETRY * 4).await;
    assert!(!server.asked(3).await.last().unwrap().contains("watch=true"), "then listing");
    assert!(status.down_for() > RELIST_AFTER);
}

// --- versions that go back ---

#[tokio::test(start_paused = true)]
async fn a_resumed_watch_on_a_restored_server_is_found_out_though_it_stays_silent() {
    let (first, feed) = Reply::fed();
    let (_server, mut changes, status) = start(vec![
        page(100, &["a", "b"], None),
        first,
        Reply::hang(),
        // The version check beside the silent watch, then the proof.
        page(40, &["a"], None),
        page(40, &["a"], None),
        page(41, &["a"], None),
        page(41, &["a"], None),
        Reply::hang(),
    ]);
    changes.take(3).await;
    sleep(LONG).await;
    drop(feed);
    assert_eq!(
        changes.take(3).await,
        [Change::Relisting, Change::Page(pods(&["a"])), Change::Listed { version: 41, restored: true }]
    );
    changes.nothing_more().await;
    assert!(status.is_live());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_does_not_know_yet_is_checked_by_a_list() {
    let too_large = Reply::status(504, "Timeout: Too large resource version: 100, current: 40");
    let (_server, mut changes, _) =
        start(vec![page(100, &["a"], None), too_large, page(101, &["a"], None), Reply::hang()]);
    changes.take(3).await;
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(pods(&["a"])), listed(101)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_older_than_what_was_seen_is_not_told() {
    let (_server, mut changes, _) = start(vec![
        page(100, &["a"], None),
        lines(vec![event("MODIFIED", "a", 40)]),
        page(102, &["a"], None),
        Reply::hang(),
    ]);
    changes.take(3).await;
    assert_eq!(changes.take(3).await, [Change::Relisting, Change::Page(pods(&["a"])), listed(102)]);
}

// --- trouble ---

#[tokio::test(start_paused = true)]
async fn retries_begin_within_100_ms_and_never_wait_longer_than_1_s() {
    let (server, mut changes, status) =
        start((0..8).map(|_| Reply::Fail).chain([page(1, &[], None), Reply::hang()]).collect());
    let mut waits = Vec::new();
    for request in 1..=9 {
        let before = Instant::now();
        server.asked(request).await;
        waits.push(before.elapsed());
        if request == 3 {
            let state = status.state();
            assert!(matches!(&state.phase, Phase::Disconnected(why) if why.contains("refuses")), "{state:?}");
            assert!(!state.listed);
        }
    }
    assert!(waits[1] <= FIRST_RETRY && waits[1] >= FIRST_RETRY / 2, "{waits:?}");
    assert!(waits[2] > waits[1] && waits[3] > waits[2], "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= LAST_RETRY), "{waits:?}");
    assert!(waits[8] >= LAST_RETRY / 2, "{waits:?}");
    changes.take(3).await;
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_server_asks_for_is_honoured_up_to_1_s() {
    let (server, _changes, _) =
        start(vec![Reply::busy("1"), Reply::busy("600"), page(1, &[], None), Reply::hang()]);
    let started = Instant::now();
    server.asked(2).await;
    assert!(started.elapsed() >= LAST_RETRY, "{:?}", started.elapsed());
    let asked = Instant::now();
    server.asked(3).await;
    assert!(asked.elapsed() <= LAST_RETRY + Duration::from_millis(1), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_again() {
    let (server, mut changes, status) =
        start(vec![Reply::Never, page(1, &[], None), Reply::Never, Reply::hang()]);
    server.asked(1).await;
    sleep(PAGE_TIMEOUT + LAST_RETRY).await;
    changes.take(3).await;
    sleep(OPEN_TIMEOUT + LAST_RETRY).await;
    assert!(status.is_live());
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_since_when_and_why() {
    let (watch, feed) = Reply::fed();
    let (server, mut changes, status) = start(vec![
        page(1, &["a"], None),
        watch,
        Reply::status(403, "pods is forbidden: User \"x\" cannot watch resource \"pods\""),
        Reply::Never,
    ]);
    assert_eq!(status.state().phase, Phase::Waiting);
    changes.take(3).await;
    server.asked(2).await;
    sleep(LONG).await;
    assert!(status.is_live() && status.has_listed());
    assert_eq!(status.down_for(), Duration::ZERO);
    assert!(status.idle_for() >= LONG);
    drop(feed);
    server.asked(4).await;
    sleep(Duration::from_secs(2)).await;
    let Phase::Disconnected(why) = status.state().phase else { panic!("{:?}", status.state()) };
    assert!(why.contains("403") && why.contains("cannot watch resource"), "{why}");
    assert!(status.down_for() >= Duration::from_secs(2), "the first moment counts: {:?}", status.down_for());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receiver_ends_the_watch() {
    let (server, changes, _) = start(vec![page(1, &[], None), Reply::hang()]);
    server.asked(2).await;
    drop(changes.receiver);
    timeout(Duration::from_secs(1), changes.task).await.expect("ended").unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_source_comes_with_every_change_and_chooses_the_connection() {
    let (server, mut changes, _) = start_as(WATCHES_PER_LANE + 1, vec![page(1, &[], None), Reply::hang()]);
    let (source, _) = changes.receiver.recv().await.unwrap();
    assert_eq!(source, WATCHES_PER_LANE + 1);
    server.asked(2).await;
    assert_eq!(server.lanes(), [Lane(1), Lane(1)], "list and watch");
}

#[test]
fn the_first_wait_is_at_most_100_ms_and_waits_differ() {
    let first: Vec<Duration> = (0..100).map(|_| Backoff::new(Dice::new()).next()).collect();
    assert!(first.iter().all(|wait| *wait <= FIRST_RETRY && *wait >= FIRST_RETRY / 2));
    assert!(first.iter().any(|wait| wait != &first[0]));
}

// --- what the tests are made of ---

/// What the watch tells.
struct Changes {
    receiver: mpsc::Receiver<(usize, Change<Pod>)>,
    task: tokio::task::JoinHandle<()>,
}

impl Changes {
    async fn take(&mut self, count: usize) -> Vec<Change<Pod>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = timeout(LONG, self.receiver.recv()).await;
            let Ok(Some((_, change))) = next else { panic!("nothing more after {taken:?}") };
            taken.push(change);
        }
        taken
    }

    async fn nothing_more(&mut self) {
        let more = timeout(LONG, self.receiver.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

fn start(script: Vec<Reply>) -> (FakeServer, Changes, WatchStatus) {
    start_as(0, script)
}

fn start_as(source: usize, script: Vec<Reply>) -> (FakeServer, Changes, WatchStatus) {
    let (server, client) = FakeServer::new(script);
    let (sink, receiver) = mpsc::channel(4);
    let status = WatchStatus::new("pods");
    let options =
        WatchOptions { label_selector: Some("app=x".into()), page_size: 2, ..WatchOptions::default() };
    let task = tokio::spawn(follow::<Pod, _>(
        Api::namespaced(client, "shop"),
        options,
        source,
        sink,
        status.clone(),
    ));
    (server, Changes { receiver, task }, status)
}
