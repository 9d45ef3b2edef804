//! The clients against servers in this process that do what real ones rarely do on demand.

mod forwarder;
mod kubeconfig;
mod server;

use std::fs;
use std::time::Duration;

use futures::future::join_all;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use self::forwarder::Forwarder;
use self::kubeconfig::{Directory, Kubeconfig};
use self::server::{Authority, Server};
use super::*;

const H2: &[&str] = &["h2", "http/1.1"];
const H1: &[&str] = &["http/1.1"];

/// What takes longer hangs: no measure of anything.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What follows the head of a request would be held back until the server's delayed ACK.
#[tokio::test]
async fn connections_do_without_nagle() {
    let server = Server::start(&Authority::new(), H2).await;
    let kubeconfig = server.kubeconfig();
    let source = Source::find(&kubeconfig.options()).await.unwrap();
    let stream = source.dialer(Speaks::Any).unwrap().dial().await.unwrap();
    let dial::Stream::Https(tls) = stream else { panic!("without TLS") };
    let (tcp, _) = tls.inner().get_ref();
    assert!(tcp.inner().inner().nodelay().unwrap());
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
    let (answer, ()) = tokio::join!(get(&clients.write, "/version"), until_second);
    answer.unwrap();
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
async fn a_silent_peer_is_noticed_by_a_ping_and_left() {
    let server = Server::start(&Authority::new(), H2).await;
    let front = Forwarder::start(server.address).await;
    let clients = connect(&server.kubeconfig().at(front.address).options()).await.unwrap();
    let mut body = get(&clients.watch, "/hang").await.unwrap().into_body();
    front.swallow_open_connections();
    let frame = timeout(PATIENCE, body.frame()).await.expect("it is noticed");
    let error = frame.unwrap().unwrap_err();
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
    get(&clients.write, "/version").await.unwrap();
    assert_eq!(front.connections(), 2);
}

#[tokio::test]
async fn a_connect_is_bounded_tls_included() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let kubeconfig = Kubeconfig::for_server(silent.local_addr().unwrap(), &Authority::new());
    let clients = connect(&kubeconfig.options()).await.unwrap();
    let answer = timeout(PATIENCE, get(&clients.write, "/version")).await.expect("it is bounded");
    let error = answer.unwrap_err();
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
