//! `zen-lead cleanup`: removes what one installation made, and nothing else.
//!
//! ```text
//! stop (if asked to) -> find -> remove, each object by UID and resourceVersion -> find again: is anything left?
//! ```
//!
//! It acts with the rights of whoever calls it, and needs `list` and `delete` of Services and `EndpointSlices`: the
//! controller's own will do.

mod find;
mod remove;
mod stop;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::client::{self, ClientOptions, ConnectError, explain};
use crate::config::Instance;

use find::Found;

/// What to remove, and how.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where the API server is.
    pub client: ClientOptions,
    /// Whose objects.
    pub instance: Instance,
    /// In these namespaces; none: in all of them.
    pub namespaces: Vec<String>,
    /// Only tell.
    pub dry_run: bool,
    /// The Deployment to be scaled to zero before, in the installation's namespace.
    pub stop: Option<String>,
    /// How long to wait for its pods.
    pub stop_timeout: Duration,
}

/// Why a cleanup is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server does not let us look.
    #[error("cannot {what}: {}", explain(.error))]
    Refused {
        /// What was asked for.
        what: String,
        /// The answer.
        error: kube::Error,
    },
    /// Pods of the controller are still there.
    #[error(
        "pods of the Deployment {deployment} are still there after {} s ({count}), and nothing was deleted: they would make it \
         anew. See `kubectl get pods --namespace {namespace}`, or wait longer (--stop-timeout)",
        .waited.as_secs()
    )]
    Running {
        /// How many.
        count: usize,
        /// Of which Deployment.
        deployment: String,
        /// Where.
        namespace: String,
        /// After how long.
        waited: Duration,
    },
    /// What is done cannot be told.
    #[error("cannot write what was done: {0}")]
    Tell(#[from] io::Error),
}

/// Does it, and tells on stdout what it does. Exits with 0 if nothing of the installation is left (or would be: with
/// `dry_run` nothing is deleted), with 1 if something is, with 2 if it could not look.
pub async fn main(task: &Task) -> ExitCode {
    match run(task, &mut io::stdout()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The same, told to `out`. Returns how many objects are left.
pub async fn run(task: &Task, out: &mut impl Write) -> Result<usize, Error> {
    let client = client::connect(&task.client).await?.write;
    if let Some(deployment) = &task.stop {
        stop::stop(&client, task, deployment, out).await?;
    }
    let found = Found::look(&client, task).await?;
    let mut removed = 0;
    let mut failed = Vec::new();
    for object in &found.ours {
        if task.dry_run {
            writeln!(out, "would delete {object}")?;
            continue;
        }
        match remove::remove(&client, object, &task.instance).await {
            Ok(()) => {
                writeln!(out, "deleted {object}")?;
                removed += 1;
            }
            Err(error) => failed.push((object, explain(&error))),
        }
    }
    for (whose, count) in &found.others {
        writeln!(out, "left alone: {} of {whose}", objects(*count))?;
    }
    let instance = &task.instance;
    if task.dry_run {
        writeln!(out, "{instance}: {} would be deleted", objects(found.ours.len()))?;
        return Ok(0);
    }
    let left = if found.ours.is_empty() { Vec::new() } else { Found::look(&client, task).await?.ours };
    for object in &left {
        let failure = failed.iter().find(|(failed, _)| failed.uid == object.uid);
        writeln!(out, "still there: {object}: {}", reason(object, failure.map(|(_, error)| &**error)))?;
    }
    match (removed, left.len()) {
        (0, 0) => writeln!(out, "{instance}: nothing to delete")?,
        (_, left) => writeln!(out, "{instance}: {} deleted, {left} left", objects(removed))?,
    }
    Ok(left.len())
}

/// Why it is still there, and what to do.
fn reason(object: &find::Object, failure: Option<&str>) -> String {
    if let Some(failure) = failure {
        return failure.to_owned();
    }
    if object.finalizers.is_empty() {
        return "it was made anew: a controller of this installation runs; stop it first (--stop DEPLOYMENT)"
            .into();
    }
    format!("deleted, and held by {}, which somebody else has to end", object.finalizers.join(", "))
}

fn objects(count: usize) -> String {
    match count {
        1 => "1 object".into(),
        count => format!("{count} objects"),
    }
}
