//! Tokens and certificates that are replaced while the controller runs.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use std::{env, fs, process};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{DeleteParams, PostParams};
use lab::{Authority, Lab, Options, Token, rotate};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::time::{Duration, interval, timeout};

use crate::kept_the_promise;
use crate::support::{SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_used_when_the_old_one_is_refused() -> Result<()> {
    let lab = Lab::shared().await?;
    let mut file = PathBuf::new();
    let stage = Stage::by(lab, "token", async |account| {
        let kubeconfig;
        (kubeconfig, file) = account.kubeconfig_with_token_file(lab.control_plane.url()).await?;
        Ok(kubeconfig)
    })
    .await?;
    let pods = stage.led_pair().await?;

    // Another account of the same name has the same rights, and none of the former one's tokens.
    let accounts = stage.ns.api::<ServiceAccount>();
    accounts.delete("zen-lead", &DeleteParams::default()).await?;
    let again = serde_json::from_value(json!({ "metadata": { "name": "zen-lead" } }))?;
    accounts.create(&PostParams::default(), &again).await?;
    until_refused(&stage, &fs::read_to_string(&file)?).await?;

    pods[0].unready().await?;
    let line = stage.controller.until_logged(&["publication failed", "401"]).await?;
    assert!(line.contains("does not accept our token"), "{line}");
    rotate(&file, &stage.account.token().await?)?;
    let rotated = Instant::now();
    stage.until_led_by("orders-1").await?;
    kept_the_promise(rotated, "token rotated, the slice moved");
    stage.end().await
}

/// Nobody renews the token in time. Watches that are open stay open, so that it shows with the first write.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_one_clear_line_and_its_successor_is_used() -> Result<()> {
    /// As long as it may take until there is a leader, on a busy machine.
    const LIFE: Duration = Duration::from_secs(30);
    let lab = Lab::shared().await?;
    let mut file = PathBuf::new();
    let stage = Stage::by(lab, "expiry", async |account| {
        let token = account.token_until(SystemTime::now() + LIFE).await?;
        let kubeconfig;
        (kubeconfig, file) = account.kubeconfig_with_token_in_file(lab.control_plane.url(), &token)?;
        Ok(kubeconfig)
    })
    .await?;
    let pods = stage.led_pair().await?;
    tokio::time::sleep(LIFE).await;
    until_refused(&stage, &fs::read_to_string(&file)?).await?;

    pods[0].unready().await?;
    let line = stage.controller.until_logged(&["publication failed", "401"]).await?;
    assert!(
        line.contains("WARN") && line.contains("does not accept our token") && line.contains("expired"),
        "{line}"
    );
    // It tries again, each time after a longer pause, and without a line that people see.
    stage.controller.until_logged(&["DEBUG", "publication failed", "401"]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = stage.controller.log()?;
    let lines = |level| log.lines().filter(|line| line.contains("401") && line.contains(level)).count();
    assert_eq!(lines("WARN") + lines("ERROR"), 1, "{log}");
    assert!((3..=12).contains(&lines("DEBUG")), "20 ms doubling to 1 s: {log}");

    rotate(&file, &stage.account.token().await?)?;
    let rotated = Instant::now();
    stage.until_led_by("orders-1").await?;
    kept_the_promise(rotated, "token replaced, the slice moved");
    stage.end().await
}

/// The API server remembers good tokens for ten seconds.
async fn until_refused(stage: &Stage, token: &str) -> Result<()> {
    let connection = stage.ns.connection();
    let token = Token::Inline(token.to_owned());
    let content = connection.kubeconfig(connection.url(0), Authority::Inline, &token, stage.ns.name());
    let client = lab::client(content).await?;
    let refused = async {
        let mut often = interval(Duration::from_millis(100));
        while client.apiserver_version().await.is_ok() {
            often.tick().await;
        }
    };
    timeout(SOON, refused).await.context("the old token is still good")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_ca_is_used_for_the_next_connection() -> Result<()> {
    // By this name the server shows a certificate of its own, and to everybody else the lab's.
    let folder = Folder::new()?;
    let ca = folder.certify("the old authority")?;
    let files = ["server.crt", "server.key"].map(|name| folder.0.join(name).display().to_string());
    let shown = format!("--tls-sni-cert-key={},{}:localhost", files[0], files[1]);
    let lab = Lab::start(Options::default().api_server_arg(shown)).await?;
    let ca_file = folder.0.join("ca.crt");
    fs::write(&ca_file, ca)?;
    let server = lab.control_plane.url().replace("127.0.0.1", "localhost");
    let stage = Stage::by(&lab, "ca", async |account| {
        let (connection, token) = (lab.control_plane.connection(), Token::Inline(account.token().await?));
        let mut content = connection.kubeconfig(&server, Authority::File, &token, "default");
        content["clusters"][0]["cluster"]["certificate-authority"] = json!(ca_file);
        connection.write_kubeconfig("rotated-ca", &content)
    })
    .await?;
    let pods = stage.led_pair().await?;

    let new = folder.certify("the new authority")?;
    lab.control_plane.api_server(0).restart().await?;
    let refused = |answer: &str| answer.starts_with("HTTP/1.1 503") && answer.contains("unknown issuer");
    stage.controller.until_probe("/readyz", refused).await?;
    pods[0].unready().await?;
    rotate(&ca_file, &new)?;
    let rotated = Instant::now();
    stage.until_led_by("orders-1").await?;
    kept_the_promise(rotated, "CA rotated, the slice moved");
    stage.controller.until_logged(&["certificate files changed: using the new ones"]).await?;
    stage.controller.until_ready().await?;
    stage.end().await
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("zen-lead-rotation-{}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Makes a new authority, and a certificate of its for the server; returns the authority's own.
    fn certify(&self, name: &str) -> Result<String> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let ca = authority.self_signed(&key)?.pem();
        let issuer = Issuer::new(authority, key);
        let server_key = KeyPair::generate()?;
        let server = CertificateParams::new(["localhost".to_owned()])?.signed_by(&server_key, &issuer)?;
        write(&self.0.join("server.crt"), &server.pem())?;
        write(&self.0.join("server.key"), &server_key.serialize_pem())?;
        Ok(ca)
    }
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
