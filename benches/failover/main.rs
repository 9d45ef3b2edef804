//! A single failover on the real control plane: from the pod's change on a watch to the slice's change on a watch.
//!
//! The floor is a bare client: it sees the pod change on its own watch and PUTs a prepared slice with its
//! resourceVersion. Ours and the floor take turns, pair by pair; the same observer times both. `--rounds N` (default
//! 1000) pairs for each case, `--only WORDS` picks cases, `--json FILE` writes the figures.
//!
//! The cases `telemetry` and `replicas` have another floor: a controller without metrics and traces, and a pair of
//! replicas that both live.

#![allow(missing_docs, unreachable_pub, reason = "a program")]

mod floor;
mod replicas;
mod subject;
#[path = "../support/mod.rs"]
mod support;
mod telemetry;

use std::time::Duration;

use anyhow::Result;
use floor::BareClient;
use lab::{Audit, Lab, Namespace, Options};
use subject::{Loss, Seen, Subject, clients, come_back, first_leader, lose, member, observe, round};
use support::{Controller, Figure, argument, authorise, ms, number, report};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// By then mirror and notice of a failover are done: they take some 5 ms.
const AFTERMATH: Duration = Duration::from_millis(40);

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
    if "telemetry".contains(&only) {
        figures.extend(telemetry::measure(&lab, rounds).await?);
    }
    if "replicas".contains(&only) {
        figures.extend(replicas::measure(&lab, rounds).await?);
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

async fn other_service(ns: &Namespace, name: &str) -> Result<()> {
    let source = ns.service(name).selector("app", name).port("http", 80, 8080);
    source.annotation("zen-lead.io/enabled", "true").create().await?;
    for number in 0..3 {
        member(ns, name, &format!("{name}-{number}")).await?;
    }
    Ok(())
}
