//! Everything that happens in the show's namespace, in the order and at the time in which bare watches tell of it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt, StreamExt};
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::{NamespaceResourceScope, Request};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::history::Change;
use crate::lab::Namespace;

/// An object as a watch showed it.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Pod(Box<Pod>),
    Service(Box<Service>),
    Slice(Box<EndpointSlice>),
    Notice(Box<Event>),
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// When the watch told us.
    pub(super) at: Instant,
    pub(super) change: Change,
    pub(super) seen: Seen,
}

/// What was looked for.
pub(super) struct Found<T> {
    /// Its place in the record.
    pub(super) entry: usize,
    /// When the watch told us.
    pub(super) at: Instant,
    pub(super) what: T,
}

/// A record that goes on until it is dropped.
pub(super) struct Timeline {
    log: Arc<Log>,
    progress: watch::Receiver<usize>,
    _watches: JoinSet<()>,
}

struct Log {
    entries: Mutex<Vec<Entry>>,
    /// Why a watch could not go on.
    failure: Mutex<Option<String>>,
    ticks: watch::Sender<usize>,
}

impl Timeline {
    /// Begins; returns when all watches stand.
    pub(super) async fn begin(namespace: &Namespace) -> Result<Self> {
        let (ticks, progress) = watch::channel(0);
        let log = Arc::new(Log { entries: Mutex::default(), failure: Mutex::default(), ticks });
        let mut watches = JoinSet::new();
        follow(namespace.api(), &log, Seen::Pod, &mut watches).await?;
        follow(namespace.api(), &log, Seen::Service, &mut watches).await?;
        follow(namespace.api(), &log, Seen::Slice, &mut watches).await?;
        follow(namespace.api(), &log, Seen::Notice, &mut watches).await?;
        Ok(Self { log, progress, _watches: watches })
    }

    /// How much has been recorded: what comes from here on is new.
    pub(super) fn now(&self) -> usize {
        self.log.entries().len()
    }

    /// What has been recorded from there on.
    pub(super) fn since(&self, from: usize) -> Vec<Entry> {
        self.log.entries().get(from..).unwrap_or_default().to_vec()
    }

    /// The first entry from there on that is looked for; none if it does not come in time.
    pub(super) async fn first<T>(
        &self,
        mut from: usize,
        within: Duration,
        look: impl Fn(&Entry) -> Option<T>,
    ) -> Result<Option<Found<T>>> {
        let deadline = time::Instant::now() + within;
        let mut progress = self.progress.clone();
        loop {
            progress.borrow_and_update();
            let found = {
                let entries = self.log.entries();
                let new = entries.iter().enumerate().skip(from);
                let mut found = new.filter_map(|(number, entry)| {
                    Some(Found { entry: number, at: entry.at, what: look(entry)? })
                });
                let found = found.next();
                from = entries.len();
                found
            };
            if found.is_some() {
                return Ok(found);
            }
            if let Some(why) = &*self.log.failure.lock().unwrap_or_else(PoisonError::into_inner) {
                bail!("the demo's own watch ended: {why}");
            }
            match time::timeout_at(deadline, progress.changed()).await {
                Ok(changed) => changed.context("the demo's own watches ended")?,
                Err(_) => return Ok(None),
            }
        }
    }
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let count = {
            let mut entries = self.entries();
            entries.push(entry);
            entries.len()
        };
        self.ticks.send_replace(count);
    }

    fn fail(&self, why: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.ticks.send_modify(|_| {});
    }
}

async fn follow<K>(
    api: Api<K>,
    log: &Arc<Log>,
    wrap: fn(Box<K>) -> Seen,
    watches: &mut JoinSet<()>,
) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let plural = K::plural(&());
    let list = api.list(&ListParams::default()).await.with_context(|| format!("listing {plural}"))?;
    let mut version = list.metadata.resource_version.clone().context("a list has a version")?;
    for object in list.items {
        log.push(Entry { at: Instant::now(), change: Change::Found, seen: wrap(Box::new(object)) });
    }
    let mut lines = watch_from(&api, &version).await?;
    let log = log.clone();
    watches.spawn(async move {
        loop {
            while let Some(Ok(line)) = lines.next().await {
                // Now, and not when it is decoded: a large object must not look later than a small one.
                let at = Instant::now();
                let (change, object) = match serde_json::from_str::<WatchEvent<K>>(&line) {
                    Ok(WatchEvent::Added(object)) => (Change::Added, object),
                    Ok(WatchEvent::Modified(object)) => (Change::Modified, object),
                    Ok(WatchEvent::Deleted(object)) => (Change::Deleted, object),
                    Ok(WatchEvent::Bookmark(bookmark)) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    Ok(WatchEvent::Error(_)) | Err(_) => return log.fail(format!("{plural}: {line}")),
                };
                version = object.resource_version().unwrap_or(version);
                log.push(Entry { at, change, seen: wrap(Box::new(object)) });
            }
            // The server ends every watch after some minutes; nothing is missed.
            lines = match watch_from(&api, &version).await {
                Ok(lines) => lines,
                Err(error) => return log.fail(format!("{error:#}")),
            };
        }
    });
    Ok(())
}

async fn watch_from<K>(api: &Api<K>, version: &str) -> Result<BoxStream<'static, io::Result<String>>>
where
    K: Resource + Clone,
{
    let what = || format!("watching {}", api.resource_url());
    let params = WatchParams::default().timeout(290);
    let mut request = Request::new(api.resource_url()).watch(&params, version).with_context(what)?;
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let body = api.clone().into_client().request_stream(request).await.with_context(what)?;
    Ok(body.lines().boxed())
}
