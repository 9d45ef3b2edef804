//! `zen-lead doctor`: what makes failover slow or wrong, where that is seen, and what mends it.
//!
//! ```text
//! survey, pods, owners, kube-proxy, budgets -> subject -> checks (pure) -> findings
//!                                                      -> expected (pure): worst case by cause
//! ```

mod budgets;
mod expected;
mod finding;
mod members;
mod migrate;
mod owners;
mod probes;
mod proxy;
mod source;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use serde::Serialize;

use super::Error;
use super::cluster::Cluster;
use super::look::Look;
use super::output::{Output, Structure};
use super::status::scope;
use super::survey::{Survey, Wanted, no_namespace, selector};
use super::table::Table;
use crate::config::{DoctorArgs, Format};

use expected::{Expected, expected};
use finding::{Evidence, Finding};
use owners::Pace;
use proxy::Proxy;
use subject::Subject;

/// Services whose pods are read at once: whole pods are large, and the API server has others to serve.
const AT_ONCE: usize = 8;

/// The checks of what a Service and its members are like, in the order in which they are told.
const CHECKS: [fn(&Subject) -> Option<Finding>; 13] = [
    members::alone,
    source::missing_port,
    owners::foreign,
    owners::pace,
    probes::missing,
    probes::slow,
    members::one_node,
    members::one_zone,
    members::short_grace,
    members::no_pre_stop,
    source::local_traffic,
    source::own_address,
    |subject| proxy::slow(&subject.proxy),
];

/// Examines what is asked for, and exits with 1 if something was found.
pub(super) async fn run(args: &DoctorArgs, out: &mut Output) -> Result<ExitCode, Error> {
    if args.migrate {
        return migrate::run(args, out).await;
    }
    let cluster = Cluster::find(&args.cluster).await?;
    let (survey, looks) = meant(&cluster, args.name.as_deref()).await?;
    let spaces: BTreeSet<&String> = looks.iter().map(|look| &look.key.0).collect();
    let proxy = if looks.is_empty() { Proxy::assumed(String::new()) } else { Proxy::read(&cluster).await? };
    let subjects = subjects(&cluster, survey, &looks, &proxy);
    let (diagnoses, budgets) = futures::join!(subjects, budgets(&cluster, &spaces));
    let (budgets, left_out) = budgets?;
    for error in &left_out {
        eprintln!("warning: disruption budgets are not looked at: {error}");
    }
    let diagnoses: Vec<Diagnosis> =
        diagnoses?.into_iter().map(|seen| Diagnosis::of(seen, &budgets)).collect();
    let found = diagnoses.iter().any(|diagnosis| !diagnosis.findings.is_empty());
    tell(args, &diagnoses, out)?;
    Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The Services that are meant.
async fn meant(cluster: &Cluster, name: Option<&str>) -> Result<(Survey, Vec<Look>), Error> {
    let (survey, looks) = if let Some(name) = name {
        let wanted = Wanted::read(name, cluster.namespace.as_deref());
        let survey = Survey::take(cluster, wanted.namespace.as_deref(), Some(&wanted.name)).await?;
        let key = survey.find(cluster, &wanted).await?;
        let looks = survey.look(&key).into_iter().collect();
        (survey, looks)
    } else {
        let survey = Survey::take(cluster, cluster.namespace.as_deref(), None).await?;
        let looks = survey.looks();
        (survey, looks)
    };
    if looks.is_empty() {
        if let Some(namespace) = &cluster.namespace
            && cluster.has_namespace(namespace).await == Some(false)
        {
            return Err(no_namespace(namespace));
        }
        eprintln!("No Service opts in {}.", scope(cluster));
    }
    Ok((survey, looks))
}

/// Without its members there is nothing to say of a Service.
fn members_unknown(survey: &mut Survey) -> Error {
    let missing = survey.missing.drain(..).find(|(what, _)| what.contains("members"));
    missing.map_or_else(|| Error::Refused("the members are not known".into()), |(_, error)| error)
}

/// Each look with its members as a whole; without those if the Service can have no leader.
async fn subjects<'a>(
    cluster: &Cluster,
    mut survey: Survey,
    looks: &'a [Look],
    proxy: &Proxy,
) -> Result<Vec<Seen<'a>>, Error> {
    if looks.iter().any(|look| look.pods.is_none() && look.view.is_ok()) {
        return Err(members_unknown(&mut survey));
    }
    let services = &survey.facts.services;
    let each = looks.iter().map(async |look| {
        let known = look.view.as_ref().ok().zip(services.get(&look.key)).zip(look.pods.as_ref());
        let Some(((view, service), rows)) = known else {
            return Ok(Seen { look, subject: None, notes: Vec::new() });
        };
        let which = ListParams::default().labels(&selector(service));
        let pods = cluster.list::<Pod>(Some(&look.key.0), which).await?.items;
        let settings = (look.settings.policy.clone(), look.settings.failover_budget);
        let (pace, unread) = pace(cluster, &look.key.0, &pods).await?;
        let notes = [unread, proxy.note(), Some(clients(look))].into_iter().flatten().collect();
        let around = (pace, proxy.clone());
        let subject = Subject::new(service.clone(), view.clone(), settings, rows, pods, around);
        Ok(Seen { look, subject: Some(subject), notes })
    });
    stream::iter(each).buffered(AT_ONCE).try_collect().await
}

