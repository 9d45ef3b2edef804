//! `zen-lead run`: connects, watches, decides, until told to stop.

use std::future::Future;
use std::io;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource};
use machine::Micros;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::apply::Apply;
use crate::client::{self, Clients, ConnectError};
use crate::clock::Clock;
use crate::config::RunArgs;
use crate::debug;
use crate::dice::Dice;
use crate::driver::{Driver, Feed, PODS, SERVICES, SLICES, Scope, Telemetry};
use crate::halt::Halt;
use crate::health::Health;
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::leaders::{self, Leaders};
use crate::lease::Candidate;
use crate::managed::Identity;
use crate::metrics::{BuildInfo, Metrics};
use crate::names::{CONTROLLER, LABEL_SLICE_MANAGED_BY};
use crate::nodes;
use crate::record::{Directory, DirectoryError, Files, Recorder};
use crate::serve::{self, BindError, Routes};
use crate::traces::{self, Exporter, Tracer};
use crate::watch::{Change, Phase, WatchOptions, WatchStatus, follow};

/// Facts that may wait for the deciding task. It takes microseconds for each; a full queue makes the watches
/// wait, and loses nothing.
const FEED: usize = 1_024;

/// Pods, Services and slices are watched in each namespace.
const RESOURCES: usize = 3;

/// The last records may take as long to reach the disk.
const LAST_RECORDS: Duration = Duration::from_millis(200);

/// At the end the traces that wait are sent, but not for longer than this: with what the writes may take, less than
/// three seconds from the signal to the exit.
const FLUSH: Duration = Duration::from_millis(900);

