//! The floor: clients that know beforehand what to do, over the same kind of connections as the controller's.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use http::Method;
use kube::{Api, Client};
use lab::Pod;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use zen_lead::client::{Clients, connect};
use zen_lead::kinds::PodLite;
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

use crate::fleet::{Fleet, Key, Source, leader_service};
use crate::observer::options;

/// How many writes in flight the floor is tried with; the better one counts.
pub const CONCURRENCIES: [usize; 2] = [32, 64];

/// The size of the controller's pages.
const PAGE: usize = 100;

/// Stands for the version in a prepared body.
const VERSION: &str = "@VERSION@";

/// One request, of whose answer only what `T` names is decoded.
async fn ask<T: DeserializeOwned>(client: &Client, method: Method, path: &str, body: Vec<u8>) -> Result<T> {
    let request = http::Request::builder().method(method.clone()).uri(path);
    let request = request.header(http::header::CONTENT_TYPE, "application/json").body(body)?;
    client.request(request).await.with_context(|| format!("{method} {path}"))
}

fn slices_of(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

fn services_of(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/services")
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

/// A slice as large as the controller's, but of nobody's concern: as of one that stands, with `pod` in it.
fn imitation(of: &Value, name: &str, pod: &Pod) -> Value {
    let mut slice = of.clone();
    let metadata = json!({
        "name": name,
        "labels": of["metadata"]["labels"],
        "annotations": of["metadata"]["annotations"],
        "ownerReferences": of["metadata"]["ownerReferences"],
    });
    slice["metadata"] = metadata;
    for label in ["app.kubernetes.io/managed-by", "endpointslice.kubernetes.io/managed-by"] {
        slice["metadata"]["labels"][label] = json!("bare");
    }
    slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!(name);
    slice["endpoints"][0]["addresses"] = json!([pod.ip()]);
    slice["endpoints"][0]["targetRef"]["name"] = json!(pod.name());
    slice["endpoints"][0]["targetRef"]["uid"] = json!(pod.uid());
    slice
}

/// The controller's slice of a Service, to be imitated.
async fn model(client: &Client, source: &Source) -> Result<Value> {
    let (namespace, name) = source.leader_slice();
    ask(client, Method::GET, &format!("{}/{name}", slices_of(&namespace)), Vec::new()).await
}

/// Slices with everything prepared that a failover needs.
pub struct Reactor {
    kubeconfig: std::path::PathBuf,
    namespace: String,
    prepared: Vec<Prepared>,
}

/// A slice of the bare client's.
struct Prepared {
    name: String,
    /// What it shall say, for each pod of its Service, in a ring.
    bodies: Vec<(String, String)>,
    leader: usize,
    version: String,
}

impl Reactor {
    /// Makes one slice for each Service, beside the controller's. All Services are in one namespace.
    pub async fn prepare(kubeconfig: &Path, fleet: &Fleet) -> Result<Self> {
        let clients = connect(&options(kubeconfig)).await?;
        let namespace = fleet.namespaces[0].name().to_owned();
        let of = model(&clients.write, &fleet.sources[0]).await?;
        let made = fleet.sources.iter().map(|source| {
            let (client, of) = (&clients.write, &of);
            let collection = slices_of(&namespace);
            async move {
                let name = format!("bare-{}", source.service.name());
                let mut bodies = Vec::new();
                for pod in source.pods.values() {
                    let mut slice = imitation(of, &name, pod);
                    slice["metadata"]["resourceVersion"] = json!(VERSION);
                    bodies.push((pod.name().to_owned(), slice.to_string()));
                }
                let first = bodies[0].1.replace(&format!("\"{VERSION}\""), "null");
                let Written { metadata } = ask(client, Method::POST, &collection, first.into()).await?;
                let version = metadata.resource_version.context("no version")?;
                Ok(Prepared { name, bodies, leader: 0, version })
            }
        });
        let prepared = crate::fleet::all_at_once("slices of the bare client", made).await?;
        Ok(Self { kubeconfig: kubeconfig.to_owned(), namespace, prepared })
    }

    /// Its slices, in an order of their own, with whom each shows.
    pub fn slices(&self) -> Vec<(Key, String)> {
        let key = |slice: &Prepared| (self.namespace.clone(), slice.name.clone());
        self.prepared.iter().map(|slice| (key(slice), slice.bodies[slice.leader].0.clone())).collect()
    }

    /// Begins to watch; once it does, it writes for each leader that is lost, so many at a time. Ends when all have
    /// been lost.
    pub async fn begin(mut self, at_once: usize) -> Result<oneshot::Receiver<Result<Self>>> {
        let clients = connect(&options(&self.kubeconfig)).await?;
        clients.warm().await?;
        let (sink, mut feed) = mpsc::channel(1_024);
        let pods: Api<PodLite> = Api::namespaced(clients.watch.clone(), &self.namespace);
        let status = WatchStatus::new("bare client");
        tokio::spawn(follow(pods, WatchOptions::default(), 0, sink, status.clone()));
        while !status.is_live() {
            let (_, _): (usize, Change<PodLite>) = tokio::select! {
                change = feed.recv() => change.context("the bare client's watch ended")?,
                () = tokio::time::sleep(Duration::from_millis(5)) => continue,
            };
        }
        let (done, result) = oneshot::channel();
        tokio::spawn(async move {
            let reacted = self.react(&clients, at_once, &mut feed).await;
            let _ = done.send(reacted.map(|()| self));
        });
        Ok(result)
    }

    async fn react(
        &mut self,
        clients: &Clients,
        at_once: usize,
        feed: &mut mpsc::Receiver<(usize, Change<PodLite>)>,
    ) -> Result<()> {
        let led = self
            .prepared
            .iter()
            .enumerate()
            .map(|(number, slice)| (slice.bodies[slice.leader].0.clone(), number));
        let mut led: HashMap<String, usize> = led.collect();
        let permits = Arc::new(Semaphore::new(at_once));
        let mut writes = JoinSet::new();
        while !led.is_empty() {
            let (_, change) = feed.recv().await.context("the bare client's watch ended")?;
            let Change::Applied(pod) = change else { continue };
            let ready = pod.status.ready_condition().and_then(|ready| ready.status.as_deref());
            if ready == Some("True") {
                continue;
            }
            let Some(number) = led.remove(pod.metadata.name.as_deref().unwrap_or_default()) else { continue };
            let slice = &mut self.prepared[number];
            slice.leader = (slice.leader + 1) % slice.bodies.len();
            let body = slice.bodies[slice.leader].1.replace(VERSION, &slice.version);
            let path = format!("{}/{}", slices_of(&self.namespace), slice.name);
            let (client, permits) = (clients.write.clone(), permits.clone());
            writes.spawn(async move {
                let _permit = permits.acquire().await?;
                let Written { metadata } = ask(&client, Method::PUT, &path, body.into()).await?;
                anyhow::Ok((number, metadata.resource_version.context("no version")?))
            });
        }
        while let Some(written) = writes.join_next().await {
            let (number, version) = written??;
            self.prepared[number].version = version;
        }
        Ok(())
    }
}

/// What opting in makes: a Service and a slice with its endpoint, for each of the fleet's, so many at a time. The
/// slices' keys in any order; [`remove_all`] takes all of it away.
pub async fn create_all(kubeconfig: &Path, fleet: &Fleet, model: &Value, at_once: usize) -> Result<Vec<Key>> {
    let clients = connect(&options(kubeconfig)).await?;
    clients.warm().await?;
    let permits = Semaphore::new(at_once);
    let made = fleet.sources.iter().map(|source| {
        let (client, permits) = (&clients.write, &permits);
        async move {
            let _permit = permits.acquire().await?;
            let (namespace, name) = (source.namespace.name(), format!("bare-{}", source.service.name()));
            let pod = source.pods.values().next().context("a Service without pods")?;
            let service = leader_service(&name).to_string().into();
            let _: IgnoredAny = ask(client, Method::POST, &services_of(namespace), service).await?;
            let slice = imitation(model, &name, pod).to_string().into();
            let _: IgnoredAny = ask(client, Method::POST, &slices_of(namespace), slice).await?;
            anyhow::Ok((namespace.to_owned(), name))
        }
    });
    try_join_all(made).await
}

pub async fn remove_all(kubeconfig: &Path, made: &[Key]) -> Result<()> {
    let client = &connect(&options(kubeconfig)).await?.write;
    let removed = made.iter().map(|(namespace, name)| async move {
        for collection in [services_of(namespace), slices_of(namespace)] {
            let path = format!("{collection}/{name}");
            let _: IgnoredAny = ask(client, Method::DELETE, &path, Vec::new()).await?;
        }
        Ok(())
    });
    crate::fleet::all_at_once("deletions", removed).await.map(drop)
}

/// A slice as the controller makes it, without a controller.
pub fn written_slice(source: &Source) -> Value {
    let (_, name) = source.leader_slice();
    let labels = json!({
        "app": source.service.name(), "app.kubernetes.io/managed-by": "zen-lead",
        "endpointslice.kubernetes.io/managed-by": "zen-lead", "kubernetes.io/service-name": name,
        "zen-lead.io/source-service": source.service.name(),
    });
    let annotations = json!({
        "zen-lead.io/instance": "zen-lead-system/zen-lead", "zen-lead.io/epoch": "1763625607",
        "zen-lead.io/leader-pod-uid": "5f0bd6a4-6d1b-4d2b-9e35-3c8f2f7c9a11",
        "zen-lead.io/leader-pod-name": "svc-0-0", "zen-lead.io/term-by": "zen-lead-0",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-05T08:00:00.123456Z",
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "labels": labels, "annotations": annotations, "ownerReferences": [{
            "apiVersion": "v1", "kind": "Service", "name": source.service.name(),
            "uid": source.service.uid(), "controller": true,
        }] },
        "endpoints": [{
            "conditions": { "ready": true, "serving": true, "terminating": false }, "nodeName": "node-1",
            "targetRef": { "kind": "Pod", "namespace": source.namespace.name() },
        }],
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

/// How long it takes to connect and to list what the controller lists, in pages of the same size, reading all of it
/// and decoding nothing but the way to the next page.
pub async fn list(kubeconfig: &Path) -> Result<Duration> {
    let begun = Instant::now();
    let clients = connect(&options(kubeconfig)).await?;
    clients.warm().await?;
    let ours = "&labelSelector=endpointslice.kubernetes.io%2Fmanaged-by%3Dzen-lead";
    let slices = format!("/apis/discovery.k8s.io/v1/endpointslices?limit={PAGE}{ours}");
    let services = format!("/api/v1/services?limit={PAGE}");
    let pods = format!("/api/v1/pods?limit={PAGE}");
    let lists = [slices, services, pods].map(|path| pages(clients.watch.clone(), path));
    let listed: usize = try_join_all(lists).await?.into_iter().sum();
    ensure!(listed > 2, "more than the last pages");
    Ok(begun.elapsed())
}

async fn pages(client: Client, path: String) -> Result<usize> {
    let mut next = path.clone();
    let mut count = 0;
    loop {
        let Written { metadata } = ask(&client, Method::GET, &next, Vec::new()).await?;
        count += 1;
        match metadata.r#continue.filter(|token| !token.is_empty()) {
            Some(token) => next = format!("{path}&continue={token}"),
            None => return Ok(count),
        }
    }
}