/// A Service, whole, and what is to be known about what is said of it.
struct Seen<'a> {
    look: &'a Look,
    subject: Option<Subject>,
    notes: Vec<String>,
}

/// How fast the owner of these pods replaces them, if they have one; or why that is not known.
async fn pace(
    cluster: &Cluster,
    namespace: &str,
    pods: &[Pod],
) -> Result<(Option<Pace>, Option<String>), Error> {
    let owners = owners::distinct(pods);
    let mut owners = owners.iter().flatten();
    let (Some(owner), None) = (owners.next(), owners.next()) else { return Ok((None, None)) };
    match Pace::read(cluster, namespace, owner).await {
        Ok(pace) => Ok((pace, None)),
        Err(error) if error.is_forbidden() => {
            Ok((None, Some(format!("minReadySeconds is not looked at: {error}"))))
        }
        Err(error) => Err(error),
    }
}

/// Nothing in the cluster tells which name clients use.
fn clients(look: &Look) -> String {
    let ((namespace, name), leader) = (&look.key, &look.leader_service);
    format!(
        "only clients of {leader}.{namespace} reach the leader: see that none uses {name}.{namespace}, which is any pod"
    )
}

/// The budgets of these namespaces, and why those of some could not be read.
async fn budgets(
    cluster: &Cluster,
    spaces: &BTreeSet<&String>,
) -> Result<(Vec<PodDisruptionBudget>, Vec<Error>), Error> {
    let lists =
        spaces.iter().map(|space| cluster.list::<PodDisruptionBudget>(Some(space), ListParams::default()));
    let (mut budgets, mut left_out) = (Vec::new(), Vec::new());
    for list in join_all(lists).await {
        match list {
            Ok(list) => budgets.extend(list.items),
            Err(error) if error.is_forbidden() => left_out.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok((budgets, left_out))
}

/// What is to be said of a Service.
#[derive(Debug, Serialize)]
struct Diagnosis {
    namespace: String,
    name: String,
    findings: Vec<Finding>,
    expected: Vec<Expected>,
    /// What was taken for granted, and what nobody but people can see.
    notes: Vec<String>,
}

/// Several of them, for other programs.
#[derive(Serialize)]
struct List<'a> {
    items: &'a [Diagnosis],
}

impl Diagnosis {
    fn of(Seen { look, subject, notes }: Seen<'_>, budgets: &[PodDisruptionBudget]) -> Self {
        let mut findings: Vec<_> = invalid(look).into_iter().collect();
        if let Some(subject) = &subject {
            findings.extend(CHECKS.iter().filter_map(|check| check(subject)));
            findings.extend(budgets::blocking(subject, budgets));
        }
        let (namespace, name) = look.key.clone();
        let expected = subject.as_ref().map(expected).unwrap_or_default();
        Self { namespace, name, findings, expected, notes }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let count = match self.findings.len() {
            0 => "nothing found".to_owned(),
            1 => "1 finding".to_owned(),
            many => format!("{many} findings"),
        };
        writeln!(out, "{}/{}: {count}", self.namespace, self.name)?;
        for finding in &self.findings {
            writeln!(out)?;
            finding.write(out)?;
        }
        if !self.expected.is_empty() {
            writeln!(out)?;
            let mut table = Table::new(&["IF", "WORST CASE", "MADE OF"]);
            for expected in &self.expected {
                table.row(expected.cells());
            }
            table.write("", out)?;
        }
        if !self.notes.is_empty() {
            writeln!(out)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
    }
}

/// A Service that can have no leader as it is.
fn invalid(look: &Look) -> Option<Finding> {
    let why = look.view.as_ref().err()?;
    Some(Finding {
        check: "invalid-service",
        why: format!("it opts in, and cannot have a leader: {why}"),
        evidence: vec![Evidence::new(format!("service/{}", look.key.1), "spec", why.to_string())],
        remedy: "give it a selector and a port, or take the annotation zen-lead.io/enabled off".into(),
    })
}

/// Tells it in the form that is asked for.
fn tell(args: &DoctorArgs, diagnoses: &[Diagnosis], out: &mut Output) -> Result<(), Error> {
    let structure = match args.output {
        Some(Format::Json) => Structure::Json,
        Some(Format::Yaml) => Structure::Yaml,
        Some(Format::Name) => {
            for Diagnosis { name, .. } in diagnoses.iter().filter(|diagnosis| !diagnosis.findings.is_empty())
            {
                writeln!(out, "service/{name}")?;
            }
            return Ok(out.flush()?);
        }
        None | Some(Format::Wide) => {
            for (number, diagnosis) in diagnoses.iter().enumerate() {
                if number > 0 {
                    writeln!(out)?;
                }
                diagnosis.write(out)?;
            }
            return Ok(out.flush()?);
        }
    };
    match diagnoses {
        [one] if args.name.is_some() => out.structured(one, structure),
        some => out.structured(&List { items: some }, structure),
    }
}
