//! `zen-lead history`: the last changes of leadership.

use std::io::Write as _;

use serde::Serialize;

use super::Error;
use super::age::{moment, span};
use super::changes::{self, Change, ChangeAnswer};
use super::cluster::Cluster;
use super::output::{Output, Structure};
use super::recorder;
use super::survey::{Survey, Wanted, notices};
use super::table::Table;
use crate::config::{Format, HistoryArgs};

/// Several, for other programs.
#[derive(Serialize)]
struct List {
    items: Vec<ChangeAnswer>,
}

/// Shows them, oldest first.
pub(super) async fn run(args: &HistoryArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let wanted = Wanted::read(&args.name, cluster.namespace.as_deref());
    let survey = Survey::of_services(&cluster, wanted.namespace.as_deref()).await?;
    let key = survey.find(&cluster, &wanted).await?;
    let (namespace, name) = &key;
    let mut told = notices(&cluster, Some(namespace), Some(name)).await?;
    told.sort_by_key(|told| told.at);
    let mut known = changes::told(&told);
    let log = recorder::fetch(&args.recorder, &args.cluster, &cluster, &key).await;
    match log.and_then(|log| changes::recorded(&log).map_err(|error| Error::Refused(error.to_string()))) {
        Ok(recorded) => known = changes::together(known, recorded),
        // Whoever names an address wants what is there.
        Err(error) if args.recorder.debug_address.is_some() => return Err(error),
        Err(error) => eprintln!("warning: told from notices alone: {error}"),
    }
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let form = if format == Format::Json { Structure::Json } else { Structure::Yaml };
            return out.structured(&List { items: known.iter().map(Change::answer).collect() }, form);
        }
        Some(Format::Name) => writeln!(out, "service/{name}")?,
        None | Some(Format::Wide) if known.is_empty() => {
            eprintln!(
                "No change of leadership of {namespace}/{name} is told of: notices are kept for an hour or so."
            );
        }
        None | Some(Format::Wide) => table(&known).write("", out)?,
    }
    Ok(out.flush()?)
}

fn table(changes: &[Change]) -> Table {
    let mut table = Table::new(&["WHEN", "CAUSE", "FROM", "TO", "EPOCH", "TOOK", "PHASES"]);
    for change in changes {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.row(vec![
            moment(change.at),
            text(&change.cause),
            text(&change.from),
            text(&change.to),
            change.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            change.took.map(span).unwrap_or_default(),
            change.phase_words(),
        ]);
    }
    table
}
