//! The annotations people set, and what they ask for.
//!
//! An invalid value is never silent and never a panic: the documented default is used, and [`Invalid`] says
//! which. An empty value is an absent one.

pub(crate) mod duration;
mod preferred;
mod switches;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff;
use machine::{Failback, Micros, Policy, Strategy, Switchover, Timestamp};

use crate::kinds::timestamp;
use crate::names::{is_rfc1035_label, is_rfc1123_subdomain};

pub use preferred::Preferred;

/// What all our annotations (and labels) begin with.
pub const PREFIX: &str = "zen-lead.io/";

/// On the source Service: opts in, if exactly `true`.
pub const ENABLED: &str = "zen-lead.io/enabled";
/// On the source Service: the name of the leader Service.
pub const LEADER_SERVICE_NAME: &str = "zen-lead.io/leader-service-name";
/// On the source Service: whether and when a better-ranked member takes over.
pub const FAILBACK: &str = "zen-lead.io/failback";
/// On the source Service: the older spelling of [`FAILBACK`].
pub const STICKY: &str = "zen-lead.io/sticky";
/// On the source Service: Ready for so long before being eligible.
pub const MIN_READY_DURATION: &str = "zen-lead.io/min-ready-duration";
/// On the source Service: for how long a NotReady leader is tolerated.
pub const FAILOVER_MIN_DELAY: &str = "zen-lead.io/failover-min-delay";
/// On the source Service: which of several equals leads.
pub const STRATEGY: &str = "zen-lead.io/strategy";
/// On the source Service: whether a rollout's newest revision is preferred.
pub const PREFER_NEW_REVISION: &str = "zen-lead.io/prefer-new-revision";
/// On the source Service: the node on which the leader had better run.
pub const PREFER_NODE: &str = "zen-lead.io/prefer-node";
/// On the source Service: the zone in which the leader had better run.
pub const PREFER_ZONE: &str = "zen-lead.io/prefer-zone";
/// On the source Service: move the leader off a cordoned node.
pub const LEAVE_CORDONED: &str = "zen-lead.io/leave-cordoned";
/// On the source Service: after how many changes of leader moves that are only a preference wait.
pub const MAX_SWITCHES: &str = "zen-lead.io/max-switches";
/// On the source Service: what to do about a port that does not resolve.
pub const PORTS_MODE: &str = "zen-lead.io/ports-mode";
/// On the source Service: make no choices.
pub const PAUSED: &str = "zen-lead.io/paused";
/// On the source Service: hand over to this pod.
pub const SWITCHOVER_TO: &str = "zen-lead.io/switchover-to";

/// On the source Service: what a failover may take.
pub const FAILOVER_BUDGET: &str = "zen-lead.io/failover-budget";

/// On pods: higher leads first.
pub const PRIORITY: &str = "zen-lead.io/priority";
/// On pods: never leads, if `true`.
pub const NEVER_LEAD: &str = "zen-lead.io/never-lead";

/// On what we make: the installation that made it, `namespace/name`.
pub const INSTANCE: &str = "zen-lead.io/instance";
/// On what we make: the term's number.
pub const EPOCH: &str = "zen-lead.io/epoch";
/// On what we make: the leader's UID.
pub const LEADER_POD_UID: &str = "zen-lead.io/leader-pod-uid";
/// On what we make: the leader's name.
pub const LEADER_POD_NAME: &str = "zen-lead.io/leader-pod-name";
/// On what we make: the switchover request that was handled last.
pub const SWITCHOVER_HANDLED: &str = "zen-lead.io/switchover-handled";
/// On leader slices: the replica that wrote the term.
pub const TERM_BY: &str = "zen-lead.io/term-by";
/// On leader slices: when what led to this write happened. kube-proxy measures from it.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// On leader Services: the leader's name, in the oldest spelling.
pub const CURRENT_LEADER: &str = "zen-lead.io/current-leader";
/// On leader Services: when the leader last changed.
pub const LEADER_LAST_SWITCH_TIME: &str = "zen-lead.io/leader-last-switch-time";

