//! `cargo demo`: the main job, shown to a person, on a real API server.
//!
//! Every line is measured on bare watches of the API server: from the moment at which they show the trigger to the
//! moment at which they show what came of it. Each step is checked, and the exit code tells whether all held.

mod controller;
mod figures;
mod place;
mod scenes;
mod screen;
mod show;
mod state;
mod timeline;

use std::future::{Future, pending};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use k8s_openapi::api::core::v1::Service as ServiceObject;
use tokio::sync::mpsc;

use crate::audit::{Audit, Entry};
use controller::Controller;
use figures::is_write;
use place::{Own, Place};
use show::{LEADER_SERVICE, MEMBERS, SOON, SOURCE, Show};

pub use screen::Screen;

const HELP: &str = "\
Without --kubeconfig, etcd and kube-apiserver are started on loopback and end with the demo. The first run builds
them (Go 1.25 or later, about 6 minutes on 2 cores) and the controller.

With --kubeconfig, the demo uses your cluster:
  - It makes one namespace, zen-lead-demo-<random>, and everything else inside it: ServiceAccount, Role, RoleBinding,
    Services, pods. All of that is removed at the end, also after a failure or Ctrl-C.
  - The controller runs on this machine, as that ServiceAccount, and sees that namespace only.
  - You need the rights of an administrator there: creating a namespace, Roles and tokens, and patching pods/status.
  - Its pods never run. They name a node that does not exist, and the demo writes their status as a kubelet would.
    Kubernetes' pod garbage collector removes such pods after 40 seconds or more: keep --rounds small, and do not
    expect --keep to keep them.
  - Another zen-lead that watches all namespaces gets in the way; the demo notices, and says so.

Exit code: 0 if everything held, 1 if something did not (the end of the output lists what), 2 for wrong usage.
Colours only on a terminal, and not with NO_COLOR.

Examples:
  cargo demo
  cargo demo --rounds 20
  cargo demo --keep
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
    let shown = show_it(arguments, screen, stop, begun, &mut problems).await;
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
            screen.line(&format!("  - {problem}"));
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
    let shown = unless(stop, on_stage(arguments, &place, &program, screen, begun, &mut running, problems));
    let mut ended = match shown.await {
        Some(Ok(())) => Ended::ByItself,
        Some(Err(error)) => {
            problems.push(format!("{error:#}"));
            Ended::ByItself
        }
        None => Ended::Interrupted,
    };
    if arguments.keep && ended == Ended::ByItself && running.is_some() {
        // Ctrl-C is how this ends, and no interruption.
        match unless(stop, for_hands(&place, screen)).await {
            Some(Err(error)) => problems.push(format!("{error:#}")),
            Some(Ok(())) | None => {}
        }
        ended = Ended::ByItself;
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
    program: &std::path::Path,
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
    let broken = scenes(&mut show, usize::from(arguments.rounds)).await;
    if let Err(error) = broken {
        let text = format!("{error:#}");
        show.screen.not_held(&text);
        show.not_held.push(text);
    }
    sum_up(&mut show, audit, &account.user()).await?;
    problems.append(&mut show.not_held);
    Ok(())
}

/// All scenes; one that breaks off is noted, and the next one begins as if it had not.
async fn scenes(show: &mut Show<'_>, rounds: usize) -> Result<()> {
    show.screen.line("");
    show.screen.header();
    show.screen.scene("Opting in", "an annotation on Service orders; the oldest Ready pod leads");
    show.opt_in().await?;
    show.screen.scene(
        "Readiness lost",
        "the leader becomes NotReady, another pod leads; Ready again, it stays a follower (sticky)",
    );
    for _ in 0..rounds {
        let result = show.readiness_loss().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Graceful deletion",
        "the leader is told to terminate and is replaced before it stops; a new pod takes its name, not its rank",
    );
    for _ in 0..rounds {
        let result = show.graceful_deletion().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Total outage and recovery",
        "nobody can follow: the leader serves until it is gone, then the slice is emptied, until a pod is Ready",
    );
    for _ in 0..rounds {
        let result = show.outage().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Back and forth",
        "with zen-lead.io/sticky: \"false\" the oldest pod leads whenever it is Ready",
    );
    let result = show.switch_back_and_forth(rounds).await;
    after(show, result).await?;
    show.screen.scene("A foreign x-leader", "Service payments-leader is somebody else's: it is left alone");
    let mut foreign: Option<ServiceObject> = None;
    let result = show.foreign().await.map(|made| foreign = Some(made));
    after(show, result).await?;
    show.screen.scene("Opting out", "the namespace is left as it was");
    show.opt_out(foreign.as_ref()).await
}

async fn after(show: &mut Show<'_>, result: Result<()>) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    let text = format!("{error:#}");
    show.screen.not_held(&text);
    show.not_held.push(text);
    show.recover().await.context("going on with the show after that")
}

