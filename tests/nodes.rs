//! Leaders on nodes that are lost. Nodes and their Leases are plain objects here: the test is all kubelets.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab::{Directory, Entry, Lab, Options, Pod, Service, apply_yaml};
use serde_json::{Value, json};
use support::{Controller, SOON, Stage, authorise, leaders, manifest};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

const LEASES: &str = "kube-node-lease";

/// Of the Leases here. They are renewed every 2 s in the eyes of the controller, whose patience so is 5 s, and in fact
/// more often: machines that run tests are slow at times.
const LEASE_SECONDS: u64 = 8;
const TIMEOUT: Duration = Duration::from_millis(LEASE_SECONDS * 1_000 * 5 / 8);
const RENEW_EVERY: Duration = Duration::from_millis(500);

/// Nodes whose Leases are renewed, as long as they live.
struct Kubelets {
    client: Client,
    live: Arc<Mutex<BTreeSet<String>>>,
    tasks: JoinSet<()>,
}

impl Kubelets {
    /// So many nodes, `node-0` and so on, all of them alive.
    async fn start(lab: &Lab, count: usize) -> Result<Self> {
        let client = lab.control_plane.admin().await?;
        // The API server makes it soon; whoever is first makes it for both.
        let namespace = serde_json::from_value(json!({ "metadata": { "name": LEASES } }))?;
        match Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
        let names: Vec<String> = (0..count).map(|number| format!("node-{number}")).collect();
        for name in &names {
            let node = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
            let nodes = Api::<Node>::all(client.clone());
            nodes.create(&PostParams::default(), &node).await?;
            // The API server taints each new one as not ready, for the node controller to find out otherwise.
            let sound = Patch::Merge(json!({ "spec": { "taints": null } }));
            nodes.patch(name, &PatchParams::default(), &sound).await?;
            let spec = json!({ "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS });
            let lease = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec }))?;
            Api::<Lease>::namespaced(client.clone(), LEASES).create(&PostParams::default(), &lease).await?;
        }
        let live = Arc::new(Mutex::new(names.into_iter().collect()));
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(Api::namespaced(client.clone(), LEASES), Arc::clone(&live)));
        Ok(Self { client, live, tasks })
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silence(&self, node: &str) {
        self.live().remove(node);
    }

    fn revive(&self, node: &str) {
        self.live().insert(node.to_owned());
    }

    async fn cordon(&self, node: &str, is_cordoned: bool) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": is_cordoned } }));
        Api::<Node>::all(self.client.clone()).patch(node, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn taint(&self, node: &str, is_out: bool) -> Result<()> {
        let taint = json!({
            "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute",
        });
        let taints: Vec<Value> = is_out.then_some(taint).into_iter().collect();
        let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
        Api::<Node>::all(self.client.clone()).patch(node, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// What does not succeed comes too late, as with a kubelet.
async fn renew(leases: Api<Lease>, live: Arc<Mutex<BTreeSet<String>>>) {
    let mut often = interval(RENEW_EVERY);
    let mut turn = 0_u64;
    loop {
        often.tick().await;
        turn += 1;
        let names = live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in names {
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { "turn": turn.to_string() } } }));
            let _ = leases.patch(&name, &PatchParams::default(), &patch).await;
        }
    }
}

/// The rights of deploy/nodes for the account in this namespace.
async fn give_rights(client: &Client, namespace: &str, files: &[&str]) -> Result<()> {
    for file in files {
        let text = manifest(&format!("deploy/nodes/{file}.yaml"))?.replace("zen-lead-system", namespace);
        apply_yaml(client, &text, None).await?;
    }
    Ok(())
}

const ALL: [&str; 4] = ["clusterrole", "clusterrolebinding", "role", "rolebinding"];

/// A controller that watches these nodes, with `orders-0` leading on `node-0`, and a pod more on each further node.
struct Scene {
    kubelets: Kubelets,
    stage: Stage,
    source: Service,
    pods: Vec<Pod>,
}

impl Scene {
    async fn set(lab: &Lab, nodes: usize, arguments: &[&str]) -> Result<Self> {
        let kubelets = Kubelets::start(lab, nodes).await?;
        let ns = lab.namespace("nodes").await?;
        let account = authorise(&ns).await?;
        give_rights(&ns.client(), ns.name(), &ALL).await?;
        let stage = Stage::for_account(lab, ns, account, &[&["--watch-nodes"], arguments].concat()).await?;
        let source = stage.source("orders").create().await?;
        let mut pods = Vec::new();
        for number in 0..nodes {
            let pod = stage.member("orders", &format!("orders-{number}")).node(&format!("node-{number}"));
            pods.push(pod.ready().create().await?);
            if number == 0 {
                stage.until_led("orders", &pods[0]).await?;
            }
        }
        // Everybody is known: pods are told in order.
        stage.all_is_seen().await?;
        Ok(Self { kubelets, stage, source, pods })
    }

