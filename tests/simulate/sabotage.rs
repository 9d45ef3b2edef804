//! Mistakes that the controller could have made, made for it on the way to the API server: each has to be found out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::ValueEnum;
use http::Method;
use serde_json::{Value, json};

use crate::objects::is_empty;
use crate::server::Ask;
use crate::store::{Answer, Resource, Store, Writer, versioned};
use crate::time::{Moment, now};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// Replaces a slice whatever its version.
    WriteBlindly,
    /// Writes once more after a conflict, now on the newer version.
    RepeatAfterConflict,
    /// Takes a conflict for success.
    TakeConflictForDone,
    /// Writes a slice before the last write of it is answered, so that the older one arrives last.
    DoNotWait,
    /// Deletes whatever has the name.
    DeleteBlindly,
    /// Does not count terms.
    KeepEpoch,
    /// Keeps the endpoint from before beside the new one.
    KeepOldEndpoint,
    /// Does not tell the leader Service who leads.
    SkipMirrors,
    /// Takes every pod for Ready.
    BelieveReady,
    /// Takes over whoever is published, Ready or not, when it lists.
    AdoptUnready,
    /// Lets pods lead that are never to.
    LeadExcluded,
    /// Tells pods apart by their names, not by their UIDs.
    KnowByName,
    /// Keeps pods that have left their Service.
    KeepMembers,
    /// Does not notice that pods are deleted.
    MissDeletions,
    /// Does not notice that pods terminate.
    MissTermination,
    /// Takes the end of a list for nothing: what vanished while no watch told stays.
    KeepWhatVanished,
    /// Watches from now on instead of from where it knows.
    ResumeNow,
    /// Does not notice what becomes of slices.
    MissSlices,
    /// Does not notice that leader Services are deleted.
    MissServices,
    /// Takes the old leader out of a slice before it puts the new one in.
    BreakBeforeMake,
    /// Sends no more slices once its connection was lost.
    LingerAfterOutage,
    /// Writes the second family's slice although the first's was refused.
    SecondRegardless,
}

impl Sabotage {
    /// What has to find it out, where that is the only thing known to break it: nothing else shows that it can.
    #[cfg(test)]
    pub(crate) fn breaks(self) -> Option<&'static str> {
        match self {
            Self::BreakBeforeMake => Some("I6"),
            Self::SecondRegardless => Some("I12"),
            _ => None,
        }
    }
}

/// Two writes within this many milliseconds may be under way at the same time.
const TOGETHER: Moment = 1_000;

/// For so many milliseconds it sends nothing of what it is to write, which is given up before.
const LINGERING: Moment = 2_000;

const EPOCH: &str = "zen-lead.io/epoch";
const LEADER_UID: &str = "zen-lead.io/leader-pod-uid";
const NEVER_LEAD: &str = "zen-lead.io/never-lead";

/// A replica in one of its lives.
pub(crate) type Life = (usize, u64);

/// Makes the mistake for whoever asks.
pub(crate) struct Saboteur {
    mistake: Sabotage,
    /// The last write of a slice.
    written: BTreeMap<(Life, String), (Moment, Ask)>,
    /// The pods that were told of, by their names.
    known: BTreeMap<(Life, String), Value>,
    /// Whose connections were lost.
    lost: BTreeSet<Life>,
}

impl Saboteur {
    pub(crate) fn new(mistake: Sabotage) -> Self {
        Self { mistake, written: BTreeMap::new(), known: BTreeMap::new(), lost: BTreeSet::new() }
    }

    /// A connection is lost.
    pub(crate) fn lost(&mut self, life: Life) {
        self.lost.insert(life);
    }

    /// How many milliseconds the mistaken controller lets pass before it sends this.
    pub(crate) fn lingers(&self, life: Life, ask: &Ask) -> Moment {
        let is_slow = self.mistake == Sabotage::LingerAfterOutage && self.lost.contains(&life);
        if is_slow && ask.is_write() && ask.resource == Resource::Slices { LINGERING } else { 0 }
    }

