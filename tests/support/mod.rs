//! A stage for one test: a namespace of its own on the shared control plane, and the real controller in it,
//! running as a ServiceAccount with the rights that `deploy/` gives and no others.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    clippy::unused_async,
    reason = "every test binary uses a part of it"
)]

mod acts;
mod faults;
mod go;
mod named;
mod record;
mod store;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::events::v1::Event;
use lab::{Account, Audit, Environment, Lab, Namespace, PodBuilder, Process, ServiceBuilder, Signal, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

pub use acts::Written;
pub use go::{LONG_AGO, before_the_upgrade, left_by_go};
pub use named::{named_in, named_metrics};
pub use record::{ENABLED, SOURCE_SERVICE, leaders};

/// How long anything may take that should take milliseconds: long enough for a machine that is busy with other
/// tests, and no test asserts on it.
pub const SOON: Duration = within(20);

/// A namespace with the controller in it.
pub struct Stage {
    pub ns: Namespace,
    pub account: Account,
    pub controller: Controller,
    audit: Audit,
}

impl Stage {
    /// A stage on the shared control plane whose controller is ready.
    pub async fn new(purpose: &str) -> Result<Self> {
        Self::on(Lab::shared().await?, purpose, &[]).await
    }

    /// The same with further arguments for the controller.
    pub async fn with(purpose: &str, arguments: &[&str]) -> Result<Self> {
        Self::on(Lab::shared().await?, purpose, arguments).await
    }

    /// A stage on a control plane of the test's own.
    pub async fn on(lab: &Lab, purpose: &str, arguments: &[&str]) -> Result<Self> {
        Self::set(lab, purpose, &[], arguments).await
    }

    /// The same with variables for the controller.
    pub async fn set(
        lab: &Lab,
        purpose: &str,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self> {
        let audit = lab.control_plane.audit().from_now();
        let ns = lab.namespace(purpose).await?;
        let account = authorise(&ns).await?;
        let kubeconfig = account.kubeconfig().await?;
        let all = [&["--namespace", ns.name()], arguments].concat();
        let controller = Controller::start_with(&kubeconfig, ns.name(), variables, &all)?;
        controller.until_ready().await?;
        Ok(Self { ns, account, controller, audit })
    }

    /// Begins a Service that opts in: port 80 to 8080 of the pods labelled `app: <name>`.
    pub fn source(&self, name: &str) -> ServiceBuilder {
        let service = self.ns.service(name).annotation("zen-lead.io/enabled", "true");
        service.selector("app", name).port("http", 80, 8080)
    }

    /// Begins a pod that the Service `source` selects.
    pub fn member(&self, source: &str, name: &str) -> PodBuilder {
        self.ns.pod(name).label("app", source)
    }

    /// Stops the controller and starts another one.
    pub async fn restart(&mut self) -> Result<()> {
        self.controller.stop()?;
        self.controller = Controller::in_namespace(&self.ns, &self.account, &[]).await?;
        self.controller.until_ready().await
    }

    /// A stage for several replicas, of which the first is there: with a Lease, and the right to it.
    pub async fn replicated(purpose: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::replicated_by(this_program(), purpose, variables).await
    }

    /// The same with a first one that is perhaps of another version.
    pub async fn replicated_by(program: &Path, purpose: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let lab = Lab::shared().await?;
        let audit = lab.control_plane.audit().from_now();
        let ns = lab.namespace(purpose).await?;
        let account = authorise(&ns).await?;
        give_lease(&ns).await?;
        let kubeconfig = account.kubeconfig().await?;
        let controller = Controller::replica_of(program, &kubeconfig, &ns, "first", variables)?;
        controller.until_ready().await?;
        controller.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
        Ok(Self { ns, account, controller, audit })
    }

    /// A second controller beside the first.
    pub async fn another(&self, arguments: &[&str]) -> Result<Controller> {
        Controller::in_namespace(&self.ns, &self.account, arguments).await
    }

    /// The notices in the namespace, oldest first.
    pub async fn notices(&self) -> Result<Vec<Event>> {
        let mut notices = self.ns.api::<Event>().list(&kube::api::ListParams::default()).await?.items;
        notices.sort_by_key(|notice| notice.event_time.clone().map(|time| time.0));
        Ok(notices)
    }

    /// Waits for a notice with this reason.
    pub async fn until_notice(&self, reason: &str) -> Result<Event> {
        let found = |notice: &Event| notice.reason.as_deref() == Some(reason);
        let notices =
            lab::until(&self.ns.api::<Event>(), "", SOON, |notices| notices.iter().any(found)).await;
        let mut notices = notices.with_context(|| format!("waiting for the notice {reason}"))?;
        notices.retain(found);
        notices.pop().context("it was among them")
    }

    /// What the controller asked of the API server since the stage was set.
    pub fn asked(&self) -> Result<Vec<lab::Entry>> {
        self.audit.by(&self.account.user())
    }

    /// The controller's writes since the stage was set, as `verb resource name`.
    pub fn writes(&self) -> Result<Vec<String>> {
        let is_write = |entry: &&lab::Entry| !matches!(entry.verb.as_str(), "get" | "list" | "watch");
        let asked = self.asked()?;
        Ok(asked
            .iter()
            .filter(is_write)
            .map(|entry| format!("{} {} {}", entry.verb, entry.resource, entry.name))
            .collect())
    }

    /// Ends the stage in good order: the controller stops when asked to, was denied nothing, and asked for nothing
    /// that SECURITY.md does not list.
    pub async fn end(mut self) -> Result<()> {
        self.controller.stop()?;
        self.catch_up_with_the_log().await?;
        let listed = listed_rights()?;
        for entry in self.asked()? {
            ensure!(entry.code != 403, "the controller was denied {entry:?}");
            if !entry.resource.is_empty() {
                let right = (entry.resource.clone(), entry.verb.clone());
                ensure!(
                    listed.contains(&right),
                    "SECURITY.md does not list {right:?}, which was asked for: {entry:?}"
                );
            }
        }
        Ok(())
    }
}

/// Gives a new account in `ns` the shipped Role there.
pub async fn authorise(ns: &Namespace) -> Result<Account> {
    let account = ns.account("zen-lead").await?;
    let binding = manifest("deploy/namespaced/rolebinding.yaml")?;
    ns.apply(&manifest("deploy/namespaced/role.yaml")?).await?;
    ns.apply(&binding.replace("zen-lead-system", ns.name())).await?;
    Ok(account)
}

/// Puts the shipped Lease into `ns`, with the right to it for the account there.
pub async fn give_lease(ns: &Namespace) -> Result<()> {
    ns.apply(&manifest("deploy/base/lease.yaml")?.replace("zen-lead-system", ns.name())).await
}

/// A file of this repository.
pub fn manifest(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The pairs of resource and verb in SECURITY.md's table.
pub fn listed_rights() -> Result<BTreeSet<(String, String)>> {
    let text = manifest("SECURITY.md")?;
    // Below are those that need a flag.
    let always = text.split("\n### Rights for `--watch-nodes`\n").next().unwrap_or_default();
    let groups = ["`\"\"`", "`discovery.k8s.io`", "`events.k8s.io`"];
    let mut rights = BTreeSet::new();
    for line in always.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, group, resource, verbs, ..] = cells[..] else { continue };
        if groups.contains(&group) {
            let resource = resource.trim_matches('`').to_owned();
            rights.extend(
                verbs.split(',').map(|verb| (resource.clone(), verb.trim().trim_matches('`').to_owned())),
            );
        }
    }
    ensure!(!rights.is_empty(), "SECURITY.md has no table of rights");
    // Below the table, for it is of one object.
    ensure!(
        text.contains("it may `get` and `update` one object: the Lease"),
        "SECURITY.md does not list the Lease"
    );
    rights.extend(["get", "update"].map(|verb| ("leases".to_owned(), verb.to_owned())));
    Ok(rights)
}

/// The program under test.
pub fn this_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_zen-lead"))
}

