//! Whether the machine does again what was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::{Election, Pod};

use super::Difference;
use crate::record::{Header, Record, Start};

/// The elections that are being replayed.
#[derive(Default)]
pub struct Check {
    courses: BTreeMap<Arc<str>, Course>,
}

struct Course {
    election: Election,
    /// The number of the next record.
    next: u64,
    machine: Arc<str>,
    /// A step differed: what follows may differ because of it.
    is_lost: bool,
}

/// Records that were never written, before a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub missing: u64,
    /// The election that the header tells is not the one that was replayed up to there.
    pub is_other: bool,
}

impl Check {
    /// Starts a Service's election, or starts it anew. Answers what lies between this and what was replayed of it so far,
    /// if that is anything.
    pub fn start(&mut self, header: &Header) -> Option<Gap> {
        let election = header.election();
        let gap = self.courses.get(&header.service).and_then(|course| course.gap(header, &election));
        let (next, machine) = (header.seq, header.machine.clone());
        self.courses.insert(header.service.clone(), Course { election, next, machine, is_lost: false });
        gap
    }

    /// Replays one step. Answers the election after it, or nothing if it was not checked because an earlier one differed.
    pub fn step(&mut self, service: &str, record: &Record) -> Result<Option<&Election>, Box<Difference>> {
        let Some(course) = self.courses.get_mut(service).filter(|course| !course.is_lost) else {
            return Ok(None);
        };
        course.next = record.seq.saturating_add(1);
        let step = course.election.step(record.at, &record.event);
        if step == record.step {
            return Ok(Some(&course.election));
        }
        course.is_lost = true;
        Err(Box::new(Difference::new(service, &course.machine, record, &step)))
    }

    /// A Service's election, as far as it was replayed.
    #[must_use]
    pub fn election(&self, service: &str) -> Option<&Election> {
        self.courses.get(service).map(|course| &course.election)
    }

    /// Who leads, or is to.
    pub(super) fn leader(&self, service: &str) -> Option<Pod> {
        self.election(service)?.state().pod().cloned()
    }
}

impl Course {
    fn gap(&self, header: &Header, started: &Election) -> Option<Gap> {
        if matches!(header.start, Start::New(_)) || header.seq < self.next || self.is_lost {
            return None;
        }
        let missing = header.seq - self.next;
        let is_other = missing == 0 && *started != self.election;
        (missing > 0 || is_other).then_some(Gap { missing, is_other })
    }
}

#[cfg(test)]
mod tests;
