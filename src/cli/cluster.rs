//! The API server, asked one thing at a time, and its answers as [`Error`]s that name the object.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use machine::Version;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Error, Request};
use super::survey::Key;
use crate::client;
use crate::config::ClusterArgs;
use crate::kinds::ServiceLite;

/// The longest wait for one answer: people look at the terminal meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Objects a page of a list: fewer round trips than the usual 500, and still a few megabytes at most.
const PAGE: u32 = 1_000;

/// Whose changes these are: those of the controller have another name.
const FIELD_MANAGER: &str = "zen-lead-cli";

/// A cluster, and where in it to look.
pub(super) struct Cluster {
    /// For requests.
    pub(super) client: Client,
    /// For watches, which have a connection of their own.
    pub(super) watch: Client,
    /// The namespace; none is all of them.
    pub(super) namespace: Option<String>,
}

/// A list as of one moment.
pub(super) struct Listed<K> {
    pub(super) items: Vec<K>,
    /// How new it is.
    pub(super) version: Version,
    /// The same, to watch from.
    pub(super) from: String,
}

impl Cluster {
    /// Finds the cluster; no packet is sent.
    pub(super) async fn find(args: &ClusterArgs) -> Result<Self, Error> {
        let clients = client::connect(&args.client()).await?;
        let namespace = match &args.namespace {
            _ if args.all_namespaces => None,
            Some(name) if !name.is_empty() => Some(name.clone()),
            _ => Some(clients.default_namespace.clone()),
        };
        Ok(Self { client: clients.write, watch: clients.watch, namespace })
    }

    /// The objects of a kind in a namespace, or in all of them.
    pub(super) fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        api(&self.client, namespace)
    }

    /// Lists the objects of a kind.
    pub(super) async fn list<K>(&self, namespace: Option<&str>, which: ListParams) -> Result<Listed<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug,
    {
        let api = self.api::<K>(namespace);
        let mut which = which.limit(PAGE);
        let mut items = Vec::new();
        loop {
            let page = answered(request::<K>("list", namespace, None), api.list(&which)).await?;
            items.extend(page.items);
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                let from = page.metadata.resource_version.unwrap_or_default();
                let version = Version(from.parse().unwrap_or_default());
                return Ok(Listed { items, version, from });
            }
            which.continue_token = next;
        }
    }

    /// Changes a Service by a merge patch.
    pub(super) async fn patch(
        &self,
        (namespace, name): &Key,
        patch: Value,
        dry_run: bool,
    ) -> Result<ServiceLite, Error> {
        let request = request::<ServiceLite>("patch", Some(namespace), Some(name));
        let parameters =
            PatchParams { dry_run, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = self.api::<ServiceLite>(Some(namespace));
        answered(request, api.patch(name, &parameters, &Patch::Merge(patch))).await
    }

    /// Whether there is a namespace of this name; nothing if the caller may not know.
    pub(super) async fn has_namespace(&self, name: &str) -> Option<bool> {
        let api = Api::<Namespace>::all(self.client.clone());
        let answer = tokio::time::timeout(ANSWER_WITHIN, api.get_metadata_opt(name)).await;
        answer.ok()?.ok().map(|found| found.is_some())
    }
}

/// The objects of a kind in a namespace, or in all of them.
pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A request about a kind, in words.
pub(super) fn request<K>(verb: &'static str, namespace: Option<&str>, name: Option<&str>) -> Request
where
    K: Resource<DynamicType = ()>,
{
    Request {
        verb,
        group: K::group(&()).into_owned(),
        resource: K::plural(&()).into_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    }
}

/// Waits for an answer, for a while.
pub(super) async fn answered<T>(
    request: Request,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(ANSWER_WITHIN, call).await;
    let answer = answer.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())));
    answer.map_err(|error| Error::answer(request, error))
}
