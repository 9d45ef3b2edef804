//! The controller, installed as it is shipped.

use anyhow::{Context as _, Result};
use kube::Client;
use serde_json::{Value, json};

use crate::cluster::ready_pods;
use crate::lab::Namespace;
use crate::manifests::{apply_yaml, documents};

/// What `kubectl apply -k deploy` applies.
const DEPLOY: [&str; 7] = [
    include_str!("../../../../deploy/base/namespace.yaml"),
    include_str!("../../../../deploy/base/serviceaccount.yaml"),
    include_str!("../../../../deploy/clusterrole.yaml"),
    include_str!("../../../../deploy/clusterrolebinding.yaml"),
    include_str!("../../../../deploy/base/lease.yaml"),
    include_str!("../../../../deploy/base/poddisruptionbudget.yaml"),
    include_str!("../../../../deploy/base/deployment.yaml"),
];

/// What the component `deploy/nodes` adds to it.
const NODES: [&str; 4] = [
    include_str!("../../../../deploy/nodes/clusterrole.yaml"),
    include_str!("../../../../deploy/nodes/clusterrolebinding.yaml"),
    include_str!("../../../../deploy/nodes/role.yaml"),
    include_str!("../../../../deploy/nodes/rolebinding.yaml"),
];

/// The controller's pods.
pub(super) const CONTROLLERS: &str = "app.kubernetes.io/component=controller";

/// As many as the Deployment that is shipped has.
pub(super) const REPLICAS: usize = 2;

/// Returns when all replicas are Ready, with the namespace that they are in.
pub(super) async fn install(admin: Client, watch_nodes: bool) -> Result<Namespace> {
    let rights = if watch_nodes { &NODES[..] } else { &[] };
    for manifest in rights.iter().chain(&DEPLOY) {
        for mut object in documents(manifest)? {
            if watch_nodes && object["kind"] == "Deployment" {
                let arguments = object.pointer_mut("/spec/template/spec/containers/0/args");
                let arguments = arguments.and_then(Value::as_array_mut).context("it has arguments")?;
                arguments.push(json!("--watch-nodes"));
            }
            // JSON is YAML.
            apply_yaml(&admin, &object.to_string(), None).await?;
        }
    }
    let system = Namespace::of_cluster(admin, "zen-lead-system");
    ready_pods(&system, CONTROLLERS, REPLICAS).await?;
    Ok(system)
}
