//! `cargo lab gaps`: what clients of a leader Service see while things go wrong, on a cluster with real nodes.
//!
//! ```text
//! Place: cluster, controller, pods  ->  Round: clients ask, a Scenario happens  ->  Figures  ->  Summary, Target
//!                                         (client, recorder, faults, hand)
//! ```
//!
//! The clients ask from the network of a pod and know who answered; a recorder keeps what the API server said when. From
//! both, a round tells how long new connections failed, and which part of that was detection, the controller, and
//! kube-proxy. Beside it, in turn, a client that knows beforehand what to write moves the slice by one PUT: the limit.

mod ask;
mod client;
mod faults;
mod figures;
mod follow;
mod hand;
mod install;
mod place;
mod recorder;
mod round;
mod scenario;
mod summary;
mod table;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task;

use crate::cluster::{Cluster, Proxy};
use crate::directory::Directory;
use crate::image::{self, Arch};

pub use ask::Failure;
pub use client::{Attempt, Client, Manner};
pub use figures::Figures;
pub use place::{Mover, Place, Setting, Stage};
pub use recorder::{Endpoint, History, PodFact, PodState, Recorder, Revision};
pub use round::Round;
pub use scenario::Scenario;
pub use summary::{Spread, Summary, compare};
pub use targets::{Target, targets};

/// What to measure.
#[derive(clap::Args, Debug, Clone)]
#[command(after_long_help = table::COLUMNS)]
pub struct Arguments {
    /// How often each scenario is played; they take turns, so that what the machine does else hits all alike
    #[arg(long, default_value_t = 50)]
    pub rounds: u32,
    /// How often those are played that take a minute or more
    #[arg(long, default_value_t = 3)]
    pub long_rounds: u32,
    /// Where to write the figures of every round
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How kube-proxy turns the addresses of Services
    #[arg(long, value_enum, default_value_t)]
    pub proxy: Proxy,
    /// Let the controller watch nodes (the component deploy/nodes), as it does not by default
    #[arg(long)]
    pub watch_nodes: bool,
    /// Give the Services that opt in no address of their own: kube-proxy then takes no notice of their slices, which
    /// Kubernetes writes for the same losses and at the same time as the controller writes its own
    #[arg(long)]
    pub headless: bool,
    /// Only these scenarios; all if none is named
    #[arg(long, value_enum, value_name = "NAME", num_args = 1..)]
    pub only: Vec<Scenario>,
    /// An archive of the controller's image under the name that deploy/ gives it; built from this repository if none is
    /// named
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
}

impl Arguments {
    fn rounds_of(&self, scenario: Scenario) -> u32 {
        match scenario {
            _ if !self.only.is_empty() && !self.only.contains(&scenario) => 0,
            _ if scenario.is_long() => self.long_rounds,
            _ => self.rounds,
        }
    }
}

/// Measures, and prints what came of it; true if every target was met. Ends early when told to stop, with what it has.
pub async fn run(arguments: &Arguments, stop: &mut UnboundedReceiver<()>) -> Result<bool> {
    ensure!(
        Scenario::all().iter().any(|scenario| arguments.rounds_of(*scenario) > 0),
        "there is nothing to play: give --rounds, or for scenarios of a minute or more --long-rounds, at least 1"
    );
    task::spawn_blocking(Cluster::available).await??;
    if let Some(file) = &arguments.json {
        // Not after hours.
        fs::write(file, "").with_context(|| format!("cannot write {}", file.display()))?;
    }
    let Arguments { proxy, watch_nodes, headless, .. } = *arguments;
    let load_before = load();
    let folder = Directory::create()?;
    let image = match arguments.image.clone() {
        Some(image) => image,
        None => build(folder.path().to_owned()).await?,
    };
    let mut played = BTreeMap::new();
    let place = tokio::select! {
        place = Place::start(Setting { proxy, image, watch_nodes, headless }) => place?,
        _ = stop.recv() => bail!("told to stop before there was a cluster"),
    };
    tokio::select! {
        () = play(arguments, &place, &mut played) => {}
        _ = stop.recv() => eprintln!("lab: told to stop; this is what was measured so far"),
    }
    place.end().await?;

    let summary = |(scenario, Played { figures, broken })| Summary::of(scenario, figures, broken);
    let mut summaries: Vec<Summary> = played.into_iter().map(summary).collect();
    compare(&mut summaries);
    let targets = targets(proxy, watch_nodes, &summaries);
    let machine = format!("{}, load {load_before} before and {} after", size(), load());
    println!("kube-proxy: {}; {machine}\n", proxy.name());
    println!("{}\n{}", table::table(&summaries), table::verdicts(&targets));
    if let Some(file) = &arguments.json {
        let content = json!({
            "machine": machine,
            "proxy": proxy.name(),
            "watch_nodes": watch_nodes,
            "headless": headless,
            "scenarios": summaries,
            "targets": targets,
        });
        fs::write(file, serde_json::to_vec_pretty(&content)?)?;
    }
    Ok(targets.iter().all(|target| target.met))
}

/// The rounds of a scenario.
#[derive(Default)]
struct Played {
    figures: Vec<Figures>,
    broken: Vec<String>,
}

async fn play(arguments: &Arguments, place: &Place, played: &mut BTreeMap<Scenario, Played>) {
    let begun = Instant::now();
    for number in 0..arguments.rounds.max(arguments.long_rounds) {
        for scenario in Scenario::all().iter().filter(|one| number < arguments.rounds_of(**one)) {
            let rounds = arguments.rounds_of(*scenario);
            let word = match Round::play(place, *scenario, number).await {
                Ok(round) => {
                    let figures = Figures::of(&round);
                    let ms =
                        |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
                    let word = format!(
                        "{} failed, gap {}: detection {}, controller {}, propagation {}",
                        figures.failed,
                        ms(figures.gap),
                        ms(figures.detection),
                        ms(figures.controller),
                        ms(figures.propagation)
                    );
                    played.entry(*scenario).or_default().figures.push(figures);
                    word
                }
                Err(error) => {
                    let word = format!("did not come about: {error:#}");
                    played.entry(*scenario).or_default().broken.push(word.clone());
                    word
                }
            };
            let seconds = begun.elapsed().as_secs();
            eprintln!("lab: {seconds:>5} s  {} {}/{rounds}: {word}", scenario.name(), number + 1);
        }
    }
}

/// The image as it is released, for this machine.
async fn build(folder: PathBuf) -> Result<PathBuf> {
    eprintln!("lab: building the controller's image; some minutes the first time");
    let arch =
        Arch::of_this_machine().context("the image is for x86_64 and aarch64, not for this machine")?;
    let arguments = image::Arguments { arch: vec![arch], output: Some(folder) };
    Ok(task::spawn_blocking(move || image::build(&arguments)).await??.archive)
}

/// Processors and memory.
fn size() -> String {
    let cores = thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    format!("{cores} cores, {} GiB", kib.div_ceil(1 << 20))
}

/// How many processes wanted to run, over the last minute.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
