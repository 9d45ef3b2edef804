//! All leaders lost at once.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::Bench;
use crate::bare::{CONCURRENCIES, Reactor};
use crate::fleet::{Key, all_at_once};
use crate::support::{Figure, ms, number, percentile};

/// From the first loss to the last slice, the controller's and the bare client's turn by turn, on the same pods.
pub async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let kubeconfig = bench.account.kubeconfig().await?;
    let mut reactor = Reactor::prepare(&kubeconfig, &bench.fleet).await?;
    let (mut ours, mut floors) = (Vec::new(), [Vec::new(), Vec::new()]);
    let (mut writes, mut reads, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=number("--rounds", 5)? {
        eprintln!("all leaders lost at once, round {round}");
        let mut controller = bench.controller().await?;
        bench.quiet().await?;
        let (audit, cpu_before) = (bench.audit(), controller.cpu()?);
        let slices = bench.fleet.leader_slices();
        let leaders = bench.slices.leaders(&slices)?;
        let (took, lost) = lose(bench, &slices, &leaders).await?;
        bench.quiet().await?;
        let (wrote, read) = bench.requests(&audit)?;
        let failovers = slices.len();
        ours.push(took);
        writes.push(each(wrote, failovers));
        reads.push(each(read, failovers));
        cpu.push(ms(controller.cpu()?.saturating_sub(cpu_before)) / each(failovers, 1));
        restore(bench, &lost).await?;
        bench.quiet().await?;
        controller.stop()?;
        for (at_once, floor) in CONCURRENCIES.into_iter().zip(&mut floors) {
            let (slices, leaders): (Vec<_>, Vec<_>) = reactor.slices().into_iter().unzip();
            let done = reactor.begin(at_once).await?;
            let (took, lost) = lose(bench, &slices, &leaders).await?;
            reactor = done.await.context("the bare client ended")??;
            floor.push(took);
            restore(bench, &lost).await?;
        }
    }
    let (at_once, floor) = best(floors);
    let name = format!("{} leaders lost at once (1.1x; floor: {at_once} at once)", bench.fleet.sources.len());
    let mut figure = Figure::of(name, "ms", &ours).over(&ours, &floor);
    figure.writes = Some(median(&writes));
    figure.reads = Some(median(&reads));
    figure.cpu_ms = Some(median(&cpu));
    Ok(vec![figure])
}

/// Makes all these leaders NotReady; returns how long the last slice took, and who they were.
async fn lose(bench: &Bench, slices: &[Key], leaders: &[String]) -> Result<(f64, Vec<String>)> {
    let begun = Instant::now();
    let pods = leaders.iter().map(|leader| pod_of(bench, leader)).collect::<Result<Vec<_>>>()?;
    let injected = all_at_once("losses", pods.iter().map(|pod| pod.unready()));
    let moved =
        bench.slices.until(slices, |number, leader| leader.is_some_and(|leader| leader != leaders[number]));
    let (_, last) = futures::try_join!(injected, moved)?;
    Ok((ms(last - begun), leaders.to_vec()))
}

async fn restore(bench: &Bench, lost: &[String]) -> Result<()> {
    let pods = lost.iter().map(|pod| pod_of(bench, pod)).collect::<Result<Vec<_>>>()?;
    all_at_once("recoveries", pods.iter().map(|pod| pod.ready())).await.map(drop)
}

/// Pods are named after their Services.
fn pod_of<'a>(bench: &'a Bench, name: &str) -> Result<&'a lab::Pod> {
    let number = name.split('-').nth(1).context("a pod's name has its Service's number")?;
    let source = bench.fleet.sources.get(number.parse::<usize>()?).context("there is no such Service")?;
    source.pod(name)
}

/// The better one of the floors, with how many writes in flight it had.
pub fn best(floors: [Vec<f64>; 2]) -> (usize, Vec<f64>) {
    let floors = CONCURRENCIES.into_iter().zip(floors);
    floors.min_by(|(_, a), (_, b)| median(a).total_cmp(&median(b))).unwrap_or_default()
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 0.5)
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn each(total: usize, of: usize) -> f64 {
    total as f64 / of as f64
}
