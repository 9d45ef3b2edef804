//! Watches that are behind what answers have told, and lists that follow a watch which ended before it showed our last
//! writes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use machine::Version;
use serde_json::{Value, json};
use tokio::time::advance;

use super::{Driver, Server, driver, hear, led, led_by, server};
use crate::apply::Reply;
use crate::driver::Feed;
use crate::kinds::fixtures::{decode, merge, pod, service, with};
use crate::managed::Key;
use crate::watch::Change;

/// `orders` with its leader, and lists of this version that have none of our objects.
async fn listed_without_ours(version: u64) -> (Arc<Server>, Driver) {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    assert!(server.stored.lock().unwrap().0["metadata"]["name"] == "orders-leader");
    {
        let mut stored = server.stored.lock().unwrap();
        // What is made after a list has a higher version than it.
        *stored = (json!({}), stored.1.max(version));
    }
    server.slices.lock().unwrap().clear();
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let listed = Change::Listed { version, restored: false };
    for change in [Change::Relisting, Change::Page(vec![source]), listed] {
        driver.told(Feed::Services(0, change));
    }
    for change in [Change::Relisting, Change::Listed { version, restored: false }] {
        driver.told(Feed::Slices(0, change));
    }
    hear(&mut driver).await;
    (server, driver)
}

#[tokio::test(start_paused = true)]
async fn i7_what_a_newer_list_lacks_is_no_more_although_no_watch_has_shown_it() {
    let (server, _driver) = listed_without_ours(2_000).await;
    assert_eq!(server.stored.lock().unwrap().0["metadata"]["name"], "orders-leader", "it is made anew");
    let slices = server.slices.lock().unwrap();
    assert_eq!(
        slices.first().unwrap().0["metadata"]["resourceVersion"],
        Value::Null,
        "made anew: {slices:?}"
    );
    assert_eq!(slices.last().unwrap().0["endpoints"][0]["targetRef"]["name"], "orders-0");
}

#[tokio::test(start_paused = true)]
async fn what_an_older_list_lacks_was_made_since() {
    let (server, _driver) = listed_without_ours(500).await;
    assert_eq!(server.stored.lock().unwrap().0, json!({}));
    assert_eq!(*server.slices.lock().unwrap(), []);
}

/// Another installation has taken the slice, which a read has told; the watch comes to how it was before.
#[tokio::test(start_paused = true)]
async fn i10_how_a_slice_was_before_it_was_taken_is_no_news() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let slices = server.slices.lock().unwrap().clone();
    let (created, published) = (slices[0].1.clone(), slices[1].1.clone());
    let taken = json!({
        "metadata": { "resourceVersion": "2000", "annotations": { "zen-lead.io/instance": "others/zen-lead" } },
    });
    let taken = decode(with(published, &taken));
    let key = Key { namespace: "shop".into(), name: "orders".into() };
    driver.with(&key, |managed, cx, out| managed.slice_seen(&taken, cx, out));
    hear(&mut driver).await;
    assert_eq!(server.reasons.lock().unwrap().last().unwrap(), "LeaderServiceConflict");

    let former = decode(created);
    driver.with(&key, |managed, cx, out| managed.slice_seen(&former, cx, out));
    driver.with(&key, |managed, cx, out| managed.slice_gone("orders-leader", Version(1_999), cx, out));
    hear(&mut driver).await;
    assert_eq!(server.slices.lock().unwrap().len(), slices.len(), "nothing is written");
}

