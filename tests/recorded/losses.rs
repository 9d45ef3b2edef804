//! A leader is lost, in every way there is, and another pod follows.

use anyhow::Result;
use serde_json::json;

use crate::recording::Recording;

#[tokio::test(flavor = "multi_thread")]
async fn unready() -> Result<()> {
    let recording = Recording::new("unready").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 3).await?;
    pods[0].unready().await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].ready().await?;
    recording
        .keep(
            "The leader is NotReady: the next oldest of two pods follows with one write. Ready \
             again, the former leader stays a follower.",
            &[
                "the leader orders-0 is NotReady",
                "-> Reelecting orders-1, for unready",
                "publish orders-1",
                "-> Elected orders-1, for unready",
                "orders-0 is Ready",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn graceful_deletion() -> Result<()> {
    let recording = Recording::new("graceful-deletion").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].terminate(lab::within(300)).await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].unready().await?;
    pods[0].vanish().await?;
    recording
        .keep(
            "kubectl delete pod: the leader is followed as soon as it is told to terminate, and \
             what becomes of it later changes nothing.",
            &[
                "the leader orders-0 is told to terminate",
                "-> Reelecting orders-1, for terminating",
                "-> Elected orders-1",
                "orders-0 is deleted",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn force_deletion() -> Result<()> {
    let recording = Recording::new("force-deletion").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].vanish().await?;
    stage.until_led("orders", &pods[1]).await?;
    let again = stage.member("orders", "orders-0").ready().create().await?;
    pods[1].vanish().await?;
    stage.until_led("orders", &again).await?;
    recording
        .keep(
            "kubectl delete pod --force, twice: the leader is told to terminate, and gone some \
             milliseconds later. The second time, a pod of the first one's name follows, which is \
             another pod.",
            &[
                "the leader orders-0 is told to terminate",
                "-> Reelecting orders-1, for terminating",
                "orders-0 is deleted",
                "the leader orders-1 is told to terminate",
                "-> Reelecting orders-0, for terminating",
                "-> Elected orders-0",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn finished() -> Result<()> {
    let recording = Recording::new("finished").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].phase("Succeeded").await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "The leader's containers have ended, and its phase is Succeeded.",
            &["the leader orders-0 is done", "-> Reelecting orders-1, for finished", "-> Elected orders-1"],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn relabelled() -> Result<()> {
    let recording = Recording::new("relabelled").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].relabel("app", Some("quarantine")).await?;
    stage.until_led("orders", &pods[1]).await?;
    pods[0].relabel("app", Some("orders")).await?;
    recording
        .keep(
            "Somebody puts the leader into quarantine by its label, and takes it out again.",
            &[
                "the leader orders-0 is no longer selected",
                "-> Reelecting orders-1, for relabelled",
                "-> Elected orders-1",
                "orders-0 is Ready",
            ],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded() -> Result<()> {
    let recording = Recording::new("excluded").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].annotate("zen-lead.io/never-lead", Some("true")).await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "The leader is told never to lead, and another pod follows although it is Ready.",
            &["never to lead", "-> Reelecting orders-1, for excluded", "-> Elected orders-1"],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn address_lost() -> Result<()> {
    let recording = Recording::new("address-lost").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    pods[0].status(json!({ "podIP": null, "podIPs": null })).await?;
    stage.until_led("orders", &pods[1]).await?;
    recording
        .keep(
            "The leader has no address any more, though it counts as Ready.",
            &["without an address", "-> Reelecting orders-1, for address_lost", "-> Elected orders-1"],
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn port_unresolved() -> Result<()> {
    let recording = Recording::new("port-unresolved").await?;
    let stage = &recording.stage;
    let source = stage.source("orders").create().await?;
    let first = stage.member("orders", "orders-0").port("web", 8080).ready().create().await?;
    stage.until_led("orders", &first).await?;
    let second = stage.member("orders", "orders-1").port("api", 8081).ready().create().await?;
    stage.all_is_seen().await?;
    let ports =
        |target| json!({ "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": target }] } });
    source.patch(ports("api")).await?;
    stage.until_led("orders", &second).await?;
    recording
        .keep(
            "The Service is pointed at a named port that the leader does not have, and the next pod has.",
            &[
                "a port does not resolve",
                "-> Reelecting orders-1, for port_unresolved",
                "-> Elected orders-1",
            ],
        )
        .await
}

/// The API server takes no loopback address in a slice.
#[tokio::test(flavor = "multi_thread")]
async fn refused() -> Result<()> {
    let recording = Recording::new("endpoint-refused").await?;
    let stage = &recording.stage;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.all_is_seen().await?;
    pods[0].status(json!({ "podIP": "127.0.0.1", "podIPs": [{ "ip": "127.0.0.1" }] })).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.until_told("PublishRejected", &["orders-0", "loopback"]).await?;
    recording
        .keep(
            "The leader's new address is one that the API server takes in no slice: the next pod \
             follows, and people are told the server's words.",
            &[
                "the leader orders-0 has changed",
                "the API server refuses it",
                "-> Reelecting orders-1, for refused",
                "-> Elected orders-1",
            ],
        )
        .await
}

/// A Deployment is rolled out: one more pod than wanted at most.
#[tokio::test(flavor = "multi_thread")]
async fn rollout() -> Result<()> {
    let recording = Recording::new("rollout").await?;
    let stage = &recording.stage;
    stage.source("orders").create().await?;
    let of = |name, revision| stage.member("orders", name).label("pod-template-hash", revision).ready();
    let first = of("orders-6c9f8d7b5-m4q9t", "6c9f8d7b5").create().await?;
    stage.until_led("orders", &first).await?;
    let second = of("orders-6c9f8d7b5-x7k2p", "6c9f8d7b5").create().await?;
    second.becomes_older().await?;
    let third = of("orders-7d5b4c6f9-k8s3v", "7d5b4c6f9").create().await?;
    stage.all_is_seen().await?;
    first.terminate(lab::within(300)).await?;
    stage.until_led("orders", &third).await?;
    first.vanish().await?;
    of("orders-7d5b4c6f9-r5n1j", "7d5b4c6f9").create().await?;
    second.terminate(lab::within(300)).await?;
    second.vanish().await?;
    recording
        .keep(
            "A Deployment of two pods is rolled out: the leader moves once, to a pod of the new \
             revision, and not once a pod.",
            &[
                "the leader orders-6c9f8d7b5-m4q9t is told to terminate",
                "-> Reelecting orders-7d5b4c6f9-k8s3v, for terminating",
                "-> Elected orders-7d5b4c6f9-k8s3v",
                "orders-6c9f8d7b5-x7k2p is deleted",
            ],
        )
        .await
}
