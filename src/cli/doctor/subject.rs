//! What is examined: a Service and its members, with those fields that an election does not go by.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use machine::{Micros, Policy};

use super::owners::{Owner, Pace};
use super::proxy::Proxy;
use crate::annotations::PortsMode;
use crate::kinds::ServiceLite;
use crate::rows::{PodRow, View};

/// The budget of a Service that names none, unless the controller is told otherwise (`--failover-budget`).
const DEFAULT_BUDGET: Micros = Micros::from_secs(5);

/// What Kubernetes gives a pod to end that asks for nothing else.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A Service that can have a leader.
pub(super) struct Subject {
    pub(super) service: ServiceLite,
    pub(super) view: View,
    pub(super) policy: Policy,
    /// What a failover may take.
    pub(super) budget: Micros,
    /// Those that terminate are left out: nothing about them can be mended.
    pub(super) members: Vec<Member>,
    /// How fast their owner replaces them, if it is one and may be read.
    pub(super) pace: Option<Pace>,
    /// How nodes route.
    pub(super) proxy: Proxy,
}

/// A pod that the selector matches.
pub(super) struct Member {
    row: PodRow,
    pub(super) owner: Option<Owner>,
    pub(super) labels: BTreeMap<String, String>,
    spec: PodSpec,
}

impl Subject {
    /// Puts together what is known. A pod that only one of the lists has came or went between them.
    pub(super) fn new(
        service: ServiceLite,
        view: View,
        (policy, budget): (Policy, Option<Micros>),
        rows: &[PodRow],
        pods: Vec<Pod>,
        (pace, proxy): (Option<Pace>, Proxy),
    ) -> Self {
        let mut by_uid: BTreeMap<String, Pod> =
            pods.into_iter().filter_map(|pod| Some((pod.metadata.uid.clone()?, pod))).collect();
        let live = rows.iter().filter(|row| row.terminated().is_none());
        let live = live.filter(|row| row.membership(&view.source.selector).is_ok());
        let mut members: Vec<Member> = live
            .filter_map(|row| {
                let pod = by_uid.remove(row.pod.uid())?;
                let owner = Owner::of(&pod);
                let labels = pod.metadata.labels.unwrap_or_default();
                Some(Member { row: row.clone(), owner, labels, spec: pod.spec.unwrap_or_default() })
            })
            .collect();
        members.sort_by(|a, b| a.row.pod.name().cmp(b.row.pod.name()));
        Self { service, view, policy, budget: budget.unwrap_or(DEFAULT_BUDGET), members, pace, proxy }
    }

    /// The source Service, as kubectl takes it.
    pub(super) fn object(&self) -> String {
        format!("service/{}", self.view.source.name)
    }

    /// The members that could ever lead.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Member> {
        let partly = self.view.ports_mode == PortsMode::Available;
        let reachable = move |member: &&Member| partly || member.row.unresolved(&self.view).is_none();
        self.members.iter().filter(|member| !member.row.excluded).filter(reachable)
    }

    /// Where they run.
    pub(super) fn nodes(&self) -> BTreeSet<&str> {
        self.candidates().filter_map(|member| member.row.node.as_deref()).collect()
    }
}

impl Member {
    /// The pod, as kubectl takes it.
    pub(super) fn object(&self) -> String {
        format!("pod/{}", self.row.pod.name())
    }

    pub(super) const fn row(&self) -> &PodRow {
        &self.row
    }

    /// What runs as long as the pod does: the containers, and the sidecars.
    pub(super) fn containers(&self) -> impl Iterator<Item = &Container> {
        let sidecars = self.spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        self.spec.containers.iter().chain(sidecars)
    }

    /// The containers that clients reach, as far as declared ports tell; else all but the sidecars.
    pub(super) fn serving(&self) -> Vec<&Container> {
        let has_ports =
            |container: &&Container| container.ports.as_ref().is_some_and(|ports| !ports.is_empty());
        let serving: Vec<_> = self.containers().filter(has_ports).collect();
        if serving.is_empty() { self.spec.containers.iter().collect() } else { serving }
    }

    /// How long it has to end.
    pub(super) fn grace(&self) -> Micros {
        let grace = self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
        Micros::from_secs(grace.try_into().unwrap_or_default())
    }
}
