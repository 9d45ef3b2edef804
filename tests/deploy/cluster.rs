//! Both ways on a real API server: admitted, upgraded, rolled back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod};
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams, ValidationDirective};
use kube::client::Body;
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use lab::{Helm, Lab, Namespace, documents};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::rendered::{chart, render};

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_known_to_the_api_server() -> Result<()> {
    let ns = restricted("known").await?;
    let values = "networkPolicy.enabled=true,monitoring.dashboard.enabled=true,flowSchema.enabled=true,\
                  watchNodes=true,leaders.enabled=true";
    for arguments in [
        ["--set", values, "--set", "priorityClassName=system-node-critical"],
        ["--set", values, "--set", &format!("namespaces={{{}}}", ns.name())],
    ] {
        for mut object in documents(&render(&arguments)?)? {
            let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
            if object["metadata"]["namespace"] == "zen-lead-system" {
                object["metadata"]["namespace"] = json!(ns.name());
            }
            try_strictly(&ns.client(), object).await.with_context(|| what)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_security_admits_the_pods_where_it_is_restricted() -> Result<()> {
    let ns = restricted("security").await?;
    let objects = documents(&render(&[])?)?;
    // Of the Deployment and of the Job that cleans up; and the pod of `helm test`.
    let templates = objects.iter().filter_map(|object| match object["kind"].as_str() {
        Some("Pod") => Some(object),
        _ => object.pointer("/spec/template"),
    });
    let mut admitted = 0;
    for template in templates {
        let mut pod = json!({ "metadata": { "name": format!("pod-{admitted}") }, "spec": template["spec"] });
        let labels = template["metadata"]["labels"].clone();
        pod["metadata"]["labels"] = labels;
        let pods = ns.api::<Pod>();
        pods.create(&PostParams::default(), &serde_json::from_value(pod.clone())?).await?;
        admitted += 1;
        // Had it been admitted anyway, this would be as well.
        pod["metadata"]["name"] = json!("privileged");
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refusal = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await;
        let refusal = refusal.err().context("privileges are refused")?.to_string();
        assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    }
    assert_eq!(admitted, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_rolled_back_and_removed() -> Result<()> {
    let ns = restricted("release").await?;
    let release = Release::new(&ns)?;
    release.run("install", &[])?;
    let deployments = ns.api::<Deployment>();
    let name = release.name.as_str();
    let cluster_roles = Api::<ClusterRole>::all(ns.client());
    ensure!(cluster_roles.get_opt(name).await?.is_some(), "the ClusterRole {name}");
    assert_eq!(wanted(&deployments, name).await?, (2, "zen-lead:0.1.0".into()));
    hold_lease(&ns).await?;

    release.run("upgrade", &["--set", "replicaCount=3,image.tag=0.2.0", "--set", &one_namespace(&ns)])?;
    assert_eq!(wanted(&deployments, name).await?, (3, "zen-lead:0.2.0".into()));
    ensure!(cluster_roles.get_opt(name).await?.is_none(), "one namespace needs no ClusterRole");
    assert_eq!(holder(&ns).await?.as_deref(), Some("zen-lead-0"), "an upgrade leaves the Lease alone");

    release.helm(&["rollback", name, "1", "--namespace", ns.name()])?;
    assert_eq!(wanted(&deployments, name).await?, (2, "zen-lead:0.1.0".into()));
    ensure!(cluster_roles.get_opt(name).await?.is_some(), "the ClusterRole is back");
    assert_eq!(holder(&ns).await?.as_deref(), Some("zen-lead-0"), "so does going back");

    release.helm(&["uninstall", name, "--namespace", ns.name(), "--no-hooks"])?;
    ensure!(deployments.list(&ListParams::default()).await?.items.is_empty(), "no Deployment is left");
    ensure!(ns.api::<Lease>().list(&ListParams::default()).await?.items.is_empty(), "no Lease is left");
    ensure!(
        ns.api::<PodDisruptionBudget>().list(&ListParams::default()).await?.items.is_empty(),
        "no budget"
    );
    ensure!(cluster_roles.get_opt(name).await?.is_none(), "no ClusterRole is left");
    let bindings = Api::<ClusterRoleBinding>::all(ns.client());
    ensure!(bindings.get_opt(name).await?.is_none(), "no ClusterRoleBinding is left");
    Ok(())
}

/// They would share the Lease, and each take the other's objects for its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_release_in_a_namespace_is_refused() -> Result<()> {
    let ns = restricted("second").await?;
    let release = Release::new(&ns)?;
    release.run("install", &[])?;
    let second = Release { name: format!("{}-b", release.name), ..Release::new(&ns)? };
    let refusal = second.run("install", &[]).err().context("it is refused")?.to_string();
    assert!(refusal.contains("zen-lead-controller-leader-election"), "{refusal}");
    assert!(refusal.contains("invalid ownership metadata"), "{refusal}");
    release.helm(&["uninstall", &release.name, "--namespace", ns.name(), "--no-hooks"])?;
    Ok(())
}

/// Of the answers' headers, one says which `FlowSchema` the request came under.
#[tokio::test(flavor = "multi_thread")]
async fn failovers_do_not_queue_with_other_accounts_if_so_wished_and_notices_do() -> Result<()> {
    let ns = restricted("flow").await?;
    let release = Release::new(&ns)?;
    release.run("install", &["--set", "flowSchema.enabled=true"])?;
    let ours = Api::<FlowSchema>::all(ns.client()).get(&release.name).await?.metadata.uid;
    let client = ns.account(&release.name).await?.client().await?;
    let slices = "/apis/discovery.k8s.io/v1/endpointslices?limit=1";
    let deadline = Instant::now() + SOON;
    // The API server learns of the object by a watch of its own.
    while schema_of(&client, slices).await? != ours {
        ensure!(Instant::now() < deadline, "{slices} does not come under {ours:?}");
        sleep(Duration::from_millis(50)).await;
    }
    for path in ["/api/v1/pods?limit=1", "/api/v1/services?limit=1"] {
        assert_eq!(schema_of(&client, path).await?, ours, "{path}");
    }
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{LEASE}", ns.name());
    assert_eq!(schema_of(&client, &lease).await?, ours);
    let notices = schema_of(&client, "/apis/events.k8s.io/v1/events?limit=1").await?;
    assert!(notices.is_some() && notices != ours, "{notices:?}");
    release.helm(&["uninstall", &release.name, "--namespace", ns.name(), "--no-hooks"])?;
    Ok(())
}

async fn schema_of(client: &Client, path: &str) -> Result<Option<String>> {
    let answer = client.send(http::Request::get(path).body(Body::empty())?).await?;
    let uid = answer.headers().get("x-kubernetes-pf-flowschema-uid");
    Ok(uid.map(|uid| uid.to_str().map(str::to_owned)).transpose()?)
}

/// A release in a namespace, whose name is unique in the cluster.
pub(crate) struct Release {
    pub(crate) name: String,
    pub(crate) namespace: String,
    helm: Helm,
}

impl Release {
    pub(crate) fn new(ns: &Namespace) -> Result<Self> {
        let helm = Helm::find_or_build()?.with_kubeconfig(&ns.kubeconfig_admin()?);
        Ok(Self { name: format!("zen-lead-{}", ns.name()), namespace: ns.name().into(), helm })
    }

    pub(crate) fn run(&self, what: &str, values: &[&str]) -> Result<String> {
        let chart = chart()?;
        self.helm(&[&[what, &self.name, &chart, "--namespace", &self.namespace], values].concat())
    }

    fn helm(&self, arguments: &[&str]) -> Result<String> {
        tokio::task::block_in_place(|| self.helm.run(arguments))
    }
}

fn one_namespace(ns: &Namespace) -> String {
    format!("namespaces={{{}}}", ns.name())
}

/// A namespace in which the strictest of the Pod Security Standards is enforced.
pub(crate) async fn restricted(purpose: &str) -> Result<Namespace> {
    let ns = Lab::shared().await?.namespace(purpose).await?;
    let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let api = Api::<NamespaceObject>::all(ns.client());
    api.patch(ns.name(), &PatchParams::default(), &Patch::Merge(labels)).await?;
    Ok(ns)
}

/// Applies it on trial; a field that the server does not know, or knows twice, is an error.
async fn try_strictly(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().context("a document without apiVersion and kind")?;
    let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::try_from(types)?).await?;
    let namespace = object.metadata.namespace.as_deref();
    let api: Api<DynamicObject> = match (capabilities.scope, namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => anyhow::bail!("it names no namespace"),
    };
    let name = object.metadata.name.clone().context("a document without a name")?;
    let strictly = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("lab").dry_run()
    };
    api.patch(&name, &strictly, &Patch::Apply(&object)).await?;
    Ok(())
}

/// Replicas and image.
async fn wanted(deployments: &Api<Deployment>, name: &str) -> Result<(i32, String)> {
    let spec = deployments.get(name).await?.spec.context("a spec")?;
    let containers = spec.template.spec.context("a pod")?.containers;
    let image = containers.first().and_then(|container| container.image.clone());
    Ok((spec.replicas.context("replicas")?, image.context("an image")?))
}

const SOON: Duration = Duration::from_secs(30);

const LEASE: &str = "zen-lead-controller-leader-election";

/// As a replica does.
async fn hold_lease(ns: &Namespace) -> Result<()> {
    let held = json!({ "spec": { "holderIdentity": "zen-lead-0" } });
    ns.api::<Lease>().patch(LEASE, &PatchParams::default(), &Patch::Merge(held)).await?;
    Ok(())
}

async fn holder(ns: &Namespace) -> Result<Option<String>> {
    Ok(ns.api::<Lease>().get(LEASE).await?.spec.and_then(|spec| spec.holder_identity))
}