    /// The request as the mistaken controller would have made it.
    pub(crate) fn request(&self, ask: &Ask, store: &Store) -> Ask {
        let mut ask = ask.clone();
        let is_put = is_put_of_slice(&ask);
        match self.mistake {
            Sabotage::WriteBlindly if is_put => forget_version(&mut ask.body),
            Sabotage::DeleteBlindly if ask.method == Method::DELETE => ask.body = Value::Null,
            Sabotage::SkipMirrors if ask.method == Method::PATCH && ask.resource == Resource::Services => {
                ask.method = Method::GET;
            }
            Sabotage::ResumeNow if ask.is_watch() => {
                let version = ask.query.iter_mut().find(|(key, _)| key == "resourceVersion");
                if let Some((_, version)) = version {
                    *version = store.version.to_string();
                }
            }
            Sabotage::KeepEpoch if is_put => {
                if let Some(known) =
                    known(&ask, store).map(|known| known["metadata"]["annotations"][EPOCH].clone())
                    && known.is_string()
                {
                    ask.body["metadata"]["annotations"][EPOCH] = known;
                }
            }
            Sabotage::KeepOldEndpoint if is_put => {
                let old = known(&ask, store).and_then(|known| known["endpoints"].as_array().cloned());
                let new = ask.body["endpoints"].as_array().cloned().unwrap_or_default();
                let added = old.unwrap_or_default().into_iter().filter(|old| !new.contains(old));
                ask.body["endpoints"] = json!(new.iter().cloned().chain(added).collect::<Vec<_>>());
            }
            _ => {}
        }
        ask
    }

    /// The answer as the mistaken controller takes it.
    pub(crate) fn result(&mut self, life: Life, ask: &Ask, result: Answer, store: &mut Store) -> Answer {
        let is_put = is_put_of_slice(ask);
        match (self.mistake, result) {
            (Sabotage::RepeatAfterConflict, Err(refusal)) if refusal.code == 409 && is_put => {
                blindly(ask, store, life)
            }
            (Sabotage::TakeConflictForDone, Err(refusal)) if refusal.code == 409 && is_put => {
                Ok(Arc::new(versioned(&ask.body, store.version)))
            }
            (Sabotage::DoNotWait, result) if is_put => {
                let slice = (life, ask.name.clone().unwrap_or_default());
                let last = self.written.insert(slice, (now(), ask.clone()));
                if let Some((_, last)) = last.filter(|(at, _)| at + TOGETHER >= now()) {
                    // Nobody waits for it.
                    let _ = blindly(&last, store, life);
                }
                result
            }
            (Sabotage::BreakBeforeMake, Ok(_)) if is_put && !is_empty(&ask.body) => {
                let mut broken = ask.clone();
                broken.body["endpoints"] = json!([]);
                // It is made as it was asked for right after.
                let _ = blindly(&broken, store, life);
                blindly(ask, store, life)
            }
            (Sabotage::SecondRegardless, Err(refusal)) if refusal.code == 409 && is_put => {
                if let Some(second) = second(ask, store) {
                    // Nobody looks at its answer.
                    let _ = blindly(&second, store, life);
                }
                Err(refusal)
            }
            (_, Ok(answer)) if ask.resource == Resource::Pods => Ok(self.pods(life, answer, store)),
            (_, result) => result,
        }
    }

    /// A list of pods as the mistaken controller takes it.
    fn pods(&mut self, life: Life, answer: Arc<Value>, store: &Store) -> Arc<Value> {
        let mut answer = Arc::unwrap_or_clone(answer);
        let Some(pods) = answer["items"].as_array_mut() else { return Arc::new(answer) };
        for pod in pods.iter_mut() {
            if self.mistake == Sabotage::BelieveReady
                || self.mistake == Sabotage::AdoptUnready && is_published(pod, store)
            {
                pod["status"]["conditions"][0]["status"] = json!("True");
            }
            self.misread(pod, store);
        }
        if self.mistake == Sabotage::KeepWhatVanished {
            for pod in &*pods {
                self.known.insert((life, name(pod)), pod.clone());
            }
            let of_this_life = |((whose, _), _): &(&(Life, String), &Value)| *whose == life;
            *pods = self.known.iter().filter(of_this_life).map(|(_, pod)| pod.clone()).collect();
        }
        Arc::new(answer)
    }