    /// For longer than a node has, in which nothing follows from what the test did before.
    async fn nobody_moves(&self, time: Duration) -> Result<()> {
        let before = self.stage.slice("orders").await?.metadata.resource_version;
        sleep_until(Instant::now() + time).await;
        let after = self.stage.slice("orders").await?.metadata.resource_version;
        ensure!(before == after, "the slice was written: {}", self.stage.controller.log()?);
        Ok(())
    }

    async fn until_shown(&self, lost: usize, held: usize) -> Result<()> {
        let wanted = [format!("zen_lead_nodes_lost {lost}\n"), format!("zen_lead_nodes_held {held}\n")];
        let is_so = |scrape: &str| wanted.iter().all(|line| scrape.contains(line.as_str()));
        self.stage.controller.until_scraped(is_so).await.map(drop)
    }

    async fn end(mut self) -> Result<Stage> {
        self.stage.controller.stop()?;
        self.kubelets.tasks.shutdown().await;
        Ok(self.stage)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_on_a_lost_node_is_replaced_when_its_time_is_over() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let record = Directory::create()?;
    let scene = Scene::set(&lab, 4, &[&format!("--record={}", record.path().display())]).await?;
    let Scene { kubelets, stage, pods, .. } = &scene;
    kubelets.silence("node-0");
    let silent_since = Instant::now();
    stage.until_led("orders", &pods[1]).await?;
    // One renewal may have been on its way.
    ensure!(silent_since.elapsed() + RENEW_EVERY >= TIMEOUT, "too early: {:?}", silent_since.elapsed());
    stage.until_told("LeaderChanged", &["orders-1", "node_lost"]).await?;
    // By its own account: what it could not hear of does not count, so that a slow machine makes no difference.
    let line = stage.controller.until_logged(&["WARN", "does not renew its Lease", "node-0"]).await?;
    let age = line.split("seconds=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let age: f64 = age.context("an age")?.parse()?;
    let late = age - TIMEOUT.as_secs_f64();
    ensure!((0.0..1.5).contains(&late), "{late} s after the timeout");
    // Its pod is as it was.
    ensure!(pods[0].get().await?.metadata.deletion_timestamp.is_none(), "the old pod is left alone");
    scene.until_shown(1, 0).await?;

    // Out of service, at once; the next in rank is on the node that is silent.
    kubelets.taint("node-1", true).await?;
    stage.until_led("orders", &pods[2]).await?;
    scene.until_shown(2, 0).await?;

    // Both are back, and may be chosen again.
    kubelets.revive("node-0");
    kubelets.taint("node-1", false).await?;
    scene.until_shown(0, 0).await?;
    stage.all_is_seen().await?;
    pods[2].unready().await?;
    stage.until_led("orders", &pods[0]).await?;

    let stage = scene.end().await?;
    // The log has a watch when it ends. It asked for what deploy/nodes gives, and for no more of it.
    let listed = rights_for_nodes();
    let uses_all =
        |asked: &[Entry]| listed.iter().all(|right| asked.iter().any(|entry| right_of(entry) == *right));
    stage.until_asked(uses_all).await.context("all of deploy/nodes is used")?;
    for entry in stage.asked()?.iter().filter(|entry| ["nodes", "leases"].contains(&&*entry.resource)) {
        ensure!(entry.code == 200 && listed.contains(&right_of(entry)), "{entry:?}");
    }
    replays(&record, &["the node of the leader orders-0 is lost", "the node of orders-0 is back"])
}

/// What was recorded leads to the same once more, and tells of the nodes in these words.
fn replays(record: &Directory, words: &[&str]) -> Result<()> {
    let files = std::fs::read_dir(record.path())?.map(|entry| Ok(entry?.path()));
    let files: Vec<_> = files.collect::<std::io::Result<_>>()?;
    let replay = Command::new(env!("CARGO_BIN_EXE_zen-lead")).arg("replay").args(files).output()?;
    let text = String::from_utf8_lossy(&replay.stdout);
    ensure!(replay.status.success(), "{text}{}", String::from_utf8_lossy(&replay.stderr));
    for told in words {
        ensure!(text.contains(told), "{told}: {text}");
    }
    Ok(())
}

fn right_of(entry: &Entry) -> (String, String) {
    (entry.resource.clone(), entry.verb.clone())
}

fn rights_for_nodes() -> BTreeSet<(String, String)> {
    let of = |resource: &str| ["list", "watch"].map(|verb| (resource.to_owned(), verb.to_owned()));
    of("nodes").into_iter().chain(of("leases")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_is_avoided_and_left_if_that_is_asked_for() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let record = Directory::create()?;
    let scene = Scene::set(&lab, 4, &[&format!("--record={}", record.path().display())]).await?;
    let Scene { kubelets, stage, pods, .. } = &scene;
    // That alone unseats nobody, but nobody follows there.
    for node in ["node-0", "node-1"] {
        kubelets.cordon(node, true).await?;
        stage.controller.until_logged(&["cordoned: others are chosen before its pods", node]).await?;
    }
    pods[0].unready().await?;
    stage.until_led("orders", &pods[2]).await?;
    pods[0].ready().await?;
    // Who asks for it leaves, without a revision in between that has nobody.
    let history = stage.ns.history().await?;
    scene.source.annotate("zen-lead.io/leave-cordoned", Some("true")).await?;
    kubelets.cordon("node-2", true).await?;
    stage.until_led("orders", &pods[3]).await?;
    stage.until_told("LeaderChanged", &["orders-3", "orders-2", "cordoned"]).await?;
    // The last one stays: there is nowhere to go, until there is.
    kubelets.cordon("node-3", true).await?;
    stage.controller.until_logged(&["cordoned: others are chosen before its pods", "node-3"]).await?;
    kubelets.cordon("node-1", false).await?;
    stage.until_led("orders", &pods[1]).await?;
    let seen = leaders(&history.up_to_now().await?, "orders-leader");
    ensure!(seen == ["orders-2", "orders-3", "orders-1"], "{seen:?}");
    let metrics = r#"failover_count_total{namespace="NAMESPACE",service="orders",reason="cordoned"} 2"#;
    let metrics = metrics.replace("NAMESPACE", stage.ns.name());
    stage.controller.until_scraped(|scrape| scrape.contains(&metrics)).await?;
    scene.end().await?;
    replays(&record, &["orders-1 has changed, its node is cordoned", "for cordoned"])
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_nodes_are_silent_it_is_not_them_and_nobody_is_replaced() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let scene = Scene::set(&lab, 3, &[]).await?;
    let Scene { kubelets, stage, .. } = &scene;
    for node in ["node-0", "node-1", "node-2"] {
        kubelets.silence(node);
    }
    stage.controller.until_logged(&["WARN", "none is taken for lost", "node-0", "node-2"]).await?;
    scene.until_shown(0, 3).await?;
    scene.nobody_moves(TIMEOUT).await?;
    for node in ["node-0", "node-1", "node-2"] {
        kubelets.revive(node);
    }
    scene.until_shown(0, 0).await?;

    // We are cut off, for longer than a node has, and so are they.
    let api_server = lab.control_plane.api_server(0);
    api_server.stop().await?;
    stage.controller.until_probe("/readyz", |answer| answer.starts_with("HTTP/1.1 503")).await?;
    sleep_until(Instant::now() + 2 * TIMEOUT).await;
    api_server.start().await?;
    stage.controller.until_ready().await?;
    scene.nobody_moves(2 * TIMEOUT).await?;
    scene.until_shown(0, 0).await?;
    assert!(!stage.controller.log()?.contains("does not renew its Lease"));
    scene.end().await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_right_it_says_so_and_the_rest_goes_on() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let kubelets = Kubelets::start(&lab, 4).await?;
    let ns = lab.namespace("nodes").await?;
    let account = authorise(&ns).await?;
    let arguments = ["--watch-nodes", "--node-lease-timeout=3s"];
    let controller = Controller::in_namespace(&ns, &account, &arguments).await?;
    let says_all = |answer: &str| {
        let words = ["cannot list resource \"nodes\"", "cannot list resource \"leases\"", "+]watch "];
        answer.starts_with("HTTP/1.1 503") && words.iter().all(|words| answer.contains(words))
    };
    controller.until_probe("/readyz", says_all).await?;
    for resource in ["nodes", "leases.coordination.k8s.io"] {
        let refusal = format!("403: {resource} is forbidden");
        let line = controller.until_logged(&["ERROR", &refusal, "cannot list resource"]).await?;
        assert!(line.contains("check the ClusterRole"), "{line}");
    }
    let orders = ns.service("orders").annotation("zen-lead.io/enabled", "true");
    orders.selector("app", "orders").port("http", 80, 8080).create().await?;
    let member = |number: u32| {
        let pod = ns.pod(&format!("orders-{number}")).label("app", "orders");
        pod.node(&format!("node-{number}")).ready()
    };
    let first = member(0).create().await?;
    ns.slices().until_leader("orders-leader", "orders-0", SOON).await?;
    member(1).create().await?;
    first.unready().await?;
    ns.slices().until_leader("orders-leader", "orders-1", SOON).await?;

    // One by one, and each takes effect as soon as it is given.
    give_rights(&ns.client(), ns.name(), &ALL[..2]).await?;
    controller.until_probe("/readyz", |answer| answer.contains("[+]watch nodes")).await?;
    first.ready().await?;
    kubelets.taint("node-1", true).await?;
    ns.slices().until_leader("orders-leader", "orders-0", SOON).await?;
    kubelets.taint("node-1", false).await?;
    give_rights(&ns.client(), ns.name(), &ALL[2..]).await?;
    controller.until_ready().await?;
    // Two and a half renewals of these Leases are 5 s.
    let line =
        controller.until_logged(&["WARN", "--node-lease-timeout=3s is refused", "Used instead: 5 s"]).await?;
    assert!(line.contains("leaseDurationSeconds 8"), "{line}");
    kubelets.silence("node-0");
    ns.slices().until_leader("orders-leader", "orders-1", SOON).await?;
    Ok(())
}
