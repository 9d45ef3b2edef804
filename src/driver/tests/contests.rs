//! Another writer that keeps undoing what is written of the leader Service.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::{Driver, Server, driver, hear, led, server};
use crate::driver::Feed;
use crate::kinds::ServiceLite;
use crate::kinds::fixtures::{decode, merge, with};
use crate::names::FIELD_MANAGER;
use crate::watch::Change;

/// What another writer does about the leader Service as it stands.
type Undo = fn(Value) -> Change<ServiceLite>;

/// It says another leader.
fn told_otherwise(mut service: Value) -> Change<ServiceLite> {
    merge(&mut service["metadata"]["annotations"], &json!({ "zen-lead.io/current-leader": "orders-1" }));
    Change::Applied(decode(service))
}

/// It prunes what it does not know.
fn pruned(service: Value) -> Change<ServiceLite> {
    Change::Deleted(decode(service))
}

/// It labels the leader Service in its own way, which is nobody's concern.
fn labelled(mut service: Value) -> Change<ServiceLite> {
    merge(&mut service["metadata"]["labels"], &json!({ "example.org/team": "shop" }));
    Change::Applied(decode(service))
}

/// Has this writer do it, as the watch tells; in which version.
fn undo_as(by: &str, undo: Undo, server: &Server, driver: &mut Driver) -> u64 {
    let (undone, version) = {
        let (stored, version) = &mut *server.stored.lock().unwrap();
        *version += 1;
        let over = json!({ "metadata": {
            "resourceVersion": version.to_string(),
            "managedFields": [{ "manager": by, "time": "2025-11-20T10:00:00Z" }],
        } });
        (with(stored.clone(), &over), *version)
    };
    driver.told(Feed::Services(0, undo(undone)));
    version
}

/// `orders` with its leader, and another writer of this name that undoes within milliseconds what is written of its leader
/// Service; after how many milliseconds it was written again each time, for a minute.
async fn contested(by: &str, undo: Undo) -> (Arc<Server>, Vec<u128>) {
    let server = server(10_000);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let begun = Instant::now();
    let mut written = Vec::new();
    let mut undone = undo_as(by, undo, &server, &mut driver);
    while begun.elapsed() < Duration::from_mins(1) {
        hear(&mut driver).await;
        let stored = server.stored.lock().unwrap().0["metadata"]["resourceVersion"].clone();
        if stored.as_str().unwrap().parse::<u64>().unwrap() > undone {
            written.push(begun.elapsed().as_millis());
            undone = undo_as(by, undo, &server, &mut driver);
        } else {
            advance(Duration::from_millis(10)).await;
            driver.ring();
        }
    }
    (server, written)
}

fn told(server: &Server) -> usize {
    server.reasons.lock().unwrap().iter().filter(|reason| *reason == "PublicationContested").count()
}

/// The Go zen-lead, for one, goes on for as long as it disagrees; and a program that prunes deletes what it did not make.
#[tokio::test(start_paused = true)]
async fn a_leader_service_that_another_writer_keeps_undoing_is_written_ever_more_seldom() {
    for undo in [told_otherwise as Undo, pruned] {
        let (server, written) = contested("kustomize-controller", undo).await;
        // At once, at once, after 1, 2, 4, 8 and 16 s; after 30 s the minute is over.
        let [at_once, again, rest @ ..] = &*written else { panic!("{written:?}") };
        assert!(*at_once < 100 && *again < 200, "{written:?}");
        for (after, at) in [1, 3, 7, 15, 31].into_iter().zip(rest) {
            assert!((after * 1_000..after * 1_000 + 900).contains(at), "{written:?}");
        }
        assert_eq!(rest.len(), 5, "{written:?}");
        assert_eq!(told(&server), 1, "people are told, once");
    }
}

#[tokio::test(start_paused = true)]
async fn what_our_own_replicas_mirror_and_what_is_nobodys_concern_is_no_contest() {
    let (server, written) = contested(FIELD_MANAGER, told_otherwise).await;
    assert_eq!(told(&server), 0);
    assert!(written.len() > 50, "mirrored again each time: {}", written.len());

    let mut driver = driver(&server);
    led(&mut driver).await;
    for _ in 0..5 {
        undo_as("kustomize-controller", labelled, &server, &mut driver);
        hear(&mut driver).await;
    }
    assert_eq!(told(&server), 0);
}
