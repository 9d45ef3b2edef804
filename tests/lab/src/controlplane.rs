//! etcd and one or more API servers, ready in about three seconds and gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::Client;
use tokio::task;

use crate::assets::Assets;
use crate::audit::Audit;
use crate::component::{Component, Probe};
use crate::connection::{Authority, Connection, Token};
use crate::directory::Directory;
use crate::pki::Keys;
use crate::ports;

/// A test control plane is reachable on loopback only, and its data are worth nothing: the token need not be secret.
const ADMIN_TOKEN: &str = "lab-administrator";

/// The administrator's name, as the audit log has it.
pub const ADMIN: &str = "lab-administrator";

/// Who asked for what, and the answer's code; one entry a request, when it is answered.
pub(crate) const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
 "rules": [{"level": "Metadata"}]}"#;

/// What kind of control plane to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// API servers on the one etcd; for tests that stop one of two.
    pub api_servers: usize,
    /// `--max-requests-inflight` and `--max-mutating-requests-inflight`, for tests of an overloaded server.
    pub in_flight: Option<(u32, u32)>,
    /// Further arguments of the API servers; a flag given here wins over ours.
    pub api_server_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { api_servers: 1, in_flight: None, api_server_args: Vec::new() }
    }
}

impl Options {
    /// Two API servers on one etcd.
    #[must_use]
    pub fn two_api_servers() -> Self {
        Self { api_servers: 2, ..Self::default() }
    }

    /// With limits for requests in flight: reading, writing.
    #[must_use]
    pub fn in_flight(mut self, reading: u32, writing: u32) -> Self {
        self.in_flight = Some((reading, writing));
        self
    }

    /// With one more argument for the API servers.
    #[must_use]
    pub fn api_server_arg(mut self, argument: impl Into<String>) -> Self {
        self.api_server_args.push(argument.into());
        self
    }
}

/// A running control plane. Dropping it ends its processes and removes its files.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields are dropped in this order: the processes before the folder they write to.
    api_servers: Vec<Component>,
    etcd: Component,
    connection: Arc<Connection>,
    audit_logs: Vec<PathBuf>,
    assets: Assets,
    directory: Directory,
}

impl ControlPlane {
    /// Starts etcd and the API servers (building them first if they are not in the cache), and returns when all are
    /// ready.
    pub async fn start(options: Options) -> Result<Self> {
        let assets = task::spawn_blocking(Assets::find_or_build).await??;
        let control_plane = Self::lay_out(assets, &options)?;
        // All at once: the API server waits for etcd by itself.
        for component in control_plane.components() {
            component.launch()?;
        }
        try_join_all(control_plane.components().map(Component::ready)).await?;
        Ok(control_plane)
    }

    /// Everything but the processes.
    fn lay_out(assets: Assets, options: &Options) -> Result<Self> {
        let directory = Directory::create()?;
        let root = directory.path();
        let (logs, kubeconfigs) = (root.join("logs"), root.join("kubeconfigs"));
        fs::create_dir(&logs)?;
        fs::create_dir(&kubeconfigs)?;
        fs::write(root.join("audit-policy.json"), AUDIT_POLICY)?;
        fs::write(root.join("tokens.csv"), format!("{ADMIN_TOKEN},{ADMIN},{ADMIN},system:masters\n"))?;
        let keys = Keys::create(&root.join("pki"))?;

        let etcd_port = ports::free()?;
        let etcd_arguments = etcd_arguments(root, etcd_port, ports::free()?);
        let etcd = Component::new(
            "etcd".into(),
            assets.program("etcd"),
            etcd_arguments,
            &logs,
            etcd_port,
            Probe::Etcd,
        );

        let api_ports = (0..options.api_servers).map(|_| ports::free()).collect::<Result<Vec<_>>>()?;
        let connection = Arc::new(Connection {
            urls: api_ports.iter().map(|port| format!("https://127.0.0.1:{port}")).collect(),
            ca_pem: keys.ca_pem.clone(),
            ca_file: keys.ca_file.clone(),
            token_key: keys.token_private_key.clone(),
            admin_token: ADMIN_TOKEN.into(),
            kubeconfigs,
        });
        let audit_logs: Vec<PathBuf> =
            (0..api_ports.len()).map(|index| logs.join(format!("audit-{index}.jsonl"))).collect();
        let api_servers = api_ports
            .iter()
            .zip(&audit_logs)
            .enumerate()
            .map(|(index, (&port, audit_log))| {
                let arguments = api_server_arguments(root, &keys, port, etcd_port, audit_log, options);
                let probe = Probe::ApiServer(connection.clone(), index);
                let name = format!("kube-apiserver-{index}");
                Component::new(name, assets.program("kube-apiserver"), arguments, &logs, port, probe)
            })
            .collect();
        Ok(Self { api_servers, etcd, connection, audit_logs, assets, directory })
    }

