//! The Lease: which of several replicas acts first.
//!
//! It decides nothing that matters for safety. Every replica watches and decides, and what may be written is the API
//! server's to say, by resourceVersions. Whoever holds the Lease writes at once; the others wait a moment whether that is
//! seen to be done. So a Lease that is late, lost, or held by two for a while costs a tenth of a second or a refused
//! write.
//!
//! Time is this process's own, monotonic: another replica's Lease is as old as the last change that we have seen of it,
//! whatever its clock has written into it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::client::explain;
use crate::clock::Clock;
use crate::driver::Feed;
use crate::kinds::wall_time;
use crate::names::FIELD_MANAGER;

/// A Lease that has not changed for so long is anybody's.
const DURATION: Duration = Duration::from_secs(6);

/// How often it is renewed, or looked at. It may be missed twice.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// A look or a write that takes longer counts as missed.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is asked for again where there is none.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// For so long after the last change that was seen of it, a refusal to show it is this API server's trouble, for one that
/// has just started may not know our role yet: whoever holds it may well go on to renew it at another one.
const REFUSED_PATIENCE: Duration = Duration::from_secs(30);

/// On SIGTERM, giving it back must not take longer than this.
const RELEASE_PATIENCE: Duration = Duration::from_millis(500);

/// Whether this replica acts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// Another one does, or may.
    Over,
    /// Until then, and longer if that is said again. Whoever stands still and goes on later knows by this that it is
    /// over, before it has asked.
    Until(Instant),
    /// There is no Lease, and so nobody else to hold it.
    Unlimited,
}

impl Tenure {
    /// Whether it is so at this moment.
    pub(crate) fn is_held(self, now: Instant) -> bool {
        match self {
            Self::Over => false,
            Self::Until(until) => now < until,
            Self::Unlimited => true,
        }
    }
}

/// One replica's part in it.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    /// Who we are.
    identity: String,
    sink: mpsc::Sender<Feed>,
    clock: Clock,
    /// What the driver was told last.
    told: Option<Tenure>,
    /// The Lease as last seen, and since when it has not changed.
    seen: Option<(Lease, Instant)>,
    /// When we renewed it last, if it is ours.
    renewed: Option<Instant>,
}

/// What came of a look or a write.
enum Outcome {
    /// It is ours.
    Held,
    /// It is another's, or nobody's yet.
    NotHeld,
    /// There is none, or we may not use it, and have not seen it of late: nobody else can hold it either.
    None,
    /// No answer.
    Missed,
}

impl Candidate {
    /// One that tells `sink` when it begins to hold the Lease, and when that ends.
    #[must_use]
    pub(crate) fn new(
        api: Api<Lease>,
        name: String,
        identity: String,
        sink: mpsc::Sender<Feed>,
        clock: Clock,
    ) -> Self {
        Self { api, name, identity, sink, clock, told: None, seen: None, renewed: None }
    }

    /// Takes part until `stop` is true; then gives the Lease back.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let outcome = self.turn().await;
            let pause = if let Outcome::None = outcome { ASK_EVERY } else { RENEW_EVERY };
            let tenure = match outcome {
                Outcome::None => Tenure::Unlimited,
                Outcome::NotHeld => Tenure::Over,
                // Ours until others may take it.
                Outcome::Held | Outcome::Missed => {
                    let until = self.renewed.map(|renewed| renewed + DURATION);
                    until.filter(|until| Instant::now() < *until).map_or(Tenure::Over, Tenure::Until)
                }
            };
            self.tell(tenure).await;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(pause) => {}
            }
        }
        self.release().await;
    }

    async fn tell(&mut self, tenure: Tenure) {
        if self.told == Some(tenure) {
            return;
        }
        let is_held = tenure != Tenure::Over;
        if self.told.is_none_or(|told| is_held != (told != Tenure::Over)) {
            let place = if is_held { "first" } else { "second" };
            info!(lease = self.name, is_held, "this replica acts {place}");
        }
        self.told = Some(tenure);
        // The driver has gone: so will we.
        let _ = self.sink.send(Feed::Lease(tenure)).await;
    }

    /// Renews it if it is ours, takes it if it is nobody's, looks at it otherwise.
    async fn turn(&mut self) -> Outcome {
        if self.renewed.is_some()
            && let Some((lease, _)) = self.seen.clone()
        {
            match self.write(lease, true).await {
                // Another has it, or there may be none any more: a look tells.
                Outcome::NotHeld | Outcome::None => {}
                done => return done,
            }
        }
        let lease = match timeout(PATIENCE, self.api.get(&self.name)).await {
            Ok(Ok(lease)) => lease,
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                // A holder that cannot write it any more lets go of it by then.
                let patience = if status.code == 404 { DURATION } else { REFUSED_PATIENCE };
                if self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() < patience) {
                    return Outcome::Missed;
                }
                if self.told.is_none_or(|told| told == Tenure::Over) {
                    warn!(
                        lease = self.name,
                        "there is no Lease for this replica: it acts as if there were no others, which is right if \
                         there are none. For several, apply deploy/ with its Lease and the role for it: {}",
                        status.message
                    );
                }
                return Outcome::None;
            }
            Ok(Err(error)) => {
                debug!(lease = self.name, "cannot be read: {}", explain(&error));
                return Outcome::Missed;
            }
            Err(_) => return Outcome::Missed,
        };
        self.see(lease);
        let Some((lease, since)) = self.seen.clone() else { return Outcome::Missed };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        // One that says it is ours is a former life's, or its renewal was answered late.
        if holder.is_empty() || holder == self.identity || since.elapsed() >= DURATION {
            return match self.write(lease, true).await {
                // It is there, and we have just seen it.
                Outcome::None => Outcome::Missed,
                done => done,
            };
        }
        Outcome::NotHeld
    }

    /// Takes note of it, and of the moment if it has changed.
    fn see(&mut self, lease: Lease) {
        let is_same = self
            .seen
            .as_ref()
            .is_some_and(|(seen, _)| seen.metadata.resource_version == lease.metadata.resource_version);
        if !is_same {
            self.seen = Some((lease, Instant::now()));
        }
    }

    /// Writes it as ours, or as nobody's, over what was seen.
    async fn write(&mut self, mut lease: Lease, is_ours: bool) -> Outcome {
        let before = lease.spec.take().unwrap_or_default();
        let now = MicroTime(wall_time(self.clock.now()));
        let is_new = before.holder_identity.as_deref() != Some(&*self.identity);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(if is_ours { self.identity.clone() } else { String::new() }),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_new { Some(now.clone()) } else { before.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(is_new)),
            ..LeaseSpec::default()
        });
        lease.metadata.managed_fields = None;
        let begun = Instant::now();
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match timeout(PATIENCE, self.api.replace(&self.name, &params, &lease)).await {
            Ok(Ok(lease)) => {
                self.see(lease);
                // From before it was asked for: others count from when they see it.
                self.renewed = is_ours.then_some(begun);
                Outcome::Held
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                self.renewed = None;
                Outcome::NotHeld
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => Outcome::None,
            Ok(Err(error)) => {
                debug!(lease = self.name, "cannot be written: {}", explain(&error));
                Outcome::Missed
            }
            Err(_) => Outcome::Missed,
        }
    }

    /// Lets another replica have it at once.
    async fn release(mut self) {
        if let (Some(_), Some((lease, _))) = (self.renewed, self.seen.clone()) {
            let _ = timeout(RELEASE_PATIENCE, self.write(lease, false)).await;
        }
    }
}

#[cfg(test)]
mod tests;
