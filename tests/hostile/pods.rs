//! Odd pods.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::PostParams;
use lab::leader_of;
use serde_json::json;

use crate::support::{SOON, Stage};

/// As many ports as the API server takes: some 10,000 before the object is too large for its store.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_with_thousands_of_ports_can_lead() -> Result<()> {
    const PORTS: u16 = 10_000;
    let stage = Stage::new("many-ports").await?;
    let source =
        stage.ns.service("orders").annotation("zen-lead.io/enabled", "true").selector("app", "orders");
    source.named_port("first", 80, "p1").named_port("last", 81, &format!("p{PORTS}")).create().await?;
    let mut pod = stage.member("orders", "orders-0").container("app");
    for port in 1..=PORTS {
        pod = pod.port(&format!("p{port}"), 20_000 + port);
    }
    let pod = pod.ready().create().await?;
    let slice = stage.until_led("orders", &pod).await?;
    let ports: Vec<_> = slice.ports.unwrap_or_default().iter().filter_map(|port| port.port).collect();
    assert_eq!(ports, [20_001, 20_000 + i32::from(PORTS)]);
    pod.unready().await?;
    stage.until_leaderless("orders").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_without_address_or_conditions_do_not_lead_and_can_later() -> Result<()> {
    let stage = Stage::new("odd-pods").await?;
    stage.source("orders").create().await?;
    stage.until_leaderless("orders").await?;
    // Not even scheduled; nothing reported; Ready and without an address.
    stage.member("orders", "orders-0").unscheduled().create().await?;
    let silent = stage.member("orders", "orders-1").create().await?;
    let homeless = stage.member("orders", "orders-2").ips([]).create().await?;
    let ready = json!([{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    homeless.status(json!({ "phase": "Running", "conditions": ready })).await?;
    // Conditions nobody knows, and odd statuses of those that all do.
    let odd = stage.member("orders", "orders-3").unready().create().await?;
    odd.status(json!({ "conditions": [
        { "type": "Ready", "status": "Unknown" }, { "type": "example.com/Ready", "status": "True" },
    ] }))
    .await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?), None);
    homeless.status(json!({ "podIP": "10.244.200.2", "podIPs": [{ "ip": "10.244.200.2" }] })).await?;
    stage.ns.slices().until_leader("orders-leader", "orders-2", SOON).await?;
    homeless.vanish().await?;
    stage.until_leaderless("orders").await?;
    silent.ready().await?;
    stage.until_led("orders", &silent).await?;
    stage.end().await
}

/// Finished, however Ready it says to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_pod_is_no_member() -> Result<()> {
    let stage = Stage::new("finished").await?;
    let (_, pods) = stage.led("orders", 3).await?;
    pods[0].phase("Succeeded").await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[1].phase("Failed").await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.until_told("LeaderChanged", &["finished", "orders-2"]).await?;
    stage.end().await
}

/// The address of a leader can change, and so can its ports' names: what is published follows, in the same term.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_changes_its_address_stays_leader_at_the_new_one() -> Result<()> {
    let stage = Stage::new("moves").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let before = stage.slice("orders").await?;
    pods[0].status(json!({ "podIP": "10.244.201.1", "podIPs": [{ "ip": "10.244.201.1" }] })).await?;
    let moved = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| {
        slice.endpoints.len() == 1 && slice.endpoints[0].addresses == ["10.244.201.1"]
    };
    let after = stage.ns.slices().until("orders-leader", SOON, moved).await?;
    let epoch = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| {
        slice.metadata.annotations.as_ref().and_then(|all| all.get("zen-lead.io/epoch").cloned())
    };
    assert_eq!(epoch(&after), epoch(&before));
    stage.end().await
}

/// The API server makes sure of this one: no pod without a container ever comes on the watch.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_containers_cannot_be_made() -> Result<()> {
    let stage = Stage::new("empty-pod").await?;
    let mut object = stage.member("orders", "orders-0").object();
    object["spec"]["containers"] = json!([]);
    let pods = stage.ns.api::<PodObject>();
    let refused = pods.create(&PostParams::default(), &serde_json::from_value(object)?).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
    stage.end().await
}

/// A moment that the API server accepts, because of its time zone, and then tells in UTC with a year of five digits,
/// which is no RFC 3339: whoever may write a pod's status can have it on every watch and in every list.
const YEAR_10000: &str = "9999-12-31T23:59:59-12:00";

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_read_is_named_and_the_others_go_on() -> Result<()> {
    let mut stage = Stage::new("unreadable").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let odd =
        stage.member("orders", "odd").annotation("zen-lead.io/priority", "9").unready().create().await?;
    stage.all_is_seen().await?;
    let since = |moment| json!({ "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": moment }] });
    // The answer is the pod, which this client cannot read either.
    assert!(odd.status(since(YEAR_10000)).await.is_err());
    let named = ["WARN", "an object cannot be read", "/odd"];
    stage.controller.until_logged(&named).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    let ready = stage.controller.probe("/readyz").await?;
    assert!(ready.starts_with("HTTP/1.1 200") && !ready.contains("relists"), "the watch went on: {ready}");

    // In a list as well.
    stage.controller.stop()?;
    pods[0].ready().await?;
    stage.restart().await?;
    stage.controller.until_logged(&named).await?;
    pods[1].unready().await?;
    stage.until_led("orders", &pods[0]).await?;
    // When it can be read again it counts again.
    odd.status(since("2026-01-01T00:00:00Z")).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &odd).await?;
    stage.end().await
}
