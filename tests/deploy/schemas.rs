//! What is rendered, against versions of Kubernetes whose servers are not at hand.

use anyhow::{Context, Result};
use lab::{Schemas, documents};
use serde_json::{Value, json};

use crate::rendered::{by_kustomize, render};

/// Those that are supported, and the next.
const MINORS: [u32; 4] = [33, 34, 35, 36];

/// Of the Prometheus Operator, whose kinds are no part of Kubernetes.
const OF_OTHERS: &str = "monitoring.coreos.com/";

#[test]
fn every_version_of_kubernetes_knows_every_field() -> Result<()> {
    let all = "networkPolicy.enabled=true,flowSchema.enabled=true,monitoring.podMonitor.enabled=true,\
               monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,\
               monitoring.dashboard.enabled=true,watchNodes=true,leaders.enabled=true,priorityClassName=high";
    let mut objects = documents(&render(&["--set", all])?)?;
    objects.extend(documents(&render(&["--set", all, "--set", "namespaces={shop}"])?)?);
    // The chart leaves the making of the namespace to Helm.
    objects.extend(by_kustomize("deploy")?.into_values());
    objects.retain(|object| !object["apiVersion"].as_str().is_some_and(|of| of.starts_with(OF_OTHERS)));
    assert!(objects.len() > 20, "{}", objects.len());
    for minor in MINORS {
        let schemas = Schemas::of(minor)?;
        for object in &objects {
            let what = || format!("Kubernetes 1.{minor}, {}", object["metadata"]["name"]);
            schemas.check(object).with_context(what)?;
        }
        for (pointer, value, told) in [
            (
                "/spec/template/spec/containers/0",
                json!({ "imagePolicy": "Always" }),
                "imagePolicy: no such field",
            ),
            ("/spec/replicas", json!("two"), "Deployment.spec.replicas: \"two\" is not of its type"),
            ("/kind", json!("Deploymet"), "apps/v1 has no kind Deploymet"),
        ] {
            let mut wrong = deployment(&objects)?;
            *wrong.pointer_mut(pointer).context("a Deployment has this")? = value;
            let refusal = schemas.check(&wrong).err().context("it is refused")?.to_string();
            assert!(refusal.contains(told), "{refusal}");
        }
    }
    Ok(())
}

fn deployment(objects: &[Value]) -> Result<Value> {
    objects.iter().find(|object| object["kind"] == "Deployment").cloned().context("a Deployment")
}
