//! An election that follows another one of the same Service, whose last writes no watch has shown yet.

use machine::Version;
use serde_json::json;

use super::super::{Driver, Feed};
use super::{driver, hear, led, readiness, server};
use crate::kinds::Versioned as _;
use crate::kinds::fixtures::{decode, service, service_json};
use crate::watch::Change;

/// The source Service opts out and in again, after all that these tests tell before.
pub(super) async fn opt_out_and_in(driver: &mut Driver) {
    for (opted_in, version) in [("false", "2001"), ("true", "2002")] {
        let source = service(&json!({
            "metadata": { "annotations": { "zen-lead.io/enabled": opted_in }, "resourceVersion": version },
            "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] },
        }));
        driver.told(Feed::Services(0, Change::Applied(source)));
        hear(driver).await;
    }
}

/// Opted out and in again within the time by which the watches are late: what was made is kept, and taken over.
#[tokio::test(start_paused = true)]
async fn i10_whoever_takes_over_begins_with_what_was_written_last() {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let (_, published) = server.slices.lock().unwrap().last().cloned().unwrap();
    let leader_service = server.stored.lock().unwrap().0.clone();
    driver.told(Feed::Slices(0, Change::Applied(decode(published))));
    driver.told(Feed::Services(0, Change::Applied(decode(leader_service))));
    hear(&mut driver).await;
    driver.told(readiness("orders-0", "a0", "2000", "False"));
    hear(&mut driver).await;
    let written = server.slices.lock().unwrap().len();

    *server.source.lock().unwrap() = Some(service_json());
    opt_out_and_in(&mut driver).await;
    let space = &driver.world.namespaces["shop"];
    assert!(space.managed.contains_key("orders"), "it is opted in again");
    assert_eq!(server.slices.lock().unwrap().len(), written, "nothing is written on what it was before");
    let stored = server.stored.lock().unwrap().0["metadata"]["resourceVersion"].clone();
    let known = space.services.get("orders-leader").unwrap().version();
    assert_eq!(json!(known.0.to_string()), stored);
}

/// The same with watches that have shown none of it; and what they have come past is no more.
#[tokio::test(start_paused = true)]
async fn i10_whoever_takes_over_knows_what_no_watch_has_shown_yet() {
    for (horizon, is_there) in [(100, true), (1_500, false)] {
        let server = server(100);
        let mut driver = driver(&server);
        driver.lists[0].slices.horizon = Version(horizon);
        led(&mut driver).await;
        let written = server.slices.lock().unwrap().clone();
        let slices = &driver.world.namespaces["shop"].slices;
        let known = slices.get("orders-leader").map(|slice| json!(slice.version().0.to_string()));
        let newest = written.last().unwrap().1["metadata"]["resourceVersion"].clone();
        assert_eq!(known, is_there.then_some(newest));
        if !is_there {
            continue;
        }
        *server.source.lock().unwrap() = Some(service_json());
        opt_out_and_in(&mut driver).await;
        assert_eq!(*server.slices.lock().unwrap(), written, "it is taken over as it is");
    }
}
