//! What must always hold, checked against everything that was ever committed, and how it must all end.
//!
//! The names are those of the design: I1 one endpoint, I2 it was fit, I3 epochs, I4 no write without the version it was
//! decided on, I5 nobody unfit stays while somebody can follow, I6 nobody empties a slice while somebody can lead, I7 and
//! I8 it settles and is then silent, I9 causes are true, I10 nothing is decided on what is older than one's own writes,
//! I11 after an outage it goes on at once, I12 the second slice shows the leader of the
//! first, I13 nobody else's objects, I15 no address that is another pod's.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::Value;

use crate::asks::Asks;
use crate::net::Link;
use crate::notices::Notices;
use crate::objects::{
    Fares, INSTANCE, OURS, all_fare, all_reached, app, endpoints, is_empty, is_enabled, is_fit, is_others,
    is_paused, is_source, ready_endpoints,
};
use crate::server::Ask;
use crate::settled::settled;
use crate::store::{Commit, Resource, SHOP, Store, Writer};
use crate::terms::{LEADER_UID, Terms, epoch_of};
use crate::time::{Moment, now};

/// Whoever has been fit for so long is eligible, whatever the settings.
const ELIGIBLE_AFTER: Moment = 3_000;

/// As long a removal may take: a look and what follows from it.
const ON_ITS_WAY: Moment = 3_000;

/// With everything in order, nobody unfit leads for longer while somebody is eligible: the longest delay that settings
/// ask for, what a replica holds back, and a write that is repeated.
const UNFIT_AT_MOST: Moment = 4_000;

/// A watch that failed is tried again after so long at most (`watch::LAST_RETRY`), each for itself: until then one may show
/// what is newer than what another has shown.
const LOOKS_AGAIN: Moment = 1_000;

/// Looks at everything that is asked and committed.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) violations: Vec<String>,
    /// Commits looked at.
    seen: usize,
    terms: BTreeMap<String, Terms>,
    /// The pods that have ever been fit, each by its UID and its addresses.
    ever_fit: BTreeSet<(String, String)>,
    /// Likewise, all that there have ever been.
    ever_had: BTreeSet<(String, String)>,
    /// Since when each pod has been fit in the Service whose member it is, by its UID.
    fit_since: BTreeMap<String, Moment>,
    /// Since when each Service has had an unfit leader although somebody was eligible.
    unfit_since: BTreeMap<String, Moment>,
    /// When each object was made, by its UID.
    made: BTreeMap<String, u64>,
    /// Since when each Service that there is has opted in, by its UID.
    opted_in: BTreeMap<String, u64>,
    /// Since when each slice has shown an address that is not its pod's.
    stray_since: BTreeMap<String, Moment>,
    /// The terms that every authority slice has ever shown.
    led: BTreeSet<(String, Option<u64>, Option<String>)>,
    /// There is one replica only, which has always been the same: of a former life something may be on its way yet.
    is_alone: bool,
    /// The store has gone back at some time.
    is_restored: bool,
    pub(crate) notices: Notices,
    pub(crate) asks: Asks,
    /// Everything is in order from then on.
    pub(crate) calm: Moment,
    /// Until when nobody need have heard that a Service is no longer paused, if that was in trouble, by its name.
    resumed_unheard: BTreeMap<String, Moment>,
}

impl Judge {
    /// Takes note of what is wrong, if anything is.
    pub(crate) fn expect(&mut self, result: Result<(), String>) {
        self.violations.extend(result.err());
    }

