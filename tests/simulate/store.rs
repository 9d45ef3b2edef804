//! What the simulated API server keeps: objects by resource and name, one count of versions for all of them, and every
//! change that was ever committed.
//!
//! It does as the real one does where the controller can tell: optimistic concurrency, preconditions, writes that change
//! nothing and so make no version, what is filled in, and who wrote last.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::time::{Moment, now, rfc3339};

/// The namespace of everything but the Lease.
pub(crate) const SHOP: &str = "shop";

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Pods,
    Services,
    Slices,
    Events,
    Leases,
}

impl Resource {
    /// As paths name it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pods" => Self::Pods,
            "services" => Self::Services,
            "endpointslices" => Self::Slices,
            "events" => Self::Events,
            "leases" => Self::Leases,
            _ => return None,
        })
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Writer {
    /// Whatever is not ours: kubelets, people, other programs.
    #[default]
    World,
    /// A replica of the controller.
    Replica(usize),
    /// A replica of the other installation, which is everybody's but ours.
    Rival(usize),
}

/// One change that happened.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) at: Moment,
    pub(crate) writer: Writer,
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    fn not_found(name: &str) -> Self {
        Self::new(404, "NotFound", format!("{name:?} not found"))
    }

    fn conflict(name: &str) -> Self {
        Self::new(409, "Conflict", format!("{name:?}: the object has been modified"))
    }
}

/// What a watch is fed with.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A change; the watch decides what it means to it.
    Change(Arc<Commit>),
    /// Nothing older than this is still to come.
    Bookmark(u64, Moment),
}

pub(crate) type Place = (Resource, String, String);

/// All of it.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) version: u64,
    pub(crate) objects: BTreeMap<Place, Arc<Value>>,
    pub(crate) log: Vec<Arc<Commit>>,
    /// Watches from before this are refused.
    pub(crate) compacted: u64,
    /// Where in the log the present line of versions begins: a restore begins another.
    line: usize,
    pub(crate) watchers: Vec<(Resource, UnboundedSender<Told>)>,
    uids: u64,
    addresses: u8,
}

impl Store {
    pub(crate) fn get(&self, resource: Resource, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.objects.get(&(resource, namespace.to_owned(), name.to_owned()))
    }

    /// All of one kind, in the order of their names.
    pub(crate) fn all(&self, resource: Resource) -> impl Iterator<Item = &Arc<Value>> {
        let first = (resource, String::new(), String::new());
        self.objects
            .range(first..)
            .take_while(move |((kind, ..), _)| *kind == resource)
            .map(|(_, object)| object)
    }

