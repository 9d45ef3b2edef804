//! Notices: the Kubernetes Events on a source Service that tell people what happened, why, and what to do.
//!
//! They are created one by one. kube's own recorder folds them by reason and ignores the note, so that the
//! second of two losses would still tell of the first.

mod told;
mod words;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use machine::{Cause, Epoch, Micros, Phase, Pod, Timestamp};

pub use told::Told;
pub use words::{Severity, Words, cause_words, words};

use crate::annotations::{Invalid, cut};
use crate::failover::{Failover, Outcome};
use crate::kinds::{ServiceLite, wall_time};
use crate::names::{CONTROLLER, Digest};
use crate::service::{InvalidService, Source};

/// The API server takes no longer note, in bytes.
pub const NOTE_MAX: usize = 1024;
/// The API server takes no longer name of a reporting instance, in bytes.
const INSTANCE_MAX: usize = 128;

/// The reasons of all notices. Their names are public: people filter by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The election's own.
    Election(machine::Reason),
    /// A Service opts in that cannot have a leader.
    InvalidService,
    /// The leader Service was created.
    LeaderServiceCreated,
    /// Clients can use the leader Service.
    LeaderRoutingAvailable,
    /// An annotation could not be understood.
    InvalidConfiguration,
    /// A failover took longer than it should.
    BudgetExceeded,
}

/// What a notice shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub reason: Reason,
    /// Why it came about.
    pub cause: Option<Cause>,
    /// The pod it is about.
    pub pod: Option<Pod>,
    /// The pod that led before.
    pub previous: Option<Pod>,
    /// The term.
    pub epoch: Option<Epoch>,
    /// Particulars, often in somebody else's words.
    pub detail: Option<Arc<str>>,
}

/// The Service that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regarding {
    /// Where it lives.
    pub namespace: Arc<str>,
    /// What it is called.
    pub name: Arc<str>,
    /// Its identity.
    pub uid: Arc<str>,
}

