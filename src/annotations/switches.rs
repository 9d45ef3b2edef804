//! How often the leader may change before preferences wait: `5/10m`, at most 5 changes within 10 minutes.

use std::num::NonZeroU8;

use machine::{MaxSwitches, Micros};

use super::duration;

/// The times of so many changes are remembered for each Service; who wants more does not want a limit.
const COUNT_MOST: u8 = 100;

/// # Errors
/// Says what is wrong, in words for people.
pub(super) fn parse(text: &str) -> Result<MaxSwitches, &'static str> {
    const WHY: &str = "it is not <changes>/<duration>, such as 5/10m";
    let (count, window) = text.split_once('/').ok_or(WHY)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WHY);
    }
    let count = count.parse::<u8>().ok().filter(|count| *count <= COUNT_MOST);
    let count = count.and_then(NonZeroU8::new).ok_or("the changes are not between 1 and 100")?;
    match duration::parse(window)? {
        Micros::ZERO => Err("its duration is no time at all"),
        window => Ok(MaxSwitches { count, window }),
    }
}
