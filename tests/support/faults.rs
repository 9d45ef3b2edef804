//! Stages for tests that break something between the controller and the API server.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, PostParams};
use lab::{Account, Lab, Namespace, Pod};
use serde_json::json;

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

    /// A stage in a namespace with an account that are there.
    pub async fn for_account(lab: &Lab, ns: Namespace, account: Account, arguments: &[&str]) -> Result<Self> {
        let audit = lab.control_plane.audit().from_now();
        let controller = Controller::in_namespace(&ns, &account, arguments).await?;
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

    /// From now on every such write (`UPDATE`, `DELETE`) of slices in this namespace is answered by 500: an admission
    /// webhook that nobody serves. Its name, for [`Stage::mend_writes_of_slices`].
    pub async fn break_writes_of_slices(&self, operation: &str) -> Result<String> {
        let webhook = json!({
            "metadata": { "name": self.ns.name() },
            "webhooks": [{
                "name": "nobody.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail", "timeoutSeconds": 1,
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.ns.name() } },
                "rules": [{
                    "apiGroups": ["discovery.k8s.io"], "apiVersions": ["v1"], "resources": ["endpointslices"],
                    "operations": [operation, "CREATE"],
                }],
                "clientConfig": { "url": format!("https://127.0.0.1:{}/", lab::free_port()?) },
            }],
        });
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(self.ns.client());
        webhooks.create(&PostParams::default(), &serde_json::from_value(webhook)?).await?;
        // The API server has heard of it when a creation that would change nothing fails.
        let probe = serde_json::from_value(
            json!({ "metadata": { "name": "probe" }, "addressType": "IPv4", "endpoints": [] }),
        )?;
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let slices: Api<EndpointSlice> = self.ns.api();
        let heard = async { while slices.create(&params, &probe).await.is_ok() {} };
        tokio::time::timeout(SOON, heard).await.context("the webhook is not called")?;
        Ok(self.ns.name().to_owned())
    }

    /// Writes are let through again.
    pub async fn mend_writes_of_slices(&self, webhook: String) -> Result<()> {
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(self.ns.client());
        webhooks.delete(&webhook, &DeleteParams::default()).await?;
        Ok(())
    }
}
