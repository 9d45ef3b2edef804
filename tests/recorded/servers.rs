//! API servers that go away.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use lab::{Lab, Options};
use serde_json::json;

use crate::recording::{Recording, Story};

/// The other server plays those who go on to change things; the controller knows only the first. Its watches cannot go on
/// where they were: a server that has just started does not know what was before.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_restarts() -> Result<()> {
    let lab = Lab::start(Options::two_api_servers()).await?;
    let recording = Recording::on(&lab, "away").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 3).await?;
    let (_, others) = stage.led("bills", 2).await?;
    stage.all_is_seen().await?;
    let pods_by_the_other: Api<Pod> =
        Api::namespaced(lab.control_plane.connection().client_of(1).await?, stage.ns.name());

    lab.control_plane.api_server(0).kill();
    let lost = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let (patch, at_once) = (PatchParams::default(), DeleteParams::default().grace_period(0));
    pods_by_the_other.patch_status(pods[0].name(), &patch, &Patch::Merge(lost)).await?;
    pods_by_the_other.delete(others[0].name(), &at_once).await?;
    lab.control_plane.api_server(0).start().await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.until_led("bills", &others[1]).await?;
    let restart = Story {
        name: "api-server-restart",
        note: "The API server is away, and the leader NotReady when it is back: that is the first thing written.",
        tells: &[
            "the leader orders-0 is NotReady",
            "-> Reelecting orders-1, for unready",
            "-> Elected orders-1",
        ],
    };
    let relist = Story {
        name: "relist",
        note: "The API server is away while the leader is deleted, and back it has forgotten what was: the pod is \
               not in the list that follows, which counts as its deletion.",
        tells: &["the leader bills-0 is deleted", "-> Reelecting bills-1, for gone", "-> Elected bills-1"],
    };
    recording.keep_all(&[("orders", &restart), ("bills", &relist)]).await
}
