//! The API server, as far as these tests need one.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::BoxError;

use crate::kinds::fixtures::merge;

/// Takes every write as it is; patches of Services wait until they are let through.
pub(super) struct Server {
    /// The leader Service, and the version of the last write.
    pub(super) stored: Mutex<(Value, u64)>,
    pub(super) patches: Semaphore,
    /// What was sent as slices, and what they became.
    pub(super) slices: Mutex<Vec<(Value, Value)>>,
    /// The reasons of the notices that were sent.
    pub(super) reasons: Mutex<Vec<String>>,
    /// There is no connection.
    pub(super) is_away: AtomicBool,
    pub(super) tries: AtomicUsize,
    pub(super) deletions: AtomicUsize,
    /// An object in a version that no watch has shown: whoever deletes another one of it is refused.
    pub(super) unseen: Mutex<Option<Value>>,
    /// The source Service, if it is to be read.
    pub(super) source: Mutex<Option<Value>>,
}

impl Server {
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Body>,
    ) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        self.tries.fetch_add(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        let body = body.collect().await?.to_bytes();
        let mut object =
            if body.is_empty() { json!({ "items": [] }) } else { serde_json::from_slice(&body)? };
        let is_service = head.uri.path().contains("/services");
        if is_service && head.method == Method::PATCH {
            self.patches.acquire().await?.forget();
        }
        let source = self.source.lock().unwrap().clone();
        if let Some(source) = source
            && head.method == Method::GET
            && head.uri.path().ends_with("/services/orders")
        {
            return Ok(Response::new(Full::from(serde_json::to_vec(&source)?)));
        }
        if head.method == Method::DELETE {
            let unseen = self.unseen.lock().unwrap().clone();
            let version = |object: &Value, of: &str| object[of]["resourceVersion"].clone();
            if unseen.is_some_and(|unseen| version(&unseen, "metadata") != version(&object, "preconditions"))
            {
                return refused(409, "Conflict");
            }
            self.deletions.fetch_add(1, SeqCst);
            return Ok(Response::new(Full::from("{}")));
        }
        let reads_slice = head.method == Method::GET && head.uri.path().contains("/endpointslices/");
        if let Some(unseen) = self.unseen.lock().unwrap().as_ref().filter(|_| reads_slice) {
            return Ok(Response::new(Full::from(serde_json::to_vec(unseen)?)));
        }
        let sent = object.clone();
        self.reasons.lock().unwrap().extend(sent["reason"].as_str().map(str::to_owned));
        let mut stored = self.stored.lock().unwrap();
        if is_service && head.method == Method::GET {
            return Ok(Response::new(Full::from(serde_json::to_vec(&stored.0)?)));
        }
        stored.1 += 1;
        let version =
            json!({ "metadata": { "resourceVersion": stored.1.to_string(), "uid": head.uri.path() } });
        if is_service && head.method == Method::PATCH {
            object["metadata"]["uid"].take();
            let mut patched = stored.0.clone();
            merge(&mut patched, &object);
            object = patched;
        }
        merge(&mut object, &version);
        if is_service {
            object["metadata"]["uid"] = json!("leader-service");
            stored.0 = object.clone();
        } else if sent["addressType"].is_string() {
            self.slices.lock().unwrap().push((sent, object.clone()));
        }
        Ok(Response::new(Full::from(serde_json::to_vec(&object)?)))
    }

    pub(super) fn told(&self) -> Value {
        self.stored.lock().unwrap().0["metadata"]["annotations"]["zen-lead.io/current-leader"].clone()
    }
}

pub(super) fn server(patches: usize) -> Arc<Server> {
    let (stored, patches) = (Mutex::new((json!({}), 1_000)), Semaphore::new(patches));
    let (slices, reasons, is_away, tries, deletions, unseen, source) = Default::default();
    Arc::new(Server { stored, patches, slices, reasons, is_away, tries, deletions, unseen, source })
}

fn refused(code: u16, reason: &str) -> Result<Response<Full<bytes::Bytes>>, BoxError> {
    let status =
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason });
    Ok(Response::builder().status(code).body(Full::from(serde_json::to_vec(&status)?))?)
}