/// The table, and what held over the whole of it.
async fn sum_up(show: &mut Show<'_>, audit: Option<Audit>, user: &str) -> Result<()> {
    let requests = match audit {
        None => None,
        Some(audit) => Some(requests(&audit, user).await?),
    };
    show.screen
        .scene("Measured", "from the trigger to what came of it, as seen on a bare watch of the API server");
    let Show { figures, screen, .. } = &mut *show;
    figures.print(screen, requests.as_deref());
    show.screen.line("");
    let history = show.check_history();
    show.screen.text(2, screen::Tone::Plain, &history);
    if let Some(requests) = &requests {
        check_requests(show, requests);
    }
    let (checks, failed) = (show.checks, show.not_held.len());
    show.screen.text(2, screen::Tone::Plain, &format!("{checks} checks, {failed} did not hold"));
    Ok(())
}

/// The controller's requests, once the log has those of the last step.
async fn requests(audit: &Audit, user: &str) -> Result<Vec<Entry>> {
    let removed = |entry: &Entry| entry.verb == "delete" && entry.name == LEADER_SERVICE;
    // If the show broke off there was no opting out, and what there is has to do.
    let complete = audit.until(SOON / 5, |all| all.iter().filter(|entry| removed(entry)).count() >= 2).await;
    drop(complete);
    audit.by(user)
}

/// What the controller asked for: nothing it has no right to, nothing that is not its business, and few writes.
fn check_requests(show: &mut Show<'_>, requests: &[Entry]) {
    let denied: Vec<&Entry> = requests.iter().filter(|entry| entry.code == 403).collect();
    show.check(denied.is_empty(), || format!("the API server denied the controller: {denied:?}"));
    let writes: Vec<&Entry> = requests.iter().filter(|entry| is_write(entry)).collect();
    // A creation has no name in the log; Services are created by nobody else here.
    let is_its_own = |entry: &&&Entry| match entry.resource.as_str() {
        "endpointslices" | "services" => entry.name == LEADER_SERVICE || entry.verb == "create",
        "events" => true,
        _ => false,
    };
    let others: Vec<&&Entry> = writes.iter().filter(|entry| !is_its_own(entry)).collect();
    show.check(others.is_empty(), || format!("the controller wrote what is not its own: {others:?}"));
    let per_figure: Vec<_> = show.figures.writes(requests).collect();
    for (kind, writes) in per_figure.into_iter().filter(|(kind, _)| kind.is_failover()) {
        let few = writes.critical == 1 && writes.slices == 1 && writes.all <= 3;
        show.check(few, || {
            format!(
                "a failover ({kind:?}) took {writes:?}; it may take 3 in all, the slice's first and only once"
            )
        });
    }
    let line = format!(
        "{} writes by the controller, none to a pod or a Service of the user's; {} requests, none denied",
        writes.len(),
        requests.len()
    );
    if denied.is_empty() && others.is_empty() {
        show.screen.text(2, screen::Tone::Plain, &line);
    }
}

/// Opts in again, says what can be tried, and waits.
async fn for_hands(place: &Place, screen: &mut Screen) -> Result<()> {
    let patch = kube::api::Patch::Merge(serde_json::json!({
        "metadata": { "annotations": { "zen-lead.io/enabled": "true" } },
    }));
    let services = place.ns.api::<ServiceObject>();
    services.patch(SOURCE, &kube::api::PatchParams::default(), &patch).await?;
    place.ns.slices().until(LEADER_SERVICE, SOON, |slice| state::State::of(slice).phase == "Elected").await?;
    let (exports, kubectl) = place.for_hands()?;
    screen
        .scene("Yours", "Service orders has opted in again and the controller runs on. In another terminal:");
    screen.line("");
    for line in exports {
        screen.line(&format!("  {line}"));
    }
    screen.line("");
    let leader = "$(KUBECTL get service orders-leader -o jsonpath='{.metadata.annotations.zen-lead\\.io/current-leader}')";
    let columns = "NAME:.metadata.name,LEADER:.endpoints[0].targetRef.name,ADDRESS:.endpoints[0].addresses[0],EPOCH:.metadata.annotations.zen-lead\\.io/epoch";
    let ready = |value: &str| {
        format!(
            "--subresource=status -p '{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"{value}\"}}]}}}}'"
        )
    };
    let things = [
        (
            "see who leads, and watch it change",
            format!("KUBECTL get endpointslice orders-leader -w -o custom-columns='{columns}'"),
        ),
        (
            "make the leader NotReady, as its kubelet would",
            format!("KUBECTL patch pod {leader} {}", ready("False")),
        ),
        ("make a pod Ready again", format!("KUBECTL patch pod {} {}", MEMBERS[0], ready("True"))),
        ("delete the leader gracefully", format!("KUBECTL delete pod {leader} --wait=false")),
        ("end it: there is no kubelet that would", "KUBECTL delete pod NAME --force --grace-period=0".into()),
        (
            "hand over to a pod of your choice",
            format!("KUBECTL annotate service orders zen-lead.io/switchover-to={} --overwrite", MEMBERS[2]),
        ),
        ("read what happened, and why", "KUBECTL events --for service/orders".into()),
        ("opt out", "KUBECTL annotate service orders zen-lead.io/enabled-".into()),
    ];
    for (what, how) in things {
        screen.text(2, screen::Tone::Faint, &format!("# {what}"));
        screen.line(&format!("  {}", how.replace("KUBECTL", &kubectl)));
    }
    screen.line("");
    screen.line("Ctrl-C ends it and removes everything.");
    pending().await
}
