//! Mistakes that the controller could have made, made for it on the way to the API server: each has to be found out.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::server::Ask;
use crate::store::{Answer, Resource, Store, Writer};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Replaces a slice whatever its version.
    WriteBlindly,
    /// Writes once more after a conflict, now on the newer version.
    RepeatAfterConflict,
    /// Deletes whatever has the name.
    DeleteBlindly,
    /// Does not count terms.
    KeepEpoch,
    /// Takes every pod for Ready.
    BelieveReady,
    /// Does not notice that pods are deleted.
    MissDeletions,
    /// Does not notice what becomes of slices.
    MissSlices,
    /// Keeps the endpoint from before beside the new one.
    KeepOldEndpoint,
}

/// All of them. Not noticing terminations is none: the deletion follows within the time that I5 allows.
pub(crate) const ALL: [Sabotage; 8] = [
    Sabotage::WriteBlindly,
    Sabotage::RepeatAfterConflict,
    Sabotage::DeleteBlindly,
    Sabotage::KeepEpoch,
    Sabotage::BelieveReady,
    Sabotage::MissDeletions,
    Sabotage::MissSlices,
    Sabotage::KeepOldEndpoint,
];

const EPOCH: &str = "zen-lead.io/epoch";

impl Sabotage {
    /// The request as the mistaken controller would have made it.
    pub(crate) fn request(self, ask: &Ask, store: &Store) -> Ask {
        let mut ask = ask.clone();
        let is_put = ask.method == Method::PUT && ask.resource == Resource::Slices;
        match self {
            Self::WriteBlindly if is_put => forget_version(&mut ask.body),
            Self::DeleteBlindly if ask.method == Method::DELETE => ask.body = Value::Null,
            Self::KeepEpoch if is_put => {
                if let Some(known) =
                    known(&ask, store).map(|known| known["metadata"]["annotations"][EPOCH].clone())
                    && known.is_string()
                {
                    ask.body["metadata"]["annotations"][EPOCH] = known;
                }
            }
            Self::KeepOldEndpoint if is_put => {
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
    pub(crate) fn result(self, ask: &Ask, result: Answer, store: &mut Store, replica: usize) -> Answer {
        match (self, result) {
            (Self::RepeatAfterConflict, Err(refusal)) if refusal.code == 409 && ask.method == Method::PUT => {
                let mut again = ask.clone();
                forget_version(&mut again.body);
                again.perform(store, Writer::Replica(replica))
            }
            (Self::BelieveReady, Ok(answer)) if ask.resource == Resource::Pods => {
                Ok(Arc::new(all_ready(&answer)))
            }
            (_, result) => result,
        }
    }

    /// Whether the mistaken controller does not heed this line of a watch.
    pub(crate) fn hides(self, ask: &Ask, kind: &str, object: &Value) -> bool {
        match self {
            Self::MissDeletions => ask.resource == Resource::Pods && kind == "DELETED",
            Self::MissSlices => ask.resource == Resource::Slices && kind != "BOOKMARK",
            Self::BelieveReady => ask.resource == Resource::Pods && kind == "MODIFIED" && !is_ready(object),
            _ => false,
        }
    }
}

fn known<'a>(ask: &Ask, store: &'a Store) -> Option<&'a Value> {
    store.get(ask.resource, ask.namespace.as_deref()?, ask.name.as_deref()?).map(|known| &**known)
}

fn forget_version(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("uid");
    }
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

fn all_ready(answer: &Value) -> Value {
    let mut answer = answer.clone();
    let ready = |pod: &mut Value| pod["status"]["conditions"][0]["status"] = json!("True");
    match answer["items"].as_array_mut() {
        Some(pods) => pods.iter_mut().for_each(ready),
        None => ready(&mut answer),
    }
    answer
}
