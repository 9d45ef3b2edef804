//! The controller as the chart installs it: with its own test, and what it does before it is uninstalled, as real Jobs.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use lab::cluster::{Cluster, ready_pods};
use lab::{Helm, Namespace};
use tokio::task::block_in_place;

use crate::recorder::SYSTEM;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart");

/// The installed release.
pub(crate) struct Release(Helm);

impl Release {
    /// Returns when both replicas are Ready.
    pub(crate) async fn install(cluster: &Cluster, shop: &Namespace) -> Result<Self> {
        let helm = Helm::find_or_build()?.with_kubeconfig(&shop.kubeconfig_admin()?);
        let release = Self(helm);
        release.helm(&["install", "zen-lead", CHART, "--create-namespace", "--wait"])?;
        let system = Namespace::of_cluster(cluster.admin().await?, SYSTEM);
        ready_pods(&system, "app.kubernetes.io/component=controller", 2).await?;
        Ok(release)
    }

    /// `helm test` tells what the installation has made, and leaves it.
    pub(crate) async fn test(&self, shop: &Namespace) -> Result<()> {
        let told = self.helm(&["test", "zen-lead", "--logs"])?;
        let line = format!("would delete service {}/web-leader", shop.name());
        ensure!(told.contains(&line), "{told}");
        ensure!(shop.api::<Service>().get_opt("web-leader").await?.is_some(), "{told}");
        Ok(())
    }

    /// With the release goes what it has made, and nothing of others.
    pub(crate) async fn uninstall(&self, cluster: &Cluster, shop: &Namespace) -> Result<()> {
        self.helm(&["uninstall", "zen-lead", "--wait"])?;
        let services = shop.api::<Service>();
        ensure!(services.get_opt("web-leader").await?.is_none(), "the leader Service is left");
        ensure!(services.get_opt("web").await?.is_some(), "the source Service is gone");
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=zen-lead");
        let slices = shop.api::<EndpointSlice>().list(&ours).await?.items;
        ensure!(slices.is_empty(), "slices are left: {slices:?}");
        let pods = Namespace::of_cluster(cluster.admin().await?, SYSTEM).api::<Pod>();
        let others = ListParams::default().labels("app.kubernetes.io/component!=test");
        let pods = pods.list(&others).await?.items;
        ensure!(pods.is_empty(), "pods are left: {pods:?}");
        Ok(())
    }

    fn helm(&self, arguments: &[&str]) -> Result<String> {
        block_in_place(|| self.0.run(&[arguments, &["--namespace", SYSTEM]].concat()))
    }
}
