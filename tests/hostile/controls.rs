//! What people can ask for on Services and pods, end to end: pause, failback, delays, strategy, priority.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use lab::{Change, leader_of};

use crate::support::{Stage, leaders};

async fn leader(stage: &Stage) -> Result<Option<String>> {
    Ok(leader_of(&stage.slice("orders").await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_paused_nobody_is_chosen() -> Result<()> {
    let stage = Stage::new("paused").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    stage.until_notice("Paused").await?;
    pods[0].unready().await?;
    source.annotate("zen-lead.io/switchover-to", Some("orders-2")).await?;
    pods[0].annotate("zen-lead.io/never-lead", Some("true")).await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    // Resumed, the request counts.
    source.annotate("zen-lead.io/paused", Some("false")).await?;
    stage.until_notice("Resumed").await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.end().await
}

/// A leader that is told to terminate is followed into that, paused or not.
#[tokio::test(flavor = "multi_thread")]
async fn while_paused_a_terminating_leader_drains() -> Result<()> {
    let stage = Stage::new("paused-drain").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    stage.until_notice("Paused").await?;
    pods[0].terminate(lab::within(300)).await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    pods[0].unready().await?;
    stage.until_leaderless("orders").await?;
    source.annotate("zen-lead.io/paused", None).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_by_itself_at_its_time() -> Result<()> {
    let stage = Stage::new("paused-until").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    let over = Timestamp::now() + Duration::from_secs(4);
    let history = stage.ns.history().await?;
    source.annotate("zen-lead.io/paused", Some(&over.to_string())).await?;
    stage.until_notice("Paused").await?;
    pods[0].unready().await?;
    // Nothing happens from here on.
    stage.until_notice("Resumed").await?;
    assert!(Timestamp::now() >= over);
    stage.until_led("orders", &pods[1]).await?;
    assert_eq!(leaders(&history.up_to_now().await?, "orders-leader"), ["orders-0", "orders-1"]);
    // One that is over already is none.
    source.annotate("zen-lead.io/paused", Some("2020-01-01T00:00:00Z")).await?;
    pods[0].ready().await?;
    pods[1].unready().await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.end().await
}

/// A restart in a pause does not end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_a_restart() -> Result<()> {
    let mut stage = Stage::new("paused-restart").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    stage.until_notice("Paused").await?;
    pods[0].unready().await?;
    stage.restart().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"));
    source.annotate("zen-lead.io/paused", None).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failback_waits_as_long_as_it_says() -> Result<()> {
    let stage = Stage::new("failback").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/failback", Some("4s")).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    let history = stage.ns.history().await?;
    pods[0].ready().await?;
    let ready_at = std::time::Instant::now();
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"), "not at once");
    // Nothing happens from here on.
    stage.until_led("orders", &pods[0]).await?;
    stage.until_told("LeaderChanged", &["orders-0", "failback"]).await?;
    let revisions = history.up_to_now().await?;
    let back = revisions.iter().find(|revision| leader_of(&revision.slice).as_deref() == Some("orders-0"));
    // Kubernetes notes the Ready time in whole seconds.
    let waited = back.context("it came back")?.at.duration_since(ready_at);
    assert!(waited > Duration::from_millis(2_500), "it came back after {waited:?}");
    // `never` is the end of that; `sticky: false` says `immediate`, and yields to `failback`.
    source.annotate("zen-lead.io/failback", Some("never")).await?;
    source.annotate("zen-lead.io/sticky", Some("false")).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"));
    source.annotate("zen-lead.io/failback", None).await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.end().await
}

/// A pod that ranks first comes and goes: in the end it is left alone. No leader that is lost is kept for that, and nobody
/// who names a pod has to wait.
#[tokio::test(flavor = "multi_thread")]
async fn after_too_many_changes_only_preferences_wait() -> Result<()> {
    let stage = Stage::new("max-switches").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    source.annotate("zen-lead.io/max-switches", Some("3/10m")).await?;
    source.annotate("zen-lead.io/failback", Some("immediate")).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    stage.until_led("orders", &pods[0]).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"), "three changes fill the window");
    pods[0].unready().await?;
    pods[1].unready().await?;
    stage.until_led("orders", &pods[2]).await?;
    pods[1].ready().await?;
    source.annotate("zen-lead.io/switchover-to", Some("orders-1")).await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"));
    // However much of a shorter window is over by now, nothing else happens until all of it is.
    source.annotate("zen-lead.io/max-switches", Some("3/4s")).await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.until_told("LeaderChanged", &["orders-0", "failback"]).await?;
    stage.end().await
}

/// The leader Service tells whoever begins when the leader changed last.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_change_outlives_a_restart() -> Result<()> {
    let mut stage = Stage::new("switches-restart").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/max-switches", Some("1/1h")).await?;
    source.annotate("zen-lead.io/failback", Some("immediate")).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.until_announced("orders", &pods[1], "LeaderChanged").await?;
    pods[0].ready().await?;
    stage.restart().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"));
    // Two changes are not what it tells.
    source.annotate("zen-lead.io/max-switches", Some("2/1h")).await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_back_within_the_failover_min_delay_stays() -> Result<()> {
    let stage = Stage::new("delay").await?;
    let source = stage.source("orders").annotation("zen-lead.io/failover-min-delay", "5m").create().await?;
    let pods = stage.members("orders", 3).await?;
    let history = stage.ns.history().await?;
    pods[0].unready().await?;
    stage.until_told("LeaderDraining", &["orders-0"]).await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"), "still published");
    pods[0].ready().await?;
    stage.until_told("LeaderRecovered", &["orders-0"]).await?;
    // A shorter one takes effect at once; and never covers a leader that goes.
    pods[0].unready().await?;
    stage.all_is_seen().await?;
    source.annotate("zen-lead.io/failover-min-delay", Some("1ms")).await?;
    stage.until_led("orders", &pods[1]).await?;
    source.annotate("zen-lead.io/failover-min-delay", Some("5m")).await?;
    pods[1].terminate(lab::within(300)).await?;
    stage.until_led("orders", &pods[2]).await?;
    pods[2].vanish().await?;
    stage.until_leaderless("orders").await?;
    let seen = leaders(&history.up_to_now().await?, "orders-leader");
    assert_eq!(seen, ["orders-0", "orders-1", "orders-2", "nobody"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn never_lead_and_priority_decide_who_leads() -> Result<()> {
    let stage = Stage::new("priority").await?;
    stage.source("orders").create().await?;
    let excluded = stage.member("orders", "orders-0").annotation("zen-lead.io/never-lead", "true").ready();
    let excluded = excluded.create().await?;
    let low = stage.member("orders", "orders-1").annotation("zen-lead.io/priority", "-1").ready();
    let low = low.create().await?;
    stage.until_led("orders", &low).await?;
    let high = stage.member("orders", "orders-2").annotation("zen-lead.io/priority", "7").ready();
    let high = high.create().await?;
    let middle = stage.member("orders", "orders-3").ready().create().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-1"), "priority alone unseats nobody");
    // Excluding the leader does.
    low.annotate("zen-lead.io/never-lead", Some("true")).await?;
    stage.until_led("orders", &high).await?;
    stage.until_told("LeaderChanged", &["orders-2", "excluded"]).await?;
    high.vanish().await?;
    stage.until_led("orders", &middle).await?;
    middle.vanish().await?;
    stage.until_leaderless("orders").await?;
    excluded.annotate("zen-lead.io/never-lead", Some("false")).await?;
    stage.until_led("orders", &excluded).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_node_and_a_preferred_zone_decide_among_equal_priorities() -> Result<()> {
    let stage = Stage::new("place").await?;
    let source = stage.source("orders").annotation("zen-lead.io/prefer-zone", "eu-1b").create().await?;
    let mut pods = Vec::new();
    for (number, zone) in [(0, "eu-1a"), (1, "eu-1a"), (2, "eu-1b"), (3, "eu-1b")] {
        let pod = stage.member("orders", &format!("orders-{number}")).node(&format!("node-{number}"));
        pods.push(pod.label("topology.kubernetes.io/zone", zone).ready().create().await?);
        stage.until_led("orders", &pods[0]).await?;
    }
    stage.all_is_seen().await?;
    assert_eq!(leader(&stage).await?.as_deref(), Some("orders-0"), "a place alone unseats nobody");
    pods[0].unready().await?;
    stage.until_led("orders", &pods[2]).await?;
    // With failback it does, and the node is the closer wish.
    source.annotate("zen-lead.io/failback", Some("immediate")).await?;
    source.annotate("zen-lead.io/prefer-node", Some("node-1")).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.until_told("LeaderChanged", &["orders-1", "failback"]).await?;
    source.annotate("zen-lead.io/prefer-node", None).await?;
    stage.until_led("orders", &pods[2]).await?;
    pods[3].annotate("zen-lead.io/priority", Some("1")).await?;
    stage.until_led("orders", &pods[3]).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strategy_decides_among_equals() -> Result<()> {
    let stage = Stage::new("strategy").await?;
    let source = stage.source("orders").create().await?;
    let first = stage.member("orders", "c").ready().create().await?;
    stage.until_led("orders", &first).await?;
    first.becomes_older().await?;
    let oldest = stage.member("orders", "b").ready().create().await?;
    oldest.becomes_older().await?;
    let newest = stage.member("orders", "a").ready().create().await?;
    newest.becomes_older().await?;
    // The oldest becomes the one that has been Ready for the shortest time.
    oldest.unready().await?;
    oldest.ready().await?;
    for (strategy, expected) in [("newest", &newest), ("oldest", &oldest), ("longest-ready", &newest)] {
        source.annotate("zen-lead.io/strategy", Some(strategy)).await?;
        // Services and pods come by different watches.
        stage.all_is_seen().await?;
        first.annotate("zen-lead.io/never-lead", Some("true")).await?;
        stage.until_led("orders", expected).await?;
        // Back to the first, for the next.
        first.annotate("zen-lead.io/never-lead", None).await?;
        source.annotate("zen-lead.io/switchover-to", Some(&request(&first, strategy))).await?;
        stage.until_led("orders", &first).await?;
    }
    stage.end().await
}

fn request(pod: &lab::Pod, token: &str) -> String {
    let expiry = Timestamp::now() + Duration::from_mins(10);
    format!("{}/{};{token};{expiry}", pod.name(), pod.uid())
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_mode_available_publishes_the_ports_that_resolve() -> Result<()> {
    let stage = Stage::new("available").await?;
    let source = stage.source("orders").named_port("web", 81, "web").create().await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    stage.until_told("NamedPortResolutionFailed", &[]).await?;
    source.annotate("zen-lead.io/ports-mode", Some("available")).await?;
    let slice = stage.until_led("orders", &pod).await?;
    let ports = slice.ports.context("it has ports")?;
    assert_eq!(ports.iter().filter_map(|port| port.port).collect::<Vec<_>>(), [8080]);
    source.annotate("zen-lead.io/ports-mode", Some("all")).await?;
    stage.until_leaderless("orders").await?;
    stage.end().await
}

/// In, out, in, out: whatever the last word is holds, and nothing of the former is left.
#[tokio::test(flavor = "multi_thread")]
async fn opting_in_and_out_in_quick_succession_ends_as_the_last_word_says() -> Result<()> {
    let stage = Stage::new("in-out").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    let history = stage.ns.history().await?;
    for _ in 0..15 {
        source.annotate("zen-lead.io/enabled", Some("false")).await?;
        source.annotate("zen-lead.io/enabled", Some("true")).await?;
    }
    stage.all_is_seen().await?;
    stage.until_led("orders", &pods[0]).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    let epochs = history.up_to_now().await?;
    let epochs: Vec<u64> = epochs
        .iter()
        .filter(|revision| revision.change != Change::Deleted)
        // Not those of the marker's own Service.
        .filter(|revision| revision.slice.metadata.name.as_deref() == Some("orders-leader"))
        .filter_map(|revision| {
            revision.slice.metadata.annotations.as_ref()?.get("zen-lead.io/epoch")?.parse().ok()
        })
        .collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    for _ in 0..15 {
        source.annotate("zen-lead.io/enabled", Some("true")).await?;
        source.annotate("zen-lead.io/enabled", Some("false")).await?;
    }
    stage.until_nothing_for("orders").await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.made_for("orders").await?, (vec![], vec![]));
    stage.end().await
}
