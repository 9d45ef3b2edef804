//! Annotations that nobody can understand: told, and the documented default used instead.

use anyhow::Result;
use lab::{Pod, leader_of};

use crate::support::{SOON, Stage};

/// Every annotation of a source Service with a value that is none, and what is used instead.
const INVALID: [(&str, &str, &str); 14] = [
    ("leader-service-name", "Not_a_Name", "<source>-leader"),
    ("failback", "sometimes", "never"),
    ("sticky", "maybe", "true"),
    ("min-ready-duration", "30", "0s"),
    ("failover-min-delay", "-5s", "0s"),
    ("strategy", "fastest", "oldest"),
    ("prefer-new-revision", "yes", "true"),
    ("prefer-node", "Node 7", "no preferred node"),
    ("prefer-zone", "eu,us", "no preferred zone"),
    ("leave-cordoned", "soon", "false"),
    ("max-switches", "5", "no limit"),
    ("ports-mode", "some", "all"),
    ("paused", "tomorrow", "false"),
    ("switchover-to", "orders-1;now", "no switchover"),
];

async fn all_are_told(stage: &Stage) -> Result<()> {
    for (annotation, value, default) in INVALID {
        let words =
            [&format!("zen-lead.io/{annotation} is {value:?}")[..], &format!("Used instead: {default}")];
        let notice = stage.until_told("InvalidConfiguration", &words).await?;
        assert_eq!(notice.type_.as_deref(), Some("Warning"), "{annotation}");
    }
    Ok(())
}

/// All at once, when it opts in: each is told, and it works as if none were there.
#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_value_is_told_and_its_default_used() -> Result<()> {
    let stage = Stage::new("invalid").await?;
    let mut source = stage.source("orders");
    for (annotation, value, _) in INVALID {
        source = source.annotation(&format!("zen-lead.io/{annotation}"), value);
    }
    source.create().await?;
    all_are_told(&stage).await?;
    // Its default name; the oldest; at once.
    let pods = stage.members("orders", 3).await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?).as_deref(), Some("orders-0"), "no switchover");
    // Not paused; no delay, for a NotReady leader is never shown again once it is replaced.
    let history = stage.ns.history().await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    // No failback.
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?).as_deref(), Some("orders-1"));
    let notice = stage.until_told("LeaderChanged", &["orders-1"]).await?;
    assert!(notice.note.is_some_and(|note| note.contains("unready")));
    let leaders = crate::support::leaders(&history.up_to_now().await?, "orders-leader");
    assert_eq!(leaders, ["orders-0", "orders-1"]);
    stage.end().await
}

/// One after the other, while it runs: told again when it changes, and not at every look.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_becomes_invalid_is_told_once_and_a_valid_one_takes_effect_again() -> Result<()> {
    let stage = Stage::new("becomes-invalid").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    for (annotation, value, _) in INVALID {
        source.annotate(&format!("zen-lead.io/{annotation}"), Some(value)).await?;
    }
    all_are_told(&stage).await?;
    source.annotate("example.com/touched", Some("yes")).await?;
    pods[1].annotate("example.com/touched", Some("yes")).await?;
    stage.all_is_seen().await?;
    let told = stage.reasons_about("orders").await?;
    assert_eq!(
        told.iter().filter(|reason| *reason == "InvalidConfiguration").count(),
        INVALID.len(),
        "{told:?}"
    );
    assert_eq!(leader_of(&stage.slice("orders").await?).as_deref(), Some("orders-0"));
    source.annotate("zen-lead.io/switchover-to", Some("orders-1")).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

/// Whoever does not say exactly `true` has not opted in, which is nothing to complain about.
#[tokio::test(flavor = "multi_thread")]
async fn enabled_is_true_or_it_is_not() -> Result<()> {
    let stage = Stage::new("enabled").await?;
    for (number, value) in ["True", "TRUE", "yes", "1", " true", "true\n", ""].iter().enumerate() {
        let name = format!("s{number}");
        stage.source(&name).annotation("zen-lead.io/enabled", value).create().await?;
        stage.member(&name, &format!("{name}-0")).ready().create().await?;
    }
    stage.all_is_seen().await?;
    for number in 0..7 {
        let name = format!("s{number}");
        assert_eq!(stage.made_for(&name).await?, (vec![], vec![]), "{name}");
        assert_eq!(stage.reasons_about(&name).await?, [""; 0], "{name}");
    }
    stage.end().await
}

