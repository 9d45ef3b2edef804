//! The control plane of a cluster: etcd, API server, controller manager and scheduler, in a network of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use tokio::time;

use super::Options;
use super::address::GATEWAY;
use super::cgroup::{Cgroup, JOIN};
use super::door::Door;
use super::network::Network;
use crate::assets::Assets;
use crate::audit::Audit;
use crate::component::{Component, Probe};
use crate::connection::{Authority, Connection, Token};
use crate::controlplane::{ADMIN, AUDIT_POLICY};
use crate::pki::Keys;
use crate::process::Process;

const API_PORT: u16 = 6443;

/// The components, and the network in which they and the nodes meet.
#[derive(Debug)]
pub(crate) struct Servers {
    // Dropped in this order: the network's keeper last.
    pub(crate) scheduler: Component,
    pub(crate) controller_manager: Component,
    pub(crate) api_server: Component,
    pub(crate) etcd: Component,
    _door: Door,
    pub(crate) connection: Arc<Connection>,
    pub(crate) network: Arc<Network>,
    audit_log: PathBuf,
    _keeper: Process,
}

impl Servers {
    /// Makes the network and starts nothing in it yet.
    pub(crate) async fn lay_out(
        assets: &Assets,
        root: &Path,
        cgroup: &Cgroup,
        options: &Options,
    ) -> Result<Self> {
        let logs = root.join("logs");
        let cgroup = cgroup.child("control-plane");
        cgroup.create()?;
        let holder = cgroup.holder()?.display().to_string();
        let keeper = keep_network(root, &holder).await?;
        let network = Arc::new(Network::of_process(keeper.id())?);
        network.ip(&format!(
            "link set lo up\nlink add br0 type bridge\naddr add {GATEWAY}/24 dev br0\nlink set br0 up\n"
        ))?;
        let door = Door::open(network.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)))?;

        let token = random_token()?;
        fs::write(root.join("audit-policy.json"), AUDIT_POLICY)?;
        fs::write(root.join("tokens.csv"), format!("{token},{ADMIN},{ADMIN},system:masters\n"))?;
        let keys = Keys::create(&root.join("pki"))?;
        let kubeconfigs = root.join("kubeconfigs");
        fs::create_dir(&kubeconfigs)?;
        let connection = Arc::new(Connection {
            urls: vec![format!("https://127.0.0.1:{}", door.port())],
            ca_pem: keys.ca_pem.clone(),
            ca_file: keys.ca_file.clone(),
            token_key: keys.token_private_key.clone(),
            admin_token: token,
            kubeconfigs,
        });
        let inside = connection.write_kubeconfig("inside", &kubeconfig_inside(&connection))?;
        let audit_log = logs.join("audit.jsonl");
        let component = |name: &str, arguments, port, probe| {
            let (door, program) = (network.door(), assets.program(name).display().to_string());
            let mut all = [&door, "--", "sh", "-c", JOIN, &holder, &program].map(str::to_owned).to_vec();
            all.extend::<Vec<String>>(arguments);
            Component::new(name.into(), "nsenter".into(), all, &logs, port, probe)
        };
        let api_probe = Probe::ApiServer(connection.clone(), 0);
        let api_arguments = api_server(root, &keys, &audit_log, options);
        Ok(Self {
            scheduler: component("kube-scheduler", scheduler(&inside), 10259, Probe::Runs),
            controller_manager: component(
                "kube-controller-manager",
                controller_manager(root, &inside, &keys, options),
                10257,
                Probe::Runs,
            ),
            api_server: component("kube-apiserver", api_arguments, API_PORT, api_probe),
            etcd: component("etcd", etcd(root), 2379, Probe::Http(network.clone(), "/health")),
            _door: door,
            connection,
            network: network.clone(),
            audit_log,
            _keeper: keeper,
        })
    }

    /// Starts all; returns when the API server is ready.
    pub(crate) async fn start(&self) -> Result<()> {
        // All at once: each waits for the one it needs.
        for component in self.components() {
            component.launch()?;
        }
        self.api_server.ready().await
    }

    pub(crate) fn components(&self) -> [&Component; 4] {
        [&self.etcd, &self.api_server, &self.controller_manager, &self.scheduler]
    }

    pub(crate) fn audit(&self) -> Audit {
        Audit::of(vec![self.audit_log.clone()])
    }
}

/// The API server as it is reached from the nodes.
pub(crate) fn kubeconfig_inside(connection: &Connection) -> Value {
    let token = Token::Inline(connection.admin_token.clone());
    let server = format!("https://{GATEWAY}:{API_PORT}");
    connection.kubeconfig(&server, Authority::Inline, &token, "default")
}

/// A process that does nothing, in a new network, which exists as long as it does.
async fn keep_network(root: &Path, holder: &str) -> Result<Process> {
    let (log, there) = (root.join("logs/network.log"), root.join("network.there"));
    let script = r#"touch "$1" && exec sleep infinity"#;
    let sleep = ["sh", "-c", script, "sh", &there.display().to_string()].map(str::to_owned);
    let arguments = [["--net", "sh", "-c", JOIN, holder].map(str::to_owned), sleep].concat();
    let mut process = Process::spawn(Path::new("unshare"), &arguments, &log)?;
    until_there(&mut process, &there, &log).await?;
    Ok(process)
}

/// Waits for a file by which a process tells that it is ready.
pub(crate) async fn until_there(process: &mut Process, file: &Path, log: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        let ended = process.ended()?;
        let words = || crate::last_lines(log, 15);
        ensure!(ended.is_none(), "{} cannot be made: {}", file.display(), words());
        ensure!(Instant::now() < deadline, "{} is not there after 20 s: {}", file.display(), words());
        time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Whoever knows it can be root on this machine, by way of a privileged pod: nobody else on it is to.
fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    ensure!(SystemRandom::new().fill(&mut bytes).is_ok(), "the system gives no random numbers");
    super::hex(&bytes)
}

fn etcd(root: &Path) -> Vec<String> {
    vec![
        format!("--data-dir={}", root.join("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".into(),
        "--initial-cluster=default=http://127.0.0.1:2380".into(),
        // Durability is for machines that lose power; here it would only measure the disk.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

/// Admission is as by default, with `ServiceAccount`: a pod gets its token.
fn api_server(root: &Path, keys: &Keys, audit_log: &Path, options: &Options) -> Vec<String> {
    let mut arguments = vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={GATEWAY}"),
        format!("--secure-port={API_PORT}"),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
    ];
    arguments.extend(keys.api_server_args(root, audit_log));
    arguments.extend(options.api_server_args.iter().cloned());
    arguments
}

fn controller_manager(root: &Path, kubeconfig: &Path, keys: &Keys, options: &Options) -> Vec<String> {
    let mut arguments = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".into(),
        format!("--service-account-private-key-file={}", keys.token_private_key.display()),
        format!("--root-ca-file={}", keys.ca_file.display()),
        // It is made if it is missing, as a rule in the machine's /usr/libexec.
        format!("--flex-volume-plugin-dir={}", root.join("volume-plugins").display()),
    ];
    arguments.extend(options.controller_manager_args.iter().cloned());
    arguments
}

fn scheduler(kubeconfig: &Path) -> Vec<String> {
    vec![format!("--kubeconfig={}", kubeconfig.display()), "--leader-elect=false".into()]
}
