//! Changes of leadership, as the flight recorder has them: with exact times.

use machine::{Cause, Effect, Event, Micros, Phase, Timestamp, Transition};

use super::Change;
use crate::record::{Entry, ReadError, Reader, Record};

/// The changes in a log; oldest first.
pub(in crate::cli) fn recorded(log: &[u8]) -> Result<Vec<Change>, ReadError> {
    let mut reader = Reader::new("the flight recorder's log", log);
    let mut course = Course::default();
    while let Some(entry) = reader.read()? {
        match entry {
            // What came between two parts is not known.
            Entry::Start(_) => course.open = None,
            Entry::Step(_, record) => course.step(&record),
        }
    }
    Ok(course.changes)
}

#[derive(Default)]
struct Course {
    changes: Vec<Change>,
    open: Option<Open>,
    /// The last term that was ordered, or seen.
    epoch: Option<u64>,
}

/// A change that is not over.
struct Open {
    begun: Timestamp,
    cause: Cause,
    from: Option<String>,
    phases: Vec<(Phase, Micros)>,
    /// Since when it is in the present phase.
    since: Timestamp,
}

impl Course {
    fn step(&mut self, record: &Record) {
        if let Event::PublicationObserved { published: Some(seen), .. } = &record.event {
            self.epoch = seen.epoch.map(|epoch| epoch.0).or(self.epoch);
        }
        for effect in &record.step.effects {
            if let Effect::Publish { wanted, .. } = effect {
                self.epoch = wanted.epoch.map(|epoch| epoch.0).or(self.epoch);
            }
        }
        if let Some(transition) = &record.step.transition {
            self.moved(record.at, transition);
        }
    }

    fn moved(&mut self, at: Timestamp, transition: &Transition) {
        let Transition { from, to, from_pod, to_pod, cause } = transition;
        // A controller that starts finds a leader: no change.
        let is_found = *from == Phase::Leaderless && *to == Phase::Elected && *cause == Cause::Adopted;
        if self.open.is_none() && is_found {
            return;
        }
        let led = matches!(from, Phase::Elected | Phase::Draining);
        let open = self.open.get_or_insert_with(|| Open {
            begun: at,
            cause: *cause,
            from: from_pod.as_ref().filter(|_| led).map(ToString::to_string),
            phases: Vec::new(),
            since: at,
        });
        let spent = at.since(open.since);
        if spent > Micros::ZERO {
            match open.phases.last_mut().filter(|(phase, _)| phase == from) {
                Some((_, sum)) => sum.0 += spent.0,
                None => open.phases.push((*from, spent)),
            }
        }
        open.since = at;
        if *to == Phase::Elected
            && let Some(open) = self.open.take()
        {
            self.changes.push(Change {
                at,
                cause: Some(open.cause.as_str().to_owned()),
                from: open.from,
                to: to_pod.as_ref().map(ToString::to_string),
                epoch: self.epoch,
                phases: open.phases,
                took: Some(at.since(open.begun)),
            });
        }
    }
}

/// Both: what was recorded is more exact, what was told may reach back further.
pub(in crate::cli) fn together(told: Vec<Change>, recorded: Vec<Change>) -> Vec<Change> {
    let is_recorded =
        |change: &Change| change.epoch.is_some() && recorded.iter().any(|other| other.epoch == change.epoch);
    let mut all: Vec<Change> = told.into_iter().filter(|change| !is_recorded(change)).collect();
    all.extend(recorded);
    all.sort_by_key(|change| change.at);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Vec<Change> {
        let path = format!("{}/tests/logs/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
        recorded(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_graceful_deletion_is_one_change() {
        let changes = of("real-graceful-deletion");
        let last = changes.last().unwrap();
        assert_eq!(last.cause.as_deref(), Some("terminating"));
        assert_eq!((last.from.as_deref(), last.to.as_deref()), (Some("orders-0"), Some("orders-1")));
        assert!(matches!(&*last.phases, [(Phase::Reelecting, _)]), "{last:?}");
        assert!(last.took.is_some_and(|took| took > Micros::ZERO), "{last:?}");
    }

    #[test]
    fn an_outage_is_one_change_by_the_cause_of_the_loss() {
        let changes = of("real-total-outage");
        let last = changes.last().unwrap();
        assert_eq!(last.cause.as_deref(), Some("unready"));
        assert!(last.phases.iter().any(|(phase, _)| *phase == Phase::Leaderless), "{last:?}");
    }

    #[test]
    fn what_is_in_both_is_told_once() {
        let recorded = of("real-graceful-deletion");
        let told = vec![Change { epoch: Some(1), ..Change::default() }, recorded.last().unwrap().clone()];
        let all = together(told, recorded.clone());
        assert_eq!(all.len(), recorded.len() + 1, "{all:?}");
    }
}
