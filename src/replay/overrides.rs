//! Another policy, as the annotations of a Service would put it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use machine::Policy;

use crate::annotations;

/// The settings that are a policy's, without the prefix that annotations have.
const KEYS: [&str; 8] = [
    "failback",
    "sticky",
    "min-ready-duration",
    "failover-min-delay",
    "strategy",
    "prefer-new-revision",
    "leave-cordoned",
    "max-switches",
];

/// One setting of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    key: &'static str,
    value: String,
    policy: Policy,
}

impl Override {
    /// The policy with this setting.
    pub(super) fn apply(&self, policy: &mut Policy) {
        let Policy {
            failback,
            min_ready_duration,
            failover_min_delay,
            strategy,
            prefer_new_revision,
            leave_cordoned,
            max_switches,
        } = self.policy.clone();
        match self.key {
            "failback" | "sticky" => policy.failback = failback,
            "min-ready-duration" => policy.min_ready_duration = min_ready_duration,
            "failover-min-delay" => policy.failover_min_delay = failover_min_delay,
            "strategy" => policy.strategy = strategy,
            "leave-cordoned" => policy.leave_cordoned = leave_cordoned,
            "max-switches" => policy.max_switches = max_switches,
            _ => policy.prefer_new_revision = prefer_new_revision,
        }
    }
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected KEY=VALUE, with a KEY of {}", KEYS.join(", "));
        let (name, value) = text.split_once('=').ok_or_else(expected)?;
        let name = name.strip_prefix(annotations::PREFIX).unwrap_or(name);
        let key = KEYS.into_iter().find(|key| *key == name).ok_or_else(expected)?;
        if value.is_empty() {
            return Err(format!("`{key}` needs a value"));
        }
        let annotation = BTreeMap::from([(format!("{}{key}", annotations::PREFIX), value.to_owned())]);
        let settings = annotations::parse(&annotation, "");
        match settings.invalid.first() {
            Some(invalid) => Err(format!("`{value}` is no value for `{key}`: {}", invalid.why)),
            None => Ok(Self { key, value: value.to_owned(), policy: settings.policy }),
        }
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests;
