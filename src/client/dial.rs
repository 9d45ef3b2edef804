//! One connection to the API server: TCP and TLS, bounded, and hedged.
//!
//! An address may stand for several API servers, one of which may be stopped while its kernel still
//! accepts: TCP connects, and the TLS handshake never ends. So a connect that takes long gets
//! company, and the first to complete wins.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Uri;
use hyper_rustls::{
    DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName,
};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tower::{BoxError, Service};

use super::tls::TlsSource;

/// Longest time for TCP and TLS together. A healthy handshake takes 1 to 3 round trips, below 0.5 s
/// even across the world; what takes longer is hung, and there is a retry.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// A connect that is not done by then gets another one beside it, and again after this time. Above the time of
/// a healthy connect, far below the time-out: of two servers behind one address one may be stopped, and chance
/// may lead there more than once.
const HEDGE_AFTER: Duration = Duration::from_millis(300);

/// TCP keepalives and the bound for unacknowledged data. HTTP/2 pings find a dead peer without them;
/// over HTTP/1.1 they are all there is: dead after 2 s + 2 probes of 1 s, within the 5 s we promise.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_RETRIES: u32 = 2;
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection, with or without TLS.
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens connections to one API server.
#[derive(Clone)]
pub(super) struct Dialer {
    server: Uri,
    http: HttpConnector<Rotating>,
    tls: Arc<TlsSource>,
    names: Arc<dyn ResolveServerName + Send + Sync>,
}

/// Why there is no connection. Cheap to clone: everybody who waited for it gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DialError {
    #[error("no connection to {server} within {} ms (TCP and TLS)", CONNECT_TIMEOUT.as_millis())]
    Timeout { server: Uri },
    #[error("connecting to {server}: {error}")]
    Failed { server: Uri, error: Arc<BoxError> },
    #[error("the connecting task ended: the process is shutting down")]
    Cancelled,
}

impl Dialer {
    /// For the server of a configuration. The error names the TLS server name that is not valid.
    pub(super) fn new(config: &kube::Config, tls: TlsSource) -> Result<Self, String> {
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &config.tls_server_name {
            None => Arc::new(DefaultServerNameResolver::default()),
            Some(name) => Arc::new(FixedServerNameResolver::new(server_name(name)?)),
        };
        Ok(Self { server: config.cluster_url.clone(), http: tcp(), tls: Arc::new(tls), names })
    }

    /// Connects: TCP, then TLS if the server's URL is https.
    pub(super) async fn dial(&self) -> Result<Stream, DialError> {
        match timeout(CONNECT_TIMEOUT, self.hedged()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(_) => Err(DialError::Timeout { server: self.server.clone() }),
        }
    }

    /// The error for a connection that was made and then of no use.
    pub(super) fn failed(&self, error: BoxError) -> DialError {
        DialError::Failed { server: self.server.clone(), error: Arc::new(error) }
    }

    /// The first connect that completes, of one that gets company as long as none has.
    async fn hedged(&self) -> Result<Stream, BoxError> {
        let mut connects = FuturesUnordered::from_iter([self.once()]);
        loop {
            match timeout(HEDGE_AFTER, connects.next()).await {
                Ok(Some(Err(_))) if !connects.is_empty() => {}
                Ok(Some(done)) => return done,
                // Never empty here: whoever leaves it empty returns.
                Ok(None) | Err(_) => {
                    tracing::debug!(server = %self.server, "connecting takes long: trying another connection beside it");
                    connects.push(self.once());
                }
            }
        }
    }

    async fn once(&self) -> Result<Stream, BoxError> {
        let tls = self.tls.current();
        let mut connector = HttpsConnector::new(self.http.clone(), tls, false, self.names.clone());
        connector.call(self.server.clone()).await
    }
}

/// For hyper's HTTP/1.1 pool. The URI is always that of the one server.
impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Stream, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.clone();
        async move { dialer.dial().await }.boxed()
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|error| format!("tls-server-name {name}: {error}"))
}

fn tcp() -> HttpConnector<Rotating> {
    let mut http = HttpConnector::new_with_resolver(Rotating::default());
    http.enforce_http(false);
    // Without it every HTTP/2 request costs 43 ms: headers and body leave as two writes, and Nagle
    // holds the second one back until the delayed ACK of the first.
    http.set_nodelay(true);
    // Shared out among the addresses of a name, so that a dead first one leaves time for the others.
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_keepalive(Some(KEEPALIVE_IDLE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    http.set_tcp_user_timeout(Some(USER_TIMEOUT));
    http
}

/// Resolves a name and starts with another of its addresses every time, so that the next hedged
/// connect goes elsewhere.
#[derive(Clone)]
struct Rotating {
    resolver: GaiResolver,
    turn: Arc<AtomicUsize>,
}

impl Default for Rotating {
    fn default() -> Self {
        Self { resolver: GaiResolver::new(), turn: Arc::default() }
    }
}

impl Service<Name> for Rotating {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.resolver.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, turn) = (self.resolver.call(name), self.turn.fetch_add(1, Ordering::Relaxed));
        async move { Ok(rotated(found.await?.collect(), turn).into_iter()) }.boxed()
    }
}

fn rotated(mut addresses: Vec<SocketAddr>, turn: usize) -> Vec<SocketAddr> {
    let by = turn.checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(by);
    addresses
}
