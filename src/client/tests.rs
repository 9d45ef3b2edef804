//! The clients against servers in this process that do what real ones rarely do on demand.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode, Version, header::AUTHORIZATION};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kube::client::Body;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;

const H2: &[&str] = &["h2", "http/1.1"];
const H1: &[&str] = &["http/1.1"];

// --- HTTP/2 and HTTP/1.1 ---

#[tokio::test]
async fn many_requests_at_once_share_one_http2_connection() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    let versions = join_all((0..50).map(|_| get(&clients.watch, "/version"))).await;
    assert!(versions.iter().all(|answer| answer.as_ref().unwrap().version() == Version::HTTP_2));
    assert_eq!(server.connections(), 1);
    clients.warm().await.unwrap();
    assert_eq!(server.connections(), 2, "one more for writes");
}

#[tokio::test]
async fn a_client_for_upgrades_speaks_http1_to_a_server_of_both() {
    let server = Server::start(&Authority::new(), H2).await;
    let client = connect_for_upgrades(&server.kubeconfig().options()).await.unwrap();
    assert_eq!(get(&client, "/version").await.unwrap().version(), Version::HTTP_11);
    assert_eq!(server.connections(), 1, "none to find out what it speaks");
}

#[tokio::test]
async fn lanes_are_connections_of_their_own() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    for lane in [0, 2, 2, 1, 0] {
        let mut request = request("/version");
        request.extensions_mut().insert(Lane(lane));
        clients.watch.send(request).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_server_without_http2_is_served_over_http11() {
    for alpn in [H1, &[]] {
        let server = Server::start(&Authority::new(), alpn).await;
        let clients = connect(&server.kubeconfig().options()).await.unwrap();
        for _ in 0..3 {
            let answer = get(&clients.watch, "/version").await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_11);
            answer.into_body().collect().await.unwrap();
        }
        // The first one was only to learn what the server speaks.
        assert_eq!(server.connections(), 2, "{alpn:?}");
    }
}

#[tokio::test]
async fn requests_with_a_body_are_not_held_back_by_nagle() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..21 {
        let put = Request::put("/echo").body(Body::from(vec![b'x'; 900])).unwrap();
        let sent = Instant::now();
        clients.write.send(put).await.unwrap().into_body().collect().await.unwrap();
        took.push(sent.elapsed());
    }
    took.sort();
    assert!(took[10] < Duration::from_millis(20), "with Nagle this is above 40 ms: {:?}", took[10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_politely_cost_no_request() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    // Each round several requests meet the connection in another stage of being closed.
    for round in 1..=50 {
        get(&clients.write, "/version").await.unwrap();
        assert!(server.connections() >= round);
        server.close_politely();
        for answer in join_all((0..5).map(|_| get(&clients.write, "/version"))).await {
            answer.unwrap();
        }
        server.go_away().await;
    }
}

#[tokio::test]
async fn the_connection_for_writes_is_opened_again_before_it_is_needed() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    clients.warm().await.unwrap();
    assert_eq!(server.connections(), 2);
    let until_warm = async {
        server.go_away().await;
        while server.connections() < 3 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = clients.keep_warm() => unreachable!("it never ends"),
        warm = timeout(Duration::from_secs(5), until_warm) => warm.expect("a new connection"),
    }
    get(&clients.write, "/version").await.unwrap();
    assert_eq!(server.connections(), 3, "it was for writes");
}

#[tokio::test]
async fn two_stopped_servers_in_a_row_are_overtaken() {
    let server = Server::start(&Authority::new(), H2).await;
    let front = Forwarder::start(server.address).await;
    front.swallow_next();
    let clients = connect(&server.kubeconfig().at(front.address).options()).await.unwrap();
    let until_second = async {
        while front.connections() < 1 {
            sleep(Duration::from_millis(5)).await;
        }
        front.swallow_next();
    };
    let asked = Instant::now();
    let (answer, ()) = tokio::join!(get(&clients.write, "/version"), until_second);
    answer.unwrap();
    assert!(asked.elapsed() < dial::CONNECT_TIMEOUT, "{:?}", asked.elapsed());
    assert_eq!(front.connections(), 3);
}

