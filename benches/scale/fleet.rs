//! Many Services with their pods.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lab::{Lab, Namespace, Pod, PodBuilder, Service};
use serde_json::json;

/// Requests in flight when many objects are made or changed at once. More gain nothing on two cores.
const AT_ONCE: usize = 64;

/// Services in one namespace. Larger ones are rare, and this is the most that one may hold with its leader Services
/// within the quotas that people set.
const PER_NAMESPACE: usize = 500;

/// How many there are.
#[derive(Clone, Copy)]
pub struct Size {
    pub services: usize,
    /// Of each Service.
    pub pods: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Services, {} pods", self.services, self.services * self.pods)
    }
}

/// Services of a control plane.
pub struct Fleet {
    pub namespaces: Vec<Namespace>,
    pub sources: Vec<Source>,
}

/// A Service and its pods.
pub struct Source {
    pub namespace: Namespace,
    pub service: Service,
    /// By name.
    pub pods: HashMap<String, Pod>,
}

/// Namespace and name of a slice.
pub type Key = (String, String);

impl Fleet {
    /// Makes them, with all pods Ready.
    pub async fn create(lab: &Lab, size: Size) -> Result<Self> {
        let mut namespaces = Vec::new();
        for _ in 0..size.services.div_ceil(PER_NAMESPACE) {
            namespaces.push(lab.namespace("fleet").await?);
        }
        let home = |number: usize| namespaces[number / PER_NAMESPACE].clone();
        let pods = (0..size.services * size.pods).map(|number| {
            let (service, pod) = (number / size.pods, number % size.pods);
            let builder = member(&home(service), &format!("svc-{service}"), pod);
            async move { Ok((service, builder.create().await?)) }
        });
        let pods = all_at_once("pods", pods).await?;
        let services = (0..size.services).map(|number| {
            let namespace = home(number);
            let name = format!("svc-{number}");
            async move {
                let service = namespace.service(&name).label("app", &name).selector("app", &name);
                let service = service.port("http", 80, 8080).create().await?;
                Ok((number, Source { namespace, service, pods: HashMap::new() }))
            }
        });
        let mut sources = all_at_once("Services", services).await?;
        sources.sort_by_key(|(number, _)| *number);
        let mut sources: Vec<Source> = sources.into_iter().map(|(_, source)| source).collect();
        for (service, pod) in pods {
            sources[service].pods.insert(pod.name().to_owned(), pod);
        }
        Ok(Self { namespaces, sources })
    }

    /// Opts all of them in, or out.
    pub async fn opt_in(&self, is_wanted: bool) -> Result<()> {
        let value = is_wanted.then_some("true");
        let opts = self.sources.iter().map(|source| source.service.annotate("zen-lead.io/enabled", value));
        all_at_once("opt-ins", opts).await.map(drop)
    }

    /// The leader slices, in the order of the Services.
    pub fn leader_slices(&self) -> Vec<Key> {
        self.sources.iter().map(Source::leader_slice).collect()
    }
}

impl Source {
    pub fn leader_slice(&self) -> Key {
        (self.namespace.name().to_owned(), format!("{}-leader", self.service.name()))
    }

    pub fn pod(&self, name: &str) -> Result<&Pod> {
        self.pods.get(name).with_context(|| format!("{} has no pod {name}", self.service.name()))
    }

    /// Makes a pod that was deleted anew.
    pub async fn replace(&mut self, name: &str) -> Result<()> {
        let number = name.rsplit('-').next().unwrap_or_default().parse()?;
        let pod = member(&self.namespace, self.service.name(), number).create().await?;
        self.pods.insert(name.to_owned(), pod);
        Ok(())
    }
}

/// A pod as of a Deployment: with the labels that one has.
fn member(namespace: &Namespace, service: &str, number: usize) -> PodBuilder {
    let pod = namespace.pod(&format!("{service}-{number}")).label("app", service);
    pod.label("pod-template-hash", "6c9f8d7b5").port("http", 8080).ready()
}

/// Pods that no Service selects, 6 KB each, as deployments of ten.
pub async fn unrelated(namespace: &Namespace, count: usize) -> Result<()> {
    let pods = (0..count).map(|number| {
        let app = format!("batch-{}", number / 10);
        let pod = namespace.pod(&format!("{app}-{}", number % 10)).label("app", &app);
        let pod = pod.label("pod-template-hash", "6c9f8d7b5").port("http", 8080).bulky().ready();
        async move { pod.create().await.map(drop) }
    });
    all_at_once("unrelated pods", pods).await.map(drop)
}

/// Does all of it, [`AT_ONCE`], and says how far it is if that takes long.
pub async fn all_at_once<T, F>(what: &str, work: impl IntoIterator<Item = F>) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    let mut done = stream::iter(work).buffer_unordered(AT_ONCE);
    let mut results = Vec::new();
    while let Some(result) = done.try_next().await? {
        results.push(result);
        if results.len() % 5_000 == 0 {
            eprintln!("{} {what} after {:.0} s", results.len(), begun.elapsed().as_secs_f64());
        }
    }
    Ok(results)
}

/// The body of a Service as the controller makes it.
pub fn leader_service(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}
