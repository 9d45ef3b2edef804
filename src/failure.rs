//! Why a request to the API server did not succeed, as far as it matters for what to do next.

use std::sync::Arc;
use std::time::Duration;

use kube::core::Status;
use machine::{Epoch, Micros, Outcome};

/// The shortest wait that the API server can ask for; a Retry-After of nothing means this.
const THROTTLED_DEFAULT: Duration = Duration::from_millis(100);

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(crate) struct Failure {
    /// What to make of it.
    pub(crate) kind: Kind,
    /// The server's words, or ours.
    pub(crate) words: Arc<str>,
    /// Any other request would fail as well: there is no connection, or we are not known any more.
    pub(crate) is_general: bool,
}

/// The kinds of failure that have a path of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 404.
    NotFound,
    /// 409: the object has changed since.
    Conflict,
    /// 409: there is one of that name already.
    Exists,
    /// 429, or 503 with Retry-After: come back after this long.
    Throttled(Duration),
    /// It may have happened: no answer came, or one that leaves it open.
    Unknown,
    /// It did not happen: 401, 403, 503.
    Unreachable,
    /// It was not sent: another replica has done it.
    Superseded,
    /// It was not sent: the leader Service tells of this epoch, which is at least as high.
    Behind(Epoch),
    /// It will never happen: 400, 413, 422, or the namespace terminates.
    Refused {
        /// The endpoints of a slice are what the server objects to.
        endpoint: bool,
    },
}

impl Failure {
    /// No answer came in time.
    #[must_use]
    pub(crate) fn timeout(limit: Duration) -> Self {
        Self { kind: Kind::Unknown, words: format!("no answer within {limit:?}").into(), is_general: false }
    }

    /// It was not even sent: so many waited before it.
    #[must_use]
    pub(crate) fn dropped(waiting: usize) -> Self {
        let words = format!("not sent, since {waiting} were waiting").into();
        Self { kind: Kind::Refused { endpoint: false }, words, is_general: false }
    }

    /// It was not even sent: another replica was seen to have done it, or it would be wrong by now.
    #[must_use]
    pub(crate) fn superseded() -> Self {
        Self { kind: Kind::Superseded, words: "no longer needed".into(), is_general: false }
    }

    /// It was not even sent: the leader Service tells of a term that we did not know.
    #[must_use]
    pub(crate) fn behind(epoch: Epoch) -> Self {
        let words = format!("the leader Service tells of epoch {}", epoch.0).into();
        Self { kind: Kind::Behind(epoch), words, is_general: false }
    }

    /// Classifies what the client reports.
    #[must_use]
    pub(crate) fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            let words = crate::client::explain(error).into();
            let is_general = !matches!(error, kube::Error::SerdeError(_));
            return Self { kind: Kind::Unknown, words, is_general };
        };
        let words = match status.code {
            // The server's own word for this, "Unauthorized", helps nobody.
            401 => crate::client::explain(error).into(),
            _ => status.message.as_str().into(),
        };
        Self { kind: Kind::of(status), words, is_general: status.code == 401 }
    }

    /// The same, in the words of the machine.
    #[must_use]
    pub(crate) fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::NotFound => Outcome::Gone,
            Kind::Conflict => Outcome::Conflict,
            Kind::Exists => Outcome::Exists,
            Kind::Throttled(wait) => {
                Outcome::Throttled(Micros(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
            }
            Kind::Unknown => Outcome::Unknown,
            Kind::Unreachable => Outcome::Unreachable,
            Kind::Superseded => Outcome::Superseded,
            Kind::Behind(epoch) => Outcome::Behind { epoch },
            Kind::Refused { endpoint } => Outcome::Refused { endpoint, words: self.words.clone() },
        }
    }

    /// A word for metrics and logs.
    #[must_use]
    pub(crate) const fn category(&self) -> &'static str {
        match self.kind {
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Exists => "exists",
            Kind::Throttled(_) => "throttled",
            Kind::Unknown => "unknown",
            Kind::Unreachable => "unreachable",
            Kind::Superseded => "superseded",
            Kind::Behind(_) => "behind",
            Kind::Refused { .. } => "refused",
        }
    }
}

impl Kind {
    fn of(status: &Status) -> Self {
        let details = status.details.as_ref();
        let retry_after = details.map_or(0, |details| details.retry_after_seconds);
        let has_cause = |test: fn(&kube::core::response::StatusCause) -> bool| {
            details.is_some_and(|details| details.causes.iter().any(test))
        };
        match status.code {
            404 => Self::NotFound,
            409 if status.reason == "AlreadyExists" => Self::Exists,
            409 => Self::Conflict,
            429 => Self::Throttled(wait(retry_after)),
            503 if retry_after > 0 => Self::Throttled(wait(retry_after)),
            403 if has_cause(|cause| cause.reason == "NamespaceTerminating") => {
                Self::Refused { endpoint: false }
            }
            401 | 403 | 503 => Self::Unreachable,
            400 | 413 | 422 => {
                Self::Refused { endpoint: has_cause(|cause| cause.field.starts_with("endpoints")) }
            }
            _ => Self::Unknown,
        }
    }
}

fn wait(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds)).max(THROTTLED_DEFAULT)
}

#[cfg(test)]
mod tests;
