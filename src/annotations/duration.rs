//! Durations as Go writes them: `90s`, `1m30s`, `1.5h`, `300ms`, `0`.
//!
//! Written here because nothing ready-made fits: `kube::core::Duration` panics on `1s-5s` and on large
//! values, and whoever may annotate a Service could stop the controller with it; `humantime` and `jiff` know
//! no `1.5h30m` but know days; `duration-str` has a grammar of its own; `go-parse-duration` rests since 2020
//! and counts in floating point.

use machine::Micros;

/// Go counts nanoseconds in 63 bits, about 292 years. What is longer is cut to that.
const LONGEST_NANOS: u128 = i64::MAX as u128;

/// Nineteen digits after the point are more than a nanosecond of the longest unit can tell.
const FRACTION_DIGITS: usize = 19;

/// Parses a duration that is not negative, exactly, rounded down to the microsecond.
///
/// # Errors
/// Says what is wrong, in words for people.
pub(crate) fn parse(text: &str) -> Result<Micros, &'static str> {
    const WHY: &str = "it is not a duration such as 30s, 1m30s or 500ms";
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Micros::ZERO);
    }
    if rest.is_empty() {
        return Err(WHY);
    }
    let mut nanos = 0u128;
    while !rest.is_empty() {
        let (part, after) = element(rest).ok_or(WHY)?;
        nanos = nanos.saturating_add(part).min(LONGEST_NANOS);
        rest = after;
    }
    if negative && nanos > 0 {
        return Err("it is negative");
    }
    Ok(Micros(u64::try_from(nanos / 1_000).unwrap_or(u64::MAX)))
}

/// One number with its unit, in nanoseconds, and what follows it.
fn element(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) =
        rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
    let nanos = unit_nanos(unit)?;
    let whole = number(whole).saturating_mul(nanos);
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let scale = fraction.bytes().fold(1u128, |scale, _| scale * 10);
    Some((whole.saturating_add(number(fraction) * nanos / scale), rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> u128 {
    digits.bytes().fold(0u128, |sum, digit| sum.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter, as in Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn reads_what_go_reads() {
        for (text, micros) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("30s", 30 * SECOND),
            ("+5s", 5 * SECOND),
            ("1478s", 1478 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1.5h", 5400 * SECOND),
            ("1.5h30m", 7200 * SECOND),
            (".5s", SECOND / 2),
            ("5.s", 5 * SECOND),
            ("300ms", 300_000),
            ("12\u{b5}s", 12),
            ("12\u{3bc}s", 12),
            ("13us500ns", 13),
            ("999ns", 0),
            ("3h30m", 12_600 * SECOND),
            ("39h9m14.425s", 140_954_425_000),
            ("0.100000000000000000000h", 360 * SECOND),
            ("0.3333333333333333333h", 1_199_999_999),
        ] {
            assert_eq!(parse(text), Ok(Micros(micros)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "", "3", "-", "+", "s", ".", "-.", ".s", "+.s", "1d", "1 s", "1s ", " 1s", "1m30", "1e3s", "inf",
            "NaNs",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_negative_also_within() {
        for text in ["-5s", "-1ns", "1s-5s", "--5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cuts_what_is_too_long() {
        let longest = Micros(u64::try_from(LONGEST_NANOS / 1_000).unwrap());
        for text in ["9223372036854775808ns", "2562048h", "99999999999999999999999999999999999999999999h"] {
            assert_eq!(parse(text), Ok(longest), "{text}");
        }
        assert_eq!(parse(&"1h".repeat(100_000)), Ok(Micros(100_000 * 3600 * SECOND)));
    }
}
