//! Pods, and what their kubelets would report of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::lab::Namespace;
use crate::pod::{Pod, ready_status};

/// A pod to be made. It has a node unless told otherwise, because the API server honours a grace period only then.
#[derive(Debug, Clone)]
pub struct PodBuilder {
    pub(crate) name: String,
    api: Option<Api<PodObject>>,
    metadata: Metadata,
    ips: Option<Vec<IpAddr>>,
    node: Option<String>,
    containers: Vec<Container>,
    init_containers: Vec<Value>,
    readiness_gates: Vec<String>,
    grace_seconds: i64,
    bulk: bool,
    reported: Reported,
}

#[derive(Debug, Clone, Default)]
struct Metadata {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    finalizers: Vec<String>,
    owner: Option<Value>,
}

#[derive(Debug, Clone)]
struct Container {
    name: String,
    ports: Vec<Value>,
}

/// What the kubelet says right after the creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    /// Nothing yet: phase Pending, no address.
    Nothing,
    /// Running, with addresses, Ready or not.
    Running { ready: bool },
}

/// The finalizer of [`PodBuilder::finalizer`].
pub const FINALIZER: &str = "lab.zen-lead.io/hold";

impl PodBuilder {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            api: None,
            metadata: Metadata::default(),
            ips: None,
            node: Some("node-1".into()),
            containers: Vec::new(),
            init_containers: Vec::new(),
            readiness_gates: Vec::new(),
            grace_seconds: 30,
            bulk: false,
            reported: Reported::Nothing,
        }
    }

    pub(crate) fn in_namespace(mut self, namespace: &Namespace) -> Self {
        self.api = Some(namespace.api());
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.metadata.labels.insert(key.into(), value.into());
        self
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.metadata.annotations.insert(key.into(), value.into());
        self
    }

    /// With a finalizer ([`FINALIZER`]): once deleted it stays terminating until [`Pod::vanish`].
    #[must_use]
    pub fn finalizer(mut self) -> Self {
        self.metadata.finalizers.push(FINALIZER.into());
        self
    }

    /// Owned by a `ReplicaSet` of this name (which need not exist).
    #[must_use]
    pub fn of_replica_set(mut self, name: &str) -> Self {
        self.metadata.owner = Some(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "controller": true,
            "uid": "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a11",
        }));
        self
    }

    /// With these addresses instead of an own IPv4 one; the first is the pod's `podIP`.
    #[must_use]
    pub fn ips(mut self, ips: impl IntoIterator<Item = IpAddr>) -> Self {
        self.ips = Some(ips.into_iter().collect());
        self
    }

    /// With an own IPv4 and an own IPv6 address.
    #[must_use]
    pub fn dual_stack(self) -> Self {
        let ips = [next_ipv4(), next_ipv6()];
        self.ips(ips)
    }

    /// With an own IPv6 address only.
    #[must_use]
    pub fn ipv6_only(self) -> Self {
        let ips = [next_ipv6()];
        self.ips(ips)
    }

    /// On this node instead of `node-1`.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = Some(name.into());
        self
    }

    /// On no node, as before scheduling. A delete then removes it at once, whatever its grace period.
    #[must_use]
    pub fn unscheduled(mut self) -> Self {
        self.node = None;
        self
    }

    /// With a further container; the ports that follow are its. Without any, there is one named `app`.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.containers.push(Container { name: name.into(), ports: Vec::new() });
        self
    }

    /// With a named TCP port on the last container.
    #[must_use]
    pub fn port(self, name: &str, number: u16) -> Self {
        self.port_with(json!({ "name": name, "containerPort": number, "protocol": "TCP" }))
    }

    /// With any `ContainerPort` on the last container.
    #[must_use]
    pub fn port_with(mut self, port: Value) -> Self {
        if self.containers.is_empty() {
            self = self.container("app");
        }
        if let Some(container) = self.containers.last_mut() {
            container.ports.push(port);
        }
        self
    }

    /// With a sidecar (an init container that keeps running) that has a named TCP port.
    #[must_use]
    pub fn sidecar(mut self, name: &str, port: &str, number: u16) -> Self {
        self.init_containers.push(json!({
            "name": name, "image": "registry.example/sidecar:1", "restartPolicy": "Always",
            "ports": [{ "name": port, "containerPort": number, "protocol": "TCP" }],
        }));
        self
    }

    /// With a readiness gate.
    #[must_use]
    pub fn readiness_gate(mut self, condition: &str) -> Self {
        self.readiness_gates.push(condition.into());
        self
    }

    /// With this `terminationGracePeriodSeconds` instead of 30.
    #[must_use]
    pub fn grace_seconds(mut self, seconds: i64) -> Self {
        self.grace_seconds = seconds;
        self
    }

    /// As large as pods are in practice, some 6 KB: two containers with environment, probes, volumes.
    #[must_use]
    pub fn bulky(mut self) -> Self {
        self.bulk = true;
        self
    }

    /// Running and Ready as soon as it is created.
    #[must_use]
    pub fn ready(mut self) -> Self {
        self.reported = Reported::Running { ready: true };
        self
    }

    /// Running, with its addresses, and not Ready.
    #[must_use]
    pub fn unready(mut self) -> Self {
        self.reported = Reported::Running { ready: false };
        self
    }

    /// Creates it, and then writes its status as its kubelet would.
    pub async fn create(&self) -> Result<Pod> {
        let api = self.api.clone().context("this pod was begun without a namespace")?;
        let object: PodObject = serde_json::from_value(self.object())?;
        let created = api.create(&PostParams::default(), &object).await?;
        let ips = self.ips.clone().unwrap_or_else(|| vec![next_ipv4()]);
        let pod = Pod::new(api, &created, ips)?;
        if let Reported::Running { ready } = self.reported {
            pod.report(ready).await?;
        }
        Ok(pod)
    }

    /// The object as it is sent to the API server, without status.
    #[must_use]
    pub fn object(&self) -> Value {
        let default = [Container { name: "app".into(), ports: Vec::new() }];
        let containers = if self.containers.is_empty() { &default[..] } else { &self.containers };
        let mut containers: Vec<Value> = containers.iter().map(container_json).collect();
        let mut volumes = json!([]);
        if self.bulk {
            containers.iter_mut().for_each(crate::bulk::enlarge_container);
            containers.push(crate::bulk::proxy_container());
            volumes = crate::bulk::volumes();
        }
        let mut metadata = json!({
            "name": self.name,
            "labels": self.metadata.labels,
            "annotations": self.metadata.annotations,
            "finalizers": self.metadata.finalizers,
        });
        if let Some(owner) = &self.metadata.owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        let gates: Vec<Value> =
            self.readiness_gates.iter().map(|condition| json!({ "conditionType": condition })).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {
                "nodeName": self.node,
                "terminationGracePeriodSeconds": self.grace_seconds,
                "initContainers": self.init_containers,
                "containers": containers,
                "volumes": volumes,
                "readinessGates": gates,
            },
        })
    }

    /// The object as a watch would show it, with status, UID and managed fields: for benches, which have no server.
    #[must_use]
    pub fn as_watched(&self, namespace: &str, uid: &str, resource_version: u64) -> Value {
        let mut object = self.object();
        let ips = self.ips.clone().unwrap_or_else(|| vec![next_ipv4()]);
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(namespace);
        metadata["uid"] = json!(uid);
        metadata["resourceVersion"] = json!(resource_version.to_string());
        metadata["creationTimestamp"] = json!("2026-01-05T08:00:00Z");
        if self.bulk {
            metadata["managedFields"] = crate::bulk::managed_fields();
        }
        if let Reported::Running { ready } = self.reported {
            object["status"] = ready_status(&ips, ready);
        }
        object
    }
}

/// A pod as JSON without a server; see [`PodBuilder::as_watched`].
#[must_use]
pub fn pod(name: &str) -> PodBuilder {
    PodBuilder::new(name)
}

fn container_json(container: &Container) -> Value {
    json!({ "name": container.name, "image": "registry.example/app:1", "ports": container.ports })
}

/// Every pod of a process has its own address, so that a mix-up cannot look right by chance.
static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(1);

/// The next address of the pods' IPv4 network, 10.244.0.0/16.
#[must_use]
pub fn next_ipv4() -> IpAddr {
    let [_, _, high, low] = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(10, 244, high, low).into()
}

/// The next address of the pods' IPv6 network, `fd00:10:244::/48`.
#[must_use]
pub fn next_ipv6() -> IpAddr {
    let number = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed);
    Ipv6Addr::from_bits(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0).to_bits() | u128::from(number))
        .into()
}
