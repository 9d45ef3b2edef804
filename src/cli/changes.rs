//! Changes of leadership, as the notices tell of them.

mod recorded;

use machine::{Micros, Phase, Timestamp};
use serde::Serialize;

use super::age;
use crate::notice::Told;

pub(super) use recorded::{recorded, together};

/// A change of leadership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// When what followed was there; when nobody follows yet: when the leader was lost.
    pub(super) at: Timestamp,
    /// The cause's public name.
    pub(super) cause: Option<String>,
    /// Who led before.
    pub(super) from: Option<String>,
    /// Who leads since; none: nobody.
    pub(super) to: Option<String>,
    pub(super) epoch: Option<u64>,
    /// What it went through, and for how long, as far as that is known.
    pub(super) phases: Vec<(Phase, Micros)>,
    /// How long it took, if that is known.
    pub(super) took: Option<Micros>,
}

/// The same for other programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeAnswer {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    phases: Vec<PhaseAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhaseAnswer {
    phase: &'static str,
    took_us: u64,
}

impl Change {
    pub(super) fn answer(&self) -> ChangeAnswer {
        let phase = |(phase, took): &(Phase, Micros)| PhaseAnswer { phase: phase.as_str(), took_us: took.0 };
        ChangeAnswer {
            at: age::moment(self.at),
            cause: self.cause.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            epoch: self.epoch,
            phases: self.phases.iter().map(phase).collect(),
            took_us: self.took.map(|took| took.0),
        }
    }

    /// How long each phase took.
    pub(super) fn phase_words(&self) -> String {
        let words = |(phase, took): &(Phase, Micros)| format!("{} {}", phase.as_str(), age::span(*took));
        self.phases.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

/// The changes that these notices, oldest first, tell of; oldest first.
pub(super) fn told(notices: &[Told]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut open = Open::default();
    for told in notices {
        match &*told.reason {
            "LeaderDraining" => open.draining = Some(told.at),
            "LeaderLost" => open.lost = Some(told),
            "LeaderElected" | "LeaderChanged" | "LeaderRecovered" | "SwitchoverCompleted" => {
                changes.push(std::mem::take(&mut open).closed_by(told));
            }
            "BudgetExceeded" => {
                let change = changes.iter_mut().rfind(|change| change.epoch == told.epoch);
                if let Some(change) = change {
                    change.took = told.took.or(change.took);
                }
            }
            _ => {}
        }
    }
    if let Some(lost) = open.lost {
        let phases = open.drained_until(lost.at).into_iter().collect();
        changes.push(Change { phases, ..Change::of(lost) });
    }
    changes
}

/// What has begun, and is not over.
#[derive(Default)]
struct Open<'a> {
    draining: Option<Timestamp>,
    lost: Option<&'a Told>,
}

impl Open<'_> {
    fn drained_until(&self, at: Timestamp) -> Option<(Phase, Micros)> {
        self.draining.map(|since| (Phase::Draining, at.since(since)))
    }

    fn closed_by(self, told: &Told) -> Change {
        let mut change = Change::of(told);
        change.to.clone_from(&told.pod);
        change.phases.extend(self.drained_until(self.lost.map_or(told.at, |lost| lost.at)));
        if let Some(lost) = self.lost {
            change.phases.push((Phase::Leaderless, told.at.since(lost.at)));
            // That somebody leads again is no cause; why nobody did is one.
            change.cause.clone_from(&lost.cause);
            change.from = lost.previous.clone().or_else(|| lost.pod.clone());
        }
        if let Some(began) = self.draining.or_else(|| self.lost.map(|lost| lost.at)) {
            change.took = Some(told.at.since(began));
        }
        change
    }
}

impl Change {
    fn of(told: &Told) -> Self {
        Self {
            at: told.at,
            cause: told.cause.clone(),
            from: told.previous.clone(),
            epoch: told.epoch,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(second: u64, reason: &str, cause: &str, pod: Option<&str>, previous: Option<&str>) -> Told {
        Told {
            namespace: "shop".into(),
            service: "orders".into(),
            at: Timestamp::from_secs(second),
            reason: reason.into(),
            cause: Some(cause.into()),
            pod: pod.map(str::to_owned),
            previous: previous.map(str::to_owned),
            epoch: Some(second),
            took: None,
            note: String::new(),
        }
    }

    #[test]
    fn an_outage_is_one_change_with_the_cause_of_the_loss() {
        let notices = [
            notice(1, "LeaderElected", "first_election", Some("a"), None),
            notice(10, "LeaderDraining", "terminating", Some("a"), None),
            notice(12, "LeaderLost", "gone", None, Some("a")),
            notice(15, "LeaderRecovered", "recovery", Some("b"), None),
        ];
        let changes = told(&notices);
        let [first, outage] = &*changes else { panic!("{changes:?}") };
        assert_eq!((first.to.as_deref(), first.took), (Some("a"), None));
        assert_eq!(outage.cause.as_deref(), Some("gone"));
        assert_eq!((outage.from.as_deref(), outage.to.as_deref()), (Some("a"), Some("b")));
        assert_eq!(outage.phase_words(), "Draining 2.00 s, Leaderless 3.00 s");
        assert_eq!(outage.took, Some(Micros::from_secs(5)));
    }

    #[test]
    fn an_outage_that_is_not_over_is_the_last_change() {
        let notices = [
            notice(1, "LeaderChanged", "unready", Some("b"), Some("a")),
            notice(9, "LeaderLost", "unready", None, Some("b")),
        ];
        let changes = told(&notices);
        let last = changes.last().expect("one is told of");
        assert_eq!((last.from.as_deref(), last.to.as_deref(), last.took), (Some("b"), None, None));
    }

    #[test]
    fn what_took_too_long_says_how_long_it_took() {
        let mut exceeded = notice(5, "BudgetExceeded", "unready", Some("b"), Some("a"));
        exceeded.took = Some(Micros::from_secs(7));
        let changes = told(&[notice(5, "LeaderChanged", "unready", Some("b"), Some("a")), exceeded]);
        assert_eq!(changes.last().and_then(|change| change.took), Some(Micros::from_secs(7)));
    }
}
