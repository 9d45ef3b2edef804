//! A replica that does not act first.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance, timeout};

use super::super::{Driver, Feed};
use super::{Server, driver, hear, led_alone, listed, readiness, server};
use crate::kinds::fixtures::{decode, merge, pod, service};
use crate::lease::Tenure;
use crate::watch::Change;

/// The loss of `orders-0`, with `orders-1` to follow.
pub(super) async fn second_replica_with_a_loss() -> (Arc<Server>, Driver, usize) {
    let server = server(9);
    let mut driver = driver(&server);
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    let second = pod(&json!({ "metadata": { "name": "orders-1", "uid": "a1" } }));
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(vec![pod(&json!({ "metadata": { "resourceVersion": "100" } })), second]) {
        driver.told(Feed::Pods(0, change));
    }
    hear(&mut driver).await;
    driver.told(Feed::Lease(Tenure::Over));
    let written = server.slices.lock().unwrap().len();
    let lost = pod(&json!({
        "metadata": { "resourceVersion": "2000" },
        "status": { "conditions": [{ "type": "Ready", "status": "False" }] },
    }));
    driver.told(Feed::Pods(0, Change::Applied(lost)));
    (server, driver, written)
}

pub(super) fn slice_of(server: &Server, place: usize) -> Value {
    server.slices.lock().unwrap()[place].1.clone()
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_first_writes_when_the_first_was_given_its_chance() {
    let (server, mut driver, before) = second_replica_with_a_loss().await;
    let written = |server: &Server| server.slices.lock().unwrap().len() - before;
    advance(Duration::from_millis(90)).await;
    assert!(timeout(Duration::from_millis(1), driver.held.is_due()).await.is_err());
    assert_eq!(written(&server), 0);
    driver.held.is_due().await;
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(written(&server), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_seen_to_be_done_is_not_written_again() {
    let (server, mut driver, before) = second_replica_with_a_loss().await;
    // The first replica's write, as the watch shows it: the next term, of another leader.
    let mut slice = slice_of(&server, before - 1);
    slice["metadata"]["resourceVersion"] = json!("3000");
    let annotations = &mut slice["metadata"]["annotations"];
    let epoch: u64 = annotations["zen-lead.io/epoch"].as_str().unwrap().parse().unwrap();
    merge(
        annotations,
        &json!({
            "zen-lead.io/epoch": (epoch + 1).to_string(),
            "zen-lead.io/leader-pod-name": "orders-1",
            "zen-lead.io/leader-pod-uid": "a1",
            "zen-lead.io/term-by": "zen-lead-1",
        }),
    );
    slice["endpoints"][0]["targetRef"]["name"] = json!("orders-1");
    slice["endpoints"][0]["targetRef"]["uid"] = json!("a1");
    driver.told(Feed::Slices(0, Change::Applied(serde_json::from_value(slice).unwrap())));
    hear(&mut driver).await;
    advance(Duration::from_secs(5)).await;
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(server.slices.lock().unwrap().len(), before, "nothing more to write");
    let managed = driver.world.namespaces["shop"].managed.values().next().unwrap();
    assert_eq!(managed.election.state().pod().map(machine::Pod::name), Some("orders-1"));
}

/// While the first is seen to work through many, the others wait for their turn, half a second at most.
#[tokio::test(start_paused = true)]
async fn progress_of_others_is_waited_for_and_not_for_ever() {
    let (server, mut driver, before) = second_replica_with_a_loss().await;
    let begun = tokio::time::Instant::now();
    for _ in 0..4 {
        advance(Duration::from_millis(90)).await;
        driver.held.progressed();
        assert!(timeout(Duration::from_millis(1), driver.held.is_due()).await.is_err());
    }
    advance(Duration::from_millis(90)).await;
    driver.held.progressed();
    driver.held.is_due().await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(450) && waited <= Duration::from_millis(501), "{waited:?}");
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(server.slices.lock().unwrap().len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn who_becomes_first_waits_for_nobody() {
    let (server, mut driver, before) = second_replica_with_a_loss().await;
    driver.told(Feed::Lease(Tenure::Unlimited));
    hear(&mut driver).await;
    assert_eq!(server.slices.lock().unwrap().len(), before + 1);
}

/// It was stopped, and goes on before it has asked whose the Lease is by now.
#[tokio::test(start_paused = true)]
async fn whoever_stood_still_does_not_act_first_any_more() {
    for (stood_still, at_once) in [(5, 1), (7, 0)] {
        let (server, mut driver, _) = second_replica_with_a_loss().await;
        driver.told(Feed::Lease(Tenure::Until(Instant::now() + Duration::from_secs(6))));
        hear(&mut driver).await;
        let before = server.slices.lock().unwrap().len();
        advance(Duration::from_secs(stood_still)).await;
        driver.told(readiness("orders-1", "a1", "3000", "False"));
        driver.told(readiness("orders-0", "a0", "3001", "True"));
        hear(&mut driver).await;
        assert_eq!(server.slices.lock().unwrap().len() - before, at_once, "after {stood_still} s");
    }
}

/// A failover that began while this one was not first is over its budget, and nobody else tells so any more.
#[tokio::test(start_paused = true)]
async fn who_becomes_first_tells_of_what_takes_too_long_already() {
    let (server, mut driver, _) = second_replica_with_a_loss().await;
    server.is_away.store(true, SeqCst);
    advance(Duration::from_secs(6)).await;
    driver.ring();
    hear(&mut driver).await;
    let told = || server.reasons.lock().unwrap().iter().filter(|reason| *reason == "BudgetExceeded").count();
    driver.told(Feed::Lease(Tenure::Unlimited));
    driver.ring();
    server.is_away.store(false, SeqCst);
    hear(&mut driver).await;
    assert_eq!(told(), 1);
    advance(Duration::from_secs(6)).await;
    driver.ring();
    hear(&mut driver).await;
    assert_eq!(told(), 1, "once");
}

/// Each would put back what the other has mirrored, for ever.
#[tokio::test(start_paused = true)]
async fn who_is_no_longer_first_leaves_alone_what_another_one_mirrors() {
    let server = server(99);
    let mut driver = driver(&server);
    super::led(&mut driver).await;
    hear(&mut driver).await;
    driver.told(Feed::Lease(Tenure::Over));
    let mut leader_service = server.stored.lock().unwrap().0.clone();
    merge(
        &mut leader_service,
        &json!({
            "metadata": {
                "resourceVersion": "5000",
                "annotations": {
                    "zen-lead.io/leader-pod-name": "orders-1", "zen-lead.io/leader-pod-uid": "a1",
                    "zen-lead.io/current-leader": "orders-1",
                },
            },
        }),
    );
    let before = server.tries.load(std::sync::atomic::Ordering::SeqCst);
    driver.told(Feed::Services(0, Change::Applied(serde_json::from_value(leader_service).unwrap())));
    advance(Duration::from_secs(5)).await;
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(server.tries.load(std::sync::atomic::Ordering::SeqCst), before);
}

/// What was written of the authority slice, after so many writes.
fn endpoints(server: &Server, after: usize) -> Vec<Value> {
    let slices = server.slices.lock().unwrap();
    let authority = slices[after..].iter().filter(|(sent, _)| sent["addressType"] == "IPv4");
    authority.map(|(sent, _)| sent["endpoints"].clone()).collect()
}

/// I6: what would leave nobody in the slice is not sent once somebody is seen to be able to lead, whether it waits for
/// another replica or only for what the watch has told already.
#[tokio::test(start_paused = true)]
async fn i6_a_withdrawal_that_waits_is_not_sent_once_somebody_can_lead() {
    for acts_first in [true, false] {
        let (server, mut driver) = led_alone().await;
        driver.told(Feed::Lease(if acts_first { Tenure::Unlimited } else { Tenure::Over }));
        let before = server.slices.lock().unwrap().len();
        driver.told(readiness("orders-0", "a0", "2000", "False"));
        driver.told(readiness("orders-0", "a0", "2001", "True"));
        for _ in 0..3 {
            hear(&mut driver).await;
            advance(Duration::from_millis(200)).await;
        }
        let written = endpoints(&server, before);
        assert_eq!(written.len(), 1, "{acts_first}: {written:?}");
        assert_eq!(written[0][0]["targetRef"]["name"], "orders-0", "{acts_first}");
    }
}

/// But nobody waits for a leader that may never come.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_sent_once_all_is_heard() {
    let (server, mut driver) = led_alone().await;
    let before = server.slices.lock().unwrap().len();
    driver.told(readiness("orders-0", "a0", "2000", "False"));
    timeout(Duration::from_millis(1), driver.held.is_due()).await.unwrap();
    hear(&mut driver).await;
    assert_eq!(endpoints(&server, before), [json!([])]);
}

/// Two that mirror what each of them knew when it acted first would never end.
#[tokio::test(start_paused = true)]
async fn i8_who_no_longer_acts_first_leaves_the_mirror_to_who_does() {
    let (server, mut driver, _) = second_replica_with_a_loss().await;
    let mut told = server.stored.lock().unwrap().0.clone();
    assert_eq!(
        told["metadata"]["annotations"]["zen-lead.io/current-leader"], "orders-0",
        "mirrored while first"
    );
    let others = json!({
        "metadata": {
            "resourceVersion": "5000",
            "annotations": { "zen-lead.io/current-leader": "orders-1", "zen-lead.io/leader-pod-name": "orders-1" },
        },
    });
    merge(&mut told, &others);
    server.stored.lock().unwrap().0 = told.clone();
    driver.told(Feed::Services(0, Change::Applied(decode(told))));
    hear(&mut driver).await;
    advance(Duration::from_secs(1)).await;
    driver.release_due();
    hear(&mut driver).await;
    assert_eq!(server.told(), "orders-1");

    // First again, it says what it knows itself.
    driver.told(Feed::Lease(Tenure::Unlimited));
    hear(&mut driver).await;
    let leader =
        driver.world.namespaces["shop"].managed.values().next().unwrap().election.state().pod().cloned();
    assert_eq!(server.told(), leader.unwrap().name());
}
