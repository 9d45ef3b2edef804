//! What the API server remembers.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pods,
    Services,
    Slices,
    Events,
}

/// All objects, and who watches them.
#[derive(Debug, Default)]
pub struct State {
    pub version: u64,
    pub objects: BTreeMap<(Kind, String), Value>,
    pub watches: Vec<(Kind, mpsc::UnboundedSender<Bytes>)>,
}

impl State {
    /// Stores an object as the next version, and tells the watches.
    pub fn put(&mut self, kind: Kind, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let key = (kind, text(&object["metadata"]["name"]).to_owned());
        let line = line(if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" }, &object);
        self.watches.retain(
            |(watched, lines)| if *watched == kind { lines.send(line.clone()).is_ok() } else { true },
        );
        self.objects.insert(key, object.clone());
        object
    }

    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> + '_ {
        self.objects.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object)
    }
}

/// What the API server adds to a Service.
pub fn with_address(spec: &mut Value, number: u64) {
    let address = Value::from(format!("10.96.{}.{}", number / 250 % 250, number % 250 + 1));
    for (field, value) in [
        ("clusterIP", address.clone()),
        ("clusterIPs", json!([address])),
        ("type", "ClusterIP".into()),
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", "SingleStack".into()),
        ("sessionAffinity", "None".into()),
    ] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
}

/// RFC 7396.
pub fn merge(mut onto: Value, patch: Value) -> Value {
    let Value::Object(fields) = patch else { return patch };
    if !onto.is_object() {
        onto = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            onto.as_object_mut().map(|fields| fields.remove(&name));
        } else {
            onto[&name] = merge(onto[&name].take(), value);
        }
    }
    onto
}

/// Now, to the second, as in objects.
pub fn now() -> String {
    k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A text in an object, empty if it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The version of an object.
pub fn version(object: &Value) -> u64 {
    text(&object["metadata"]["resourceVersion"]).parse().unwrap_or_default()
}

/// A line of a watch. The controller reads the type before the object.
pub fn line(event: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{event}\",\"object\":{object}}}\n").into()
}
