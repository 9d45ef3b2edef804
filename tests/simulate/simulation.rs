//! One simulation from its plan to its verdict.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use zen_lead::client::Clients;
use zen_lead::clock::Clock;
use zen_lead::config::{Command, RunArgs, parse_from};
use zen_lead::dice::Dice;
use zen_lead::record::Recorder;
use zen_lead::run::{Controller, Error};

use crate::logs::Log;
use crate::net::{Net, State};
use crate::pause::Pause;
use crate::plan::{EVENTFUL, Plan, RESTORING, What};
use crate::sabotage::Sabotage;
use crate::store::Told;
use crate::time::{Moment, begin, now, wall};
use crate::world::{self, source};
use crate::{go, history};

/// By then all is as it should be: the longest back-off is 30 s, and may have begun at the end.
const SETTLING: Duration = Duration::from_secs(65);

/// Then nothing may be written for so long.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a watch is told how far it is; the real one does that about once a minute.
const BOOKMARKS_EVERY: Duration = Duration::from_secs(20);

/// How often it is looked at how things are, besides what is written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A writer that others have overwritten backs off, for so long at most.
const CONTEST: Moment = 30_000;

/// What came of a simulation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<String>,
    /// A hash of all that was committed, and when and by whom.
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) simulated: Moment,
    /// The last changes, if something is wrong.
    pub(crate) last: Vec<String>,
}

/// Simulates a plan; with a mistake made for the controller, if there is to be one.
pub(crate) fn simulate(plan: &Plan, sabotage: Option<Sabotage>) -> Verdict {
    play(plan, sabotage, |_| ()).0
}

/// The same, with what the replicas recorded.
pub(crate) fn record(plan: &Plan, sabotage: Option<Sabotage>) -> (Verdict, Vec<Log>) {
    play(plan, sabotage, |recorders| {
        let log = |(replica, recorder): &(String, Recorder)| Log::of(plan.seed, replica, recorder);
        recorders.iter().filter_map(log).collect()
    })
}

fn play<T>(
    plan: &Plan,
    sabotage: Option<Sabotage>,
    read: impl FnOnce(&[(String, Recorder)]) -> T,
) -> (Verdict, T) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(async {
        begin();
        let mut simulation = Simulation::new(plan, sabotage);
        simulation.play().await;
        let recorded = read(&simulation.recorders);
        (simulation.verdict(), recorded)
    })
}

struct Simulation<'a> {
    plan: &'a Plan,
    net: Net,
    replicas: Vec<Option<Replica>>,
    lives: u64,
    /// What each replica recorded in each of its lives.
    recorders: Vec<(String, Recorder)>,
}

struct Replica {
    task: JoinHandle<Result<(), Error>>,
    stop: Option<oneshot::Sender<()>>,
    pause: Pause,
}

impl<'a> Simulation<'a> {
    fn new(plan: &'a Plan, sabotage: Option<Sabotage>) -> Self {
        let net = Net::new(plan.seed, plan.replicas, plan.rivals, sabotage);
        let replicas = (0..plan.replicas + plan.rivals).map(|_| None).collect();
        Self { plan, net, replicas, lives: 0, recorders: Vec::new() }
    }

    /// Our replicas, and the other installation's.
    fn all(&self) -> Range<usize> {
        0..self.replicas.len()
    }

