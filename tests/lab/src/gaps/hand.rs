//! The limit: a client that sees on its own watch that the leader is lost, and writes a slice that it has prepared. What
//! remains is what Kubernetes itself takes.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle, JoinSet};

use super::follow::{Told, follow};
use crate::cluster::{LINES, pod_is_ready};
use crate::lab::Namespace;
use crate::slices::SERVICE_NAME;

/// The Service in front of the pods.
pub(super) const SOURCE: &str = "bare";

/// The Service whose slice is written.
pub(super) const LEADER_SERVICE: &str = "bare-leader";

/// Writes the slice of a Service that the controller does not know.
pub(super) struct Hand {
    shop: Namespace,
    /// Of its own, so that a connection is there when it is needed, and no other request is on it.
    write: Api<EndpointSlice>,
}

/// A hand that waits for the leader's loss; its drop ends it.
#[derive(Debug)]
pub(super) struct Waiting {
    _watch: JoinSet<()>,
    write: JoinHandle<Result<()>>,
}

impl Hand {
    /// Makes the Service and its slice, empty.
    pub(super) async fn new(shop: &Namespace) -> Result<Self> {
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": LEADER_SERVICE },
            "spec": {
                "ports": [
                    { "name": "http", "port": 80, "targetPort": 8080 },
                    { "name": "lines", "port": LINES },
                    { "name": "datagrams", "port": LINES, "protocol": "UDP" },
                ],
            },
        });
        shop.apply(&service.to_string()).await?;
        let client = shop.connection().client().await?;
        let hand = Self { shop: shop.clone(), write: Api::namespaced(client, shop.name()) };
        let slice = serde_json::from_value(json!({
            "metadata": { "name": LEADER_SERVICE, "labels": { SERVICE_NAME: LEADER_SERVICE } },
            "addressType": "IPv4",
            "endpoints": [],
            "ports": [
                { "name": "http", "port": 8080 },
                { "name": "lines", "port": LINES },
                { "name": "datagrams", "port": LINES, "protocol": "UDP" },
            ],
        }))?;
        hand.write.create(&PostParams::default(), &slice).await?;
        Ok(hand)
    }

    /// Makes one of these pods the leader, unless one of them is.
    pub(super) async fn point_to_one_of(&self, pods: &[Pod]) -> Result<()> {
        let slice = self.write.get(LEADER_SERVICE).await?;
        let led_by = |pod: &Pod| leader(&slice) == pod.uid();
        if pods.iter().any(led_by) {
            return Ok(());
        }
        let pod = pods.first().context("there are pods")?;
        self.write.replace(LEADER_SERVICE, &PostParams::default(), &pointing_to(slice, pod)?).await?;
        Ok(())
    }

    /// Waits for the loss of a leader, to make another pod the leader then.
    pub(super) async fn wait_for_loss(&self, of: &Pod, successor: &Pod) -> Result<Waiting> {
        let uid = of.uid();
        let (lost, mut losses) = mpsc::unbounded_channel();
        let mut watch = JoinSet::new();
        watch.spawn(follow::<Pod>(self.shop.api(), format!("app={SOURCE}"), move |told| {
            let is_lost = match told {
                Told::All(_) => false,
                Told::Is(pod) => {
                    pod.uid() == uid && (pod.metadata.deletion_timestamp.is_some() || !pod_is_ready(&pod))
                }
                Told::Gone(pod) => pod.uid() == uid,
            };
            if is_lost {
                // Fails when it was told before.
                let _ = lost.send(());
            }
        }));
        let api = self.write.clone();
        let prepared = pointing_to(api.get(LEADER_SERVICE).await?, successor)?;
        let write = task::spawn(async move {
            losses.recv().await.context("the watch goes on")?;
            api.replace(LEADER_SERVICE, &PostParams::default(), &prepared).await?;
            Ok(())
        });
        Ok(Waiting { _watch: watch, write })
    }
}

impl Waiting {
    /// Fails if it could not write, when it should have.
    pub(super) async fn end(mut self) -> Result<()> {
        if self.write.is_finished() {
            (&mut self.write).await?.context("a client's PUT")?;
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.write.abort();
    }
}

fn leader(slice: &EndpointSlice) -> Option<String> {
    slice.endpoints.first()?.target_ref.as_ref()?.uid.clone()
}

fn pointing_to(mut slice: EndpointSlice, pod: &Pod) -> Result<EndpointSlice> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).context("a pod's address")?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    slice.endpoints = vec![serde_json::from_value(json!({
        "addresses": [address],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": node,
        "targetRef": { "kind": "Pod", "namespace": pod.namespace(), "name": pod.name_any(), "uid": pod.uid() },
    }))?];
    Ok(slice)
}