impl Notice {
    /// A notice without particulars.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { reason, cause: None, pod: None, previous: None, epoch: None, detail: None }
    }

    /// What the machine ordered to say, in this term.
    #[must_use]
    pub fn election(notice: &machine::Notice, epoch: Option<Epoch>) -> Self {
        let machine::Notice { reason, cause, pod, previous, detail } = notice.clone();
        Self { reason: Reason::Election(reason), cause, pod, previous, epoch, detail }
    }

    /// A Service opts in that cannot have a leader.
    #[must_use]
    pub fn invalid_service(why: InvalidService) -> Self {
        Self { detail: Some(why.to_string().into()), ..Self::new(Reason::InvalidService) }
    }

    /// An annotation could not be understood: of the Service, or of one of its pods.
    #[must_use]
    pub fn invalid_configuration(invalid: &Invalid, pod: Option<Pod>) -> Self {
        let Invalid { annotation, value, default, why } = invalid;
        let detail = format!("{annotation} is {value:?}, but {why}. Used instead: {default}");
        Self { pod, detail: Some(detail.into()), ..Self::new(Reason::InvalidConfiguration) }
    }

    /// Something foreign stands where the second family's slice belongs; what the election itself finds in its way it
    /// tells by itself.
    #[must_use]
    pub fn conflict(words: &Arc<str>) -> Self {
        let reason = Reason::Election(machine::Reason::LeaderServiceConflict);
        Self { detail: Some(words.clone()), ..Self::new(reason) }
    }

    /// Another writer, if it is known which, keeps undoing what is written of the leader Service; of the slice the election
    /// tells by itself.
    #[must_use]
    pub(crate) fn contested(leader_service: &str, by: Option<&str>) -> Self {
        let by = by.unwrap_or("somebody");
        let reason = Reason::Election(machine::Reason::PublicationContested);
        Self { detail: Some(format!("{by}, of Service {leader_service}").into()), ..Self::new(reason) }
    }

    /// A failover takes, or took, longer than it may; most of it in this phase.
    #[must_use]
    pub(crate) fn budget_exceeded(failover: &Failover, phase: Phase, spent: Micros) -> Self {
        let seconds = |time: Micros| Duration::from_micros(time.0).as_secs_f64();
        let is_over = if failover.outcome == Outcome::Open { "and is not over" } else { "in all" };
        let trace = failover.ids.map(|ids| format!("; trace {}", ids.trace)).unwrap_or_default();
        let detail = format!(
            "{:.3} s of {:.3} s {is_over}, most of it {} ({:.3} s){trace}",
            seconds(failover.took()),
            seconds(failover.budget),
            phase.as_str(),
            seconds(spent),
        );
        Self {
            cause: Some(failover.cause),
            pod: failover.after.as_ref().map(|who| who.pod.clone()),
            previous: failover.before.as_ref().map(|who| who.pod.clone()),
            epoch: failover.epoch,
            detail: Some(detail.into()),
            ..Self::new(Reason::BudgetExceeded)
        }
    }

    /// The leader Service was created.
    #[must_use]
    pub fn leader_service_created(leader_service: &str) -> Self {
        Self { detail: Some(leader_service.into()), ..Self::new(Reason::LeaderServiceCreated) }
    }

    /// Clients can use the leader Service.
    #[must_use]
    pub fn leader_routing_available(leader_service: &str, leader: Option<Pod>) -> Self {
        let detail = Some(leader_service.into());
        Self { pod: leader, detail, ..Self::new(Reason::LeaderRoutingAvailable) }
    }

    /// The note: what happened to whom, why, the particulars, and the remedy; at most [`NOTE_MAX`] bytes.
    #[must_use]
    pub fn note(&self) -> String {
        let words = words(self.reason);
        let mut note = words.headline.to_owned();
        if let Some(pod) = &self.pod {
            let _ = write!(note, ": {pod}");
        }
        if let Some(previous) = &self.previous {
            let _ = write!(note, "{} {previous} before", if self.pod.is_some() { "," } else { ":" });
        }
        note.push('.');
        if let Some(cause) = self.cause {
            let _ = write!(note, " Cause: {} ({}).", cause.as_str(), cause_words(cause));
        }
        if let Some(Epoch(epoch)) = self.epoch {
            let _ = write!(note, " Epoch: {epoch}.");
        }
        if let Some(detail) = &self.detail {
            // Somebody else's words may be long: the remedy must not fall off the end.
            let room = NOTE_MAX.saturating_sub(note.len() + words.particulars.len() + words.remedy.len() + 5);
            let _ = write!(note, " {}: {}.", words.particulars, cut(detail, room).trim_end_matches('.'));
        }
        if !words.remedy.is_empty() {
            let _ = write!(note, " {}", words.remedy);
        }
        cut(&note, NOTE_MAX).to_owned()
    }
}

/// The Kubernetes Event that says it. `identity` is the replica that does.
///
/// Its name follows from what it says and when: whoever sends the same one again after a lost answer is told
/// that it exists already, and two that differ never get in each other's way.
#[must_use]
pub fn event(notice: &Notice, regarding: &Regarding, now: Timestamp, identity: &str) -> Event {
    let words = words(notice.reason);
    let note = notice.note();
    let mut digest = Digest::new();
    for field in [notice.reason.as_str(), &note, identity] {
        digest.field(Some(field));
    }
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}.{:08x}", regarding.name, now.0, digest.folded())),
            namespace: Some(regarding.namespace.to_string()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(wall_time(now))),
        type_: Some(words.severity.as_str().to_owned()),
        reason: Some(notice.reason.as_str().to_owned()),
        action: Some(words.action.to_owned()),
        note: Some(note),
        regarding: Some(reference("Service", regarding, &regarding.name, &regarding.uid)),
        related: notice.pod.as_ref().map(|pod| reference("Pod", regarding, pod.name(), pod.uid())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(cut(identity, INSTANCE_MAX).to_owned()),
        ..Event::default()
    }
}

fn reference(kind: &str, regarding: &Regarding, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some(kind.to_owned()),
        namespace: Some(regarding.namespace.to_string()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

impl From<&Source> for Regarding {
    fn from(source: &Source) -> Self {
        let Source { namespace, name, uid, .. } = source;
        Self { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() }
    }
}

impl From<&ServiceLite> for Regarding {
    fn from(service: &ServiceLite) -> Self {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let metadata = &service.metadata;
        Self { namespace: text(&metadata.namespace), name: text(&metadata.name), uid: text(&metadata.uid) }
    }
}

#[cfg(test)]
mod tests;
