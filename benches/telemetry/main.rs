//! What traces cost over a hundred thousand failovers, whatever the collector does: memory, processor time, and how
//! many failovers a second.
//!
//! The real binary on a simulated feed: an API server in this process that only remembers, one for each controller.
//! Services lose their leaders in waves, as fast as the controller follows; the controllers take turns, wave by wave,
//! and all serve metrics that are scraped. Two are without a collector: how much these differ is the noise between the
//! others.
//!
//! `cargo bench --bench telemetry [-- --failovers N] [--only WORDS] [--json FILE]`

#![allow(missing_docs, unreachable_pub, reason = "a program")]

#[path = "../support/apiserver.rs"]
mod apiserver;
mod feed;
#[path = "../support/shop.rs"]
mod shop;
mod stand;
#[path = "../support/store.rs"]
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::Result;
use feed::SERVICES;
use lab::Mode;
use serde_json::json;
use stand::{Stand, Traces};
use support::{Draws, argument, number, scrape, write_json};

/// Failovers before anything is measured: afterwards every buffer has the size that it keeps.
const WARM_UP: usize = 2_000;

/// Prometheus asks every 15 to 60 s as a rule.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

const ROWS: [(Traces, &str); 5] = [
    (Traces::Off, "no collector"),
    (Traces::Sent(Mode::Discard), "collector accepts"),
    (Traces::Sent(Mode::Hang), "collector hangs"),
    (Traces::Refused, "collector absent"),
    (Traces::Off, "A/A: no collector"),
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
    let failovers = number("--failovers", 100_000)?;
    let only = argument("--only").unwrap_or_default();
    let mut stands = Vec::new();
    for (number, (traces, name)) in ROWS.into_iter().enumerate() {
        // The first one is what the others are compared with.
        if number == 0 || name.contains(&only) {
            stands.push(Stand::begin(name, traces).await?);
        }
    }
    let mut draws = Draws::default();
    waves(&mut stands, &mut draws, WARM_UP).await?;
    for stand in &mut stands {
        stand.warmed_up()?;
    }
    waves(&mut stands, &mut draws, failovers).await?;
    let waves = whole_waves(failovers) + whole_waves(WARM_UP);
    let mut rows = Vec::new();
    for stand in &mut stands {
        rows.push(stand.end(waves * SERVICES).await?);
    }
    let figures = stand::figures(&stands);
    stand::show(&rows);
    support::show("telemetry, a wave", &figures);
    write_json(&json!({ "rows": rows, "figures": figures }))
}

/// At least so many failovers of each.
async fn waves(stands: &mut [Stand], draws: &mut Draws, failovers: usize) -> Result<()> {
    let waves = whole_waves(failovers);
    let mut scraped = Instant::now();
    for wave in 1..=waves {
        for number in draws.order(stands.len()) {
            stands[number].wave().await?;
        }
        if scraped.elapsed() >= SCRAPE_EVERY {
            for stand in &*stands {
                scrape(stand.port).await?;
            }
            scraped = Instant::now();
        }
        if wave % 100 == 0 {
            eprintln!("{} of {failovers} failovers of each", wave * SERVICES);
        }
    }
    Ok(())
}

const fn whole_waves(failovers: usize) -> usize {
    failovers.div_ceil(SERVICES)
}
