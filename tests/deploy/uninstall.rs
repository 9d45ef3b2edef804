//! What the chart does before it is uninstalled, and for `helm test`. Nobody runs Jobs here, so the test does: with the
//! Job's command line, and the account and rights that the release has at that moment.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use lab::{Helm, Namespace, documents, within};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::{Release, restricted};
use crate::rendered::chart;

#[tokio::test(flavor = "multi_thread")]
async fn before_it_is_uninstalled_the_controller_is_stopped_and_what_it_made_is_removed() -> Result<()> {
    let ns = restricted("uninstall").await?;
    // Another namespace than its own: there, it has no rights of its own but to the Lease.
    let shop = restricted("shop").await?;
    let values = format!("namespaces={{{}}}", shop.name());
    let release = Release::new(&ns)?;
    release.run("install", &["--set", &values])?;
    let made = MADE.replace("INSTANCE", &format!("{}/zen-lead", ns.name()));
    shop.apply(&made).await?;
    let services = shop.api::<Service>();
    let hooks = hooks(&release, &values)?;

    // `helm test` tells, and leaves things as they are.
    let test = run_until(0, &ns, &release, &hooks, "Pod", "/spec").await?;
    assert!(String::from_utf8_lossy(&test.stdout).contains("would delete service"), "{test:?}");
    ensure!(services.get_opt("orders-leader").await?.is_some(), "nothing is deleted");

    // The account alone may not stop the Deployment: the right comes with the Job.
    let early = run(&ns, &release, &hooks, "Job", "/spec/template/spec").await?;
    assert_eq!(early.status.code(), Some(2), "{early:?}");
    assert!(String::from_utf8_lossy(&early.stderr).contains("deployments.apps"), "{early:?}");
    for hook in hooks.iter().filter(|hook| hook["kind"] == "Role" || hook["kind"] == "RoleBinding") {
        ns.apply(&hook.to_string()).await?;
    }
    // The controller's pod, which Kubernetes would end when the Deployment is scaled to zero.
    let template = ns.api::<Deployment>().get(&release.name).await?.spec.context("a spec")?.template;
    let labels = template.metadata.and_then(|metadata| metadata.labels);
    let metadata = ObjectMeta { name: Some("controller".into()), labels, ..ObjectMeta::default() };
    let pod = Pod { metadata, spec: template.spec, status: None };
    ns.api::<Pod>().create(&PostParams::default(), &pod).await?;

    let (ns_of_kubelet, services_then) = (ns.clone(), services.clone());
    let kubelet = tokio::spawn(async move {
        let scaled = |deployments: &[Deployment]| {
            deployments.iter().any(|d| d.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0)))
        };
        lab::until(&ns_of_kubelet.api::<Deployment>(), "", within(20), scaled).await?;
        let stays = services_then.get_opt("orders-leader").await?.is_some();
        let now = DeleteParams::default().grace_period(0);
        ns_of_kubelet.api::<Pod>().delete("controller", &now).await?;
        Ok::<_, anyhow::Error>(stays)
    });
    run_until(0, &ns, &release, &hooks, "Job", "/spec/template/spec").await?;
    assert!(kubelet.await??, "nothing is deleted while a pod of the controller is there");
    ensure!(services.get_opt("orders-leader").await?.is_none(), "the leader Service is removed");
    Ok(())
}

const MADE: &str = r"
apiVersion: v1
kind: Service
metadata:
  name: orders-leader
  labels: { app.kubernetes.io/managed-by: zen-lead, zen-lead.io/source-service: orders }
  annotations: { zen-lead.io/instance: INSTANCE }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
";

fn hooks(release: &Release, values: &str) -> Result<Vec<Value>> {
    let chart = chart()?;
    let arguments = ["template", &release.name, &chart, "--namespace", &release.namespace, "--set", values];
    let mut objects = documents(&Helm::find_or_build()?.run(&arguments)?)?;
    objects.retain(|object| !object["metadata"]["annotations"]["helm.sh/hook"].is_null());
    Ok(objects)
}

/// The same, again and again: the API server learns of roles by a watch, and until then it refuses.
async fn run_until(
    code: i32,
    ns: &Namespace,
    release: &Release,
    hooks: &[Value],
    kind: &str,
    pod: &str,
) -> Result<Output> {
    let deadline = Instant::now() + within(20);
    loop {
        let output = run(ns, release, hooks, kind, pod).await?;
        if output.status.code() == Some(code) {
            return Ok(output);
        }
        ensure!(Instant::now() < deadline && output.status.code() == Some(2), "{output:?}");
    }
}

/// Runs the container of this hook as the kubelet would.
async fn run(ns: &Namespace, release: &Release, hooks: &[Value], kind: &str, pod: &str) -> Result<Output> {
    let hook =
        hooks.iter().find(|hook| hook["kind"] == kind).with_context(|| format!("a hook of kind {kind}"))?;
    let pod = hook.pointer(pod).context("a pod")?;
    assert_eq!(pod["serviceAccountName"], release.name.as_str());
    let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone())?;
    let kubeconfig = ns.account(&release.name).await?.kubeconfig().await?;
    let mut cleanup = Command::new(env!("CARGO_BIN_EXE_zen-lead"));
    cleanup.args(arguments).arg("--kubeconfig").arg(kubeconfig).env("POD_NAMESPACE", ns.name());
    Ok(tokio::task::block_in_place(|| cleanup.output())?)
}