#[tokio::test]
async fn a_connect_outlives_the_request_that_started_it() {
    let server = Server::start(&Authority::new(), H2).await;
    let front = Forwarder::start(server.address).await;
    front.delay_next(Duration::from_millis(200));
    let clients = connect(&server.kubeconfig().at(front.address).options()).await.unwrap();
    let given_up = timeout(Duration::from_millis(50), get(&clients.write, "/version")).await;
    assert!(given_up.is_err());
    get(&clients.write, "/version").await.unwrap();
    assert_eq!(front.connections(), 1);
}

// --- dead peers ---

#[tokio::test]
async fn a_silent_peer_is_noticed_within_5_seconds_and_left() {
    let server = Server::start(&Authority::new(), H2).await;
    let front = Forwarder::start(server.address).await;
    let clients = connect(&server.kubeconfig().at(front.address).options()).await.unwrap();
    let mut body = get(&clients.watch, "/hang").await.unwrap().into_body();
    let fell_silent = Instant::now();
    front.swallow_open_connections();
    let frame = timeout(Duration::from_secs(6), body.frame()).await.expect("noticed in time");
    let error = frame.unwrap().unwrap_err();
    assert!(fell_silent.elapsed() < Duration::from_secs(5), "{:?}", fell_silent.elapsed());
    assert!(explain(&error).contains("did not answer a ping"), "{}", explain(&error));
    get(&clients.watch, "/version").await.unwrap();
    assert_eq!(front.connections(), 2);
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers_is_hedged() {
    let server = Server::start(&Authority::new(), H2).await;
    let front = Forwarder::start(server.address).await;
    front.swallow_next();
    let clients = connect(&server.kubeconfig().at(front.address).options()).await.unwrap();
    let asked = Instant::now();
    get(&clients.write, "/version").await.unwrap();
    let took = asked.elapsed();
    assert!(took >= dial::HEDGE_AFTER && took < dial::CONNECT_TIMEOUT, "{took:?}");
    assert_eq!(front.connections(), 2);
}

#[tokio::test]
async fn a_connect_is_bounded_tls_included() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubeconfig = Kubeconfig::for_server(silent.local_addr().unwrap(), &Authority::new());
    let clients = connect(&kubeconfig.options()).await.unwrap();
    let asked = Instant::now();
    let error = get(&clients.write, "/version").await.unwrap_err();
    let took = asked.elapsed();
    assert!(took >= dial::CONNECT_TIMEOUT && took < dial::CONNECT_TIMEOUT * 2, "{took:?}");
    let text = explain(&error);
    assert!(text.contains("no connection to https://127.0.0.1") && text.contains("1500 ms"), "{text}");
}

#[tokio::test]
async fn everybody_who_waits_for_a_connect_learns_why_it_failed() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let kubeconfig = Kubeconfig::for_server(closed, &Authority::new());
    let clients = connect(&kubeconfig.options()).await.unwrap();
    for answer in join_all((0..3).map(|_| get(&clients.watch, "/version"))).await {
        let text = explain(&answer.unwrap_err());
        assert!(text.contains(&closed.to_string()) && text.contains("refuses connections"), "{text}");
    }
}

// --- certificates and tokens ---

#[tokio::test]
async fn a_wrong_ca_is_named_as_such() {
    let server = Server::start(&Authority::new(), H2).await;
    let kubeconfig = Kubeconfig::for_server(server.address, &Authority::new());
    let clients = connect(&kubeconfig.options()).await.unwrap();
    let text = explain(&get(&clients.watch, "/version").await.unwrap_err());
    assert!(text.contains("certificate") && text.contains("configured CA"), "{text}");
}

