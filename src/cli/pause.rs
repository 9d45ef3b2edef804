//! `zen-lead pause` and `resume`: one annotation, with its end in it.

use std::io::Write as _;

use machine::Micros;
use serde_json::{Value, json};

use super::age::moment;
use super::cluster::Cluster;
use super::notes::paused;
use super::output::Output;
use super::survey::{Key, Survey, Wanted};
use super::{Error, cluster};
use crate::annotations::{PAUSED, Pause};
use crate::clock::Clock;
use crate::config::{PauseArgs, WhichArgs};
use crate::kinds::ServiceLite;

/// Makes no choices from now on.
pub(super) async fn pause(args: &PauseArgs, out: &mut Output) -> Result<(), Error> {
    let span = args.span.map(|span| Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)));
    let until = span.map(|span| Clock::start().now().plus(span));
    let value = until.map_or_else(|| "true".to_owned(), moment);
    let words = paused(Pause { until });
    each(&args.which, out, "paused", |_| Some((json!(value), words.clone()))).await
}

/// Makes choices again.
pub(super) async fn resume(args: &WhichArgs, out: &mut Output) -> Result<(), Error> {
    let is_paused = |service: &ServiceLite| {
        service.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(PAUSED))
    };
    each(args, out, "resumed", |service| is_paused(service).then(|| (Value::Null, "resumed".to_owned())))
        .await
}

/// Sets the annotation of all Services that are meant to what `change` says, and tells what it says. Nothing: there is
/// nothing to change.
async fn each(
    which: &WhichArgs,
    out: &mut Output,
    done: &str,
    change: impl Fn(&ServiceLite) -> Option<(Value, String)>,
) -> Result<(), Error> {
    let cluster = Cluster::find(&which.cluster).await?;
    let services = meant(&cluster, which).await?;
    let mut failed = Vec::new();
    for (key, service) in &services {
        let (namespace, name) = key;
        let Some((value, words)) = change(service) else {
            writeln!(out, "{namespace}/{name} is not paused")?;
            continue;
        };
        // The UID, so that it is the Service that was seen.
        let metadata = json!({ "uid": service.metadata.uid, "annotations": { PAUSED: value } });
        match cluster.patch(key, json!({ "metadata": metadata }), false).await {
            Ok(_) => writeln!(out, "{namespace}/{name} {words}")?,
            Err(error) => failed.push(error),
        }
    }
    out.flush()?;
    match (failed.len(), failed.pop()) {
        (_, None) => Ok(()),
        (1, Some(error)) => Err(error),
        (count, Some(error)) => {
            let all = services.len();
            Err(Error::Refused(format!(
                "{count} of {all} Services are not {done}, the last one because: {error}"
            )))
        }
    }
}

async fn meant(cluster: &cluster::Cluster, which: &WhichArgs) -> Result<Vec<(Key, ServiceLite)>, Error> {
    let owned = |(key, service): (&Key, &ServiceLite)| (key.clone(), service.clone());
    let Some(name) = &which.name else {
        let survey = Survey::of_services(cluster, cluster.namespace.as_deref()).await?;
        let all: Vec<_> = survey.opted_in().map(owned).collect();
        if all.is_empty() {
            let place = cluster.namespace.as_deref().map(|space| format!("namespace {space}"));
            let place = place.unwrap_or_else(|| "any namespace".to_owned());
            return Err(Error::Refused(format!("no Service opts in in {place}")));
        }
        return Ok(all);
    };
    let wanted = Wanted::read(name, cluster.namespace.as_deref());
    let survey = Survey::of_services(cluster, wanted.namespace.as_deref()).await?;
    let key = survey.find(cluster, &wanted).await?;
    Ok(survey.opted_in().filter(|(other, _)| **other == key).map(owned).collect())
}
