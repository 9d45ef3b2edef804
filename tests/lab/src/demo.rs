//! `cargo demo`: the main job, shown to a person, on a real API server.
//!
//! Every line is measured on bare watches of the API server: from the moment at which they show the trigger to the
//! moment at which they show what came of it. Each step is checked, and the exit code tells whether all held.

mod controller;
mod figures;
mod hands;
mod place;
mod review;
mod scenes;
mod screen;
mod show;
mod state;
mod timeline;
mod traces;

use std::future::{Future, pending};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::sync::mpsc;

use controller::{Controller, Program};
use place::{Own, Place};
use show::Show;

use crate::phoenix::Phoenix;

pub use screen::Screen;

const HELP: &str = "\
Without --kubeconfig, etcd and kube-apiserver are started on loopback and end
with the demo. The first run builds them (with Go 1.25 or later, about 6
minutes on 2 cores) and the controller (about 3 minutes).

With --kubeconfig, the demo uses your cluster:
- It makes one namespace, zen-lead-demo-<random>, and all else inside it:
  ServiceAccount, Role, RoleBinding, Services, pods. All of that is removed at
  the end, also after a failure or Ctrl-C.
- The controller runs on this machine as that ServiceAccount, and sees and
  writes in that namespace only.
- You need an administrator's rights: to create and delete a namespace, to
  create Roles and tokens, and to patch pods/status.
- Its pods never run. They name a node that does not exist, and the demo writes
  their status as a kubelet would. Kubernetes' pod garbage collector removes
  such pods after 40 seconds or more: keep --rounds small, and do not expect
  --keep to keep them.
- A zen-lead that watches all namespaces gets in the way. The demo notices it,
  and says so.

With --traces, each failover is a trace, and the end of the output has the
addresses of web pages that show where its time went. They are Arize Phoenix's,
which the first run installs below target/ from the Python package index (about
a minute, 850 MB; it needs Python 3.11 or later with venv) and every run starts
on loopback. It forgets everything when it ends.

Colours on a terminal only, and not with NO_COLOR.
Exit code: 0 if everything held; 1 if something did not, which the end of the
output lists; 2 for wrong usage; 130 if interrupted.

Examples:
  cargo demo
  cargo demo --rounds 20
  cargo demo --keep
  cargo demo --traces
  cargo demo --kubeconfig ~/.kube/config --context staging";

/// What to show.
#[derive(Debug, Clone, Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// How often each failover is shown and measured
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,

    /// Leave everything running after the show, with things to try, until Ctrl-C
    #[arg(long)]
    pub keep: bool,

    /// Show also where each failover's time went, in a web page, until Ctrl-C
    #[arg(long)]
    pub traces: bool,

    /// Take a picture of the slowest failover's page, as PNG: for the documentation
    #[arg(long, value_name = "FILE", requires = "traces", hide = true)]
    pub screenshot: Option<PathBuf>,

    /// Show it in the cluster of this kubeconfig, in a namespace of its own, instead of in a lab
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,

    /// Run this controller instead of building one: for tests, which have built one already
    #[arg(long, value_name = "PATH", hide = true)]
    pub controller: Option<PathBuf>,
}

/// How the show ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything held.
    Held,
    /// Something did not hold, could not be shown, or could not be removed.
    NotHeld,
    /// It was interrupted.
    Interrupted,
}

impl Outcome {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::NotHeld => 1,
            // As shells have it for SIGINT.
            Self::Interrupted => 130,
        }
    }
}

/// Shows it. What `stop` brings ends it in good order, a second one also the cleaning up.
pub async fn run(
    arguments: &Arguments,
    screen: &mut Screen,
    stop: &mut mpsc::UnboundedReceiver<()>,
) -> Outcome {
    let begun = Instant::now();
    screen.line(
        "zen-lead demo: a real API server, the real controller with the rights of deploy/, and three pods",
    );
    screen.line(
        "whose kubelet is this program. Times are from the trigger to its effect, both as seen on a watch.",
    );
    screen.line("");
    let mut problems = Vec::new();
    let shown = Box::pin(show_it(arguments, screen, stop, begun, &mut problems)).await;
    let interrupted = match shown {
        Ok(Ended::ByItself) => false,
        Ok(Ended::Interrupted) => true,
        Err(error) => {
            problems.push(format!("{error:#}"));
            false
        }
    };
    screen.line("");
    if !problems.is_empty() {
        screen.text(0, screen::Tone::Bad, &format!("NOT HELD, {}:", problems.len()));
        for problem in &problems {
            screen.text(2, screen::Tone::Plain, &format!("- {problem}"));
        }
        return Outcome::NotHeld;
    }
    if interrupted {
        screen.text(0, screen::Tone::Warning, "Interrupted.");
        return Outcome::Interrupted;
    }
    screen.text(0, screen::Tone::Good, "Everything held.");
    Outcome::Held
}

/// Whether the show reached its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    ByItself,
    Interrupted,
}

