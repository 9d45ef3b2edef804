//! An API server that only remembers: lists, watches, conditional writes, and versions that grow.
//!
//! It speaks plain HTTP/1.1, forgets Events, checks nobody's rights and knows a single namespace. What it answers is as
//! large as what it was sent: a failover costs it some tens of microseconds, and etcd is not in the way.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::store::{Kind, State, line, merge, now, text, version, with_address};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What was written since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Slices with an endpoint.
    pub published: usize,
    /// Changes of Services.
    pub mirrored: usize,
    /// Events.
    pub told: usize,
    /// When the last slice with an endpoint was stored, and the answer ready.
    pub published_at: Option<Instant>,
    /// When a watch was last sent a slice.
    pub shown_at: Option<Instant>,
}

/// A running server. Dropping it closes its port.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    store: Store,
    written: watch::Receiver<Written>,
    serving: JoinHandle<()>,
}

impl ApiServer {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (counts, written) = watch::channel(Written::default());
        let store = Store { state: Arc::default(), written: Arc::new(counts) };
        let serving = tokio::spawn(serve(listener, store.clone()));
        Ok(Self { address, store, written, serving })
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> String {
        let server = format!("http://{}", self.address);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": { "server": server } }],
            "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
            "users": [{ "name": "it", "user": {} }],
        })
        .to_string()
    }

    /// Puts an object there, new or changed, and tells the watches.
    pub fn put(&self, kind: Kind, object: Value) {
        self.store.lock().put(kind, object);
    }

    /// The object of this name, or null.
    pub fn get(&self, kind: Kind, name: &str) -> Value {
        self.store.lock().objects.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        *self.written.borrow()
    }

    /// Waits until so much was written.
    pub async fn until(&self, within: Duration, is_enough: impl Fn(Written) -> bool) -> Result<()> {
        let mut written = self.written.clone();
        let enough = tokio::time::timeout(within, written.wait_for(|written| is_enough(*written))).await;
        let enough = enough.with_context(|| format!("no more after {within:?} than {:?}", self.written()))?;
        enough.map(drop).context("the server ended")
    }

    /// Waits until nothing has been written for a second.
    pub async fn until_quiet(&self) {
        let mut before = self.written();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let after = self.written();
            if after == before {
                return;
            }
            before = after;
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, store: Store) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Answers are small and each is waited for.
        let _ = stream.set_nodelay(true);
        let store = store.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let store = store.clone();
                async move { Ok::<_, Infallible>(store.answer(request).await) }
            });
            // A client that goes away is no error.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[derive(Debug, Clone)]