/// Unresolvable ports publish nobody; a rollout's newest revision is preferred.
#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_of_ports_mode_and_prefer_new_revision_are_used() -> Result<()> {
    let stage = Stage::new("defaults").await?;
    let bad = |source: lab::ServiceBuilder| {
        source
            .annotation("zen-lead.io/ports-mode", "any")
            .annotation("zen-lead.io/prefer-new-revision", "off")
    };
    bad(stage.source("ports")).named_port("web", 81, "web").create().await?;
    stage.member("ports", "ports-0").ready().create().await?;
    stage.until_told("NamedPortResolutionFailed", &[]).await?;
    assert_eq!(leader_of(&stage.slice("ports").await?), None);

    bad(stage.source("rollout")).create().await?;
    let old = rollout(&stage, "a-old", "1").await?;
    stage.until_led("rollout", &old).await?;
    rollout(&stage, "b-old", "1").await?.becomes_older().await?;
    let new = rollout(&stage, "c-new", "2").await?;
    old.vanish().await?;
    stage.until_led("rollout", &new).await?;
    stage.end().await
}

async fn rollout(stage: &Stage, name: &str, revision: &str) -> Result<Pod> {
    stage.member("rollout", name).label("pod-template-hash", revision).ready().create().await
}

/// On pods: priority 0, and not excluded.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_values_on_pods_are_told_and_their_defaults_used() -> Result<()> {
    let stage = Stage::new("invalid-pods").await?;
    stage.source("orders").annotation("zen-lead.io/failback", "immediate").create().await?;
    let high = stage.member("orders", "orders-0").annotation("zen-lead.io/priority", "high");
    let high = high.annotation("zen-lead.io/never-lead", "yes").ready().create().await?;
    let words = ["zen-lead.io/priority is \"high\"", "Used instead: 0"];
    let notice = stage.until_told("InvalidConfiguration", &words).await?;
    assert_eq!(notice.related.and_then(|pod| pod.uid).as_deref(), Some(high.uid()));
    stage.until_told("InvalidConfiguration", &["never-lead is \"yes\"", "Used instead: false"]).await?;
    stage.until_led("orders", &high).await?;
    // 0 is less than 1.
    let better = stage.member("orders", "orders-1").annotation("zen-lead.io/priority", "1").ready();
    let better = better.create().await?;
    stage.until_led("orders", &better).await?;
    // Another value is news.
    high.annotate("zen-lead.io/priority", Some("9999999999")).await?;
    stage.until_told("InvalidConfiguration", &["\"9999999999\""]).await?;
    // Who opts in later, or selects the pod later, is told as well.
    let other = stage.ns.service("bills").selector("app", "nobody").port("http", 80, 8080);
    let other = other.annotation("zen-lead.io/enabled", "true").create().await?;
    other.patch(serde_json::json!({ "spec": { "selector": { "app": "orders" } } })).await?;
    let late = stage.ns.service("late").selector("app", "orders").port("http", 80, 8080);
    late.annotation("zen-lead.io/enabled", "true").create().await?;
    for source in ["bills", "late"] {
        stage.ns.slices().until_leader(&format!("{source}-leader"), "orders-1", SOON).await?;
        stage.all_is_seen().await?;
        let told = stage.reasons_about(source).await?;
        assert_eq!(
            told.iter().filter(|reason| *reason == "InvalidConfiguration").count(),
            2,
            "{source}: {told:?}"
        );
    }
    stage.end().await
}

/// Long, odd and hostile text goes into notices as it is, cut; names of pods go into paths.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_only_text() -> Result<()> {
    let stage = Stage::new("text").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    let endless = "\u{1F4A3}".repeat(20_000);
    source.annotate("zen-lead.io/failback", Some(&endless)).await?;
    let notice = stage.until_told("InvalidConfiguration", &["zen-lead.io/failback"]).await?;
    assert!(notice.note.is_some_and(|note| note.len() <= 1024));
    for path in ["../../secrets", "orders-1/../../x", "a?b=c", "orders-1/uid;token;never", "%2e%2e"] {
        source.annotate("zen-lead.io/switchover-to", Some(path)).await?;
        stage.until_told("InvalidConfiguration", &["switchover-to", path]).await?;
    }
    // What somebody writes into the slice becomes a request's path only if it can be a pod's name.
    let forged = serde_json::json!({
        "metadata": { "annotations": {
            "zen-lead.io/leader-pod-name": "../secrets", "zen-lead.io/leader-pod-uid": "../x",
            "zen-lead.io/epoch": "99999999999999999999",
        } },
    });
    stage.edit_slice("orders-leader", &forged).await?;
    stage.until_told("InvalidConfiguration", &["zen-lead.io/epoch", "99999999999999999999"]).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    assert!(stage.asked()?.iter().all(|entry| !entry.uri.contains("secrets")));
    stage.end().await
}
