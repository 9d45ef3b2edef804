//! Failed requests, as people read of them in the log: each kind once, and again after a while if it goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::failure::{Failure, Kind};

/// A failure that goes on is logged again after this time.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// What failed, the namespace (or the Service, if it is the Service's own failure), and what kind of failure it was.
type Which = (&'static str, String, &'static str);

/// What was logged lately.
#[derive(Default)]
pub(super) struct Failures {
    said: HashMap<Which, Instant>,
}

impl Failures {
    /// Logs a failure, in the API server's words. `service`: the source whose publication it was.
    pub(super) fn note(
        &mut self,
        what: &'static str,
        namespace: &str,
        service: Option<&str>,
        failure: &Failure,
    ) {
        let outcome = failure.category();
        let whose = match (&failure.kind, service) {
            // The object has changed; whoever asked looks again.
            (Kind::NotFound | Kind::Conflict | Kind::Exists | Kind::Superseded | Kind::Behind(_), _) => {
                return debug!(namespace, service, outcome, "{what} failed: {failure}");
            }
            (Kind::Refused { .. }, Some(service)) => format!("{namespace}/{service}"),
            // What one Service meets, all of the namespace meet.
            (Kind::Refused { .. } | Kind::Throttled(_) | Kind::Unknown | Kind::Unreachable, _) => {
                namespace.to_owned()
            }
        };
        self.said.retain(|_, said| said.elapsed() < SAY_EVERY);
        if let Entry::Vacant(entry) = self.said.entry((what, whose, outcome)) {
            entry.insert(Instant::now());
            warn!(namespace, service, outcome, "{what} failed: {failure}");
        } else {
            debug!(namespace, service, outcome, "{what} failed: {failure}");
        }
    }
}
