//! Where the show takes place: a namespace of the lab, or of the user's own cluster.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::time;

use super::screen::Screen;
use crate::access::Account;
use crate::audit::Audit;
use crate::controlplane::Options;
use crate::directory::Directory;
use crate::lab::{Lab, Namespace};
use crate::manifests::apply_yaml;
use crate::pods::PodBuilder;

/// What `kubectl apply -k deploy` would apply, but for the Deployment: the controller runs as a process here.
const DEPLOY: [&str; 4] = [
    include_str!("../../../../deploy/base/namespace.yaml"),
    include_str!("../../../../deploy/base/serviceaccount.yaml"),
    include_str!("../../../../deploy/clusterrole.yaml"),
    include_str!("../../../../deploy/clusterrolebinding.yaml"),
];
/// The same of `deploy/namespaced`: rights in one namespace only.
const DEPLOY_NAMESPACED: [&str; 3] = [
    include_str!("../../../../deploy/base/serviceaccount.yaml"),
    include_str!("../../../../deploy/namespaced/role.yaml"),
    include_str!("../../../../deploy/namespaced/rolebinding.yaml"),
];
/// The namespace and the account in `deploy/`.
const SYSTEM: &str = "zen-lead-system";
const ACCOUNT: &str = "zen-lead";

/// How long an API server that is there takes to answer at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long Kubernetes takes to empty a small namespace at most.
const GONE_WITHIN: Duration = Duration::from_secs(90);

/// A namespace for the show.
pub(super) struct Place {
    pub(super) ns: Namespace,
    pub(super) cluster: Cluster,
    /// For files of the show in the user's cluster; they hold a token.
    directory: Directory,
}

/// Whose cluster it is.
pub(super) enum Cluster {
    Lab(Box<Lab>),
    Own(Box<Own>),
}

/// The user's cluster.
pub(super) struct Own {
    kubeconfig: Kubeconfig,
    file: PathBuf,
    context: Option<String>,
}

impl Place {
    /// In a lab of our own.
    pub(super) async fn in_lab() -> Result<Self> {
        let lab = Box::new(Lab::start(Options::default()).await?);
        let ns = lab.namespace("demo").await?;
        Ok(Self { ns, cluster: Cluster::Lab(lab), directory: Directory::create()? })
    }

    /// The namespace is made by this, as the last thing that can fail: do not drop this future half-way.
    pub(super) async fn in_own(own: Own, client: Client) -> Result<Self> {
        let directory = Directory::create()?;
        let object = serde_json::from_value(json!({
            "metadata": { "generateName": "zen-lead-demo-", "labels": { "app.kubernetes.io/name": "zen-lead-demo" } },
        }))?;
        let create = Api::<NamespaceObject>::all(client.clone());
        let created = create.create(&PostParams::default(), &object).await.with_context(|| {
            format!(
                "creating a namespace in the cluster of {}: the user of this kubeconfig must be allowed to create and \
                 delete a namespace, and everything in it",
                own.file.display()
            )
        })?;
        let name = created.metadata.name.context("a created namespace has a name")?;
        let ns = Namespace::of_cluster(client, &name);
        Ok(Self { ns, cluster: Cluster::Own(Box::new(own)), directory })
    }

    /// Where it is, in words.
    pub(super) fn describe(&self) -> String {
        match &self.cluster {
            Cluster::Lab(lab) => {
                format!("etcd and kube-apiserver run ({}), with RBAC on", lab.control_plane.url())
            }
            Cluster::Own(own) => format!(
                "namespace {} in the cluster of {}; removed at the end, with everything in it",
                self.ns.name(),
                own.file.display()
            ),
        }
    }

    /// Applies what `deploy/` has of rights, and returns the controller's account.
    pub(super) async fn authorise(&self) -> Result<Account> {
        match &self.cluster {
            Cluster::Lab(_) => {
                apply_yaml(&self.ns.client(), &DEPLOY.join("\n---\n"), None).await?;
                self.ns.beside(SYSTEM).account(ACCOUNT).await
            }
            Cluster::Own(_) => {
                self.ns
                    .apply(&DEPLOY_NAMESPACED.join("\n---\n"))
                    .await
                    .with_context(|| format!("applying deploy/namespaced in namespace {}", self.ns.name()))?;
                self.ns.account(ACCOUNT).await
            }
        }
    }

    /// A kubeconfig for the controller, with a token of its account.
    pub(super) async fn kubeconfig(&self, account: &Account) -> Result<PathBuf> {
        match &self.cluster {
            Cluster::Lab(_) => account.kubeconfig().await,
            Cluster::Own(own) => {
                let content = own.as_somebody_else(&account.token().await?)?;
                let path = self.folder().join("controller.kubeconfig");
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.write_all(&serde_json::to_vec_pretty(&content)?)?;
                Ok(path)
            }
        }
    }

    /// What the controller is told of the place.
    pub(super) fn arguments(&self) -> Vec<String> {
        match &self.cluster {
            // An empty one, because the user's environment could name another.
            Cluster::Lab(_) => vec!["--namespace=".into(), format!("--instance={}", self.instance())],
            Cluster::Own(_) => {
                vec![format!("--namespace={}", self.ns.name()), format!("--instance={}", self.instance())]
            }
        }
    }

    /// The controller's installation, as its objects carry it.
    pub(super) fn instance(&self) -> String {
        match &self.cluster {
            Cluster::Lab(_) => format!("{SYSTEM}/{ACCOUNT}"),
            Cluster::Own(_) => format!("{}/{ACCOUNT}", self.ns.name()),
        }
    }

