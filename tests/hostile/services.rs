//! Odd Services.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use lab::leader_of;
use serde_json::json;

use crate::support::{SOON, Stage};

fn spec(service: Service) -> Result<k8s_openapi::api::core::v1::ServiceSpec> {
    service.spec.context("a Service has a spec")
}

/// Those that cannot have a leader are told so, once, and others beside them are none the worse.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_cannot_have_a_leader_are_told_why() -> Result<()> {
    let mut stage = Stage::new("invalid-services").await?;
    let enabled = |name: &str| stage.ns.service(name).annotation("zen-lead.io/enabled", "true");
    let sources = [
        (enabled("portless").selector("app", "x").headless(), "no ports"),
        (enabled("unselective").port("http", 80, 8080), "no selector"),
        (
            enabled("elsewhere").spec(json!({ "type": "ExternalName", "externalName": "orders.example" })),
            "ExternalName",
        ),
    ];
    for (source, why) in &sources {
        let source = source.create().await?;
        stage.until_told("InvalidService", &[why]).await?;
        source.annotate("example.com/touched", Some("yes")).await?;
    }
    stage.all_is_seen().await?;
    for name in ["portless", "unselective", "elsewhere"] {
        assert_eq!(stage.made_for(name).await?, (vec![], vec![]), "{name}");
        assert_eq!(stage.reasons_about(name).await?, ["InvalidService"], "{name}");
    }
    // A cure takes effect at once.
    stage.edit_service("unselective", &json!({ "spec": { "selector": { "app": "cured" } } })).await?;
    let cured = stage.member("cured", "cured-0").ready().create().await?;
    stage.until_led("unselective", &cured).await?;
    // And so does the loss of what is needed: nothing is left that would route to pods of no Service.
    stage.edit_service("unselective", &json!({ "spec": { "selector": null } })).await?;
    stage.until_nothing_for("unselective").await?;
    stage.restart().await?;
    stage.end().await
}

/// Into one that cannot have a leader, and back: what was made goes, and comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_becomes_an_external_name_loses_its_leader() -> Result<()> {
    let stage = Stage::new("external").await?;
    let (source, pods) = stage.led("orders", 1).await?;
    source
        .patch(json!({ "spec": { "type": "ExternalName", "externalName": "orders.example", "clusterIP": null,
            "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null } }))
        .await?;
    stage.until_nothing_for("orders").await?;
    source.patch(json!({ "spec": { "type": "ClusterIP", "externalName": null } })).await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn headless_node_port_and_load_balancer_sources_get_cluster_ips() -> Result<()> {
    let stage = Stage::new("kinds").await?;
    let balanced = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "loadBalancerClass": "example.com/x", "internalTrafficPolicy": "Local",
        "sessionAffinity": "ClientIP", "publishNotReadyAddresses": true, "externalIPs": ["192.0.2.7"],
    });
    let sources = [
        ("headless", stage.source("headless").headless()),
        ("node-port", stage.source("node-port").spec(json!({ "type": "NodePort" }))),
        ("balanced", stage.source("balanced").spec(balanced)),
    ];
    for (name, source) in sources {
        let source = source.create().await?;
        let pods = stage.members(name, 2).await?;
        let leader = spec(stage.leader_service(name).await?)?;
        assert_eq!(leader.type_.as_deref(), Some("ClusterIP"), "{name}");
        assert!(leader.cluster_ip.as_deref().is_some_and(|ip| ip != "None"), "{name}");
        assert_eq!(leader.external_ips, None, "{name}");
        assert_ne!(leader.internal_traffic_policy.as_deref(), Some("Local"), "{name}");
        assert_eq!(leader.session_affinity, spec(source.get().await?)?.session_affinity, "{name}");
        // Not Ready is not Ready, whatever `publishNotReadyAddresses` says.
        pods[0].unready().await?;
        stage.until_led(name, &pods[1]).await?;
        pods[1].unready().await?;
        stage.until_leaderless(name).await?;
    }
    stage.end().await
}

/// 63 characters, everywhere: in the name, in the label that names it, in two families, in the custom name.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_63_characters_work_in_two_families_and_as_custom_names() -> Result<()> {
    let stage = Stage::new("long-names").await?;
    let (name, custom) = ("o".repeat(63), "c".repeat(63));
    let source = stage.source(&name).dual_stack().create().await?;
    let pod = stage.member(&name, "pod-0").dual_stack().ready().create().await?;
    let both = |slices: &[k8s_openapi::api::discovery::v1::EndpointSlice]| {
        slices.len() == 2 && slices.iter().all(|slice| leader_of(slice).as_deref() == Some("pod-0"))
    };
    let default = zen_lead::names::leader_service(&name);
    stage.ns.slices().all_until(&default, SOON, both).await?;
    stage.until_told("LeaderElected", &["pod-0"]).await?;
    source.annotate("zen-lead.io/leader-service-name", Some(&custom)).await?;
    stage.ns.slices().all_until(&custom, SOON, both).await?;
    stage.ns.slices().all_until(&default, SOON, <[_]>::is_empty).await?;
    pod.unready().await?;
    stage.ns.slices().until_leaderless(&custom, SOON).await?;
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for(&name).await?;
    stage.end().await
}

/// All the ports a Service may sensibly have, of all protocols, some of the same number.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_hundreds_of_ports_has_them_all() -> Result<()> {
    let stage = Stage::new("ports").await?;
    let mut source = stage.source("orders");
    for port in 1..=250_u16 {
        source =
            source.port_with(json!({ "name": format!("t{port}"), "port": 1_000 + port, "protocol": "TCP" }));
        source =
            source.port_with(json!({ "name": format!("u{port}"), "port": 1_000 + port, "protocol": "UDP" }));
    }
    source.create().await?;
    stage.members("orders", 1).await?;
    assert_eq!(stage.slice("orders").await?.ports.map(|ports| ports.len()), Some(501));
    assert_eq!(spec(stage.leader_service("orders").await?)?.ports.map(|ports| ports.len()), Some(501));
    stage.end().await
}
