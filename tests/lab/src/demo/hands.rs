//! `--keep`: what a person can try.

use std::future::pending;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::place::Place;
use super::screen::{Screen, Tone};
use super::show::{LEADER_SERVICE, MEMBERS, SOON, SOURCE};
use super::state::State;

/// Opts in again, says what can be tried, and waits.
pub(super) async fn wait(place: &Place, screen: &mut Screen) -> Result<()> {
    let patch = Patch::Merge(json!({
        "metadata": { "annotations": { "zen-lead.io/enabled": "true" } },
    }));
    let services = place.ns.api::<Service>();
    services.patch(SOURCE, &PatchParams::default(), &patch).await?;
    place.ns.slices().until(LEADER_SERVICE, SOON, |slice| State::of(slice).phase == "Elected").await?;
    let (exports, kubectl) = place.for_hands()?;
    screen
        .scene("Yours", "Service orders has opted in again and the controller runs on. In another terminal:");
    screen.line("");
    for line in exports {
        screen.line(&format!("  {line}"));
    }
    screen.line("");
    let leader = "$(KUBECTL get service orders-leader -o jsonpath='{.metadata.annotations.zen-lead\\.io/current-leader}')";
    let columns = "NAME:.metadata.name,LEADER:.endpoints[0].targetRef.name,ADDRESS:.endpoints[0].addresses[0],EPOCH:.metadata.annotations.zen-lead\\.io/epoch";
    let ready = |value: &str| {
        format!(
            "--subresource=status -p '{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"{value}\"}}]}}}}'"
        )
    };
    let things = [
        (
            "see who leads, and watch it change",
            format!("KUBECTL get endpointslice orders-leader -w -o custom-columns='{columns}'"),
        ),
        (
            "make the leader NotReady, as its kubelet would",
            format!("KUBECTL patch pod {leader} {}", ready("False")),
        ),
        ("make a pod Ready again", format!("KUBECTL patch pod {} {}", MEMBERS[0], ready("True"))),
        ("delete the leader gracefully", format!("KUBECTL delete pod {leader} --wait=false")),
        ("end it: there is no kubelet that would", "KUBECTL delete pod NAME --force --grace-period=0".into()),
        (
            "hand over to a pod of your choice",
            format!("KUBECTL annotate service orders zen-lead.io/switchover-to={} --overwrite", MEMBERS[2]),
        ),
        ("read what happened, and why", "KUBECTL events --for service/orders".into()),
        ("opt out", "KUBECTL annotate service orders zen-lead.io/enabled-".into()),
    ];
    for (what, how) in things {
        screen.text(2, Tone::Faint, &format!("# {what}"));
        screen.line(&format!("  {}", how.replace("KUBECTL", &kubectl)));
    }
    screen.line("");
    screen.line("Ctrl-C ends it and removes everything.");
    pending().await
}
