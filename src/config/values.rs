//! The values that flags take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use crate::annotations;

/// Where Kubernetes puts the namespace of the pod's service account.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// An installation of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Namespace that the controller runs in.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Instance {
    /// `zen-lead` in the namespace that this process's pod runs in: `POD_NAMESPACE`, else the file
    /// of the service account, else `default`.
    #[must_use]
    pub fn of_this_pod() -> Self {
        let namespace = variable("POD_NAMESPACE").or_else(|| first_line(NAMESPACE_FILE));
        Self { namespace: namespace.unwrap_or_else(|| "default".into()), name: "zen-lead".into() }
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::of_this_pod());
        }
        let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
        if namespace.is_empty() {
            return Err("the namespace is missing".into());
        }
        Ok(Self { namespace: namespace_name(namespace)?, name: object_name(name)? })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// `0`: nowhere.
    Disabled,
    /// `:PORT`: every address of the host, of both families where it has them.
    AllAddresses(u16),
    /// `HOST:PORT`.
    Host(String, u16),
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self::Disabled);
        }
        let (host, port) = text.rsplit_once(':').ok_or("expected :PORT, HOST:PORT, or 0 for none")?;
        let port = port.parse().map_err(|_| format!("`{port}` is no port: expected 0 to 65535"))?;
        match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Ok(Self::AllAddresses(port)),
            host => Ok(Self::Host(host.into(), port)),
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("0"),
            Self::AllAddresses(port) => write!(f, ":{port}"),
            Self::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// Whose series the metrics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricsDetail {
    /// Those of each Service: about 40, at most 60.
    Service,
    /// Those of each namespace, for thousands of Services.
    Aggregate,
}

/// A DNS label, as namespaces must be; empty means none (see `forget_empty`).
pub(super) fn namespace_name(text: &str) -> Result<String, String> {
    if text.len() > 63 || text.contains('.') {
        return Err("a namespace has at most 63 characters and no dots".into());
    }
    if text.is_empty() { Ok(String::new()) } else { object_name(text) }
}

/// A DNS subdomain, as names of most objects must be.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let whole = text.chars().all(|c| inner(c) || c == '-' || c == '.');
    let ends = text.starts_with(inner) && text.ends_with(inner);
    if whole && ends && text.len() <= 253 {
        Ok(text.into())
    } else {
        Err("expected lower-case letters, digits, `-` and `.`, with a letter or digit at both ends".into())
    }
}

/// A duration as annotations have it.
pub(super) fn budget(text: &str) -> Result<Duration, &'static str> {
    annotations::budget(text).map(|budget| Duration::from_micros(budget.0))
}

/// The same, and none at all.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    annotations::duration::parse(text).map(|duration| Duration::from_micros(duration.0))
}

/// How old a node's Lease may become. What it is held against each Lease itself says, which cannot be less than a second.
pub(super) fn node_lease_timeout(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(625);
    let timeout = duration(text)?;
    if timeout < LEAST {
        return Err(format!(
            "the shortest Lease lasts 1s and is renewed every 250ms: give at least {LEAST:?}, two and a half renewals, \
             or leave it out"
        ));
    }
    Ok(timeout)
}

pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}