#[tokio::test]
async fn a_rotated_ca_is_used_for_the_next_connect() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = Server::start(&old, H2).await;
    let kubeconfig = server.kubeconfig();
    let clients = connect(&kubeconfig.options()).await.unwrap();
    get(&clients.watch, "/version").await.unwrap();

    server.show_certificate_of(&new);
    server.go_away().await;
    get(&clients.watch, "/version").await.expect_err("the old CA does not know the new certificate");
    fs::write(kubeconfig.directory.join("ca.crt"), "half-written").unwrap();
    get(&clients.watch, "/version").await.expect_err("a broken file changes nothing");
    fs::write(kubeconfig.directory.join("ca.crt"), &new.pem).unwrap();
    get(&clients.watch, "/version").await.unwrap();
}

#[tokio::test]
async fn a_rotated_token_is_read_on_401_and_the_request_sent_again() {
    let server = Server::start(&Authority::new(), H2).await;
    server.accept_only("first");
    let kubeconfig = server.kubeconfig().with_token("first\n");
    let clients = connect(&kubeconfig.options()).await.unwrap();
    assert_eq!(get(&clients.write, "/version").await.unwrap().status(), StatusCode::OK);

    server.accept_only("second");
    assert_eq!(get(&clients.write, "/version").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    fs::write(kubeconfig.directory.join("token"), "second\n").unwrap();
    let put = Request::put("/echo").body(Body::from(b"content".to_vec())).unwrap();
    let answer = clients.write.send(put).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "content", "sent again as a whole");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_read_again_after_ten_seconds_of_use() {
    let directory = Directory::new();
    let path = directory.join("token");
    fs::write(&path, "a").unwrap();
    let file = TokenFile::read(path.clone()).unwrap();
    fs::write(&path, "b").unwrap();
    tokio::time::advance(Duration::from_millis(9_900)).await;
    assert_eq!(file.header(), "Bearer a");
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(file.header(), "Bearer b");
    fs::remove_file(&path).unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(file.header(), "Bearer b", "a removed file does not take the token away");
}

// --- configuration ---

#[tokio::test]
async fn configuration_errors_name_the_file_and_the_remedy() {
    let authority = Authority::new();
    let kubeconfig = || Kubeconfig::for_server(([127, 0, 0, 1], 1).into(), &authority);
    let refused = async |options: ClientOptions, words: &[&str]| {
        let text = connect(&options).await.unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in: {text}");
        assert!(!text.contains('\n'), "{text}");
    };
    let missing = ClientOptions { kubeconfig: Some("/nowhere/config".into()), context: None };
    refused(missing, &["/nowhere/config", "--kubeconfig"]).await;

    let good = kubeconfig();
    let context = ClientOptions { context: Some("staging".into()), ..good.options() };
    refused(context, &["staging", "--context", "config"]).await;

    let no_ca = kubeconfig();
    fs::remove_file(no_ca.directory.join("ca.crt")).unwrap();
    refused(no_ca.options(), &["ca.crt", "certificate-authority"]).await;

    let bad_ca = kubeconfig();
    fs::write(bad_ca.directory.join("ca.crt"), "no certificate").unwrap();
    refused(bad_ca.options(), &["ca.crt", "no certificate in it", "https://127.0.0.1"]).await;

    let no_token = kubeconfig().with_token("x");
    fs::remove_file(no_token.directory.join("token")).unwrap();
    refused(no_token.options(), &["token", "credentials"]).await;
}

#[tokio::test]
async fn namespace_and_user_agent_are_passed_on() {
    let server = Server::start(&Authority::new(), H2).await;
    let clients = connect(&server.kubeconfig().options()).await.unwrap();
    assert_eq!(clients.default_namespace, "shop");
    let agent = get(&clients.watch, "/agent").await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(agent.starts_with(b"zen-lead/"), "{agent:?}");
}

#[test]
fn statuses_are_explained() {
    let explained = |code: u16, message: &str| {
        let status = kube::core::Status::failure(message, "Reason").with_code(code);
        explain(&kube::Error::Api(Box::new(status)))
    };
    assert!(explained(401, "Unauthorized").contains("expired"));
    let forbidden =
        explained(403, "pods is forbidden: User \"x\" cannot list resource \"pods\"\nin API group");
    assert!(
        forbidden.contains("cannot list resource \"pods\" in API group") && forbidden.contains("ClusterRole")
    );
    assert_eq!(explained(500, ""), "500: Reason");
}

// --- what the tests are made of ---

async fn get(client: &kube::Client, path: &str) -> Result<Response<Body>, kube::Error> {
    client.send(request(path)).await
}

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// A CA.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
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
struct Server {
    address: SocketAddr,
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
    async fn start(authority: &Authority, alpn: &'static [&'static str]) -> Self {
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

    fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::new(self.address, &self.authority_pem)
    }

    /// Connections whose TLS handshake was completed.
    fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    fn show_certificate_of(&self, authority: &Authority) {
        *self.shared.tls.lock().unwrap() = authority.server_config(self.alpn);
    }

    fn accept_only(&self, token: &str) {
        *self.shared.token.lock().unwrap() = Some(format!("Bearer {token}"));
    }

    /// Begins to close the open connections, the way a server does that is about to restart.
    fn close_politely(&self) {
        self.shared.closing.send_modify(|count| *count += 1);
    }

    /// Does so and waits until they are closed.
    async fn go_away(&self) {
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

/// A network path that can lose its way.
struct Forwarder {
    address: SocketAddr,
    shared: Arc<ForwarderShared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct ForwarderShared {
    connections: AtomicUsize,
    swallow_next: AtomicBool,
    delay_next: Mutex<Duration>,
    swallow_open: watch::Sender<bool>,
}

impl Forwarder {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(ForwarderShared::default());
        let task = tokio::spawn(shared.clone().accept(listener, to));
        Self { address, shared, task }
    }

    fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// The next connection is accepted and never answered.
    fn swallow_next(&self) {
        self.shared.swallow_next.store(true, SeqCst);
    }

    /// The next connection starts to be forwarded after this time.
    fn delay_next(&self, delay: Duration) {
        *self.shared.delay_next.lock().unwrap() = delay;
    }

    /// Nothing gets through on the open connections any more; they are not closed.
    fn swallow_open_connections(&self) {
        self.shared.swallow_open.send_replace(true);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ForwarderShared {
    async fn accept(self: Arc<Self>, listener: TcpListener, to: SocketAddr) {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, SeqCst);
            let swallowed = self.swallow_next.swap(false, SeqCst);
            let delay = std::mem::take(&mut *self.delay_next.lock().unwrap());
            self.swallow_open.send_replace(false);
            let mut silenced = self.swallow_open.subscribe();
            tokio::spawn(async move {
                sleep(delay).await;
                let mut far = TcpStream::connect(to).await.unwrap();
                if !swallowed {
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => return,
                        _ = silenced.wait_for(|silenced| *silenced) => {}
                    }
                }
                // Both ends stay open.
                std::future::pending::<()>().await;
                drop((near, far));
            });
        }
    }
}

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("zen-lead-test-{}-{}", std::process::id(), COUNT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A kubeconfig with its CA, and a token if wanted, in files beside it.
struct Kubeconfig {
    directory: Directory,
    address: SocketAddr,
    token: bool,
}

impl Kubeconfig {
    fn for_server(address: SocketAddr, authority: &Authority) -> Self {
        Self::new(address, &authority.pem)
    }

    fn new(address: SocketAddr, ca: &str) -> Self {
        let directory = Directory::new();
        fs::write(directory.join("ca.crt"), ca).unwrap();
        Self { directory, address, token: false }.written()
    }

    fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self.written()
    }

    fn with_token(mut self, token: &str) -> Self {
        fs::write(self.directory.join("token"), token).unwrap();
        self.token = true;
        self.written()
    }

    fn written(self) -> Self {
        let user = if self.token { "tokenFile: token" } else { "token: fixed" };
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: shop}}}}]
clusters: [{{name: c, cluster: {{server: \"https://{}\", certificate-authority: ca.crt}}}}]
users: [{{name: u, user: {{{user}}}}}]
",
            self.address
        );
        fs::write(self.directory.join("config"), text).unwrap();
        self
    }

    fn options(&self) -> ClientOptions {
        ClientOptions { kubeconfig: Some(self.directory.join("config")), context: None }
    }
}
