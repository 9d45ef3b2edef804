//! What both ways make: the same objects.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::{Assets, Helm, documents};
use serde_json::Value;

/// What Helm's conventions put on each object, and nothing goes by.
const LABELS_OF_HELM: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

/// Kind, namespace, name.
pub(crate) type Key = (String, String, String);

#[test]
fn the_chart_makes_what_kustomize_makes() -> Result<()> {
    same("deploy", &[])
}

#[test]
fn the_chart_makes_what_kustomize_makes_for_one_namespace() -> Result<()> {
    same("deploy/namespaced", &["--set", "namespaces={shop}"])
}

#[test]
fn the_chart_makes_what_kustomize_makes_of_its_options() -> Result<()> {
    let on = "monitoring.podMonitor.enabled=true,monitoring.prometheusRule.enabled=true,\
              monitoring.dashboard.enabled=true,networkPolicy.enabled=true,flowSchema.enabled=true";
    let mut chart = by_helm(&["--set", on])?;
    let plain = by_helm(&[])?;
    chart.retain(|key, _| !plain.contains_key(key));
    let mut kustomize = by_kustomize("deploy/monitoring")?;
    for folder in ["deploy/networkpolicy", "deploy/flowschema"] {
        kustomize.extend(by_kustomize(folder)?);
    }
    compare(&chart, &kustomize);
    Ok(())
}

/// In a folder of the user's own, as the components' files say.
#[test]
fn the_chart_makes_what_kustomize_makes_with_its_components() -> Result<()> {
    for (case, base, components, values) in [
        ("nodes", "deploy", &["nodes"][..], "watchNodes=true"),
        ("leaders", "deploy", &["leaders"], "leaders.enabled=true"),
        (
            "both",
            "deploy/namespaced",
            &["nodes", "leaders"],
            "watchNodes=true,leaders.enabled=true,namespaces={shop}",
        ),
    ] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("components-{case}"));
        fs::create_dir_all(&folder)?;
        // kustomize takes relative paths only.
        let depth = folder.canonicalize()?.components().skip(1).count();
        let root = format!("{}{}", "../".repeat(depth).trim_end_matches('/'), env!("CARGO_MANIFEST_DIR"));
        let components: Vec<_> = components.iter().map(|name| format!("{root}/deploy/{name}")).collect();
        let text = format!("resources: [{root}/{base}]\ncomponents: [{}]\n", components.join(", "));
        fs::write(folder.join("kustomization.yaml"), text)?;
        let mut kustomize = by_kustomize(&folder)?;
        kustomize.retain(|(kind, ..), _| kind != "Namespace");
        compare(&by_helm(&["--set", values])?, &kustomize);
    }
    Ok(())
}

/// Neither way selects pods of anything but the controller, or misses some.
#[test]
fn what_selects_pods_selects_the_controllers() -> Result<()> {
    let on = "monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true,networkPolicy.enabled=true";
    let objects = by_helm(&["--set", on, "--set", "podLabels.team=a"])?;
    let of_kind = |kind: &str| {
        objects
            .values()
            .find(|object| object["kind"] == kind)
            .with_context(|| format!("a {kind} is rendered"))
    };
    let deployment = of_kind("Deployment")?;
    let selected = &deployment["spec"]["selector"]["matchLabels"];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["team"], "a");
    assert!(selected.as_object().context("labels")?.iter().all(|(key, value)| labels[key] == *value));
    for (kind, pointer) in [
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("PodMonitor", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("Service", "/spec/selector"),
    ] {
        assert_eq!(of_kind(kind)?.pointer(pointer), Some(selected), "{kind}");
    }
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"]["matchLabels"], *selected);
    let monitored = &of_kind("ServiceMonitor")?["spec"]["selector"]["matchLabels"];
    let service = &of_kind("Service")?["metadata"]["labels"];
    assert!(monitored.as_object().context("labels")?.iter().all(|(key, value)| service[key] == *value));
    Ok(())
}

fn same(folder: &str, values: &[&str]) -> Result<()> {
    let mut kustomize = by_kustomize(folder)?;
    // Helm makes the namespace itself (`--create-namespace`), or finds it.
    kustomize.retain(|(kind, ..), _| kind != "Namespace");
    compare(&by_helm(values)?, &kustomize);
    Ok(())
}

fn compare(chart: &BTreeMap<Key, Value>, kustomize: &BTreeMap<Key, Value>) {
    assert!(!kustomize.is_empty());
    let names = |objects: &BTreeMap<Key, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(chart), names(kustomize));
    for (key, object) in chart {
        assert_eq!(*object, kustomize[key], "{key:?}: chart on the left");
    }
}

fn by_helm(values: &[&str]) -> Result<BTreeMap<Key, Value>> {
    let mut objects = by_key(&render(&[&["--no-hooks"], values].concat())?)?;
    for labels in objects.values_mut().filter_map(|object| object["metadata"]["labels"].as_object_mut()) {
        for label in LABELS_OF_HELM {
            ensure!(
                labels.remove(label).is_some(),
                "the label {label} is on all objects of the chart: {labels:?}"
            );
        }
    }
    Ok(objects)
}

/// The release that kustomize's names and namespace are those of, with these arguments.
pub(crate) fn render(arguments: &[&str]) -> Result<String> {
    let chart = chart()?;
    Helm::find_or_build()?
        .run(&[&["template", "zen-lead", &chart, "--namespace", "zen-lead-system"], arguments].concat())
}

pub(crate) fn chart() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/chart");
    path.into_os_string().into_string().ok().context("a path of Unicode")
}

pub(crate) fn by_kustomize(folder: impl AsRef<Path>) -> Result<BTreeMap<Key, Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let output =
        Command::new(Assets::find_or_build()?.program("kubectl")).arg("kustomize").arg(folder).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    by_key(&String::from_utf8(output.stdout)?)
}

fn by_key(yaml: &str) -> Result<BTreeMap<Key, Value>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut objects = BTreeMap::new();
    for object in documents(yaml)? {
        let metadata = &object["metadata"];
        let key = (text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]));
        ensure!(objects.insert(key.clone(), object).is_none(), "{key:?} twice");
    }
    Ok(objects)
}
