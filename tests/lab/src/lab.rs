//! One control plane for all tests of a test binary, and a namespace for each of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::api::{Api, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::access::Account;
use crate::connection::Connection;
use crate::controlplane::{ControlPlane, Options};
use crate::history::History;
use crate::pods::PodBuilder;
use crate::services::ServiceBuilder;
use crate::slices::Slices;

/// A control plane that hands out namespaces.
#[derive(Debug)]
pub struct Lab {
    /// The control plane itself: its components, its audit log, its files.
    pub control_plane: ControlPlane,
    namespaces: AtomicU32,
}

impl Lab {
    /// The control plane that all tests of this process share. A test that stops or slows a component wants its own:
    /// [`Lab::start`].
    ///
    /// It ends with the process.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Lab> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(Options::default())).await
    }

    /// A control plane of one's own; it ends when dropped.
    pub async fn start(options: Options) -> Result<Self> {
        Ok(Self { control_plane: ControlPlane::start(options).await?, namespaces: AtomicU32::new(0) })
    }

    /// A new namespace, and a client for it that belongs to the runtime of the caller.
    pub async fn namespace(&self, purpose: &str) -> Result<Namespace> {
        let name = format!("{purpose}-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        Namespace::create(self.control_plane.connection(), name).await
    }
}

/// A test's namespace. Unless it is one of a [`crate::cluster`], there is no controller manager: nothing in it is made,
/// collected or deleted by others.
#[derive(Clone)]
pub struct Namespace {
    name: String,
    client: Client,
    /// None in a cluster that is not the lab's.
    connection: Option<Arc<Connection>>,
}

impl Namespace {
    /// A new one, in one of the lab's control planes.
    pub(crate) async fn create(connection: Arc<Connection>, name: String) -> Result<Self> {
        let client = connection.client().await?;
        let object = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        Api::<NamespaceObject>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { name, client, connection: Some(connection) })
    }

    /// A namespace that exists in any cluster, the lab's or not.
    #[must_use]
    pub fn of_cluster(client: Client, name: &str) -> Self {
        Self { name: name.into(), client, connection: None }
    }

    /// Another namespace of the same cluster, which exists.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// Its name, unique in the control plane.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// How to reach the control plane.
    ///
    /// # Panics
    /// If the cluster is not the lab's.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        self.connection.as_ref().expect("a namespace of the lab")
    }

    /// The objects of a kind in it.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// Begins a pod; `.create()` makes it.
    #[must_use]
    pub fn pod(&self, name: &str) -> PodBuilder {
        PodBuilder::new(name).in_namespace(self)
    }

    /// Begins a Service; `.create()` makes it.
    #[must_use]
    pub fn service(&self, name: &str) -> ServiceBuilder {
        ServiceBuilder::new(name).in_namespace(self)
    }

    /// Its `EndpointSlices`, to wait for.
    #[must_use]
    pub fn slices(&self) -> Slices {
        Slices::new(self.api())
    }

    /// Begins to keep every revision of its `EndpointSlices`; returns when it is watching.
    pub async fn history(&self) -> Result<History> {
        History::begin(self.api()).await
    }

    /// A new `ServiceAccount` in it.
    pub async fn account(&self, name: &str) -> Result<Account> {
        Account::create(self, name).await
    }

    /// Applies manifests (YAML, any number of documents) as if they had been written for this namespace; see
    /// [`crate::apply_yaml`].
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        crate::apply_yaml(&self.client, manifests, Some(&self.name)).await.map(drop)
    }

    /// The administrator's kubeconfig with this namespace as default.
    pub fn kubeconfig_admin(&self) -> Result<PathBuf> {
        let connection = self.connection();
        let token = crate::Token::Inline(connection.admin_token.clone());
        let content = connection.kubeconfig(connection.url(0), crate::Authority::Inline, &token, &self.name);
        connection.write_kubeconfig("admin", &content)
    }
}
