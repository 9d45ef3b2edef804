//! The files' names, which tell their age.

use std::fmt;
use std::io;
use std::path::Path;

use k8s_openapi::jiff;

const PREFIX: &str = "zen-lead-";
const CRASH: &str = "crash-";
const SUFFIX: &str = ".jsonl";

/// What a time is as long as.
const TIME: &str = "20261126T030000Z";

/// The name of a file of ours: `zen-lead-20261126T030000Z-0001.jsonl`. The later one is the greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// To the second.
    time: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Which of those begun at that time.
    Recording(u32),
    Crash,
}

impl Name {
    /// Of a crash that happens now.
    pub(super) fn crash() -> Self {
        Self { time: now(), kind: Kind::Crash }
    }

    /// Of a recording that begins now. The clock may have been set back: it comes after all in `present` nevertheless.
    pub(super) fn after(present: &[Self]) -> Self {
        let first = Self { time: now(), kind: Kind::Recording(1) };
        let recordings = present.iter().filter(|name| matches!(name.kind, Kind::Recording(_)));
        match recordings.max() {
            Some(newest) if *newest >= first => newest.next(),
            Some(_) | None => first,
        }
    }

    /// The one that follows at the same time.
    pub(super) fn next(&self) -> Self {
        let number = match self.kind {
            Kind::Recording(number) => number.saturating_add(1),
            Kind::Crash => 1,
        };
        Self { time: self.time.clone(), kind: Kind::Recording(number) }
    }

    fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (time, kind) = match rest.strip_prefix(CRASH) {
            Some(time) => (time, Kind::Crash),
            None => rest
                .rsplit_once('-')
                .and_then(|(time, number)| Some((time, Kind::Recording(number.parse().ok()?))))?,
        };
        let name = Self { time: time.to_owned(), kind };
        (time.len() == TIME.len()).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = &self.time;
        match self.kind {
            Kind::Recording(number) => write!(f, "{PREFIX}{time}-{number:04}{SUFFIX}"),
            Kind::Crash => write!(f, "{PREFIX}{CRASH}{time}{SUFFIX}"),
        }
    }
}

/// Ours in `directory`, the oldest first; whatever else is there is somebody else's.
pub(super) fn present(directory: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        names.extend(entry?.file_name().to_str().and_then(Name::parse));
    }
    names.sort();
    Ok(names)
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        texts.iter().map(|text| Name::parse(text).expect(text)).collect()
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for text in ["zen-lead-20261126T030000Z-0007.jsonl", "zen-lead-crash-20261126T030000Z.jsonl"] {
            assert_eq!(Name::parse(text).expect(text).to_string(), text);
        }
        for foreign in ["notes.txt", "zen-lead-notes.jsonl", "zen-lead-2026-1.jsonl", "zen-lead-.jsonl"] {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_later_one_is_the_greater() {
        let sorted = names(&[
            "zen-lead-20261126T030000Z-0001.jsonl",
            "zen-lead-20261126T030000Z-9999.jsonl",
            "zen-lead-20261126T030000Z-10000.jsonl",
            "zen-lead-crash-20261126T030000Z.jsonl",
            "zen-lead-20261126T030001Z-0001.jsonl",
        ]);
        assert!(sorted.is_sorted(), "{sorted:?}");
    }

    #[test]
    fn a_recording_comes_after_those_before_it_though_the_clock_was_set_back_or_the_first_were_removed() {
        let ahead = names(&["zen-lead-29990101T000000Z-0004.jsonl", "zen-lead-crash-29990102T000000Z.jsonl"]);
        assert_eq!(Name::after(&ahead).to_string(), "zen-lead-29990101T000000Z-0005.jsonl");
        let behind = names(&["zen-lead-20200101T000000Z-0009.jsonl"]);
        let next = Name::after(&behind);
        assert_eq!(next.kind, Kind::Recording(1));
        assert!(next > behind[0]);
        assert_eq!(Name::after(&[next.next()]), next.next().next());
    }
}
