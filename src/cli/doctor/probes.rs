//! How long a readiness probe takes to notice that a process hangs.

use k8s_openapi::api::core::v1::Probe;
use machine::Micros;

use super::finding::{Evidence, Finding, seconds};
use super::subject::{Member, Subject};

/// A probe's numbers, in seconds, with what Kubernetes takes for those that are not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pace {
    /// The longest time from when the process hangs to the last of the failures that count.
    worst: u64,
    period: u64,
    threshold: u64,
    timeout: u64,
}

impl Pace {
    fn of(probe: &Probe) -> Self {
        let number =
            |value: Option<i32>, default| value.and_then(|value| value.try_into().ok()).unwrap_or(default);
        let period = number(probe.period_seconds, 10_u64);
        let threshold = number(probe.failure_threshold, 3_u64);
        let timeout = number(probe.timeout_seconds, 1_u64);
        // The process hangs just after a probe. The next one begins a period later, and each has to time out; one that
        // takes longer than the period delays the one that follows.
        let worst = period + timeout + threshold.saturating_sub(1) * period.max(timeout);
        Self { worst, period, threshold, timeout }
    }
}

impl Member {
    /// The slowest of its readiness probes, and the container that has it.
    fn slowest(&self) -> Option<(Pace, &str)> {
        let paced = |container: &'_ k8s_openapi::api::core::v1::Container| {
            container.readiness_probe.as_ref().map(Pace::of)
        };
        let all = self.containers().filter_map(|container| Some((paced(container)?, &*container.name)));
        all.max_by_key(|(pace, _)| *pace)
    }
}

/// The worst case over all members, in words and as a time; nothing if some member has no probe.
pub(super) fn worst(subject: &Subject) -> Option<(Micros, String)> {
    let slowest: Option<Vec<_>> = subject.candidates().map(Member::slowest).collect();
    let (Pace { worst, period, threshold, timeout }, _) = slowest?.into_iter().max()?;
    let words = format!("readiness probe (every {period} s, {threshold} failures, timeout {timeout} s)");
    Some((Micros::from_secs(worst), words))
}

/// A pod without a probe is Ready as long as its process runs.
pub(super) fn missing(subject: &Subject) -> Option<Finding> {
    let without = subject.members.iter().filter(|member| member.slowest().is_none());
    let evidence: Vec<_> = without
        .map(|member| {
            let names: Vec<&str> = member.containers().map(|container| &*container.name).collect();
            let field = format!("spec.containers[{}].readinessProbe", names.join(","));
            Evidence::new(member.object(), field, "none")
        })
        .collect();
    (!evidence.is_empty()).then(|| Finding {
        check: "no-readiness-probe",
        why: "a process that hangs, or has not started to serve, is Ready, and leads".into(),
        evidence,
        remedy: "a readinessProbe that asks what clients ask, such as periodSeconds: 1, timeoutSeconds: 1, \
                 failureThreshold: 2, which notices within 3 s"
            .into(),
    })
}

/// A probe that takes longer than a failover may.
pub(super) fn slow(subject: &Subject) -> Option<Finding> {
    let slowest = subject.members.iter().filter_map(|member| Some((member, member.slowest()?)));
    let slow = slowest.filter(|(_, (pace, _))| Micros::from_secs(pace.worst) > subject.budget);
    let slow: Vec<_> = slow.collect();
    let worst = slow.iter().map(|(_, (pace, _))| pace.worst).max()?;
    let evidence = slow.iter().map(|(member, (pace, container))| {
        let Pace { worst, period, threshold, timeout } = pace;
        let value = format!(
            "periodSeconds {period}, failureThreshold {threshold}, timeoutSeconds {timeout}: {worst} s at worst"
        );
        Evidence::new(member.object(), format!("spec.containers[{container}].readinessProbe"), value)
    });
    Some(Finding {
        check: "slow-readiness-probe",
        why: format!(
            "a leader that hangs is noticed after up to {worst} s alone, and a failover may take {}",
            seconds(subject.budget)
        ),
        evidence: evidence.collect(),
        remedy: "less of periodSeconds, failureThreshold or timeoutSeconds: 1, 2 and 1 notice within 3 s; or another \
                 zen-lead.io/failover-budget, if so long is fine"
            .into(),
    })
}
