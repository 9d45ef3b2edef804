//! What replicas ask for, by what they know: I10 and I11.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use crate::net::Link;
use crate::objects::{is_empty, is_enabled, is_others};
use crate::server::Ask;
use crate::store::{Resource, SHOP, Store};
use crate::time::{Moment, now};

/// After an outage the first writes go out within so long; another replica may be given its chance before.
const BACK_WITHIN: Moment = 200;
const HOLD_BACK: Moment = 500;

/// A write whose answer has arrived.
pub(crate) struct Acknowledged {
    resource: Resource,
    uid: String,
    pub(crate) version: u64,
}

impl Acknowledged {
    /// What a write has made.
    pub(crate) fn of(ask: &Ask, object: &Value) -> Option<Self> {
        let is_object = matches!(ask.method, Method::POST | Method::PUT | Method::PATCH)
            && matches!(ask.resource, Resource::Slices | Resource::Services);
        let metadata = &object["metadata"];
        let uid = metadata["uid"].as_str()?.to_owned();
        let version = version(&metadata["resourceVersion"])?;
        is_object.then_some(Self { resource: ask.resource, uid, version })
    }
}

fn version(text: &Value) -> Option<u64> {
    text.as_str()?.parse().ok()
}

/// A replica's write whose connection failed.
struct Failed {
    at: Moment,
    /// The store's version when it was sent: it may have been done for all that, and be seen to be.
    version: u64,
}

/// What one replica knows by the answers that it has had.
#[derive(Default)]
struct Known {
    life: u64,
    /// The newest version of each object that it has written, by kind and UID.
    written: BTreeMap<(Resource, String), u64>,
    /// By slice.
    failed: BTreeMap<String, Failed>,
    /// Since when it has a connection again.
    back: Option<Moment>,
}

/// What the replicas know, by their numbers.
#[derive(Default)]
pub(crate) struct Asks {
    known: BTreeMap<usize, Known>,
    /// Each of a replica's watches finds out by itself, late, that the store went back, and drops what is known then.
    is_restored: bool,
}

impl Asks {
    fn known(&mut self, replica: usize, life: u64) -> Option<&mut Known> {
        let known = self.known.entry(replica).or_default();
        if known.life < life {
            *known = Known { life, ..Known::default() };
        }
        (known.life == life).then_some(known)
    }

    /// A replica, in this one of its lives, sends this.
    pub(crate) fn sent(
        &mut self,
        (replica, life): (usize, u64),
        ask: &Ask,
        store: &Store,
        links: &[Link],
        ours: usize,
    ) -> Result<(), String> {
        let is_restored = self.is_restored;
        let Some(known) = self.known(replica, life) else { return Ok(()) };
        if ask.resource == Resource::Slices {
            // Late is not in time.
            known.look(replica, store, links, ours)?;
            known.failed.remove(ask.object());
        }
        if is_restored || ![Method::PUT, Method::PATCH].contains(&ask.method) {
            return Ok(());
        }
        let metadata = &ask.body["metadata"];
        let uid = metadata["uid"].as_str().unwrap_or_default();
        let Some(newest) = known.written.get(&(ask.resource, uid.to_owned())) else { return Ok(()) };
        match version(&metadata["resourceVersion"]) {
            // The first is what a write carries that is to be refused: nothing is known any more.
            Some(based_on) if based_on > 1 && based_on < *newest => Err(format!(
                "I10: replica {replica} writes {} on version {based_on}, having written {newest}",
                ask.object()
            )),
            _ => Ok(()),
        }
    }

    /// What it has sent is answered.
    pub(crate) fn answered(&mut self, replica: usize, life: u64, ask: &Ask, done: Option<Acknowledged>) {
        let Some(known) = self.known(replica, life) else { return };
        if let Some(Acknowledged { resource, uid, version }) = done {
            let newest = known.written.entry((resource, uid)).or_default();
            *newest = version.max(*newest);
        }
        // The Lease has a client of its own.
        if ask.resource != Resource::Leases && known.back.is_none() && !known.failed.is_empty() {
            known.back = Some(now());
        }
    }

    /// Its connection failed. `version`: that of the store when it was sent; none: what it was to bring about was so by
    /// then, which it had only not heard yet, and whoever hears that has nothing to try again.
    pub(crate) fn refused(&mut self, replica: usize, life: u64, ask: &Ask, version: Option<u64>) {
        let Some(known) = self.known(replica, life) else { return };
        known.back = None;
        // Nobody is withdrawn until pods are seen again, which may take longer.
        let is_withdrawal = ask.method == Method::PUT && is_empty(&ask.body);
        let is_awaited = ask.is_write() && ask.resource == Resource::Slices && !is_withdrawal;
        if let Some(version) = version.filter(|_| is_awaited) {
            let failed = Failed { at: now(), version };
            known.failed.insert(ask.object().to_owned(), failed);
        }
    }

    /// The versions of the store have gone back, and with them what is known: a write that was done, and whose answer was
    /// lost, has not happened any more.
    pub(crate) fn restored(&mut self) {
        self.is_restored = true;
        self.known.values_mut().for_each(|known| known.failed.clear());
    }

    /// Whether everybody who is back has begun to write what could not be written before.
    pub(crate) fn look(&mut self, store: &Store, links: &[Link], ours: usize) -> Result<(), String> {
        let mut known = self.known.iter_mut();
        known.try_for_each(|(replica, known)| known.look(*replica, store, links, ours))
    }
}

impl Known {
    /// Whether it has begun, if it is back, to write what could not be written before, though nothing has happened since
    /// to those whom it concerns.
    fn look(&mut self, replica: usize, store: &Store, links: &[Link], ours: usize) -> Result<(), String> {
        let Some(back) = self.back else { return Ok(()) };
        let link = &links[replica];
        if self.life != link.life || link.has_trouble_since(back) {
            self.failed.clear();
        }
        let source = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let has_changed = |name: &str, since: u64| {
            let since = store.log.iter().rev().take_while(|commit| commit.version > since);
            since
                .filter(|commit| commit.resource != Resource::Leases)
                .any(|commit| commit.resource == Resource::Events || source(&commit.name) == source(name))
        };
        // What it could not write may have been moot before: the Service had opted out, or another installation's stood
        // under the leader Service's name, which it had not heard yet.
        let is_asked_for = |name: &str| {
            let service = |name: &str| store.get(Resource::Services, SHOP, name);
            let leader_service = name.trim_end_matches("-ipv6");
            service(&source(name)).is_some_and(|service| is_enabled(service))
                && !service(leader_service).is_some_and(|service| is_others(service))
        };
        self.failed.retain(|name, failed| is_asked_for(name) && !has_changed(name, failed.version));
        let peers = if replica < ours { ours } else { links.len() - ours };
        let limit = BACK_WITHIN + if peers > 1 { HOLD_BACK } else { 0 };
        match self.failed.iter().find(|_| now() > back + limit) {
            Some((name, failed)) => Err(format!(
                "I11: replica {replica} is back since {back} ms and had not tried {name} again at {} ms, since {} ms",
                now(),
                failed.at
            )),
            None => Ok(()),
        }
    }
}
