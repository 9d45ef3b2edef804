//! Objects of ours that nobody asks for, and whose removal has failed: the watch shows them only once, so that they
//! have to be remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Driver, Purpose};
use crate::apply::{Order, Reply, Request, Target, Unless};
use crate::failure::{Failure, Kind};

/// Pauses between tries; nobody's traffic waits for them.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// An object that is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leftover {
    namespace: String,
    is_service: bool,
    name: String,
}

/// What could not be removed, and when to try again.
#[derive(Default)]
pub(super) struct Unswept {
    left: BTreeSet<Leftover>,
    pause: Duration,
    next: Option<Instant>,
}

impl Unswept {
    /// Returns when it is time to try again; never, if nothing is left.
    pub(super) async fn is_due(&self) {
        match self.next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Takes note of what came of a removal.
    pub(super) fn answered(&mut self, leftover: Leftover, result: &Result<Reply, Failure>) {
        match result {
            Ok(_) => self.pause = Duration::ZERO,
            // It has changed: the watch shows it again.
            Err(failure) if failure.kind == Kind::Conflict => {}
            Err(_) => {
                self.left.insert(leftover);
                if self.next.is_none() {
                    self.pause = (self.pause * 2).clamp(RETRY_FIRST, RETRY_MOST);
                    self.next = Some(Instant::now() + self.pause);
                }
            }
        }
    }

    /// The API server is back: there is nothing to wait for.
    pub(super) fn hurry(&mut self) {
        self.pause = Duration::ZERO;
        self.next = self.next.map(|next| next.min(Instant::now()));
    }
}

impl Driver {
    /// Tries once more what could not be removed, if it is still there and nobody asks for it.
    pub(super) fn sweep_again(&mut self) {
        self.unswept.next = None;
        for Leftover { namespace, is_service, name } in std::mem::take(&mut self.unswept.left) {
            if is_service {
                self.sweep_service(&namespace, &name);
            } else {
                self.sweep_slice(&namespace, &name);
            }
        }
    }
}

/// The order to remove an object that nobody asks for.
pub(super) fn sweep(namespace: &str, target: Target, source: &str) -> Order<Purpose> {
    let (namespace, is_service) = (namespace.to_owned(), target.is_service);
    let leftover = Leftover { namespace: namespace.clone(), is_service, name: target.name.clone() };
    let (targets, source) = (vec![target], source.to_owned());
    let request = Request::DeleteLeft { targets, source, unless: Unless::AskedFor };
    Order::new(Purpose::Sweep(leftover), namespace, request)
}
