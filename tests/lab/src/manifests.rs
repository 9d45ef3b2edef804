//! Manifests as they are shipped, applied to a test's namespace.

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde_json::{Value, json};

/// Applies YAML documents by server-side apply and returns the results.
///
/// With a namespace, the documents are moved into it, so that tests can run side by side: objects and the subjects of
/// bindings get that namespace; `ClusterRoles` and `ClusterRoleBindings` get `-<namespace>` appended to their names;
/// `Namespace` documents are left out.
pub async fn apply_yaml(client: &Client, yaml: &str, namespace: Option<&str>) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for mut document in documents(yaml)? {
        if let Some(namespace) = namespace {
            if document["kind"] == "Namespace" {
                continue;
            }
            relocate(&mut document, namespace);
        }
        let what = format!("{} {}", document["kind"], document["metadata"]["name"]);
        applied.push(apply(client, document).await.with_context(|| format!("applying {what}"))?);
    }
    Ok(applied)
}

/// The documents of a YAML text; empty ones are left out.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("reading YAML")?;
    documents.retain(|document| !document.is_null());
    Ok(documents)
}

async fn apply(client: &Client, document: Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(document)?;
    let types = object.types.clone().context("a document without apiVersion and kind")?;
    let name = object.metadata.name.clone().context("a document without a name")?;
    let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::try_from(types)?).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    Ok(api.patch(&name, &PatchParams::apply("lab").force(), &Patch::Apply(&object)).await?)
}

fn relocate(document: &mut Value, namespace: &str) {
    match document["kind"].as_str() {
        Some("ClusterRole" | "ClusterRoleBinding") => append(&mut document["metadata"]["name"], namespace),
        _ => document["metadata"]["namespace"] = json!(namespace),
    }
    // Roles that Kubernetes brings (`view`, `system:...`) keep their names, and are not among the documents either.
    if document["roleRef"]["kind"] == "ClusterRole" && !is_built_in(&document["roleRef"]["name"]) {
        append(&mut document["roleRef"]["name"], namespace);
    }
    if let Some(subjects) = document.get_mut("subjects").and_then(Value::as_array_mut) {
        for subject in subjects.iter_mut().filter(|subject| subject["kind"] == "ServiceAccount") {
            subject["namespace"] = json!(namespace);
        }
    }
}

fn is_built_in(role: &Value) -> bool {
    role.as_str().is_some_and(|name| {
        name.starts_with("system:") || ["view", "edit", "admin", "cluster-admin"].contains(&name)
    })
}

fn append(name: &mut Value, namespace: &str) {
    if let Some(text) = name.as_str() {
        *name = json!(format!("{text}-{namespace}"));
    }
}
