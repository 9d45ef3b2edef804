//! What metrics cost: the deciding task, for each failover that it counts; a scrape, for a thousand Services and for
//! ten thousand; and memory. No control plane.
//!
//! The floor of a scrape is as many lines of plain formatting. That of a failover which is counted while a scrape runs
//! is one that is counted while none does.
//!
//! `cargo bench --bench scrape [-- --rounds N] [--json FILE]`

#![allow(missing_docs, reason = "a program")]

#[path = "support/mod.rs"]
mod support;

use std::alloc::System;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use machine::{Cause, Epoch, Phase};
use opentelemetry::trace::TraceId;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Figure, ms, number, report};
use zen_lead::config::MetricsDetail;
use zen_lead::health::Health;
use zen_lead::metrics::{BuildInfo, Gauges, Key, Metrics};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Services of a namespace.
const TOGETHER: usize = 50;

/// Failovers, each timed alone: what matters is the one that meets a scrape.
const FAILOVERS: usize = 5_000;

fn main() -> Result<()> {
    let rounds = number("--rounds", 20)?;
    let mut figures = Vec::new();
    for (detail, name) in [(MetricsDetail::Service, "service"), (MetricsDetail::Aggregate, "aggregate")] {
        for count in [1_000, 10_000] {
            let fleet = Fleet::of(count, detail);
            let title = format!("{name}, {count} Services");
            figures.extend(fleet.scrape(&title, rounds)?);
            figures.extend(fleet.failovers());
        }
    }
    report("scrape", &figures)
}

/// Services that opted in.
struct Fleet {
    metrics: Metrics,
    keys: Vec<Key>,
    bytes_each: f64,
}

impl Fleet {
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn of(count: usize, detail: MetricsDetail) -> Self {
        let key = |number| Key {
            namespace: format!("team-{:03}", number / TOGETHER).into(),
            name: format!("orders-{number:05}").into(),
        };
        let keys: Vec<_> = (0..count).map(key).collect();
        let build = BuildInfo { version: "0", installation: "ops/zen-lead".into(), replica: "0".into() };
        let metrics = Metrics::new(detail, &Health::new(), build);
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        for key in &keys {
            metrics.service_is(key, &led(1));
        }
        let change = region.change();
        let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
        Self { metrics, bytes_each: bytes / keys.len() as f64, keys }
    }

    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn scrape(&self, title: &str, rounds: usize) -> Result<[Figure; 4]> {
        let text = self.metrics.encode();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        ensure!(text.ends_with("# EOF\n"), "the text has no end");
        let (mut ours, mut floor) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
        for _ in 0..rounds {
            ours.push(ms(time(|| self.metrics.encode())));
            floor.push(ms(time(|| plain(&self.keys, lines, text.len()))));
        }
        Ok([
            Figure::of(format!("{title}: one scrape"), "ms", &ours).over(&ours, &floor),
            Figure::of("  its series", "", &[lines as f64]),
            Figure::of("  its text", "KiB", &[text.len() as f64 / 1024.0]),
            Figure::of("  memory of a Service", "B", &[self.bytes_each]),
        ])
    }

    fn failovers(&self) -> [Figure; 2] {
        let quiet = self.count_failovers();
        let is_over = AtomicBool::new(false);
        let busy = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    drop(black_box(self.metrics.encode()));
                }
            });
            let busy = self.count_failovers();
            is_over.store(true, Relaxed);
            busy
        });
        [
            Figure::of("  service_is and failed_over", "ns", &quiet),
            Figure::of("  the same while scrapes run", "ns", &busy).over(&busy, &quiet),
        ]
    }

    fn count_failovers(&self) -> Vec<f64> {
        let phases = [(Phase::Reelecting, Duration::from_millis(2))];
        let mut samples = Vec::with_capacity(FAILOVERS);
        for (turn, key) in (2..).zip(self.keys.iter().cycle()).take(FAILOVERS) {
            let (gauges, trace) = (led(turn), TraceId::from(u128::from(turn)));
            let took = time(|| {
                self.metrics.service_is(key, &gauges);
                self.metrics.failed_over(key, Cause::Unready, Duration::from_millis(2), &phases, Some(trace));
            });
            samples.push(took.as_secs_f64() * 1e9);
            // Failovers do not come one after another without a break, and a lock that is never free is another thing.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(20) {
                std::hint::spin_loop();
            }
        }
        samples
    }
}

/// How a Service stands that is led in this term.
fn led(term: u64) -> Gauges {
    Gauges {
        phase: Phase::Elected,
        epoch: Some(Epoch(1_732_339_871 + term)),
        leader_since: None,
        leader_created: None,
        available: 3,
        is_stable: true,
        has_endpoints: true,
        is_paused: false,
        has_leader_service: true,
        slices: 1,
    }
}

fn time<T>(act: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    let outcome = black_box(act());
    let took = begun.elapsed();
    drop(outcome);
    took
}

/// As many lines, as plainly as the standard library makes them.
fn plain(keys: &[Key], lines: usize, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for (number, key) in keys.iter().cycle().take(lines).enumerate() {
        let Key { namespace, name } = key;
        let _ = writeln!(
            text,
            "zen_lead_some_gauge_of_a_service{{namespace=\"{namespace}\",service=\"{name}\"}} {number}"
        );
    }
    text
}
