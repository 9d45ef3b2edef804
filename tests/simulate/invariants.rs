//! What must always hold, checked against everything that was ever committed, and how it must all end.
//!
//! The names are those of the design: I1 one endpoint, I2 it was fit, I3 epochs, I4 no write without the version it was
//! decided on, I5 nobody unfit stays while somebody can follow, I7 and I8 it settles and is then silent, I13 nobody else's objects.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::Value;

use crate::server::Ask;
use crate::store::{Commit, Resource, SHOP, Store, Writer};
use crate::terms::{EPOCH, Terms, epoch_of};
use crate::time::{Moment, now};

const LEADER_UID: &str = "zen-lead.io/leader-pod-uid";

/// Whoever has been fit for so long is eligible, whatever the settings.
const ELIGIBLE_AFTER: Moment = 3_000;

/// With everything in order, nobody unfit leads for longer while somebody is eligible: the longest delay that settings
/// ask for, what a replica holds back, and a write that is repeated.
const UNFIT_AT_MOST: Moment = 4_000;

/// A pod and its address.
type Reached = (String, String);

/// Looks at everything that is asked and committed.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) violations: Vec<String>,
    /// Commits looked at.
    seen: usize,
    terms: BTreeMap<String, Terms>,
    ever_fit: BTreeSet<Reached>,
    ever_had: BTreeSet<Reached>,
    /// Since when each pod has been fit, by its UID.
    fit_since: BTreeMap<String, Moment>,
    /// Since when each Service has had an unfit leader although somebody was eligible.
    unfit_since: BTreeMap<String, Moment>,
    /// When each object was made, by its UID.
    made: BTreeMap<String, u64>,
    /// Since when each Service that there is has opted in, by its UID.
    opted_in: BTreeMap<String, u64>,
}

impl Judge {
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
                self.pod(&commit);
            }
            if let Writer::Replica(_) = commit.writer {
                self.written(&commit);
            }
            self.remember(&commit);
        }
    }

    /// Looks at how it is now. Everything has been in order since `calm`.
    pub(crate) fn look(&mut self, store: &Store, calm: Moment) {
        for service in store.all(Resource::Services).filter(|service| is_source(service)) {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            if !self.is_unfit(store, name) {
                self.unfit_since.remove(name);
                continue;
            }
            let since = (*self.unfit_since.entry(name.to_owned()).or_insert_with(now)).max(calm);
            let is_brief = now() <= since + UNFIT_AT_MOST;
            self.check(is_brief, "I5", || {
                format!("{name} has had an unfit leader since {since} ms, at {} ms", now())
            });
        }
    }

    /// Whether the leader is unfit although somebody is eligible.
    fn is_unfit(&self, store: &Store, name: &str) -> bool {
        let Some(slice) = store.get(Resource::Slices, SHOP, &format!("{name}-leader")) else { return false };
        let is_eligible =
            |uid: &str| self.fit_since.get(uid).is_some_and(|since| since + ELIGIBLE_AFTER <= now());
        let mut members = store.all(Resource::Pods).filter(|pod| pod["metadata"]["labels"]["app"] == name);
        !ready_endpoints(slice).is_subset(&fit_members(store, name))
            && members.any(|pod| pod["metadata"]["uid"].as_str().is_some_and(is_eligible) && is_fit(pod))
    }

    fn pod(&mut self, commit: &Commit) {
        let object = commit.after.as_deref().or(commit.before.as_deref()).unwrap_or(&Value::Null);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if commit.after.as_deref().is_some_and(is_fit) {
            self.fit_since.entry(uid).or_insert(commit.at);
        } else {
            self.fit_since.remove(&uid);
        }
        let Some(pod) = commit.after.as_deref() else { return };
        if let Some(reached) = reached(pod) {
            if is_fit(pod) {
                self.ever_fit.insert(reached.clone());
            }
            self.ever_had.insert(reached);
        }
    }

    /// What a replica has changed.
    fn written(&mut self, commit: &Commit) {
        let Commit { resource, name, version, .. } = commit;
        let is_made_by_us = match resource {
            Resource::Services | Resource::Slices => name.ends_with("-leader"),
            Resource::Events | Resource::Leases => true,
            Resource::Pods => false,
        };
        self.check(is_made_by_us, "I13", || format!("{resource:?} {name} was changed, in version {version}"));
        if let (None, Some(deleted)) = (&commit.after, commit.before.as_deref()) {
            let made = self.made.get(deleted["metadata"]["uid"].as_str().unwrap_or_default());
            let owner = deleted["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
            let opted_in = self.opted_in.get(owner);
            let is_alive = made.zip(opted_in).is_some_and(|(made, opted_in)| made > opted_in);
            self.check(!is_alive, "I4", || {
                format!("{resource:?} {name}, made for {owner} as it is, was deleted in version {version}")
            });
        }
        if let (Resource::Services, Some(before), Some(after)) = (resource, &commit.before, &commit.after) {
            let (before, after) = (epoch_of(before), epoch_of(after));
            self.check(after >= before, "I3", || {
                format!("{name} mirrors {after:?} after {before:?}, since version {version}")
            });
        }
        if *resource == Resource::Slices
            && let Some(slice) = commit.after.as_deref()
        {
            self.published(commit, slice);
        }
    }

    fn published(&mut self, commit: &Commit, slice: &Value) {
        let Commit { name, version, writer, .. } = commit;
        let place = || format!("{name} in version {version}, by {writer:?}");
        let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = endpoints.iter().filter(|endpoint| endpoint["conditions"]["ready"] != false).count();
        self.check(ready <= 1, "I1", || format!("{ready} endpoints are ready of {}", place()));
        let annotations = &slice["metadata"]["annotations"];
        let recorded = annotations[LEADER_UID].as_str();
        for endpoint in endpoints {
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
        if let Err(what) = self.terms.entry(name.clone()).or_default().published(epoch, recorded) {
            self.check(false, "I3", || format!("{what} in {}", place()));
        }
    }

    /// Takes note of what was made, of who opts in, and of where the newest epoch is to be read.
    fn remember(&mut self, commit: &Commit) {
        let object = commit.after.as_deref().or(commit.before.as_deref()).unwrap_or(&Value::Null);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if commit.resource == Resource::Services && is_source(object) {
            let is_in = |object: &Value| object["metadata"]["annotations"]["zen-lead.io/enabled"] == "true";
            if commit.after.as_deref().is_some_and(is_in) {
                self.opted_in.entry(uid.clone()).or_insert(commit.version);
            } else {
                self.opted_in.remove(&uid);
            }
        }
        self.made.entry(uid).or_insert(commit.version);
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
        }
    }
}

