//! Everything that happens in the show's namespace, in the order and at the time in which bare watches tell of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
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

    /// The first entry from there on that is looked for, and when it came; none if it does not come in time.
    pub(super) async fn first<T>(
        &self,
        mut from: usize,
        within: Duration,
        look: impl Fn(&Entry) -> Option<T>,
    ) -> Result<Option<(Instant, T)>> {
        let deadline = time::Instant::now() + within;
        let mut progress = self.progress.clone();
        loop {
            progress.borrow_and_update();
            let found = {
                let entries = self.log.entries();
                let new = entries.get(from..).unwrap_or_default();
                let found = new.iter().find_map(|entry| Some((entry.at, look(entry)?)));
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
    let params = WatchParams::default().timeout(290);
    let mut events =
        api.watch(&params, &version).await.with_context(|| format!("watching {plural}"))?.boxed();
    let log = log.clone();
    watches.spawn(async move {
        loop {
            while let Some(event) = events.next().await {
                let at = Instant::now();
                let (change, object) = match event {
                    Ok(WatchEvent::Added(object)) => (Change::Added, object),
                    Ok(WatchEvent::Modified(object)) => (Change::Modified, object),
                    Ok(WatchEvent::Deleted(object)) => (Change::Deleted, object),
                    Ok(WatchEvent::Bookmark(bookmark)) => {
                        version = bookmark.metadata.resource_version;
                        continue;
                    }
                    Ok(WatchEvent::Error(status)) => return log.fail(format!("{plural}: {status:?}")),
                    Err(error) => return log.fail(format!("{plural}: {error}")),
                };
                version = object.resource_version().unwrap_or(version);
                log.push(Entry { at, change, seen: wrap(Box::new(object)) });
            }
            // The server ends every watch after some minutes; nothing is missed.
            events = match api.watch(&params, &version).await {
                Ok(events) => events.boxed(),
                Err(error) => return log.fail(format!("{plural}: {error}")),
            };
        }
    });
    Ok(())
}
