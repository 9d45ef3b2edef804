//! What the leader Service and its slice look like.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

use crate::support::{ENABLED, SOON, SOURCE_SERVICE, Stage, manifest};

const GITOPS_LABELS: [&str; 9] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "argocd.argoproj.io/instance",
    "fluxcd.io/part-of",
    "kustomize.toolkit.fluxcd.io/name",
    "kustomize.toolkit.fluxcd.io/namespace",
    "kustomize.toolkit.fluxcd.io/revision",
];

#[tokio::test(flavor = "multi_thread")]
async fn p01_an_annotated_service_gets_a_leader_service_and_one_endpoint() -> Result<()> {
    let stage = Stage::new("p01").await?;
    let source = stage.source("orders").create().await?;
    let before = source.get().await?.spec;
    for name in ["orders-0", "orders-1", "orders-2"] {
        stage.member("orders", name).ready().create().await?;
    }
    let slice = stage.ns.slices().until(LEADER, SOON, |slice| !slice.endpoints.is_empty()).await?;
    assert_eq!((slice.name_any().as_str(), slice.endpoints.len()), (LEADER, 1));
    let leader_service = stage.until_service(LEADER).await?.spec.context("a Service has a spec")?;
    assert_eq!(leader_service.selector, None);
    assert_eq!(source.get().await?.spec, before, "the source is the user's");
    stage.mark().await?;
    assert_eq!(stage.made_for("orders").await?, (vec![LEADER.to_owned()], vec![LEADER.to_owned()]));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p01_any_value_but_true_is_not_opted_in() -> Result<()> {
    let stage = Stage::new("p01-value").await?;
    let mark = stage.mark().await?;
    let values = ["", "false", "True", "TRUE", "1", "yes", "on", " true", "true ", "\"true\""];
    for (number, value) in values.into_iter().enumerate() {
        let name = format!("orders-{number}");
        stage.source(&name).annotation(ENABLED, value).create().await?;
        stage.member(&name, &format!("{name}-0")).ready().create().await?;
    }
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p02_the_leader_service_has_the_sources_ports_and_our_labels() -> Result<()> {
    let stage = Stage::new("p02").await?;
    let udp = json!({ "name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP" });
    let sctp = json!({ "name": "sig", "port": 36412, "protocol": "SCTP", "appProtocol": "example.com/s1" });
    let source = stage.source("orders").port_with(udp).port_with(sctp).create().await?;
    let leader = stage.until_service(LEADER).await?;
    assert_eq!(leader.labels()["app.kubernetes.io/managed-by"], "zen-lead");
    assert_eq!(leader.labels()[SOURCE_SERVICE], "orders");
    let owner = source.get().await?;
    assert_eq!(ports_of(&leader)?, ports_of(&owner)?);
    assert_eq!(ports_of(&leader)?.len(), 3);

    // They follow.
    let one = json!({ "name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP" });
    source.patch(json!({ "spec": { "ports": [one] } })).await?;
    let https = |service: &Service| {
        ports_of(service).is_ok_and(|ports| ports.len() == 1 && ports[0].name.as_deref() == Some("https"))
    };
    lab::until_object(&stage.ns.api::<Service>(), LEADER, SOON, https).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p03_the_slice_says_whose_it_is_and_who_is_behind_the_endpoint() -> Result<()> {
    let stage = Stage::new("p03").await?;
    stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").node("node-7").ready().create().await?;
    let slice = stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let expected = [
        ("kubernetes.io/service-name", LEADER),
        ("endpointslice.kubernetes.io/managed-by", "zen-lead"),
        ("app.kubernetes.io/managed-by", "zen-lead"),
        (SOURCE_SERVICE, "orders"),
    ];
    for (key, value) in expected {
        assert_eq!(slice.labels().get(key).map(String::as_str), Some(value), "{key}");
    }
    let endpoint = &slice.endpoints[0];
    assert_eq!(endpoint.addresses, [pod.ip().to_string()]);
    assert_eq!(endpoint.node_name.as_deref(), Some("node-7"));
    let target = endpoint.target_ref.clone().context("the endpoint names its pod")?;
    assert_eq!(target.kind.as_deref(), Some("Pod"));
    assert_eq!(target.name.as_deref(), Some("orders-0"));
    assert_eq!(target.namespace.as_deref(), Some(stage.ns.name()));
    assert_eq!(target.uid.as_deref(), Some(pod.uid()));
    let ports = slice.ports.as_deref().unwrap_or_default();
    assert_eq!(
        ports.iter().map(|port| (port.name.as_deref(), port.port)).collect::<Vec<_>>(),
        [(Some("http"), Some(8080))]
    );
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_the_custom_name_names_service_and_slice() -> Result<()> {
    let stage = Stage::new("p04").await?;
    stage.source("orders").annotation(LEADER_SERVICE_NAME, "writer").create().await?;
    stage.source("bills").annotation(LEADER_SERVICE_NAME, "").create().await?;
    for name in ["orders", "bills"] {
        stage.member(name, &format!("{name}-0")).ready().create().await?;
    }
    stage.ns.slices().until_leader("writer", "orders-0", SOON).await?;
    stage.ns.slices().until_leader("bills-leader", "bills-0", SOON).await?;
    stage.mark().await?;
    let both = |name: &str| (vec![name.to_owned()], vec![name.to_owned()]);
    assert_eq!(stage.made_for("orders").await?, both("writer"));
    assert_eq!(stage.made_for("bills").await?, both("bills-leader"));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p12_the_leader_service_of_a_headless_one_has_a_cluster_ip() -> Result<()> {
    let stage = Stage::new("p12").await?;
    stage.source("orders").headless().create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let leader = stage.until_service(LEADER).await?;
    let spec = leader.spec.context("a Service has a spec")?;
    assert_eq!(spec.type_.as_deref(), Some("ClusterIP"));
    let address = spec.cluster_ip.unwrap_or_default();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "its cluster IP is {address:?}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_labels_are_copied_less_those_of_gitops_tools_and_annotations_are_not() -> Result<()> {
    let stage = Stage::new("p13").await?;
    let mut source = stage.source("orders").label("team", "shop").label("example.com/tier", "gold");
    for label in GITOPS_LABELS {
        source = source.label(label, "theirs");
    }
    let foreign = [
        "argocd.argoproj.io/tracking-id",
        "argocd.argoproj.io/sync-wave",
        "fluxcd.io/sync-checksum",
        "kustomize.toolkit.fluxcd.io/prune",
        "example.com/owner",
    ];
    for annotation in foreign {
        source = source.annotation(annotation, "theirs");
    }
    source.create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    let slice = stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let service = stage.until_mirrored(LEADER, "orders-0").await?;
    for (what, labels, annotations) in [
        ("the leader Service", service.labels(), service.annotations()),
        ("the slice", slice.labels(), slice.annotations()),
    ] {
        assert_eq!(labels.get("team").map(String::as_str), Some("shop"), "{what}");
        assert_eq!(labels.get("example.com/tier").map(String::as_str), Some("gold"), "{what}");
        for label in GITOPS_LABELS {
            assert_ne!(labels.get(label).map(String::as_str), Some("theirs"), "{what} has {label}");
        }
        assert_eq!(labels.get("app.kubernetes.io/managed-by").map(String::as_str), Some("zen-lead"));
        for annotation in foreign.iter().chain([&ENABLED]) {
            assert!(!annotations.contains_key(*annotation), "{what} has {annotation}");
        }
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p19_the_leader_service_tells_who_leads_and_since_when() -> Result<()> {
    let stage = Stage::new("p19").await?;
    let begun = Timestamp::now();
    stage.source("orders").create().await?;
    let first = stage.member("orders", "orders-0").ready().create().await?;
    let second = stage.member("orders", "orders-1").ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let service = stage.until_mirrored(LEADER, "orders-0").await?;
    let told = told(&service)?;
    assert_eq!(told.names, [Some("orders-0"), Some("orders-0"), Some(first.uid())].map(owned));
    assert!(told.since.as_second() >= begun.as_second() && told.since <= Timestamp::now());

    // Times are told to the second: the next one is later, and shows that it follows.
    second.becomes_older().await?;
    let second_begun = Timestamp::now();
    first.unready().await?;
    let service = stage.until_mirrored(LEADER, "orders-1").await?;
    let told = self::told(&service)?;
    assert_eq!(told.names, [Some("orders-1"), Some("orders-1"), Some(second.uid())].map(owned));
    assert!(told.since.as_second() >= second_begun.as_second() && told.since <= Timestamp::now());

    // Nobody is told of who does not lead.
    second.unready().await?;
    let nobody = |service: &Service| !service.annotations().contains_key("zen-lead.io/current-leader");
    let service = lab::until_object(&stage.ns.api::<Service>(), LEADER, SOON, nobody).await?;
    assert!(!service.annotations().contains_key("zen-lead.io/leader-pod-name"));
    assert!(!service.annotations().contains_key("zen-lead.io/leader-pod-uid"));
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p23_two_objects_a_service_and_no_write_to_pods_or_sources() -> Result<()> {
    let stage = Stage::new("p23").await?;
    let source = stage.source("orders").create().await?;
    let pods = [
        stage.member("orders", "orders-0").ready().create().await?,
        stage.member("orders", "orders-1").ready().create().await?,
    ];
    let versions = async || -> Result<Vec<Option<String>>> {
        let mut versions = vec![source.get().await?.resource_version()];
        for pod in &pods {
            versions.push(pod.get().await?.resource_version());
        }
        anyhow::Ok(versions)
    };
    let before = versions().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    stage.mark().await?;
    assert_eq!(versions().await?, before);
    assert_eq!(stage.made_for("orders").await?, (vec![LEADER.to_owned()], vec![LEADER.to_owned()]));
    for write in stage.writes()? {
        let resource = write.split(' ').nth(1).unwrap_or_default();
        assert!(["services", "endpointslices", "events"].contains(&resource), "{write}");
        assert!(!write.ends_with(" orders") && !write.ends_with(" orders-0"), "{write}");
    }
    assert_eq!(stage.ns.api::<Pod>().list(&ListParams::default()).await?.items.len(), 2 + 1);
    stage.end().await
}

#[test]
fn p23_no_crd_and_no_webhook_is_shipped() -> Result<()> {
    let mut seen = 0;
    for folder in ["deploy", "deploy/base", "deploy/namespaced"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            for document in lab::documents(&manifest(&path.display().to_string())?)? {
                let kind = document["kind"].as_str().unwrap_or_default();
                assert!(!kind.is_empty(), "{} has no kind", path.display());
                let is_intrusive = kind == "CustomResourceDefinition" || kind.contains("Webhook");
                assert!(!is_intrusive, "{} has a {kind}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "only {seen} documents were found");
    Ok(())
}

const LEADER: &str = "orders-leader";
const LEADER_SERVICE_NAME: &str = "zen-lead.io/leader-service-name";
const NOTHING: [&str; 0] = [];

/// What a leader Service tells of the leader.
struct Told {
    /// `current-leader`, `leader-pod-name`, `leader-pod-uid`.
    names: [Option<String>; 3],
    since: Timestamp,
}

fn told(service: &Service) -> Result<Told> {
    let annotation = |name: &str| service.annotations().get(&format!("zen-lead.io/{name}")).cloned();
    let since = annotation("leader-last-switch-time").context("no leader-last-switch-time")?;
    Ok(Told {
        names: ["current-leader", "leader-pod-name", "leader-pod-uid"].map(annotation),
        since: since.parse().with_context(|| format!("{since} is not as RFC 3339 has it"))?,
    })
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// The ports as clients see them, in order.
fn ports_of(service: &Service) -> Result<Vec<ServicePort>> {
    let seen = |port: &ServicePort| ServicePort { target_port: None, node_port: None, ..port.clone() };
    let spec = service.spec.as_ref().context("a Service has a spec")?;
    Ok(spec.ports.iter().flatten().map(seen).collect())
}
