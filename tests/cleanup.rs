//! `zen-lead cleanup`: what an installation made goes, and nothing else.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use lab::{Lab, Namespace};
use serde_json::json;
use support::{SOON, Stage, authorise};
use tokio::time::Instant;

const MINE: &str = "--instance=mine/zen-lead";

#[tokio::test(flavor = "multi_thread")]
async fn i13_what_this_installation_made_goes_and_nothing_else() -> Result<()> {
    let mut stage = led("cleanup").await?;
    let ns = stage.ns.clone();
    let before = names(&ns).await?;
    stage.controller.stop()?;
    ns.apply(OTHERS).await?;
    // Labels are for finding things: whoever takes them off does not make the object theirs.
    let bare = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": null } } });
    ns.api::<Service>().patch("orders-leader", &PatchParams::default(), &Patch::Merge(bare)).await?;
    let whole = names(&ns).await?;

    let trial = cleanup(&stage, &[MINE, "--dry-run"]).await?;
    assert_eq!(trial.code, Some(0), "{trial:?}");
    for object in ["service NS/orders-leader", "endpointslice NS/orders-leader", "service NS/stock-leader"] {
        let line = format!("would delete {}\n", object.replace("NS", ns.name()));
        assert!(trial.told.contains(&line), "{line}: {trial:?}");
    }
    assert!(trial.told.ends_with("mine/zen-lead: 4 objects would be deleted\n"), "{trial:?}");
    assert_eq!(names(&ns).await?, whole);

    let done = cleanup(&stage, &[MINE]).await?;
    assert_eq!(done.code, Some(0), "{done:?}");
    let others = "left alone: 2 objects of the installation other/zen-lead (--instance)\n";
    assert!(done.told.contains(others), "{done:?}");
    assert!(done.told.contains("left alone: 1 object of no installation"), "{done:?}");
    assert!(done.told.ends_with("mine/zen-lead: 4 objects deleted, 0 left\n"), "{done:?}");
    let gone: BTreeSet<String> = before.into_iter().filter(|name| name.contains("-leader")).collect();
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert_eq!(names(&ns).await?, &whole - &gone);

    let again = cleanup(&stage, &[MINE]).await?;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.told.ends_with("mine/zen-lead: nothing to delete\n"), "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_named_with_the_reason() -> Result<()> {
    let mut stage = led("held").await?;
    stage.controller.stop()?;
    let held = json!({ "metadata": { "finalizers": ["example.com/hold"] } });
    let services = stage.ns.api::<Service>();
    services.patch("orders-leader", &PatchParams::default(), &Patch::Merge(held)).await?;

    let done = cleanup(&stage, &[MINE]).await?;
    assert_eq!(done.code, Some(1), "{done:?}");
    let line = format!("still there: service {}/orders-leader: deleted, and held by", stage.ns.name());
    assert!(done.told.contains(&line) && done.told.contains("example.com/hold"), "{done:?}");
    assert!(done.told.ends_with("mine/zen-lead: 4 objects deleted, 1 left\n"), "{done:?}");

    let free = json!({ "metadata": { "finalizers": null } });
    services.patch("orders-leader", &PatchParams::default(), &Patch::Merge(free)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() -> Result<()> {
    let mut stage = led("rights").await?;
    stage.controller.stop()?;
    let kubeconfig = stage.ns.account("poor").await?.kubeconfig().await?;
    let refused = run(&kubeconfig, &stage.ns, &[MINE])?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let line = format!("cannot list services of namespace {}", stage.ns.name());
    assert!(refused.complained.contains(&line) && refused.told.is_empty(), "{refused:?}");

    stage.ns.apply(&POOR.replace("NAMESPACE", stage.ns.name())).await?;
    // The API server learns of roles by a watch.
    let deadline = Instant::now() + SOON;
    let done = loop {
        let done = run(&kubeconfig, &stage.ns, &[MINE])?;
        if done.code != Some(2) {
            break done;
        }
        ensure!(Instant::now() < deadline, "{done:?}");
    };
    assert_eq!(done.code, Some(1), "{done:?}");
    let line = format!("still there: service {}/orders-leader: ", stage.ns.name());
    assert!(done.told.contains(&line) && done.told.contains("cannot delete resource"), "{done:?}");
    assert!(done.told.contains("deleted endpointslice") && done.told.ends_with("2 left\n"), "{done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_while_a_pod_of_the_controller_is_there() -> Result<()> {
    let mut stage = led("running").await?;
    stage.controller.stop()?;
    let ns = &stage.ns;
    let deployment = DEPLOYMENT.replace("NAME", "controller");
    ns.apply(&deployment).await?;
    ns.pod("controller-0").label("app", "controller").create().await?;
    let instance = format!("--instance={}/zen-lead", ns.name());
    let kubeconfig = ns.kubeconfig_admin()?;
    let stop = ["--stop=controller", "--stop-timeout=1s", &*instance];

    let refused = run(&kubeconfig, ns, &stop)?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.told.starts_with("scaled deployment"), "{refused:?}");
    assert!(
        refused.complained.contains("pods of the Deployment controller are still there after 1 s (1)"),
        "{refused:?}"
    );
    let scaled = ns.api::<k8s_openapi::api::apps::v1::Deployment>().get("controller").await?;
    assert_eq!(scaled.spec.context("a spec")?.replicas, Some(0));

    let now = kube::api::DeleteParams::default().grace_period(0);
    ns.api::<Pod>().delete("controller-0", &now).await?;
    let done = run(&kubeconfig, ns, &stop)?;
    assert_eq!(done.code, Some(0), "{done:?}");
    let absent = run(&kubeconfig, ns, &["--stop=nobody", &*instance])?;
    assert_eq!(absent.code, Some(0), "{absent:?}");
    assert!(absent.told.contains("there is no deployment"), "{absent:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_is_no_clean_cluster() -> Result<()> {
    let ns = Lab::shared().await?.namespace("away").await?;
    let account = authorise(&ns).await?;
    let nowhere = format!("https://127.0.0.1:{}", lab::free_port()?);
    let done = run(&account.kubeconfig_for(&nowhere).await?, &ns, &[MINE])?;
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.complained.contains("cannot list services"), "{done:?}");
    Ok(())
}

// --- the scene ---

/// Two Services that an installation `mine/zen-lead` leads.
async fn led(purpose: &str) -> Result<Stage> {
    let stage = Stage::with(purpose, &[MINE]).await?;
    for source in ["orders", "stock"] {
        stage.member(source, &format!("{source}-0")).ready().create().await?;
        stage.source(source).create().await?;
        let leader = format!("{source}-leader");
        stage.ns.slices().until_leader(&leader, &format!("{source}-0"), SOON).await?;
    }
    Ok(stage)
}

/// Objects of another installation, of the Go zen-lead, and of people who copy annotations.
const OTHERS: &str = r"
apiVersion: v1
kind: Service
metadata:
  name: theirs-leader
  labels: { app.kubernetes.io/managed-by: zen-lead, zen-lead.io/source-service: theirs }
  annotations: { zen-lead.io/instance: other/zen-lead }
spec:
  ports: [{ name: http, port: 80 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: theirs-leader
  labels: { app.kubernetes.io/managed-by: zen-lead, zen-lead.io/source-service: theirs }
  annotations: { zen-lead.io/instance: other/zen-lead }
addressType: IPv4
endpoints: []
---
apiVersion: v1
kind: Service
metadata:
  name: old-leader
  labels: { app.kubernetes.io/managed-by: zen-lead, zen-lead.io/source-service: old }
spec:
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata:
  name: copied
  annotations: { zen-lead.io/instance: mine/zen-lead }
spec:
  ports: [{ name: http, port: 80 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: foreign
addressType: IPv4
endpoints: []
";

/// May see everything, and delete slices only.
const POOR: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: poor }
rules:
  - { apiGroups: [""], resources: [services], verbs: [list] }
  - { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, delete] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: poor }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: poor }
subjects: [{ kind: ServiceAccount, name: poor, namespace: NAMESPACE }]
"#;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: NAME }
spec:
  replicas: 2
  selector: { matchLabels: { app: NAME } }
  template:
    metadata: { labels: { app: NAME } }
    spec: { containers: [{ name: main, image: none }] }
";

/// All Services and slices of the namespace.
async fn names(ns: &Namespace) -> Result<BTreeSet<String>> {
    let all = ListParams::default();
    let services =
        ns.api::<Service>().list(&all).await?.items.into_iter().map(|s| format!("service {}", s.name_any()));
    let slices = ns.api::<EndpointSlice>().list(&all).await?.items;
    Ok(services.chain(slices.into_iter().map(|slice| format!("slice {}", slice.name_any()))).collect())
}

// --- the program ---

/// What a run of it came to.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    told: String,
    complained: String,
}

/// As the controller's account, in its namespace.
async fn cleanup(stage: &Stage, arguments: &[&str]) -> Result<Done> {
    run(&stage.account.kubeconfig().await?, &stage.ns, arguments)
}

fn run(kubeconfig: &Path, ns: &Namespace, arguments: &[&str]) -> Result<Done> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_zen-lead"));
    program
        .arg("cleanup")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--namespace", ns.name()])
        .args(arguments);
    let output = tokio::task::block_in_place(|| program.output())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { code: output.status.code(), told: text(output.stdout), complained: text(output.stderr) })
}
