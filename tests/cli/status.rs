//! `zen-lead status`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Process;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::program::{masked, program, zen_lead};
use crate::support::{ENABLED, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn one_service_is_a_screen() -> Result<()> {
    let stage = Stage::new("screen").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    pods[0].unready().await?;
    stage.until_announced("orders", &pods[1], "LeaderChanged").await?;
    let done = zen_lead(&stage.ns, &["status", "orders"])?;
    assert_eq!(
        done.told(&stage.ns),
        "\
Service:   NS/orders
Leader Service: orders-leader
Phase:   Elected since TIME (AGE ago)
Leader:   orders-1 on node node-1, at ADDRESS
Epoch:   EPOCH
Members:   1 eligible of 2
Successor:   nobody
Last failover:   AGE ago: unready
Budget:   the controller's (--failover-budget)"
    );
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_services_are_a_table_with_what_people_should_know() -> Result<()> {
    let stage = Stage::new("table").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let http = json!({ "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] });
    let web = stage.source("web").spec(http).annotation("zen-lead.io/failover-budget", "2s");
    web.create().await?;
    stage.member("web", "web-0").ready().create().await?;
    stage.source("carts").annotation("zen-lead.io/paused", "2096-01-31T18:00:00Z").create().await?;
    stage.source("stock").annotation("zen-lead.io/strategy", "best").create().await?;
    stage.ns.service("plain").selector("app", "plain").port("http", 80, 8080).create().await?;
    for source in ["web", "carts", "stock"] {
        stage.until_service(&format!("{source}-leader")).await?;
    }
    stage.until_told("NamedPortResolutionFailed", &[]).await?;
    stage.all_is_seen().await?;
    let done = zen_lead(&stage.ns, &["status"])?;
    let table: Vec<String> =
        done.told(&stage.ns).lines().filter(|line| !line.starts_with("marker")).map(str::to_owned).collect();
    let table = table.join("\n");
    assert!(
        table.starts_with("NAME   LEADER   PHASE   SINCE   EPOCH   ELIGIBLE   NODE   NOTES\n"),
        "{table}"
    );
    for row in [
        "orders   orders-0   Elected   AGE   EPOCH   2/2   node-1   -",
        "carts   -   Leaderless   AGE   -   0/0   -   paused until TIME",
        "web   -   Leaderless   AGE   -   0/1   -   nobody can lead: see `zen-lead why`; \
         1 member never eligible: port http missing",
        "stock   -   Leaderless   AGE   -   0/0   -   nobody can lead: see `zen-lead why`; zen-lead.io/strategy is \
         \"best\", but it is none of oldest, newest and longest-ready; used instead: oldest",
    ] {
        assert!(table.lines().any(|line| line == row), "{row}\n{table}");
    }
    assert!(!table.contains("plain"), "{table}");

    let wide = zen_lead(&stage.ns, &["status", "-o", "wide", "-A"])?.told(&stage.ns);
    let heading = "NAMESPACE   NAME   LEADER   PHASE   SINCE   EPOCH   ELIGIBLE   NODE   ZONE   LAST FAILOVER   \
                   BUDGET   NOTES\n";
    assert!(wide.starts_with(heading), "{wide}");
    let budget = "NS   web   -   Leaderless   AGE   -   0/1   -   -   -   SPAN   nobody can lead";
    assert!(wide.contains(budget), "{wide}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_can_read_it() -> Result<()> {
    let stage = Stage::new("structure").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let done = zen_lead(&stage.ns, &["status", "orders", "-o", "json"])?;
    let mut answer: Value = serde_json::from_str(&done.told)?;
    let leader = json!({
        "name": "orders-0", "uid": pods[0].uid(), "node": "node-1", "address": pods[0].ip().to_string(),
    });
    assert_eq!(answer["leader"], leader);
    for told in ["since", "epoch"] {
        assert!(answer[told].is_string() || answer[told].is_number(), "{answer}");
        answer[told].take();
    }
    answer["leader"].take();
    let expected = json!({
        "namespace": stage.ns.name(), "name": "orders", "leaderService": "orders-leader", "phase": "Elected",
        "leader": null, "since": null, "epoch": null, "members": { "eligible": 2, "total": 2 },
        "successor": "orders-1", "notes": [],
    });
    assert_eq!(answer, expected);

    let list = zen_lead(&stage.ns, &["status", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list.told)?;
    assert_eq!(list["items"][0]["name"], "orders");
    let yaml = zen_lead(&stage.ns, &["status", "orders", "-o", "yaml"])?.told(&stage.ns);
    assert!(yaml.starts_with("namespace: NS\nname: orders\nleaderService: orders-leader\n"), "{yaml}");
    assert_eq!(zen_lead(&stage.ns, &["status", "-o", "name"])?.told(&stage.ns), "service/orders");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_every_change() -> Result<()> {
    let stage = Stage::new("watch").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let kubeconfig = stage.ns.kubeconfig_admin()?;
    let shown = kubeconfig.with_extension("watch");
    let arguments = ["status", "--watch", "--kubeconfig", kubeconfig.to_str().context("a path")?];
    let watch = Process::spawn(&program(), &arguments.map(str::to_owned), &shown)?;
    let until = async |row: &str| {
        let deadline = Instant::now() + SOON;
        let mut often = interval(Duration::from_millis(10));
        loop {
            often.tick().await;
            let text = masked(&std::fs::read_to_string(&shown)?, &stage.ns);
            if text.lines().any(|line| line == row) {
                return anyhow::Ok(text);
            }
            ensure!(Instant::now() < deadline, "{row} is not shown:\n{text}");
        }
    };
    until("orders   orders-0   Elected   AGE   EPOCH   2/2   node-1   -").await?;
    pods[0].unready().await?;
    until("orders   orders-1   Elected   AGE   EPOCH   1/2   node-1   -").await?;
    stage
        .ns
        .service("carts")
        .annotation(ENABLED, "true")
        .selector("a", "b")
        .port("http", 80, 80)
        .create()
        .await?;
    let text =
        until("carts   -   Leaderless   AGE   -   0/0   -   nobody can lead: see `zen-lead why`").await?;
    assert!(!text.contains('\x1b'), "nobody looks at a terminal: {text}");
    watch.end(Duration::from_secs(5))?;
    stage.end().await
}
