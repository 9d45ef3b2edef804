//! What telemetry costs a failover: controllers with and without it, side by side in one run.
//!
//! Each has a namespace with one Service to itself. They lose their leaders in turn, in another order every round, so
//! that what else happens on the machine meets them all. Two of them are without telemetry: how much these differ is
//! the noise under the others. All of them count what they do, served or not; what that costs is in `scrape`.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Account, Collector, Lab, Mode, Namespace};
use tokio::sync::mpsc;
use tokio::time::interval;

use crate::subject::{Loss, Seen, Subject, clients, first_leader, observe, round};
use crate::support::{Controller, Cpu, Draws, Figure, Telemetry, authorise, scrape};

/// Prometheus asks every 15 to 60 s as a rule.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// Processor time is told of so many failovers together: of one it is as often the kernel's whim.
const TOGETHER: usize = 20;

/// How the controllers differ; the first one is the floor of the others.
const KINDS: [(Kind, &str); 4] = [
    (Kind::Off, "telemetry off"),
    (Kind::Off, "A/A: telemetry off, in both"),
    (Kind::On(Mode::Accept), "telemetry on (1.03 x)"),
    (Kind::On(Mode::Hang), "telemetry on, collector hangs (1.03 x)"),
];

/// Whether a controller has telemetry.
#[derive(Clone, Copy)]
enum Kind {
    Off,
    On(Mode),
}

/// One controller with its Service and who watches it.
struct Stand {
    name: &'static str,
    ns: Namespace,
    controller: Controller,
    metrics: Option<u16>,
    collector: Option<Collector>,
    subject: Subject,
    seen: mpsc::Receiver<Seen>,
    /// Milliseconds of each failover.
    took: Vec<f64>,
    /// Processor time of each, and of the way back.
    cpu: Vec<Cpu>,
}

/// So many failovers of each controller for their times, and as many for their processor time.
pub async fn measure(lab: &Lab, rounds: usize) -> Result<Vec<Figure>> {
    let home = lab.namespace("telemetry").await?;
    let account = authorise(&home).await?;
    let mut stands = Vec::new();
    for (number, (kind, name)) in KINDS.into_iter().enumerate() {
        let ns = lab.namespace(&format!("telemetry-{number}")).await?;
        stands.push(Stand::begin(name, kind, ns, &account).await?);
    }
    let mut draws = Draws::default();
    eprintln!("telemetry: {rounds} rounds of {} for their time, and again for processor time", stands.len());
    for _ in 0..rounds.min(20) {
        turns(&mut stands, &mut draws).await?;
    }
    stands.iter_mut().for_each(Stand::forget);
    let ports: Vec<u16> = stands.iter().filter_map(|stand| stand.metrics).collect();
    let times = async {
        for _ in 0..rounds {
            turns(&mut stands, &mut draws).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = times => done?,
        failed = scrape_often(&ports) => return Err(failed),
    }
    let took: Vec<Vec<f64>> = stands.iter_mut().map(|stand| std::mem::take(&mut stand.took)).collect();
    stands.iter_mut().for_each(Stand::forget);
    // Without scrapes, which cost by the minute and not by the failover.
    for _ in 0..=rounds {
        turns(&mut stands, &mut draws).await?;
    }
    let mut figures = Vec::new();
    let floor_cpu = stands[0].cpu_outside_export();
    for (stand, took_here) in stands.iter().zip(&took).skip(1) {
        let mut time = Figure::of(stand.name, "ms", took_here).beside(took_here, &took[0]);
        time.cpu_ms = Some(stand.cpu_ms());
        let cpu = stand.cpu_outside_export();
        let name = format!("  CPU outside export, means of {TOGETHER}");
        figures.extend([time, Figure::of(name, "us", &cpu).beside(&cpu, &floor_cpu)]);
    }
    for stand in &mut stands {
        let asked = stand.collector.as_ref().map(|collector| collector.requests().len());
        ensure!(asked != Some(0), "{}: the collector was sent nothing", stand.name);
        stand.controller.stop()?;
    }
    Ok(figures)
}

/// A failover of each, in an order that chance makes.
async fn turns(stands: &mut [Stand], draws: &mut Draws) -> Result<()> {
    for number in draws.order(stands.len()) {
        stands[number].turn().await?;
    }
    Ok(())
}

/// Scrapes until that fails.
async fn scrape_often(ports: &[u16]) -> anyhow::Error {
    let mut often = interval(SCRAPE_EVERY);
    loop {
        often.tick().await;
        for port in ports {
            if let Err(error) = scrape(*port).await {
                return error.context("a scrape failed");
            }
        }
    }
}

impl Stand {
    async fn begin(name: &'static str, kind: Kind, ns: Namespace, account: &Account) -> Result<Self> {
        let (metrics, collector) = match kind {
            Kind::Off => (None, None),
            Kind::On(mode) => {
                let collector = Collector::start().await?;
                collector.set(mode);
                (Some(lab::free_port()?), Some(collector))
            }
        };
        let telemetry = Telemetry { metrics, collector: collector.as_ref().map(Collector::endpoint) };
        let namespace = format!("--namespace={}", ns.name());
        let kubeconfig = account.kubeconfig().await?;
        let controller = Controller::with_telemetry(&kubeconfig, &telemetry, &[&namespace])?;
        let (sink, seen) = mpsc::channel(10_000);
        observe(&ns, &clients(&ns).await?, &sink);
        let mut subject = Subject::new(&ns, "ours", "ours-leader").await?;
        let source = ns.service("ours").selector("app", "ours").port("http", 80, 8080);
        source.annotation("zen-lead.io/enabled", "true").create().await?;
        let is_led = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| !slice.endpoints.is_empty();
        ns.slices().until("ours-leader", Duration::from_mins(1), is_led).await?;
        subject.leader = first_leader(&ns, "ours-leader").await?;
        Ok(Self {
            name,
            ns,
            controller,
            metrics,
            collector,
            subject,
            seen,
            took: Vec::new(),
            cpu: Vec::new(),
        })
    }

    /// Loses the leader. What the controller does after the way back counts for the next time.
    async fn turn(&mut self) -> Result<()> {
        self.cpu.push(self.controller.cpu_by_thread()?);
        self.took.push(round(&self.ns, &mut self.seen, &mut self.subject, Loss::NotReady).await?);
        Ok(())
    }

    fn forget(&mut self) {
        self.took.clear();
        self.cpu.clear();
    }

    /// Microseconds from turn to turn, as means of some.
    fn cpu_outside_export(&self) -> Vec<f64> {
        let each: Vec<f64> = self.cpu_each().map(|cpu| cpu.rest.as_secs_f64() * 1e6).collect();
        each.chunks_exact(TOGETHER.min(each.len())).map(mean).collect()
    }

    /// Milliseconds from turn to turn, the exporter's included.
    fn cpu_ms(&self) -> f64 {
        let each: Vec<f64> = self.cpu_each().map(|cpu| (cpu.rest + cpu.export).as_secs_f64() * 1e3).collect();
        mean(&each)
    }

    fn cpu_each(&self) -> impl Iterator<Item = Cpu> + '_ {
        self.cpu.windows(2).map(|pair| pair[1].since(pair[0]))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}