    /// A line of a watch as the mistaken controller takes it; none: not at all.
    pub(crate) fn line(
        &mut self,
        life: Life,
        ask: &Ask,
        kind: &str,
        mut object: Value,
        store: &Store,
    ) -> Option<Value> {
        let is_pod = ask.resource == Resource::Pods && kind != "BOOKMARK";
        let is_missed = match self.mistake {
            Sabotage::MissDeletions => is_pod && kind == "DELETED",
            Sabotage::MissTermination => {
                is_pod && kind == "MODIFIED" && !object["metadata"]["deletionTimestamp"].is_null()
            }
            Sabotage::BelieveReady => is_pod && kind == "MODIFIED" && !is_ready(&object),
            Sabotage::KeepMembers => is_pod && object["metadata"]["labels"]["app"] == "nothing",
            Sabotage::MissSlices => ask.resource == Resource::Slices && kind != "BOOKMARK",
            Sabotage::MissServices => ask.resource == Resource::Services && kind == "DELETED",
            _ => false,
        };
        if is_missed {
            return None;
        }
        if is_pod {
            self.misread(&mut object, store);
            if self.mistake == Sabotage::KeepWhatVanished {
                let place = (life, name(&object));
                if kind == "DELETED" {
                    self.known.remove(&place);
                } else {
                    self.known.insert(place, object.clone());
                }
            }
        }
        Some(object)
    }

    /// What the mistaken controller sees in a pod wherever it is told of it.
    fn misread(&self, pod: &mut Value, store: &Store) {
        match self.mistake {
            Sabotage::LeadExcluded if !pod["metadata"]["annotations"].is_null() => {
                pod["metadata"]["annotations"][NEVER_LEAD] = json!("false");
            }
            Sabotage::KnowByName => {
                let name = &pod["metadata"]["name"];
                let first = store
                    .log
                    .iter()
                    .find(|commit| commit.resource == Resource::Pods && *name == *commit.name);
                if let Some(first) = first.and_then(|commit| commit.after.as_deref()) {
                    pod["metadata"]["uid"] = first["metadata"]["uid"].clone();
                }
            }
            _ => {}
        }
    }
}

fn is_put_of_slice(ask: &Ask) -> bool {
    ask.method == Method::PUT && ask.resource == Resource::Slices
}

fn known<'a>(ask: &Ask, store: &'a Store) -> Option<&'a Value> {
    store.get(ask.resource, ask.namespace.as_deref()?, ask.name.as_deref()?).map(|known| &**known)
}

/// The write of the second family's slice that goes with this one of the first's, if there is that and somebody leads.
fn second(ask: &Ask, store: &Store) -> Option<Ask> {
    let mut ask = ask.clone();
    ask.name = Some(format!("{}-ipv6", ask.name?));
    let mut slice = known(&ask, store)?.clone();
    let told = &ask.body["metadata"]["annotations"];
    let leader = told[LEADER_UID].as_str()?;
    let pod = store.all(Resource::Pods).find(|pod| pod["metadata"]["uid"] == leader)?;
    let mut endpoint = ask.body["endpoints"][0].clone();
    endpoint["addresses"] = json!([pod["status"]["podIPs"][1]["ip"]]);
    slice["endpoints"] = json!([endpoint]);
    for annotation in [LEADER_UID, EPOCH] {
        slice["metadata"]["annotations"][annotation] = told[annotation].clone();
    }
    ask.body = slice;
    Some(ask)
}

fn blindly(ask: &Ask, store: &mut Store, (replica, _): Life) -> Answer {
    let mut ask = ask.clone();
    forget_version(&mut ask.body);
    ask.perform(store, Writer::Replica(replica))
}

fn forget_version(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("uid");
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

fn is_published(pod: &Value, store: &Store) -> bool {
    let names = |slice: &&Arc<Value>| slice["endpoints"][0]["targetRef"]["uid"] == pod["metadata"]["uid"];
    store.all(Resource::Slices).any(|slice| names(&slice))
}
