//! What traces cost over a hundred thousand failovers, whatever the collector does: memory, processor time, and how
//! many failovers a second.
//!
//! The real binary on a simulated feed: an API server in this process that only remembers. Services lose their leaders
//! as fast as the controller follows; metrics are served and scraped in every row. The row without a collector comes
//! first and last: how much these two differ is the noise between the others.
//!
//! `cargo bench --bench telemetry [-- --failovers N] [--only WORDS] [--json FILE]`

#![allow(missing_docs, unreachable_pub, reason = "a program")]

mod apiserver;
mod feed;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use feed::{Feed, SERVICES};
use lab::{Collector, Mode};
use serde::Serialize;
use support::{Controller, Telemetry, argument, machine, number, scrape, write_json};

/// Failovers before anything is measured: afterwards every buffer has the size that it keeps.
const WARM_UP: usize = 2_000;

/// Prometheus asks every 15 to 60 s as a rule.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// What becomes of the traces.
#[derive(Debug, Clone, Copy)]
enum Traces {
    Off,
    Sent(Mode),
    /// Nobody listens there.
    Refused,
}

const ROWS: [(Traces, &str); 5] = [
    (Traces::Off, "no collector"),
    (Traces::Sent(Mode::Discard), "collector accepts"),
    (Traces::Sent(Mode::Hang), "collector hangs"),
    (Traces::Refused, "collector absent"),
    (Traces::Off, "no collector, again"),
];

/// What was measured of one controller.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    failovers: usize,
    /// Resident memory in MiB: before the first failover, after the warm-up, at the end; and at its peak.
    armed: f64,
    before: f64,
    after: f64,
    peak: f64,
    spans_dropped: u64,
    spans_received: usize,
    per_second: f64,
    /// Microseconds for each failover: of the exporter's thread, and of all others.
    cpu_export: f64,
    cpu_rest: f64,
}

fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench -- --test` only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> Result<()> {
    let failovers = number("--failovers", 100_000)?;
    let only = argument("--only").unwrap_or_default();
    let mut rows = Vec::new();
    for (traces, name) in ROWS {
        if name.contains(&only) {
            rows.push(measure(name, traces, failovers).await?);
        }
    }
    show(&rows);
    write_json(&rows)
}

async fn measure(name: &'static str, traces: Traces, failovers: usize) -> Result<Row> {
    let feed = Feed::start().await?;
    let collector = match traces {
        Traces::Off | Traces::Refused => None,
        Traces::Sent(mode) => {
            let collector = Collector::start().await?;
            collector.set(mode);
            Some(collector)
        }
    };
    let endpoint = match traces {
        Traces::Off => None,
        Traces::Sent(_) => collector.as_ref().map(Collector::endpoint),
        Traces::Refused => Some(format!("http://127.0.0.1:{}", lab::free_port()?)),
    };
    let port = lab::free_port()?;
    let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("telemetry-{port}.json"));
    std::fs::write(&kubeconfig, feed.server.kubeconfig())?;
    let telemetry = Telemetry { metrics: Some(port), collector: endpoint };
    let mut controller = Controller::with_telemetry(&kubeconfig, &telemetry, &["--log-level=warn"])?;
    feed.until_quiet().await?;
    let (armed, _) = controller.memory()?;
    repeat(name, &feed, port, WARM_UP).await?;
    let (before, _) = controller.memory()?;
    let (cpu, begun) = (controller.cpu_by_thread()?, Instant::now());
    let done = repeat(name, &feed, port, failovers).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = controller.cpu_by_thread()?.since(cpu);
    let (after, peak) = controller.memory()?;
    let metrics = scrape(port).await?;
    let counted = sum(&metrics, "zen_lead_failover_duration_seconds_count{cause=\"unready\"");
    let expected = done + whole_waves(WARM_UP) * SERVICES;
    ensure!(counted == expected as u64, "{counted} failovers were counted, and not {expected}");
    controller.stop()?;
    std::fs::remove_file(&kubeconfig)?;
    std::fs::remove_file(&controller.log)?;
    Ok(Row {
        name,
        failovers: done,
        armed,
        before,
        after,
        peak,
        spans_dropped: sum(&metrics, "zen_lead_spans_dropped_total"),
        spans_received: collector
            .map_or(0, |collector| collector.requests().iter().map(|asked| asked.spans).sum()),
        per_second: per(done) / took,
        cpu_export: cpu.export.as_secs_f64() * 1e6 / per(done),
        cpu_rest: cpu.rest.as_secs_f64() * 1e6 / per(done),
    })
}

/// At least so many failovers; returns how many it were.
async fn repeat(name: &str, feed: &Feed, port: u16, failovers: usize) -> Result<usize> {
    let waves = whole_waves(failovers);
    let mut scraped = Instant::now();
    for wave in 1..=waves {
        feed.wave().await?;
        if scraped.elapsed() >= SCRAPE_EVERY {
            scrape(port).await?;
            scraped = Instant::now();
        }
        if wave % 100 == 0 {
            eprintln!("{name}: {} of {failovers} failovers", wave * SERVICES);
        }
    }
    Ok(waves * SERVICES)
}

const fn whole_waves(failovers: usize) -> usize {
    failovers.div_ceil(SERVICES)
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

fn show(rows: &[Row]) {
    println!("\ntelemetry, simulated feed, {SERVICES} Services: {}", machine());
    println!(
        "{:<20} {:>9} {:>7} {:>7} {:>7} {:>7} {:>14} {:>9} {:>9} {:>7} {:>6} {:>14} {:>9}",
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
        "ratio",
        "CPU outside us",
        "export us"
    );
    let first = rows.first().map_or(f64::NAN, |row| row.per_second);
    for row in rows {
        println!(
            "{:<20} {:>9} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>+14.2} {:>9} {:>9} {:>7.0} {:>6.3} {:>14.1} {:>9.1}",
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
            row.cpu_rest,
            row.cpu_export,
        );
    }
}
