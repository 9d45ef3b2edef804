//! Whether there is somebody to follow, elsewhere, and whether a leader that is told to end serves until then.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;
use machine::Micros;

use super::expected;
use super::finding::{Evidence, Finding, seconds};
use super::subject::{Member, Subject};
use crate::names::LABEL_ZONE;

/// Nobody, or one pod only, could lead.
pub(super) fn alone(subject: &Subject) -> Option<Finding> {
    let candidates = subject.candidates().count();
    (candidates < 2).then(|| Finding {
        check: "nobody-to-follow",
        why: "when the leader is lost nobody leads until a new pod is Ready: it is scheduled, pulled and started first"
            .into(),
        evidence: vec![Evidence::new(
            subject.object(),
            "spec.selector",
            format!("matches {} pods, of which {candidates} could lead", subject.members.len()),
        )],
        remedy: "two replicas or more; if there are, `zen-lead why` tells what keeps them from leading".into(),
    })
}

/// They all run on one node.
pub(super) fn one_node(subject: &Subject) -> Option<Finding> {
    let nodes = subject.nodes();
    let together = subject.candidates().count() > 1 && nodes.len() == 1;
    together.then(|| Finding {
        check: "one-node",
        why: "when that node is lost or drained, leader and successors go together".into(),
        evidence: subject
            .candidates()
            .filter_map(|member| {
                Some(Evidence::new(member.object(), "spec.nodeName", member.row().node.as_deref()?))
            })
            .collect(),
        remedy: "spread them: topologySpreadConstraints or podAntiAffinity by kubernetes.io/hostname".into(),
    })
}

/// They run on several nodes, all in one zone. A pod whose zone is not known may be anywhere.
pub(super) fn one_zone(subject: &Subject) -> Option<Finding> {
    let zones: Option<BTreeSet<&str>> = subject.candidates().map(|member| member.row().zone()).collect();
    let together = zones?.len() == 1 && subject.nodes().len() > 1;
    together.then(|| Finding {
        check: "one-zone",
        why: "when that zone is lost, leader and successors go together".into(),
        evidence: subject
            .candidates()
            .filter_map(|member| {
                let field = format!("metadata.labels[{LABEL_ZONE}]");
                Some(Evidence::new(member.object(), field, member.row().zone()?))
            })
            .collect(),
        remedy: format!("spread them, if there are other zones: topologySpreadConstraints by {LABEL_ZONE}"),
    })
}

/// A pod that is deleted is killed before clients are sent elsewhere, or before its preStop hook is done.
pub(super) fn short_grace(subject: &Subject) -> Option<Finding> {
    let handover = expected::handover(subject);
    let needed = |member: &Member| sleep(member).map_or(handover, |sleep| sleep.max(handover));
    let short = subject.members.iter().filter(|member| member.grace() <= needed(member));
    let evidence: Vec<_> = short
        .map(|member| {
            let value = match sleep(member) {
                Some(sleep) => {
                    format!("{}, with a preStop sleep of {}", seconds(member.grace()), seconds(sleep))
                }
                None => seconds(member.grace()),
            };
            Evidence::new(member.object(), "spec.terminationGracePeriodSeconds", value)
        })
        .collect();
    (!evidence.is_empty()).then(|| Finding {
        check: "short-grace-period",
        why: format!(
            "a leader that is told to end is killed while nodes still send it connections, for up to {}, or without \
             time to end what it does",
            seconds(handover)
        ),
        evidence,
        remedy: "a terminationGracePeriodSeconds longer than preStop hook and the longest request together".into(),
    })
}

/// A process that ends at SIGTERM ends before clients are sent elsewhere.
pub(super) fn no_pre_stop(subject: &Subject) -> Option<Finding> {
    let handover = expected::handover(subject);
    let mut evidence = Vec::new();
    for member in &subject.members {
        for container in member.serving() {
            let value = match (pre_stop(container), pre_stop_sleep(container)) {
                (false, _) => "none".to_owned(),
                (true, Some(sleep)) if sleep < handover => format!("sleep of {}", seconds(sleep)),
                (true, _) => continue,
            };
            let field = format!("spec.containers[{}].lifecycle.preStop", container.name);
            evidence.push(Evidence::new(member.object(), field, value));
        }
    }
    (!evidence.is_empty()).then(|| Finding {
        check: "no-pre-stop",
        why: format!(
            "nodes send connections to a deleted leader for up to {}: they fail if its process ends at SIGTERM",
            seconds(handover)
        ),
        evidence,
        remedy: format!(
            "lifecycle.preStop.sleep.seconds: {}; needless, and harmless, if the process goes on accepting for so long",
            handover.0.div_ceil(1_000_000)
        ),
    })
}

fn pre_stop(container: &Container) -> bool {
    container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
}

fn pre_stop_sleep(container: &Container) -> Option<Micros> {
    let sleep = container.lifecycle.as_ref()?.pre_stop.as_ref()?.sleep.as_ref()?;
    Some(Micros::from_secs(sleep.seconds.try_into().unwrap_or_default()))
}

/// The longest of its sleeps.
fn sleep(member: &Member) -> Option<Micros> {
    member.containers().filter_map(pre_stop_sleep).max()
}
