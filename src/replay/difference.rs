//! What was expected, and what came instead.

use std::fmt;

use machine::Step;
use serde::Serialize;

use crate::record::{MACHINE, Record};

/// A step that came out otherwise than recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The Service.
    pub service: String,
    /// The number of the step.
    pub seq: u64,
    /// The version of the machine that recorded it.
    pub machine: String,
    /// What was recorded, as lines of JSON.
    pub expected: String,
    /// What came.
    pub got: String,
    fact: String,
}

impl Difference {
    pub(super) fn new(service: &str, machine: &str, record: &Record, got: &Step) -> Self {
        let fact = serde_json::to_string(&record.event).unwrap_or_default();
        let (expected, got) = (lines(&record.step), lines(got));
        Self { service: service.into(), seq: record.seq, machine: machine.into(), expected, got, fact }
    }
}

fn lines(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Line by line: what both have as it is, what was recorded after `-`, what came after `+`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, seq, machine, expected, got, fact } = self;
        writeln!(f, "{service}: step {seq} differs from what was recorded")?;
        writeln!(f, "  the fact: {fact}")?;
        if machine != MACHINE {
            writeln!(f, "  the log is of machine {machine}, this is {MACHINE}")?;
        }
        writeln!(f, "  - expected (recorded)\n  + got (replayed)")?;
        let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
        let begins = expected.iter().zip(&got).take_while(|(a, b)| a == b).count();
        let rest = expected[begins..].iter().rev().zip(got[begins..].iter().rev());
        let ends = rest.take_while(|(a, b)| a == b).count();
        for line in &expected[..begins] {
            writeln!(f, "    {line}")?;
        }
        for line in &expected[begins..expected.len() - ends] {
            writeln!(f, "  - {line}")?;
        }
        for line in &got[begins..got.len() - ends] {
            writeln!(f, "  + {line}")?;
        }
        for line in &got[got.len() - ends..] {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}
