//! The simulated API server's paths: what each request asks of the store, and how that is answered.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use zen_lead::annotations::{TERM_BY, TRIGGER_TIME};

use crate::store::{Answer, Refusal, Resource, Store, Writer};

/// Objects in a page of a list, whatever more is asked for: few, so that there are several.
const PAGE: usize = 4;

/// What an EndpointSlice says, whoever wrote it, and when, and in whichever version.
fn said(slice: &Value) -> Value {
    let mut annotations = slice["metadata"]["annotations"].clone();
    for of_writer in [TERM_BY, TRIGGER_TIME] {
        annotations[of_writer].take();
    }
    json!([slice["metadata"]["labels"], annotations, slice["endpoints"], slice["ports"]])
}

/// A request as the store understands it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) resource: Resource,
    /// None: all namespaces.
    pub(crate) namespace: Option<String>,
    /// None: all objects.
    pub(crate) name: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Ask {
    /// None for what is no resource of ours, which is `/version`.
    pub(crate) fn parse(head: &Parts, body: &Bytes) -> Option<Self> {
        let path: Vec<_> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let rest = if path.first() == Some(&"api") { path.get(2..)? } else { path.get(3..)? };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let query = head.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let unescape =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        Some(Self {
            method: head.method.clone(),
            resource: Resource::parse(rest.first()?)?,
            namespace,
            name: rest.get(1).map(|name| (*name).to_owned()),
            query: query.map(|(key, value)| (key.to_owned(), unescape(value))).collect(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        })
    }

    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The name of the object that it is about.
    pub(crate) fn object(&self) -> &str {
        self.name.as_deref().or_else(|| self.body["metadata"]["name"].as_str()).unwrap_or_default()
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.parameter("watch").is_some_and(|value| value == "true" || value == "1")
    }

    /// Whether it asks for a further page of a list.
    pub(crate) fn is_continued(&self) -> bool {
        self.parameter("continue").is_some()
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// Whether what it is to bring about is so already: the object that it deletes is gone, by its UID; or there is one
    /// of the name that it creates, for a Service that there is; or another replica has begun the term that it begins.
    pub(crate) fn is_moot(&self, store: &Store) -> bool {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let there = store.get(self.resource, namespace, self.object());
        match self.method {
            Method::DELETE => {
                !there.is_some_and(|known| known["metadata"]["uid"] == self.body["preconditions"]["uid"])
            }
            Method::POST => there.is_some_and(|known| {
                let owner = &known["metadata"]["ownerReferences"][0]["uid"];
                store.all(Resource::Services).any(|service| service["metadata"]["uid"] == *owner)
            }),
            Method::PUT => there.is_some_and(|known| said(known) == said(&self.body)),
            _ => false,
        }
    }

    /// Whether it asks for objects with these labels.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let Some(selector) = self.parameter("labelSelector") else { return true };
        let labels = &object["metadata"]["labels"];
        let is =
            |pair: &str| pair.split_once('=').is_some_and(|(key, value)| labels[key].as_str() == Some(value));
        selector.split(',').all(is)
    }

    /// Whether it asks for objects of this namespace.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|asked| asked == namespace)
    }

    /// Does what is asked, watches excepted.
    pub(crate) fn perform(&self, store: &mut Store, writer: Writer) -> Answer {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let Some(name) = self.name.as_deref() else {
            return match self.method {
                Method::POST => store.create(writer, self.resource, namespace, self.body.clone()),
                _ => self.list(store),
            };
        };
        match self.method {
            Method::PUT => store.replace(writer, self.resource, namespace, name, self.body.clone()),
            Method::PATCH => store.patch(writer, self.resource, namespace, name, &self.body),
            Method::DELETE => store.delete(writer, self.resource, namespace, name, &self.body),
            _ => store
                .get(self.resource, namespace, name)
                .cloned()
                .ok_or_else(|| Refusal::new(404, "NotFound", format!("{name:?} not found"))),
        }
    }

    /// A list is a consistent read: all its pages are of the version of the first.
    fn list(&self, store: &Store) -> Answer {
        let (version, after) = match self.parameter("continue").and_then(|token| token.split_once('/')) {
            Some((version, after)) => (version.parse().unwrap_or_default(), after),
            None => (store.version, ""),
        };
        if version < store.compacted || version > store.version {
            return Err(Refusal::new(410, "Expired", "the provided continue parameter is too old"));
        }
        let limit = self
            .parameter("limit")
            .and_then(|limit| limit.parse().ok())
            .map_or(usize::MAX, |limit: usize| limit.min(PAGE));
        let objects = store.at(version);
        let mut asked_for = objects.iter().filter(|((resource, namespace, name), object)| {
            *resource == self.resource
                && self.covers(namespace)
                && self.selects(object)
                && name.as_str() > after
        });
        let page: Vec<_> = asked_for.by_ref().take(limit).collect();
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let Some(((.., last), _)) = page.last().filter(|_| asked_for.next().is_some()) {
            metadata["continue"] = json!(format!("{version}/{last}"));
        }
        let items: Vec<_> = page.iter().map(|(_, object)| object).collect();
        Ok(Arc::new(json!({ "metadata": metadata, "items": items })))
    }
}

/// A refusal as it is written.
pub(crate) fn status(refusal: &Refusal) -> Value {
    let Refusal { code, reason, message } = refusal;
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message })
}

/// An answer in one piece.
pub(crate) fn answer(result: &Answer) -> Response<Bytes> {
    let (code, value) = match result {
        Ok(value) => (200, (**value).clone()),
        Err(refusal) => (refusal.code, status(refusal)),
    };
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    if code == 429 {
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}
