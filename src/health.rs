//! `/healthz` and `/readyz`: whether the driver is alive, and whether what it decides from is fresh.
//!
//! Health depends on nothing that the shipped role could forbid: it looks at the watches and at the
//! driver's heartbeat, never at the API server. `/healthz` (and `/livez`) fails when the driver is
//! stuck, which a restart may cure; a lost API server is no reason to restart, so it only fails
//! `/readyz`.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use crate::{
    config::BindAddress,
    watch::{Phase, WatchState, WatchStatus},
};

/// A driver that has not beaten for this long is stuck: it beats every second and never waits for
/// the network. Some of it is for a starved node.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(5);

/// A watch may be away for this long before the controller counts as not ready: the server ends
/// every watch once in five minutes, and resuming takes a few milliseconds. A server that stopped is noticed
/// after 4 s, and should show here within 5.
const WATCH_GRACE: Duration = Duration::from_millis(500);

/// A client that has not sent its request head by then is cut off; probes time out long before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is ended after this time, between two answers.
const LIFE: Duration = Duration::from_mins(1);

/// What of an answer was not read by then, after [`LIFE`], is not wanted any more. Prometheus waits 10 s by default.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// Connections served at once. Probes and a scraper need a handful; the rest waits.
pub const MAX_CONNECTIONS: usize = 64;

/// Wait after a failed accept, which means that file descriptors ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What health is made of. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    created: Instant,
    /// Milliseconds since `created`.
    beat: AtomicU64,
    synced: AtomicBool,
    watches: Mutex<Vec<WatchStatus>>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A health without watches. Its making counts as the driver's first beat.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            created: Instant::now(),
            beat: AtomicU64::default(),
            synced: AtomicBool::default(),
            watches: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The driver is alive. To be called at least once a second.
    pub fn driver_beat(&self) {
        let now = u64::try_from(self.shared.created.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.beat.store(now, Relaxed);
    }

    /// Whether the driver has taken in the first lists of all its watches.
    pub fn set_synced(&self, synced: bool) {
        self.shared.synced.store(synced, Relaxed);
    }

    /// The status for a further watch, under a name like `pods` or `shop/pods`.
    #[must_use]
    pub fn watch(&self, name: impl Into<String>) -> WatchStatus {
        let status = WatchStatus::new(name);
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner).push(status.clone());
        status
    }

    /// All watches, in the order in which they were made, for metrics.
    #[must_use]
    pub fn watches(&self) -> Vec<WatchStatus> {
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Time since the driver's last beat.
    #[must_use]
    pub fn driver_idle_for(&self) -> Duration {
        let beat = Duration::from_millis(self.shared.beat.load(Relaxed));
        self.shared.created.elapsed().saturating_sub(beat)
    }

    /// Whether the process is worth keeping.
    #[must_use]
    pub fn live(&self) -> Report {
        Report { checks: vec![self.driver()] }
    }

    /// Whether decisions rest on fresh facts.
    #[must_use]
    pub fn ready(&self) -> Report {
        let mut checks = vec![self.driver(), self.synced()];
        checks.extend(self.watches().iter().map(Check::of_watch));
        Report { checks }
    }

    /// Whether all that [`Self::ready`] reports has passed, without the words: for those who ask a thousand times in a
    /// row.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        is_alive(self.driver_idle_for()) && self.is_synced() && watches.iter().all(is_fresh)
    }

    fn is_synced(&self) -> bool {
        self.shared.synced.load(Relaxed)
    }

    fn driver(&self) -> Check {
        let idle = self.driver_idle_for();
        Check { passed: is_alive(idle), text: format!("driver: last heartbeat {} ago", Seconds(idle)) }
    }

    fn synced(&self) -> Check {
        let passed = self.is_synced();
        let text = if passed { "first lists taken in" } else { "still taking in the first lists" };
        Check { passed, text: format!("sync: {text}") }
    }
}

/// Whether a driver is that has last beaten so long ago.
fn is_alive(idle: Duration) -> bool {
    idle < DRIVER_TIMEOUT
}

fn is_fresh(watch: &WatchStatus) -> bool {
    watch.has_listed() && watch.down_for() <= WATCH_GRACE
}

/// Checks and whether they passed; shows as the body of an answer, one line a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

/// One check of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whether all is well.
    pub passed: bool,
    /// What was checked and what was found.
    pub text: String,
}

impl Report {
    /// Whether all checks passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    fn answer(&self) -> Answer {
        let status = if self.passed() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, self.to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { passed, text } in &self.checks {
            writeln!(f, "[{}]{text}", if *passed { '+' } else { '-' })?;
        }
        Ok(())
    }
}

