//! What is served over HTTP on the ports of health, metrics, debugging and leaders: routes, and how they are kept from
//! those who ask too much.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::BindAddress;

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
                tracing::warn!(%error, "cannot accept a connection");
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
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
        Err(_) => tracing::debug!("an answer was not read"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What every test asks for: `/echo` answers with what was asked for.
    fn routes() -> Routes {
        Routes::new()
            .with("/echo", |head| ready(text(StatusCode::OK, head.uri.to_string())))
            .with_below("/below/", |_| ready(text(StatusCode::OK, "below")))
    }

    async fn ask(method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (head, body) = routes().answer(request.into_parts().0).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        assert_eq!(ask(Method::GET, "/").await, (404, "not found; try /echo, /below/\n".into()));
        assert_eq!(ask(Method::GET, "/echo/x").await.0, 404);
        assert_eq!(ask(Method::GET, "/below/x").await, (200, "below".into()));
        assert_eq!(ask(Method::POST, "/echo").await.0, 405);
        assert_eq!(ask(Method::HEAD, "/echo?verbose").await.0, 200);
    }

    #[tokio::test]
    async fn routes_see_the_query() {
        let asked = "/echo?service=shop/orders";
        assert_eq!(ask(Method::GET, asked).await.1, asked);
    }

    #[tokio::test]
    async fn it_is_served_over_http() {
        let listener = bind(&BindAddress::AllAddresses(0)).await.unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(serve(listener, routes(), MAX_CONNECTIONS));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(b"GET /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; charset=utf-8"), "{answer}");
        assert!(answer.contains("\r\n\r\n/echo"), "{answer}");
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
