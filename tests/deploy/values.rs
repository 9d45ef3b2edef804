//! The chart's values: what they bring about, and what is said of wrong ones.

use anyhow::{Context, Result};
use lab::{Helm, documents};
use serde_json::{Value, json};

use crate::rendered::{chart, render};

#[test]
fn helm_finds_nothing_to_complain_about() -> Result<()> {
    let chart = chart()?;
    let all = "monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true,\
               monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true,networkPolicy.enabled=true,\
               flowSchema.enabled=true";
    for values in ["replicaCount=2", "namespaces={shop,bar},watchNodes=true", all] {
        Helm::find_or_build()?.run(&["lint", "--strict", &chart, "--set", values])?;
    }
    Ok(())
}

#[test]
fn a_wrong_value_is_named() -> Result<()> {
    for (value, named) in [
        ("replicas=3", "'replicas' not allowed"),
        ("replicaCount=-1", "/replicaCount"),
        ("replicaCount=two", "/replicaCount"),
        ("image.digest=sha256:abc", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.tags=1", "'tags' not allowed"),
        ("namespaces={Shop}", "/namespaces/0"),
        ("namespaces={shop,shop}", "/namespaces"),
        ("watchNodes=25s", "/watchNodes"),
        ("logFormat=yaml", "/logFormat"),
        ("otlp.endpoint=collector:4317", "/otlp/endpoint"),
        ("extraArgs={failover-budget=2s}", "/extraArgs/0"),
        ("podDisruptionBudget.maxUnavailable=half", "/podDisruptionBudget/maxUnavailable"),
        ("monitoring.podMonitor.interval=often", "/monitoring/podMonitor/interval"),
        ("leaders.enabled=1", "/leaders/enabled"),
        ("flowSchema.enabled=perhaps", "/flowSchema/enabled"),
        ("monitoring.grafana=true", "'grafana' not allowed"),
    ] {
        let refusal = render(&["--set", value]).err().with_context(|| format!("{value} is refused"))?;
        assert!(refusal.to_string().contains(named), "{value}: {refusal}");
    }
    Ok(())
}

#[test]
fn values_reach_the_pod() -> Result<()> {
    let digest = format!("image.digest=sha256:{}", "0a".repeat(32));
    let deployment = deployment(&[
        "image.repository=registry.example/zen-lead,replicaCount=3,priorityClassName=high,logLevel=debug,logFormat=json",
        &digest,
        "otlp.endpoint=http://collector:4317,otlp.existingSecret=otlp",
        "extraArgs={--failover-budget=10s},namespaces={a,b}",
        "imagePullSecrets[0].name=registry,resources.limits.memory=1Gi",
        "extraEnv[0].name=ZEN_LEAD_RECORD,extraEnv[0].value=/records",
        "topologySpreadConstraints[0].topologyKey=zone",
    ])?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(container["image"], format!("registry.example/zen-lead@sha256:{}", "0a".repeat(32)));
    let flags =
        ["--namespace=a", "--namespace=b", "--log-level=debug", "--log-format=json", "--failover-budget=10s"];
    assert_eq!(container["args"], json!([&["run"], &flags[..]].concat()));
    let variable = |name: &str| {
        container["env"].as_array().into_iter().flatten().find(|variable| variable["name"] == name).cloned()
    };
    let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT").context("the endpoint")?;
    assert_eq!(endpoint["value"], "http://collector:4317");
    assert_eq!(variable("ZEN_LEAD_RECORD").context("the variable")?["value"], "/records");
    assert_eq!(container["envFrom"], json!([{ "secretRef": { "name": "otlp" } }]));
    assert_eq!(container["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "registry" }]));
    assert_eq!(pod["topologySpreadConstraints"], json!([{ "topologyKey": "zone" }]));
    Ok(())
}

/// The flags that a chart can give are flags that the program knows.
#[test]
fn the_program_understands_the_pods_command_line() -> Result<()> {
    let deployment = deployment(&["namespaces={a,b},logLevel=info\\,kube=debug,logFormat=json"])?;
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
    zen_lead::config::parse_from([vec!["zen-lead".to_owned()], arguments].concat())?;
    Ok(())
}

/// `controller.*` of the Go program's chart, as its documentation has it.
#[test]
fn p22_values_that_tuned_the_go_program_are_accepted_and_do_nothing() -> Result<()> {
    let tuned =
        "controller.qps=50,controller.maxCacheSizePerNamespace=5000,controller.fastRetryMaxAttempts=2";
    assert_eq!(render(&["--set", tuned])?, render(&[])?);
    Ok(())
}

fn deployment(values: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = values.iter().flat_map(|value| ["--set", *value]).collect();
    let objects = documents(&render(&arguments)?)?;
    objects.into_iter().find(|object| object["kind"] == "Deployment").context("a Deployment")
}
