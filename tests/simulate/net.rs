//! The way from a replica to the API server and back: latency, and all that can go wrong on it.
//!
//! A request that was sent goes on by itself: whether its answer is still waited for is not its concern, so that a write
//! may arrive long after everybody has given it up.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::{BoxError, service_fn};
use zen_lead::dice::Dice;

use crate::asks::Acknowledged;
use crate::invariants::Judge;
use crate::sabotage::{Sabotage, Saboteur};
use crate::server::{Ask, answer};
use crate::store::{Refusal, Resource, Store, Writer};
use crate::time::{Moment, now};
use crate::watch;

/// What can be wrong with requests, while it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Answered by this, and not done: 403, 410 for pages, 422 for writes, 429 with Retry-After, 500, 503.
    Refused(u16),
    /// Lost on the way: not done, and never answered.
    Swallowed,
    /// Done, and never answered.
    Unanswered,
    /// Done, and the connection breaks.
    Broken,
    /// Under way for this many milliseconds.
    Slow(u64),
}

/// A trouble and when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    pub(crate) trouble: Trouble,
    /// In how many of a hundred requests.
    pub(crate) percent: u32,
    pub(crate) until: Moment,
}

/// How one replica is connected.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Nothing gets through, and whoever tries is told so.
    pub(crate) cut_until: Moment,
    /// Nothing gets through, and nobody is told: all of it arrives later.
    pub(crate) stalled_until: Moment,
    /// The replica itself stands still.
    pub(crate) paused_until: Moment,
    /// Watches of these are late by so many milliseconds.
    pub(crate) lags: Vec<(Resource, u64, Moment)>,
    pub(crate) spells: Vec<Spell>,
    /// Counts what ends watches.
    pub(crate) cuts: u64,
    /// Nobody is at the other end.
    pub(crate) is_down: bool,
    /// Counts its lives: requests of a former one are nobody's.
    pub(crate) life: u64,
}

impl Link {
    /// When something that is ready now gets through.
    pub(crate) fn open_at(&self) -> Moment {
        self.stalled_until
    }

    /// Whether anything was wrong at that time or after.
    pub(crate) fn has_trouble_since(&self, at: Moment) -> bool {
        self.cut_until > at
            || self.stalled_until > at
            || self.paused_until > at
            || self.spells.iter().any(|spell| spell.until > at)
            || self.lags.iter().any(|(.., until)| *until > at)
    }

    /// By how much a watch is late.
    pub(crate) fn lag(&self, resource: Resource) -> u64 {
        let lags = self.lags.iter().filter(|(lagging, _, until)| *lagging == resource && *until > now());
        lags.map(|(_, lag, _)| *lag).max().unwrap_or_default()
    }
}

/// Everything that requests can reach.
pub(crate) struct State {
    pub(crate) store: Store,
    /// Those of our replicas, then those of the other installation's.
    pub(crate) links: Vec<Link>,
    /// How many are ours.
    pub(crate) ours: usize,
    pub(crate) judge: Judge,
    pub(crate) saboteur: Option<Saboteur>,
    /// Requests answered and watch lines told.
    pub(crate) steps: u64,
    /// Writes of replicas, done or not, Leases aside, and the last of them.
    pub(crate) writes: u64,
    pub(crate) last_write: String,
}

/// The API server. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    dice: Dice,
}