    /// What was committed after this version, in the present line of versions.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Arc<Commit>> {
        self.log[self.line..].iter().filter(move |commit| commit.version > version)
    }

    /// All objects as they were at this version, which the present line of versions has.
    pub(crate) fn at(&self, version: u64) -> BTreeMap<Place, Arc<Value>> {
        let mut objects = self.objects.clone();
        let later: Vec<_> = self.since(version).collect();
        for commit in later.into_iter().rev() {
            let place = (commit.resource, commit.namespace.clone(), commit.name.clone());
            match &commit.before {
                Some(before) => objects.insert(place, before.clone()),
                None => objects.remove(&place),
            };
        }
        objects
    }

    /// Goes back to how it all was `ago` versions ago, as from a backup: what was committed since is forgotten, its
    /// versions come anew.
    pub(crate) fn restore(&mut self, ago: u64) {
        let oldest = self.log.get(self.line).map_or(self.version, |first| first.version);
        let version = self.version.saturating_sub(ago).max(oldest);
        self.objects = self.at(version);
        (self.version, self.compacted, self.line) = (version, version, self.log.len());
        self.watchers.clear();
    }

    pub(crate) fn create(
        &mut self,
        writer: Writer,
        to: Resource,
        namespace: &str,
        mut object: Value,
    ) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if self.get(to, namespace, &name).is_some() {
            return Err(Refusal::new(409, "AlreadyExists", format!("{name:?} already exists")));
        }
        if !object["metadata"]["resourceVersion"].is_null() {
            return Err(Refusal::new(
                400,
                "BadRequest",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(namespace);
        metadata["uid"] = json!(format!("uid-{}", self.uids));
        metadata["creationTimestamp"] = json!(rfc3339(now()));
        if to == Resource::Services {
            self.fill_in(&mut object["spec"]);
        }
        Ok(self.commit(writer, to, namespace, &name, Some(object)))
    }

    pub(crate) fn replace(
        &mut self,
        writer: Writer,
        of: Resource,
        namespace: &str,
        name: &str,
        mut object: Value,
    ) -> Answer {
        let known = self.get(of, namespace, name).cloned().ok_or_else(|| Refusal::not_found(name))?;
        check(&known, &object["metadata"], name)?;
        for field in ["namespace", "uid", "creationTimestamp", "deletionTimestamp"] {
            carry_over(&known["metadata"], &mut object["metadata"], field);
        }
        Ok(self.commit_if_new(writer, of, namespace, name, &known, object))
    }

    /// A JSON merge patch.
    pub(crate) fn patch(
        &mut self,
        writer: Writer,
        of: Resource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Answer {
        let known = self.get(of, namespace, name).cloned().ok_or_else(|| Refusal::not_found(name))?;
        check(&known, &patch["metadata"], name)?;
        let mut object = (*known).clone();
        merge(&mut object, patch);
        Ok(self.commit_if_new(writer, of, namespace, name, &known, object))
    }

    pub(crate) fn delete(
        &mut self,
        writer: Writer,
        from: Resource,
        namespace: &str,
        name: &str,
        options: &Value,
    ) -> Answer {
        let known = self.get(from, namespace, name).cloned().ok_or_else(|| Refusal::not_found(name))?;
        check(&known, &options["preconditions"], name)?;
        Ok(self.commit(writer, from, namespace, name, None))
    }

    /// Changes an object by the world's hand, whatever its version.
    pub(crate) fn edit(&mut self, of: Resource, name: &str, change: impl FnOnce(&mut Value)) {
        let Some(known) = self.get(of, SHOP, name).cloned() else { return };
        let mut object = (*known).clone();
        change(&mut object);
        self.commit_if_new(Writer::World, of, SHOP, name, &known, object);
    }

    /// Removes an object by the world's hand.
    pub(crate) fn remove(&mut self, from: Resource, name: &str) {
        // Gone already is as good.
        let _ = self.delete(Writer::World, from, SHOP, name, &Value::Null);
    }

    fn commit_if_new(
        &mut self,
        writer: Writer,
        of: Resource,
        namespace: &str,
        name: &str,
        known: &Arc<Value>,
        mut object: Value,
    ) -> Arc<Value> {
        for field in ["resourceVersion", "managedFields"] {
            carry_over(&known["metadata"], &mut object["metadata"], field);
        }
        if object == **known { known.clone() } else { self.commit(writer, of, namespace, name, Some(object)) }
    }

    fn commit(
        &mut self,
        writer: Writer,
        resource: Resource,
        namespace: &str,
        name: &str,
        object: Option<Value>,
    ) -> Arc<Value> {
        self.version += 1;
        let place = (resource, namespace.to_owned(), name.to_owned());
        let after = object.map(|mut object| {
            let metadata = &mut object["metadata"];
            metadata["resourceVersion"] = json!(self.version.to_string());
            let manager = if writer == Writer::World { "somebody" } else { "zen-lead-controller" };
            metadata["managedFields"] = json!([{ "manager": manager, "time": rfc3339(now()) }]);
            Arc::new(object)
        });
        let before = match &after {
            Some(after) => self.objects.insert(place, after.clone()),
            None => self.objects.remove(&place),
        };
        // The last state of what is gone carries the version of its end.
        let left =
            after.clone().or_else(|| before.as_deref().map(|last| Arc::new(versioned(last, self.version))));
        let commit = Arc::new(Commit {
            version: self.version,
            at: now(),
            writer,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            before,
            after,
        });
        self.log.push(commit.clone());
        self.watchers.retain(|(watched, watcher)| {
            if *watched == resource {
                watcher.send(Told::Change(commit.clone())).is_ok()
            } else {
                !watcher.is_closed()
            }
        });
        left.unwrap_or_default()
    }

    /// What a Service gets that does not say otherwise.
    fn fill_in(&mut self, spec: &mut Value) {
        self.addresses += 1;
        let is_dual = spec["ipFamilies"].as_array().is_some_and(|families| families.len() > 1);
        let addresses = [format!("172.16.0.{}", self.addresses), format!("fd01::{:x}", self.addresses)];
        let addresses = &addresses[..if is_dual { 2 } else { 1 }];
        let defaults = json!({
            "type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": if is_dual { "RequireDualStack" } else { "SingleStack" }, "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        });
        let Value::Object(defaults) = defaults else { return };
        for (field, value) in defaults {
            if spec[&field].is_null() {
                spec[&field] = value;
            }
        }
    }
}

/// What the store answers.
pub(crate) type Answer = Result<Arc<Value>, Refusal>;

/// The same object at another version.
pub(crate) fn versioned(object: &Value, version: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

/// Whether a write may happen that is for this version and UID; what it does not say is no condition.
fn check(known: &Value, asked: &Value, name: &str) -> Result<(), Refusal> {
    let differs = |field: &str| !asked[field].is_null() && asked[field] != known["metadata"][field];
    if differs("uid") || differs("resourceVersion") { Err(Refusal::conflict(name)) } else { Ok(()) }
}

fn carry_over(from: &Value, to: &mut Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => {
            to.as_object_mut().map(|to| to.remove(field));
        }
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (field, value) in patch {
        if value.is_null() {
            object.as_object_mut().map(|object| object.remove(field));
        } else {
            merge(&mut object[field], value);
        }
    }
}
