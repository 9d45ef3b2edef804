//! I3: the epoch only grows, whatever tells of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::super::Feed;
use super::replicas::slice_of;
use super::{driver, hear, led, led_alone, listed, readiness, server, source};
use crate::kinds::fixtures::{decode, merge, pod, with};
use crate::watch::Change;

fn epoch(object: &Value) -> u64 {
    object["metadata"]["annotations"]["zen-lead.io/epoch"].as_str().unwrap().parse().unwrap()
}

/// Another replica's later term was taken back before we saw the slice; what it wrote beside it still tells of it.
#[tokio::test(start_paused = true)]
async fn i3_a_term_that_only_the_leader_service_or_the_second_slice_tells_of_is_gone_beyond() {
    for of_service in [true, false] {
        let server = server(9);
        let mut driver = driver(&server);
        driver.lists[0].slices.is_complete = true;
        let families = json!({
            "spec": { "ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.96.0.9", "fd00::9"] },
        });
        for change in listed(vec![decode(source(&families))]) {
            driver.told(Feed::Services(0, change));
        }
        let successor = pod(&json!({ "metadata": { "name": "orders-1", "uid": "a1" } }));
        for change in listed(vec![pod(&json!({ "metadata": { "resourceVersion": "100" } })), successor]) {
            driver.told(Feed::Pods(0, change));
        }
        hear(&mut driver).await;
        let second = server
            .slices
            .lock()
            .unwrap()
            .iter()
            .map(|(_, slice)| slice.clone())
            .rfind(|slice| slice["addressType"] == "IPv6");
        let mut beside = if of_service { server.stored.lock().unwrap().0.clone() } else { second.unwrap() };
        let later = epoch(&beside) + 1_000;
        merge(
            &mut beside,
            &json!({ "metadata": {
            "resourceVersion": "2000", "annotations": { "zen-lead.io/epoch": later.to_string() },
        } }),
        );
        driver.told(if of_service {
            Feed::Services(0, Change::Applied(decode(beside)))
        } else {
            Feed::Slices(0, Change::Applied(decode(beside)))
        });
        driver.told(readiness("orders-0", "a0", "2001", "False"));
        hear(&mut driver).await;
        let slices = server.slices.lock().unwrap();
        let (_, moved) = slices.iter().rfind(|(_, slice)| slice["addressType"] == "IPv4").unwrap();
        assert_eq!(moved["endpoints"][0]["targetRef"]["name"], "orders-1", "{of_service}");
        assert_eq!(epoch(moved), later + 1, "{of_service}");
    }
}

/// A Service that was made anew while nobody looked: what its former life's objects record is lost when they go.
#[tokio::test(start_paused = true)]
async fn i3_the_epoch_goes_on_when_a_former_services_objects_are_replaced() {
    let (server, former) = led_alone().await;
    let ahead = (former.clock.now().as_secs() + 1_000).to_string();
    let of_former = |mut object: Value| {
        object["metadata"]["annotations"]["zen-lead.io/epoch"] = json!(ahead);
        object["metadata"]["ownerReferences"][0]["uid"] = json!("of-a-former-one");
        object
    };
    let slice = of_former(slice_of(&server, 1));
    let leader_service = of_former(server.stored.lock().unwrap().0.clone());
    drop(former);
    for (slices, services) in [(vec![slice], vec![]), (vec![], vec![leader_service])] {
        let mut driver = driver(&server);
        *server.source.lock().unwrap() = Some(source(&json!({})));
        for change in listed(slices.into_iter().map(decode).collect()) {
            driver.told(Feed::Slices(0, change));
        }
        let services = services.into_iter().chain([source(&json!({}))]).map(decode);
        for change in listed(services.collect()) {
            driver.told(Feed::Services(0, change));
        }
        for change in listed(vec![pod(&json!({}))]) {
            driver.told(Feed::Pods(0, change));
        }
        hear(&mut driver).await;
        let written = server.slices.lock().unwrap().last().unwrap().1.clone();
        let epoch = written["metadata"]["annotations"]["zen-lead.io/epoch"].as_str().unwrap();
        assert!(epoch.parse::<u64>().unwrap() > ahead.parse().unwrap(), "{epoch} after {ahead}");
    }
}

/// A replica that saw nothing for a while finds another slice than it knew, in the same term: it cannot know what came
/// between, nor whether somebody took that back.
#[tokio::test(start_paused = true)]
async fn i3_the_epoch_starts_at_the_clock_after_a_slice_whose_making_was_not_seen() {
    let server = server(9);
    let mut driver = driver(&server);
    led(&mut driver).await;
    let known = server.slices.lock().unwrap().last().unwrap().1.clone();
    advance(Duration::from_secs(100)).await;
    let anew = with(known.clone(), &json!({ "metadata": { "uid": "anew", "resourceVersion": "2000" } }));
    for change in listed(vec![decode(anew)]) {
        driver.told(Feed::Slices(0, change));
    }
    hear(&mut driver).await;
    driver.told(readiness("orders-0", "a0", "2001", "False"));
    hear(&mut driver).await;
    let slices = server.slices.lock().unwrap();
    let (sent, moved) = slices.last().unwrap();
    assert_eq!(sent["metadata"]["uid"], "anew", "nothing else is written: {sent}");
    assert_eq!(moved["endpoints"][0]["targetRef"]["name"], "orders-1");
    assert!(epoch(moved) >= epoch(&known) + 100, "{} after {}", epoch(moved), epoch(&known));
}

/// The slice alone cannot show that somebody took it back while nobody looked.
#[tokio::test(start_paused = true)]
async fn i3_the_epoch_starts_at_the_clock_after_a_slice_that_nothing_confirms() {
    for is_confirmed in [true, false] {
        let (server, former) = led_alone().await;
        drop(former);
        let known = slice_of(&server, 1);
        let leader_service = Some(server.stored.lock().unwrap().0.clone()).filter(|_| is_confirmed);
        let mut driver = driver(&server);
        for change in listed(vec![decode(known.clone())]) {
            driver.told(Feed::Slices(0, change));
        }
        let services = leader_service.into_iter().chain([source(&json!({}))]).map(decode);
        for change in listed(services.collect()) {
            driver.told(Feed::Services(0, change));
        }
        let successor = pod(&json!({ "metadata": { "name": "orders-1", "uid": "a1" } }));
        for change in listed(vec![pod(&json!({})), successor]) {
            driver.told(Feed::Pods(0, change));
        }
        hear(&mut driver).await;
        advance(Duration::from_secs(100)).await;
        driver.told(readiness("orders-0", "a0", "2001", "False"));
        hear(&mut driver).await;
        let slices = server.slices.lock().unwrap();
        let (_, moved) = slices.last().unwrap();
        assert_eq!(moved["endpoints"][0]["targetRef"]["name"], "orders-1");
        assert_eq!(
            epoch(moved) == epoch(&known) + 1,
            is_confirmed,
            "{} after {}",
            epoch(moved),
            epoch(&known)
        );
        assert!(is_confirmed || epoch(moved) >= epoch(&known) + 100);
    }
}
