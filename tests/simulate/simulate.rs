//! The controller as it is shipped, simulated: several replicas over an API server in memory, in a time that jumps from
//! event to event, with all that can go wrong. One seed decides everything, so that whatever is found can be seen again.
//!
//! `cargo test` simulates some thousand seeds, `cargo lab simulate` as many as are asked for. A failure tells the seed,
//! the fewest happenings that lead to it, and where the logs of the replicas' decisions are, for `zen-lead replay`.
//!
//! ```text
//! plan (what happens) -> simulation -> net -> server, watch -> store (what was committed)
//!                            |          `- sabotage (mistakes, to be found out)   |
//!                            `- world (pods, people)                         invariants -> shrink (a report)
//! ```

mod asks;
mod cores;
mod go;
mod history;
mod invariants;
mod logs;
mod net;
mod notices;
mod objects;
mod pause;
mod plan;
mod progress;
mod sabotage;
mod server;
mod settled;
mod shrink;
mod simulation;
mod store;
mod terms;
#[cfg(test)]
mod tests;
mod time;
mod watch;
mod world;

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use clap::Parser;
use tokio::runtime::Builder;
use tokio::signal::ctrl_c;

use crate::cores::on_all_cores;
use crate::plan::{Plan, Size};
use crate::progress::Tally;
use crate::sabotage::Sabotage;
use crate::simulation::simulate;

/// Simulates the controller with all that can go wrong, and tells what must not happen and did
///
/// Exit code: 0 if nothing did, 1 if something did, 2 for wrong usage. Ctrl-C ends it with what is known by then; a
/// second one ends it at once.
#[derive(Parser)]
#[command(name = "cargo lab simulate", verbatim_doc_comment)]
struct Arguments {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    seeds: u64,

    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,

    /// Replicas of the controller, instead of 1 to 3
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u8).range(1..=9))]
    replicas: Option<u8>,

    /// Services, instead of 1 to 3; the more there are, the more happens
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=25))]
    services: Option<u8>,

    /// A mistake that the controller is to make, to see it found out
    #[arg(long, value_enum, value_name = "MISTAKE")]
    sabotage: Option<Sabotage>,

    /// Where the logs of a failure go
    #[arg(long = "log", value_name = "DIR", default_value_os_t = default_logs())]
    logs: PathBuf,

    /// Show what the controller logs; for one seed
    #[arg(long)]
    verbose: bool,
}

fn default_logs() -> PathBuf {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or_else(|| Path::new("."));
    workspace.join("target/tmp/simulate")
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.verbose {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
        log.with_ansi(false).without_time().init();
    }
    let Arguments { seeds, first, replicas, services, sabotage, logs, .. } = arguments;
    let size = Size { replicas: replicas.map(usize::from), services: services.map(usize::from) };
    thread::spawn(listen);
    let tally = try_seeds(first..first.saturating_add(seeds), size, sabotage, true);
    print!("{tally}");
    let Some((seed, _)) = tally.failed.first() else { return ExitCode::SUCCESS };
    println!("{}", shrink::report(&Plan::new(*seed, size), sabotage, &logs));
    ExitCode::FAILURE
}

/// Somebody has pressed Ctrl-C.
static IS_STOPPED: AtomicBool = AtomicBool::new(false);

fn listen() {
    let runtime = Builder::new_current_thread().enable_io().build().expect("there are file descriptors left");
    runtime.block_on(async {
        while ctrl_c().await.is_ok() {
            if IS_STOPPED.swap(true, Relaxed) {
                exit(130);
            }
        }
    });
}

/// Simulates these seeds, or those of them that are done when somebody wants an end.
fn try_seeds(seeds: Range<u64>, size: Size, sabotage: Option<Sabotage>, is_shown: bool) -> Tally {
    let mut tally = Tally::of(seeds.end - seeds.start);
    let try_one = |seed| simulate(&Plan::new(seed, size), sabotage);
    on_all_cores(seeds, try_one, |seed, verdict| {
        tally.add(seed, &verdict);
        if is_shown {
            tally.show();
        }
        if IS_STOPPED.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    tally.failed.sort();
    tally.end();
    tally
}
