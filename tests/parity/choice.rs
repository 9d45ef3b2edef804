//! Who leads, and for how long.

use anyhow::Result;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use lab::{Pod, within};
use serde_json::{Value, json};

use crate::support::{SOON, Stage, leaders};

const LEADER: &str = "orders-leader";
const STICKY: &str = "zen-lead.io/sticky";
const MIN_READY: &str = "zen-lead.io/min-ready-duration";
const NOTHING: [&str; 0] = [];

/// The status of a pod with an address and these conditions.
fn status(pod: &Pod, phase: &str, conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<Value> =
        conditions.iter().map(|(kind, status)| json!({ "type": kind, "status": status })).collect();
    let ip = pod.ip();
    json!({ "phase": phase, "podIP": ip, "podIPs": [{ "ip": ip }], "conditions": conditions })
}

/// Ready since so long.
fn ready_since(pod: &Pod, seconds: i64) -> Value {
    let since = Timestamp::now() - SignedDuration::from_secs(seconds);
    let mut status = status(pod, "Running", &[("Ready", "True")]);
    status["conditions"][0]["lastTransitionTime"] = json!(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn p05_ready_means_running_and_the_condition_ready() -> Result<()> {
    let stage = Stage::new("p05").await?;
    let others = [("ContainersReady", "True"), ("Initialized", "True"), ("PodScheduled", "True")];
    let not_ready: [(&str, &[(&str, &str)]); 6] = [
        ("Pending", &[("Ready", "True")]),
        ("Unknown", &[("Ready", "True")]),
        ("Running", &[]),
        ("Running", &others),
        ("Running", &[("Ready", "False"), ("ContainersReady", "True")]),
        ("Running", &[("Ready", "Unknown"), ("ContainersReady", "True")]),
    ];
    let mut pods = Vec::new();
    for (number, (phase, conditions)) in not_ready.into_iter().enumerate() {
        let pod = stage.member("orders", &format!("orders-{number}")).create().await?;
        pod.status(status(&pod, phase, conditions)).await?;
        pods.push(pod);
    }
    // The youngest, with the last name: whoever else is taken for Ready leads in its place.
    pods[0].becomes_older().await?;
    let ready = stage.member("orders", "orders-9").create().await?;
    ready.status(status(&ready, "Running", &[("Ready", "True")])).await?;
    let history = stage.ns.history().await?;
    stage.source("orders").create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-9", SOON).await?;

    // What it takes to lead is what it takes to stay; and with nobody Ready, nobody leads.
    ready.phase("Pending").await?;
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    ready.phase("Running").await?;
    stage.ns.slices().until_leader(LEADER, "orders-9", SOON).await?;
    stage.mark().await?;
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-9", "nobody", "orders-9"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_the_oldest_is_elected_whatever_the_order_in_which_pods_are_seen() -> Result<()> {
    let mut stage = Stage::new("p06").await?;
    // By name the other way round than by age, so that the list of a restart shows the youngest first.
    let mut pods = Vec::new();
    for name in ["orders-z", "orders-m", "orders-a"] {
        let pod = stage.member("orders", name).ready().create().await?;
        pod.becomes_older().await?;
        pods.push(pod);
    }
    let source = stage.source("orders").create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-z", SOON).await?;

    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for("orders").await?;
    stage.restart().await?;
    source.annotate("zen-lead.io/enabled", Some("true")).await?;
    stage.ns.slices().until_leader(LEADER, "orders-z", SOON).await?;

    // The next oldest follows, and not whoever was heard of last.
    pods[2].annotate("example.com/touched", Some("yes")).await?;
    pods[0].vanish().await?;
    stage.ns.slices().until_leader(LEADER, "orders-m", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p06_of_two_of_the_same_age_the_first_by_name_is_elected() -> Result<()> {
    let stage = Stage::new("p06-name").await?;
    // Creation times have whole seconds: try until two share one.
    loop {
        let second = stage.member("orders", "orders-b").ready().create().await?;
        let first = stage.member("orders", "orders-a").ready().create().await?;
        let created = async |pod: &Pod| anyhow::Ok(pod.get().await?.metadata.creation_timestamp);
        if created(&first).await? == created(&second).await? {
            break;
        }
        first.vanish().await?;
        second.vanish().await?;
    }
    stage.source("orders").create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-a", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_ready_leader_is_kept_although_an_older_pod_becomes_ready() -> Result<()> {
    let stage = Stage::new("p07").await?;
    let older = stage.member("orders", "orders-0").unready().create().await?;
    older.becomes_older().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    stage.source("orders").create().await?;
    stage.until_mirrored(LEADER, "orders-1").await?;
    let mark = stage.mark().await?;
    older.ready().await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_leader_is_kept_across_updates_of_the_service() -> Result<()> {
    let stage = Stage::new("p07-update").await?;
    let history = stage.ns.history().await?;
    let older = stage.member("orders", "orders-0").unready().create().await?;
    older.becomes_older().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    let source = stage.source("orders").create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    older.ready().await?;

    source.patch(json!({ "metadata": { "labels": { "team": "shop" } } })).await?;
    let labelled = |slice: &EndpointSlice| {
        slice.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("team"))
    };
    stage.ns.slices().until(LEADER, SOON, labelled).await?;
    let port = json!({ "name": "http", "port": 80, "targetPort": 9090 });
    source.patch(json!({ "spec": { "ports": [port] } })).await?;
    let moved = |slice: &EndpointSlice| slice.ports.iter().flatten().any(|port| port.port == Some(9090));
    stage.ns.slices().until(LEADER, SOON, moved).await?;
    source.annotate(STICKY, Some("true")).await?;
    source.annotate("example.com/note", Some("changed")).await?;
    stage.mark().await?;
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-1"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_leader_is_kept_across_restarts_without_any_write() -> Result<()> {
    let mut stage = Stage::new("p07-restart").await?;
    let older = stage.member("orders", "orders-0").unready().create().await?;
    older.becomes_older().await?;
    let leader = stage.member("orders", "orders-1").ready().create().await?;
    stage.source("orders").create().await?;
    stage.until_mirrored(LEADER, "orders-1").await?;
    older.ready().await?;
    let mark = stage.mark().await?;
    let reasons = stage.reasons_about("orders").await?;
    let before = stage.ns.slices().of(LEADER).await?;
    for _ in 0..2 {
        stage.restart().await?;
    }
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    let now = stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    assert_eq!(now.metadata.resource_version, before[0].metadata.resource_version);
    assert_eq!(stage.reasons_about("orders").await?, reasons, "a restart is no news");

    // It is a leader like any other.
    leader.unready().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_new_pod_of_the_same_name_is_a_new_leader() -> Result<()> {
    let mut stage = Stage::new("p07-name").await?;
    stage.source("orders").create().await?;
    let first = stage.member("orders", "orders-0").ready().create().await?;
    let epoch = until_led_by(&stage, &first).await?;

    first.vanish().await?;
    let second = stage.member("orders", "orders-0").ready().create().await?;
    let second_epoch = until_led_by(&stage, &second).await?;
    assert!(second_epoch > epoch, "another pod is another term");

    // The same while the controller is away.
    stage.controller.stop()?;
    second.vanish().await?;
    let third = stage.member("orders", "orders-0").ready().create().await?;
    stage.restart().await?;
    assert!(until_led_by(&stage, &third).await? > second_epoch, "another pod is another term");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p07_a_new_pod_of_the_leaders_name_does_not_take_over_from_its_successor() -> Result<()> {
    let stage = Stage::new("p07-name-sticky").await?;
    stage.source("orders").create().await?;
    let first = stage.member("orders", "orders-0").ready().create().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    until_led_by(&stage, &first).await?;
    first.vanish().await?;
    stage.until_mirrored(LEADER, "orders-1").await?;
    let mark = stage.mark().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p08_without_stickiness_the_oldest_ready_pod_takes_over_at_once() -> Result<()> {
    let stage = Stage::new("p08").await?;
    let oldest = stage.member("orders", "orders-b").unready().create().await?;
    oldest.becomes_older().await?;
    let leader = stage.member("orders", "orders-c").ready().create().await?;
    let history = stage.ns.history().await?;
    stage.source("orders").annotation(STICKY, "false").create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-c", SOON).await?;
    oldest.ready().await?;
    stage.ns.slices().until_leader(LEADER, "orders-b", SOON).await?;

    // A younger one, with a better name, does not.
    leader.becomes_older().await?;
    stage.member("orders", "orders-a").ready().create().await?;
    stage.mark().await?;
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-c", "orders-b"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p08_stickiness_can_be_given_up_while_a_younger_pod_leads() -> Result<()> {
    let stage = Stage::new("p08-later").await?;
    let oldest = stage.member("orders", "orders-0").unready().create().await?;
    oldest.becomes_older().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    let source = stage.source("orders").create().await?;
    stage.until_mirrored(LEADER, "orders-1").await?;
    oldest.ready().await?;
    stage.mark().await?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    source.annotate(STICKY, Some("false")).await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p09_a_pod_is_elected_when_it_has_been_ready_for_long_enough() -> Result<()> {
    let stage = Stage::new("p09").await?;
    // The older one has only just become Ready; what counts is the condition's own time.
    let fresh = stage.member("orders", "orders-0").create().await?;
    fresh.becomes_older().await?;
    let steady = stage.member("orders", "orders-1").create().await?;
    steady.status(ready_since(&steady, 31)).await?;
    for (name, value, leader) in [
        ("strict", Some("30s"), "orders-1"),
        ("zero", Some("0s"), "orders-0"),
        ("empty", Some(""), "orders-0"),
        ("absent", None, "orders-0"),
    ] {
        fresh.status(ready_since(&fresh, 0)).await?;
        let mut source = stage.ns.service(name).annotation("zen-lead.io/enabled", "true");
        if let Some(value) = value {
            source = source.annotation(MIN_READY, value);
        }
        source.selector("app", "orders").port("http", 80, 8080).create().await?;
        stage.ns.slices().until_leader(&format!("{name}-leader"), leader, SOON).await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p09_nobody_leads_while_nobody_has_been_ready_for_long_enough() -> Result<()> {
    let stage = Stage::new("p09-none").await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    let source = stage.source("orders").annotation(MIN_READY, "1h").create().await?;
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    stage.mark().await?;
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    pod.status(ready_since(&pod, 3_600)).await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;

    // A longer wait is for those who want to lead, not for the one who does.
    stage.until_mirrored(LEADER, "orders-0").await?;
    let older = stage.member("orders", "orders-1").create().await?;
    older.status(ready_since(&older, 360_000)).await?;
    let mark = stage.mark().await?;
    source.annotate(MIN_READY, Some("24h")).await?;
    pod.annotate("example.com/touched", Some("yes")).await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_a_lost_leader_is_replaced_by_another_ready_pod() -> Result<()> {
    let stage = Stage::new("p18").await?;
    let history = stage.ns.history().await?;
    stage.source("orders").create().await?;
    let mut pods = Vec::new();
    for number in 0..4 {
        let pod = stage.member("orders", &format!("orders-{number}")).ready().create().await?;
        stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
        pods.push(pod);
    }
    pods[0].unready().await?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    pods[1].vanish().await?;
    stage.ns.slices().until_leader(LEADER, "orders-2", SOON).await?;
    pods[2].terminate(within(30)).await?;
    stage.ns.slices().until_leader(LEADER, "orders-3", SOON).await?;
    pods[0].ready().await?;
    pods[3].phase("Failed").await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let one_after_another = ["orders-0", "orders-1", "orders-2", "orders-3", "orders-0"];
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), one_after_another, "never through nobody");
    stage.end().await
}

/// Waits until the endpoint is of exactly this pod; returns the epoch.
async fn until_led_by(stage: &Stage, pod: &Pod) -> Result<u64> {
    let is_led = |slice: &EndpointSlice| {
        let target = slice.endpoints.first().and_then(|endpoint| endpoint.target_ref.as_ref());
        target.and_then(|target| target.uid.as_deref()) == Some(pod.uid())
    };
    let slice = stage.ns.slices().until(LEADER, SOON, is_led).await?;
    assert_eq!(slice.endpoints[0].addresses, [pod.ip().to_string()]);
    Ok(slice.annotations()["zen-lead.io/epoch"].parse()?)
}
