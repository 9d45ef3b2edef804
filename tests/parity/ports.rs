//! Ports that have names.

use anyhow::Result;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::support::{SOON, Stage, leaders};

const LEADER: &str = "orders-leader";

fn numbers(slice: &EndpointSlice) -> Vec<(String, Option<i32>)> {
    let ports = slice.ports.iter().flatten();
    ports.map(|port| (port.name.clone().unwrap_or_default(), port.port)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_named_port_resolves_on_the_leader_in_any_of_its_containers() -> Result<()> {
    let stage = Stage::new("p11").await?;
    let source = stage.ns.service("orders").annotation("zen-lead.io/enabled", "true");
    let source =
        source.selector("app", "orders").named_port("web", 80, "http").named_port("ops", 81, "admin");
    source.named_port("mesh", 82, "proxy").port("plain", 83, 8083).create().await?;
    let pod = |name: &str, first: u16| {
        let pod = stage.member("orders", name).container("app").port("http", first);
        pod.container("helper").port("admin", first + 1).sidecar("mesh", "proxy", first + 2).ready()
    };
    let first = pod("orders-0", 8000).create().await?;
    let expected = |first: i32| {
        let ports = [("web", first), ("ops", first + 1), ("mesh", first + 2), ("plain", 8083)];
        ports.map(|(name, number)| (name.to_owned(), Some(number)))
    };
    let slice = stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    assert_eq!(numbers(&slice), expected(8000));

    // The next leader has other numbers: they change with the address, in one write.
    let history = stage.ns.history().await?;
    pod("orders-1", 9000).create().await?;
    first.unready().await?;
    let slice = stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    assert_eq!(numbers(&slice), expected(9000));
    stage.mark().await?;
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-0", "orders-1"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_named_port_that_no_container_has_fails_closed() -> Result<()> {
    let stage = Stage::new("p11-missing").await?;
    let source = stage.ns.service("orders").annotation("zen-lead.io/enabled", "true");
    let source = source.selector("app", "orders").named_port("web", 80, "http").create().await?;
    // Of the right name, but the wrong protocol.
    let udp = json!({ "name": "http", "containerPort": 8080, "protocol": "UDP" });
    stage.member("orders", "orders-0").container("app").port_with(udp).ready().create().await?;
    let notice = stage.until_notice("NamedPortResolutionFailed").await?;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    let leader_service = stage.until_service(LEADER).await?;

    // A pod that has it can lead.
    let able = stage.member("orders", "orders-1").port("http", 8080).ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    // Nobody has the next one.
    let port = json!({ "name": "web", "port": 80, "targetPort": "https" });
    source.patch(json!({ "spec": { "ports": [port] } })).await?;
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    stage.mark().await?;
    let stayed = stage.until_service(LEADER).await?;
    assert_eq!(stayed.metadata.uid, leader_service.metadata.uid, "the leader Service stays");
    let failures = stage
        .reasons_about("orders")
        .await?
        .iter()
        .filter(|reason| *reason == "NamedPortResolutionFailed")
        .count();
    assert_eq!(failures, 2, "once each time");
    able.get().await?;
    stage.end().await
}

/// The API server takes no target port below 1 (0 means the port itself), but an older one may have.
#[tokio::test(flavor = "multi_thread")]
async fn p11_a_number_that_is_no_port_fails_closed() -> Result<()> {
    let stage = Stage::new("p11-number").await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    stage.store_target_port(&source, -1).await?;
    let notice = stage.until_notice("PortResolutionFailed").await?;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    stage.until_service(LEADER).await?;
    let port = json!({ "name": "http", "port": 80, "targetPort": 8080 });
    source.patch(json!({ "spec": { "ports": [port] } })).await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p11_a_target_port_of_zero_is_the_port_itself() -> Result<()> {
    let stage = Stage::new("p11-zero").await?;
    stage
        .ns
        .service("orders")
        .annotation("zen-lead.io/enabled", "true")
        .selector("app", "orders")
        .port("http", 80, 0)
        .create()
        .await?;
    stage.member("orders", "orders-0").ready().create().await?;
    let slice = stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    assert_eq!(numbers(&slice), [("http".to_owned(), Some(80))]);
    stage.end().await
}