    /// The store.
    #[must_use]
    pub fn etcd(&self) -> &Component {
        &self.etcd
    }

    /// An API server by its index.
    ///
    /// # Panics
    /// If there are not that many.
    #[must_use]
    pub fn api_server(&self, index: usize) -> &Component {
        &self.api_servers[index]
    }

    /// etcd and the API servers.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        std::iter::once(&self.etcd).chain(&self.api_servers)
    }

    /// How to reach it; may outlive it.
    #[must_use]
    pub fn connection(&self) -> Arc<Connection> {
        self.connection.clone()
    }

    /// The first API server's `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.connection.url(0)
    }

    /// The authority that signed the servers' certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.connection.ca_pem()
    }

    /// A client of the first API server with the administrator's rights. Use it in the runtime that made it.
    pub async fn admin(&self) -> Result<Client> {
        self.connection.client().await
    }

    /// A new kubeconfig with the administrator's rights.
    pub fn kubeconfig_admin(&self) -> Result<PathBuf> {
        let token = Token::Inline(ADMIN_TOKEN.into());
        let content = self.connection.kubeconfig(self.url(), Authority::Inline, &token, "default");
        self.connection.write_kubeconfig("admin", &content)
    }

    /// What was asked of the API servers so far and from now on.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::of(self.audit_logs.clone())
    }

    /// The programs it runs, kubectl among them.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The folder of all its files; removed with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The folder of the components' logs and the audit logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// Runs kubectl as administrator and returns its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(self.assets.program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig_admin()?).args(arguments);
        let output = task::spawn_blocking(move || command.output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        output.status.success().then_some(()).with_context(|| format!("kubectl {arguments:?}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn etcd_arguments(root: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{port}");
    let peers = format!("http://127.0.0.1:{peer_port}");
    vec![
        format!("--data-dir={}", root.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // Durability is for machines that lose power; here it would only measure the disk.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server_arguments(
    root: &Path,
    keys: &Keys,
    port: u16,
    etcd_port: u16,
    audit_log: &Path,
    options: &Options,
) -> Vec<String> {
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        // An address from a documentation range, so that nothing depends on the machine's interfaces; and nobody writes
        // the `kubernetes` Service's endpoints, which would be unrelated traffic on the very watches under test.
        "--advertise-address=192.0.2.1".into(),
        "--endpoint-reconciler-type=none".into(),
        "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112".into(),
        "--authorization-mode=RBAC".into(),
        // It would refuse every pod, because nobody makes the namespaces' default ServiceAccounts here.
        "--disable-admission-plugins=ServiceAccount".into(),
    ];
    if let Some((reading, writing)) = options.in_flight {
        arguments.push(format!("--max-requests-inflight={reading}"));
        arguments.push(format!("--max-mutating-requests-inflight={writing}"));
    }
    arguments.extend(keys.api_server_args(root, audit_log));
    arguments.extend(options.api_server_args.iter().cloned());
    arguments
}
