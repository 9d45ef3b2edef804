//! Times and lengths of time, as kubectl shows them.

use machine::{Micros, Timestamp};

use crate::kinds::wall_time;
use crate::replay::words;

/// A moment, in UTC, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    wall_time(Timestamp::from_secs(at.as_secs())).to_string()
}

/// How long something has lasted, with two figures at most.
pub(super) fn age(span: Micros) -> String {
    let seconds = span.0 / 1_000_000;
    let two = |whole: u64, unit: char, rest: u64, small: char| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, 'd', hours % 24, 'h'),
        _ => format!("{days}d"),
    }
}

/// How long something took or takes: exactly, unless it is so long that nobody wants to know.
pub(super) fn span(span: Micros) -> String {
    const LONG: Micros = Micros::from_secs(600);
    if span < LONG { words::span(span) } else { age(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_those_of_kubectl() {
        for (seconds, shown) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (1_000_000, "11d"),
        ] {
            assert_eq!(age(Micros(seconds * 1_000_000)), shown);
        }
    }

    #[test]
    fn what_is_short_is_told_exactly() {
        assert_eq!(span(Micros(12_345)), "12.3 ms");
        assert_eq!(span(Micros::from_secs(599)), "9 min 59 s");
        assert_eq!(span(Micros::from_secs(3_600_000)), "41d");
    }
}