    async fn play(&mut self) {
        self.change(|state, plan| world::begin(&mut state.store, plan));
        self.all().for_each(|replica| self.start(replica));
        let net = self.net.clone();
        let bookmarks = tokio::spawn(async move {
            loop {
                sleep(BOOKMARKS_EVERY).await;
                let state = net.state();
                for (_, watcher) in &state.store.watchers {
                    // One that has ended is removed with the next change.
                    let _ = watcher.send(Told::Bookmark(state.store.version, now()));
                }
            }
        });
        let net = self.net.clone();
        let looks = tokio::spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                let mut state = net.state();
                let State { store, judge, links, ours, .. } = &mut *state;
                judge.look(store, links, *ours);
            }
        });
        let mut begun = Instant::now();
        for happening in &self.plan.happenings {
            sleep_until(begun + Duration::from_millis(happening.at)).await;
            self.happen(happening.what);
            if self.has_failed() {
                return;
            }
            if let What::Restore(_) = happening.what {
                // Nobody can write anything meanwhile.
                begun += Duration::from_millis(RESTORING);
            }
        }
        sleep_until(begun + Duration::from_millis(EVENTFUL)).await;
        self.replicas.iter().flatten().for_each(|replica| replica.pause.end());
        self.all().for_each(|replica| self.start(replica));
        self.change(|state, _| {
            for link in &mut state.links {
                (link.cut_until, link.stalled_until, link.paused_until) = (0, 0, 0);
                link.spells.clear();
                link.lags.clear();
            }
        });
        for _ in 0..SETTLING.as_secs() {
            sleep(Duration::from_secs(1)).await;
            if self.has_failed() {
                return;
            }
        }
        self.change(|state, _| state.judge.settled(&state.store));
        let writes = self.net.state().writes;
        sleep(SILENCE).await;
        self.change(|state, _| {
            let more = state.writes - writes;
            if more > 0 {
                let last = &state.last_write;
                state
                    .judge
                    .violations
                    .push(format!("I8: {more} writes although nothing happened, at last {last}"));
            }
        });
        bookmarks.abort();
        looks.abort();
    }

    fn has_failed(&self) -> bool {
        !self.net.state().judge.violations.is_empty()
    }

    /// Changes something by the world's hand, and has it judged.
    fn change(&self, change: impl FnOnce(&mut State, &Plan)) {
        let mut state = self.net.state();
        change(&mut state, self.plan);
        let State { store, judge, .. } = &mut *state;
        judge.catch_up(store);
    }

    fn happen(&mut self, what: What) {
        let until = |span: Moment| now() + span;
        let trouble = what.trouble(CONTEST);
        if trouble > 0 {
            self.change(|state, _| state.judge.calm = state.judge.calm.max(until(trouble)));
        }
        match what {
            What::Crash(replica) => self.crash(replica),
            What::Start(replica) => self.start(replica),
            What::Stop(replica) => {
                self.change(|state, _| state.links[replica].is_down = true);
                let stop = self.replicas[replica].as_mut().and_then(|replica| replica.stop.take());
                // It may have died meanwhile.
                stop.map(|stop| stop.send(()));
            }
            What::Cut(replica, span) => self.cut(replica, until(span)),
            What::Restore(_) => {
                self.all().for_each(|replica| self.cut(replica, until(RESTORING)));
                self.change(|state, plan| {
                    world::act(&mut state.store, plan, what);
                    state.judge.restored(&state.store);
                });
            }
            What::EndWatches(replica) => self.cut(replica, 0),
            What::Outage(span) => self.all().for_each(|replica| self.cut(replica, until(span))),
            What::Stall(replica, span) => {
                self.change(|state, _| state.links[replica].stalled_until = until(span));
            }
            What::Pause(replica, span) => {
                if let Some(running) = &self.replicas[replica] {
                    running.pause.begin(span);
                    self.change(|state, _| {
                        let link = &mut state.links[replica];
                        link.paused_until = link.paused_until.max(until(span));
                    });
                }
            }
            What::Go(service, span) => {
                tokio::spawn(go::run(self.net.clone(), source(service), span));
            }
            What::Lag(replica, resource, lag, span) => {
                self.change(|state, _| state.links[replica].lags.push((resource, lag, until(span))));
            }
            What::Fail(replica, trouble, percent, span) => {
                let spell = crate::net::Spell { trouble, percent, until: until(span) };
                self.change(|state, _| state.links[replica].spells.push(spell));
            }
            what => self.change(|state, plan| world::act(&mut state.store, plan, what)),
        }
    }

    fn cut(&self, replica: usize, until: Moment) {
        self.change(|state, _| {
            state.links[replica].cut_until = until;
            state.links[replica].cuts += 1;
        });
    }

    fn crash(&mut self, replica: usize) {
        if let Some(replica) = self.replicas[replica].take() {
            replica.task.abort();
        }
        self.change(|state, _| {
            state.links[replica].is_down = true;
            state.links[replica].life += 1;
            state.links[replica].cuts += 1;
            state.links[replica].paused_until = 0;
        });
    }

    /// Starts a replica that does not run.
    fn start(&mut self, replica: usize) {
        let runs = |known: &Replica| known.stop.is_some() && !known.task.is_finished();
        if self.replicas[replica].as_ref().is_some_and(runs) {
            return;
        }
        // One that was told to stop and has not done so is killed, as Kubernetes does.
        self.crash(replica);
        self.change(|state, _| state.links[replica].is_down = false);
        self.lives += 1;
        let mut args = arguments(replica >= self.plan.replicas).clone();
        let identity = format!("replica-{replica}-{}", self.lives);
        args.identity = Some(identity.clone());
        let client = || self.net.client(replica);
        let clients = Clients::over(client(), client(), "simulated".into());
        let dice = Dice::seeded(self.plan.seed ^ (self.lives << 32));
        let pause = Pause::default();
        let controller =
            Controller::new(args, clients).determined_by(Clock::by(wall), dice).halted_by(pause.halt());
        self.recorders.push((identity, controller.recorder().clone()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(pause.halt().task(controller.run(async {
            // Dropped only together with the task.
            let _ = stopped.await;
        })));
        self.replicas[replica] = Some(Replica { task, stop: Some(stop), pause });
    }

    fn verdict(self) -> Verdict {
        let mut state = self.net.state();
        for (number, replica) in self.replicas.iter().enumerate() {
            if replica.as_ref().is_some_and(|replica| replica.stop.is_some() && replica.task.is_finished()) {
                state.judge.violations.push(format!("replica {number} has ended by itself"));
            }
        }
        let mut digest = DefaultHasher::new();
        for commit in &state.store.log {
            (commit.version, commit.at, commit.writer, &commit.after).hash(&mut digest);
        }
        let last =
            if state.judge.violations.is_empty() { Vec::new() } else { history::last(&state.store.log) };
        Verdict {
            last,
            violations: std::mem::take(&mut state.judge.violations),
            digest: digest.finish(),
            steps: state.steps,
            simulated: now(),
        }
    }
}

/// What our replicas are begun with, or the other installation's.
fn arguments(is_rival: bool) -> &'static RunArgs {
    static ARGUMENTS: [OnceLock<RunArgs>; 2] = [const { OnceLock::new() }; 2];
    ARGUMENTS[usize::from(is_rival)].get_or_init(|| {
        let instance = if is_rival { "--instance=others/zen-lead" } else { "--instance=system/zen-lead" };
        let line = ["zen-lead", "run", instance];
        let Command::Run(args) = parse_from(line).expect("these are known").command else {
            unreachable!("it is the controller that runs")
        };
        *args
    })
}
