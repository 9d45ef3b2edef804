//! `/leader`, asked by applications while their leader comes and goes.

mod fencing;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use lab::free_port;
use serde_json::Value;
use support::{SOON, Stage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// What applications ask, on one connection each.
#[derive(Clone)]
struct Leader {
    port: u16,
    path: String,
}

impl Leader {
    async fn stage(purpose: &str) -> Result<(Stage, Self)> {
        let port = free_port()?;
        let stage = Stage::with(purpose, &[&format!("--leader-bind-address=127.0.0.1:{port}")]).await?;
        let path = format!("/leader/{}/orders", stage.ns.name());
        Ok((stage, Self { port, path }))
    }

    async fn ask(&self, query: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {}{query} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n", self.path);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        Ok((status, body.to_owned()))
    }

    async fn told(&self, query: &str) -> Result<Value> {
        let (status, body) = self.ask(query).await?;
        ensure!(status == 200, "{status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// Until this many wait.
    async fn until_waiting(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + SOON;
        while established(self.port)? < count {
            ensure!(Instant::now() < deadline, "{} of {count} are connected", established(self.port)?);
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Connections to a port of this host, as the kernel counts them.
fn established(port: u16) -> Result<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let end = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&end)) && columns.nth(1) == Some("01")
    };
    Ok(table.lines().filter(is_one).count())
}

/// The pair, as the slice has it.
fn pair(slice: &EndpointSlice) -> Result<(u64, String)> {
    let annotations = slice.metadata.annotations.as_ref().context("annotations")?;
    Ok((annotations["zen-lead.io/epoch"].parse()?, annotations["zen-lead.io/leader-pod-uid"].clone()))
}

fn pair_told(told: &Value) -> Result<(u64, String)> {
    let uid = told["uid"].as_str().context("a UID")?.to_owned();
    Ok((told["epoch"].as_u64().context("an epoch")?, uid))
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_are_told_what_the_slice_says_and_wait_for_the_next_term() -> Result<()> {
    let (stage, leader) = Leader::stage("l-told").await?;
    let (status, body) = leader.ask("").await?;
    assert!(status == 404 && body.contains("has not opted in"), "{status} {body}");
    let (service, pods) = stage.led("orders", 2).await?;
    let first = leader.told("?after=0,over").await?;
    assert_eq!(pair_told(&first)?, pair(&stage.slice("orders").await?)?);
    assert_eq!((&first["leader"], &first["fresh"]), (&Value::from("orders-0"), &Value::from(true)));

    let after = format!("?after={}", first["after"].as_str().context("what to wait for")?);
    let (second, _) = tokio::try_join!(leader.told(&after), async {
        pods[0].unready().await?;
        stage.until_led("orders", &pods[1]).await
    })?;
    assert_eq!(pair_told(&second)?, pair(&stage.slice("orders").await?)?);
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64(), "{first} {second}");

    let after = format!("?after={}", second["epoch"]);
    let (over, ()) = tokio::try_join!(leader.told(&after), async {
        pods[1].unready().await?;
        stage.until_leaderless("orders").await
    })?;
    assert_eq!((&over["leader"], &over["epoch"]), (&Value::Null, &second["epoch"]));

    let after = format!("?after={}", over["after"].as_str().context("what to wait for")?);
    let (gone, ()) = tokio::try_join!(leader.ask(&after), async {
        service.delete().await?;
        stage.until_nothing_for("orders").await
    })?;
    assert_eq!(gone.0, 404, "{}", gone.1);
    stage.end().await
}

/// More than a process may open files by default. What it takes is printed, not judged.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_clients_wait_and_all_are_told() -> Result<()> {
    const CLIENTS: usize = 2_000;
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files)?;
    let (stage, leader) = Leader::stage("l-many").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let after = format!("?after={}", leader.told("?after=0,over").await?["epoch"]);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (leader, after) = (leader.clone(), after.clone());
            tokio::spawn(async move { anyhow::Ok((leader.told(&after).await?, Instant::now())) })
        })
        .collect();
    leader.until_waiting(CLIENTS).await?;
    pods[0].unready().await?;
    let slice = stage.until_led("orders", &pods[1]).await?;
    let seen = Instant::now();
    let told = timeout(SOON, try_join_all(clients)).await??;
    let mut late = Vec::new();
    for answer in told {
        let (told, at) = answer?;
        assert_eq!(pair_told(&told)?, pair(&slice)?);
        late.push(at.saturating_duration_since(seen));
    }
    late.sort_unstable();
    println!(
        "{CLIENTS} clients, after the slice was seen: p50 {:?}, last {:?}",
        late[CLIENTS / 2],
        late[CLIENTS - 1]
    );
    stage.end().await
}
