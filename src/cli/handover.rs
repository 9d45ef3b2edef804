//! Waiting for what comes of a request: it is recorded in the leader slice in the same write that meets or refuses it.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};
use machine::Pod;
use tokio::time::{sleep, timeout_at};

use super::Error;
use super::cluster::{Cluster, answered, api, request};
use super::look::Look;
use super::survey::{Key, notices};
use crate::annotations::{EPOCH, LEADER_POD_UID, SWITCHOVER_HANDLED};
use crate::kinds::SliceLite;

/// A request that has lapsed is refused right after that; then there is nothing more to wait for.
const GRACE: Duration = Duration::from_secs(3);

/// Before a watch that has ended is opened anew.
const REOPEN: Duration = Duration::from_millis(200);

/// The notice with the reason comes after the slice, in a lane of its own.
const NOTICE_WITHIN: Duration = Duration::from_secs(2);

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The pod leads.
    Done { epoch: Option<String> },
    /// It will not.
    Refused { words: String },
    /// Nobody has answered.
    Nothing,
}

type Changes = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<SliceLite>>> + Send>>;

/// A request that is about to be placed.
pub(super) struct Handover<'a> {
    cluster: &'a Cluster,
    key: &'a Key,
    slice: String,
    /// The request.
    text: &'a str,
    to: &'a Pod,
    changes: Changes,
}

impl<'a> Handover<'a> {
    /// Begins to watch.
    pub(super) async fn expect(
        cluster: &'a Cluster,
        look: &'a Look,
        text: &'a str,
        to: &'a Pod,
    ) -> Result<Self, Error> {
        let slice = look.leader_service.clone();
        let (_, changes) = open(cluster, &look.key, &slice).await?;
        Ok(Self { cluster, key: &look.key, slice, text, to, changes })
    }

    /// What came of it. It holds until `until`.
    pub(super) async fn outcome(mut self, until: Instant) -> Result<Outcome, Error> {
        let deadline = tokio::time::Instant::from_std(until + GRACE);
        loop {
            let Ok(change) = timeout_at(deadline, self.changes.next()).await else {
                return Ok(Outcome::Nothing);
            };
            let slice = match change {
                Some(Ok(WatchEvent::Added(slice) | WatchEvent::Modified(slice))) => Some(slice),
                Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => None,
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => {
                    sleep(REOPEN).await;
                    match open(self.cluster, self.key, &self.slice).await {
                        Ok((slice, changes)) => {
                            self.changes = changes;
                            slice
                        }
                        // The API server may be back before the request is over.
                        Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
                        Err(_) => None,
                    }
                }
            };
            if let Some(outcome) = slice.as_ref().and_then(|slice| self.read(slice)) {
                return match outcome {
                    Outcome::Refused { .. } => Ok(Outcome::Refused { words: self.words().await }),
                    Outcome::Done { .. } | Outcome::Nothing => Ok(outcome),
                };
            }
        }
    }

    /// What the slice says of the request.
    fn read(&self, slice: &SliceLite) -> Option<Outcome> {
        let annotation = |name: &str| slice.metadata.annotations.as_ref()?.get(name);
        if annotation(SWITCHOVER_HANDLED).is_none_or(|handled| handled != self.text) {
            return None;
        }
        Some(if annotation(LEADER_POD_UID).is_some_and(|uid| uid == self.to.uid()) {
            Outcome::Done { epoch: annotation(EPOCH).cloned() }
        } else {
            Outcome::Refused { words: String::new() }
        })
    }

    /// Why it was refused, as the notice says.
    async fn words(&self) -> String {
        let (namespace, name) = self.key;
        let deadline = Instant::now() + NOTICE_WITHIN;
        while Instant::now() < deadline {
            let told = notices(self.cluster, Some(namespace), Some(name)).await.unwrap_or_default();
            let refusal =
                told.iter().find(|told| told.reason == "SwitchoverRefused" && told.note.contains(self.text));
            if let Some(refusal) = refusal {
                return refusal.note.clone();
            }
            sleep(REOPEN).await;
        }
        "it was refused, and the notice that says why cannot be read".to_owned()
    }
}

/// The slice as it is, and its changes from then on.
async fn open(
    cluster: &Cluster,
    (namespace, _): &Key,
    slice: &str,
) -> Result<(Option<SliceLite>, Changes), Error> {
    let only = format!("metadata.name={slice}");
    let listed = cluster.list::<SliceLite>(Some(namespace), ListParams::default().fields(&only)).await?;
    let api = api::<SliceLite>(&cluster.watch, Some(namespace));
    let which = WatchParams::default().fields(&only);
    let request = request::<SliceLite>("watch", Some(namespace), None);
    let changes = answered(request, api.watch(&which, &listed.from)).await?;
    Ok((listed.items.into_iter().next(), Box::pin(changes.fuse())))
}
