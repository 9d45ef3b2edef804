//! Requests over one pinged HTTP/2 connection, replaced when it dies.
//!
//! hyper-util's pool is not used for HTTP/2: it forgets a connection 90 s after the last checkout
//! though watches still run on it, opens one connection per waiting request until it has learnt that
//! the server speaks HTTP/2, and gives up a connect when the request that started it is dropped.
//! Here there is one connect at a time, everybody waits for it, and it belongs to nobody.

use std::{
    error::Error,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::{
    client::legacy::{self, connect::Connection},
    rt::{TokioExecutor, TokioTimer},
};
use kube::client::Body;
use tokio::sync::Notify;
use tower::{BoxError, Service};

use super::dial::{DialError, Dialer};

/// A ping is sent after this time without a byte from the server, also while no request is open.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// A connection whose ping stays unanswered for this long is dead: after 4 s at worst, after 2.6 to 3.1 s as measured.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(
    PING_INTERVAL.as_secs() + PING_TIMEOUT.as_secs() < 5,
    "a dead or stopped server is to be noticed within 5 s"
);

/// Attempts to place a request that was not sent, or not looked at, because the server is closing the
/// connection. Each is on a new connection.
const PLACEMENTS: u32 = 3;

/// HTTP/1.1 connections kept for reuse: as many as writes may be in flight.
const HTTP1_IDLE_CONNECTIONS: usize = 64;

const OUR_NAME: HeaderValue = HeaderValue::from_static(concat!("zen-lead/", env!("CARGO_PKG_VERSION")));

/// Which of a link's connections a request takes, as an extension of the request; the first unless
/// said. The API server bounds the streams of a connection (100 unless told otherwise), and a watch
/// beyond the bound would wait for ever without an error: many watches need several lanes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lane(pub(crate) usize);

/// A service that sends requests to the API server. Clones share the connections.
#[derive(Clone)]
pub(super) struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Dialer,
    /// One for each [`Lane`], made when first used.
    lanes: Mutex<Vec<Slot>>,
    /// For servers that do not speak HTTP/2.
    http1: legacy::Client<Dialer, Body>,
    sessions: AtomicU64,
    /// Told whenever an HTTP/2 connection has ended.
    ended: Arc<Notify>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Down,
    Dialing(Shared<BoxFuture<'static, Result<Session, DialError>>>),
    Up(Session),
}

#[derive(Clone)]
enum Session {
    Http2 {
        id: u64,
        sender: http2::SendRequest<Body>,
    },
    /// The pool decides about connections.
    Http1,
}

impl Link {
    /// Does not connect yet.
    pub(super) fn new(dialer: Dialer) -> Self {
        let http1 = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            // None expires: the next write must find a warm one.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(HTTP1_IDLE_CONNECTIONS)
            // Should the server speak HTTP/2 after all, from some day on.
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .build(dialer.clone());
        let (lanes, sessions, ended) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        Self { inner: Arc::new(Inner { dialer, lanes, http1, sessions, ended }) }
    }

    /// Over HTTP/1.1 without asking: the dialer offers nothing else.
    pub(super) fn http1(dialer: Dialer) -> Self {
        let link = Self::new(dialer);
        *link.inner.lanes() = vec![Slot::Up(Session::Http1)];
        link
    }

    /// Is told whenever a connection has ended.
    pub(super) fn ended(&self) -> Arc<Notify> {
        self.inner.ended.clone()
    }

    async fn send(self, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        request.headers_mut().entry(USER_AGENT).or_insert(OUR_NAME);
        let Lane(lane) = request.extensions().get().copied().unwrap_or_default();
        let mut placement = 1;
        loop {
            let (id, mut sender) = match self.session(lane).await? {
                Session::Http1 => return Ok(self.inner.http1.request(request).await?),
                Session::Http2 { id, sender } => (id, sender),
            };
            let again = copy(&request);
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let unsent = error.take_message();
            let error = error.into_error();
            match unsent.or_else(|| again.filter(|_| is_unprocessed(&error))) {
                Some(unsent) if placement < PLACEMENTS => request = unsent,
                _ => return Err(error.into()),
            }
            self.inner.retire(lane, id);
            placement += 1;
        }
    }

    /// The session of a lane: the open one, or the one that is being made.
    async fn session(&self, lane: usize) -> Result<Session, DialError> {
        let dialing = {
            let mut lanes = self.inner.lanes();
            if lanes.len() <= lane {
                lanes.resize_with(lane + 1, Slot::default);
            }
            match &lanes[lane] {
                Slot::Up(session) if session.is_open() => return Ok(session.clone()),
                Slot::Dialing(dialing) => dialing.clone(),
                Slot::Up(_) | Slot::Down => {
                    // A task of its own: it goes on when the request that started it is dropped.
                    let task = tokio::spawn(self.inner.clone().dial(lane));
                    let dialing = task.map(|done| done.unwrap_or(Err(DialError::Cancelled)));
                    let dialing = dialing.boxed().shared();
                    lanes[lane] = Slot::Dialing(dialing.clone());
                    dialing
                }
            }
        };
        dialing.await
    }
}

impl Inner {
    async fn dial(self: Arc<Self>, lane: usize) -> Result<Session, DialError> {
        let session = self.open().await;
        self.lanes()[lane] = match &session {
            Ok(session) => Slot::Up(session.clone()),
            Err(_) => Slot::Down,
        };
        session
    }

    async fn open(&self) -> Result<Session, DialError> {
        let stream = self.dialer.dial().await?;
        if !stream.connected().is_negotiated_h2() {
            tracing::debug!("the server does not speak HTTP/2: using HTTP/1.1 with TCP keepalives");
            return Ok(Session::Http1);
        }
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(stream);
        let (sender, connection) = handshake.await.map_err(|error| self.dialer.failed(error.into()))?;
        let ended = self.ended.clone();
        tokio::spawn(connection.map(move |end| {
            ended.notify_one();
            if let Err(error) = end {
                tracing::debug!(error = super::explain_any(&error), "connection to the API server ended");
            }
        }));
        Ok(Session::Http2 { id: self.sessions.fetch_add(1, Ordering::Relaxed), sender })
    }

    /// Takes a session out of use, unless another has taken its place.
    fn retire(&self, lane: usize, retired: u64) {
        let slot = &mut self.lanes()[lane];
        if matches!(slot, Slot::Up(Session::Http2 { id, .. }) if *id == retired) {
            drop(mem::take(slot));
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Slot>> {
        // Never held across a step that may panic half-way.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same request once more, unless its body is a stream.
pub(super) fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// Whether the server has said that it did not look at the request: it came after the last one that a
/// closing connection takes (RFC 9113, 6.8), or was refused as a stream (8.7). An API server that is
/// about to restart does so, which is no time to lose a failover.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let reason = error.reason();
    let late = error.is_go_away() && reason == Some(h2::Reason::NO_ERROR);
    let refused = error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (late || refused)
}

impl Session {
    fn is_open(&self) -> bool {
        match self {
            Self::Http2 { sender, .. } => !sender.is_closed(),
            Self::Http1 => true,
        }
    }
}

impl Service<Request<Body>> for Link {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}
