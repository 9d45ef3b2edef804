//! The history of the API server: what it was told of each pod, and what each leader slice said, with the time at which
//! a watch told us. One machine, one clock: the times compare with those of the clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use tokio::task::JoinSet;

use super::follow::{Told, follow};
use crate::lab::Namespace;
use crate::slices::SERVICE_NAME;

/// Something that became known of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFact {
    /// When the watch told us.
    pub at: Instant,
    /// Which pod.
    pub uid: String,
    /// What is known from then on.
    pub is: PodState,
}

/// How a pod stands at the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// It is Ready, and nobody wants it to end.
    Ready,
    /// It is not Ready.
    Unready,
    /// Somebody has deleted it, and it is there still.
    Terminating,
    /// It is gone.
    Gone,
}

/// What a slice said from some time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// When the watch told us.
    pub at: Instant,
    /// The Service to which the slice belongs.
    pub service: String,
    /// The endpoints; none if the slice is gone.
    pub endpoints: Vec<Endpoint>,
    /// The term of leadership and the leader, as the slice records them.
    pub term: Option<(String, String)>,
}

/// An endpoint as kube-proxy is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod behind it.
    pub uid: String,
    /// Whether new connections go to it.
    pub ready: bool,
    /// Whether they do if no other is ready.
    pub serving: bool,
}

impl Revision {
    /// Who is asked by new connections: those that are ready, or if there are none, those that serve still.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        let some_ready = self.endpoints.iter().any(|endpoint| endpoint.ready);
        let asked = move |one: &&Endpoint| one.ready || (!some_ready && one.serving);
        self.endpoints.iter().filter(asked).map(|endpoint| endpoint.uid.as_str())
    }

    /// The one endpoint that is ready.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        self.endpoints.iter().find(|endpoint| endpoint.ready).map(|endpoint| endpoint.uid.as_str())
    }
}

/// A history, in the order in which it became known.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Of pods.
    pub pods: Vec<PodFact>,
    /// Of all slices, those of Kubernetes as well.
    pub slices: Vec<Revision>,
}

/// A recording of a namespace that goes on until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    history: Shared,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<History>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Begins one.
    #[must_use]
    pub fn begin(namespace: &Namespace) -> Self {
        let history = Shared::default();
        let mut tasks = JoinSet::new();
        let mut pods = Pods { known: BTreeMap::new(), history: history.clone() };
        tasks.spawn(follow::<Pod>(namespace.api(), String::new(), move |told| pods.hear(told)));
        let kept = history.clone();
        tasks.spawn(follow::<EndpointSlice>(namespace.api(), String::new(), move |told| {
            let at = Instant::now();
            let mut history = kept.lock();
            match told {
                Told::All(slices) => history.slices.extend(slices.iter().map(|slice| revision(at, slice))),
                Told::Is(slice) => history.slices.push(revision(at, &slice)),
                Told::Gone(slice) => {
                    history.slices.push(Revision { endpoints: Vec::new(), ..revision(at, &slice) });
                }
            }
        }));
        Self { history, _tasks: tasks }
    }

    /// Looks at what is known so far.
    pub fn so_far<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.history.lock())
    }
}

/// The pods that are known, so that only changes are facts.
struct Pods {
    known: BTreeMap<String, PodState>,
    history: Shared,
}

impl Pods {
    fn hear(&mut self, told: Told<Pod>) {
        let at = Instant::now();
        match told {
            Told::All(pods) => {
                let there: BTreeMap<_, _> = pods.iter().filter_map(state_of).collect();
                let gone: Vec<_> =
                    self.known.keys().filter(|uid| !there.contains_key(*uid)).cloned().collect();
                for uid in gone {
                    self.note(at, uid, PodState::Gone);
                }
                for (uid, state) in there {
                    self.note(at, uid, state);
                }
            }
            Told::Is(pod) => {
                if let Some((uid, state)) = state_of(&pod) {
                    self.note(at, uid, state);
                }
            }
            Told::Gone(pod) => self.note(at, pod.uid().unwrap_or_default(), PodState::Gone),
        }
    }

    fn note(&mut self, at: Instant, uid: String, is: PodState) {
        let before = match is {
            PodState::Gone => self.known.remove(&uid),
            _ => self.known.insert(uid.clone(), is),
        };
        if before != Some(is) {
            self.history.lock().pods.push(PodFact { at, uid, is });
        }
    }
}

fn state_of(pod: &Pod) -> Option<(String, PodState)> {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let state = match (&pod.metadata.deletion_timestamp, ready) {
        (Some(_), _) => PodState::Terminating,
        (None, true) => PodState::Ready,
        (None, false) => PodState::Unready,
    };
    Some((pod.uid()?, state))
}

fn revision(at: Instant, slice: &EndpointSlice) -> Revision {
    let endpoint = |one: &k8s_openapi::api::discovery::v1::Endpoint| {
        let uid = one.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default();
        let conditions = one.conditions.clone().unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        Endpoint { uid, ready, serving: conditions.serving.unwrap_or(ready) }
    };
    let annotation = |name: &str| slice.annotations().get(name).cloned();
    Revision {
        at,
        service: slice.labels().get(SERVICE_NAME).cloned().unwrap_or_default(),
        endpoints: slice.endpoints.iter().map(endpoint).collect(),
        term: annotation("zen-lead.io/epoch").zip(annotation("zen-lead.io/leader-pod-uid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_is_asked_if_nobody_is_ready() {
        let endpoint = |uid: &str, ready, serving| Endpoint { uid: uid.into(), ready, serving };
        let revision =
            |endpoints| Revision { at: Instant::now(), service: "web-leader".into(), endpoints, term: None };
        let draining = revision(vec![endpoint("a", false, true), endpoint("b", false, false)]);
        assert_eq!(draining.asked().collect::<Vec<_>>(), ["a"]);
        assert_eq!(draining.leader(), None);
        let followed = revision(vec![endpoint("a", false, true), endpoint("b", true, true)]);
        assert_eq!(followed.asked().collect::<Vec<_>>(), ["b"]);
        assert_eq!(followed.leader(), Some("b"));
    }
}
