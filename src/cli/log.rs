//! `zen-lead log`: what the flight recorder has of a Service.

use std::io::Write as _;

use super::Error;
use super::cluster::Cluster;
use super::output::Output;
use super::recorder;
use super::survey::{Survey, Wanted};
use crate::config::LogArgs;

/// Fetches it.
pub(super) async fn run(args: &LogArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let wanted = Wanted::read(&args.name, cluster.namespace.as_deref());
    let key = match wanted.namespace.clone() {
        // An incident may be one of the API server: it is not asked without need.
        Some(namespace) => (namespace, wanted.name),
        None => Survey::of_services(&cluster, None).await?.find(&cluster, &wanted).await?,
    };
    let log = recorder::fetch(&args.recorder, &args.cluster, &cluster, &key).await?;
    out.write_all(&log)?;
    Ok(out.flush()?)
}
