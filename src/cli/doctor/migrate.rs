//! `zen-lead doctor --migrate`: what changes when this controller takes over from the Go zen-lead.
//!
//! ```text
//! survey, leader Services and their slices as a whole -> heritage -> checks (pure) -> prospects
//! the Go program's Deployment and Lease ------------------------------------------->
//! ```
//!
//! Whose an object is, what is written to it and who leads then is asked of the code that the controller runs.

mod heritage;
mod leader;
mod objects;
mod orphans;
mod program;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use serde::Serialize;

use super::finding::{Evidence, Finding};
use super::{AT_ONCE, meant};
use crate::cli::Error;
use crate::cli::cluster::Cluster;
use crate::cli::look::Look;
use crate::cli::output::{Output, Structure};
use crate::cli::survey::{Key, key};
use crate::config::{DoctorArgs, Format};
use crate::kinds::SliceLite;
use crate::names::{CONTROLLER, LABEL_MANAGED_BY, LABEL_SERVICE_NAME};

use heritage::Heritage;

/// Where the Go program's own manifests put it.
const GO_NAMESPACE: &str = "zen-system";

/// Names in one selector: all of a large namespace's would not fit into the head of a request.
const NAMES_AT_ONCE: usize = 100;

/// Something that will be different, or is said to stay as it is.
#[derive(Debug, Serialize)]
struct Prospect {
    /// A person should look at it.
    look: bool,
    #[serde(flatten)]
    finding: Finding,
}

impl Prospect {
    /// Nobody needs to do anything about it.
    fn settled(check: &'static str, why: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        let finding = Finding { check, why: why.into(), evidence, remedy: "nothing to do".into() };
        Self { look: false, finding }
    }

    /// A person should look at it.
    fn open(
        check: &'static str,
        why: impl Into<String>,
        evidence: Vec<Evidence>,
        remedy: impl Into<String>,
    ) -> Self {
        let finding = Finding { check, why: why.into(), evidence, remedy: remedy.into() };
        Self { look: true, finding }
    }
}

/// What is to be said of a Service that opts in.
#[derive(Debug, Serialize)]
struct Outlook {
    namespace: String,
    name: String,
    prospects: Vec<Prospect>,
}

/// All that is to be said.
#[derive(Debug, Serialize)]
struct Migration {
    /// The Go program itself, and what it has forgotten.
    cluster: Vec<Prospect>,
    items: Vec<Outlook>,
}

/// Tells what changes, and exits with 1 if a person should look at some of it.
pub(super) async fn run(args: &DoctorArgs, out: &mut Output) -> Result<ExitCode, Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let (mut survey, looks) = meant(&cluster, args.name.as_deref()).await?;
    if looks.iter().any(|look| look.pods.is_none() && look.view.is_ok()) {
        return Err(super::members_unknown(&mut survey));
    }
    // A name may come with a namespace of its own.
    let space = match &*looks {
        [one] if args.name.is_some() => Some(&*one.key.0),
        _ => cluster.namespace.as_deref(),
    };
    let go_namespace = args.go_namespace.as_deref().unwrap_or(GO_NAMESPACE);
    let (services, slices, program) = futures::join!(
        leader_services(&cluster, space),
        slices(&cluster, &looks),
        program::read(&cluster, go_namespace)
    );
    let (services, mut slices, (mut prospects, left_out)) = (services?, slices?, program?);
    for words in left_out {
        eprintln!("warning: {words}");
    }
    prospects.extend(orphans::find(&survey.facts, args.name.as_deref()));
    let items = looks.iter().map(|look| {
        let place = (look.key.0.clone(), look.leader_service.clone());
        let heritage = Heritage {
            look,
            source: survey.facts.services.get(&look.key),
            leader: survey.facts.services.get(&place),
            whole: services.get(&place),
            slices: slices.remove(&place).unwrap_or_default(),
        };
        Outlook::of(&heritage)
    });
    let migration = Migration { items: items.collect(), cluster: prospects };
    migration.tell(args, out)?;
    Ok(if migration.needs_a_look() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the Go program made of Services, whole: it copied annotations that are not read otherwise.
async fn leader_services(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<BTreeMap<Key, Service>, Error> {
    let which = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={CONTROLLER}"));
    let list = cluster.list::<Service>(namespace, which).await?;
    let key = |service: &Service| {
        let metadata = &service.metadata;
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    };
    Ok(list.items.into_iter().map(|service| (key(&service), service)).collect())
}

/// All slices that nodes take for the leader Services', whoever made them.
async fn slices(cluster: &Cluster, looks: &[Look]) -> Result<BTreeMap<Key, Vec<SliceLite>>, Error> {
    let mut spaces = BTreeMap::<&str, Vec<&str>>::new();
    for look in looks {
        spaces.entry(&look.key.0).or_default().push(&look.leader_service);
    }
    let parts = spaces
        .iter()
        .flat_map(|(space, names)| names.chunks(NAMES_AT_ONCE).map(move |names| (*space, names)));
    let lists = parts.map(async |(space, names)| {
        let which = ListParams::default().labels(&format!("{LABEL_SERVICE_NAME} in ({})", names.join(",")));
        cluster.list::<SliceLite>(Some(space), which).await
    });
    let lists: Vec<_> = stream::iter(lists).buffered(AT_ONCE).try_collect().await?;
    let mut slices = BTreeMap::<Key, Vec<SliceLite>>::new();
    for slice in lists.into_iter().flat_map(|list| list.items) {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME));
        let place = (key(&slice).0, service.cloned().unwrap_or_default());
        slices.entry(place).or_default().push(slice);
    }
    Ok(slices)
}

impl Outlook {
    fn of(heritage: &Heritage<'_>) -> Self {
        let (namespace, name) = heritage.look.key.clone();
        Self { namespace, name, prospects: heritage.prospects() }
    }
}

impl Migration {
    fn needs_a_look(&self) -> bool {
        let of_services = self.items.iter().flat_map(|item| &item.prospects);
        self.cluster.iter().chain(of_services).any(|prospect| prospect.look)
    }

    fn tell(&self, args: &DoctorArgs, out: &mut Output) -> Result<(), Error> {
        match args.output {
            Some(Format::Json) => return out.structured(self, Structure::Json),
            Some(Format::Yaml) => return out.structured(self, Structure::Yaml),
            Some(Format::Name) => {
                for Outlook { name, prospects, .. } in &self.items {
                    if prospects.iter().any(|prospect| prospect.look) {
                        writeln!(out, "service/{name}")?;
                    }
                }
            }
            None | Some(Format::Wide) => {
                write(out, "The Go zen-lead", &self.cluster)?;
                for Outlook { namespace, name, prospects } in &self.items {
                    writeln!(out)?;
                    write(out, &format!("{namespace}/{name}"), prospects)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}

fn write(out: &mut impl Write, what: &str, prospects: &[Prospect]) -> io::Result<()> {
    match prospects.iter().filter(|prospect| prospect.look).count() {
        0 if prospects.is_empty() => writeln!(out, "{what}: nothing found")?,
        0 => writeln!(out, "{what}: nothing to do")?,
        1 => writeln!(out, "{what}: look at 1 thing")?,
        many => writeln!(out, "{what}: look at {many} things")?,
    }
    for Prospect { finding, .. } in prospects {
        writeln!(out)?;
        finding.write(out)?;
    }
    Ok(())
}
