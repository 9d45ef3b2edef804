//! Watches that go on, also over an API server that ends, is away for a while, or forgets.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time;

/// How soon to look again for a server that was not there: what happens just after its return is to be seen.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A server that does not answer for so long is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum Told<K> {
    /// All there is: at the beginning, and after what happened in between cannot be told any more.
    All(Vec<K>),
    /// It was made, or it is different.
    Is(K),
    /// It was deleted; this is its last.
    Gone(K),
}

/// Follows the objects with these labels for ever.
pub(crate) async fn follow<K>(api: Api<K>, labels: String, mut tell: impl FnMut(Told<K>))
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut version = None;
    loop {
        // It fails with the server, and is begun again where it was.
        if follow_on(&api, &labels, &mut version, &mut tell).await.is_err() {
            time::sleep(AGAIN_AFTER).await;
        }
    }
}

async fn follow_on<K>(
    api: &Api<K>,
    labels: &str,
    version: &mut Option<String>,
    tell: &mut impl FnMut(Told<K>),
) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let from = if let Some(version) = version {
        version.clone()
    } else {
        let params = ListParams::default().labels(labels);
        let list = time::timeout(ANSWER_WITHIN, api.list(&params)).await??;
        let listed = list.metadata.resource_version.context("a list has a version")?;
        tell(Told::All(list.items));
        version.insert(listed).clone()
    };
    let params = WatchParams::default().labels(labels).timeout(290);
    let watch = match time::timeout(ANSWER_WITHIN, api.watch(&params, &from)).await? {
        Err(kube::Error::Api(status)) if status.code == 410 => {
            *version = None;
            return Ok(());
        }
        watch => watch?,
    };
    let mut events = watch.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *version = object.resource_version();
                tell(Told::Is(object));
            }
            WatchEvent::Deleted(object) => {
                *version = object.resource_version();
                tell(Told::Gone(object));
            }
            WatchEvent::Bookmark(bookmark) => *version = Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => {
                *version = None;
                bail!("the watch ended: {}", status.message);
            }
        }
    }
    Ok(())
}
