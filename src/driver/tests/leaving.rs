//! Whoever leaves removes what is its own, and nothing else.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::json;
use tokio::time::advance;

use super::super::Feed;
use super::replicas::slice_of;
use super::{driver, hear, led_alone, listed, server, source};
use crate::kinds::fixtures::{decode, merge, service, with};
use crate::watch::Change;

/// What is tended no more must not be due for ever: the driver would do nothing else.
#[tokio::test(start_paused = true)]
async fn i7_whoever_leaves_while_the_server_is_away_waits_for_its_removal_only() {
    let server = server(100);
    let mut driver = driver(&server);
    let source = |opted_in: &str, version: &str| {
        service(&json!({
            "metadata": { "annotations": { "zen-lead.io/enabled": opted_in }, "resourceVersion": version },
            "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] },
        }))
    };
    driver.lists[0].pods.is_complete = true;
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source("true", "7")]) {
        driver.told(Feed::Services(0, change));
    }
    hear(&mut driver).await;
    // Kubernetes will have made a slice for it, which is looked for again after a while.
    let mut selecting = server.stored.lock().unwrap().0.clone();
    merge(
        &mut selecting,
        &json!({ "metadata": { "resourceVersion": "5000" }, "spec": { "selector": { "app": "x" } } }),
    );
    server.is_away.store(true, SeqCst);
    driver.told(Feed::Services(0, Change::Applied(decode(selecting))));
    driver.told(Feed::Services(0, Change::Applied(source("false", "5001"))));
    hear(&mut driver).await;
    for _ in 0..20 {
        advance(Duration::from_secs(3)).await;
        driver.ring();
        hear(&mut driver).await;
        let next = driver.alarms.peek().map(|alarm| alarm.0.0);
        assert!(next.is_some_and(|next| next > driver.clock.now()), "{next:?}");
    }
}

/// A Service was made anew, and another replica, which knows it already, has made its objects: the former one's removal
/// is not theirs.
#[tokio::test(start_paused = true)]
async fn i4_whoever_leaves_does_not_delete_what_the_next_one_was_given() {
    let (server, mut driver) = led_alone().await;
    let source = decode(source(&json!({})));
    let mut of_next = slice_of(&server, 1);
    let mut service_of_next = server.stored.lock().unwrap().0.clone();
    for object in [&mut of_next, &mut service_of_next] {
        object["metadata"]["ownerReferences"][0]["uid"] = json!("of-the-next");
        merge(object, &json!({ "metadata": { "uid": "new", "resourceVersion": "9000" } }));
    }
    // The removal cannot be over while the server is away.
    server.is_away.store(true, SeqCst);
    driver.told(Feed::Services(0, Change::Deleted(source)));
    driver.told(Feed::Slices(0, Change::Applied(decode(of_next))));
    driver.told(Feed::Services(0, Change::Applied(decode(service_of_next))));
    server.is_away.store(false, SeqCst);
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 2, "the former slice and leader Service, each by its own UID");
}

/// The view of Services lags: by now the Service has opted in again, and what there is is another replica's work.
#[tokio::test(start_paused = true)]
async fn i4_what_the_service_asks_for_by_now_is_not_removed() {
    let (server, mut driver) = led_alone().await;
    let again = source(&json!({ "metadata": { "resourceVersion": "9001" } }));
    *server.source.lock().unwrap() = Some(again.clone());
    let out = json!({ "metadata": { "resourceVersion": "9000", "annotations": { "zen-lead.io/enabled": "false" } } });
    driver.told(Feed::Services(0, Change::Applied(decode(source(&out)))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0);
    driver.told(Feed::Services(0, Change::Applied(decode(again))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0);
    let managed = driver.world.namespaces["shop"].managed.values().next().unwrap();
    assert_eq!(
        managed.election.state().pod().map(machine::Pod::name),
        Some("orders-0"),
        "taken over as it stands"
    );
}

/// The view of Services lags that of slices: the foreign leader Service is no more, and the slice was made since.
#[tokio::test(start_paused = true)]
async fn i4_what_feeds_no_foreign_service_any_more_is_not_removed() {
    for is_there in [true, false] {
        let (server, mut driver) = led_alone().await;
        let over = json!({
            "metadata": {
                "uid": "foreign", "resourceVersion": "9000", "annotations": { "zen-lead.io/instance": "others/zen-lead" },
            },
        });
        let foreign = with(server.stored.lock().unwrap().0.clone(), &over);
        if is_there {
            server.stored.lock().unwrap().0 = foreign.clone();
        }
        driver.told(Feed::Services(0, Change::Applied(decode(foreign))));
        hear(&mut driver).await;
        assert_eq!(server.deletions.load(SeqCst), usize::from(is_there), "{is_there}");
    }
}

/// The view of Services lags: the owner that it does not know is not a former one but the present one.
#[tokio::test(start_paused = true)]
async fn i4_what_a_service_made_anew_owns_is_not_taken_for_a_leftover() {
    for (owner, deletions) in [("of-the-next", 0), ("of-a-former-one", 1)] {
        let (server, mut driver) = led_alone().await;
        let known = source(&json!({}))["metadata"]["uid"].clone();
        let is_next = owner == "of-the-next";
        let uid = if is_next { json!(owner) } else { known };
        *server.source.lock().unwrap() = Some(source(&json!({ "metadata": { "uid": uid } })));
        let mut slice = slice_of(&server, 1);
        slice["metadata"]["ownerReferences"][0]["uid"] = json!(owner);
        merge(&mut slice, &json!({ "metadata": { "uid": "new", "resourceVersion": "9000" } }));
        driver.told(Feed::Slices(0, Change::Applied(decode(slice))));
        hear(&mut driver).await;
        assert_eq!(server.deletions.load(SeqCst), deletions, "{owner}");
    }
}

/// Somebody took our label from the slice and changed it: no watch shows it any more.
#[tokio::test(start_paused = true)]
async fn i8_a_slice_that_no_watch_shows_is_read_before_its_removal_is_tried_again() {
    let (server, mut driver) = led_alone().await;
    let foreign = json!({ "metadata": { "uid": "foreign", "resourceVersion": "9000", "annotations": { "zen-lead.io/instance": "others/zen-lead" } } });
    let foreign = with(server.stored.lock().unwrap().0.clone(), &foreign);
    server.stored.lock().unwrap().0 = foreign.clone();
    let over = json!({ "metadata": { "resourceVersion": "9001", "labels": null } });
    *server.unseen.lock().unwrap() = Some(with(slice_of(&server, 1), &over));
    driver.told(Feed::Services(0, Change::Applied(decode(foreign))));
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 0, "it was decided on what has changed since");
    advance(Duration::from_mins(1)).await;
    driver.ring();
    hear(&mut driver).await;
    assert_eq!(server.deletions.load(SeqCst), 1);
}
