//! What tests are written with: pods and their lives, waiting, histories, rights, the audit log.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use lab::{Change, FINALIZER, Lab, Namespace, leader_of, until_object, within};
use serde_json::{Value, json};

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test]
async fn a_pod_becomes_ready_and_unready_with_its_addresses() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("ready").await?;

    let pod = namespace.pod("a").dual_stack().port("http", 8080).create().await?;
    assert!(!is_ready(&pod.get().await?));

    pod.ready().await?;
    let object = until_object(&namespace.api::<Pod>(), "a", within(5), is_ready).await?;
    let status = object.status.context("it has a status")?;
    assert_eq!(status.pod_ip, Some(pod.ip().to_string()));
    assert_eq!(status.pod_ips.map(|ips| ips.len()), Some(2));

    pod.unready().await?;
    until_object(&namespace.api::<Pod>(), "a", within(5), |pod| !is_ready(pod)).await?;
    Ok(())
}

#[tokio::test]
async fn a_graceful_delete_leaves_a_terminating_pod_until_it_vanishes() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("grace").await?;
    let pod = namespace.pod("a").ready().create().await?;

    pod.terminate(within(30)).await?;
    let object = pod.get().await?;
    assert!(object.metadata.deletion_timestamp.is_some());
    assert_eq!(object.metadata.deletion_grace_period_seconds, Some(30));
    assert!(is_ready(&object), "nothing but its kubelet makes it unready");

    pod.vanish().await?;
    assert_eq!(namespace.api::<Pod>().get_opt("a").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_pod_without_node_is_removed_at_once_and_a_finalizer_keeps_it() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("finalizer").await?;
    let unscheduled = namespace.pod("a").unscheduled().create().await?;
    unscheduled.terminate(within(30)).await?;
    assert_eq!(namespace.api::<Pod>().get_opt("a").await?, None);

    let held = namespace.pod("b").finalizer().create().await?;
    held.terminate(within(0)).await?;
    let object = held.get().await?;
    assert!(object.metadata.deletion_timestamp.is_some());
    assert_eq!(object.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
    held.vanish().await?;
    assert_eq!(namespace.api::<Pod>().get_opt("b").await?, None);
    Ok(())
}

#[tokio::test]
async fn pods_have_ages_labels_and_identities() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("identity").await?;
    let builder = namespace.pod("a").label("app", "orders").of_replica_set("orders-1").bulky().ready();
    let first = builder.create().await?;
    first.becomes_older().await?;
    let younger = namespace.pod("b").label("app", "orders").create().await?;
    assert!(
        first.get().await?.metadata.creation_timestamp.map(|time| time.0)
            < younger.get().await?.metadata.creation_timestamp.map(|time| time.0)
    );

    younger.relabel("app", None).await?;
    let orders = namespace.api::<Pod>().list(&ListParams::default().labels("app=orders")).await?;
    assert_eq!(orders.items.len(), 1);

    // A pod of the same name is another pod, and the handle of the former does not touch it.
    first.vanish().await?;
    let second = builder.create().await?;
    assert_ne!(first.uid(), second.uid());
    assert!(first.unready().await.is_err());
    assert!(is_ready(&second.get().await?));
    Ok(())
}

#[test]
fn a_bulky_pod_has_the_size_of_real_ones() {
    let pod = lab::pod("orders-5d8f6c7b9-x2x4z").label("app", "orders").port("http", 8080).bulky().ready();
    let size = pod.as_watched("shop", "0b5c8d5e-0f0c-4d5f-8a29-1f8e1f0c7a11", 4711).to_string().len();
    assert!((5_500..7_500).contains(&size), "{size}");
}

#[tokio::test]
async fn a_service_has_both_families_and_named_ports() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("service").await?;
    let builder = namespace.service("orders").selector("app", "orders").dual_stack();
    let service = builder.port("http", 80, 8080).named_port("admin", 81, "admin").create().await?;

    let spec = service.get().await?.spec.context("it has a spec")?;
    assert_eq!(spec.cluster_ips.map(|ips| ips.len()), Some(2));
    assert_eq!(spec.ports.map(|ports| ports.len()), Some(2));
    service.annotate("zen-lead.io/enabled", Some("true")).await?;
    service.delete().await?;
    Ok(())
}

fn slice(pod: Option<&str>) -> Value {
    let endpoints: Vec<Value> = pod
        .iter()
        .map(|pod| {
            json!({ "addresses": ["10.244.0.1"], "conditions": { "ready": true },
                    "targetRef": { "kind": "Pod", "name": pod } })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "orders-leader", "labels": { lab::SERVICE_NAME: "orders-leader" } },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [],
    })
}

