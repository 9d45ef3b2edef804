//! One controller on its own feed, and what is measured of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use lab::{Collector, Mode};
use serde::Serialize;

use crate::feed::{Feed, SERVICES};
use crate::support::{Controller, Figure, Memory, Telemetry, machine, ms, scrape};

/// What becomes of the traces.
#[derive(Debug, Clone, Copy)]
pub enum Traces {
    Off,
    Sent(Mode),
    /// Nobody listens there.
    Refused,
}

/// One controller.
pub struct Stand {
    pub port: u16,
    name: &'static str,
    feed: Feed,
    kubeconfig: PathBuf,
    controller: Controller,
    collector: Option<Collector>,
    /// Resident memory in MiB, before the first failover and after the warm-up.
    armed: f64,
    before: f64,
    /// Of each wave: milliseconds, and microseconds of processor time for a failover.
    took: Vec<f64>,
    cpu: Vec<f64>,
    cpu_of_export: Vec<f64>,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub struct Row {
    name: &'static str,
    failovers: usize,
    /// Resident memory in MiB: before the first failover, after the warm-up, at the end; and at its peak.
    armed: f64,
    before: f64,
    after: f64,
    peak: f64,
    spans_received: usize,
    spans_dropped: u64,
    per_second: f64,
}

impl Stand {
    pub async fn begin(name: &'static str, traces: Traces) -> Result<Self> {
        let feed = Feed::start().await?;
        let mut collector = None;
        let endpoint = match traces {
            Traces::Off => None,
            Traces::Sent(mode) => {
                let started = collector.insert(Collector::start().await?);
                started.set(mode);
                Some(started.endpoint())
            }
            Traces::Refused => Some(format!("http://127.0.0.1:{}", lab::free_port()?)),
        };
        let port = lab::free_port()?;
        let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("telemetry-{port}.json"));
        std::fs::write(&kubeconfig, feed.server.kubeconfig())?;
        let telemetry = Telemetry { metrics: Some(port), collector: endpoint };
        let controller = Controller::with_telemetry(&kubeconfig, &telemetry, &["--log-level=warn"])?;
        feed.until_quiet().await?;
        let armed = controller.memory()?.resident;
        let (took, cpu, cpu_of_export) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            port,
            name,
            feed,
            kubeconfig,
            controller,
            collector,
            armed,
            before: armed,
            took,
            cpu,
            cpu_of_export,
        })
    }

    /// All its Services lose their leaders.
    pub async fn wave(&mut self) -> Result<()> {
        let (cpu, begun) = (self.controller.cpu_by_thread()?, Instant::now());
        self.feed.wave().await?;
        self.took.push(ms(begun.elapsed()));
        let cpu = self.controller.cpu_by_thread()?.since(cpu);
        self.cpu.push(cpu.rest.as_secs_f64() * 1e6 / per(SERVICES));
        self.cpu_of_export.push(cpu.export.as_secs_f64() * 1e6 / per(SERVICES));
        Ok(())
    }

    /// What was before does not count.
    pub fn warmed_up(&mut self) -> Result<()> {
        self.before = self.controller.memory()?.resident;
        self.took.clear();
        self.cpu.clear();
        self.cpu_of_export.clear();
        Ok(())
    }

    /// Stops it after so many failovers.
    pub async fn end(&mut self, failovers: usize) -> Result<Row> {
        let Memory { resident: after, peak, .. } = self.controller.memory()?;
        let metrics = scrape(self.port).await?;
        let counted = sum(&metrics, "zen_lead_failover_duration_seconds_count{cause=\"unready\"");
        ensure!(counted == failovers as u64, "{}: {counted} of {failovers} failovers counted", self.name);
        self.controller.stop()?;
        std::fs::remove_file(&self.kubeconfig)?;
        std::fs::remove_file(&self.controller.log)?;
        let requests = self.collector.as_ref().map(Collector::requests).unwrap_or_default();
        let seconds = self.took.iter().sum::<f64>() / 1e3;
        Ok(Row {
            name: self.name,
            failovers: self.took.len() * SERVICES,
            armed: self.armed,
            before: self.before,
            after,
            peak,
            spans_received: requests.iter().map(|asked| asked.spans).sum(),
            spans_dropped: sum(&metrics, "zen_lead_spans_dropped_total"),
            per_second: per(self.took.len() * SERVICES) / seconds,
        })
    }
}

/// The times of all, beside those of the first.
pub fn figures(stands: &[Stand]) -> Vec<Figure> {
    let [first, others @ ..] = stands else { return Vec::new() };
    let of = |stand: &Stand| {
        let wave = format!("{}: a wave of {SERVICES}", stand.name);
        let cpu = Figure::of("  CPU of a failover outside export", "us", &stand.cpu);
        [
            Figure::of(wave, "ms", &stand.took).beside(&stand.took, &first.took),
            cpu.beside(&stand.cpu, &first.cpu),
            Figure::of("  CPU of its export meanwhile", "us", &stand.cpu_of_export),
        ]
    };
    others.iter().flat_map(of).collect()
}

/// Prints a table.
pub fn show(rows: &[Row]) {
    println!("\ntelemetry, simulated feed, {SERVICES} Services: {}", machine());
    println!(
        "{:<20} {:>9} {:>7} {:>7} {:>7} {:>7} {:>14} {:>9} {:>9} {:>7} {:>6}",
        "",
        "failovers",
        "armed",
        "before",
        "after",
        "peak",
        "grows (8 MiB)",
        "received",
        "dropped",
        "per s",
        "ratio"
    );
    let first = rows.first().map_or(f64::NAN, |row| row.per_second);
    for row in rows {
        println!(
            "{:<20} {:>9} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>+14.2} {:>9} {:>9} {:>7.0} {:>6.3}",
            row.name,
            row.failovers,
            row.armed,
            row.before,
            row.after,
            row.peak,
            row.after - row.before,
            row.spans_received,
            row.spans_dropped,
            row.per_second,
            row.per_second / first,
        );
    }
}

/// The sum of all series whose lines begin like this.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn sum(metrics: &str, beginning: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(beginning));
    let values = lines.filter_map(|line| line.rsplit_once("} ")?.1.split(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn per(count: usize) -> f64 {
    count as f64
}
