//! Everything that `cargo lab gaps` measures, once, on a cluster with real nodes: that it comes about, and what must hold
//! however long it takes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lab::cluster::{Cluster, Proxy, archive};
use lab::gaps::{Figures, Place, Round, Scenario, Setting};
use lab::{Directory, image};
use tokio::task;

#[tokio::test(flavor = "multi_thread")]
async fn planned_moves_fail_no_connection_and_nothing_ever_leads_two_ways() -> Result<()> {
    if !task::spawn_blocking(Cluster::is_possible).await? {
        return Ok(());
    }
    let folder = Directory::create()?;
    // The program under test with the libraries of this machine, in the place of the image that is shipped.
    let image = folder.path().join("zen-lead.tar");
    let program = Path::new(env!("CARGO_BIN_EXE_zen-lead"));
    let made: PathBuf = image.clone();
    task::spawn_blocking(move || archive(program, &[], image::NAME, &made)).await??;
    let place =
        Place::start(Setting { proxy: Proxy::Nftables, image, watch_nodes: false, headless: false }).await?;
    // Those that take a minute or more are for `cargo lab gaps`.
    for scenario in Scenario::all().iter().filter(|scenario| !scenario.is_long()) {
        let round = Round::play(&place, *scenario, 0).await.with_context(|| scenario.name())?;
        let figures = Figures::of(&round);
        eprintln!("{}: {figures:?}", scenario.name());
        holds(*scenario, &figures).with_context(|| format!("{}: {figures:?}", scenario.name()))?;
    }
    place.end().await
}

fn holds(scenario: Scenario, figures: &Figures) -> Result<()> {
    ensure!(figures.two_ready == 0, "two endpoints were ready at once");
    ensure!(figures.forks == 0, "two led in one term");
    ensure!(figures.foreign == 0, "pods answered that never led");
    if scenario.is_planned() || !scenario.moves() {
        ensure!(figures.failed == 0, "connections failed");
    }
    // Which makes the others mean something: a container that is dead does not answer.
    if matches!(scenario, Scenario::PutKill | Scenario::Kill) {
        ensure!(figures.failed > 0, "no connection failed");
    }
    ensure!((figures.moves > 0) == scenario.moves(), "the leader changed {} times", figures.moves);
    Ok(())
}
