//! What it costs a failover that the replica with the Lease is lost at the same moment.
//!
//! The floor is the same pair of replicas, both alive. What is asked for is 150 ms more at most: the other one holds
//! back for 100 ms, and then writes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use lab::{Account, Lab, Namespace};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::subject::{Loss, Seen, Subject, clients, come_back, first_leader, lose, observe};
use crate::support::{Controller, Figure, authorise, file};

const LEASE: &str = "zen-lead-controller-leader-election";

/// After this the one that was stopped has caught up.
const CAUGHT_UP: Duration = Duration::from_millis(300);

/// Stops are cheap; after a kill it takes the Lease's time until the next one.
const STOPS_MOST: usize = 300;
const KILLS_MOST: usize = 20;

/// What becomes of the replica with the Lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// SIGSTOP, until the failover is over.
    Stopped,
    /// SIGKILL, and another one begins.
    Killed,
}

struct Pair {
    ns: Namespace,
    account: Account,
    /// The first one has the Lease.
    replicas: Vec<(String, Controller)>,
    started: usize,
    subject: Subject,
    seen: mpsc::Receiver<Seen>,
}

/// Pairs of failovers, with and without the loss of a replica.
pub async fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Figure>> {
    let mut pair = Pair::begin(lab).await?;
    let mut figures = Vec::new();
    for (fate, most, name) in [
        (Fate::Stopped, STOPS_MOST, "replicas: the Lease's holder stopped (+150 ms)"),
        (Fate::Killed, KILLS_MOST, "replicas: the Lease's holder killed (+150 ms)"),
    ] {
        let rounds = rounds.min(most);
        eprintln!("{name}: {rounds} pairs");
        let (mut lost, mut alive) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alive.push(pair.failover(Fate::Lives).await?);
            lost.push(pair.failover(fate).await?);
        }
        figures.push(Figure::of(name, "ms", &lost).beside(&lost, &alive));
    }
    for (_, controller) in &mut pair.replicas {
        controller.stop()?;
    }
    Ok(figures)
}

impl Pair {
    async fn begin(lab: &Lab) -> Result<Self> {
        let ns = lab.namespace("failover-replicas").await?;
        let account = authorise(&ns).await?;
        ns.apply(&file("deploy/base/lease.yaml")?.replace("zen-lead-system", ns.name())).await?;
        let (sink, seen) = mpsc::channel(10_000);
        observe(&ns, &clients(&ns).await?, &sink);
        let subject = Subject::new(&ns, "ours", "ours-leader").await?;
        let source = ns.service("ours").selector("app", "ours").port("http", 80, 8080);
        source.annotation("zen-lead.io/enabled", "true").create().await?;
        let mut pair = Self { account, replicas: Vec::new(), started: 0, subject, seen, ns };
        pair.start().await?;
        pair.until_held().await?;
        pair.start().await?;
        let is_led = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| !slice.endpoints.is_empty();
        pair.ns.slices().until("ours-leader", Duration::from_mins(1), is_led).await?;
        pair.subject.leader = first_leader(&pair.ns, "ours-leader").await?;
        Ok(pair)
    }

    async fn start(&mut self) -> Result<()> {
        self.started += 1;
        let identity = format!("replica-{}", self.started);
        let controller = Controller::replica(&self.account.kubeconfig().await?, self.ns.name(), &identity)?;
        controller.until_logged("armed").await?;
        self.replicas.push((identity, controller));
        Ok(())
    }

    /// Until a replica that lives has the Lease, which becomes the first one.
    async fn until_held(&mut self) -> Result<()> {
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            let lease: Lease = self.ns.api().get(LEASE).await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            let place = self.replicas.iter().position(|(identity, _)| holder.as_ref() == Some(identity));
            if let Some(place) = place {
                self.replicas.swap(0, place);
                return Ok(());
            }
            ensure!(Instant::now() < late, "{holder:?} has the Lease, and does not live");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// One failover, and the way back; milliseconds from the pod's change to the slice's.
    async fn failover(&mut self, fate: Fate) -> Result<f64> {
        match fate {
            Fate::Lives => {}
            Fate::Stopped => self.replicas[0].1.pause()?,
            Fate::Killed => drop(self.replicas.remove(0)),
        }
        let (former, took) = lose(&self.ns, &mut self.seen, &mut self.subject, Loss::NotReady).await?;
        let writer = self.writer().await?;
        match fate {
            Fate::Lives => {}
            Fate::Stopped => {
                ensure!(writer == self.replicas[1].0, "{writer} wrote although it was stopped");
                self.replicas[0].1.resume()?;
            }
            Fate::Killed => {
                ensure!(writer == self.replicas[0].0, "{writer} wrote although it was dead");
                self.start().await?;
                self.until_held().await?;
            }
        }
        come_back(&self.ns, &mut self.seen, &mut self.subject, Loss::NotReady, &former).await?;
        sleep(CAUGHT_UP).await;
        Ok(took)
    }

    /// Who wrote the present term.
    async fn writer(&self) -> Result<String> {
        let slices = self.ns.slices().of("ours-leader").await?;
        let annotations = slices.first().and_then(|slice| slice.metadata.annotations.as_ref());
        annotations.and_then(|all| all.get("zen-lead.io/term-by").cloned()).context("the term has no writer")
    }
}
