//! A server that answers by a script, and what it can say.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, client::Body, core::ObjectMeta};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tower::{BoxError, service_fn};

use super::LONG;
use crate::client::Lane;
use crate::watch::Change;

/// As slim as the types of the controller.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Spec {
    node: String,
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

pub(super) fn pod_json(name: &str, version: u64) -> serde_json::Value {
    json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": version.to_string()},
           "spec": {"node": "n1", "unused": [1, 2]}})
}

pub(super) fn pod(name: &str, version: u64) -> Pod {
    serde_json::from_value(pod_json(name, version)).unwrap()
}

/// Pods as in a [`page`].
pub(super) fn pods(names: &[&str]) -> Vec<Pod> {
    names.iter().map(|name| pod(name, 1)).collect()
}

pub(super) fn listed(version: u64) -> Change<Pod> {
    Change::Listed { version, restored: false }
}

pub(super) fn page(version: u64, names: &[&str], next: Option<&str>) -> Reply {
    let items: Vec<_> = names.iter().map(|name| pod_json(name, 1)).collect();
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(next) = next {
        metadata["continue"] = next.into();
    }
    Reply::json(&json!({"kind": "PodList", "metadata": metadata, "items": items}))
}

pub(super) fn event(kind: &str, name: &str, version: u64) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{}}}\n", pod_json(name, version))
}

pub(super) fn bookmark(version: u64) -> String {
    let object =
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": version.to_string()}});
    format!("{{\"type\":\"BOOKMARK\",\"object\":{object}}}\n")
}

pub(super) fn expired_line() -> String {
    let status = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
                        "message": "too old resource version: 1 (9)"});
    format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n")
}

pub(super) fn gone() -> Reply {
    Reply::status(410, "the provided continue parameter is too old")
}

/// A watch that says this and ends.
pub(super) fn lines(chunks: Vec<String>) -> Reply {
    Reply::Body { status: 200, retry_after: None, chunks: futures::stream::iter(chunks).boxed() }
}

/// A watch that says this and stays open.
pub(super) fn said_and_open(chunk: String) -> Reply {
    let chunks = futures::stream::iter([chunk]).chain(futures::stream::pending()).boxed();
    Reply::Body { status: 200, retry_after: None, chunks }
}

/// What the server does with a request.
pub(super) enum Reply {
    Body {
        status: u16,
        retry_after: Option<&'static str>,
        chunks: futures::stream::BoxStream<'static, String>,
    },
    /// No connection.
    Fail,
    /// No answer.
    Never,
}

impl Reply {
    pub(super) fn json(value: &serde_json::Value) -> Self {
        lines(vec![value.to_string()])
    }

    pub(super) fn status(code: u16, message: &str) -> Self {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
        let chunks = futures::stream::iter([status.to_string()]).boxed();
        Self::Body { status: code, retry_after: None, chunks }
    }

    pub(super) fn busy(retry_after: &'static str) -> Self {
        let chunks =
            futures::stream::iter(["Too many requests, please try again later.\n".to_owned()]).boxed();
        Self::Body { status: 429, retry_after: Some(retry_after), chunks }
    }

    /// A watch that stays open and silent.
    pub(super) fn hang() -> Self {
        Self::Body { status: 200, retry_after: None, chunks: futures::stream::pending().boxed() }
    }

    /// A watch that says what it is fed, until the feed is dropped.
    pub(super) fn fed() -> (Self, mpsc::Sender<String>) {
        let (feed, chunks) = mpsc::channel(16);
        (Self::Body { status: 200, retry_after: None, chunks: ReceiverStream::new(chunks).boxed() }, feed)
    }
}

/// A server that answers requests in the order of its script, and never after its end.
pub(super) struct FakeServer {
    script: Arc<Mutex<Script>>,
    count: tokio::sync::watch::Receiver<usize>,
}

struct Script {
    replies: VecDeque<Reply>,
    asked: Vec<String>,
    lanes: Vec<Lane>,
    count: tokio::sync::watch::Sender<usize>,
}

type FakeBody = UnsyncBoxBody<Bytes, BoxError>;

impl FakeServer {
    pub(super) fn new(replies: Vec<Reply>) -> (Self, kube::Client) {
        let (sender, count) = tokio::sync::watch::channel(0);
        let script = Script { replies: replies.into(), asked: Vec::new(), lanes: Vec::new(), count: sender };
        let script = Arc::new(Mutex::new(script));
        let shared = script.clone();
        let service = service_fn(move |request: Request<Body>| {
            let reply = shared.lock().unwrap().next(&request);
            async move { answer(reply).await }
        });
        (Self { script, count }, kube::Client::new(service, "shop"))
    }

    /// Waits for so many requests and shows their URIs.
    pub(super) async fn asked(&self, count: usize) -> Vec<String> {
        let mut asked = self.count.clone();
        timeout(LONG, asked.wait_for(|asked| *asked >= count)).await.expect("a request").unwrap();
        self.script.lock().unwrap().asked.clone()
    }

    /// The lanes on which the requests came.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        self.script.lock().unwrap().lanes.clone()
    }
}

impl Script {
    fn next(&mut self, request: &Request<Body>) -> Reply {
        self.asked.push(request.uri().to_string());
        self.lanes.extend(request.extensions().get::<Lane>());
        self.count.send_replace(self.asked.len());
        self.replies.pop_front().unwrap_or(Reply::Never)
    }
}

async fn answer(reply: Reply) -> Result<Response<FakeBody>, BoxError> {
    match reply {
        Reply::Never => std::future::pending().await,
        Reply::Fail => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        Reply::Body { status, retry_after, chunks } => {
            let frames = chunks.map(|chunk| Ok::<_, BoxError>(Frame::data(Bytes::from(chunk))));
            let mut response = Response::new(UnsyncBoxBody::new(StreamBody::new(frames)));
            *response.status_mut() = StatusCode::from_u16(status)?;
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, seconds.parse()?);
            }
            Ok(response)
        }
    }
}
