//! One trace a failover, whatever caused it, and its shape.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use lab::{Kind, Status, Trace};
use serde_json::json;

use crate::support::SOON;
use crate::{Traced, check, is_about};

/// A failover that needed nothing but its write.
const PLAIN: [&str; 5] = [
    "failover",
    "failover > reelecting",
    "failover > reelecting > queue",
    "failover > reelecting > publish",
    "failover > reelecting > publish > PUT",
];

/// The shape, less what lies before.
fn shape(trace: &Trace) -> Vec<String> {
    trace.paths().into_iter().filter(|path| path != "failover > detect").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_leader() -> Result<()> {
    let traced = Traced::new("t-unready").await?;
    let (_, pods) = traced.stage.led("orders", 2).await?;
    let before = SystemTime::now();
    pods[0].unready().await?;
    let trace = traced.trace("unready", "elected").await?;
    check(&trace, "orders")?;
    assert_eq!(shape(&trace), PLAIN);

    let root = trace.root()?;
    assert!(is_about(root, &pods[1]), "{root:?}");
    assert_eq!(root.attributes["zen_lead.previous.pod.name"], "orders-0");
    assert_eq!(root.attributes["zen_lead.previous.pod.uid"], pods[0].uid());
    assert_eq!(root.attributes["k8s.namespace.name"], traced.stage.ns.name());
    assert_eq!(root.attributes["k8s.node.name"], node(&pods[1]).await?);
    assert_eq!(root.attributes["zen_lead.previous.node.name"], node(&pods[0]).await?);
    assert_eq!(root.attributes["zen_lead.budget.limit_ms"], 5_000.0);
    assert_eq!(root.attributes["zen_lead.budget.exceeded"], false);
    let used = root.attributes["zen_lead.budget.used_ms"].as_f64().context("a number")?;
    assert!((used - root.duration()?.as_secs_f64() * 1e3).abs() < 0.01, "{used}");
    assert_eq!(root.status, Status::Ok);
    assert!(root.start >= before && root.end <= SystemTime::now());
    let slice = traced.stage.slice("orders").await?;
    let epoch: u64 = slice.metadata.annotations.context("annotations")?["zen-lead.io/epoch"].parse()?;
    assert_eq!(root.attributes["zen_lead.epoch"], epoch);

    // From the second in which the pod became unready.
    let detect = trace.span("detect")?;
    assert!(is_about(detect, &pods[0]), "{detect:?}");
    assert_eq!(
        (detect.end, &detect.attributes["zen_lead.detect.resolution_ms"]),
        (root.start, &json!(1_000))
    );
    assert!(before.duration_since(detect.start).is_ok_and(|early| early < Duration::from_secs(1)), "{trace}");

    let put = trace.span("PUT")?;
    assert_eq!(put.kind, Kind::Client);
    assert_eq!(put.attributes["http.request.method"], "PUT");
    assert_eq!(put.attributes["http.response.status_code"], 200);
    let path = format!("/namespaces/{}/endpointslices/orders-leader", traced.stage.ns.name());
    assert!(
        put.attributes["url.full"]
            .as_str()
            .is_some_and(|url| url.starts_with("https://") && url.contains(&path))
    );

    // The log tells the same.
    let lines = traced.logged(&trace)?;
    let changes: Vec<_> = lines.iter().map(|line| (&line["fields"]["from"], &line["fields"]["to"])).collect();
    assert_eq!(
        changes,
        [(&json!("Elected"), &json!("Reelecting")), (&json!("Reelecting"), &json!("Elected"))]
    );
    let spent = lines[1]["fields"]["duration_ms"].as_f64().context("a number")?;
    let reelecting = trace.span("reelecting")?.duration()?.as_secs_f64() * 1e3;
    assert!((spent - reelecting).abs() < 1.0, "{spent} in the log, {reelecting} in the trace");
    assert_eq!(lines[1]["fields"]["failover_ms"], used);
    traced.stage.end().await
}

async fn node(pod: &lab::Pod) -> Result<String> {
    pod.get().await?.spec.and_then(|spec| spec.node_name).context("it has a node")
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_go_in_other_ways() -> Result<()> {
    let traced = Traced::new("t-ways").await?;
    let (_, pods) = traced.stage.led("orders", 4).await?;
    pods[0].terminate(lab::within(300)).await?;
    traced.stage.until_led("orders", &pods[1]).await?;
    pods[1].phase("Succeeded").await?;
    traced.stage.until_led("orders", &pods[2]).await?;
    pods[2].relabel("app", Some("quarantine")).await?;
    traced.stage.until_led("orders", &pods[3]).await?;

    let terminating = traced.trace("terminating", "elected").await?;
    check(&terminating, "orders")?;
    assert_eq!(shape(&terminating), PLAIN);
    // The deletion's time less its grace period, not the time at which the pod will be gone.
    let detect = terminating.span("detect")?.duration()?;
    assert!(detect < SOON, "{terminating}");
    for (cause, former) in [("finished", &pods[1]), ("relabelled", &pods[2])] {
        let trace = traced.trace(cause, "elected").await?;
        check(&trace, "orders")?;
        assert_eq!(trace.paths(), PLAIN, "nobody says when that happened");
        let root = trace.root()?;
        assert_eq!(root.attributes["zen_lead.previous.pod.name"], former.name());
    }
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_left_and_the_recovery() -> Result<()> {
    let traced = Traced::new("t-nobody").await?;
    let (_, pods) = traced.stage.led("orders", 1).await?;
    pods[0].terminate(lab::within(300)).await?;
    traced.stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].vanish().await?;
    traced.stage.until_leaderless("orders").await?;

    let lost = traced.trace("gone", "leaderless").await?;
    check(&lost, "orders")?;
    let expected = [
        "failover",
        "failover > draining",
        "failover > draining > queue",
        "failover > draining > publish",
        "failover > draining > publish > PUT",
        "failover > leaderless",
        "failover > leaderless > queue",
        "failover > leaderless > publish",
        "failover > leaderless > publish > PUT",
    ];
    assert_eq!(shape(&lost), expected);
    let root = lost.root()?;
    // Also of a pod that is gone.
    assert_eq!(root.attributes["zen_lead.previous.pod.name"], "orders-0");
    assert!(root.attributes.contains_key("zen_lead.previous.node.name"), "{root:?}");
    assert_eq!(root.status, Status::Error("ended leaderless".into()));
    assert!(!root.attributes.contains_key("k8s.pod.name"), "nobody leads: {root:?}");

    let heir = traced.stage.member("orders", "orders-1").ready().create().await?;
    traced.stage.until_led("orders", &heir).await?;
    let recovery = traced.trace("recovery", "elected").await?;
    check(&recovery, "orders")?;
    assert_eq!(shape(&recovery), PLAIN);
    let [link] = &recovery.root()?.links[..] else { panic!("one link: {recovery}") };
    assert_eq!((&*link.trace_id, &link.span_id), (lost.id(), &root.span_id));
    // The next one has nothing to do with it.
    heir.unready().await?;
    let next = traced.trace("unready", "leaderless").await?;
    assert!(next.root()?.links.is_empty(), "{next}");
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_election() -> Result<()> {
    let traced = Traced::new("t-first").await?;
    let pod = traced.stage.member("orders", "orders-0").ready().create().await?;
    traced.stage.source("orders").create().await?;
    traced.stage.until_led("orders", &pod).await?;
    let first = traced.trace("first_election", "elected").await?;
    check(&first, "orders")?;
    let root = first.root()?;
    assert!(is_about(root, &pod) && !root.attributes.contains_key("zen_lead.previous.pod.name"), "{root:?}");
    let write = first.spans().iter().rfind(|span| span.kind == Kind::Client).context("a write")?;
    assert!(matches!(write.attributes["http.response.status_code"].as_u64(), Some(200 | 201)), "{write:?}");
    traced.stage.end().await
}

/// Choices of preference are confirmed by a read first: that belongs to what they take.
#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_and_a_failback() -> Result<()> {
    let traced = Traced::new("t-wishes").await?;
    let (source, pods) = traced.stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/switchover-to", Some("orders-1")).await?;
    traced.stage.until_led("orders", &pods[1]).await?;
    let confirmed = [
        "failover",
        "failover > queue",
        "failover > confirm",
        "failover > confirm > GET",
        "failover > reelecting",
        "failover > reelecting > queue",
        "failover > reelecting > publish",
        "failover > reelecting > publish > PUT",
    ];
    let switchover = traced.trace("switchover", "elected").await?;
    check(&switchover, "orders")?;
    assert_eq!(shape(&switchover), confirmed);
    assert_eq!(switchover.root()?.start, first_queue(&switchover)?.start);

    source.annotate("zen-lead.io/sticky", Some("false")).await?;
    traced.stage.until_led("orders", &pods[0]).await?;
    let failback = traced.trace("failback", "elected").await?;
    check(&failback, "orders")?;
    assert_eq!(shape(&failback), confirmed);
    traced.stage.end().await
}

fn first_queue(trace: &Trace) -> Result<&lab::Span> {
    trace.children_of(trace.root()?).into_iter().find(|span| span.name == "queue").context("a queue")
}

/// A term that somebody else has published is taken over, and belongs to no write of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_edit_that_is_adopted() -> Result<()> {
    let traced = Traced::new("t-edit").await?;
    let (_, pods) = traced.stage.led("orders", 2).await?;
    traced.stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let mut slice = traced.stage.slice("orders").await?;
    let annotations = slice.metadata.annotations.as_mut().context("annotations")?;
    let epoch: u64 = annotations["zen-lead.io/epoch"].parse()?;
    annotations.insert("zen-lead.io/epoch".into(), (epoch + 1).to_string());
    annotations.insert("zen-lead.io/leader-pod-name".into(), pods[1].name().into());
    annotations.insert("zen-lead.io/leader-pod-uid".into(), pods[1].uid().into());
    annotations.insert("zen-lead.io/term-by".into(), "somebody-else".into());
    let endpoint = &mut slice.endpoints[0];
    endpoint.addresses = vec![pods[1].ip().to_string()];
    let target = endpoint.target_ref.as_mut().context("a target")?;
    (target.name, target.uid) = (Some(pods[1].name().into()), Some(pods[1].uid().into()));
    let params = kube::api::PostParams { field_manager: Some("a-person".into()), ..Default::default() };
    traced.stage.ns.api::<EndpointSlice>().replace("orders-leader", &params, &slice).await?;

    let trace = traced.trace("adopted", "adopted").await?;
    let root = trace.root()?;
    assert_eq!(trace.spans().len(), 1, "{trace}");
    assert!(is_about(root, &pods[1]) && root.event("adopted").is_some(), "{root:?}");
    assert_eq!(root.attributes["zen_lead.epoch"], epoch + 1);
    traced.stage.end().await
}

/// Tolerated for a while, and fit again in time: nothing but a delay.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_kept() -> Result<()> {
    let traced = Traced::new("t-kept").await?;
    let source =
        traced.stage.source("orders").annotation("zen-lead.io/failover-min-delay", "5m").create().await?;
    let pods = traced.stage.members(source.name(), 2).await?;
    pods[0].unready().await?;
    traced.stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].ready().await?;
    let trace = traced.trace("unready", "kept").await?;
    check(&trace, "orders")?;
    assert_eq!(shape(&trace), ["failover", "failover > draining"]);
    assert_eq!(trace.root()?.status, Status::Ok);
    traced.stage.end().await
}

