//! The walk-through of `deploy/README.md`: from the Go zen-lead to this one, and back.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt as _;
use lab::{Change, Pod, Revision};
use serde_json::json;

use crate::support::{SOON, SOURCE_SERVICE, Stage, leaders, left_by_go};

const SOURCES: [&str; 3] = ["carts", "orders", "web"];

/// Each source with the pod that leads, which is not the oldest.
type Led = BTreeMap<&'static str, Pod>;

/// What the program says and exits with.
fn zen_lead(stage: &Stage, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_zen-lead"));
    program.args(arguments).arg("--kubeconfig").arg(stage.ns.kubeconfig_admin()?);
    let output = tokio::task::block_in_place(|| program.output())?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// A stage on which the Go program has been.
async fn with_the_go_program(purpose: &str) -> Result<(Stage, Led)> {
    let mut stage = Stage::new(purpose).await?;
    stage.controller.stop()?;
    let mut led = Led::new();
    for name in SOURCES {
        let older = stage.member(name, &format!("{name}-0")).ready().create().await?;
        older.becomes_older().await?;
        let leader = stage.member(name, &format!("{name}-1")).ready().create().await?;
        let source = stage.source(name).create().await?;
        left_by_go(&stage, &source, &leader).await?;
        led.insert(name, leader);
    }
    Ok((stage, led))
}

/// UID and address of each leader Service.
async fn addresses(stage: &Stage) -> Result<Vec<(Option<String>, Option<String>)>> {
    let mut addresses = Vec::new();
    for name in SOURCES {
        let service = stage.leader_service(name).await?;
        let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
        addresses.push((service.uid(), address));
    }
    Ok(addresses)
}

/// Waits until the controller has taken all of it over, mirrors included.
async fn until_taken_over(stage: &Stage) -> Result<Vec<u64>> {
    let mut epochs = Vec::new();
    for name in SOURCES {
        let leader = format!("{name}-leader");
        let ours = |slice: &EndpointSlice| {
            let told = slice.endpoints.iter().filter_map(|endpoint| endpoint.conditions.as_ref());
            slice.annotations().contains_key("zen-lead.io/epoch")
                && told.clone().all(|told| told.serving.is_some())
        };
        let slice = stage.ns.slices().until(&leader, SOON, ours).await?;
        epochs.push(slice.annotations()["zen-lead.io/epoch"].parse()?);
        let mirrored = |service: &Service| service.annotations().contains_key("zen-lead.io/epoch");
        stage.until_leader_service(name, mirrored).await?;
    }
    stage.mark().await?;
    Ok(epochs)
}

/// In every revision of each slice its leader was the one ready endpoint, and none was deleted or made anew.
#[track_caller]
fn never_a_gap(revisions: &[Revision], led: &Led) {
    for (name, leader) in led {
        let slice = format!("{name}-leader");
        assert_eq!(leaders(revisions, &slice), [leader.name()], "{name}");
        for Revision { change, slice, .. } in revisions.iter().filter(|one| one.slice.name_any() == slice) {
            assert!(matches!(change, Change::Found | Change::Modified), "{name}: {change:?}");
            let told =
                |endpoint: &Endpoint| Some((endpoint.addresses.clone(), endpoint.conditions.as_ref()?.ready));
            let told: Vec<Option<_>> = slice.endpoints.iter().map(told).collect();
            assert_eq!(told, [Some((vec![leader.ip().to_string()], Some(true)))], "{name}: {slice:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p24_the_controllers_are_swapped_without_a_gap_and_back() -> Result<()> {
    let (mut stage, led) = with_the_go_program("swap").await?;
    let before = addresses(&stage).await?;
    let history = stage.ns.history().await?;

    let ns = stage.ns.name().to_owned();
    let (code, told) = zen_lead(&stage, &["doctor", "--migrate", "--go-namespace", &ns])?;
    assert_eq!(code, Some(0), "{told}");
    for leader in led.values() {
        assert!(told.contains(&format!("same-leader: {} stays the leader", leader.name())), "{told}");
    }
    stage.restart().await?;
    let epochs = until_taken_over(&stage).await?;
    let (_, told) = zen_lead(&stage, &["status"])?;
    for leader in led.values() {
        let row =
            told.lines().find(|line| line.contains(&format!(" {} ", leader.name()))).context("its row")?;
        assert!(row.contains("Elected"), "{told}");
    }
    never_a_gap(&history.up_to_now().await?, &led);
    assert_eq!(addresses(&stage).await?, before);

    // Back: the Go program finds each leader, and writes.
    stage.controller.stop()?;
    for (name, leader) in &led {
        go_reconciles(&stage, name, leader).await?;
    }
    never_a_gap(&history.up_to_now().await?, &led);

    // And here once more, for those who change their minds: no term is told of twice.
    stage.restart().await?;
    let again = until_taken_over(&stage).await?;
    assert!(again.iter().zip(&epochs).all(|(again, first)| again >= first), "{again:?} {epochs:?}");
    never_a_gap(&history.up_to_now().await?, &led);
    assert_eq!(addresses(&stage).await?, before);
    stage.end().await
}

/// What the Go program does with what it finds: the leader is the pod that the slice of the leader Service's name refers
/// to by UID, as long as it is Ready. Then it patches endpoints and annotations, and lists what it made by labels.
async fn go_reconciles(stage: &Stage, source: &str, leader: &Pod) -> Result<()> {
    let name = format!("{source}-leader");
    let slice = stage.slice(source).await?;
    let target =
        slice.endpoints.first().and_then(|endpoint| endpoint.target_ref.as_ref()).context("a pod")?;
    assert_eq!(target.kind.as_deref(), Some("Pod"));
    assert_eq!((target.uid.as_deref(), target.name.as_deref()), (Some(leader.uid()), Some(leader.name())));
    assert_eq!(target.namespace.as_deref(), Some(stage.ns.name()));
    for (label, value) in [
        ("kubernetes.io/service-name", &*name),
        ("endpointslice.kubernetes.io/managed-by", "zen-lead"),
        ("app.kubernetes.io/managed-by", "zen-lead"),
        (SOURCE_SERVICE, source),
    ] {
        assert_eq!(slice.labels().get(label).map(String::as_str), Some(value), "{label}");
    }
    let service = stage.leader_service(source).await?;
    for (label, value) in [("app.kubernetes.io/managed-by", "zen-lead"), (SOURCE_SERVICE, source)] {
        assert_eq!(service.labels().get(label).map(String::as_str), Some(value), "{label}");
    }
    assert_eq!(service.annotations()["zen-lead.io/leader-pod-uid"], leader.uid(), "it tells of no change");
    let endpoint = json!({
        "addresses": [leader.ip()], "conditions": { "ready": true }, "nodeName": "node-1", "targetRef": target,
    });
    stage.edit_slice(&name, &json!({ "addressType": "IPv4", "endpoints": [endpoint] })).await?;
    stage.edit_service(&name, &json!({ "spec": { "selector": null, "type": "ClusterIP" } })).await?;
    Ok(())
}