type Answered = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl Net {
    pub(crate) fn new(seed: u64, ours: usize, rivals: usize, sabotage: Option<Sabotage>) -> Self {
        let links = (0..ours + rivals).map(|_| Link::default()).collect();
        let (store, judge) = (Store::default(), Judge::default());
        let saboteur = sabotage.map(Saboteur::new);
        let state =
            State { store, links, ours, judge, saboteur, steps: 0, writes: 0, last_write: String::new() };
        Self { state: Arc::new(Mutex::new(state)), dice: Dice::seeded(seed) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client for this replica.
    pub(crate) fn client(&self, replica: usize) -> kube::Client {
        let net = self.clone();
        let life = self.state().links[replica].life;
        let service = service_fn(move |request| net.clone().send(replica, life, request));
        kube::Client::new(service, "system")
    }

    async fn send(self, replica: usize, life: u64, request: Request<Body>) -> Result<Answered, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let Some(ask) = Ask::parse(&head, &body) else { return Ok(whole(Response::new(Bytes::from("{}")))) };
        let asked = ask.clone();
        let lingers = {
            let state = self.state();
            let saboteur = state.saboteur.as_ref().filter(|_| replica < state.ours);
            saboteur.map_or(0, |saboteur| saboteur.lingers((replica, life), &ask))
        };
        if lingers > 0 {
            sleep(Duration::from_millis(lingers)).await;
        }
        let version = {
            let State { store, links, ours, judge, .. } = &mut *self.state();
            let result = judge.asks.sent((replica, life), &ask, store, links, *ours);
            judge.expect(result);
            (!ask.is_moot(store)).then_some(store.version)
        };
        let (told, answered) = oneshot::channel();
        let net = self.clone();
        tokio::spawn(async move {
            let outcome = net.carry(replica, life, ask).await;
            // Nobody may wait for it any more.
            let _ = told.send(outcome);
        });
        let Ok(outcome) = answered.await else { return pending().await };
        let State { store, judge, saboteur, .. } = &mut *self.state();
        // What a restore has undone says nothing.
        match outcome {
            Ok((response, done)) => {
                let done = done.filter(|done| done.version <= store.version);
                judge.asks.answered(replica, life, &asked, done);
                Ok(response)
            }
            Err(error) => {
                let version = version.filter(|version| *version <= store.version);
                judge.asks.refused(replica, life, &asked, version);
                if let Some(saboteur) = saboteur {
                    saboteur.lost((replica, life));
                }
                Err(error)
            }
        }
    }

    async fn carry(
        &self,
        replica: usize,
        life: u64,
        ask: Ask,
    ) -> Result<(Answered, Option<Acknowledged>), BoxError> {
        self.on_the_way(replica).await;
        if self.is_cut(replica) {
            return Err("the connection is refused".into());
        }
        let trouble = self.trouble(replica);
        match trouble {
            // Only pages expire, and only what is written is invalid.
            Some(Trouble::Refused(410)) if !ask.is_continued() => {}
            Some(Trouble::Refused(422)) if !ask.is_write() => {}
            Some(Trouble::Refused(code)) => {
                let reason = match code {
                    403 => "Forbidden",
                    410 => "Expired",
                    422 => "Invalid",
                    _ => "InternalError",
                };
                let refusal = Refusal::new(code, reason, "the server is in trouble");
                return Ok((whole(answer(&Err(refusal))), None));
            }
            Some(Trouble::Swallowed) => return pending().await,
            Some(Trouble::Slow(millis)) => sleep(Duration::from_millis(millis)).await,
            Some(Trouble::Unanswered | Trouble::Broken) | None => {}
        }
        // What a process had sent when it died is done, or it is not.
        if self.state().links[replica].life != life && self.dice.number().is_multiple_of(2) {
            return pending().await;
        }
        let (response, done) = if ask.is_watch() {
            (watch::open(self, replica, &ask), None)
        } else {
            self.perform(replica, &ask)
        };
        match trouble {
            Some(Trouble::Unanswered) if !ask.is_watch() => return pending().await,
            Some(Trouble::Broken) => return Err("the connection was reset".into()),
            _ => {}
        }
        self.on_the_way(replica).await;
        if self.is_cut(replica) { Err("the connection was reset".into()) } else { Ok((response, done)) }
    }

    /// Half a millisecond to three, and for as long as the link is stalled.
    async fn on_the_way(&self, replica: usize) {
        sleep(Duration::from_micros(u64::from(self.dice.one_of(500..=3_000)))).await;
        loop {
            let open_at = self.state().links[replica].open_at();
            let Some(wait) = open_at.checked_sub(now()).filter(|wait| *wait > 0) else { return };
            sleep(Duration::from_millis(wait)).await;
        }
    }

    fn is_cut(&self, replica: usize) -> bool {
        self.state().links[replica].cut_until > now()
    }

    fn trouble(&self, replica: usize) -> Option<Trouble> {
        let state = self.state();
        let spells = state.links[replica].spells.iter().filter(|spell| spell.until > now());
        let mut struck = spells.filter(|spell| self.dice.one_of(1..=100) <= spell.percent);
        struck.next().map(|spell| spell.trouble)
    }

    fn perform(&self, replica: usize, ask: &Ask) -> (Answered, Option<Acknowledged>) {
        let mut state = self.state();
        let State { store, links, ours, judge, saboteur, steps, writes, last_write, .. } = &mut *state;
        *steps += 1;
        if ask.is_write() && ask.resource != Resource::Leases {
            *writes += 1;
            *last_write = format!("{} {} by {replica}: {}", ask.method, ask.object(), ask.body);
        }
        // It is ours that are mistaken.
        let mut saboteur = saboteur.as_mut().filter(|_| replica < *ours);
        let sabotaged = saboteur.as_ref().map(|saboteur| saboteur.request(ask, store));
        let ask = sabotaged.as_ref().unwrap_or(ask);
        judge.asked(ask);
        let mut result = ask
            .perform(store, if replica < *ours { Writer::Replica(replica) } else { Writer::Rival(replica) });
        if let Some(saboteur) = &mut saboteur {
            result = saboteur.result((replica, links[replica].life), ask, result, store);
        }
        judge.catch_up(store);
        let done = result.as_ref().ok().and_then(|object| Acknowledged::of(ask, object));
        (whole(answer(&result)), done)
    }
}

fn whole(response: Response<Bytes>) -> Answered {
    response.map(|bytes| Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync())
}
