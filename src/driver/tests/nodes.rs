//! Members on nodes that are lost or back.

use std::sync::Arc;

use machine::Site;
use serde_json::{Value, json};

use super::super::{Driver, Feed};
use super::{Server, driver, hear, listed, server};
use crate::kinds::fixtures::{pod, service};
use crate::kinds::{PodLite, ServiceLite};
use crate::names::LABEL_ZONE;
use crate::nodes::Verdict;
use crate::rows::Ground;
use crate::watch::Change;

/// A Ready pod on a node; the number is its rank.
fn on(node: &str, number: u32) -> PodLite {
    pod(&json!({
        "metadata": {
            "name": format!("orders-{number}"), "uid": format!("a{number}"),
            "creationTimestamp": format!("2025-11-20T08:{number:02}:00Z"),
        },
        "spec": { "nodeName": node },
    }))
}

/// Likewise, and it does not say in which zone.
fn unlabelled(node: &str, number: u32) -> PodLite {
    let mut pod = on(node, number);
    pod.metadata.labels.as_mut().unwrap().remove(LABEL_ZONE);
    pod
}

fn tell(driver: &mut Driver, node: &str, is_lost: bool) {
    stand(driver, node, Ground { is_lost, ..Ground::default() });
}

fn stand(driver: &mut Driver, node: &str, ground: Ground) {
    driver.told(Feed::Node(Verdict { node: node.into(), ground }));
}

/// A source with these pods, listed at once.
async fn begun(driver: &mut Driver, pods: Vec<PodLite>) {
    let source = service(&json!({ "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] } }));
    begun_for(driver, source, pods).await;
}

async fn begun_for(driver: &mut Driver, source: ServiceLite, pods: Vec<PodLite>) {
    driver.lists[0].slices.is_complete = true;
    for change in listed(vec![source]) {
        driver.told(Feed::Services(0, change));
    }
    for change in listed(pods) {
        driver.told(Feed::Pods(0, change));
    }
    hear(driver).await;
}

/// Who was published, one after the other.
fn published(server: &Arc<Server>) -> Vec<Value> {
    let slices = server.slices.lock().unwrap();
    let names = slices.iter().map(|(sent, _)| sent["endpoints"][0]["targetRef"]["name"].clone());
    names.filter(Value::is_string).collect()
}

#[tokio::test(start_paused = true)]
async fn a_leader_on_a_lost_node_is_followed_by_somebody_on_another() {
    let server = server(100);
    let mut driver = driver(&server);
    // The next in rank is on the same node, and is told of before.
    begun(&mut driver, vec![on("n0", 0), on("n0", 1), on("n1", 2)]).await;
    tell(&mut driver, "n0", true);
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-0", "orders-2"]);
    // Back again they may be chosen, but nobody moves for that.
    tell(&mut driver, "n0", false);
    hear(&mut driver).await;
    tell(&mut driver, "n1", true);
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-0", "orders-2", "orders-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_on_a_lost_node_stays_while_nobody_elsewhere_can_follow() {
    let server = server(100);
    let mut driver = driver(&server);
    begun(&mut driver, vec![on("n0", 0), on("n0", 1)]).await;
    tell(&mut driver, "n0", true);
    hear(&mut driver).await;
    // Nor does a pod that comes to that node.
    driver.told(Feed::Pods(0, Change::Applied(on("n0", 2))));
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-0"]);
    driver.told(Feed::Pods(0, Change::Applied(on("n1", 3))));
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-0", "orders-3"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_on_a_lost_node_at_the_start_is_never_chosen() {
    let server = server(100);
    let mut driver = driver(&server);
    tell(&mut driver, "n0", true);
    begun(&mut driver, vec![on("n0", 0), on("n1", 1)]).await;
    assert_eq!(published(&server), ["orders-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_scheduled_to_a_lost_node_cannot_be_chosen() {
    let server = server(100);
    let mut driver = driver(&server);
    begun(&mut driver, vec![on("n1", 5)]).await;
    tell(&mut driver, "n0", true);
    driver.told(Feed::Pods(0, Change::Applied(on("", 0))));
    driver.told(Feed::Pods(0, Change::Applied(on("n0", 0))));
    driver.told(Feed::Pods(0, Change::Applied(on("n2", 6))));
    tell(&mut driver, "n1", true);
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-5", "orders-6"]);
}

/// A source that prefers this zone.
fn choosy(zone: &str) -> ServiceLite {
    service(&json!({
        "metadata": { "resourceVersion": "1000", "annotations": { "zen-lead.io/prefer-zone": zone } },
        "spec": { "ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.9"] },
    }))
}

#[tokio::test(start_paused = true)]
async fn the_zone_of_a_node_is_that_of_its_pods_as_soon_as_it_is_known() {
    let server = server(100);
    let mut driver = driver(&server);
    let zone = |zone: &str| Ground { zone: Some(zone.into()), ..Ground::default() };
    stand(&mut driver, "n1", zone("eu-1b"));
    let pods = (0..5).map(|number| unlabelled(&format!("n{number}"), number));
    begun_for(&mut driver, choosy("eu-1b"), pods.collect()).await;
    assert_eq!(published(&server), ["orders-1"]);
    // Nobody moves for that, but who follows is chosen by it.
    for node in ["n2", "n3"] {
        stand(&mut driver, node, zone("eu-1b"));
    }
    stand(&mut driver, "n2", zone("eu-1c"));
    driver.told(Feed::Pods(0, Change::Deleted(unlabelled("n1", 1))));
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-1", "orders-3"]);
    driver.told(Feed::Services(0, Change::Applied(choosy("eu-1c"))));
    hear(&mut driver).await;
    driver.told(Feed::Pods(0, Change::Deleted(unlabelled("n3", 3))));
    hear(&mut driver).await;
    assert_eq!(published(&server), ["orders-1", "orders-3", "orders-2"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_on_a_cordoned_node_is_chosen_when_nobody_else_can_be() {
    for site in [Site::Cordoned, Site::Troubled] {
        let server = server(100);
        let mut driver = driver(&server);
        let avoided = || Ground { site, ..Ground::default() };
        stand(&mut driver, "n0", avoided());
        begun(&mut driver, (0..4).map(|number| on(&format!("n{number}"), number)).collect()).await;
        assert_eq!(published(&server), ["orders-1"]);
        // That alone unseats nobody.
        stand(&mut driver, "n1", avoided());
        stand(&mut driver, "n2", avoided());
        hear(&mut driver).await;
        for number in [1, 3] {
            driver.told(Feed::Pods(0, Change::Deleted(on(&format!("n{number}"), number))));
            hear(&mut driver).await;
        }
        assert_eq!(published(&server), ["orders-1", "orders-3", "orders-0"]);
        // Nor for a pod that comes there, if it is the better one.
        stand(&mut driver, "n2", Ground::default());
        driver.told(Feed::Pods(0, Change::Applied(on("n1", 0))));
        driver.told(Feed::Pods(0, Change::Deleted(on("n0", 0))));
        hear(&mut driver).await;
        assert_eq!(published(&server).last(), Some(&json!("orders-2")));
    }
}
