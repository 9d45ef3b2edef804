//! Whose pods the members are, and how fast whoever makes them replaces them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use machine::Micros;

use super::finding::{Evidence, Finding, seconds};
use super::subject::Subject;
use crate::cli::Error;
use crate::cli::cluster::{Cluster, answered, request};
use crate::names::LABEL_TEMPLATE_HASH;

/// Whoever makes pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    kind: String,
    name: String,
}

impl Owner {
    /// The pod's controller; for the `ReplicaSet` of a Deployment that Deployment, which its name tells.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let owners = pod.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_TEMPLATE_HASH));
        let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
        Some(match deployment.filter(|_| owner.kind == "ReplicaSet") {
            Some(name) => Self { kind: "Deployment".into(), name: name.into() },
            None => Self { kind: owner.kind.clone(), name: owner.name.clone() },
        })
    }
}

/// As kubectl takes it.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// For how long a new pod has to be Ready before an old one is taken away for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) owner: Owner,
    pub(super) min_ready: Micros,
}

impl Pace {
    /// One read of the owner, if it is one that has a pace.
    pub(super) async fn read(
        cluster: &Cluster,
        namespace: &str,
        owner: &Owner,
    ) -> Result<Option<Self>, Error> {
        let name = &*owner.name;
        // Absent, it is 0.
        let min_ready = match &*owner.kind {
            "Deployment" => {
                let api = cluster.api::<Deployment>(Some(namespace));
                let request = request::<Deployment>("get", Some(namespace), Some(name));
                let found = answered(request, api.get_opt(name)).await?;
                found.map(|found| found.spec.and_then(|spec| spec.min_ready_seconds))
            }
            "StatefulSet" => {
                let api = cluster.api::<StatefulSet>(Some(namespace));
                let request = request::<StatefulSet>("get", Some(namespace), Some(name));
                let found = answered(request, api.get_opt(name)).await?;
                found.map(|found| found.spec.and_then(|spec| spec.min_ready_seconds))
            }
            _ => None,
        };
        Ok(min_ready.map(|seconds| {
            let seconds = seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or_default();
            Self { owner: owner.clone(), min_ready: Micros::from_secs(seconds) }
        }))
    }
}

/// The members' owners, each once; none among them: pods that nobody makes anew.
pub(super) fn distinct(pods: &[Pod]) -> BTreeSet<Option<Owner>> {
    pods.iter().map(Owner::of).collect()
}

/// The selector matches what others make: any of these pods can lead.
pub(super) fn foreign(subject: &Subject) -> Option<Finding> {
    let mut counts = BTreeMap::<&Option<Owner>, usize>::new();
    for member in &subject.members {
        *counts.entry(&member.owner).or_default() += 1;
    }
    let told =
        |owner: &Option<Owner>| owner.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    (counts.len() > 1).then(|| {
        let counts: Vec<_> = counts.iter().map(|(owner, count)| format!("{count} of {}", told(owner))).collect();
        let evidence = subject.members.iter().map(|member| {
            Evidence::new(member.object(), "metadata.ownerReferences", told(&member.owner))
        });
        Finding {
            check: "several-owners",
            why: format!(
                "the selector matches pods of several owners, and any of them can lead: {}",
                counts.join(", ")
            ),
            evidence: evidence.collect(),
            remedy: format!(
                "a selector of {} that matches one owner's pods only; if they are meant to stand in for each other, \
                 zen-lead.io/priority tells which goes first",
                subject.object()
            ),
        }
    })
}

/// The election and the rollout wait for different times.
pub(super) fn pace(subject: &Subject) -> Option<Finding> {
    let Pace { owner, min_ready } = subject.pace.as_ref()?;
    let wanted = subject.policy.min_ready_duration;
    let why = match min_ready.cmp(&wanted) {
        Ordering::Less => format!(
            "a rollout takes the last old pod away when the new ones may not lead yet: for up to {} nobody leads",
            seconds(Micros(wanted.0 - min_ready.0))
        ),
        Ordering::Equal => return None,
        Ordering::Greater => format!(
            "a new pod may lead {} before the rollout trusts it: one that fails in that time has been leader",
            seconds(Micros(min_ready.0 - wanted.0))
        ),
    };
    Some(Finding {
        check: "min-ready-seconds",
        why,
        evidence: vec![
            Evidence::new(owner.to_string(), "spec.minReadySeconds", seconds(*min_ready)),
            Evidence::new(subject.object(), "zen-lead.io/min-ready-duration", seconds(wanted)),
        ],
        remedy: "the same time in both. In the annotation it also holds up a failover for which no older pod is left".into(),
    })
}
