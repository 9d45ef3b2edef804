//! When every slice came to show whom, by a watch of the bench's own.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, watch};
use zen_lead::client::{ClientOptions, connect};
use zen_lead::kinds::SliceLite;
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

use crate::fleet::Key;

/// Whom each slice shows, and since when.
type Shown = HashMap<Key, (Option<String>, Instant)>;

/// Watches all slices until it is dropped.
pub struct Observer {
    shown: Arc<Mutex<Shown>>,
    changes: watch::Receiver<()>,
}

impl Observer {
    pub async fn begin(kubeconfig: &Path) -> Result<Self> {
        let client = connect(&options(kubeconfig)).await?.watch;
        let (sink, mut feed) = mpsc::channel::<(usize, Change<SliceLite>)>(1_024);
        let api = kube::Api::all(client);
        tokio::spawn(follow(api, WatchOptions::default(), 0, sink, WatchStatus::new("observer")));
        let shown = Arc::new(Mutex::new(Shown::new()));
        let (tick, changes) = watch::channel(());
        let kept = shown.clone();
        tokio::spawn(async move {
            while let Some((_, change)) = feed.recv().await {
                let mut shown = kept.lock().unwrap_or_else(PoisonError::into_inner);
                match change {
                    Change::Page(slices) => slices.iter().for_each(|slice| note(&mut shown, slice)),
                    Change::Applied(slice) => note(&mut shown, &slice),
                    Change::Deleted(slice) => drop(shown.remove(&key(&slice))),
                    _ => {}
                }
                drop(shown);
                if tick.send(()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { shown, changes })
    }

    /// Waits until all of these are as wanted (by their number), and tells when the last one came to be so.
    pub async fn until(
        &self,
        slices: &[Key],
        wanted: impl Fn(usize, Option<&str>) -> bool,
    ) -> Result<Instant> {
        // Those that are known to be as wanted are not looked at again: 10,000 are watched as well.
        let (mut first, mut last) = (0, None);
        let mut ticks = self.changes.clone();
        let deadline = Instant::now() + Duration::from_mins(10);
        loop {
            {
                let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some(slice) = slices.get(first) {
                    let found = shown.get(slice);
                    let leader = found.and_then(|(leader, _)| leader.as_deref());
                    if !wanted(first, leader) {
                        break;
                    }
                    last = last.max(found.map(|(_, at)| *at));
                    first += 1;
                }
            }
            if first == slices.len() {
                return Ok(last.unwrap_or_else(Instant::now));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, ticks.changed()).await {
                Ok(tick) => tick.context("the observer's watch ended")?,
                Err(_) => {
                    bail!("{} slices are not as wanted, first {:?}", slices.len() - first, slices[first])
                }
            }
        }
    }

    /// Whom these show now.
    pub fn leaders(&self, slices: &[Key]) -> Result<Vec<String>> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let leader = |slice| shown.get(slice).and_then(|(leader, _)| leader.clone());
        slices.iter().map(|slice| leader(slice).with_context(|| format!("{slice:?} shows nobody"))).collect()
    }
}

fn note(shown: &mut Shown, slice: &SliceLite) {
    let target = slice.endpoints.first().and_then(|endpoint| endpoint.target_ref.as_ref());
    let leader = target.and_then(|target| target.name.clone());
    let known = shown.entry(key(slice)).or_insert_with(|| (None, Instant::now()));
    if known.0 != leader {
        *known = (leader, Instant::now());
    }
}

fn key(slice: &SliceLite) -> Key {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&slice.metadata.namespace), text(&slice.metadata.name))
}

pub fn options(kubeconfig: &Path) -> ClientOptions {
    ClientOptions { kubeconfig: Some(kubeconfig.to_owned()), context: None }
}
