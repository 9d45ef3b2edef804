//! The floor: a client that knows beforehand what to do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::PostParams;
use lab::{Namespace, next_ipv4};
use serde_json::json;
use tokio::sync::mpsc;
use zen_lead::client::Clients;
use zen_lead::kinds::PodLite;
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

use crate::subject::{Subject, What, pod_seen};

/// The floor: nothing but a watch and a PUT.
pub struct BareClient {
    ns: String,
    clients: Clients,
    slices: Vec<BareSlice>,
}

struct BareSlice {
    app: String,
    leader: String,
    object: EndpointSlice,
    ready: HashMap<String, (String, IpAddr)>,
}

enum Told {
    Pod(Box<PodLite>, bool),
    Other,
}

impl From<(usize, Change<PodLite>)> for Told {
    fn from((_, change): (usize, Change<PodLite>)) -> Self {
        match change {
            Change::Applied(pod) => Self::Pod(Box::new(pod), false),
            Change::Deleted(pod) => Self::Pod(Box::new(pod), true),
            _ => Self::Other,
        }
    }
}

impl BareClient {
    pub async fn new(ns: &Namespace, clients: Clients, subjects: &[&Subject]) -> Result<Self> {
        let mut slices = Vec::new();
        for subject in subjects {
            let mut ready = HashMap::new();
            for (name, pod) in &subject.pods {
                ready.insert(name.clone(), (pod.uid().to_owned(), pod.ip()));
            }
            let leader = format!("{}-0", subject.name);
            let object = prepared(ns, subject, &ready[&leader], &leader)?;
            let object = ns.api::<EndpointSlice>().create(&PostParams::default(), &object).await?;
            slices.push(BareSlice { app: subject.name.clone(), leader, object, ready });
        }
        Ok(Self { ns: ns.name().into(), clients, slices })
    }

    pub async fn run(mut self) {
        let (sink, mut told) = mpsc::channel(1_000);
        let pods = Api::<PodLite>::namespaced(self.clients.watch.clone(), &self.ns);
        tokio::spawn(follow(pods, WatchOptions::default(), 0, sink, WatchStatus::new("floor")));
        let api = Api::<EndpointSlice>::namespaced(self.clients.write.clone(), &self.ns);
        let api = Arc::new(api);
        while let Some(told) = told.recv().await {
            let Told::Pod(pod, gone) = told else { continue };
            let app = pod.metadata.labels.as_ref().and_then(|labels| labels.get("app"));
            let Some(slice) = self.slices.iter_mut().find(|slice| Some(&slice.app) == app) else { continue };
            if let Some(next) = slice.told(&pod, gone) {
                slice.leader = next;
                if let Err(error) = slice.publish(&api).await {
                    eprintln!("the bare client failed: {error}");
                }
            }
        }
    }
}

impl BareSlice {
    /// The next leader, if this was the end of the present one.
    fn told(&mut self, pod: &PodLite, gone: bool) -> Option<String> {
        let What::Pod { name, uid, ready, terminating, .. } = pod_seen(pod, gone) else { return None };
        if ready && !terminating && !gone {
            let address = pod.status.pod_ip.as_deref().and_then(|address| address.parse().ok());
            self.ready.insert(name, (uid, address.unwrap_or_else(next_ipv4)));
            return None;
        }
        if self.ready.get(&name).is_some_and(|(known, _)| *known == uid) {
            self.ready.remove(&name);
        }
        (name == self.leader).then(|| self.ready.keys().min().cloned()).flatten()
    }

    async fn publish(&mut self, api: &Api<EndpointSlice>) -> Result<()> {
        let (uid, address) = &self.ready[&self.leader];
        if let Some(endpoint) = self.object.endpoints.first_mut() {
            endpoint.addresses = vec![address.to_string()];
            if let Some(target) = &mut endpoint.target_ref {
                target.name = Some(self.leader.clone());
                target.uid = Some(uid.clone());
            }
        }
        let name = self.object.metadata.name.clone().context("it has a name")?;
        self.object.metadata.managed_fields = None;
        self.object = api.replace(&name, &PostParams::default(), &self.object).await?;
        Ok(())
    }
}

/// A slice as large as ours.
fn prepared(ns: &Namespace, subject: &Subject, pod: &(String, IpAddr), name: &str) -> Result<EndpointSlice> {
    let (uid, address) = pod;
    Ok(serde_json::from_value(json!({
        "metadata": {
            "name": subject.slice,
            "namespace": ns.name(),
            "labels": {
                "kubernetes.io/service-name": subject.slice,
                "endpointslice.kubernetes.io/managed-by": "floor",
                "app.kubernetes.io/managed-by": "floor",
                "zen-lead.example/source-service": subject.name,
            },
            "annotations": {
                "zen-lead.example/instance": "zen-lead-system/zen-lead",
                "zen-lead.example/epoch": "1795481136",
                "zen-lead.example/leader-pod-uid": uid,
                "zen-lead.example/leader-pod-name": name,
                "zen-lead.example/term-by": "zen-lead-5d9c7b6f4-x2x2x",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [address.to_string()],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": "node-1",
            "targetRef": { "kind": "Pod", "namespace": ns.name(), "name": name, "uid": uid },
        }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    }))?)
}