/// A read has told of a pod that the list, made before, does not know yet; or of one that it no longer knows.
#[tokio::test(start_paused = true)]
async fn i10_a_pod_that_was_read_is_not_gone_because_an_older_list_lacks_it() {
    for (list, restored, is_there) in [(1_900, false, true), (2_000, false, false), (1_900, true, false)] {
        let server = server(100);
        let mut driver = driver(&server);
        led(&mut driver).await;
        let key = Key { namespace: "shop".into(), name: "orders".into() };
        let read = pod(&json!({ "metadata": { "resourceVersion": "2000" } }));
        driver.confirmed(&key, "orders-0", "a0", &Ok(Reply::Pod(Box::new(read))));
        for change in [Change::Relisting, Change::Listed { version: list, restored }] {
            driver.told(Feed::Pods(0, change));
        }
        hear(&mut driver).await;
        let pods = &driver.world.namespaces["shop"].pods;
        assert_eq!(pods.contains_key("orders-0"), is_there, "list {list}, restored: {restored}");
        assert!(!pods.contains_key("orders-1"), "known in an older version than the list's");
        let led = driver.managed(&key).unwrap().election.state().pod().map(|pod| pod.name().to_owned());
        assert_eq!(led.as_deref(), is_there.then_some("orders-0"));
    }
}

/// The leader Service was deleted and made anew, which an answer has told; the watch comes to how the former one was.
#[tokio::test(start_paused = true)]
async fn i10_how_a_former_leader_service_was_is_no_news() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let mut former = server.stored.lock().unwrap().0.clone();
    let other = json!({
        "metadata": {
            "uid": "former", "resourceVersion": "500", "annotations": { "zen-lead.io/current-leader": "orders-1" },
        },
    });
    merge(&mut former, &other);
    let former = decode(former);
    let key = Key { namespace: "shop".into(), name: "orders".into() };
    let tries = server.tries.load(SeqCst);
    driver.with(&key, |managed, cx, out| managed.service_seen(Some(&former), cx, out));
    hear(&mut driver).await;
    assert_eq!(server.tries.load(SeqCst), tries, "nothing is written to what is no more");
}

/// The leader Service is deleted while a write of it is on its way back: the answer is older than that.
#[tokio::test(start_paused = true)]
async fn i7_a_leader_service_that_is_gone_is_made_anew_although_an_older_answer_tells_of_it() {
    let server = server(0);
    let mut driver = led_by(&server).await;
    let label = json!({ "metadata": { "labels": { "life": "former" } } });
    merge(&mut server.stored.lock().unwrap().0, &label);
    let former = server.stored.lock().unwrap().0.clone();
    assert_eq!(
        former["metadata"]["annotations"]["zen-lead.io/current-leader"],
        Value::Null,
        "its write waits"
    );
    let deleted = with(former, &json!({ "metadata": { "resourceVersion": "9000" } }));
    driver.told(Feed::Services(0, Change::Deleted(decode(deleted))));
    server.patches.add_permits(9);
    hear(&mut driver).await;
    advance(Duration::from_millis(100)).await;
    driver.ring();
    hear(&mut driver).await;
    assert_eq!(server.stored.lock().unwrap().0["metadata"]["labels"]["life"], Value::Null, "made anew");
    assert_eq!(server.told(), "orders-0");
}

/// The API server still holds its addresses, one of them perhaps a moment longer than the other.
#[tokio::test(start_paused = true)]
async fn a_leader_service_that_had_addresses_is_made_anew_with_them_after_a_moment() {
    let server = server(9);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let over = json!({
        "metadata": { "resourceVersion": "9000", "labels": { "life": "former" } },
        "spec": { "clusterIPs": ["10.96.0.50"] },
    });
    merge(&mut server.stored.lock().unwrap().0, &over);
    let former = server.stored.lock().unwrap().0.clone();
    driver.told(Feed::Services(0, Change::Applied(decode(former.clone()))));
    hear(&mut driver).await;
    driver.told(Feed::Services(0, Change::Deleted(decode(former))));
    hear(&mut driver).await;
    let life = || server.stored.lock().unwrap().0["metadata"]["labels"]["life"].clone();
    assert_eq!(life(), "former", "not at once");
    advance(Duration::from_millis(100)).await;
    driver.ring();
    hear(&mut driver).await;
    assert_eq!(life(), Value::Null);
    assert_eq!(server.stored.lock().unwrap().0["spec"]["clusterIPs"], json!(["10.96.0.50"]));
}
