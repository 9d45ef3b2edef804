//! Another writer of the slice, as the Go zen-lead would be if it ran at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use lab::{Pod, leader_of};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{SOON, Stage};

/// Writes its own pod into the slice whenever it sees another one there, or none: as the Go zen-lead does, with the
/// resourceVersion that it has read.
struct Rival {
    task: JoinHandle<()>,
    writes: Arc<AtomicUsize>,
    rests: Arc<AtomicBool>,
}

impl Rival {
    fn begin(api: Api<EndpointSlice>, pod: &Pod) -> Self {
        let (writes, rests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, resting) = (writes.clone(), rests.clone());
        let endpoint = json!({
            "addresses": [pod.ip()], "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": pod.name(), "uid": pod.uid() },
        });
        let task = tokio::spawn(async move {
            loop {
                let written = Self::write(&api, &endpoint, &resting).await;
                if written.unwrap_or(false) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        });
        Self { task, writes, rests }
    }

    async fn write(
        api: &Api<EndpointSlice>,
        endpoint: &serde_json::Value,
        rests: &AtomicBool,
    ) -> Result<bool> {
        let mut slice = api.get("orders-leader").await?;
        if rests.load(Ordering::Relaxed)
            || leader_of(&slice).as_deref() == endpoint["targetRef"]["name"].as_str()
        {
            return Ok(false);
        }
        slice.endpoints = vec![serde_json::from_value(endpoint.clone())?];
        slice.metadata.managed_fields = None;
        let params = PostParams { field_manager: Some("zen-lead".into()), ..PostParams::default() };
        api.replace("orders-leader", &params, &slice).await?;
        Ok(true)
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_writer_is_named_backed_off_from_and_outlived() -> Result<()> {
    let stage = Stage::new("rival").await?;
    let (_, pods) = stage.led("orders", 3).await?;
    let history = stage.ns.history().await?;
    let rival = Rival::begin(stage.slices_api(), &pods[2]);
    let notice = stage.until_told("PublicationContested", &["zen-lead"]).await?;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    let at_notice = stage.written_for("orders").await?.slice;

    // Backed off from: a second or more between two writes, not milliseconds. The rival answers each at once.
    let quarrel = rival.writes();
    stage.slices_until_writes(&rival, quarrel + 1).await?;
    assert!(stage.written_for("orders").await?.slice - at_notice <= 4, "it fights on");

    // A loss is written at once all the same: it does not wait for the pause of that moment to end.
    pods[0].unready().await?;
    let written = |slice: &EndpointSlice| {
        slice.annotations().get("zen-lead.io/leader-pod-uid").map(String::as_str) == Some(pods[1].uid())
    };
    stage.ns.slices().until("orders-leader", SOON, written).await?;

    // When it is gone, what is right stays.
    rival.rests.store(true, Ordering::Relaxed);
    stage.until_led("orders", &pods[1]).await?;
    drop(rival);
    let epochs: Vec<u64> = history
        .up_to_now()
        .await?
        .iter()
        .filter_map(|revision| revision.slice.annotations().get("zen-lead.io/epoch")?.parse().ok())
        .collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
    stage.end().await
}

impl Stage {
    async fn slices_until_writes(&self, rival: &Rival, count: usize) -> Result<()> {
        let enough = |_: &[EndpointSlice]| rival.writes() >= count;
        let api: Api<EndpointSlice> = self.slices_api();
        lab::until(&api, "", lab::within(40), enough).await.context("the rival's writes").map(drop)
    }
}

/// Two installations in one namespace, with different names for themselves: the second keeps its hands off.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_another_installation_are_not_touched() -> Result<()> {
    let stage = Stage::new("instances").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let (slice, service) = (stage.slice("orders").await?, stage.leader_service("orders").await?);
    let mut other = stage.another(&["--instance=elsewhere/zen-lead", "--identity=elsewhere"]).await?;
    other.until_ready().await?;
    // The Service is told by the one that is blocked, naming the other's installation.
    stage.until_told("LeaderServiceConflict", &["default/zen-lead"]).await?;
    pods[1].annotate("example.com/touched", Some("yes")).await?;
    stage.all_is_seen().await?;
    assert_eq!(stage.slice("orders").await?, slice);
    assert_eq!(stage.leader_service("orders").await?, service);
    // Failovers are the first one's.
    pods[0].unready().await?;
    let slice = stage.until_led("orders", &pods[1]).await?;
    assert_ne!(slice.annotations().get("zen-lead.io/term-by").map(String::as_str), Some("elsewhere"));
    // Opting out removes each one's own.
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.until_nothing_for("orders").await?;
    other.stop()?;
    stage.end().await
}
