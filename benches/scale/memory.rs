//! What the controller's memory is once it is armed, and what it was on the way there.

use std::time::{Instant, SystemTime};

use anyhow::Result;

use crate::Bench;
use crate::bare;
use crate::fleet::{Size, unrelated};
use crate::start::armed_at;
use crate::support::{Controller, Figure, ms, number};

/// Pods that no Service selects.
const UNRELATED: usize = 3_000;

/// What was seen of fresh processes.
#[derive(Default)]
struct Seen {
    resident: Vec<f64>,
    own: Vec<f64>,
    peak: Vec<f64>,
    armed: Vec<f64>,
    listed: Vec<f64>,
}

/// With the Services as they are, and with unrelated pods beside them.
pub async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let few = look(bench).await?;
    unrelated(&bench.lab.namespace("unrelated").await?, UNRELATED).await?;
    let more = look(bench).await?;
    let added: Vec<f64> = more.resident.iter().zip(&few.resident).map(|(more, few)| more - few).collect();
    let size = Size { services: bench.fleet.sources.len(), pods: 3 };
    Ok(vec![
        Figure::of(format!("resident, {size} (18 MiB)"), "MiB", &few.resident),
        Figure::of("  of that, no page of the program", "MiB", &few.own),
        Figure::of("  peak of the start (2x of that)", "MiB", &few.peak),
        Figure::of(format!("  added by {UNRELATED} unrelated pods (2 MiB)"), "MiB", &added),
        Figure::of("  peak of the start with them", "MiB", &more.peak),
    ])
}

/// On a control plane of its own, with the start beside the memory: both have to grow with the objects, not faster.
pub async fn of_its_own(size: Size) -> Result<Vec<Figure>> {
    let bench = Bench::new(size).await?;
    let begun = Instant::now();
    bench.opt_in_all().await?;
    let took = ms(begun.elapsed());
    let seen = look(&bench).await?;
    let target = if size.services == 1_000 { " (28 MiB)" } else { "" };
    Ok(vec![
        Figure::of(format!("resident, {size}{target}"), "MiB", &seen.resident),
        Figure::of("  of that, no page of the program", "MiB", &seen.own),
        Figure::of("  peak of the start (2x of that)", "MiB", &seen.peak),
        Figure::of("  start to armed (floor: bare lists)", "ms", &seen.armed).over(&seen.armed, &seen.listed),
        Figure::of("  opt-ins and start to quiet, once", "ms", &[took]),
    ])
}

/// Fresh processes, one after another.
async fn look(bench: &Bench) -> Result<Seen> {
    let kubeconfig = bench.account.kubeconfig().await?;
    let mut seen = Seen::default();
    for _ in 0..number("--rounds", 3)? {
        seen.listed.push(ms(bare::list(&kubeconfig).await?));
        let begun = SystemTime::now();
        let mut controller = Controller::with_kubeconfig(&kubeconfig, &[])?;
        seen.armed.push(ms(armed_at(&controller).await?.duration_since(begun)?));
        bench.quiet().await?;
        let memory = controller.memory()?;
        seen.resident.push(memory.resident);
        seen.own.push(memory.own);
        seen.peak.push(memory.peak);
        controller.stop()?;
    }
    Ok(seen)
}
