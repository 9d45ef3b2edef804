//! A leader that is no longer to be routed to is replaced or withdrawn, whatever takes it away.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use lab::{Revision, leader_of};

use crate::support::{SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn b01_nobody_ready_empties_the_slice() -> Result<()> {
    let stage = Stage::new("b01").await?;
    let (_, pods) = stage.led("orders", 1).await?;
    pods[0].unready().await?;
    stage.until_leaderless("orders").await?;
    stage.until_notice("NoReadyPods").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b02_a_terminating_leader_is_replaced_although_it_is_ready_and_the_oldest() -> Result<()> {
    let stage = Stage::new("b02").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].terminate(Duration::from_mins(5)).await?;
    stage.until_led("orders", &pods[1]).await?;
    // It goes on being Ready, and older.
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?).as_deref(), Some("orders-1"));
    stage.end().await
}

/// It still answers, and is better than nobody: kube-proxy uses such an endpoint if there is no other.
#[tokio::test(flavor = "multi_thread")]
async fn b02_a_terminating_leader_that_nobody_can_follow_drains_and_is_then_withdrawn() -> Result<()> {
    let stage = Stage::new("b02-drain").await?;
    let (_, pods) = stage.led("orders", 1).await?;
    pods[0].terminate(Duration::from_mins(5)).await?;
    let drains = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| {
        let [endpoint] = &slice.endpoints[..] else { return false };
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        (conditions.ready, conditions.serving, conditions.terminating)
            == (Some(false), Some(true), Some(true))
    };
    stage.ns.slices().until("orders-leader", SOON, drains).await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].vanish().await?;
    stage.until_leaderless("orders").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_the_end_of_the_min_ready_duration_wakes_it_up() -> Result<()> {
    let stage = Stage::new("b10").await?;
    let history = stage.ns.history().await?;
    stage.source("orders").annotation("zen-lead.io/min-ready-duration", "3s").create().await?;
    stage.ns.slices().until_leaderless("orders-leader", SOON).await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    // Nothing happens from here on.
    let ready_at = tokio::time::Instant::now().into_std();
    stage.until_led("orders", &pod).await?;
    let revisions = history.up_to_now().await?;
    let led = revisions.iter().find(|revision| leader_of(&revision.slice).is_some());
    // Kubernetes notes the Ready time in whole seconds.
    let waited = led.context("it leads")?.at.duration_since(ready_at);
    assert!(waited > Duration::from_millis(1_500), "it led after {waited:?}");
    stage.end().await
}

/// Headless Services take no address, and so cost little.
#[tokio::test(flavor = "multi_thread")]
async fn b11_a_thousand_other_services_in_the_namespace_make_no_difference() -> Result<()> {
    let mut stage = Stage::new("b11").await?;
    let others = (0..1_050).map(|number| {
        let other = stage.ns.service(&format!("m-{number:04}")).selector("app", "orders").headless();
        async move { other.create().await }
    });
    let mut others: Vec<_> = others.collect();
    while !others.is_empty() {
        try_join_all(others.split_off(others.len().saturating_sub(50))).await?;
    }
    // First and last by name, and made last.
    let (_, first) = stage.led("aaa", 2).await?;
    let (_, last) = stage.led("zzz", 2).await?;
    first[0].unready().await?;
    last[0].vanish().await?;
    stage.until_led("aaa", &first[1]).await?;
    stage.until_led("zzz", &last[1]).await?;
    // The same from lists, which come in pages.
    stage.restart().await?;
    first[1].unready().await?;
    stage.until_leaderless("aaa").await?;
    last[1].vanish().await?;
    stage.until_leaderless("zzz").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_leader_that_is_relabelled_out_of_the_selector_is_replaced() -> Result<()> {
    let stage = Stage::new("b12").await?;
    let history = stage.ns.history().await?;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].relabel("app", Some("quarantine")).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.until_told("LeaderChanged", &["relabelled", "orders-1"]).await?;
    pods[1].relabel("app", None).await?;
    stage.until_leaderless("orders").await?;
    let ready = |revision: &Revision| leader_of(&revision.slice);
    let mut leaders: Vec<_> = history.up_to_now().await?.iter().filter_map(ready).collect();
    leaders.dedup();
    assert_eq!(leaders, ["orders-0", "orders-1"]);
    stage.end().await
}