/// What the annotations of a source Service ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Service opts in.
    pub opted_in: bool,
    /// The leader Service's name, if it is not the default.
    pub leader_service_name: Option<Arc<str>>,
    /// How the election chooses.
    pub policy: Policy,
    /// Where the leader had better run.
    pub preferred: Preferred,
    /// What to do about a port that does not resolve.
    pub ports_mode: PortsMode,
    /// No choices are wanted.
    pub pause: Option<Pause>,
    /// A handover is asked for.
    pub switchover: Option<Switchover>,
    /// What a failover may take, if this Service has a budget of its own.
    pub failover_budget: Option<Micros>,
    /// What could not be understood.
    pub invalid: Vec<Invalid>,
}

/// What to do if a port of the Service does not resolve on a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortsMode {
    /// The pod cannot be reached.
    #[default]
    All,
    /// The other ports are published, if there are any.
    Available,
}

/// A wish for no choices. Whether it is over already is for whoever has a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A value that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The annotation.
    pub annotation: &'static str,
    /// Its value, cut to 128 bytes.
    pub value: Arc<str>,
    /// What is used instead.
    pub default: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What the annotations of a pod ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSettings {
    /// Higher leads first.
    pub priority: i32,
    /// Never leads.
    pub excluded: bool,
    /// What could not be understood.
    pub invalid: Vec<Invalid>,
}

/// Reads the annotations of the Service called `source`.
#[must_use]
pub fn parse(annotations: &BTreeMap<String, String>, source: &str) -> Settings {
    let mut read = Reader { annotations, invalid: Vec::new() };
    Settings {
        opted_in: opts_in(annotations),
        leader_service_name: read
            .value(LEADER_SERVICE_NAME, "<source>-leader", |name| leader_name(name, source)),
        policy: policy(&mut read),
        preferred: preferred::preferred(&mut read),
        ports_mode: read.value(PORTS_MODE, "all", ports_mode).unwrap_or_default(),
        pause: read.value(PAUSED, "false", pause).flatten(),
        switchover: read.value(SWITCHOVER_TO, "no switchover", switchover),
        failover_budget: read.value(FAILOVER_BUDGET, "--failover-budget", budget),
        invalid: read.invalid,
    }
}

/// Whether a Service with these annotations opts in: exactly `true` does.
#[must_use]
pub fn opts_in(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(ENABLED).is_some_and(|value| value == "true")
}

/// Reads the annotations of a pod.
#[must_use]
pub fn parse_pod(annotations: &BTreeMap<String, String>) -> PodSettings {
    let mut read = Reader { annotations, invalid: Vec::new() };
    PodSettings {
        priority: read.value(PRIORITY, "0", priority).unwrap_or_default(),
        excluded: read.value(NEVER_LEAD, "false", boolean).unwrap_or_default(),
        invalid: read.invalid,
    }
}

fn policy(read: &mut Reader<'_>) -> Policy {
    let default = Policy::default();
    // Read even where `failback` wins, so that a value nobody would understand is reported all the same.
    let sticky = read.value(STICKY, "true", boolean).unwrap_or(true);
    let failback = if read.has(FAILBACK) {
        read.value(FAILBACK, "never", failback).unwrap_or(Failback::Never)
    } else if sticky {
        Failback::Never
    } else {
        Failback::After(Micros::ZERO)
    };
    Policy {
        failback,
        min_ready_duration: read.value(MIN_READY_DURATION, "0s", duration::parse).unwrap_or_default(),
        failover_min_delay: read.value(FAILOVER_MIN_DELAY, "0s", duration::parse).unwrap_or_default(),
        strategy: read.value(STRATEGY, "oldest", strategy).unwrap_or(default.strategy),
        prefer_new_revision: read
            .value(PREFER_NEW_REVISION, "true", boolean)
            .unwrap_or(default.prefer_new_revision),
        leave_cordoned: read.value(LEAVE_CORDONED, "false", boolean).unwrap_or(default.leave_cordoned),
        max_switches: read.value(MAX_SWITCHES, "no limit", switches::parse),
    }
}

