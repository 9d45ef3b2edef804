//! Stages for tests that break something between the controller and the API server.

use std::path::PathBuf;

use anyhow::Result;
use lab::{Account, Lab, Pod};

use super::{Controller, SOON, Stage, authorise};

impl Stage {
    /// A stage whose controller has this kubeconfig.
    pub async fn by(
        lab: &Lab,
        purpose: &str,
        kubeconfig: impl AsyncFnOnce(&Account) -> Result<PathBuf>,
    ) -> Result<Self> {
        let audit = lab.control_plane.audit().from_now();
        let ns = lab.namespace(purpose).await?;
        let account = authorise(&ns).await?;
        let kubeconfig = kubeconfig(&account).await?;
        let controller = Controller::start(&kubeconfig, ns.name(), &["--namespace", ns.name()])?;
        controller.until_ready().await?;
        Ok(Self { ns, account, controller, audit })
    }

    /// Lets `orders-0` lead `orders`, with `orders-1` as its successor, which the controller knows.
    pub async fn led_pair(&self) -> Result<[Pod; 2]> {
        self.source("orders").create().await?;
        self.pair().await
    }

    /// The same for a source Service that exists.
    pub async fn pair(&self) -> Result<[Pod; 2]> {
        let first = self.member("orders", "orders-0").ready().create().await?;
        self.until_led_by("orders-0").await?;
        let second = self.member("orders", "orders-1").ready().create().await?;
        // Pods are told in order: whoever knows this one knows those before it.
        self.source("marker").create().await?;
        self.member("marker", "marker-0").ready().create().await?;
        self.ns.slices().until_leader("marker-leader", "marker-0", SOON).await?;
        Ok([first, second])
    }

    pub async fn until_led_by(&self, pod: &str) -> Result<()> {
        self.ns.slices().until_leader("orders-leader", pod, SOON).await.map(drop)
    }
}
