//! A minute in which nothing is to be decided.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::lost::each;
use crate::support::{Figure, ms};

/// Pods that do not lead become NotReady and Ready again, and are annotated, all through the minute.
pub async fn measure(bench: &mut Bench) -> Result<Figure> {
    let mut controller = bench.controller().await?;
    bench.quiet().await?;
    let leaders = bench.slices.leaders(&bench.fleet.leader_slices())?;
    let (audit, cpu) = (bench.audit(), controller.cpu()?);
    eprintln!("a quiet minute");
    for (source, leader) in bench.fleet.sources.iter().zip(&leaders).cycle().take(60) {
        let pod = source.pods.values().find(|pod| pod.name() != leader).context("only one pod")?;
        pod.unready().await?;
        pod.annotate("shop.example/note", Some("changed")).await?;
        pod.ready().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (writes, reads) = bench.requests(&audit)?;
    let cpu = ms(controller.cpu()?.saturating_sub(cpu));
    controller.stop()?;
    ensure!(bench.slices.leaders(&bench.fleet.leader_slices())? == leaders, "a leader changed");
    let mut figure = Figure::of("writes in a quiet minute, 180 idle pod changes", "", &[each(writes, 1)]);
    figure.reads = Some(each(reads, 1));
    figure.cpu_ms = Some(cpu);
    Ok(figure)
}
