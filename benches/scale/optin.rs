//! All Services opted in at once.

use std::time::Instant;

use anyhow::Result;

use crate::Bench;
use crate::bare::{CONCURRENCIES, create_all, remove_all, written_slice};
use crate::lost::{best, each, median};
use crate::support::{Figure, ms, number};

/// From the first opt-in to the last slice with its endpoint; the floor makes the same objects, without being told to.
pub async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let kubeconfig = bench.account.kubeconfig().await?;
    let model = written_slice(&bench.fleet.sources[0]);
    let slices = bench.fleet.leader_slices();
    let (mut ours, mut told, mut floors) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    let (mut writes, mut reads, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=number("--rounds", 3)? {
        eprintln!("all Services opted in at once, round {round}");
        let mut controller = bench.controller().await?;
        bench.quiet().await?;
        let (audit, cpu_before, begun) = (bench.audit(), controller.cpu()?, Instant::now());
        let opt_ins = async {
            bench.fleet.opt_in(true).await?;
            Ok(begun.elapsed())
        };
        let routed = bench.slices.until(&slices, |_, leader| leader.is_some());
        let (opt_ins, last) = futures::try_join!(opt_ins, routed)?;
        ours.push(ms(last - begun));
        told.push(ms(opt_ins));
        bench.quiet().await?;
        let (wrote, read) = bench.requests(&audit)?;
        writes.push(each(wrote, slices.len()));
        reads.push(each(read, slices.len()));
        cpu.push(ms(controller.cpu()?.saturating_sub(cpu_before)) / each(slices.len(), 1));
        bench.fleet.opt_in(false).await?;
        bench.slices.until(&slices, |_, leader| leader.is_none()).await?;
        bench.quiet().await?;
        controller.stop()?;
        for (at_once, floor) in CONCURRENCIES.into_iter().zip(&mut floors) {
            let begun = Instant::now();
            let made = create_all(&kubeconfig, &bench.fleet, &model, at_once).await?;
            let last = bench.slices.until(&made, |_, leader| leader.is_some()).await?;
            floor.push(ms(last - begun));
            remove_all(&kubeconfig, &made).await?;
        }
    }
    let (at_once, floor) = best(floors);
    let count = slices.len();
    let name = format!("{count} Services opted in at once (2x; floor: {at_once} at once)");
    let mut figure = Figure::of(name, "ms", &ours).over(&ours, &floor);
    figure.writes = Some(median(&writes));
    figure.reads = Some(median(&reads));
    figure.cpu_ms = Some(median(&cpu));
    Ok(vec![figure, Figure::of(format!("the {count} opt-ins alone, of that"), "ms", &told)])
}
