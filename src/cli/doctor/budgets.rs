//! `PodDisruptionBudgets` that let no member be moved.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt as _};

use super::finding::{Evidence, Finding};
use super::subject::Subject;

/// A budget that blocks drains: the node goes down by force in the end, and its leader without a handover.
pub(super) fn blocking(subject: &Subject, budgets: &[PodDisruptionBudget]) -> Option<Finding> {
    let concerned = budgets.iter().filter(|budget| concerns(budget, subject));
    let evidence: Vec<_> = concerned.filter_map(|budget| block(budget, subject.members.len())).collect();
    (!evidence.is_empty()).then(|| Finding {
        check: "blocking-disruption-budget",
        why: "no pod may be evicted: a drain waits, until somebody deletes the leader or stops the node by force".into(),
        evidence,
        remedy: "maxUnavailable: 1, and pods that are Ready".into(),
    })
}

/// Whether it counts some member. Without a selector it counts no pod, with an empty one all of the namespace.
fn concerns(budget: &PodDisruptionBudget, subject: &Subject) -> bool {
    let spec = budget.spec.as_ref();
    let Some(selector) = spec.and_then(|spec| spec.selector.clone()) else { return false };
    let same_place = budget.metadata.namespace.as_deref() == Some(&*subject.view.source.namespace);
    let selector = Selector::try_from(selector);
    same_place
        && selector
            .is_ok_and(|selector| subject.members.iter().any(|member| selector.matches(&member.labels)))
}

/// What in it allows no disruption: the spec, whatever the pods are like; or else the pods as they are.
fn block(budget: &PodDisruptionBudget, members: usize) -> Option<Evidence> {
    let name = budget.metadata.name.clone().unwrap_or_default();
    let evidence =
        |field: &str, value: String| Some(Evidence::new(format!("poddisruptionbudget/{name}"), field, value));
    let status = budget.status.as_ref().filter(|status| {
        // What is told of an older spec says nothing, nor does a status that nobody has written yet.
        status.observed_generation.is_some() && status.observed_generation >= budget.metadata.generation
    });
    let counted = status
        .map_or_else(|| i64::try_from(members).unwrap_or(i64::MAX), |status| status.expected_pods.into());
    let spec = budget.spec.as_ref()?;
    if let Some(most) = &spec.max_unavailable
        && share(most, counted) == Some(0)
    {
        return evidence("spec.maxUnavailable", words(most));
    }
    if let Some(least) = &spec.min_available
        && share(least, counted).is_some_and(|least| least >= counted)
    {
        return evidence("spec.minAvailable", format!("{}, of {counted} pods", words(least)));
    }
    let status = status.filter(|status| status.disruptions_allowed == 0)?;
    let (healthy, desired) = (status.current_healthy, status.desired_healthy);
    evidence("status.disruptionsAllowed", format!("0: {healthy} healthy pods, {desired} demanded"))
}

/// So many of these pods; a percentage is rounded up, as Kubernetes does.
fn share(value: &IntOrString, of: i64) -> Option<i64> {
    match value {
        IntOrString::Int(number) => Some((*number).into()),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            Some((percent * of + 99).div_euclid(100))
        }
    }
}

fn words(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}