    /// A pod that looks as if it ran somewhere.
    pub(super) fn pod(&self, name: &str) -> PodBuilder {
        match &self.cluster {
            Cluster::Lab(_) => self.ns.pod(name),
            Cluster::Own(_) => {
                // Addresses of documentation: nobody else's pod has one. A node that is not there: no kubelet
                // starts the pod.
                static LAST: AtomicU8 = AtomicU8::new(0);
                let last = 1 + LAST.fetch_add(1, Ordering::Relaxed) % 250;
                let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
                self.ns.pod(name).node(&format!("{}-no-node", self.ns.name())).ips([ip])
            }
        }
    }

    /// Who asked for what, if this cluster tells us.
    pub(super) fn audit(&self) -> Option<Audit> {
        match &self.cluster {
            Cluster::Lab(lab) => Some(lab.control_plane.audit().from_now()),
            Cluster::Own(_) => None,
        }
    }

    /// A folder for files of the show; removed with it.
    pub(super) fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// What a user types to reach it: lines for a shell, and the kubectl command.
    pub(super) fn for_hands(&self) -> Result<(Vec<String>, String)> {
        match &self.cluster {
            Cluster::Lab(lab) => {
                let programs = lab.control_plane.assets().directory().display();
                let kubeconfig = self.ns.kubeconfig_admin()?;
                let lines = vec![
                    format!("export KUBECONFIG={}", kubeconfig.display()),
                    format!("export PATH={programs}:$PATH"),
                ];
                Ok((lines, "kubectl".into()))
            }
            Cluster::Own(own) => {
                let context = own.context.as_ref().map(|name| format!(" --context {name}"));
                let file = std::path::absolute(&own.file)?;
                let kubectl = format!("kubectl{} -n {}", context.unwrap_or_default(), self.ns.name());
                Ok((vec![format!("export KUBECONFIG={}", file.display())], kubectl))
            }
        }
    }

    /// Removes everything. In the lab that is the lab itself.
    pub(super) async fn remove(self, screen: &mut Screen, begun: Instant) -> Result<()> {
        match self.cluster {
            Cluster::Lab(lab) => {
                // It waits for its processes.
                tokio::task::spawn_blocking(move || drop(lab)).await?;
                screen.progress(begun.elapsed(), "the lab is gone");
            }
            Cluster::Own(_) => {
                screen.progress(begun.elapsed(), &format!("removing namespace {}", self.ns.name()));
                let name = self.ns.name();
                remove_namespace(&self.ns).await.with_context(|| {
                    format!(
                        "removing namespace {name}: see `kubectl get namespace {name} -o yaml`, and delete it by hand; \
                         there is nothing of the demo outside it"
                    )
                })?;
                screen
                    .progress(begun.elapsed(), &format!("namespace {name} is gone, and all that was in it"));
            }
        }
        Ok(())
    }
}

impl Own {
    /// Reads a kubeconfig and asks its cluster whether it is there.
    pub(super) async fn reach(file: &Path, context: Option<&str>) -> Result<(Self, Client)> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(file)
            .with_context(|| format!("--kubeconfig {}: name a file that kubectl can use", file.display()))?;
        let own = Self { kubeconfig, file: file.into(), context: context.map(str::to_owned) };
        let options = KubeConfigOptions { context: own.context.clone(), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(own.kubeconfig.clone(), &options)
            .await
            .with_context(|| own.how())?;
        config.default_retry = false;
        let server = config.cluster_url.clone();
        let client = Client::try_from(config).with_context(|| own.how())?;
        let asked = || format!("asking the API server {server} for its version; {}", own.how());
        match time::timeout(ANSWER_WITHIN, client.apiserver_version()).await {
            Ok(answer) => drop(answer.with_context(asked)?),
            Err(_) => bail!("no answer after {} s; {}", ANSWER_WITHIN.as_secs(), asked()),
        }
        Ok((own, client))
    }

    fn how(&self) -> String {
        let context = self.context.as_ref().map_or_else(String::new, |name| format!(" --context {name}"));
        format!("check `kubectl --kubeconfig {}{context} version`", self.file.display())
    }

    /// The same cluster, for somebody with this token.
    fn as_somebody_else(&self, token: &str) -> Result<Value> {
        let kubeconfig = &self.kubeconfig;
        let context = self.context.as_ref().or(kubeconfig.current_context.as_ref());
        let context = kubeconfig.contexts.iter().find(|named| Some(&named.name) == context);
        let name = context.and_then(|named| named.context.as_ref()).map(|context| &context.cluster);
        let cluster = kubeconfig.clusters.iter().find(|named| Some(&named.name) == name);
        let cluster = cluster.and_then(|named| named.cluster.as_ref()).with_context(|| self.how())?;
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "own", "cluster": cluster }],
            "users": [{ "name": "controller", "user": { "token": token } }],
            "contexts": [{ "name": "demo", "context": { "cluster": "own", "user": "controller" } }],
            "current-context": "demo",
        }))
    }
}

/// Deletes a namespace and returns when it is gone.
async fn remove_namespace(ns: &Namespace) -> Result<()> {
    // No kubelet would end these pods, and the namespace would wait for their grace to pass.
    let pods: Api<Pod> = ns.api();
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    let namespaces: Api<NamespaceObject> = Api::all(ns.client());
    namespaces.delete(ns.name(), &DeleteParams::default()).await?;
    let begun = Instant::now();
    let mut often = time::interval(Duration::from_millis(200));
    loop {
        often.tick().await;
        if namespaces.get_opt(ns.name()).await?.is_none() {
            return Ok(());
        }
        ensure!(begun.elapsed() < GONE_WITHIN, "it is still there after {} s", GONE_WITHIN.as_secs());
    }
}