/// Reads values, and collects what it cannot read.
struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    invalid: Vec<Invalid>,
}

/// What is wrong with a value.
type Why = &'static str;

impl Reader<'_> {
    fn has(&self, annotation: &str) -> bool {
        self.annotations.get(annotation).is_some_and(|value| !value.is_empty())
    }

    fn value<T>(
        &mut self,
        annotation: &'static str,
        default: &'static str,
        read: impl FnOnce(&str) -> Result<T, Why>,
    ) -> Option<T> {
        let value = self.annotations.get(annotation).filter(|value| !value.is_empty())?;
        match read(value) {
            Ok(value) => Some(value),
            Err(why) => {
                let value = cut(value, 128).into();
                self.invalid.push(Invalid { annotation, value, default, why });
                None
            }
        }
    }
}

fn leader_name(name: &str, source: &str) -> Result<Arc<str>, Why> {
    if name == source {
        return Err("it is the Service's own name");
    }
    if !is_rfc1035_label(name) {
        return Err(
            "it is not a name for a Service: at most 63 of a-z, 0-9 and '-', beginning with a letter",
        );
    }
    Ok(name.into())
}

fn boolean(value: &str) -> Result<bool, Why> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("it is neither true nor false"),
    }
}

fn priority(value: &str) -> Result<i32, Why> {
    value.parse().map_err(|_| "it is not a whole number between -2147483648 and 2147483647")
}

/// What a failover may take, as annotation and flag have it.
pub(crate) fn budget(value: &str) -> Result<Micros, Why> {
    match duration::parse(value)? {
        Micros::ZERO => Err("no failover takes no time at all"),
        budget => Ok(budget),
    }
}

fn failback(value: &str) -> Result<Failback, Why> {
    match value {
        "never" => Ok(Failback::Never),
        "immediate" => Ok(Failback::After(Micros::ZERO)),
        _ => duration::parse(value)
            .map(Failback::After)
            .map_err(|_| "it is none of never, immediate and a duration such as 30s or 1m30s"),
    }
}

fn strategy(value: &str) -> Result<Strategy, Why> {
    match value {
        "oldest" => Ok(Strategy::Oldest),
        "newest" => Ok(Strategy::Newest),
        "longest-ready" => Ok(Strategy::LongestReady),
        _ => Err("it is none of oldest, newest and longest-ready"),
    }
}

fn ports_mode(value: &str) -> Result<PortsMode, Why> {
    match value {
        "all" => Ok(PortsMode::All),
        "available" => Ok(PortsMode::Available),
        _ => Err("it is neither all nor available"),
    }
}

fn pause(value: &str) -> Result<Option<Pause>, Why> {
    match value {
        "true" => Ok(Some(Pause { until: None })),
        "false" => Ok(None),
        _ => time(value)
            .map(|until| Some(Pause { until: Some(until) }))
            .ok_or("it is none of true, false and a time such as 2026-01-31T18:00:00Z"),
    }
}

fn switchover(value: &str) -> Result<Switchover, Why> {
    const WHY: Why = "it is neither a pod's name nor <pod>/<uid>;<token>;<RFC 3339 time>";
    let text: Arc<str> = value.into();
    let mut parts = value.split(';');
    let whom = parts.next().unwrap_or_default();
    let request = match (whom.split_once('/'), parts.next(), parts.next(), parts.next()) {
        (None, None, None, None) => Switchover { text, pod: whom.into(), uid: None, expires: None },
        (Some((pod, uid)), Some(token), Some(expiry), None) if !uid.is_empty() && !token.is_empty() => {
            let expires = Some(time(expiry).ok_or(WHY)?);
            Switchover { text, pod: pod.into(), uid: Some(uid.into()), expires }
        }
        (None | Some(_), _, _, _) => return Err(WHY),
    };
    if is_rfc1123_subdomain(&request.pod) { Ok(request) } else { Err(WHY) }
}

fn time(value: &str) -> Option<Timestamp> {
    value.parse::<jiff::Timestamp>().ok().map(timestamp)
}

/// The beginning of a text: as much as fits into `most` bytes.
#[must_use]
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests;