    fn check(&mut self, holds: bool, invariant: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(format!("{invariant}: {}", what()));
        }
    }

    /// A request of a replica.
    pub(crate) fn asked(&mut self, ask: &Ask) {
        let (metadata, conditions) = (&ask.body["metadata"], &ask.body["preconditions"]);
        let is_based = match ask.method {
            Method::PUT | Method::PATCH => metadata["resourceVersion"].is_string(),
            Method::DELETE => conditions["resourceVersion"].is_string() && conditions["uid"].is_string(),
            _ => true,
        };
        self.check(is_based, "I4", || format!("{} {:?} says no version", ask.method, ask.name));
        let is_ours = !ask.is_write() || !matches!(ask.resource, Resource::Pods);
        self.check(is_ours, "I13", || format!("{} of the pod {:?}", ask.method, ask.name));
    }

    /// Whatever was committed since the last look.
    pub(crate) fn catch_up(&mut self, store: &Store) {
        while let Some(commit) = store.log.get(self.seen).cloned() {
            self.seen += 1;
            if commit.resource == Resource::Pods {
                self.notices.pod(&commit);
                self.pod(&commit);
            }
            if let Writer::Replica(_) = commit.writer {
                self.written(&commit, store);
            }
            self.remember(&commit);
        }
    }

    /// The store has gone back: what was known of what is no more is forgotten.
    pub(crate) fn restored(&mut self, store: &Store) {
        self.asks.restored();
        self.notices.restored();
        self.is_restored = true;
        self.terms.clear();
        self.fit_since.clear();
        self.opted_in.retain(|_, version| *version <= store.version);
        self.made.retain(|_, version| *version <= store.version);
        for ((resource, _, name), object) in &store.objects {
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            match resource {
                Resource::Pods if is_fit(object) => {
                    self.fit_since.insert(uid, now());
                }
                Resource::Services | Resource::Slices => {
                    self.terms.entry(name.clone()).or_default().stands(*resource, object);
                    if is_source(object) && *resource == Resource::Services {
                        if is_enabled(object) {
                            self.opted_in.entry(uid).or_insert(store.version);
                        } else {
                            self.opted_in.remove(&uid);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Looks at how it is now.
    pub(crate) fn look(&mut self, store: &Store, links: &[Link], ours: usize) {
        self.is_alone = ours == 1 && links[0].life <= 1;
        // A replica that begins needs a moment for its lists.
        if links[..ours].iter().all(|link| link.is_down) {
            self.calm = self.calm.max(now() + 1_000);
        }
        let result = self.asks.look(store, links, ours);
        self.expect(result);
        for Fares { name, has_stray, is_led_by_unfit } in all_fare(store) {
            if has_stray {
                let since = *self.stray_since.entry(name.to_owned()).or_insert_with(now);
                let is_brief = now() <= since.max(self.calm) + UNFIT_AT_MOST;
                self.check(is_brief, "I15", || {
                    format!("{name} shows since {since} ms an address that is not its pod's, at {} ms", now())
                });
            } else {
                self.stray_since.remove(name);
            }
            if !is_led_by_unfit || !self.is_anybody_eligible(store, name) {
                self.unfit_since.remove(name);
                continue;
            }
            let since = (*self.unfit_since.entry(name.to_owned()).or_insert_with(now)).max(self.calm);
            let is_brief = now() <= since + UNFIT_AT_MOST;
            self.check(is_brief, "I5", || {
                format!("{name} has had an unfit leader since {since} ms, at {} ms", now())
            });
        }
    }

    /// Whether somebody has been fit for so long that every replica takes them for eligible.
    fn is_anybody_eligible(&self, store: &Store, name: &str) -> bool {
        let is_eligible =
            |uid: &str| self.fit_since.get(uid).is_some_and(|since| since + ELIGIBLE_AFTER <= now());
        let mut members = store.all(Resource::Pods).filter(|pod| app(pod) == Some(name));
        members.any(|pod| pod["metadata"]["uid"].as_str().is_some_and(is_eligible) && is_fit(pod))
    }

    fn pod(&mut self, commit: &Commit) {
        let object = commit.after.as_deref().or(commit.before.as_deref()).unwrap_or(&Value::Null);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        // Whoever joins a Service could not be chosen there before, however long it had been fit: what was ordered then
        // may still be on its way.
        if commit.before.as_deref().is_some_and(|before| app(before) != app(object)) {
            self.fit_since.remove(&uid);
        }
        if commit.after.as_deref().is_some_and(is_fit) {
            self.fit_since.entry(uid).or_insert(commit.at);
        } else {
            self.fit_since.remove(&uid);
        }
        let Some(pod) = commit.after.as_deref() else { return };
        for (uid, address) in all_reached(pod) {
            let reached = (uid.to_owned(), address.to_owned());
            if is_fit(pod) {
                self.ever_fit.insert(reached.clone());
            }
            self.ever_had.insert(reached);
        }
    }

    /// What a replica has changed.
    fn written(&mut self, commit: &Commit, store: &Store) {
        let Commit { resource, name, version, .. } = commit;
        let is_made_by_us = match resource {
            Resource::Services | Resource::Slices => {
                name.ends_with("-leader") || name.ends_with("-leader-ipv6")
            }
            Resource::Events | Resource::Leases => true,
            Resource::Pods => false,
        };
        self.check(is_made_by_us, "I13", || format!("{resource:?} {name} was changed, in version {version}"));
        let instance = &commit.before.as_deref().unwrap_or(&Value::Null)["metadata"]["annotations"][INSTANCE];
        let is_ours = instance.as_str().is_none_or(|instance| instance == OURS);
        self.check(is_ours, "I13", || format!("{name}, of {instance}, was changed in version {version}"));
        if let (None, Some(deleted)) = (&commit.after, commit.before.as_deref()) {
            let made = self.made.get(deleted["metadata"]["uid"].as_str().unwrap_or_default());
            let owner = deleted["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
            let opted_in = self.opted_in.get(owner);
            let is_in_the_way = *resource == Resource::Slices && fed_others(commit, store);
            let is_alive =
                !is_in_the_way && made.zip(opted_in).is_some_and(|(made, opted_in)| made > opted_in);
            self.check(!is_alive, "I4", || {
                format!("{resource:?} {name}, made for {owner} as it is, was deleted in version {version}")
            });
        }
        if let (Resource::Services, Some(before), Some(after)) = (resource, &commit.before, &commit.after) {
            let (before, after) = (epoch_of(before), epoch_of(after));
            // Two may hold the Lease for a while, of whom one knows less, and mirrors it.
            self.check(self.is_restored || !self.is_alone || after >= before, "I3", || {
                format!("{name} mirrors {after:?} after {before:?}, since version {version}")
            });
        }
        if *resource == Resource::Slices
            && let Some(slice) = commit.after.as_deref()
        {
            self.published(commit, slice);
            self.emptied(commit, slice, store);
        }
        if let (Resource::Events, Some(notice)) = (resource, commit.after.as_deref()) {
            let result = self.notices.told(notice);
            self.expect(result);
        }
    }

    fn published(&mut self, commit: &Commit, slice: &Value) {
        let Commit { name, version, writer, .. } = commit;
        let place = || format!("{name} in version {version}, by {writer:?}");
        let ready = endpoints(slice).filter(|endpoint| endpoint["conditions"]["ready"] != false).count();
        self.check(ready <= 1, "I1", || format!("{ready} endpoints are ready of {}", place()));
        let annotations = &slice["metadata"]["annotations"];
        let recorded = annotations[LEADER_UID].as_str();
        for endpoint in endpoints(slice) {
            let uid = endpoint["targetRef"]["uid"].as_str().unwrap_or_default();
            let address = endpoint["addresses"][0].as_str().unwrap_or_default();
            let reached = (uid.to_owned(), address.to_owned());
            let is_terminating = endpoint["conditions"]["terminating"] == true;
            let known = if is_terminating { &self.ever_had } else { &self.ever_fit };
            let was_so = known.contains(&reached);
            self.check(was_so, "I2", || {
                format!("{reached:?} never was fit, yet is published in {}", place())
            });
            self.check(recorded == Some(uid), "I3", || {
                format!("{recorded:?} is recorded for {uid} in {}", place())
            });
        }
        let Some(epoch) = epoch_of(slice) else { return };
        if let Some(authority) = name.strip_suffix("-ipv6") {
            let told = is_empty(slice) || self.led.contains(&term(authority, slice));
            self.check(told, "I12", || {
                format!("{recorded:?} does not lead in epoch {epoch}, yet in {}", place())
            });
            return;
        }
        if let Err(what) = self.terms.entry(name.clone()).or_default().published(epoch, recorded) {
            // Versions come again after a restore: who knew one of them from before it writes over a state that it never
            // saw, and may take back its epoch. That is the exception that the design makes.
            self.check(self.is_restored, "I3", || format!("{what} in {}", place()));
        }
    }

    /// Nobody is left in a slice while somebody could be. Where trouble makes a view old, emptying may have been right.
    fn emptied(&mut self, commit: &Commit, slice: &Value, store: &Store) {
        let was_empty = commit.before.as_deref().is_none_or(is_empty);
        let name = commit.name.trim_end_matches("-leader");
        let source = store.get(Resource::Services, SHOP, name);
        let chooses = source.is_some_and(|source| is_enabled(source) && !is_paused(source));
        // The watch that tells of the loss may be back before the one that tells of the end of a pause.
        let unheard_until = self.resumed_unheard.get(name).copied().unwrap_or_default();
        let is_right = was_empty
            || !is_empty(slice)
            || !chooses
            || now() <= self.calm.max(unheard_until)
            || !self.is_anybody_eligible(store, name);
        self.check(is_right, "I6", || format!("{} was emptied in version {}", commit.name, commit.version));
    }

    /// Takes note of what was made, of who opts in, and of where the newest epoch is to be read.
    fn remember(&mut self, commit: &Commit) {
        let object = commit.after.as_deref().or(commit.before.as_deref()).unwrap_or(&Value::Null);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if commit.resource == Resource::Services && is_source(object) {
            self.notices.source(object);
            let was_paused = commit.before.as_deref().is_some_and(is_paused);
            if was_paused && !is_paused(object) && now() <= self.calm {
                self.resumed_unheard.insert(commit.name.clone(), self.calm + LOOKS_AGAIN);
            }
            if commit.after.as_deref().is_some_and(is_enabled) {
                self.opted_in.entry(uid.clone()).or_insert(commit.version);
            } else {
                self.opted_in.remove(&uid);
            }
        }
        self.made.entry(uid).or_insert(commit.version);
        if let (Resource::Slices, Some(slice)) = (commit.resource, &commit.after) {
            self.led.insert(term(&commit.name, slice));
            // Also by whoever edits it: a term that is taken back to begins anew, with whom the slice records by then.
            let epoch = epoch_of(slice).filter(|_| !commit.name.ends_with("-ipv6"));
            if let Some(epoch) = epoch.filter(|_| commit.before.as_deref().and_then(epoch_of) != epoch) {
                let owner = slice["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
                self.notices.begun(owner, epoch);
            }
        }
        if let Resource::Slices | Resource::Services = commit.resource {
            self.terms.entry(commit.name.clone()).or_default().changed(commit);
        }
    }

    /// How it must be once nothing has happened for long.
    pub(crate) fn settled(&mut self, store: &Store) {
        let sources: Vec<_> =
            store.all(Resource::Services).filter(|source| is_source(source)).cloned().collect();
        for source in sources {
            let name = source["metadata"]["name"].as_str().unwrap_or_default();
            if let Err(what) = settled(store, name, &source) {
                self.violations.push(format!("I7: {name} has not settled: {what}"));
            }
            // What nothing has troubled is told, and not only told once.
            let slice = store.get(Resource::Slices, SHOP, &format!("{name}-leader"));
            let is_led = |slice: &Value| !is_others(slice) && !ready_endpoints(slice).is_empty();
            let term = slice.filter(|slice| self.calm == 0 && is_led(slice));
            if let Some(epoch) = term.and_then(|slice| epoch_of(slice)) {
                let uid = source["metadata"]["uid"].as_str().unwrap_or_default();
                let is_told = self.notices.has_told(uid, &epoch.to_string());
                self.check(is_told, "notices", || format!("nobody tells of {name}'s term {epoch}"));
            }
        }
    }
}

/// What a slice of this authority's says of the term.
fn term(authority: &str, slice: &Value) -> (String, Option<u64>, Option<String>) {
    let leader = slice["metadata"]["annotations"][LEADER_UID].as_str().map(str::to_owned);
    (authority.to_owned(), epoch_of(slice), leader)
}

/// Whether a slice that is deleted carried the name of another installation's Service, which it would feed our pods: it has
/// to go. That Service is read before, and may go while the deletion is on its way.
fn fed_others(deletion: &Commit, store: &Store) -> bool {
    let leader_service = deletion.name.trim_end_matches("-ipv6");
    let lately = store.log.iter().rev().take_while(|earlier| earlier.at + ON_ITS_WAY > deletion.at);
    let of_it =
        lately.filter(|earlier| earlier.resource == Resource::Services && earlier.name == leader_service);
    let mut before = of_it.filter_map(|earlier| earlier.before.as_deref());
    store.get(Resource::Services, SHOP, leader_service).is_some_and(|service| is_others(service))
        || before.any(is_others)
}
