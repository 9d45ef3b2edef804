//! A single failover on the real control plane: from the pod's change on a watch to the slice's change on a watch.
//!
//! The floor is a bare client: it sees the pod change on its own watch and PUTs a prepared slice with its
//! resourceVersion. Ours and the floor take turns, pair by pair; the same observer times both. `--rounds N` (default
//! 1000) pairs for each case, `--only WORDS` picks cases, `--json FILE` writes the figures.

mod support;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod as PodObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use lab::{Audit, Lab, Namespace, Options, Pod, next_ipv4};
use serde_json::json;
use support::{Controller, Figure, argument, authorise, ms, number, report};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use zen_lead::kinds::{PodLite, SliceLite};
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

/// By then mirror and notice of a failover are done: they take some 5 ms.
const AFTERMATH: Duration = Duration::from_millis(40);

/// What ends the leadership in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    NotReady,
    ForceDeleted,
    GracefullyDeleted,
}

const LOSSES: [(Loss, &str); 3] = [
    (Loss::NotReady, "NotReady"),
    (Loss::ForceDeleted, "force-deleted"),
    (Loss::GracefullyDeleted, "gracefully deleted"),
];

fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench -- --test` only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<()> {
    let rounds = number("--rounds", 1_000)?;
    let only = argument("--only").unwrap_or_default();
    let lab = Lab::start(Options::default()).await?;
    let mut figures = Vec::new();
    for services in [1, 200] {
        let cases = LOSSES.map(|(loss, words)| (loss, format!("{services} x 3 pods, leader {words}")));
        let with_itself = services == 1 && "A/A".contains(&only);
        if !with_itself && cases.iter().all(|(_, name)| !name.contains(&only)) {
            continue;
        }
        let mut bench = Bench::begin(&lab, services).await?;
        for (loss, name) in cases {
            if name.contains(&only) {
                figures.push(bench.compare(name, loss, rounds).await?);
            }
        }
        if with_itself {
            figures.push(bench.floor_against_itself(rounds).await?);
        }
        bench.controller.stop()?;
    }
    report("failover, watch to watch", &figures)
}

/// A namespace with the controller and the bare client in it, and one observer.
struct Bench {
    ns: Namespace,
    user: String,
    audit: Audit,
    controller: Controller,
    seen: mpsc::Receiver<Seen>,
    ours: Subject,
    floor: Subject,
    twin: Subject,
}

/// A Service whose leader is lost again and again.
struct Subject {
    name: String,
    slice: String,
    leader: String,
    pods: HashMap<String, Pod>,
}

/// What the observer saw, and when.
struct Seen {
    at: Instant,
    what: What,
}

enum What {
    Pod { name: String, uid: String, ready: bool, terminating: bool, gone: bool },
    Slice { name: String, leader: Option<String> },
    Other,
}

impl From<(usize, Change<PodLite>)> for Seen {
    fn from((_, change): (usize, Change<PodLite>)) -> Self {
        let at = Instant::now();
        let what = match change {
            Change::Applied(pod) => pod_seen(&pod, false),
            Change::Deleted(pod) => pod_seen(&pod, true),
            _ => What::Other,
        };
        Self { at, what }
    }
}

impl From<(usize, Change<SliceLite>)> for Seen {
    fn from((_, change): (usize, Change<SliceLite>)) -> Self {
        let at = Instant::now();
        let what = match change {
            Change::Applied(slice) => What::Slice {
                name: slice.metadata.name.unwrap_or_default(),
                leader: slice.endpoints.first().and_then(|endpoint| endpoint.target_ref.clone()?.name),
            },
            _ => What::Other,
        };
        Self { at, what }
    }
}

fn pod_seen(pod: &PodLite, gone: bool) -> What {
    let ready = pod.status.ready_condition().is_some_and(|ready| ready.status.as_deref() == Some("True"));
    What::Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        gone,
    }
}

impl Bench {
    async fn begin(lab: &Lab, services: usize) -> Result<Self> {
        let ns = lab.namespace(&format!("failover-{services}")).await?;
        let account = authorise(&ns).await?;
        let clients = clients(&ns).await?;
        let (sink, seen) = mpsc::channel(10_000);
        observe(&ns, &clients, &sink);
        let controller = Controller::start(&account, &["--log-level=info"]).await?;
        for number in 1..services {
            other_service(&ns, &format!("other-{number}")).await?;
        }
        let mut bench = Self {
            user: account.user(),
            audit: lab.control_plane.audit(),
            controller,
            seen,
            ours: Subject::new(&ns, "ours", "ours-leader").await?,
            floor: Subject::new(&ns, "floor", "floor-leader").await?,
            twin: Subject::new(&ns, "twin", "twin-leader").await?,
            ns,
        };
        let source = bench.ns.service("ours").selector("app", "ours").port("http", 80, 8080);
        source.annotation("zen-lead.io/enabled", "true").create().await?;
        tokio::spawn(BareClient::new(&bench.ns, clients, &[&bench.floor, &bench.twin]).await?.run());
        for slice in ["ours-leader", "floor-leader", "twin-leader"] {
            bench
                .ns
                .slices()
                .until(slice, Duration::from_mins(1), |slice| !slice.endpoints.is_empty())
                .await?;
        }
        for service in 1..services {
            let name = format!("other-{service}-leader");
            bench
                .ns
                .slices()
                .until(&name, Duration::from_mins(1), |slice| !slice.endpoints.is_empty())
                .await?;
        }
        bench.ours.leader = first_leader(&bench.ns, "ours-leader").await?;
        bench.floor.leader = first_leader(&bench.ns, "floor-leader").await?;
        bench.twin.leader = first_leader(&bench.ns, "twin-leader").await?;
        Ok(bench)
    }

    async fn compare(&mut self, name: String, loss: Loss, rounds: usize) -> Result<Figure> {
        eprintln!("{name}: {rounds} pairs");
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..rounds.min(20) {
            round(&self.ns, &mut self.seen, &mut self.ours, loss).await?;
            round(&self.ns, &mut self.seen, &mut self.floor, loss).await?;
        }
        for pair in 0..rounds {
            // Who goes first takes turns, too.
            if pair % 2 == 0 {
                ours.push(round(&self.ns, &mut self.seen, &mut self.ours, loss).await?);
                floor.push(round(&self.ns, &mut self.seen, &mut self.floor, loss).await?);
            } else {
                floor.push(round(&self.ns, &mut self.seen, &mut self.floor, loss).await?);
                ours.push(round(&self.ns, &mut self.seen, &mut self.ours, loss).await?);
            }
        }
        let mut figure = Figure::of(name, "ms", &ours).over(&ours, &floor);
        self.cost(loss, rounds.clamp(1, 200), &mut figure).await?;
        Ok(figure)
    }

    /// What a failover costs in requests, and in processor time until mirror and notice are done as well. Apart from the
    /// pairs, for the controller watches the floor's pods, too; and without the way back, which is no failover.
    async fn cost(&mut self, loss: Loss, rounds: usize, figure: &mut Figure) -> Result<()> {
        let mark = self.audit.from_now();
        let mut cpu = Duration::ZERO;
        for _ in 0..rounds {
            let before = self.controller.cpu()?;
            let (leader, _) = lose(&self.ns, &mut self.seen, &mut self.ours, loss).await?;
            sleep(AFTERMATH).await;
            cpu += self.controller.cpu()?.saturating_sub(before);
            come_back(&self.ns, &mut self.seen, &mut self.ours, loss, &leader).await?;
            sleep(AFTERMATH).await;
        }
        self.count_requests(&mark, rounds, figure).await?;
        figure.cpu_ms = Some(ms(cpu) / per(rounds));
        Ok(())
    }

    /// How much two floors differ is the noise under every comparison.
    async fn floor_against_itself(&mut self, rounds: usize) -> Result<Figure> {
        eprintln!("A/A: {rounds} pairs");
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            a.push(round(&self.ns, &mut self.seen, &mut self.floor, Loss::NotReady).await?);
            b.push(round(&self.ns, &mut self.seen, &mut self.twin, Loss::NotReady).await?);
        }
        Ok(Figure::of("A/A: the floor against itself", "ms", &a).over(&a, &b))
    }

    async fn count_requests(&self, mark: &Audit, rounds: usize, figure: &mut Figure) -> Result<()> {
        // Mirror and notice follow the publication; the log is complete when the last notice is in it.
        let is_notice = |entry: &&lab::Entry| entry.user == self.user && entry.resource == "events";
        mark.until(Duration::from_secs(30), |entries| entries.iter().filter(is_notice).count() >= rounds)
            .await?;
        let asked = mark.by(&self.user)?;
        let is_read = |entry: &&lab::Entry| matches!(entry.verb.as_str(), "get" | "list");
        let is_write = |entry: &&lab::Entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch");
        figure.reads = Some(per(asked.iter().filter(is_read).count()) / per(rounds));
        figure.writes = Some(per(asked.iter().filter(is_write).count()) / per(rounds));
        let slices =
            asked.iter().filter(|entry| entry.resource == "endpointslices" && is_write(entry)).count();
        eprintln!("  slice writes for each failover: {:.3}", per(slices) / per(rounds));
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn per(count: usize) -> f64 {
    count as f64
}

/// One failover and the way back; returns milliseconds from the pod's change to the slice's.
async fn round(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
) -> Result<f64> {
    let (leader, took) = lose(ns, seen, subject, loss).await?;
    come_back(ns, seen, subject, loss, &leader).await?;
    Ok(took)
}

/// Loses the leader, and waits until another one is published; returns who was lost, and the milliseconds.
async fn lose(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
) -> Result<(String, f64)> {
    let leader = subject.leader.clone();
    let pod = subject.pods.get(&leader).with_context(|| format!("{leader} is no pod of {}", subject.name))?;
    let uid = pod.uid().to_owned();
    let api: Api<PodObject> = ns.api();
    match loss {
        Loss::NotReady => pod.unready().await?,
        Loss::ForceDeleted => delete(&api, &leader, 0).await?,
        Loss::GracefullyDeleted => delete(&api, &leader, 30).await?,
    }
    let (mut seen_lost, mut moved) = (None, None);
    while seen_lost.is_none() || moved.is_none() {
        let Seen { at, what } = next(seen).await?;
        match what {
            What::Pod { name, uid: whose, ready, terminating, gone } if name == leader && whose == uid => {
                if seen_lost.is_none() && (!ready || terminating || gone) {
                    seen_lost = Some(at);
                }
            }
            What::Slice { name, leader: Some(next) } if name == subject.slice && next != leader => {
                subject.leader = next;
                moved = Some(at);
            }
            What::Pod { .. } | What::Slice { .. } | What::Other => {}
        }
    }
    let (Some(start), Some(moved)) = (seen_lost, moved) else { bail!("both were seen") };
    // Two watches have no common order: the slice may be seen a moment before the pod.
    let took = ms(moved.saturating_duration_since(start)) - ms(start.saturating_duration_since(moved));
    Ok((leader, took))
}

/// The pod that was lost is Ready again, or another one of its name.
async fn come_back(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
    former: &str,
) -> Result<()> {
    if loss == Loss::NotReady {
        subject.pods[former].ready().await?;
    } else {
        if loss == Loss::GracefullyDeleted {
            delete(&ns.api(), former, 0).await?;
        }
        let pod = member(ns, &subject.name, former).await?;
        subject.pods.insert(former.to_owned(), pod);
    }
    let uid = subject.pods[former].uid().to_owned();
    until_ready(seen, &uid).await
}

async fn delete(api: &Api<PodObject>, pod: &str, grace: u32) -> Result<()> {
    api.delete(pod, &DeleteParams::default().grace_period(grace)).await?;
    Ok(())
}

async fn until_ready(seen: &mut mpsc::Receiver<Seen>, uid: &str) -> Result<()> {
    loop {
        if let What::Pod { uid: whose, ready: true, terminating: false, gone: false, .. } =
            next(seen).await?.what
            && whose == uid
        {
            return Ok(());
        }
    }
}

async fn next(seen: &mut mpsc::Receiver<Seen>) -> Result<Seen> {
    let seen = timeout(Duration::from_secs(20), seen.recv()).await.context("nothing was seen for 20 s")?;
    seen.context("the observer ended")
}

async fn clients(ns: &Namespace) -> Result<zen_lead::client::Clients> {
    let options = zen_lead::client::ClientOptions { kubeconfig: Some(ns.kubeconfig_admin()?), context: None };
    Ok(zen_lead::client::connect(&options).await?)
}

fn observe(ns: &Namespace, clients: &zen_lead::client::Clients, sink: &mpsc::Sender<Seen>) {
    let pods = Api::<PodLite>::namespaced(clients.watch.clone(), ns.name());
    let slices = Api::<SliceLite>::namespaced(clients.watch.clone(), ns.name());
    let status = || WatchStatus::new("observer");
    tokio::spawn(follow(pods, WatchOptions::default(), 0, sink.clone(), status()));
    tokio::spawn(follow(slices, WatchOptions::default(), 1, sink.clone(), status()));
}

async fn member(ns: &Namespace, service: &str, name: &str) -> Result<Pod> {
    ns.pod(name).label("app", service).ready().create().await
}

async fn other_service(ns: &Namespace, name: &str) -> Result<()> {
    let source = ns.service(name).selector("app", name).port("http", 80, 8080);
    source.annotation("zen-lead.io/enabled", "true").create().await?;
    for number in 0..3 {
        member(ns, name, &format!("{name}-{number}")).await?;
    }
    Ok(())
}

async fn first_leader(ns: &Namespace, service: &str) -> Result<String> {
    let slices = ns.slices().of(service).await?;
    slices.first().and_then(lab::leader_of).with_context(|| format!("{service} has no leader"))
}

impl Subject {
    async fn new(ns: &Namespace, name: &str, slice: &str) -> Result<Self> {
        let mut pods = HashMap::new();
        for number in 0..3 {
            let pod = format!("{name}-{number}");
            pods.insert(pod.clone(), member(ns, name, &pod).await?);
        }
        Ok(Self { name: name.into(), slice: slice.into(), leader: String::new(), pods })
    }
}

/// The floor: nothing but a watch and a PUT.
struct BareClient {
    ns: String,
    clients: zen_lead::client::Clients,
    slices: Vec<BareSlice>,
}

struct BareSlice {
    app: String,
    leader: String,
    object: EndpointSlice,
    ready: HashMap<String, (String, IpAddr)>,
}

enum Told {
    Pod(Box<PodLite>, bool),
    Other,
}

impl From<(usize, Change<PodLite>)> for Told {
    fn from((_, change): (usize, Change<PodLite>)) -> Self {
        match change {
            Change::Applied(pod) => Self::Pod(Box::new(pod), false),
            Change::Deleted(pod) => Self::Pod(Box::new(pod), true),
            _ => Self::Other,
        }
    }
}

impl BareClient {
    async fn new(ns: &Namespace, clients: zen_lead::client::Clients, subjects: &[&Subject]) -> Result<Self> {
        let mut slices = Vec::new();
        for subject in subjects {
            let mut ready = HashMap::new();
            for (name, pod) in &subject.pods {
                ready.insert(name.clone(), (pod.uid().to_owned(), pod.ip()));
            }
            let leader = format!("{}-0", subject.name);
            let object = prepared(ns, subject, &ready[&leader], &leader)?;
            let object = ns.api::<EndpointSlice>().create(&PostParams::default(), &object).await?;
            slices.push(BareSlice { app: subject.name.clone(), leader, object, ready });
        }
        Ok(Self { ns: ns.name().into(), clients, slices })
    }

    async fn run(mut self) {
        let (sink, mut told) = mpsc::channel(1_000);
        let pods = Api::<PodLite>::namespaced(self.clients.watch.clone(), &self.ns);
        tokio::spawn(follow(pods, WatchOptions::default(), 0, sink, WatchStatus::new("floor")));
        let api = Api::<EndpointSlice>::namespaced(self.clients.write.clone(), &self.ns);
        let api = Arc::new(api);
        while let Some(told) = told.recv().await {
            let Told::Pod(pod, gone) = told else { continue };
            let app = pod.metadata.labels.as_ref().and_then(|labels| labels.get("app"));
            let Some(slice) = self.slices.iter_mut().find(|slice| Some(&slice.app) == app) else { continue };
            if let Some(next) = slice.told(&pod, gone) {
                slice.leader = next;
                if let Err(error) = slice.publish(&api).await {
                    eprintln!("the bare client failed: {error}");
                }
            }
        }
    }
}

impl BareSlice {
    /// The next leader, if this was the end of the present one.
    fn told(&mut self, pod: &PodLite, gone: bool) -> Option<String> {
        let What::Pod { name, uid, ready, terminating, .. } = pod_seen(pod, gone) else { return None };
        if ready && !terminating && !gone {
            let address = pod.status.pod_ip.as_deref().and_then(|address| address.parse().ok());
            self.ready.insert(name, (uid, address.unwrap_or_else(next_ipv4)));
            return None;
        }
        if self.ready.get(&name).is_some_and(|(known, _)| *known == uid) {
            self.ready.remove(&name);
        }
        (name == self.leader).then(|| self.ready.keys().min().cloned()).flatten()
    }

    async fn publish(&mut self, api: &Api<EndpointSlice>) -> Result<()> {
        let (uid, address) = &self.ready[&self.leader];
        if let Some(endpoint) = self.object.endpoints.first_mut() {
            endpoint.addresses = vec![address.to_string()];
            if let Some(target) = &mut endpoint.target_ref {
                target.name = Some(self.leader.clone());
                target.uid = Some(uid.clone());
            }
        }
        let name = self.object.metadata.name.clone().context("it has a name")?;
        self.object.metadata.managed_fields = None;
        self.object = api.replace(&name, &PostParams::default(), &self.object).await?;
        Ok(())
    }
}

/// A slice as large as ours.
fn prepared(ns: &Namespace, subject: &Subject, pod: &(String, IpAddr), name: &str) -> Result<EndpointSlice> {
    let (uid, address) = pod;
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": subject.slice,
            "namespace": ns.name(),
            "labels": {
                "kubernetes.io/service-name": subject.slice,
                "endpointslice.kubernetes.io/managed-by": "floor",
                "app.kubernetes.io/managed-by": "floor",
                "zen-lead.example/source-service": subject.name,
            },
            "annotations": {
                "zen-lead.example/instance": "zen-lead-system/zen-lead",
                "zen-lead.example/epoch": "1795481136",
                "zen-lead.example/leader-pod-uid": uid,
                "zen-lead.example/leader-pod-name": name,
                "zen-lead.example/term-by": "zen-lead-5d9c7b6f4-x2x2x",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [address.to_string()],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": "node-1",
            "targetRef": { "kind": "Pod", "namespace": ns.name(), "name": name, "uid": uid },
        }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    }))?)
}
