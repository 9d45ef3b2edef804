//! The Go program itself: its Deployment, what it is told, and its Lease.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Container;
use kube::api::ListParams;

use super::Prospect;
use crate::cli::Error;
use crate::cli::cluster::{Cluster, answered, request};
use crate::cli::doctor::finding::Evidence;
use crate::config::{self, Command};

/// The Deployment's name in the Go program's own manifests.
const NAME: &str = "zen-lead-controller-manager";

/// Labels by which its manifests and charts name it.
const LABELS: [&str; 2] = ["app", "app.kubernetes.io/name"];

/// What is to be said of it, and what could not be read.
pub(super) async fn read(cluster: &Cluster, namespace: &str) -> Result<(Vec<Prospect>, Vec<String>), Error> {
    let deployments = match cluster.list::<Deployment>(Some(namespace), ListParams::default()).await {
        Ok(list) => list.items,
        Err(error) if error.is_forbidden() => {
            return Ok((Vec::new(), vec![format!("the Go program's Deployment is not looked at: {error}")]));
        }
        Err(error) => return Err(error),
    };
    let (mut prospects, mut left_out) = (Vec::new(), Vec::new());
    for found in deployments.iter().filter_map(Found::new) {
        prospects.extend(found.prospects());
        let Ok(run) = found.parsed() else { continue };
        let api = cluster.api::<Lease>(Some(namespace));
        let asked = request::<Lease>("get", Some(namespace), Some(&run.leader_election_id));
        match answered(asked, api.get_opt(&run.leader_election_id)).await {
            Ok(lease) => prospects.extend(lease.map(|lease| held(&lease))),
            Err(error) if error.is_forbidden() => {
                left_out.push(format!("the Go program's Lease is not looked at: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if prospects.is_empty() {
        left_out.push(format!(
            "no Deployment of the Go program is in namespace {namespace}: its flags are not looked at; name its namespace with \
             --go-namespace"
        ));
    }
    Ok((prospects, left_out))
}

/// A Deployment of the Go program.
pub(super) struct Found<'a> {
    deployment: &'a Deployment,
    container: &'a Container,
}

impl<'a> Found<'a> {
    /// Nothing if it is something else, this controller for instance.
    pub(super) fn new(deployment: &'a Deployment) -> Option<Self> {
        let metadata = &deployment.metadata;
        let labels = metadata.labels.as_ref();
        let is_labelled = LABELS
            .iter()
            .any(|label| labels.and_then(|labels| labels.get(*label)).is_some_and(|app| app == "zen-lead"));
        if metadata.name.as_deref() != Some(NAME) && !is_labelled {
            return None;
        }
        let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
        let is_its = |container: &&Container| {
            container.image.as_deref().is_some_and(|image| image.contains("zen-lead"))
        };
        let container = containers.iter().find(is_its).or_else(|| containers.first())?;
        let found = Self { deployment, container };
        // The Go program has no subcommands, and this one's manifests name one.
        let is_ours = found.arguments().next() == Some("run");
        (!is_ours).then_some(found)
    }

    pub(super) fn prospects(&self) -> Vec<Prospect> {
        let mut prospects = vec![self.runs()];
        prospects.extend(self.told());
        prospects.extend(self.limited());
        prospects
    }

    fn object(&self) -> String {
        format!("deployment/{}", self.deployment.metadata.name.as_deref().unwrap_or_default())
    }

    /// What it is started with, less the program's name.
    fn arguments(&self) -> impl Iterator<Item = &str> {
        let command = self.container.command.iter().flatten().skip(1);
        command.chain(self.container.args.iter().flatten()).map(String::as_str)
    }

    fn parsed(&self) -> Result<config::RunArgs, clap::Error> {
        let line = ["zen-lead", "run"].into_iter().chain(self.arguments());
        let Command::Run(run) = config::parse_from(line)?.command else {
            return Err(clap::Error::new(clap::error::ErrorKind::InvalidSubcommand));
        };
        Ok(*run)
    }

    /// Two programs that write to the same objects correct each other without end.
    fn runs(&self) -> Prospect {
        let namespace = self.deployment.metadata.namespace.as_deref().unwrap_or_default();
        let replicas = self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let evidence = vec![Evidence::new(self.object(), "spec.replicas", replicas.to_string())];
        let mut prospect = Prospect::settled(
            "go-program",
            "it is stopped already, and what it made goes on routing",
            evidence,
        );
        if replicas > 0 {
            prospect.finding.why =
                "it runs, and must not run beside this one: each would undo what the other writes".into();
            prospect.finding.remedy = format!(
                "before this one starts: kubectl scale {} -n {namespace} --replicas=0",
                self.object()
            );
        }
        prospect
    }

    /// What its command line means to this program.
    fn told(&self) -> Option<Prospect> {
        let line: Vec<_> = self.arguments().collect();
        let evidence = |value: String| {
            vec![Evidence::new(
                self.object(),
                format!("spec.template.spec.containers[{}].args", self.container.name),
                value,
            )]
        };
        match self.parsed() {
            Err(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                Some(Prospect::open(
                    "flags-refused",
                    format!("this program does not take them: {first}"),
                    evidence(line.join(" ")),
                    "do without them, and see `zen-lead run --help` for what is like them",
                ))
            }
            Ok(run) if run.ignored.is_empty() => None,
            Ok(run) => {
                let ignored: Vec<_> = run.ignored.iter().map(|flag| format!("--{flag}")).collect();
                let why = "they tuned the Go program only: this one takes them, warns once, and does nothing with them";
                Some(Prospect::settled("flags-without-meaning", why, evidence(ignored.join(" "))))
            }
        }
    }

    /// A namespace that it is told by a variable, which this program does not read.
    fn limited(&self) -> Option<Prospect> {
        const VARIABLE: &str = "WATCH_NAMESPACE";
        let variable = self.container.env.iter().flatten().find(|variable| variable.name == VARIABLE)?;
        let value = variable.value.as_deref().filter(|value| !value.is_empty())?;
        let field = format!("spec.template.spec.containers[{}].env[{VARIABLE}]", self.container.name);
        Some(Prospect::open(
            "variable-without-meaning",
            "this program does not read it, and would serve all namespaces",
            vec![Evidence::new(self.object(), field, value)],
            format!("--namespace={value}, which deploy/namespaced and the chart's `namespaces` set"),
        ))
    }
}

/// Its Lease.
fn held(lease: &Lease) -> Prospect {
    let name = lease.metadata.name.as_deref().unwrap_or_default();
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    let evidence = vec![Evidence::new(format!("lease/{name}"), "spec.holderIdentity", holder)];
    let ours = "zen-lead-controller-leader-election";
    if name == ours {
        let why = "this controller uses a Lease of that name as well: in the same namespace it takes this one over once it has \
                   run out, in another one it has its own";
        return Prospect::settled("lease", why, evidence);
    }
    let remedy =
        format!("leave --leader-election-id out, or rename the Lease in deploy/base/lease.yaml to {name}");
    Prospect::open(
        "lease",
        format!("this controller's manifests grant a Lease {ours} only"),
        evidence,
        remedy,
    )
}