/// The write is refused a few times: each try is a span, and the phase tells of it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_have_to_be_repeated() -> Result<()> {
    let traced = Traced::new("t-repeat").await?;
    let [first, second] = traced.stage.led_pair().await?;
    let broken = traced.stage.break_writes_of_slices("UPDATE").await?;
    first.unready().await?;
    let failed = |entries: &[lab::Entry]| {
        entries.iter().filter(|entry| entry.verb == "update" && entry.code == 500).count() >= 2
    };
    traced.stage.until_asked(failed).await?;
    traced.stage.mend_writes_of_slices(broken).await?;
    traced.stage.until_led("orders", &second).await?;
    let trace = traced.trace("unready", "elected").await?;
    check(&trace, "orders")?;
    let reelecting = trace.span("reelecting")?;
    let names: Vec<&str> = trace.children_of(reelecting).iter().map(|span| &*span.name).collect();
    let tries = names.iter().filter(|name| **name == "publish").count();
    assert!(tries >= 3 && names.contains(&"read"), "what came of the write has to be read: {names:?}");
    let failures = reelecting.events.iter().filter(|event| event.name == "unknown").count();
    let retries = reelecting.events.iter().filter(|event| event.name == "retry").count();
    assert_eq!((failures, retries), (tries - 1, tries - 1), "{:?}", reelecting.events);
    let refused = trace.spans().iter().find(|span| span.name == "PUT").context("a request")?;
    assert_eq!(refused.attributes["error.type"], "500");
    assert!(matches!(refused.status, Status::Error(_)));
    traced.stage.end().await
}