fn settled(store: &Store, name: &str, source: &Value) -> Result<(), String> {
    let leader_name = format!("{name}-leader");
    let service = store.get(Resource::Services, SHOP, &leader_name);
    let slice = store.get(Resource::Slices, SHOP, &leader_name);
    if source["metadata"]["annotations"]["zen-lead.io/enabled"] != "true" {
        return if service.is_none() && slice.is_none() {
            Ok(())
        } else {
            Err("its objects were not removed".into())
        };
    }
    let (Some(service), Some(slice)) = (service, slice) else {
        return Err("there is no slice or Service".into());
    };
    let (fit, ready) = (fit_members(store, name), ready_endpoints(slice));
    if ready.len() != fit.len().min(1) || !ready.is_subset(&fit) {
        return Err(format!("fit are {fit:?}, ready are {ready:?}"));
    }
    let (told, mirrored) = (&slice["metadata"]["annotations"], &service["metadata"]["annotations"]);
    for annotation in [EPOCH, LEADER_UID] {
        // An empty slice made anew has no term to tell of; the mirror remembers the last one.
        let tells = annotation != EPOCH || !told[EPOCH].is_null();
        if tells && told[annotation] != mirrored[annotation] {
            return Err(format!(
                "{annotation} is {}, mirrored as {}",
                told[annotation], mirrored[annotation]
            ));
        }
    }
    Ok(())
}

fn fit_members(store: &Store, name: &str) -> BTreeSet<Reached> {
    let members = store.all(Resource::Pods).filter(|pod| pod["metadata"]["labels"]["app"] == name);
    members.filter(|pod| is_fit(pod)).filter_map(|pod| reached(pod)).collect()
}

fn ready_endpoints(slice: &Value) -> BTreeSet<Reached> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = endpoints.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.map(|endpoint| (text(&endpoint["targetRef"]["uid"]), text(&endpoint["addresses"][0]))).collect()
}

fn is_source(service: &Value) -> bool {
    service["metadata"]["name"].as_str().is_some_and(|name| !name.ends_with("-leader"))
}

/// Whether a pod may lead, as far as it is the pod's own doing.
fn is_fit(pod: &Value) -> bool {
    let is_excluded = pod["metadata"]["annotations"]["zen-lead.io/never-lead"] == "true";
    let is_ready = pod["status"]["conditions"][0]["status"] == "True";
    is_ready && !is_excluded && pod["metadata"]["deletionTimestamp"].is_null()
}

fn reached(pod: &Value) -> Option<Reached> {
    Some((pod["metadata"]["uid"].as_str()?.to_owned(), pod["status"]["podIP"].as_str()?.to_owned()))
}
