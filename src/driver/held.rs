//! Writes that wait a moment: those of a replica that does not act first, whether another one is seen to do it; and
//! those that would leave nobody in a slice, whether somebody is seen to be able to lead after all.

use std::collections::VecDeque;
use std::time::Duration;

use machine::Event;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::{Driver, Purpose};
use crate::apply::{Order, Request, Target};
use crate::managed::{Errand, Key};

/// Nothing seen of any other replica for so long, and we do it ourselves.
const STAGGER: Duration = Duration::from_millis(100);

/// While others are seen to be at work, each write waits for its turn, but not longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// Orders that wait, in the order in which they were given.
pub(super) struct Held {
    /// No other replica is to be given its chance before we write.
    pub(super) acts_first: bool,
    orders: VecDeque<Order<Purpose>>,
    /// When another replica was last seen to write.
    progress: Instant,
}

impl Held {
    pub(super) fn new() -> Self {
        Self { acts_first: true, orders: VecDeque::new(), progress: Instant::now() }
    }

    pub(super) fn push(&mut self, order: Order<Purpose>) {
        self.orders.push_back(order);
    }

    /// Another replica was seen to write.
    pub(super) fn progressed(&mut self) {
        self.progress = Instant::now();
    }

    /// When the oldest has waited long enough. Who acts first waits only for the facts that have arrived already.
    fn due(&self) -> Option<Instant> {
        let since = self.orders.front()?.since;
        if self.acts_first {
            return Some(since);
        }
        Some((since.max(self.progress) + STAGGER).min(since + PATIENCE))
    }

    /// Returns when that is; never, if nothing waits.
    pub(super) async fn is_due(&self) {
        match self.due() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn take_due(&mut self) -> Vec<Order<Purpose>> {
        let now = Instant::now();
        let mut due = Vec::new();
        while self.due().is_some_and(|when| when <= now) {
            due.extend(self.orders.pop_front());
        }
        due
    }

    /// The orders that are moot because the object is newer than what they were decided on.
    fn take_moot(&mut self, is_service: bool, object: &Key, version: u64) -> Vec<Order<Purpose>> {
        let is_moot = |order: &Order<Purpose>| {
            *order.namespace == *object.namespace
                && order.request.target().is_some_and(|target: Target| {
                    target.is_service == is_service
                        && *target.name == *object.name
                        && target.version < version
                })
        };
        let (moot, kept): (Vec<_>, Vec<_>) = self.orders.drain(..).partition(is_moot);
        self.orders = kept.into();
        moot
    }

    /// The orders that would leave nobody in this Service's authority slice.
    fn take_withdrawals(&mut self, of: &Key) -> Vec<Order<Purpose>> {
        let (withdrawals, kept): (Vec<_>, Vec<_>) =
            self.orders.drain(..).partition(|order| withdrawn(order) == Some(of));
        self.orders = kept.into();
        withdrawals
    }
}

/// Whose authority slice the order would leave without anybody.
fn withdrawn(order: &Order<Purpose>) -> Option<&Key> {
    match (&order.purpose, &order.request) {
        (Purpose::Of(key, _, Errand::Publish { .. }), Request::ReplaceSlice(slice)) => {
            slice.endpoints.is_empty().then_some(key)
        }
        _ => None,
    }
}

impl Driver {
    /// Sends an order, now or, if it is for another replica to act first, when that was given its chance. A watch that
    /// was away tells in one go of a leader that left and of whoever came since: nobody is withdrawn before all of that
    /// is heard.
    pub(super) fn give(&mut self, order: Order<Purpose>) {
        let is_for_another = !self.held.acts_first && order.request.target().is_some();
        if is_for_another || withdrawn(&order).is_some() {
            self.held.push(order);
        } else {
            self.apply.submit(order);
        }
    }

    /// Somebody is to lead this Service: what would leave nobody in its slice is not sent, for make comes before break.
    pub(super) fn recall(&mut self, key: &Key) {
        if self.held.orders.is_empty() {
            return;
        }
        for order in self.held.take_withdrawals(key) {
            debug!(service = %key, "somebody can lead after all, not sent: {}", order.request);
            self.apply.supersede(order);
        }
    }

    pub(super) fn release_due(&mut self) {
        for order in self.held.take_due() {
            self.apply.submit(order);
        }
    }

    /// An object is now this new, or newer than that: what was to be written on an older state of it is another's work,
    /// done.
    pub(super) fn superseded(&mut self, is_service: bool, object: &Key, version: u64) {
        if self.held.acts_first {
            return;
        }
        for order in self.held.take_moot(is_service, object, version) {
            debug!(namespace = order.namespace, "done by another replica: {}", order.request);
            self.apply.supersede(order);
        }
    }

    /// This replica acts first from now on, or no longer.
    pub(super) fn lease(&mut self, is_held: bool) {
        if self.held.acts_first == is_held {
            return;
        }
        self.held.acts_first = is_held;
        self.metrics.act_first(is_held);
        if is_held {
            for order in std::mem::take(&mut self.held.orders) {
                self.apply.submit(order);
            }
        }
        let namespaces = self.world.namespaces.values();
        let keys: Vec<_> =
            namespaces.flat_map(|space| space.managed.values()).map(|managed| managed.key.clone()).collect();
        for key in keys {
            self.with(&key, |managed, _, out| {
                let event = if is_held { Event::LeaseHeld } else { Event::LeaseLost };
                out.events.extend(managed.is_synced().then_some(event));
                if !is_held {
                    managed.outdate_mirror();
                }
                managed.reconsider();
            });
        }
        if is_held && self.is_armed {
            self.sweep_all();
        }
    }
}
