//! Failed requests, as people read of them in the log: each kind once, and again after a while if it goes on.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::failure::{Failure, Kind};

/// A failure that goes on is logged again after this time.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Method and kind of the request, the namespace, and what kind of failure it was.
type Which = (&'static str, String, &'static str);

/// What was logged lately.
#[derive(Default)]
pub(super) struct Failures {
    said: HashMap<Which, Instant>,
}

impl Failures {
    /// Logs a failure, in the API server's words.
    pub(super) fn note(&mut self, what: &'static str, namespace: &str, failure: &Failure) {
        let category = failure.category();
        match failure.kind {
            // The object has changed; whoever asked looks again.
            Kind::NotFound | Kind::Conflict | Kind::Exists => {
                debug!(namespace, outcome = category, "{what}: {failure}");
            }
            Kind::Throttled(_) | Kind::Unknown | Kind::Unreachable | Kind::Refused { .. } => {
                self.said.retain(|_, said| said.elapsed() < SAY_EVERY);
                let which = (what, namespace.to_owned(), category);
                if self.said.contains_key(&which) {
                    debug!(namespace, outcome = category, "{what} failed: {failure}");
                } else {
                    self.said.insert(which, Instant::now());
                    warn!(namespace, outcome = category, "{what} failed: {failure}");
                }
            }
        }
    }
}
