//! How it starts and ends, and what it says when it cannot.

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use lab::{Authority, Forwarder, Lab, Namespace, Options, Signal, Token, rotate};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use support::{Controller, SOON, Stage, authorise};

// --- the API server at start ---

/// Something that keeps the controller from working, and how it is told.
struct Obstacle {
    kubeconfig: PathBuf,
    words: &'static [&'static str],
}

/// With `--exit-on-start-error`: exit code 1, and one line.
fn exits(ns: &Namespace, obstacle: &Obstacle) -> Result<()> {
    let kubeconfig = obstacle.kubeconfig.display().to_string();
    let arguments = ["run", "--exit-on-start-error", "--namespace", ns.name(), "--kubeconfig", &kubeconfig];
    let (code, output) = ended(&[&arguments[..], &NO_PORTS].concat())?;
    let errors: Vec<&str> = output.lines().filter(|line| line.contains("ERROR")).collect();
    let told = |line: &str| obstacle.words.iter().all(|word| line.contains(word));
    assert_eq!(code, Some(1), "{output}");
    assert!(errors.iter().any(|line| told(line)), "{:?} in {output}", obstacle.words);
    assert!(errors.len() == 1 || errors.iter().all(|line| told(line) || line.contains("watch")), "{output}");
    Ok(())
}

/// Without: it says so in the log and at /readyz, and tries until it works, without a line for every try.
async fn waits(ns: &Namespace, obstacle: &Obstacle) -> Result<Controller> {
    let controller = Controller::start(&obstacle.kubeconfig, ns.name(), &["--namespace", ns.name()])?;
    let told = |answer: &str| obstacle.words.iter().all(|word| answer.contains(word));
    let unready = |answer: &str| answer.starts_with("HTTP/1.1 503") && told(answer);
    controller.until_probe("/readyz", unready).await?;
    let line = controller.until_logged(obstacle.words).await?;
    assert!(line.contains("ERROR"), "{line}");
    assert!(controller.probe("/healthz").await?.starts_with("HTTP/1.1 200"), "no restart would help");
    until_tried_again(&controller).await?;
    let log = controller.log()?;
    let errors = log.lines().filter(|line| line.contains("ERROR")).count();
    assert!(errors <= 4, "one for the start, and one a watch: {log}");
    Ok(controller)
}

/// Tries that fail after the first show at debug level.
async fn until_tried_again(controller: &Controller) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let mut often = tokio::time::interval(Duration::from_millis(20));
    while controller.log()?.matches("DEBUG zen_lead::watch::trouble: the watch is down").count() < 9 {
        anyhow::ensure!(Instant::now() < deadline, "it does not try again: {}", controller.log()?);
        often.tick().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cluster_is_one_clear_line_and_tried_until_there_is_one() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("no-cluster").await?;
    let account = authorise(&ns).await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    way.refuse().await?;
    let obstacle =
        Obstacle { kubeconfig: account.kubeconfig_for(&way.url()).await?, words: &["refuses connections"] };
    exits(&ns, &obstacle)?;
    let mut controller = waits(&ns, &obstacle).await?;
    way.forward().await?;
    controller.until_ready().await?;
    controller.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_one_clear_line_too() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("silence").await?;
    let account = authorise(&ns).await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    way.black_hole().await?;
    let words = &["no connection to", "a firewall drops packets"];
    exits(&ns, &Obstacle { kubeconfig: account.kubeconfig_for(&way.url()).await?, words })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ca_is_one_clear_line() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("wrong-ca").await?;
    let account = authorise(&ns).await?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&KeyPair::generate()?)?.pem();
    let connection = ns.connection();
    let token = Token::Inline(account.token().await?);
    let mut content = connection.kubeconfig(connection.url(0), Authority::Inline, &token, ns.name());
    content["clusters"][0]["cluster"]["certificate-authority-data"] =
        serde_json::to_value(k8s_openapi::ByteString(ca.into_bytes()))?;
    let kubeconfig = connection.write_kubeconfig("wrong-ca", &content)?;
    let obstacle = Obstacle { kubeconfig, words: &["the configured CA is not the server's"] };
    exits(&ns, &obstacle)?;
    waits(&ns, &obstacle).await?.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_accepted_is_one_clear_line() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("token").await?;
    let connection = ns.connection();
    let token = Token::Inline("of-another-cluster".into());
    let content = connection.kubeconfig(connection.url(0), Authority::Inline, &token, ns.name());
    let kubeconfig = connection.write_kubeconfig("bad-token", &content)?;
    let obstacle = Obstacle { kubeconfig, words: &["401", "does not accept our token", "expired"] };
    exits(&ns, &obstacle)?;
    waits(&ns, &obstacle).await?.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_one_clear_line_and_its_successor_is_taken_up() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("expired").await?;
    let account = authorise(&ns).await?;
    let expired = account.token_until(SystemTime::now() - Duration::from_mins(1)).await?;
    let (kubeconfig, file) = account.kubeconfig_with_token_in_file(lab.control_plane.url(), &expired)?;
    let obstacle = Obstacle { kubeconfig, words: &["401", "does not accept our token", "expired"] };
    exits(&ns, &obstacle)?;
    let mut controller = waits(&ns, &obstacle).await?;
    // Another end makes it good again: it was nothing else that was refused.
    let good = account.token_until(SystemTime::now() + Duration::from_mins(30)).await?;
    rotate(&file, &good)?;
    controller.until_ready().await?;
    controller.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rights_are_one_clear_line_and_taken_up_when_granted() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("no-rights").await?;
    let account = ns.account("zen-lead").await?;
    let words = &["403", "cannot list resource", "check the ClusterRole and its binding"];
    let obstacle = Obstacle { kubeconfig: account.kubeconfig().await?, words };
    exits(&ns, &obstacle)?;
    let mut controller = waits(&ns, &obstacle).await?;
    authorise(&ns).await?;
    controller.until_ready().await?;
    controller.stop()
}

