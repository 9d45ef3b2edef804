//! `--keep`: what a person can try.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::place::Place;
use super::screen::{Screen, Tone};
use super::show::{LEADER_SERVICE, SOON, SOURCE};
use super::state::State;
use crate::slices::leader_of;

/// Who leads, as the leader Service's annotation has it.
const LEADER_FIELD: &str = r".metadata.annotations.zen-lead\.io/current-leader";
/// Columns for kubectl.
const COLUMNS: &str = r"LEADER:.endpoints[*].targetRef.name,ADDRESS:.endpoints[*].addresses[*],EPOCH:.metadata.annotations.zen-lead\.io/epoch";

/// Opts in again, and says what can be tried.
pub(super) async fn show(place: &Place, log: &Path, screen: &mut Screen) -> Result<()> {
    let patch = Patch::Merge(json!({
        "metadata": { "annotations": { "zen-lead.io/enabled": "true" } },
    }));
    let services = place.ns.api::<Service>();
    services.patch(SOURCE, &PatchParams::default(), &patch).await?;
    let slice =
        place.ns.slices().until(LEADER_SERVICE, SOON, |slice| State::of(slice).phase == "Elected").await?;
    // Whoever was made first; its name depends on which second of the clock the others were made in.
    let first = leader_of(&slice).context("an elected leader is published")?;
    let (exports, kubectl) = place.for_hands()?;
    screen
        .scene("Yours", "Service orders has opted in again and the controller runs on. In another terminal:");
    screen.line("");
    for line in exports {
        screen.line(&format!("  {line}"));
    }
    screen.line(&format!(
        "  leader() {{ {kubectl} get service {LEADER_SERVICE} -o jsonpath='{{{LEADER_FIELD}}}'; }}"
    ));
    screen.line("");
    let ready = |value: &str| {
        let conditions = json!({ "status": { "conditions": [{ "type": "Ready", "status": value }] } });
        format!("--subresource=status -p '{conditions}'")
    };
    let things = [
        (
            "see who leads, and each change",
            format!("get endpointslice {LEADER_SERVICE} -w -o 'custom-columns={COLUMNS}'"),
        ),
        ("the leader's readiness probe fails", format!("patch pod $(leader) {}", ready("False"))),
        ("and succeeds again", format!("patch pod {first} {}", ready("True"))),
        ("the leader is told to terminate", "delete pod $(leader) --wait=false".into()),
        ("and ends, which no kubelet does here", "delete pod NAME --force".into()),
        (
            "hand over to a pod of your choice",
            format!("annotate service {SOURCE} zen-lead.io/switchover-to={first}"),
        ),
        ("read what happened, and why", format!("events --for service/{SOURCE}")),
        ("opt out", format!("annotate service {SOURCE} zen-lead.io/enabled-")),
    ];
    for (what, how) in things {
        screen.text(2, Tone::Faint, &format!("# {what}"));
        screen.line(&format!("  {kubectl} {how}"));
    }
    screen.line("");
    screen.line(&format!("The controller's log: {}", log.display()));
    Ok(())
}
