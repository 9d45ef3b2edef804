//! One round: clients ask, something happens, and it is over when the clients have been answered well for a while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::{task, time};

use super::client::{Attempt, Client, Manner};
use super::faults::{self, Done};
use super::place::{Mover, Place, Stage};
use super::recorder::{History, Revision};
use super::scenario::Scenario;

/// Answers in a row, before anything happens, after which a client is believed to be asking.
const ASKING: usize = 100;

/// Longer than a connection may take, and than kube-proxy's `minSyncPeriod`: what went wrong before is known by then, and
/// what is still to be programmed is programmed.
const CALM: Duration = Duration::from_millis(1_500);

/// What a fault is put off by from one round to the next, of which the fraction of a second counts. kubelet looks for
/// containers that have ended once a second, and a stage is set when it has told of one that is ready: without this, one
/// scenario would always begin early in kubelet's second and another late. Steps of the golden ratio fill it evenly, over
/// however many rounds.
const PHASE_STEP: Duration = Duration::from_millis(618);

/// How long a round may take from its fault on; a node's loss is noticed after 50 s, and its pods come back in a minute.
const OVER_WITHIN: Duration = Duration::from_mins(4);

/// What a round was, to be evaluated.
#[derive(Debug, Clone)]
pub struct Round {
    /// What happened.
    pub scenario: Scenario,
    /// When it happened.
    pub at: Instant,
    /// Whether the API server was told then, too.
    pub told: bool,
    /// Who led before, by UID.
    pub leader: String,
    /// The leader Service.
    pub service: String,
    /// What the clients asked, in the order of [`Manner::ALL`].
    pub attempts: [Vec<Attempt>; 3],
    /// What the API server was told, from the beginning of the recording on.
    pub history: History,
}

impl Round {
    /// Plays one, the `number`th of its scenario, and returns when everything that it needed to be set right is.
    pub async fn play(place: &Place, scenario: Scenario, number: u32) -> Result<Self> {
        let (stage, clients) = begin(place, scenario).await?;
        let hand = match stage.mover {
            Mover::Hand => {
                let other = stage.pods.iter().find(|pod| pod.metadata.uid != stage.leader.metadata.uid);
                Some(place.hand.wait_for_loss(&stage.leader, other.context("there is another pod")?).await?)
            }
            Mover::Controller => None,
        };
        time::sleep(Duration::from_nanos((PHASE_STEP * number).subsec_nanos().into())).await;
        let Done { at, told, undo } = faults::bring_about(scenario, place, &stage).await?;
        let over = clients.until_over(place, &stage, scenario).await;
        let attempts = task::spawn_blocking(move || clients.stop()).await??;
        let history = place.recorder.so_far(Clone::clone);
        undo.undo(place).await?;
        if let Some(hand) = hand {
            hand.end().await?;
        }
        over?;
        let service = stage.mover.leader_service().to_owned();
        Ok(Self { scenario, at, told, leader: stage.leader_uid(), service, attempts, history })
    }

    /// What the leader Service's slice said, in order.
    pub fn revisions(&self) -> impl Iterator<Item = &Revision> {
        self.history.slices.iter().filter(|revision| revision.service == self.service)
    }
}

/// Sets the stage, and lets the clients ask. If the leader is lost by itself before they all do, as when the machine is
/// too busy for a probe, the round has not begun yet: once more.
async fn begin(place: &Place, scenario: Scenario) -> Result<(Stage, Clients)> {
    loop {
        let stage = place.settle(scenario.mover()).await.context("before the round")?;
        let clients = Clients::start(&stage)?;
        if clients.until_they_ask(place, &stage).await? {
            return Ok((stage, clients));
        }
        task::spawn_blocking(move || clients.stop()).await??;
    }
}

/// Who leads, as the API server has told last.
fn leader_now(place: &Place, stage: &Stage) -> Option<String> {
    let service = stage.mover.leader_service();
    let last =
        |history: &History| history.slices.iter().rfind(|revision| revision.service == service).cloned();
    place.recorder.so_far(last)?.leader().map(str::to_owned)
}

/// One of each manner.
struct Clients([Client; 3]);

impl Clients {
    fn start(stage: &Stage) -> Result<Self> {
        let [first, second, third] =
            Manner::ALL.map(|manner| Client::start(stage.network.clone(), stage.address, manner));
        Ok(Self([first?, second?, third?]))
    }

    fn stop(self) -> Result<[Vec<Attempt>; 3]> {
        let [first, second, third] = self.0.map(Client::stop);
        Ok([first?, second?, third?])
    }

    /// Returns whether all do; not if somebody else leads by then.
    async fn until_they_ask(&self, place: &Place, stage: &Stage) -> Result<bool> {
        let leader = stage.leader_uid();
        let asks = |client: &Client| {
            client.so_far(|attempts| {
                let good = |attempt: &&Attempt| attempt.answer.as_ref() == Ok(&leader);
                attempts.iter().rev().take_while(good).count() >= ASKING
            })
        };
        let last = || self.0.each_ref().map(|client| client.so_far(|attempts| attempts.last().cloned()));
        let has_moved = || leader_now(place, stage).as_ref() != Some(&leader);
        self.until(Duration::from_secs(30), || self.0.iter().all(asks) || has_moved()).await.with_context(
            || format!("clients on {} are not answered by {leader}: {:?}", stage.seat, last()),
        )?;
        Ok(!has_moved())
    }

    /// Until there is the leader that is to be, and new connections have reached nobody else for a while.
    async fn until_over(&self, place: &Place, stage: &Stage, scenario: Scenario) -> Result<()> {
        let before = stage.leader_uid();
        let leader = || leader_now(place, stage);
        let over = || {
            let Some(leader) = leader() else { return false };
            (leader != before) == scenario.moves() && self.0[0].so_far(|attempts| is_calm(attempts, &leader))
        };
        self.until(OVER_WITHIN, over)
            .await
            .with_context(|| format!("{before} led before, now it is {:?}", leader()))
    }

    async fn until(&self, within: Duration, done: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut often = time::interval(Duration::from_millis(20));
        while !done() {
            if Instant::now() > deadline {
                bail!("not over after {} s", within.as_secs());
            }
            often.tick().await;
        }
        Ok(())
    }
}

/// Whether nobody but the leader was reached for a while.
fn is_calm(attempts: &[Attempt], leader: &str) -> bool {
    let good = |attempt: &&Attempt| attempt.answer.as_deref() == Ok(leader);
    let calm = attempts.iter().rev().take_while(good);
    let (first, last) = (calm.clone().last(), calm.clone().next());
    first.zip(last).is_some_and(|(first, last)| last.done.duration_since(first.done) > CALM)
}