struct Store {
    state: Arc<Mutex<State>>,
    written: Arc<watch::Sender<Written>>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if head.uri.path() == "/version" {
            return whole(StatusCode::OK, &json!({ "major": "1", "minor": "35" }));
        }
        let Some((kind, name)) = target(head.uri.path()) else { return refusal(StatusCode::NOT_FOUND) };
        let sent = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
        match (head.method, name) {
            (Method::GET, None) if query(&head.uri, "watch").is_some() => self.watch(kind, &head.uri),
            (Method::GET, None) => self.list(kind, &head.uri),
            (Method::GET, Some(name)) => match self.lock().objects.get(&(kind, name.to_owned())) {
                Some(object) => whole(StatusCode::OK, object),
                None => refusal(StatusCode::NOT_FOUND),
            },
            (Method::POST, None) => self.create(kind, sent()),
            (Method::PUT, Some(name)) => self.change(kind, name, sent(), false),
            (Method::PATCH, Some(name)) => self.change(kind, name, sent(), true),
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn list(&self, kind: Kind, uri: &Uri) -> Response<Body> {
        let selector = query(uri, "labelSelector").map(|selector| selector.replace("%3D", "="));
        let state = self.lock();
        let is_wanted = |object: &&Value| {
            let wanted = selector.as_deref().and_then(|selector| selector.split_once('='));
            wanted.is_none_or(|(label, value)| {
                text(&object["metadata"]["labels"][label.replace("%2F", "/")]) == value
            })
        };
        let items: Vec<&Value> = state.all(kind).filter(is_wanted).collect();
        let metadata = json!({ "resourceVersion": state.version.to_string() });
        whole(StatusCode::OK, &json!({ "kind": "List", "metadata": metadata, "items": items }))
    }

    /// Selectors are not looked at: the only slices are the controller's.
    fn watch(&self, kind: Kind, uri: &Uri) -> Response<Body> {
        let from = query(uri, "resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let (sender, lines) = mpsc::unbounded_channel();
        let mut state = self.lock();
        let mut missed: Vec<&Value> = state.all(kind).filter(|object| version(object) > from).collect();
        missed.sort_by_key(|object| version(object));
        for object in missed {
            // The receiver is in scope.
            let _ = sender.send(line("MODIFIED", object));
        }
        state.watches.push((kind, sender));
        let written = self.written.clone();
        let frames = UnboundedReceiverStream::new(lines).map(move |line| {
            written.send_if_modified(|written| {
                if kind == Kind::Slices {
                    written.shown_at = Some(Instant::now());
                }
                false
            });
            Ok(Frame::data(line))
        });
        response(StatusCode::OK, StreamBody::new(frames).boxed_unsync())
    }

    fn create(&self, kind: Kind, mut object: Value) -> Response<Body> {
        if kind == Kind::Events {
            self.written.send_modify(|written| written.told += 1);
            return whole(StatusCode::CREATED, &object);
        }
        let mut state = self.lock();
        let name = text(&object["metadata"]["name"]).to_owned();
        if state.objects.contains_key(&(kind, name.clone())) {
            return refused(StatusCode::CONFLICT, "AlreadyExists");
        }
        object["metadata"]["uid"] = format!("{name}-{}", state.version).into();
        object["metadata"]["creationTimestamp"] = now().into();
        if kind == Kind::Services {
            with_address(&mut object["spec"], state.version);
        }
        let object = state.put(kind, object);
        drop(state);
        self.count(kind, &object);
        whole(StatusCode::CREATED, &object)
    }

    fn change(&self, kind: Kind, name: &str, sent: Value, merges: bool) -> Response<Body> {
        let mut state = self.lock();
        let Some(stored) = state.objects.get(&(kind, name.to_owned())) else {
            return refusal(StatusCode::NOT_FOUND);
        };
        if sent["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
            return refusal(StatusCode::CONFLICT);
        }
        let object = if merges { merge(stored.clone(), sent) } else { sent };
        let object = state.put(kind, object);
        drop(state);
        self.count(kind, &object);
        whole(StatusCode::OK, &object)
    }

    fn count(&self, kind: Kind, object: &Value) {
        self.written.send_modify(|written| match kind {
            Kind::Slices => {
                let is_empty = object["endpoints"].as_array().is_none_or(Vec::is_empty);
                if !is_empty {
                    written.published += 1;
                    written.published_at = Some(Instant::now());
                }
            }
            Kind::Services => written.mirrored += 1,
            Kind::Pods | Kind::Events => {}
        });
    }
}

/// What a path is about, and the name of one object.
fn target(path: &str) -> Option<(Kind, Option<&str>)> {
    let groups = ["/api/v1/", "/apis/discovery.k8s.io/v1/", "/apis/events.k8s.io/v1/"];
    let rest = groups.into_iter().find_map(|group| path.strip_prefix(group))?;
    let rest = rest.strip_prefix("namespaces/").and_then(|rest| rest.split_once('/')).map_or(rest, |it| it.1);
    let (kind, name) = rest.split_once('/').map_or((rest, None), |(kind, name)| (kind, Some(name)));
    let kind = match kind {
        "pods" => Kind::Pods,
        "services" => Kind::Services,
        "endpointslices" => Kind::Slices,
        "events" => Kind::Events,
        _ => return None,
    };
    Some((kind, name))
}

fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn refusal(code: StatusCode) -> Response<Body> {
    refused(code, &code.canonical_reason().unwrap_or_default().replace(' ', ""))
}

fn refused(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    });
    whole(code, &status)
}

fn whole(code: StatusCode, object: &Value) -> Response<Body> {
    response(code, Full::new(Bytes::from(object.to_string())).boxed_unsync())
}

fn response(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
