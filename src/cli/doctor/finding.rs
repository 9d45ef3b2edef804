//! What is wrong, where that is seen, and what mends it.

use std::io::{self, Write};

use machine::Micros;
use serde::Serialize;

/// More names of objects than these help nobody who reads; other programs get all of them.
const NAMES_SHOWN: usize = 4;

/// Something that makes failover slow or wrong.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// The check's name, which stays the same from version to version.
    pub(super) check: &'static str,
    /// What it does to failover.
    pub(super) why: String,
    /// Where it is seen.
    pub(super) evidence: Vec<Evidence>,
    pub(super) remedy: String,
}

/// A field of an object, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Evidence {
    /// As kubectl takes it: `pod/orders-0`.
    pub(super) object: String,
    pub(super) field: String,
    pub(super) value: String,
}

impl Evidence {
    pub(super) fn new(object: String, field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { object, field: field.into(), value: value.into() }
    }
}

impl Finding {
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}: {}", self.check, self.why)?;
        let mut told: Vec<(&str, &str)> = Vec::new();
        for Evidence { field, value, .. } in &self.evidence {
            if told.contains(&(field, value)) {
                continue;
            }
            told.push((field, value));
            let same = |other: &&Evidence| other.field == *field && other.value == *value;
            let objects: Vec<&str> =
                self.evidence.iter().filter(same).map(|evidence| &*evidence.object).collect();
            writeln!(out, "  evidence: {}: {field}: {value}", listed(&objects))?;
        }
        writeln!(out, "  remedy:   {}", self.remedy)
    }
}

/// Names, the first few of them.
fn listed(names: &[&str]) -> String {
    match names.split_at_checked(NAMES_SHOWN) {
        Some((some, more)) if !more.is_empty() => format!("{} and {} more", some.join(", "), more.len()),
        _ => names.join(", "),
    }
}

/// A length of time in seconds, with one figure after the point where that says something.
pub(super) fn seconds(Micros(micros): Micros) -> String {
    let tenths = micros.div_ceil(100_000);
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_objects_have_in_common_is_told_once() -> io::Result<()> {
        let of = |name: &str, value: &str| Evidence::new(format!("pod/{name}"), "spec.nodeName", value);
        let evidence =
            ["a", "b", "c", "d", "e"].map(|name| of(name, "node-1")).into_iter().chain([of("f", "node-2")]);
        let finding =
            Finding { check: "x", why: "why".into(), evidence: evidence.collect(), remedy: "do".into() };
        let mut out = Vec::new();
        finding.write(&mut out)?;
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "x: why\n  evidence: pod/a, pod/b, pod/c, pod/d and 1 more: spec.nodeName: node-1\n  \
             evidence: pod/f: spec.nodeName: node-2\n  remedy:   do\n"
        );
        Ok(())
    }

    #[test]
    fn seconds_are_never_told_shorter_than_they_are() {
        for (millis, told) in [(0, "0 s"), (100, "0.1 s"), (1_000, "1 s"), (1_301, "1.4 s"), (31_000, "31 s")]
        {
            assert_eq!(seconds(Micros::from_millis(millis)), told);
        }
    }
}
