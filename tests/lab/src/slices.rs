//! Waiting for `EndpointSlices`, by watches: an answer comes as soon as there is one, and a wait that fails tells what
//! was there instead.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time;

/// The label that ties a slice to its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The slices of a namespace.
#[derive(Debug, Clone)]
pub struct Slices {
    api: Api<EndpointSlice>,
}

impl Slices {
    pub(crate) fn new(api: Api<EndpointSlice>) -> Self {
        Self { api }
    }

    /// Waits until a slice of this Service is as wanted, and returns it.
    pub async fn until(
        &self,
        service: &str,
        within: Duration,
        wanted: impl Fn(&EndpointSlice) -> bool,
    ) -> Result<EndpointSlice> {
        let slices = self.all_until(service, within, |slices| slices.iter().any(&wanted)).await?;
        slices.into_iter().find(|slice| wanted(slice)).context("one of them was as wanted")
    }

    /// Waits until the slices of this Service, taken together, are as wanted, and returns them.
    pub async fn all_until(
        &self,
        service: &str,
        within: Duration,
        wanted: impl Fn(&[EndpointSlice]) -> bool,
    ) -> Result<Vec<EndpointSlice>> {
        until(&self.api, &format!("{SERVICE_NAME}={service}"), within, wanted)
            .await
            .with_context(|| format!("waiting for the EndpointSlices of {service}"))
    }

    /// Waits until this pod is the Service's leader: the only endpoint of each of its slices, of which there is one.
    pub async fn until_leader(&self, service: &str, pod: &str, within: Duration) -> Result<EndpointSlice> {
        let led = |slice: &EndpointSlice| leader_of(slice).as_deref() == Some(pod);
        let slices = self
            .all_until(service, within, |slices| !slices.is_empty() && slices.iter().all(led))
            .await
            .with_context(|| format!("waiting for {pod} to lead"))?;
        slices.into_iter().next().context("there is at least one")
    }

    /// Waits until this Service has at least one slice and nobody leads in any.
    pub async fn until_leaderless(&self, service: &str, within: Duration) -> Result<()> {
        let empty = |slice: &EndpointSlice| slice.endpoints.is_empty();
        self.all_until(service, within, |slices| !slices.is_empty() && slices.iter().all(empty))
            .await
            .map(drop)
    }

    /// All slices of this Service now.
    pub async fn of(&self, service: &str) -> Result<Vec<EndpointSlice>> {
        Ok(self.api.list(&ListParams::default().labels(&format!("{SERVICE_NAME}={service}"))).await?.items)
    }
}

/// The name of the pod behind the only endpoint, if it is ready.
#[must_use]
pub fn leader_of(slice: &EndpointSlice) -> Option<String> {
    let [endpoint] = slice.endpoints.as_slice() else { return None };
    let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
    endpoint.target_ref.clone().filter(|_| ready)?.name
}

/// Waits until the objects with these labels are as wanted, and returns them in the order of their names.
pub async fn until<K>(
    api: &Api<K>,
    labels: &str,
    within: Duration,
    wanted: impl Fn(&[K]) -> bool,
) -> Result<Vec<K>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut seen = BTreeMap::new();
    match time::timeout(within, watch_until(api, labels, &mut seen, wanted)).await {
        Ok(result) => result,
        Err(_) => {
            bail!("not as wanted after {within:?}; last seen: {:#?}", seen.values().collect::<Vec<_>>())
        }
    }
}

/// Waits for one object by its name: present and as wanted.
pub async fn until_object<K>(
    api: &Api<K>,
    name: &str,
    within: Duration,
    wanted: impl Fn(&K) -> bool,
) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let named = |object: &K| object.meta().name.as_deref() == Some(name);
    until(api, "", within, |objects| objects.iter().any(|object| named(object) && wanted(object)))
        .await
        .with_context(|| format!("waiting for {name}"))?
        .into_iter()
        .find(|object| named(object))
        .context("it was among them")
}

async fn watch_until<K>(
    api: &Api<K>,
    labels: &str,
    seen: &mut BTreeMap<String, K>,
    wanted: impl Fn(&[K]) -> bool,
) -> Result<Vec<K>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    // Begun again when the server ends the watch or forgets the version, which is no failure of what is waited for.
    loop {
        let list = api.list(&ListParams::default().labels(labels)).await?;
        let version = list.metadata.resource_version.clone().context("a list has a version")?;
        *seen = list.items.into_iter().map(|object| (object.name_any(), object)).collect();
        let mut events = api.watch(&WatchParams::default().labels(labels), &version).await?.boxed();
        loop {
            let now: Vec<K> = seen.values().cloned().collect();
            if wanted(&now) {
                return Ok(now);
            }
            match events.try_next().await? {
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    seen.insert(object.name_any(), object);
                }
                Some(WatchEvent::Deleted(object)) => drop(seen.remove(&object.name_any())),
                Some(WatchEvent::Bookmark(_)) => {}
                Some(WatchEvent::Error(_)) | None => break,
            }
        }
    }
}