/// The real `zen-lead run`, as a process.
pub struct Controller {
    process: Option<Process>,
    health: u16,
    metrics: u16,
    log: PathBuf,
}

impl Controller {
    /// One that watches only this namespace, as this account.
    pub async fn in_namespace(ns: &Namespace, account: &Account, arguments: &[&str]) -> Result<Self> {
        let kubeconfig = account.kubeconfig().await?;
        let mut all = vec!["--namespace", ns.name()];
        all.extend(arguments);
        Self::start(&kubeconfig, ns.name(), &all)
    }

    /// One of several in this namespace, which is the installation's own; not ready yet.
    pub async fn replica(
        ns: &Namespace,
        account: &Account,
        identity: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        Self::replica_by(&account.kubeconfig().await?, ns, identity, variables)
    }

    /// The same with this kubeconfig.
    pub fn replica_by(
        kubeconfig: &Path,
        ns: &Namespace,
        identity: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        Self::replica_of(this_program(), kubeconfig, ns, identity, variables)
    }

    /// The same of this program, which is perhaps of another version.
    pub fn replica_of(
        program: &Path,
        kubeconfig: &Path,
        ns: &Namespace,
        identity: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let variables = [&[("POD_NAMESPACE", ns.name())], variables].concat();
        let identity = format!("--identity={identity}");
        let line = ["run", "--log-level=info,zen_lead=debug", "--namespace", ns.name(), &*identity];
        Self::spawn(program, kubeconfig, ns.name(), &variables, &line)
    }

