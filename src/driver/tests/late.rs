//! Watches that are behind what answers have told, and lists that follow a watch which ended before it showed our last
//! writes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Driver, Server, driver, hear, led, server};
use crate::driver::Feed;
use crate::kinds::fixtures::{decode, service, with};
use crate::managed::Key;
use crate::watch::Change;

/// `orders` with its leader, and lists of this version that have none of our objects.
async fn listed_without_ours(version: u64) -> (Arc<Server>, Driver) {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    assert!(server.stored.lock().unwrap().0["metadata"]["name"] == "orders-leader");
    server.stored.lock().unwrap().0 = json!({});
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

    driver.told(Feed::Slices(0, Change::Applied(decode(created.clone()))));
    driver.told(Feed::Slices(0, Change::Deleted(decode(created))));
    hear(&mut driver).await;
    assert_eq!(server.slices.lock().unwrap().len(), slices.len(), "nothing is written");
}