/// Why the controller could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable configuration of an API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server did not answer at start or does not let us watch, and `--exit-on-start-error` was given.
    #[error("{server}: {why}")]
    Unreachable {
        /// The server's URL.
        server: String,
        /// What was wrong.
        why: String,
    },
    /// A port could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The variables that say where traces go do not make sense.
    #[error("cannot send traces: {0}")]
    Traces(#[from] traces::SettingsError),
    /// Traces cannot be sent.
    #[error("cannot send traces: {0}")]
    NoTraces(#[from] traces::StartError),
    /// There is no thread for those who ask who leads.
    #[error("cannot serve /leader: {0}")]
    Leaders(#[source] io::Error),
    /// There is no place for the records.
    #[error(transparent)]
    Record(#[from] DirectoryError),
    /// A task that must never end did.
    #[error("the task `{0}` ended, which it never should; see the log above")]
    TaskEnded(&'static str),
}

/// Runs the controller until `shutdown`.
pub async fn run(args: RunArgs, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    if let Some(warning) = args.ignored_warning() {
        warn!("{warning}");
    }
    let trace_settings = traces::Settings::from_env(&args.identity())?;
    // Before anything else: whoever probes should learn why we are not ready.
    let listener = serve::bind(&args.health_probe_bind_address).await?;
    let metrics_listener = serve::bind(&args.metrics_bind_address).await?;
    let debug_listener = serve::bind(&args.debug_bind_address).await?;
    let leader_listener = serve::bind(&args.leader_bind_address).await?;
    let options =
        client::ClientOptions { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let clients = client::connect(&options).await?;
    let endpoint = trace_settings.as_ref().map(|settings| settings.endpoint.to_string());
    let mut controller = Controller::new(args, clients);
    controller.trace(trace_settings)?;
    controller.record()?;
    let Controller { args, clients, identity, .. } = &controller;
    info!(
        version = env!("CARGO_PKG_VERSION"), server = clients.server, instance = &*identity.instance,
        replica = &*identity.replica, traces = endpoint, namespaces = ?args.namespaces, dry_run = args.dry_run, "starting"
    );
    controller.serve(listener, metrics_listener, debug_listener);
    controller.tell_leaders(leader_listener)?;
    controller.run(shutdown).await
}

/// The controller over connections that are there.
pub struct Controller {
    args: RunArgs,
    clients: Clients,
    identity: Identity,
    health: Health,
    metrics: Metrics,
    tracer: Option<Tracer>,
    exporter: Option<Exporter>,
    recorder: Recorder,
    leaders: Option<Leaders>,
    files: Option<Files>,
    clock: Clock,
    dice: Dice,
    halt: Halt,
    /// What must not end before the controller does.
    tasks: JoinSet<&'static str>,
}

impl Controller {
    /// One that has not begun; it goes by the system's clock and by chance.
    #[must_use]
    pub fn new(args: RunArgs, clients: Clients) -> Self {
        let health = Health::new();
        let identity =
            Identity { instance: args.instance().to_string().into(), replica: args.identity().into() };
        let build = BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            installation: identity.instance.clone(),
            replica: identity.replica.clone(),
        };
        let metrics = Metrics::new(args.metrics_detail, &health, build);
        let recorder = Recorder::new(args.flight_recorder);
        metrics.show_records_of(recorder.clone());
        Self {
            args,
            clients,
            identity,
            health,
            metrics,
            tracer: None,
            exporter: None,
            recorder,
            leaders: None,
            files: None,
            clock: Clock::start(),
            dice: Dice::new(),
            halt: Halt::default(),
            tasks: JoinSet::new(),
        }
    }

    /// The same by this clock and this chance: with both given, the same answers at the same times make it do the same.
    #[must_use]
    pub fn determined_by(self, clock: Clock, dice: Dice) -> Self {
        Self { clock, dice, ..self }
    }

    /// The same, all tasks of which can be halted; that in which it runs is the caller's to halt.
    #[must_use]
    pub fn halted_by(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// What takes note of its decisions.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn trace(&mut self, settings: Option<traces::Settings>) -> Result<(), traces::StartError> {
        let (server, dropped) = (&self.clients.server, self.metrics.spans_dropped());
        let start = |settings| Exporter::start(settings, server, self.args.propagate_to_apiserver, dropped);
        (self.tracer, self.exporter) = settings.map(start).transpose()?.unzip();
        Ok(())
    }

    /// Writes what is recorded to files, too, if somebody wants it.
    fn record(&mut self) -> Result<(), DirectoryError> {
        let Some(path) = self.args.record.clone() else { return Ok(()) };
        let (file_bytes, files) = (self.args.record_file_bytes, usize::from(self.args.record_files));
        self.files = Some(self.recorder.record_to(Directory { path: path.clone(), file_bytes, files })?);
        self.recorder.rescue_on_panic(path);
        Ok(())
    }

    fn serve(
        &mut self,
        health: Option<TcpListener>,
        metrics: Option<TcpListener>,
        debug: Option<TcpListener>,
    ) {
        serve("health server", health, Routes::new().with_health(&self.health), &mut self.tasks);
        serve("metrics server", metrics, self.metrics.with_metrics(Routes::new()), &mut self.tasks);
        let elections = debug::with_elections(Routes::new(), &self.recorder);
        serve("debug server", debug, elections, &mut self.tasks);
    }

    fn tell_leaders(&mut self, listener: Option<TcpListener>) -> Result<(), Error> {
        let Some(listener) = listener else { return Ok(()) };
        let (leaders, ended) = leaders::serve(listener, self.health.clone()).map_err(Error::Leaders)?;
        self.leaders = Some(leaders);
        self.tasks.spawn(async move {
            let _ = ended.await;
            "leader server"
        });
        Ok(())
    }

    /// Takes part in the Lease, watches and decides until `shutdown`. Whoever drops this ends all of it at once.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { args, clients, identity, health, metrics, tracer, exporter, .. } = self;
        let (recorder, leaders, files, clock, dice, halt, mut tasks) =
            (self.recorder, self.leaders, self.files, self.clock, self.dice, self.halt, self.tasks);
        let mut shutdown = Box::pin(shutdown);
        if args.exit_on_start_error {
            tokio::select! {
                warmed = clients.warm() => warmed.map_err(|error| unreachable(&clients, client::explain(&error)))?,
                () = &mut shutdown => return Ok(()),
            }
        }
        // Beside the lists, which connect by themselves: whoever starts has losses to make up for.
        let kept = clients.clone();
        tasks.spawn(halt.clone().task(async move {
            kept.keep_warm().await;
            "warm connection"
        }));

        let (sink, feed) = mpsc::channel(FEED);
        let scope = if args.namespaces.is_empty() {
            Scope::Cluster
        } else {
            Scope::Namespaces(args.namespaces.clone())
        };
        let watches = Watches {
            clients: &clients,
            scope: &scope,
            sink: &sink,
            health: &health,
            dice: &dice,
            halt: &halt,
        };
        let ours = format!("{LABEL_SLICE_MANAGED_BY}={CONTROLLER}");
        watches.follow::<SliceLite>("endpointslices", SLICES, Some(&ours), &mut tasks);
        watches.follow::<ServiceLite>("services", SERVICES, None, &mut tasks);
        watches.follow::<PodLite>("pods", PODS, None, &mut tasks);
        if args.watch_nodes {
            let first = RESOURCES * scope.watches();
            let (clients, health, dice) = (&clients, &health, &dice);
            let watch = nodes::Watch {
                clients,
                health,
                dice,
                metrics: &metrics,
                sink: &sink,
                sources: [first, first + 1],
                timeout: args.node_lease_timeout,
            };
            watch.begin(&mut tasks);
        }

        let budget = Micros(u64::try_from(args.failover_budget.as_micros()).unwrap_or(u64::MAX));
        let start_failure = failed_start(health.watches());
        let apply = Apply::new(clients.write.clone(), usize::from(args.max_writes_in_flight), args.dry_run)
            .halted_by(halt.clone());
        let (stop_lease, mut lease) = take_part(&args, &clients, &sink, clock, halt.clone());
        let telemetry = Telemetry { metrics, tracer, recorder, leaders, budget };
        let driver = Driver::new(identity, scope, apply, health, telemetry).timed_by(clock);
        let driver = if lease.is_empty() { driver } else { driver.waiting_for_the_lease() };
        // A task of its own: what runs inside `block_on` wakes up 50 us later (measured: 88-101 us against 22-52).
        let mut deciding = JoinSet::new();
        deciding.spawn(halt.task(driver.run(feed, shutdown)));
        let ended = tokio::select! {
            biased;
            Some(ended) = deciding.join_next() => {
                if let Err(error) = ended {
                    error!("the deciding task failed: {error}");
                    return Err(Error::TaskEnded("driver"));
                }
                tasks.shutdown().await;
                Ok(())
            }
            why = start_failure, if args.exit_on_start_error => {
                Err(unreachable(&clients, why))
            }
            Some(ended) = tasks.join_next() => Err(Error::TaskEnded(ended.unwrap_or("watch"))),
        };
        // Dropped, if there is nobody to tell.
        let _ = stop_lease.send(true);
        let released = async {
            let _ = lease.join_next().await;
        };
        let flushed = async {
            if let Some(exporter) = exporter {
                exporter.stop(FLUSH).await;
            }
        };
        tokio::join!(released, flushed);
        if let Some(files) = files {
            files.stop(LAST_RECORDS);
        }
        ended
    }
}

fn serve(
    name: &'static str,
    listener: Option<TcpListener>,
    routes: Routes,
    tasks: &mut JoinSet<&'static str>,
) {
    if let Some(listener) = listener {
        tasks.spawn(async move {
            serve::serve(listener, routes, serve::MAX_CONNECTIONS).await;
            name
        });
    }
}

/// Takes part in agreeing with other replicas who acts first, unless there shall be none.
fn take_part(
    args: &RunArgs,
    clients: &Clients,
    sink: &mpsc::Sender<Feed>,
    clock: Clock,
    halt: Halt,
) -> (tokio::sync::watch::Sender<bool>, JoinSet<()>) {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let takes_part = args.leader_elect && !args.dry_run;
    let mut lease = JoinSet::new();
    if takes_part {
        let api = Api::namespaced(clients.write.clone(), &args.instance().namespace);
        let name = args.leader_election_id.clone();
        let candidate = Candidate::new(api, name, args.identity(), sink.clone(), clock);
        lease.spawn(halt.task(candidate.run(stopped)));
    }
    (stop, lease)
}

fn unreachable(clients: &Clients, why: String) -> Error {
    Error::Unreachable { server: clients.server.clone(), why }
}

/// Returns when a watch fails before it works for the first time, which is mostly for want of rights; never, once
/// all of them do.
async fn failed_start(watches: Vec<WatchStatus>) -> String {
    let begun = |watch: WatchStatus| async move {
        let mut changes = watch.subscribe();
        loop {
            match changes.borrow_and_update().phase.clone() {
                Phase::Live => return Ok(()),
                Phase::Disconnected(reason) => return Err(format!("watch {}: {reason}", watch.name())),
                Phase::Waiting | Phase::Listing | Phase::Opening => {}
            }
            // The status outlives this future, so its changes do not end.
            let _ = changes.changed().await;
        }
    };
    match futures::future::try_join_all(watches.into_iter().map(begun)).await {
        Ok(_) => std::future::pending().await,
        Err(why) => why,
    }
}

/// Where the watches get what they need.
struct Watches<'a> {
    clients: &'a Clients,
    scope: &'a Scope,
    sink: &'a mpsc::Sender<Feed>,
    health: &'a Health,
    dice: &'a Dice,
    halt: &'a Halt,
}

impl Watches<'_> {
    /// Follows one resource, by one watch a namespace or one for all. `kind` numbers the resources.
    fn follow<K>(
        &self,
        resource: &'static str,
        kind: usize,
        selector: Option<&str>,
        tasks: &mut JoinSet<&'static str>,
    ) where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
        Feed: From<(usize, Change<K>)>,
    {
        let apis: Vec<(String, Api<K>)> = match self.scope {
            Scope::Cluster => vec![(resource.to_owned(), Api::all(self.clients.watch.clone()))],
            Scope::Namespaces(names) => names
                .iter()
                .map(|name| (format!("{name}/{resource}"), Api::namespaced(self.clients.watch.clone(), name)))
                .collect(),
        };
        let watches = apis.len();
        for (number, (name, api)) in apis.into_iter().enumerate() {
            let status = self.health.watch(name);
            let options = WatchOptions {
                label_selector: selector.map(str::to_owned),
                dice: self.dice.clone(),
                ..WatchOptions::default()
            };
            let source = kind * watches + number;
            let task = tell_of_outages(status.clone(), source, self.sink.clone());
            tasks.spawn(self.halt.clone().task(task));
            let sink = self.sink.clone();
            tasks.spawn(self.halt.clone().task(async move {
                follow(api, options, source, sink, status).await;
                resource
            }));
        }
    }
}

/// Tells the driver when a watch stops working, for it is blind then; and when it works again: what waits for the API
/// server need not wait any longer.
async fn tell_of_outages(status: WatchStatus, source: usize, sink: mpsc::Sender<Feed>) -> &'static str {
    let mut changes = status.subscribe();
    let mut was_down = false;
    while changes.changed().await.is_ok() {
        let is_down = match changes.borrow_and_update().phase {
            Phase::Disconnected(_) => true,
            Phase::Live => false,
            Phase::Waiting | Phase::Listing | Phase::Opening => was_down,
        };
        if is_down != was_down {
            was_down = is_down;
            let fact = if is_down { Feed::Disconnected(source) } else { Feed::Reconnected(source) };
            if sink.send(fact).await.is_err() {
                break;
            }
        }
    }
    "watch status"
}
