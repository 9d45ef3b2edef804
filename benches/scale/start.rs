//! A start after leaders were lost while no controller ran.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;

use crate::Bench;
use crate::bare;
use crate::support::{Controller, Figure, ms, number};

/// Leaders lost before each start, every second one deleted and the others NotReady.
const LOST: usize = 20;

/// From process start to the last slice moved, and to armed, turn by turn with a bare client that lists the same.
pub async fn measure(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (mut moved, mut armed, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    let kubeconfig = bench.account.kubeconfig().await?;
    for round in 0..number("--rounds", 11)? {
        eprintln!("start, round {}", round + 1);
        let count = bench.fleet.sources.len();
        let chosen: Vec<usize> = (0..LOST).map(|nth| (round * LOST + nth) % count).collect();
        let slices: Vec<_> =
            chosen.iter().map(|number| bench.fleet.sources[*number].leader_slice()).collect();
        let leaders = bench.slices.leaders(&slices)?;
        for (number, leader) in chosen.iter().zip(&leaders) {
            let pod = bench.fleet.sources[*number].pod(leader)?;
            if number % 2 == 0 { pod.unready().await? } else { pod.vanish().await? }
        }
        listed.push(ms(bare::list(&kubeconfig).await?));
        let (wall, begun) = (SystemTime::now(), Instant::now());
        let mut controller = Controller::with_kubeconfig(&kubeconfig, &[])?;
        let is_moved =
            |number: usize, leader: Option<&str>| leader.is_some_and(|leader| leader != leaders[number]);
        let last = bench.slices.until(&slices, is_moved).await?;
        moved.push(ms(last - begun));
        armed.push(ms(armed_at(&controller).await?.duration_since(wall)?));
        bench.quiet().await?;
        controller.stop()?;
        for (number, leader) in chosen.iter().zip(&leaders) {
            let source = &mut bench.fleet.sources[*number];
            if number % 2 == 0 { source.pod(leader)?.ready().await? } else { source.replace(leader).await? }
        }
    }
    Ok(vec![
        Figure::of(format!("start to {LOST} lost leaders replaced (200 ms)"), "ms", &moved),
        Figure::of("start to armed (1.5x; floor: bare lists)", "ms", &armed).over(&armed, &listed),
    ])
}

/// When the controller had all lists, by its log.
pub async fn armed_at(controller: &Controller) -> Result<SystemTime> {
    let words = "armed: all lists are in";
    controller.until_logged(words).await?;
    let log = std::fs::read_to_string(&controller.log)?;
    let line = log.lines().find(|line| line.contains(words)).context("it was logged")?;
    let time: Timestamp = line.split_whitespace().next().unwrap_or_default().parse()?;
    let since_epoch = Duration::try_from(time.duration_since(Timestamp::UNIX_EPOCH))?;
    Ok(SystemTime::UNIX_EPOCH + since_epoch)
}