// --- the command line ---

#[test]
fn unknown_flags_and_values_are_answered_with_usage_and_exit_code_2() -> Result<()> {
    for (arguments, words) in [
        (&["run", "--frobnicate"][..], "unexpected argument '--frobnicate'"),
        (&["--frobnicate"], "unexpected argument '--frobnicate'"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["run", "surplus"], "unexpected argument 'surplus'"),
        (&["run", "--max-writes-in-flight=many"], "invalid value 'many' for '--max-writes-in-flight <N>'"),
        (&["run", "--health-probe-bind-address=here"], "expected :PORT, HOST:PORT, or 0 for none"),
        (&["run", "--log-format=xml"], "[possible values: text, json]"),
        (&["run", "--namespace", "Shop"], "expected lower-case letters"),
        (&["run", "--dry-run=perhaps"], "invalid value 'perhaps' for '--dry-run"),
    ] {
        let (code, output) = ended(arguments)?;
        assert_eq!(code, Some(2), "{arguments:?}: {output}");
        assert!(output.contains(words) && output.contains("--help"), "{arguments:?}: {output}");
    }
    Ok(())
}

#[test]
fn an_address_in_use_and_a_missing_kubeconfig_are_named_with_a_remedy() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let (code, output) = ended(&[
        "run",
        "--metrics-bind-address=0",
        "--debug-bind-address=0",
        "--health-probe-bind-address",
        &address,
    ])?;
    assert_eq!(code, Some(1), "{output}");
    let line = format!("cannot listen on {address}: ");
    assert!(output.contains(&line) && output.contains("another process has this port"), "{output}");

    let (code, output) = ended(&[&["run", "--kubeconfig", "/nowhere/config"][..], &NO_PORTS].concat())?;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("/nowhere/config") && output.contains("--kubeconfig"), "{output}");
    Ok(())
}

// --- the probes ---

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_say_in_words_how_things_stand() -> Result<()> {
    let stage = Stage::new("probes").await?;
    let body = async |path| -> Result<(String, String)> {
        let answer = stage.controller.probe(path).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    };
    for path in ["/healthz", "/livez"] {
        let (status, text) = body(path).await?;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(text.starts_with("[+]driver: last heartbeat ") && text.lines().count() == 1, "{text}");
    }
    // It decides from the first lists on, which may be a moment before the last watch is open.
    stage.controller.until_probe("/readyz", |answer| !answer.contains("opening")).await?;
    let (status, text) = body("/readyz").await?;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let ns = stage.ns.name();
    let lines = ["driver: last heartbeat ", "sync: first lists taken in"].map(str::to_owned);
    let watches = ["endpointslices", "services", "pods"].map(|kind| format!("watch {ns}/{kind}: live for "));
    for line in lines.iter().chain(&watches) {
        assert!(text.contains(&format!("[+]{line}")), "{line} in {text}");
    }
    assert_eq!(text.lines().count(), 5, "{text}");
    let (status, text) = body("/unknown").await?;
    assert!(status.contains("404") && text.contains("/healthz, /livez, /readyz"), "{status} {text}");
    stage.end().await
}

// --- the end ---

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_waits_for_the_write_in_flight_and_exits_with_0() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let mut stage = Stage::on(&lab, "sigterm", &[]).await?;
    stage.source("orders").annotation("zen-lead.io/failover-min-delay", "2s").create().await?;
    let pods = stage.pair().await?;
    pods[0].unready().await?;
    stage.controller.until_logged(&["transition", "to=\"Draining\""]).await?;

    // The publication is sent, and stays without an answer as long as the store is stopped.
    lab.control_plane.etcd().pause()?;
    stage.controller.until_logged(&["transition", "to=\"Reelecting\"", "orders-1"]).await?;
    stage.controller.process()?.signal(Signal::TERM)?;
    stage.controller.until_logged(&["SIGTERM: stopping"]).await?;
    lab.control_plane.etcd().resume()?;

    stage.controller.stop()?;
    let log = stage.controller.log()?;
    assert!(log.contains("stopped; routing stays as it is"), "{log}");
    stage.until_led_by("orders-1").await?;
    let writes: Vec<u16> = stage
        .asked()?
        .iter()
        .filter(|entry| entry.verb == "update" && entry.name == "orders-leader")
        .map(|entry| entry.code)
        .collect();
    assert!(writes.iter().all(|code| *code == 200), "{writes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_while_the_api_server_is_away_or_silent() -> Result<()> {
    let lab = Lab::shared().await?;
    let ns = lab.namespace("leave").await?;
    let account = authorise(&ns).await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    way.black_hole().await?;
    let kubeconfig = account.kubeconfig_for(&way.url()).await?;
    let mut controller = Controller::start(&kubeconfig, ns.name(), &["--namespace", ns.name()])?;
    controller.until_logged(&["starting"]).await?;
    controller.stop()
}

// --- running it ---

const NO_PORTS: [&str; 3] =
    ["--metrics-bind-address=0", "--health-probe-bind-address=0", "--debug-bind-address=0"];

/// Runs it to its end: exit code and everything it said.
fn ended(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_zen-lead")));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ZEN_LEAD_") || name == "RUST_LOG")
    {
        command.env_remove(name);
    }
    let mut child = command.spawn()?;
    let deadline = Instant::now() + SOON;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            let output = child.wait_with_output()?;
            bail!("{arguments:?} does not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}
