//! Writes that wait a moment: those of a replica that does not act first, whether another one is seen to do it; and
//! those that would leave nobody in a slice, whether somebody is seen to be able to lead after all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use machine::Event;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::{Driver, Purpose};
use crate::apply::{Order, Request, Target};
use crate::lease::Tenure;
use crate::managed::{Errand, Key};

/// Nothing seen of any other replica for so long, and we do it ourselves.
const STAGGER: Duration = Duration::from_millis(100);

/// While others are seen to be at work, each write waits for its turn, but not longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// A watch that works again needs a moment to tell what has happened meanwhile.
pub(super) const CATCH_UP: Duration = Duration::from_millis(100);

/// Orders that wait, in the order in which they were given.
pub(super) struct Held {
    /// No other replica is to be given its chance before we write.
    pub(super) acts_first: bool,
    tenure: Tenure,
    orders: VecDeque<Order<Purpose>>,
    /// When another replica was last seen to write.
    progress: Instant,
    /// Withdrawals that were ordered while pods were not seen, each with the watch that was away.
    unseen: Vec<(usize, Order<Purpose>)>,
    /// The watches of pods that are away; or when those that are back have told everything.
    away: BTreeMap<usize, Option<Instant>>,
}

impl Held {
    pub(super) fn new() -> Self {
        Self {
            acts_first: true,
            tenure: Tenure::Unlimited,
            orders: VecDeque::new(),
            progress: Instant::now(),
            unseen: Vec::new(),
            away: BTreeMap::new(),
        }
    }

    pub(super) fn push(&mut self, order: Order<Purpose>) {
        self.orders.push_back(order);
    }

    /// Whether acting first has ended without anybody saying so.
    pub(super) fn is_tenure_over(&self, now: Instant) -> bool {
        self.acts_first && !self.tenure.is_held(now)
    }

    /// Another replica was seen to write.
    pub(super) fn progressed(&mut self) {
        self.progress = Instant::now();
    }

    /// This watch of pods works, or does not.
    pub(super) fn pods_are_seen(&mut self, watch: usize, is_live: bool) {
        self.away.insert(watch, is_live.then(|| Instant::now() + CATCH_UP));
    }

    fn is_away(&self, watch: usize) -> bool {
        self.away.get(&watch).is_some_and(|back| back.is_none_or(|back| back > Instant::now()))
    }

    /// Lets those withdrawals wait with the others whose pods are seen by now.
    fn take_seen(&mut self) {
        let now = Instant::now();
        self.away.retain(|_, back| back.is_none_or(|back| back > now));
        let away = &self.away;
        let (unseen, seen): (Vec<_>, Vec<_>) =
            self.unseen.drain(..).partition(|(watch, _)| away.contains_key(watch));
        self.unseen = unseen;
        self.orders.extend(seen.into_iter().map(|(_, order)| order));
    }

    /// When that has to be looked at again.
    fn seen(&self) -> Option<Instant> {
        self.unseen.iter().filter_map(|(watch, _)| *self.away.get(watch)?).min()
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
        match self.due().into_iter().chain(self.seen()).min() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn take_due(&mut self) -> Vec<Order<Purpose>> {
        self.take_seen();
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
        self.take(is_moot)
    }

    /// The orders that would leave nobody in this Service's authority slice.
    fn take_withdrawals(&mut self, of: &Key) -> Vec<Order<Purpose>> {
        self.take(|order| withdrawn(order) == Some(of))
    }

    fn take(&mut self, is_taken: impl Fn(&Order<Purpose>) -> bool) -> Vec<Order<Purpose>> {
        let (mut taken, kept): (Vec<_>, Vec<_>) = self.orders.drain(..).partition(&is_taken);
        self.orders = kept.into();
        taken.extend(self.unseen.extract_if(.., |(_, order)| is_taken(order)).map(|(_, order)| order));
        taken
    }

    fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.unseen.is_empty()
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
    /// is heard, or while a watch is away: what is known then is old, and nobody is better served by nobody.
    pub(super) fn give(&mut self, order: Order<Purpose>) {
        let is_for_another = !self.held.acts_first && order.request.target().is_some();
        let watch = self.scope.watch_of(&order.namespace);
        if withdrawn(&order).is_some() && self.held.is_away(watch) {
            self.held.unseen.push((watch, order));
        } else if is_for_another || withdrawn(&order).is_some() {
            self.held.push(order);
        } else {
            self.apply.submit(order);
        }
    }

    /// Somebody is to lead this Service: what would leave nobody in its slice is not sent, for make comes before break.
    pub(super) fn recall(&mut self, key: &Key) {
        if self.held.is_empty() {
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
    pub(super) fn lease(&mut self, tenure: Tenure) {
        let is_held = tenure.is_held(Instant::now());
        self.held.tenure = tenure;
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
