//! Another writer that keeps undoing what is written of the leader Service.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use super::{Driver, Server, driver, hear, led, server};
use crate::driver::Feed;
use crate::kinds::fixtures::{decode, merge};
use crate::names::FIELD_MANAGER;
use crate::watch::Change;

/// What another writer does about the leader Service as it stands.
type Undo = fn(Value) -> Change<crate::kinds::ServiceLite>;

/// It says another leader.
fn told_otherwise(mut service: Value) -> Change<crate::kinds::ServiceLite> {
    merge(&mut service["metadata"]["annotations"], &json!({ "zen-lead.io/current-leader": "orders-1" }));
    Change::Applied(decode(service))
}

/// It prunes what it does not know.
fn pruned(service: Value) -> Change<crate::kinds::ServiceLite> {
    Change::Deleted(decode(service))
}

/// It labels the leader Service in its own way, which is nobody's concern.
fn labelled(mut service: Value) -> Change<crate::kinds::ServiceLite> {
    merge(&mut service["metadata"]["labels"], &json!({ "example.org/team": "shop" }));
    Change::Applied(decode(service))
}

/// `orders` with its leader, and another writer of this name that undoes within milliseconds what is written of its leader
/// Service; after how many milliseconds it was written again each time, for a minute.
async fn contested(by: &str, undo: Undo) -> (Arc<Server>, Driver, Vec<u128>) {
    let server = server(10_000);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let begun = Instant::now();
    let mut written = Vec::new();
    while begun.elapsed() < Duration::from_mins(1) {
        let version = {
            let (stored, version) = &mut *server.stored.lock().unwrap();
            *version += 1;
            let (version, mut undone) = (*version, stored.clone());
            merge(
                &mut undone,
                &json!({ "metadata": {
                    "resourceVersion": version.to_string(),
                    "managedFields": [{ "manager": by, "time": "2025-11-20T10:00:00Z" }],
                } }),
            );
            let undone = undo(undone);
            driver.told(Feed::Services(0, undone));
            version
        };
        let is_written = || {
            let written = server.stored.lock().unwrap().0["metadata"]["resourceVersion"].clone();
            written.as_str().unwrap().parse::<u64>().unwrap() > version
        };
        hear(&mut driver).await;
        while !is_written() && begun.elapsed() < Duration::from_mins(1) {
            advance(Duration::from_millis(10)).await;
            driver.ring();
            hear(&mut driver).await;
        }
        if !is_written() {
            break;
        }
        written.push(begun.elapsed().as_millis());
    }
    (server, driver, written)
}

fn told(server: &Server) -> usize {
    server.reasons.lock().unwrap().iter().filter(|reason| *reason == "PublicationContested").count()
}

/// The Go zen-lead, for one, goes on for as long as it disagrees; and a program that prunes deletes what it did not make.
#[tokio::test(start_paused = true)]
async fn a_leader_service_that_another_writer_keeps_undoing_is_written_ever_more_seldom() {
    for undo in [told_otherwise as Undo, pruned] {
        let (server, _driver, written) = contested("kustomize-controller", undo).await;
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
    let (server, _driver, written) = contested(FIELD_MANAGER, told_otherwise).await;
    assert_eq!(told(&server), 0);
    assert!(written.len() > 50, "mirrored again each time: {}", written.len());
    let (server, _driver, written) = contested("kustomize-controller", labelled).await;
    assert_eq!((told(&server), written), (0, Vec::new()));
}
