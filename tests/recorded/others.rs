//! Others put their hands on what is ours.

use anyhow::{Context as _, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lab::{Pod, leader_of};
use serde_json::{Value, json};

use crate::recording::Recording;
use crate::support::{SOON, Stage};

/// What somebody does with kubectl.
async fn edit(stage: &Stage, patch: &Value) -> Result<EndpointSlice> {
    let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    Ok(stage.slices_api().patch("orders-leader", &params, &Patch::Merge(patch)).await?)
}

fn swapped(to: &Pod) -> Value {
    let target = json!({ "kind": "Pod", "name": to.name(), "uid": to.uid() });
    json!({ "endpoints": [{ "addresses": [to.ip()], "targetRef": target }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit() -> Result<()> {
    let recording = Recording::new("edited").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let edited = edit(stage, &swapped(&pods[1])).await?;
    let repaired = |slice: &EndpointSlice| {
        leader_of(slice).as_deref() == Some("orders-0")
            && slice.resource_version() != edited.resource_version()
    };
    stage.slice_when(repaired).await?;
    recording
        .keep(
            "Somebody puts another pod's address into the slice: it is repaired.",
            &["written by kubectl-edit", "publish orders-0", "is acknowledged"],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion() -> Result<()> {
    let recording = Recording::new("slice-deleted").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let before = stage.slice("orders").await?;
    stage.slices_api().delete("orders-leader", &DeleteParams::default()).await?;
    let anew = |slice: &EndpointSlice| slice.uid() != before.uid() && slice.endpoints == before.endpoints;
    stage.slice_when(anew).await?;
    recording
        .keep(
            "Somebody deletes the slice: it is created anew, empty, and the leader published in a \
             later term.",
            &[
                "the watch shows: there is no slice",
                "create the slice, with nobody",
                "publish orders-0",
                "is acknowledged",
            ],
        )
        .await
}

/// The record of the term, which is in the leader Service as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_epoch() -> Result<()> {
    let recording = Recording::new("epoch-lost").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let epoch = |slice: &EndpointSlice| slice.annotations().get("zen-lead.io/epoch").cloned();
    let before = epoch(&stage.slice("orders").await?);
    edit(stage, &json!({ "metadata": { "annotations": { "zen-lead.io/epoch": null } } })).await?;
    stage.slice_when(|slice| epoch(slice).is_some_and(|epoch| Some(epoch) > before)).await?;
    recording
        .keep(
            "Somebody takes the epoch out of the slice: the same leader goes on in a later term, \
             since nobody can say which one this was.",
            &["the watch shows: orders-0 is published\n", "publish orders-0 in term ", "is acknowledged"],
        )
        .await
}

/// Written as another replica would.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_term() -> Result<()> {
    let recording = Recording::new("adopted").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let mut slice = stage.slice("orders").await?;
    let annotations = slice.metadata.annotations.as_mut().context("annotations")?;
    let epoch: u64 = annotations["zen-lead.io/epoch"].parse()?;
    annotations.insert("zen-lead.io/epoch".into(), (epoch + 1).to_string());
    annotations.insert("zen-lead.io/leader-pod-uid".into(), pods[1].uid().into());
    annotations.insert("zen-lead.io/term-by".into(), "somebody-else".into());
    let endpoint = &mut slice.endpoints[0];
    endpoint.addresses = vec![pods[1].ip().to_string()];
    let target = endpoint.target_ref.as_mut().context("a target")?;
    (target.name, target.uid) = (Some(pods[1].name().into()), Some(pods[1].uid().into()));
    let params = PostParams { field_manager: Some("a-person".into()), ..PostParams::default() };
    stage.slices_api().replace("orders-leader", &params, &slice).await?;
    stage.until_mirrored("orders-leader", "orders-1").await?;
    recording
        .keep(
            "Somebody publishes another pod in a later term, all of it well-formed: that is \
             adopted, since two views must not fight.",
            &["written by a-person", "-> Elected orders-1, for adopted"],
        )
        .await
}

/// As a program does that thinks otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_contest() -> Result<()> {
    let recording = Recording::new("contested").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 3).await?;
    stage.all_is_seen().await?;
    for _ in 0..4 {
        let edited = edit(stage, &swapped(&pods[2])).await?;
        let repaired = |slice: &EndpointSlice| {
            leader_of(slice).as_deref() == Some("orders-0")
                && slice.resource_version() != edited.resource_version()
        };
        stage.slice_when(repaired).await?;
    }
    stage.until_notice("PublicationContested").await?;
    // A loss does not wait for the pause to end.
    edit(stage, &swapped(&pods[2])).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "Another writer overwrites the slice time and again: from the third time on it is \
             repaired after a pause only, and people are told. A loss does not wait for that.",
            &[
                "publish orders-0",
                "publish orders-0",
                "tell people PublicationContested",
                "the alarm rings",
                "publish orders-0",
                "-> Reelecting orders-1, for unready",
                "-> Elected orders-1",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_obstacle() -> Result<()> {
    let recording = Recording::new("obstruction").await?;
    let stage = &recording.stage;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    let foreign = stage.ns.service("orders-leader").selector("app", "else").port("http", 80, 8080);
    let foreign = foreign.create().await?;
    stage.source("orders").create().await?;
    stage.until_notice("LeaderServiceConflict").await?;
    foreign.delete().await?;
    stage.until_led("orders", &pod).await?;
    recording
        .keep(
            "A Service of somebody else has the leader Service's name: nothing is published until \
             it is gone.",
            &[
                "in our place stands Service orders-leader",
                "nothing of others stands in the way any more",
                "-> Reelecting orders-0",
                "-> Elected orders-0",
            ],
        )
        .await
}

/// A leader Service that another installation claims, until it no longer does.
#[tokio::test(flavor = "multi_thread")]
async fn another_installation() -> Result<()> {
    let recording = Recording::new("another-installation").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let of = |instance: &str| json!({ "metadata": { "annotations": { "zen-lead.io/instance": instance } } });
    let ours = stage.leader_service("orders").await?.annotations()["zen-lead.io/instance"].clone();
    stage.edit_service("orders-leader", &of("elsewhere/zen-lead")).await?;
    stage.until_notice("LeaderServiceConflict").await?;
    stage.edit_service("orders-leader", &of(&ours)).await?;
    stage.until_led("orders", &pods[0]).await?;
    stage.until_told("LeaderRecovered", &["orders-0"]).await?;
    recording
        .keep(
            "Another installation claims the leader Service: our slice is removed, for it must not \
             route beside theirs. They give it back, and our leader is published in a later term.",
            &[
                "in our place stands Service orders-leader",
                "-> Leaderless, for obstruction",
                "remove our slices",
                "nothing of others stands in the way any more",
                "-> Reelecting orders-0",
                "-> Elected orders-0",
            ],
        )
        .await
}

/// Somebody touches the slice at the moment of a failover, as often as it takes until they meet.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict() -> Result<()> {
    let recording = Recording::new("conflict").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    for round in 0..50 {
        let (loses, follows) = if round % 2 == 0 { (&pods[0], &pods[1]) } else { (&pods[1], &pods[0]) };
        let (touched, lost) = tokio::join!(touches(stage, round), loses.unready());
        touched?;
        lost?;
        stage.until_led("orders", follows).await?;
        loses.ready().await?;
        if recording.record.has("\"outcome\":\"conflict\"")? {
            break;
        }
    }
    recording
        .keep(
            "Somebody touches the slice at the moment of a failover: the write is refused because \
             it was decided on an older version, and is decided anew.",
            &["failed: the slice has changed since", "-> Elected"],
        )
        .await
}

async fn touches(stage: &Stage, round: usize) -> Result<()> {
    for number in 0..4 {
        let touch =
            json!({ "metadata": { "annotations": { "example.com/touch": format!("{round}-{number}") } } });
        edit(stage, &touch).await?;
    }
    Ok(())
}

/// Whichever is seen first: with the lost one, the slice is not repaired for long.
#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_slice_and_a_loss() -> Result<()> {
    let recording = Recording::new("emptied-and-lost").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    edit(stage, &json!({ "endpoints": [] })).await?;
    pods[0].unready().await?;
    stage.ns.slices().until_leader("orders-leader", "orders-1", SOON).await?;
    recording
        .keep(
            "Somebody empties the slice right before its leader is lost: the next pod is published, \
             whatever of it was seen first.",
            &["the watch shows: nobody is published", "-> Elected orders-1"],
        )
        .await
}
