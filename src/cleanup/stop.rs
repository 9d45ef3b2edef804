//! Stopping the controller, which would make anew what is deleted.

use std::io::Write;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, interval};

use super::{Error, Task};

/// Between two looks at the pods: they take seconds to end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Scales the Deployment to zero, and waits until its pods are gone: one that terminates still writes.
pub(super) async fn stop(
    client: &Client,
    task: &Task,
    deployment: &str,
    out: &mut impl Write,
) -> Result<(), Error> {
    let namespace = &task.instance.namespace;
    if task.dry_run {
        writeln!(out, "would scale deployment {namespace}/{deployment} to 0")?;
        return Ok(());
    }
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let scale = match deployments.patch_scale(deployment, &PatchParams::default(), &none).await {
        Ok(scale) => scale,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            writeln!(out, "there is no deployment {namespace}/{deployment}, so nothing to stop")?;
            return Ok(());
        }
        Err(error) => {
            let what = format!("scale the Deployment {namespace}/{deployment} to 0");
            return Err(Error::Refused { what, error });
        }
    };
    writeln!(out, "scaled deployment {namespace}/{deployment} to 0")?;
    let Some(selector) = scale.status.and_then(|status| status.selector) else { return Ok(()) };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let selected = ListParams::default().labels(&selector);
    let begun = Instant::now();
    let mut often = interval(LOOK_EVERY);
    loop {
        often.tick().await;
        let list = pods.list_metadata(&selected).await;
        let list = list.map_err(|error| Error::Refused {
            what: format!("list the pods of the Deployment {namespace}/{deployment}"),
            error,
        })?;
        if list.items.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= task.stop_timeout {
            return Err(Error::Running {
                count: list.items.len(),
                deployment: deployment.to_owned(),
                namespace: namespace.clone(),
                waited: task.stop_timeout,
            });
        }
    }
}
