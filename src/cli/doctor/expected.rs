//! How long a failover takes at worst, by cause, and what that is made of.

use machine::Micros;
use serde::Serialize;

use super::finding::seconds;
use super::subject::Subject;
use super::{probes, source};

/// From the API server to the controller, by its watch: 24 ms at the median for a deletion.
const WATCH: Micros = Micros::from_millis(100);

/// The write takes milliseconds, and 100 ms more if the replica that acts first is lost as well.
const CONTROLLER: Micros = Micros::from_millis(100);

/// kube-proxy alone: 25 to 55 ms.
const PROXY: Micros = Micros::from_millis(100);

/// The kubelet looks at its containers every second, and then reports.
const CONTAINER_DIED: Micros = Micros::from_millis(1_500);

/// A node's Lease runs out after 40 s, and its pods are marked NotReady up to 10 s later.
const NODE_LOST: Micros = Micros::from_secs(50);

/// Two and a half of a kubelet's renewals of its Lease.
const NODE_LOST_WATCHED: Micros = Micros::from_secs(25);

/// What to expect when something is lost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Expected {
    pub(super) cause: &'static str,
    /// None: there is no bound, for the reason below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worst_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unbounded: Option<String>,
    pub(super) terms: Vec<Term>,
}

/// A part of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Term {
    pub(super) what: String,
    pub(super) worst_us: u64,
}

impl Term {
    fn new(what: impl Into<String>, Micros(worst_us): Micros) -> Self {
        Self { what: what.into(), worst_us }
    }
}

impl Expected {
    /// The cells of its row.
    pub(super) fn cells(&self) -> Vec<String> {
        let terms = self.terms.iter().map(|term| format!("{} {}", term.what, seconds(Micros(term.worst_us))));
        let words = self.unbounded.clone().unwrap_or_else(|| terms.collect::<Vec<_>>().join(" + "));
        let worst = self.worst_us.map_or_else(|| "unbounded".into(), |worst| seconds(Micros(worst)));
        vec![self.cause.to_owned(), worst, words]
    }
}

/// What to expect, by cause.
pub(super) fn expected(subject: &Subject) -> Vec<Expected> {
    let alone =
        (subject.candidates().count() < 2).then(|| "nobody can follow: until a new pod is Ready".to_owned());
    let together = (subject.nodes().len() < 2)
        .then(|| "all that could follow are on that node: until a new pod is Ready elsewhere".to_owned());
    let elsewhere = alone.clone().or(together);
    let cause = |cause, detected: Vec<Term>, unbounded: Option<String>| {
        let terms: Vec<_> = detected.into_iter().chain(reaction(subject)).collect();
        let worst_us = unbounded.is_none().then(|| terms.iter().map(|term| term.worst_us).sum());
        Expected { cause, worst_us, unbounded, terms }
    };
    let unready = |term: Term| {
        let delay = subject.policy.failover_min_delay;
        let tolerated = (delay > Micros::ZERO).then(|| Term::new("failover-min-delay", delay));
        [term].into_iter().chain(tolerated).collect::<Vec<_>>()
    };
    let (hangs, unnoticed) = match probes::worst(subject) {
        Some((worst, words)) => (unready(Term::new(words, worst)), None),
        None => (Vec::new(), Some("never noticed: a member has no readiness probe".to_owned())),
    };
    vec![
        cause("pod deleted", Vec::new(), alone.clone()),
        cause("container killed", unready(Term::new("kubelet", CONTAINER_DIED)), alone.clone()),
        cause("process hangs", hangs, alone.or(unnoticed)),
        cause("node lost", unready(Term::new("Kubernetes", NODE_LOST)), elsewhere.clone()),
        cause("node lost, with --watch-nodes", vec![Term::new("Lease", NODE_LOST_WATCHED)], elsewhere),
    ]
}

/// How long nodes go on sending connections to a leader that is deleted.
pub(super) fn handover(subject: &Subject) -> Micros {
    Micros(reaction(subject).iter().map(|term| term.worst_us).sum())
}

/// What follows when the API server knows that the leader is lost.
fn reaction(subject: &Subject) -> [Term; 3] {
    // A change that follows another one waits for its minSyncPeriod.
    let waits = if source::has_address(subject) { subject.proxy.min_sync } else { Micros::ZERO };
    let proxy = Term::new(subject.proxy.words(), Micros(PROXY.0 + waits.0));
    [Term::new("watch", WATCH), Term::new("controller", CONTROLLER), proxy]
}
