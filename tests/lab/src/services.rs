//! Source Services.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use crate::lab::Namespace;

/// A Service to be made.
#[derive(Debug, Clone)]
pub struct ServiceBuilder {
    api: Option<Api<ServiceObject>>,
    name: String,
    object: Value,
}

impl ServiceBuilder {
    pub(crate) fn new(name: &str) -> Self {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "labels": {}, "annotations": {} },
            "spec": { "ports": [] },
        });
        Self { api: None, name: name.into(), object }
    }

    pub(crate) fn in_namespace(mut self, namespace: &Namespace) -> Self {
        self.api = Some(namespace.api());
        self
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.object["metadata"]["annotations"][key] = json!(value);
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.object["metadata"]["labels"][key] = json!(value);
        self
    }

    /// Selecting pods with this label, and with those given before.
    #[must_use]
    pub fn selector(mut self, key: &str, value: &str) -> Self {
        self.object["spec"]["selector"][key] = json!(value);
        self
    }

    /// With a TCP port whose target is a number.
    #[must_use]
    pub fn port(self, name: &str, number: u16, target: u16) -> Self {
        self.port_with(json!({ "name": name, "port": number, "targetPort": target }))
    }

    /// With a TCP port whose target is a container's port of that name.
    #[must_use]
    pub fn named_port(self, name: &str, number: u16, target: &str) -> Self {
        self.port_with(json!({ "name": name, "port": number, "targetPort": target }))
    }

    /// With any `ServicePort`.
    #[must_use]
    pub fn port_with(mut self, port: Value) -> Self {
        if let Some(ports) = self.object["spec"]["ports"].as_array_mut() {
            ports.push(port);
        }
        self
    }

    /// In IPv4 and IPv6, IPv4 first.
    #[must_use]
    pub fn dual_stack(self) -> Self {
        self.families(&["IPv4", "IPv6"])
    }

    /// In these families, in this order.
    #[must_use]
    pub fn families(self, families: &[&str]) -> Self {
        let policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        self.spec(json!({ "ipFamilyPolicy": policy, "ipFamilies": families }))
    }

    /// Without a cluster IP.
    #[must_use]
    pub fn headless(self) -> Self {
        self.spec(json!({ "clusterIP": "None" }))
    }

    /// With any further fields of `spec`.
    #[must_use]
    pub fn spec(mut self, fields: Value) -> Self {
        if let (Some(spec), Value::Object(fields)) = (self.object["spec"].as_object_mut(), fields) {
            spec.extend::<Map<String, Value>>(fields);
        }
        self
    }

    /// The object as it is sent to the API server.
    #[must_use]
    pub fn object(&self) -> Value {
        self.object.clone()
    }

    /// Creates it.
    pub async fn create(&self) -> Result<Service> {
        let api = self.api.clone().context("this Service was begun without a namespace")?;
        let object = api.create(&PostParams::default(), &serde_json::from_value(self.object())?).await?;
        let uid = object.metadata.uid.context("a created Service has a UID")?;
        Ok(Service { api, name: self.name.clone(), uid })
    }
}

/// A Service in the cluster.
#[derive(Debug, Clone)]
pub struct Service {
    api: Api<ServiceObject>,
    name: String,
    uid: String,
}

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// It as it is now.
    pub async fn get(&self) -> Result<ServiceObject> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Sets an annotation, or removes it.
    pub async fn annotate(&self, key: &str, value: Option<&str>) -> Result<()> {
        self.patch(json!({ "metadata": { "annotations": { key: value } } })).await
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, patch: Value) -> Result<()> {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes it. What it owns stays: there is no garbage collector.
    pub async fn delete(&self) -> Result<()> {
        self.api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}