    /// One with this kubeconfig and these arguments; not ready yet. `name` names its log.
    pub fn start(kubeconfig: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_with(kubeconfig, name, &[], arguments)
    }

    /// The same with variables.
    pub fn start_with(
        kubeconfig: &Path,
        name: &str,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<Self> {
        let usual = ["run", "--log-level=info,zen_lead=debug", "--leader-elect=false"];
        Self::spawn(this_program(), kubeconfig, name, variables, &[&usual, arguments].concat())
    }

    /// One with just this command line, but for the kubeconfig and the addresses of its probes and metrics.
    pub fn start_as(
        kubeconfig: &Path,
        name: &str,
        variables: &[(&str, &str)],
        command_line: &[&str],
    ) -> Result<Self> {
        Self::spawn(this_program(), kubeconfig, name, variables, command_line)
    }

    fn spawn(
        program: &Path,
        kubeconfig: &Path,
        name: &str,
        variables: &[(&str, &str)],
        command_line: &[&str],
    ) -> Result<Self> {
        let (health, metrics) = (lab::free_port()?, lab::free_port()?);
        let log = kubeconfig.with_file_name(format!("{name}-{health}.log"));
        let environment = Environment::default().without("OTEL_");
        let environment =
            variables.iter().fold(environment, |environment, (name, value)| environment.with(name, value));
        let mut all: Vec<String> = command_line.iter().map(|argument| (*argument).to_owned()).collect();
        all.push(format!("--health-probe-bind-address=127.0.0.1:{health}"));
        if !command_line.iter().any(|argument| argument.contains("metrics-bind-address")) {
            all.push(format!("--metrics-bind-address=127.0.0.1:{metrics}"));
        }
        if !command_line.iter().any(|argument| argument.contains("debug-bind-address")) {
            all.push("--debug-bind-address=0".into());
        }
        all.push(format!("--kubeconfig={}", kubeconfig.display()));
        let process = Process::spawn_in(&environment, program, &all, &log)?;
        Ok(Self { process: Some(process), health, metrics, log })
    }

    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the controller was stopped")
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.process()?.id())
    }

    /// Everything it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits for a line in its log that contains all of `words`.
    pub async fn until_logged(&self, words: &[&str]) -> Result<String> {
        let deadline = Instant::now() + SOON;
        let mut often = interval(Duration::from_millis(10));
        loop {
            often.tick().await;
            let log = self.log()?;
            let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return Ok(line.to_owned());
            }
            ensure!(
                Instant::now() < deadline,
                "{words:?} was not logged:\n{}",
                lab::last_lines(&self.log, 40)
            );
        }
    }

    /// The answer of `/readyz` or `/healthz`: status line and body.
    pub async fn probe(&self, path: &str) -> Result<String> {
        Self::get(self.health, path).await
    }

    /// A scrape of its metrics, with the head of the answer.
    pub async fn scrape(&self) -> Result<String> {
        Self::get(self.metrics, "/metrics").await
    }

    /// Waits until a scrape is as wanted.
    pub async fn until_scraped(&self, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + SOON;
        let mut often = interval(Duration::from_millis(10));
        loop {
            often.tick().await;
            match self.scrape().await {
                Ok(scrape) if wanted(&scrape) => return Ok(scrape),
                scrape if Instant::now() > deadline => bail!("the metrics are not as wanted: {scrape:?}"),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// What is answered on a port of its own.
    pub async fn get(port: u16, path: &str) -> Result<String> {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        timeout(within(5), ask).await?
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) -> Result<()> {
        self.until_probe("/readyz", |answer| answer.starts_with("HTTP/1.1 200")).await.map(drop)
    }

    /// Waits until a probe's answer is as wanted.
    pub async fn until_probe(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + SOON;
        let mut often = interval(Duration::from_millis(10));
        loop {
            often.tick().await;
            let answer = self.probe(path).await;
            match answer {
                Ok(answer) if wanted(&answer) => return Ok(answer),
                answer if Instant::now() > deadline => {
                    bail!("{path} is not as wanted: {answer:?}\n{}", lab::last_lines(&self.log, 40))
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// SIGTERM; it has to end by itself.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        if process.ended()?.is_none() {
            process.signal(Signal::TERM)?;
        }
        let deadline = std::time::Instant::now() + within(10);
        loop {
            if let Some(status) = process.ended()? {
                ensure!(status.contains("exit status: 0"), "{status}:\n{}", lab::last_lines(&self.log, 40));
                return Ok(());
            }
            ensure!(
                std::time::Instant::now() < deadline,
                "it does not stop:\n{}",
                lab::last_lines(&self.log, 40)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A failed test shows what the controller had to say; one that passes ends its stage.
        if std::thread::panicking() || self.controller.process.is_some() {
            eprintln!("the controller's log:\n{}", lab::last_lines(&self.controller.log, 60));
        }
    }
}