async fn publish(namespace: &Namespace, pod: Option<&str>) -> Result<()> {
    let api = namespace.api::<EndpointSlice>();
    api.patch("orders-leader", &PatchParams::apply("test").force(), &Patch::Apply(slice(pod))).await?;
    Ok(())
}

#[tokio::test]
async fn waiting_sees_what_comes_later_and_the_history_keeps_every_revision() -> Result<()> {
    let namespace = Lab::shared().await?.namespace("slices").await?;
    let history = namespace.history().await?;

    let slices = namespace.slices();
    let wait = tokio::spawn(async move { slices.until_leader("orders-leader", "b", within(10)).await });
    for pod in [Some("a"), None, Some("b")] {
        publish(&namespace, pod).await?;
    }
    wait.await??;
    publish(&namespace, None).await?;
    namespace.slices().until_leaderless("orders-leader", within(5)).await?;
    namespace.api::<EndpointSlice>().delete("orders-leader", &DeleteParams::default()).await?;

    let revisions = history.up_to_now().await?;
    let leaders: Vec<_> = revisions.iter().map(|revision| leader_of(&revision.slice)).collect();
    assert_eq!(leaders, [Some("a".into()), None, Some("b".into()), None, None]);
    assert_eq!(revisions.last().map(|revision| revision.change), Some(Change::Deleted));

    let error = namespace.slices().until_leader("orders-leader", "c", Duration::from_millis(50)).await;
    let error = format!("{:#}", error.err().context("c never leads")?);
    assert!(error.contains("waiting for c to lead"), "{error}");
    Ok(())
}

const RIGHTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: zen-lead}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: zen-lead, namespace: zen-lead}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: zen-lead}
rules:
- {apiGroups: [''], resources: [pods], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: zen-lead}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: zen-lead}
subjects: [{kind: ServiceAccount, name: zen-lead, namespace: zen-lead}]
";

#[tokio::test]
async fn an_account_has_its_rights_and_no_others_and_the_audit_log_tells() -> Result<()> {
    let lab = Lab::shared().await?;
    let namespace = lab.namespace("rights").await?;
    let audit = lab.control_plane.audit().from_now();
    namespace.apply(RIGHTS).await?;
    let account = namespace.account("zen-lead").await?;
    let client = account.client().await?;

    Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
    let denied = Api::<Secret>::default_namespaced(client).list(&ListParams::default()).await;
    assert!(matches!(denied, Err(kube::Error::Api(status)) if status.code == 403));

    let user = account.user();
    audit.until(within(5), |entries| entries.iter().filter(|entry| entry.user == user).count() == 2).await?;
    assert_eq!(audit.count(&user, "list", "pods")?, 1);
    let denials = audit.denials(&user)?;
    assert_eq!(denials.len(), 1);
    assert_eq!((denials[0].resource.as_str(), denials[0].namespace.as_str()), ("secrets", namespace.name()));
    assert_eq!(audit.from_now().by(&user)?, []);
    Ok(())
}

#[tokio::test]
async fn a_token_file_can_be_rotated() -> Result<()> {
    let lab = Lab::shared().await?;
    let namespace = lab.namespace("rotate").await?;
    namespace.apply(RIGHTS).await?;
    let account = namespace.account("zen-lead").await?;
    let (kubeconfig, token_file) = account.kubeconfig_with_token_file(lab.control_plane.url()).await?;
    lab::rotate(&token_file, &account.token_for(within(600)).await?)?;

    let client = lab::client_from(&kubeconfig).await?;
    Api::<Pod>::all(client).list(&ListParams::default()).await?;
    Ok(())
}

#[tokio::test]
async fn the_certificate_is_verified() -> Result<()> {
    let lab = Lab::shared().await?;
    let other = lab::ControlPlane::start(lab::Options::default()).await?;
    let token = lab::Token::Inline("anything".into());
    let foreign =
        other.connection().kubeconfig(lab.control_plane.url(), lab::Authority::Inline, &token, "default");
    let error = Api::<Pod>::all(lab::client(foreign).await?).list(&ListParams::default()).await;
    let error = format!("{:?}", error.err().context("another authority signed it")?);
    assert!(error.contains("InvalidCertificate") || error.contains("invalid peer certificate"), "{error}");
    Ok(())
}

#[tokio::test]
async fn tests_have_namespaces_of_their_own() -> Result<()> {
    let lab = Lab::shared().await?;
    let (one, other) = (lab.namespace("own").await?, lab.namespace("own").await?);
    assert_ne!(one.name(), other.name());
    one.pod("a").create().await?;
    other.pod("a").create().await?;
    let duplicate = serde_json::from_value(one.pod("a").object())?;
    assert!(one.api::<Pod>().create(&PostParams::default(), &duplicate).await.is_err());
    Ok(())
}