async fn show_it(
    arguments: &Arguments,
    screen: &mut Screen,
    stop: &mut mpsc::UnboundedReceiver<()>,
    begun: Instant,
    problems: &mut Vec<String>,
) -> Result<Ended> {
    let program = match &arguments.controller {
        Some(path) => {
            ensure!(path.is_file(), "--controller {}: there is no such program", path.display());
            path.clone()
        }
        None => match unless(stop, controller::build(screen, begun)).await {
            Some(built) => built?,
            None => return Ok(Ended::Interrupted),
        },
    };
    let phoenix = if arguments.traces {
        match unless(stop, traces::start(screen, begun)).await {
            Some(phoenix) => Some(phoenix?),
            None => return Ok(Ended::Interrupted),
        }
    } else {
        None
    };
    let place = match &arguments.kubeconfig {
        None => {
            screen.progress(begun.elapsed(), "starting etcd and kube-apiserver");
            match unless(stop, Place::in_lab()).await {
                Some(place) => place.context("starting the lab")?,
                None => return Ok(Ended::Interrupted),
            }
        }
        Some(file) => {
            let reached = unless(stop, Own::reach(file, arguments.context.as_deref())).await;
            let Some(reached) = reached else { return Ok(Ended::Interrupted) };
            let (own, client) = reached?;
            Place::in_own(own, client).await?
        }
    };
    screen.progress(begun.elapsed(), &place.describe());
    let mut running = None;
    let endpoint = phoenix.as_ref().map(Phoenix::endpoint);
    let program = Program { path: program, endpoint };
    let shown = unless(stop, on_stage(arguments, &place, &program, screen, begun, &mut running, problems));
    let ended = match Box::pin(shown).await {
        Some(Ok(())) => Ended::ByItself,
        Some(Err(error)) => {
            problems.push(format!("{error:#}"));
            Ended::ByItself
        }
        None => Ended::Interrupted,
    };
    if let (Ended::ByItself, Some(controller)) = (ended, &running) {
        // Ctrl-C is how this ends, and no interruption.
        let leave = leave(arguments, &place, phoenix.as_ref(), controller.log(), screen);
        if let Some(Err(error)) = unless(stop, leave).await {
            problems.push(format!("{error:#}"));
        }
    }
    screen.line("");
    if let Some(controller) = running {
        screen.progress(begun.elapsed(), "stopping the controller");
        if let Err(error) = controller.stop().await {
            problems.push(format!("{error:#}"));
        }
    }
    let name = place.ns.name().to_owned();
    match unless(stop, place.remove(screen, begun)).await {
        Some(result) => result?,
        None => bail!("interrupted while cleaning up: namespace {name} may be left"),
    }
    Ok(ended)
}

/// Leaves to a person what is to be left running, and waits.
async fn leave(
    arguments: &Arguments,
    place: &Place,
    phoenix: Option<&Phoenix>,
    log: &Path,
    screen: &mut Screen,
) -> Result<()> {
    if !arguments.keep && phoenix.is_none() {
        return Ok(());
    }
    // Before anything else happens: these are the failovers that were shown.
    if let Some(phoenix) = phoenix {
        traces::show(phoenix, log, arguments.screenshot.as_deref(), screen).await?;
    }
    if arguments.keep {
        hands::show(place, log, screen).await?;
    }
    screen.line("");
    screen.line("Ctrl-C ends it and removes everything.");
    pending().await
}

/// What it comes to, or none if told to stop before.
async fn unless<T>(stop: &mut mpsc::UnboundedReceiver<()>, work: impl Future<Output = T>) -> Option<T> {
    let told = async {
        if stop.recv().await.is_none() {
            // Nobody is left who could.
            pending::<()>().await;
        }
    };
    tokio::select! {
        result = work => Some(result),
        () = told => None,
    }
}

async fn on_stage(
    arguments: &Arguments,
    place: &Place,
    program: &Program,
    screen: &mut Screen,
    begun: Instant,
    running: &mut Option<Controller>,
    problems: &mut Vec<String>,
) -> Result<()> {
    let account = place.authorise().await?;
    screen.progress(begun.elapsed(), &format!("the rights of deploy/ are applied, for {}", account.user()));
    let audit = place.audit();
    let kubeconfig = place.kubeconfig(&account).await?;
    let controller = Controller::start(program, &kubeconfig, place.folder(), &place.arguments())?;
    let controller = running.insert(controller);
    controller.until_ready().await?;
    let id = controller.id();
    screen.progress(
        begun.elapsed(),
        &format!("the controller is ready: process {id}, a token of that account"),
    );
    let log = controller.log().to_owned();
    let mut show = Show::begin(place, screen, &log).await?;
    show.screen.progress(begun.elapsed(), "Service orders and three Ready pods exist");
    let played = scenes::play(&mut show, usize::from(arguments.rounds)).await;
    if let Err(error) = played {
        show.failed(&error);
    }
    review::sum_up(&mut show, audit, &account.user()).await?;
    problems.append(&mut show.not_held);
    Ok(())
}
