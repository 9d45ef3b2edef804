//! An OTLP/gRPC receiver for quick tests: keeps what it is sent, and can be as bad as collectors get.
//!
//! For one that is not there at all, or whose network is bad, put a [`Forwarder`](crate::Forwarder) before it.

mod decode;

use std::collections::BTreeMap;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Response, Status};

use crate::directory::Directory;
use crate::pki::ServerKeys;
use crate::span::Span;
use crate::trace::Trace;

/// How it treats requests. What it does not accept, it does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Accepts them.
    Accept,
    /// Accepts them and keeps nothing but their number: a long run's spans would fill the memory.
    Discard,
    /// Answers with this error: `Unavailable` asks the sender to try again, `InvalidArgument` not to.
    Refuse(Code),
    /// Accepts them after so long.
    Slow(Duration),
    /// Never answers those that come now, also not when the mode changes later.
    Hang,
}

/// A request, whatever the answer.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// When it came.
    pub at: Instant,
    /// Its headers; those that are no text are left out.
    pub headers: BTreeMap<String, String>,
    /// How many spans it had.
    pub spans: usize,
}

/// A running receiver. Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    received: watch::Receiver<Received>,
    mode: watch::Sender<Mode>,
    tls: Option<Tls>,
    /// Told to end by being dropped.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Span>,
    requests: Vec<ExportRequest>,
}

#[derive(Debug)]
struct Tls {
    ca_file: PathBuf,
    _directory: Directory,
}

impl Collector {
    /// Starts one that speaks plain HTTP/2.
    pub async fn start() -> Result<Self> {
        Self::serve(Server::builder(), None).await
    }

    /// Starts one that speaks TLS, with a certificate of an authority of its own.
    pub async fn start_with_tls() -> Result<Self> {
        let directory = Directory::create()?;
        let keys = ServerKeys::create("collector", &["127.0.0.1", "localhost"])?;
        let ca_file = directory.path().join("ca.crt");
        std::fs::write(&ca_file, &keys.authority)?;
        let identity = Identity::from_pem(&keys.certificate, &keys.private_key);
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity))?;
        Self::serve(server, Some(Tls { ca_file, _directory: directory })).await
    }

    async fn serve(mut server: Server, tls: Option<Tls>) -> Result<Self> {
        let (spans, received) = watch::channel(Received::default());
        let (mode, modes) = watch::channel(Mode::Accept);
        let service = TraceServiceServer::new(Receiver { received: Arc::new(spans), mode: modes });
        // A runtime of its own: connections end with it, where an aborted server would leave them open; and a test
        // whose exporter blocks its thread cannot block the collector.
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, told_to_end) = oneshot::channel();
        let (bound, address) = oneshot::channel();
        let thread = thread::Builder::new().name("collector".into()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let address = listener
                    .as_ref()
                    .map_err(ToString::to_string)
                    .and_then(|listener| listener.local_addr().map_err(|error| error.to_string()));
                // Whoever started it waits for this.
                let _ = bound.send(address);
                let Ok(listener) = listener else { return };
                let serve = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
                tokio::select! {
                    _ = serve => {}
                    _ = told_to_end => {}
                }
            });
        })?;
        let address = address.await.context("the collector's thread ended")?;
        let address =
            address.map_err(anyhow::Error::msg).context("the collector cannot listen on 127.0.0.1")?;
        Ok(Self { address, received, mode, tls, end: Some(end), thread: Some(thread) })
    }

    /// Its URL, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// The file with the authority of its certificate, for `OTEL_EXPORTER_OTLP_CERTIFICATE`; none without TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|tls| tls.ca_file.as_path())
    }

    /// From now on, requests are treated like this.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The spans accepted so far, in the order they came.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.received.borrow().spans.clone()
    }

    /// The accepted spans by their traces, the one that began first coming first.
    #[must_use]
    pub fn traces(&self) -> Vec<Trace> {
        Trace::all(&self.received.borrow().spans)
    }

    /// All requests so far, accepted or not.
    #[must_use]
    pub fn requests(&self) -> Vec<ExportRequest> {
        self.received.borrow().requests.clone()
    }

    /// Waits until the spans accepted so far are as wanted, and returns them.
    pub async fn until(&self, within: Duration, wanted: impl Fn(&[Span]) -> bool) -> Result<Vec<Span>> {
        self.wait(within, |received| wanted(&received.spans).then(|| received.spans.clone())).await
    }

    /// Waits until a trace is as wanted, and returns it.
    pub async fn until_trace(&self, within: Duration, wanted: impl Fn(&Trace) -> bool) -> Result<Trace> {
        self.wait(within, |received| Trace::all(&received.spans).into_iter().find(&wanted)).await
    }

    /// Waits until there were so many requests, accepted or not, and returns all.
    pub async fn until_requests(&self, count: usize, within: Duration) -> Result<Vec<ExportRequest>> {
        let enough =
            |received: &Received| (received.requests.len() >= count).then(|| received.requests.clone());
        self.wait(within, enough).await.with_context(|| format!("waiting for {count} requests"))
    }

    async fn wait<T>(&self, within: Duration, look: impl Fn(&Received) -> Option<T>) -> Result<T> {
        let mut received = self.received.clone();
        let mut found = None;
        let seen = received.wait_for(|received| {
            found = look(received);
            found.is_some()
        });
        match time::timeout(within, seen).await {
            Ok(seen) => drop(seen.context("the collector has ended")?),
            Err(_) => bail!("not as wanted after {within:?}; {}", self.received.borrow().describe()),
        }
        found.context("it was found")
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            // Only a panic makes this fail, and that has been printed.
            let _ = thread.join();
        }
    }
}

impl Received {
    /// What came, for whoever waited for something else.
    fn describe(&self) -> String {
        let traces: Vec<String> = Trace::all(&self.spans).iter().map(|trace| format!("\n{trace}")).collect();
        let accepted = if traces.is_empty() { " no spans".into() } else { traces.concat() };
        format!("{} requests came, and were accepted:{accepted}", self.requests.len())
    }
}

/// The gRPC service.
#[derive(Debug)]
struct Receiver {
    received: Arc<watch::Sender<Received>>,
    mode: watch::Receiver<Mode>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = headers(request.metadata());
        let request = request.into_inner();
        let spans = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        let spans = spans.map(|spans| spans.spans.len()).sum();
        let counted = ExportRequest { at: Instant::now(), headers, spans };
        // Before it is counted: whoever has seen it counted may change the mode for the next one.
        let mode = *self.mode.borrow();
        self.received.send_modify(|received| received.requests.push(counted));
        match mode {
            Mode::Accept => {}
            Mode::Discard => return Ok(Response::new(ExportTraceServiceResponse::default())),
            Mode::Refuse(code) => return Err(Status::new(code, "this collector was told to refuse")),
            Mode::Slow(duration) => time::sleep(duration).await,
            Mode::Hang => pending().await,
        }
        let spans = decode::spans(request);
        self.received.send_modify(|received| received.spans.extend(spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn headers(metadata: &MetadataMap) -> BTreeMap<String, String> {
    let text = |pair| match pair {
        KeyAndValueRef::Ascii(key, value) => Some((key.as_str().to_owned(), value.to_str().ok()?.to_owned())),
        KeyAndValueRef::Binary(..) => None,
    };
    metadata.iter().filter_map(text).collect()
}
