//! What people ask the cluster: who leads and why, what happened, and please hand over.
//!
//! ```text
//! cluster (requests, errors) -> survey (objects) -> look (one Service, by the shipped machine) -> status, why, ...
//! ```
//!
//! It acts with the rights of whoever calls it, reads what is in the cluster, and writes annotations of source
//! Services only. It needs no controller: what is decided is in the objects, and the machine that decides is here, too.
//! Only the flight recorder is the controller's own, and is fetched from it (`recorder`).

mod age;
mod changes;
mod cluster;
mod doctor;
mod error;
mod handover;
mod history;
mod live;
mod log;
mod look;
mod manual;
mod nodes;
mod notes;
mod output;
mod pause;
mod recorder;
mod status;
mod summary;
mod survey;
mod switchover;
mod table;
mod why;

use std::io;
use std::process::ExitCode;

use crate::config::Operate;

pub use error::Error;
use output::Output;

/// Does what is asked for, and tells on stdout. Exits with 0 if it was done, with 1 if it could not be, or if `doctor` found
/// something.
pub async fn main(command: &Operate) -> ExitCode {
    let mut out = Output::stdout();
    let mut code = ExitCode::SUCCESS;
    let done = match command {
        Operate::Status(args) => status::run(args, &mut out).await,
        Operate::Why(args) => why::run(args, &mut out).await,
        Operate::Switchover(args) => switchover::run(args, &mut out).await,
        Operate::Pause(args) => pause::pause(args, &mut out).await,
        Operate::Resume(args) => pause::resume(args, &mut out).await,
        Operate::History(args) => history::run(args, &mut out).await,
        Operate::Log(args) => log::run(args, &mut out).await,
        Operate::Doctor(args) => doctor::run(args, &mut out).await.map(|found| code = found),
        Operate::Completions { shell } => manual::completions(*shell, &mut out),
        Operate::Man { directory } => manual::pages(directory),
    };
    match done {
        Ok(()) => code,
        // `zen-lead status | head`: whoever reads has seen enough.
        Err(Error::Tell(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
