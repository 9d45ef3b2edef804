//! `zen-lead status`: who leads, and how every Service that opts in is doing.

use std::io::Write as _;

use serde::Serialize;

use super::Error;
use super::cluster::Cluster;
use super::live;
use super::look::Look;
use super::output::{Output, Structure};
use super::summary::Summary;
use super::survey::{Facts, Missing, Survey, Wanted, no_namespace, warn};
use super::table::Table;
use crate::config::{Format, StatusArgs};

/// Shows it once, or goes on showing it.
pub(super) async fn run(args: &StatusArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let shown = Shown::take(args, &cluster).await?;
    warn(&shown.missing);
    if args.watch {
        // Whatever is wrong has been said by now.
        return live::run(args, &cluster, out).await;
    }
    shown.write(args, &cluster, out)
}

/// What is to be shown.
pub(super) struct Shown {
    summaries: Vec<Summary>,
    missing: Vec<Missing>,
}

/// Several of them, for other programs.
#[derive(Serialize)]
struct List<'a> {
    items: &'a [Summary],
}

impl Shown {
    /// Looks at what is asked for.
    pub(super) async fn take(args: &StatusArgs, cluster: &Cluster) -> Result<Self, Error> {
        let Some(name) = &args.name else {
            let survey = Survey::take(cluster, cluster.namespace.as_deref(), None).await?;
            let summaries: Vec<_> = survey.looks().iter().map(Summary::of).collect();
            if let Some(namespace) = cluster.namespace.as_ref().filter(|_| summaries.is_empty())
                && cluster.has_namespace(namespace).await == Some(false)
            {
                return Err(no_namespace(namespace));
            }
            return Ok(Self { summaries, missing: survey.missing });
        };
        let wanted = Wanted::read(name, cluster.namespace.as_deref());
        let mut survey = Survey::take(cluster, wanted.namespace.as_deref(), Some(&wanted.name)).await?;
        let key = survey.find(cluster, &wanted).await?;
        // The view that stays does not follow them.
        if !args.watch {
            let controller = &args.controller.controller_namespace;
            let missing = survey.add_nodes(cluster, &key.0, controller).await?;
            survey.missing.extend(missing);
        }
        let summaries = survey.look(&key).iter().map(Summary::of).collect();
        Ok(Self { summaries, missing: survey.missing })
    }

    /// What is known of a cluster, as far as it was asked for.
    pub(super) fn of(facts: Facts, wanted: Option<&Wanted>) -> Self {
        let survey = Survey::from(facts);
        let is_meant = |look: &Look| {
            wanted.is_none_or(|wanted| {
                let (namespace, name) = &look.key;
                wanted.name == *name && wanted.namespace.as_ref().is_none_or(|space| space == namespace)
            })
        };
        let summaries = survey.looks().iter().filter(|look| is_meant(look)).map(Summary::of).collect();
        Self { summaries, missing: survey.missing }
    }

    /// What is the same as long as nothing but time has passed.
    pub(super) fn fingerprint(&self) -> String {
        serde_json::to_string(&self.summaries).unwrap_or_default()
    }

    /// Writes it in the form that is asked for.
    pub(super) fn write(&self, args: &StatusArgs, cluster: &Cluster, out: &mut Output) -> Result<(), Error> {
        let one = self.summaries.first().filter(|_| args.name.is_some());
        let structure = match args.output {
            Some(Format::Json) => Structure::Json,
            Some(Format::Yaml) => Structure::Yaml,
            Some(Format::Name) => {
                for Summary { name, .. } in &self.summaries {
                    writeln!(out, "service/{name}")?;
                }
                return Ok(out.flush()?);
            }
            None | Some(Format::Wide) => {
                self.table(args, cluster, out)?;
                return Ok(out.flush()?);
            }
        };
        match one {
            Some(one) => out.structured(one, structure),
            None => out.structured(&List { items: &self.summaries }, structure),
        }
    }

    /// For people.
    fn table(
        &self,
        args: &StatusArgs,
        cluster: &Cluster,
        out: &mut impl std::io::Write,
    ) -> std::io::Result<()> {
        let wide = args.output == Some(Format::Wide);
        if self.summaries.is_empty() {
            let words = format!("No Service opts in {}.", scope(cluster));
            if args.watch {
                return writeln!(out, "{words}");
            }
            eprintln!("{words}");
            return Ok(());
        }
        match (&*self.summaries, &args.name) {
            ([one], Some(_)) if !wide => one.write(out),
            (some, _) => {
                // As kubectl does, the namespace is told where it is not the same for all.
                let skipped = usize::from(cluster.namespace.is_some());
                let mut table = Table::new(&Summary::headings(wide)[skipped..]);
                for summary in some {
                    table.row(summary.cells(wide).split_off(skipped));
                }
                table.write("", out)
            }
        }
    }
}

/// Where was looked.
pub(super) fn scope(cluster: &Cluster) -> String {
    match &cluster.namespace {
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in any namespace".to_owned(),
    }
}