impl Check {
    fn of_watch(watch: &WatchStatus) -> Self {
        let WatchState { phase, since, .. } = watch.state();
        let time = Seconds(since.elapsed());
        let mut text = format!("watch {}: ", watch.name());
        // Writing to a string cannot fail.
        let _ = match &phase {
            Phase::Waiting => write!(text, "not begun for {time}"),
            Phase::Listing => write!(text, "listing for {time}"),
            Phase::Opening => write!(text, "listed, opening, not live for {time}"),
            Phase::Live => write!(text, "live for {time}, last activity {} ago", Seconds(watch.idle_for())),
            Phase::Disconnected(reason) => write!(text, "disconnected for {time}: {reason}"),
        };
        let _ = match (watch.reconnects(), watch.relists()) {
            (0, 0) => Ok(()),
            (reconnects, relists) => write!(text, " ({reconnects} reconnects, {relists} relists)"),
        };
        Self { passed: is_fresh(watch), text }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// What a route answers.
pub type Answer = Response<Full<Bytes>>;

type Handler = Arc<dyn Fn(Parts) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Paths and who answers them. One server may carry several parts: health, metrics, debugging.
#[derive(Clone, Default)]
pub struct Routes {
    handlers: BTreeMap<&'static str, Handler>,
    /// Those of all paths that begin so.
    below: BTreeMap<&'static str, Handler>,
}

impl Routes {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `/healthz`, `/livez` and `/readyz`.
    #[must_use]
    pub fn with_health(self, health: &Health) -> Self {
        let (live, alive, ready_) = (health.clone(), health.clone(), health.clone());
        self.with("/healthz", move |_| ready(live.live().answer()))
            .with("/livez", move |_| ready(alive.live().answer()))
            .with("/readyz", move |_| ready(ready_.ready().answer()))
    }

    /// GET and HEAD of exactly this path are answered by this handler, which gets the head of the
    /// request, query included. A later handler of a path replaces an earlier one.
    #[must_use]
    pub fn with<F>(mut self, path: &'static str, handler: impl Fn(Parts) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.handlers.insert(path, Arc::new(move |head| handler(head).boxed()));
        self
    }

    /// The same for all paths that begin with this one.
    #[must_use]
    pub fn with_below<F>(
        mut self,
        path: &'static str,
        handler: impl Fn(Parts) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.below.insert(path, Arc::new(move |head| handler(head).boxed()));
        self
    }

    /// Answers one request.
    pub async fn answer(&self, head: Parts) -> Answer {
        let path = head.uri.path();
        let below =
            || self.below.iter().find(|(begin, _)| path.starts_with(**begin)).map(|(_, handler)| handler);
        let Some(handler) = self.handlers.get(path).or_else(below) else {
            let known: Vec<_> = self.handlers.keys().chain(self.below.keys()).copied().collect();
            return text(StatusCode::NOT_FOUND, format!("not found; try {}\n", known.join(", ")));
        };
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        handler(head).await
    }
}

/// An answer in plain text that nobody may cache.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {}", remedy(error))]
pub struct BindError {
    /// As it was configured.
    pub address: BindAddress,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process has this port: choose another one, or 0 for none",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        io::ErrorKind::AddrNotAvailable => {
            "this host does not have this address: use :PORT for all addresses"
        }
        _ => "expected :PORT, HOST:PORT, or 0 for none",
    }
}

/// Listens on an address; `None` if it is switched off.
pub async fn bind(address: &BindAddress) -> Result<Option<TcpListener>, BindError> {
    let listener = match address {
        BindAddress::Disabled => return Ok(None),
        BindAddress::Host(host, port) => TcpListener::bind((host.as_str(), *port)).await,
        // The IPv6 wildcard takes IPv4 too; hosts without IPv6 refuse it, and get the other one.
        BindAddress::AllAddresses(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await
            }
            bound => bound,
        },
    };
    listener.map(Some).map_err(|error| BindError { address: address.clone(), error })
}

