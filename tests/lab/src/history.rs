//! Every revision of every `EndpointSlice`, in order: an invariant must hold in each of them, not only in those that a
//! test happened to wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time;

/// What became of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was there when the recording began.
    Found,
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was deleted; the revision is its last.
    Deleted,
}

/// A revision of a slice.
#[derive(Debug, Clone)]
pub struct Revision {
    /// When the watch told us.
    pub at: Instant,
    /// What had happened.
    pub change: Change,
    /// The slice.
    pub slice: EndpointSlice,
}

/// A recording that goes on until it is dropped.
#[derive(Debug)]
pub struct History {
    api: Api<EndpointSlice>,
    revisions: Arc<Mutex<Vec<Revision>>>,
    /// Ticks with every revision, and closes when the watch ends.
    progress: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl History {
    pub(crate) async fn begin(api: Api<EndpointSlice>) -> Result<Self> {
        let list = api.list(&ListParams::default()).await?;
        let version = list.metadata.resource_version.clone().context("a list has a version")?;
        let revision = |change, slice| Revision { at: Instant::now(), change, slice };
        let found: Vec<Revision> =
            list.items.into_iter().map(|slice| revision(Change::Found, slice)).collect();
        let (ticks, progress) = watch::channel(found.len());
        let revisions = Arc::new(Mutex::new(found));

        // The server's maximum for a watch is an hour or so; a test is shorter.
        let mut events = api.watch(&WatchParams::default().timeout(290), &version).await?.boxed();
        let kept = revisions.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let revision = match event {
                    WatchEvent::Added(slice) => revision(Change::Added, slice),
                    WatchEvent::Modified(slice) => revision(Change::Modified, slice),
                    WatchEvent::Deleted(slice) => revision(Change::Deleted, slice),
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(_) => break,
                };
                let count = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(revision);
                    kept.len()
                };
                // Fails only when the recording has been dropped.
                let _ = ticks.send(count);
            }
        });
        Ok(Self { api, revisions, progress, task })
    }

    /// The revisions recorded so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<Revision> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All revisions up to now: waits until the recording has caught up with what the server has.
    pub async fn up_to_now(&self) -> Result<Vec<Revision>> {
        let present: BTreeMap<_, _> = self
            .api
            .list(&ListParams::default())
            .await?
            .iter()
            .map(|slice| (slice.name_any(), slice.resource_version()))
            .collect();
        let mut progress = self.progress.clone();
        let caught_up = async {
            while latest(&self.so_far()) != present {
                progress.changed().await.context("the watch that records the history has ended")?;
            }
            anyhow::Ok(())
        };
        match time::timeout(Duration::from_secs(10), caught_up).await {
            Ok(result) => result?,
            Err(_) => bail!(
                "the history did not catch up; present: {present:?}, seen: {:?}",
                latest(&self.so_far())
            ),
        }
        Ok(self.so_far())
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn latest(revisions: &[Revision]) -> BTreeMap<String, Option<String>> {
    let mut latest = BTreeMap::new();
    for Revision { change, slice, .. } in revisions {
        match change {
            Change::Found | Change::Added | Change::Modified => {
                latest.insert(slice.name_any(), slice.resource_version());
            }
            Change::Deleted => drop(latest.remove(&slice.name_any())),
        }
    }
    latest
}
