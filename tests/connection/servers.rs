//! API servers and their store that stop, vanish and come back.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use lab::{Entry, Forwarder, Lab, Options, Route, leader_of};
use serde_json::json;

use crate::kept_the_promise;
use crate::support::{SOON, Stage};

/// How long something is away: several rounds of every back-off.
const AWAY: Duration = Duration::from_secs(4);

/// A generous bound for what should be 200 ms, on a machine that is busy with other tests.
const AFTER_RETURN: Duration = Duration::from_secs(2);

fn ports(lab: &Lab) -> [u16; 2] {
    [0, 1].map(|index| lab.control_plane.api_server(index).port())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_api_servers_stops_and_the_other_is_used() -> Result<()> {
    let lab = Lab::start(Options::two_api_servers()).await?;
    let balancer = Forwarder::start(ports(&lab)).await?;
    balancer.route(Route::To(1)).await?;
    let stage = Stage::by(&lab, "two", async |account| account.kubeconfig_for(&balancer.url()).await).await?;
    let pods = stage.led_pair().await?;
    assert_eq!((balancer.opened_to(0), balancer.opened_to(1)), (0, 2));

    balancer.route(Route::RoundRobin).await?;
    lab.control_plane.api_server(1).pause()?;
    let stopped = Instant::now();
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    kept_the_promise(stopped, "one of two API servers stopped, then the leader lost");
    // Every second connect goes to the stopped one, and is overtaken by another.
    let ready = stage.controller.until_probe("/readyz", |answer| answer.starts_with("HTTP/1.1 200")).await?;
    assert!(ready.contains("/pods: live") && ready.contains("(1 reconnects"), "it was noticed: {ready}");
    kept_the_promise(stopped, "ready again");
    lab.control_plane.api_server(1).resume()?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_api_server_stops_and_readyz_says_so_until_it_goes_on() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let stage = Stage::on(&lab, "stop", &[]).await?;
    let pods = stage.led_pair().await?;

    lab.control_plane.api_server(0).pause()?;
    let stopped = Instant::now();
    let unready = |answer: &str| answer.starts_with("HTTP/1.1 503");
    let answer = stage.controller.until_probe("/readyz", unready).await?;
    kept_the_promise(stopped, "the only API server stopped");
    assert!(answer.contains("[-]watch") && answer.contains("disconnected for"), "{answer}");
    let healthy = stage.controller.probe("/healthz").await?;
    assert!(healthy.starts_with("HTTP/1.1 200"), "no restart would help: {healthy}");

    lab.control_plane.api_server(0).resume()?;
    stage.controller.until_ready().await?;
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn i11_the_way_to_the_api_server_is_away_and_a_loss_meanwhile_is_written_on_its_return() -> Result<()> {
    let lab = Lab::shared().await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    let stage = Stage::by(lab, "away", async |account| account.kubeconfig_for(&way.url()).await).await?;
    let pods = stage.led_pair().await?;
    let before = stage.ns.slices().of("orders-leader").await?;

    way.refuse().await?;
    pods[0].unready().await?;
    stage.controller.until_probe("/readyz", |answer| answer.contains("refuses connections")).await?;
    tokio::time::sleep(AWAY).await;
    assert_eq!(stage.ns.slices().of("orders-leader").await?, before, "routing keeps its last state");

    way.forward().await?;
    let back = Instant::now();
    stage.until_led_by("orders-1").await?;
    println!("the way is back, the slice moved after {:.2?}", back.elapsed());
    assert!(back.elapsed() < AFTER_RETURN, "{:?}", back.elapsed());
    stage.controller.until_ready().await?;
    stage.end().await
}

/// The other server plays those who go on to change things; the controller knows only the first.
#[tokio::test(flavor = "multi_thread")]
async fn i11_an_api_server_crashes_and_a_loss_meanwhile_is_the_first_thing_written() -> Result<()> {
    let lab = Lab::start(Options::two_api_servers()).await?;
    let mut stage = Stage::on(&lab, "crash", &[]).await?;
    let pods = stage.led_pair().await?;
    let other = lab.control_plane.connection().client_of(1).await?;
    let slices: Api<EndpointSlice> = Api::namespaced(other.clone(), stage.ns.name());
    let before = slices.get("orders-leader").await?;

    lab.control_plane.api_server(0).kill();
    let lost = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let api: Api<Pod> = Api::namespaced(other, stage.ns.name());
    api.patch_status(pods[0].name(), &PatchParams::default(), &Patch::Merge(lost)).await?;
    tokio::time::sleep(AWAY).await;
    let now = slices.get("orders-leader").await?;
    assert_eq!(now.resource_version(), before.resource_version(), "routing keeps its last state");

    let audit = lab.control_plane.audit().from_now();
    lab.control_plane.api_server(0).start().await?;
    stage.until_led_by("orders-1").await?;
    let user = stage.account.user();
    let is_write = |entry: &Entry| entry.user == user && !["get", "list", "watch"].contains(&&*entry.verb);
    let entries = audit.until(SOON, |entries| entries.iter().any(is_write)).await?;
    // A server that has just started denies everything until it has read the roles.
    let is_welcome = |entry: &&Entry| entry.user == user && entry.resource == "pods" && entry.code == 200;
    let welcome = entries.iter().find(is_welcome).context("the pods are watched again")?.received;
    let first = entries.iter().find(|entry| is_write(entry)).context("the first write")?;
    assert_eq!((&*first.verb, &*first.resource, first.code), ("update", "endpointslices", 200), "{first:?}");
    let took = Duration::try_from(first.answered.duration_since(welcome))?;
    println!("the server is back, and the slice written {took:.2?} after its first answer to us");
    assert!(took < AFTER_RETURN, "{took:?}");
    stage.controller.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_crashes_in_the_middle_of_a_failover() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let stage = Stage::on(&lab, "store", &[]).await?;
    // The write is due while nothing can be written, without anybody having to write something to bring it about.
    stage.source("orders").annotation("zen-lead.io/failover-min-delay", "2s").create().await?;
    let pods = stage.pair().await?;
    pods[0].unready().await?;
    stage.controller.until_logged(&["transition", "to=\"Draining\""]).await?;

    lab.control_plane.etcd().kill();
    stage.controller.until_logged(&["publication failed", "orders"]).await?;
    tokio::time::sleep(AWAY).await;
    lab.control_plane.etcd().start().await?;
    // It runs; this waits until it is ready, store included.
    lab.control_plane.api_server(0).start().await?;
    let back = Instant::now();
    let led = |slice: &EndpointSlice| leader_of(slice).as_deref() == Some("orders-1");
    stage.ns.slices().until("orders-leader", SOON, led).await?;
    println!("the store is back, the slice moved after {:.2?}", back.elapsed());
    stage.controller.until_ready().await?;
    stage.end().await
}

/// A backup of the store is put back under a controller that goes on running, and that knows all objects in newer
/// versions than there are now.
#[tokio::test(flavor = "multi_thread")]
async fn i10_a_store_that_was_restored_from_a_backup_is_believed() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let (etcd, api_server) = (lab.control_plane.etcd(), lab.control_plane.api_server(0));
    let mut stage = Stage::on(&lab, "restore", &[]).await?;
    let pods = stage.led_pair().await?;
    let (data, backup) = ["etcd", "backup"].map(|name| lab.control_plane.directory().join(name)).into();
    etcd.stop().await?;
    copy_folder(&data, &backup)?;
    etcd.start().await?;
    // It runs; this waits until it is ready, store included.
    api_server.start().await?;
    stage.controller.until_ready().await?;

    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    pods[0].ready().await?;
    stage.all_is_seen().await?;
    let before = epoch(&stage).await?;

    api_server.kill();
    etcd.kill();
    fs::remove_dir_all(&data)?;
    fs::rename(&backup, &data)?;
    etcd.start().await?;
    api_server.start().await?;
    let back = Instant::now();
    stage.controller.until_logged(&["its store was restored"]).await?;
    // In the backup the first pod led. It is fit, and so it stays, in a term that is newer than any there ever was.
    let anew = |slice: &EndpointSlice| epoch_of(slice).is_some_and(|epoch| epoch > before);
    let slice = stage.ns.slices().until("orders-leader", SOON, anew).await?;
    println!("the store is back, the slice written anew after {:.2?}", back.elapsed());
    assert_eq!(leader_of(&slice).as_deref(), Some("orders-0"));
    let between = epoch(&stage).await?;
    // Nothing that was known before is in the way.
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    assert!(epoch(&stage).await? > between);
    stage.until_mirrored("orders-leader", "orders-1").await?;
    stage.controller.until_ready().await?;
    stage.controller.stop()
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?.path();
        let target = to.join(entry.file_name().context("a name")?);
        if entry.is_dir() {
            copy_folder(&entry, &target)?;
        } else {
            fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

fn epoch_of(slice: &EndpointSlice) -> Option<u64> {
    slice.annotations().get("zen-lead.io/epoch")?.parse().ok()
}

async fn epoch(stage: &Stage) -> Result<u64> {
    let slice = stage.ns.api::<EndpointSlice>().get("orders-leader").await?;
    epoch_of(&slice).context("an epoch")
}