/// Serves the routes over HTTP/1.1, on so many connections at once at most, until the future is dropped.
pub async fn serve(listener: TcpListener, routes: Routes, connections: usize) {
    let routes = Arc::new(routes);
    let places = Arc::new(Semaphore::new(connections));
    loop {
        // Never closed, so never an error.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve_one(stream, routes.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the health server");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, routes: Arc<Routes>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let routes = routes.clone();
        async move { Ok::<_, std::convert::Infallible>(routes.answer(request.into_parts().0).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => Ok(served),
        () = sleep(LIFE) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await
        }
    };
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection to the health server"),
        Err(_) => tracing::debug!("an answer of the health server was not read"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::advance,
    };

    use super::*;

    const MOMENT: Duration = Duration::from_millis(100);

    async fn get(routes: &Routes, path: &str) -> (u16, String) {
        ask(routes, Method::GET, path).await
    }

    async fn ask(routes: &Routes, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (head, body) = routes.answer(request.into_parts().0).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    /// Said with words and without.
    fn is_ready(health: &Health) -> bool {
        assert_eq!(health.is_ready(), health.ready().passed());
        health.is_ready()
    }

    /// A health with two watches that are live and listed, and a driver that has taken them in.
    fn healthy() -> (Health, Routes, [WatchStatus; 2]) {
        let health = Health::new();
        let watches = [health.watch("pods"), health.watch("services")];
        for watch in &watches {
            watch.listing();
            watch.listed();
            watch.live(false);
        }
        health.set_synced(true);
        let routes = Routes::new().with_health(&health);
        (health, routes, watches)
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_watches_are_live_and_the_driver_beats() {
        let (health, routes, _) = healthy();
        advance(Duration::from_mins(1)).await;
        health.driver_beat();
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(
            text,
            "[+]driver: last heartbeat 0.0 s ago\n\
             [+]sync: first lists taken in\n\
             [+]watch pods: live for 60.0 s, last activity 60.0 s ago\n\
             [+]watch services: live for 60.0 s, last activity 60.0 s ago\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_down_for_more_than_half_a_second_is_not_ready_and_says_why() {
        let (health, routes, [pods, _]) = healthy();
        pods.disconnected("the server ended the watch");
        advance(WATCH_GRACE / 2).await;
        pods.disconnected("connection timed out");
        advance(WATCH_GRACE / 2).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200, "half a second of grace: {text}");
        assert!(text.contains("[+]watch pods: disconnected for 0.5 s: connection timed out\n"), "{text}");
        advance(MOMENT).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.contains("[-]watch pods: disconnected for 0.6 s: connection timed out\n"), "{text}");
        assert!(!is_ready(&health));
        assert!(text.contains("[+]watch services: live"), "{text}");
        health.driver_beat();
        assert_eq!(get(&routes, "/healthz").await.0, 200, "no reason for a restart");

        pods.live(true);
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 200);
        assert!(text.contains("(1 reconnects, 0 relists)"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_takes_long_is_not_ready() {
        let (_health, routes, [pods, _]) = healthy();
        pods.listing();
        advance(WATCH_GRACE + MOMENT).await;
        let (status, text) = get(&routes, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.contains("[-]watch pods: listing for 0.6 s"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn not_ready_before_everything_was_listed_and_taken_in() {
        let health = Health::new();
        let pods = health.watch("pods");
        assert!(!is_ready(&health));
        pods.live(false);
        health.set_synced(true);
        assert!(!is_ready(&health), "never listed");
        pods.listed();
        assert!(is_ready(&health));
        health.set_synced(false);
        assert!(!is_ready(&health));
        let text = health.ready().to_string();
        assert!(text.contains("[-]sync: still taking in the first lists"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_driver_is_neither_alive_nor_ready() {
        let (health, routes, _) = healthy();
        advance(DRIVER_TIMEOUT).await;
        for path in ["/healthz", "/livez", "/readyz"] {
            let (status, text) = get(&routes, path).await;
            assert_eq!(status, 503, "{path}");
            assert!(text.contains("[-]driver: last heartbeat 5.0 s ago"), "{text}");
        }
        assert!(!is_ready(&health));
        health.driver_beat();
        assert_eq!(get(&routes, "/livez").await.0, 200);
        advance(DRIVER_TIMEOUT.saturating_sub(MOMENT)).await;
        assert_eq!(get(&routes, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let (_, routes, _) = healthy();
        let (status, text) = get(&routes, "/").await;
        assert_eq!(status, 404);
        assert!(text.contains("/healthz, /livez, /readyz"), "{text}");
        assert_eq!(get(&routes, "/readyz/x").await.0, 404);
        assert_eq!(ask(&routes, Method::POST, "/readyz").await.0, 405);
        assert_eq!(ask(&routes, Method::HEAD, "/readyz?verbose").await.0, 200);
    }

    #[tokio::test]
    async fn further_routes_see_the_query() {
        let (_, routes, _) = healthy();
        let routes = routes.with("/debug", |head| ready(text(StatusCode::OK, format!("{}", head.uri))));
        assert_eq!(get(&routes, "/debug?service=shop/orders").await.1, "/debug?service=shop/orders");
    }

    #[tokio::test]
    async fn it_is_served_over_http() {
        let (_, routes, _) = healthy();
        let listener = bind(&BindAddress::AllAddresses(0)).await.unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(serve(listener, routes, MAX_CONNECTIONS));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; charset=utf-8"), "{answer}");
        assert!(answer.contains("\r\n\r\n[+]driver: "), "{answer}");
        server.abort();
    }

    /// A scraper that hangs in the middle of an answer would keep all of it in memory, 34 MB for 10,000 Services.
    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_read_an_answer_is_cut_off() {
        const LONG: usize = 64 << 20;
        let routes = Routes::new().with("/metrics", |_| ready(text(StatusCode::OK, "x".repeat(LONG))));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let ended = timeout(Duration::from_hours(1), serve_one(stream, Arc::new(routes))).await;
        assert!(ended.is_ok(), "it is still being served");
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap_or_default();
        assert!(read.len() < LONG);
    }

    #[tokio::test]
    async fn a_port_in_use_is_explained() {
        let first = bind(&BindAddress::Host("127.0.0.1".into(), 0)).await.unwrap().unwrap();
        let port = first.local_addr().unwrap().port();
        let address = BindAddress::Host("127.0.0.1".into(), port);
        let text = bind(&address).await.unwrap_err().to_string();
        assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("choose another one"), "{text}");
        assert!(bind(&BindAddress::Disabled).await.unwrap().is_none());
    }
}
