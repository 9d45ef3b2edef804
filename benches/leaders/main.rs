//! How long after a change of the leader those who wait for it at `/leader` are told.
//!
//! The real binary on an API server in this process that only remembers. Clients wait on a connection each, all for the
//! same Service; its leader is lost; what counts is the time from the acknowledgement of the slice's write, as the API
//! server gives it, to the first byte that a client can read. The floor is a thread that writes the same bytes to as
//! many open connections, for the same clients. Both take turns, pair by pair.
//!
//! `cargo bench --bench leaders [-- --rounds N] [--only CLIENTS] [--json FILE]`

#![allow(missing_docs, unreachable_pub, reason = "a program")]

#[path = "../support/apiserver.rs"]
mod apiserver;
mod clients;
mod floor;
#[path = "../support/shop.rs"]
mod shop;
#[path = "../support/store.rs"]
mod store;
mod subject;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::Result;
use floor::Floor;
use rustix::process::{Resource, getrlimit, setrlimit};
use subject::{Round, Subject};
use support::{Figure, ms, number, percentile, report};
use tokio::runtime::{Builder, Handle};

/// Pairs on the same connections, after one that does not count: the controller closes connections after a minute.
const TOGETHER: usize = 10;

const CLIENTS: [usize; 4] = [1, 100, 1_000, 2_000];

fn main() -> Result<()> {
    // `cargo test --benches` and `cargo bench -- --test` only want to know that it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // The clients are on this thread.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(servers.handle()))
}

async fn run(servers: &Handle) -> Result<()> {
    let rounds = number("--rounds", 100)?;
    let only = number("--only", 0)?;
    let subject = Subject::begin(servers).await?;
    let mut figures = Vec::new();
    for count in CLIENTS.into_iter().filter(|count| only == 0 || *count == only) {
        eprintln!("{count} clients: {rounds} pairs");
        figures.extend(compare(&subject, count, rounds).await?);
    }
    subject.end()?;
    report("leaders, from the slice's acknowledgement to a client's first byte", &figures)
}

/// What is taken of each round.
#[derive(Default)]
struct Samples {
    first: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    last: Vec<f64>,
    /// Microseconds of the clients' processor time for each answer.
    clients_cpu: Vec<f64>,
}

impl Samples {
    fn take(&mut self, since: Instant, at: &[Instant], cpu: Duration) {
        let late = late(since, at);
        self.first.push(percentile(&late, 0.0));
        self.p50.push(percentile(&late, 0.5));
        self.p99.push(percentile(&late, 0.99));
        self.last.push(percentile(&late, 1.0));
        self.clients_cpu.push(ms(cpu) * 1e3 / per(at.len()));
    }
}

async fn compare(subject: &Subject, count: usize, rounds: usize) -> Result<Vec<Figure>> {
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let (mut shown, mut cpu) = (Vec::new(), Vec::new());
    let mut take = |Round { published, shown: by_watch, told, cpu: took }: &Round, ours: &mut Samples| {
        ours.take(*published, &told.at, told.cpu);
        shown.push(percentile(&late(*by_watch, &told.at), 1.0));
        cpu.push(ms(*took));
    };
    let mut left = rounds;
    while left > 0 {
        let (clients, bare) = (subject.clients(count).await?, Floor::with(count).await?);
        let mut answer = subject.round(&clients).await?.told.answer;
        bare.round(&answer).await?;
        for pair in 0..left.min(TOGETHER) {
            // Who goes first takes turns, too.
            let mut round = None;
            if pair % 2 == 0 {
                round = Some(subject.round(&clients).await?);
            }
            let (begun, told) = bare.round(&answer).await?;
            floor.take(begun, &told.at, told.cpu);
            let round = match round {
                Some(round) => round,
                None => subject.round(&clients).await?,
            };
            take(&round, &mut ours);
            answer = round.told.answer;
        }
        left -= left.min(TOGETHER);
    }
    let figure = |what: &str, ours: &[f64], floor: &[f64]| {
        Figure::of(format!("{count} clients: {what}"), "ms", ours).beside(ours, floor)
    };
    let mut last = figure("the last is told", &ours.last, &floor.last);
    last.cpu_ms = Some(cpu.iter().sum::<f64>() / per(cpu.len()));
    let by_watch = Figure::of("  since the watch was told of it", "ms", &shown);
    if count == 1 {
        return Ok(vec![last, by_watch]);
    }
    let clients_cpu = Figure::of("  the clients' CPU for an answer", "us", &ours.clients_cpu);
    Ok(vec![
        figure("the first is told", &ours.first, &floor.first),
        figure("half are told", &ours.p50, &floor.p50),
        figure("99 % are told", &ours.p99, &floor.p99),
        last,
        by_watch,
        clients_cpu.beside(&ours.clients_cpu, &floor.clients_cpu),
    ])
}

/// Milliseconds since then, in order.
fn late(since: Instant, at: &[Instant]) -> Vec<f64> {
    let mut late: Vec<f64> = at.iter().map(|at| ms(at.saturating_duration_since(since))).collect();
    late.sort_by(f64::total_cmp);
    late
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn per(count: usize) -> f64 {
    count as f64
}
