//! A server with TLS, and whoever signs its certificate.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::kubeconfig::Kubeconfig;

/// A CA.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server_config(&self, alpn: &[&str]) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A TLS server that speaks what it is told to.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    authority_pem: String,
    alpn: &'static [&'static str],
    shared: Arc<ServerShared>,
    task: JoinHandle<()>,
}

struct ServerShared {
    tls: Mutex<Arc<rustls::ServerConfig>>,
    connections: AtomicUsize,
    token: Mutex<Option<String>>,
    closing: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

impl Server {
    pub(super) async fn start(authority: &Authority, alpn: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(ServerShared {
            tls: Mutex::new(authority.server_config(alpn)),
            connections: AtomicUsize::new(0),
            token: Mutex::default(),
            closing: watch::Sender::new(0),
            open: watch::Sender::new(0),
        });
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(shared.clone().accept(listener));
        Self { address, authority_pem: authority.pem.clone(), alpn, shared, task }
    }

    pub(super) fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.address, &self.authority_pem)
    }

    /// Connections whose TLS handshake was completed.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    pub(super) fn show_certificate_of(&self, authority: &Authority) {
        *self.shared.tls.lock().unwrap() = authority.server_config(self.alpn);
    }

    pub(super) fn accept_only(&self, token: &str) {
        *self.shared.token.lock().unwrap() = Some(format!("Bearer {token}"));
    }

    /// Begins to close the open connections, the way a server does that is about to restart.
    pub(super) fn close_politely(&self) {
        self.shared.closing.send_modify(|count| *count += 1);
    }

    /// Does so and waits until they are closed.
    pub(super) async fn go_away(&self) {
        self.close_politely();
        self.shared.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ServerShared {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let tls = self.tls.lock().unwrap().clone();
        let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
        self.connections.fetch_add(1, SeqCst);
        self.open.send_modify(|open| *open += 1);
        self.clone().speak(stream).await;
        self.open.send_modify(|open| *open -= 1);
    }

    async fn speak(self: Arc<Self>, stream: TlsStream<TcpStream>) {
        let mut closing = self.closing.subscribe();
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let shared = self.clone();
        let service = service_fn(move |request| shared.clone().answer(request));
        let stream = TokioIo::new(stream);
        if http2 {
            let builder = conn::http2::Builder::new(TokioExecutor::new());
            let mut connection = pin!(builder.serve_connection(stream, service));
            tokio::select! {
                _ = &mut connection => return,
                _ = closing.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        } else {
            let mut builder = conn::http1::Builder::new();
            let _ = builder.timer(TokioTimer::new()).serve_connection(stream, service).await;
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
        let (head, body) = request.into_parts();
        let expected = self.token.lock().unwrap().clone();
        let given = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        if expected.is_some() && expected != given {
            let refused = Response::builder().status(StatusCode::UNAUTHORIZED);
            return Ok(refused.body(Full::default().boxed()).unwrap());
        }
        let body = match head.uri.path() {
            "/echo" => Full::new(body.collect().await.unwrap().to_bytes()).boxed(),
            "/agent" => Full::from(head.headers["user-agent"].as_bytes().to_vec()).boxed(),
            "/hang" => http_body_util::StreamBody::new(futures::stream::pending()).boxed(),
            _ => Full::from("{}").boxed(),
        };
        Ok(Response::new(body))
    }
}
