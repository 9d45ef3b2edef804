//! A pod that exists, and what may happen to it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod as PodObject;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time;

/// A pod in the cluster. The methods are the facts a controller may see: each is one request.
#[derive(Debug, Clone)]
pub struct Pod {
    api: Api<PodObject>,
    name: String,
    uid: String,
    ips: Vec<IpAddr>,
    created: Timestamp,
}

impl Pod {
    pub(crate) fn new(api: Api<PodObject>, object: &PodObject, ips: Vec<IpAddr>) -> Result<Self> {
        let metadata = object.metadata.clone();
        Ok(Self {
            api,
            ips,
            name: metadata.name.context("a created pod has a name")?,
            uid: metadata.uid.context("a created pod has a UID")?,
            created: metadata.creation_timestamp.context("a created pod has a creation time")?.0,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UID: a pod of the same name made later has another.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// When it was created, in whole seconds.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Its first address, which it has from its first report on.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ips[0]
    }

    /// All its addresses.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        &self.ips
    }

    /// Reports it Running and Ready.
    pub async fn ready(&self) -> Result<()> {
        self.report(true).await
    }

    /// Reports it Running and not Ready.
    pub async fn unready(&self) -> Result<()> {
        self.report(false).await
    }

    /// Reports another phase: `Failed`, `Succeeded`, `Pending`. Conditions stay as they are.
    pub async fn phase(&self, phase: &str) -> Result<()> {
        self.status(json!({ "phase": phase })).await
    }

    /// Changes the status by a merge patch.
    pub async fn status(&self, status: Value) -> Result<()> {
        let patch = json!({ "metadata": { "uid": self.uid }, "status": status });
        self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Sets a label, or removes it.
    pub async fn relabel(&self, key: &str, value: Option<&str>) -> Result<()> {
        self.patch(json!({ "metadata": { "labels": { key: value } } })).await
    }

    /// Sets an annotation, or removes it.
    pub async fn annotate(&self, key: &str, value: Option<&str>) -> Result<()> {
        self.patch(json!({ "metadata": { "annotations": { key: value } } })).await
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, mut patch: Value) -> Result<()> {
        // Refused if a later pod has taken the name.
        patch["metadata"]["uid"] = json!(self.uid);
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes it with a grace period: it is terminating from now on, and stays until [`Pod::vanish`], since no kubelet
    /// ends it.
    pub async fn terminate(&self, grace: Duration) -> Result<()> {
        self.delete(Some(u32::try_from(grace.as_secs())?)).await
    }

    /// Deletes it with the grace period of its own spec.
    pub async fn terminate_by_spec(&self) -> Result<()> {
        self.delete(None).await
    }

    /// Removes the object: what a kubelet does when the containers have ended, and what a forced delete does.
    pub async fn vanish(&self) -> Result<()> {
        let object = self.get().await?;
        if object.metadata.finalizers.is_some_and(|finalizers| !finalizers.is_empty()) {
            self.patch(json!({ "metadata": { "finalizers": null } })).await?;
        }
        match self.delete(Some(0)).await {
            // Taking the last finalizer from a deleted object removes it.
            Err(error) if is_not_found(&error) => Ok(()),
            result => result,
        }
    }

    /// It as it is now.
    pub async fn get(&self) -> Result<PodObject> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Waits until a pod that is created now is younger by its `creationTimestamp`, which has whole seconds only. The
    /// wait is for the clock (both processes read the same one), not for luck.
    pub async fn becomes_older(&self) -> Result<()> {
        let next_second = self.created.as_second() + 1;
        while Timestamp::now().as_second() < next_second {
            time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    pub(crate) async fn report(&self, ready: bool) -> Result<()> {
        self.status(ready_status(&self.ips, ready)).await
    }

    async fn delete(&self, grace_period_seconds: Option<u32>) -> Result<()> {
        let preconditions = kube::api::Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds,
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        self.api.delete(&self.name, &params).await?;
        Ok(())
    }
}

/// The status a kubelet writes for a running pod.
pub(crate) fn ready_status(ips: &[IpAddr], ready: bool) -> Value {
    let now = whole_seconds(Timestamp::now());
    let ready = if ready { "True" } else { "False" };
    let condition =
        |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": now });
    json!({
        "phase": "Running",
        "podIP": ips.first(),
        "podIPs": ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>(),
        "conditions": [
            condition("PodScheduled", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
    })
}

/// As Kubernetes writes times: the API server refuses fractions of a second here.
fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn is_not_found(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.code == 404)
}
