//! List and watch: one resource, from a consistent list on, without a gap.
//!
//! kube's `watcher` is not used: it hides bookmarks, its streaming lists start at version 0 (whatever
//! a lagging server has), and one object that does not decode ends its stream with an error that does
//! not say which. Here a list is always a consistent read, one that ends below a version already seen
//! is thrown away, and a malformed object is named and passed over.
//!
//! # When the server's versions go back
//!
//! A list below what we have seen is normally a server that should not have answered. It may also be
//! an etcd restored from a backup, and then waiting for the old version would be waiting for ever.
//! Three lists in a row that are all below what we have seen, and among themselves do not
//! fall, count as proof: a consistent read goes to the etcd quorum, so that a mere laggard cannot
//! produce them. The list is then told as [`Change::Listed`] with `restored`.
//!
//! A *watch* from a version that the restored server has not reached is worse: the server accepts
//! it and silently holds back every event until its count has caught up (seen with 1.35). So whenever
//! a watch resumes, one list of a single object runs beside it and compares versions; it costs the
//! watch no time. A watch that was away for long is listed anew in any case.

use std::{convert::Infallible, fmt::Debug, marker::PhantomData, pin::pin, time::Duration};

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use crate::dice::Dice;

mod decode;
mod lines;
mod server;
mod status;
#[cfg(test)]
mod tests;
mod trouble;

pub(crate) use decode::status as status_of_answer;
pub use status::{Phase, WatchState, WatchStatus};

use decode::{Line, Named, Page};
use lines::Lines;
use server::{Server, refusal};
use trouble::{Backoff, Closed, LAST_RETRY, Trouble, TroubleLog};

/// A stream that lived this long works: it ended for a new reason, and the back-off starts anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(1);

/// A watch that was away for longer is not resumed but listed anew. That costs one list, and heals
/// what the version check cannot see: an etcd restored meanwhile whose count has caught up with ours.
/// A restore takes longer than this.
const RELIST_AFTER: Duration = Duration::from_mins(1);

/// Lists in a row below the version already seen that prove a restore. See the module's text.
const PROOF_LISTS: u32 = 3;

/// Time between those lists; long enough for a server to catch up by some events.
const PROOF_WAIT: Duration = Duration::from_millis(200);

/// Continue tokens that expired in a row before the list is asked for in one piece.
const EXPIRED_LISTS: u32 = 2;

/// What a watch tells, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<K> {
    /// A list begins. What follows until `Listed` is the whole truth. A second `Relisting` before
    /// `Listed` starts it over: forget the pages so far.
    Relisting,
    /// Some of the list's objects.
    Page(Vec<K>),
    /// The list is complete; objects that were not in it are gone.
    Listed {
        /// The version at which all of it was true.
        version: u64,
        /// The server's versions went back: its etcd was restored to an older state.
        restored: bool,
    },
    /// An object was added or modified.
    Applied(K),
    /// An object was deleted; this is its last state.
    Deleted(K),
    /// Nothing older than this version is still to come.
    Bookmark(u64),
    /// An object cannot be read. Its last state told, if any, is out of date; a list goes on without
    /// it, so that after `Listed` it counts as gone.
    Malformed {
        /// `namespace/name`, as far as known.
        object: String,
        /// Why.
        error: String,
    },
}

/// What to watch, besides the `Api`.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// Only objects with these labels.
    pub label_selector: Option<String>,
    /// Objects in one page of a list. Pages keep the peak of memory low: 100 pods are a megabyte.
    pub page_size: u32,
    /// What spreads retries and the ends of watches.
    pub dice: Dice,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { label_selector: None, page_size: 100, dice: Dice::new() }
    }
}

/// Lists and watches until the receiver of `sink` is dropped; never gives up.
///
/// Each change is sent as `T::from((source, change))`. `source` is the number of this watch among
/// the controller's, counted from 0: it tells changes apart and spreads many watches over several
/// connections. `K` needs nothing but a `metadata.resourceVersion`, which must be decoded.
pub async fn follow<K, T>(
    api: Api<K>,
    options: WatchOptions,
    source: usize,
    sink: mpsc::Sender<T>,
    status: WatchStatus,
) where
    K: Clone + DeserializeOwned + Resource + Debug,
    T: From<(usize, Change<K>)>,
{
    let receiver = sink.clone();
    tokio::select! {
        biased;
        Err(Closed) = Follower::new(api, options, source, sink, status).run() => {}
        () = receiver.closed() => {}
    }
}

struct Follower<K, T> {
    server: Server,
    options: WatchOptions,
    source: usize,
    sink: mpsc::Sender<T>,
    status: WatchStatus,
    /// The highest version told so far; 0 before the first list.
    seen: u64,
    /// Versions below `seen` that lists ended at, in a row: how many, and the last.
    below: Option<(u32, u64)>,
    /// Continue tokens that expired since the last complete list.
    expired: u32,
    backoff: Backoff,
    log: TroubleLog,
    kind: PhantomData<fn() -> K>,
}

impl<K, T> Follower<K, T>
where
    K: Clone + DeserializeOwned + Resource + Debug,
    T: From<(usize, Change<K>)>,
{
    fn new(
        api: Api<K>,
        options: WatchOptions,
        source: usize,
        sink: mpsc::Sender<T>,
        status: WatchStatus,
    ) -> Self {
        Self {
            server: Server::new(api, source),
            backoff: Backoff::new(options.dice.clone()),
            options,
            source,
            sink,
            status,
            seen: 0,
            below: None,
            expired: 0,
            log: TroubleLog::default(),
            kind: PhantomData,
        }
    }

    async fn run(mut self) -> Result<Infallible, Closed> {
        loop {
            self.list_until_complete().await?;
            self.watch_until_doubt().await?;
        }
    }

    async fn list_until_complete(&mut self) -> Result<(), Closed> {
        self.status.begin();
        loop {
            match self.list().await {
                Ok(()) => return Ok(()),
                Err(Trouble::Expired) => self.expired += 1,
                Err(trouble) => {
                    self.wait_out(trouble).await?;
                    continue;
                }
            }
            self.wait_out(Trouble::failed("the list expired before its last page".into())).await?;
        }
    }

    /// One complete list, page by page.
    async fn list(&mut self) -> Result<(), Trouble> {
        let mut next: Option<String> = None;
        let mut version = None;
        // One for all pages: many that come and go leave holes in the heap, or a heap that is never given back.
        let mut buffer = Vec::new();
        loop {
            let page: Page<K> = self.server.page(&self.params(next.take()), &mut buffer).await?;
            self.status.active();
            if version.is_none() {
                self.accept(page.version)?;
                self.status.listing();
                self.tell(Change::Relisting).await?;
            }
            // That of the first page, which is that of all; were a later one newer, the watch would
            // have to start at the oldest.
            let version = *version.get_or_insert(page.version);
            for Named { object, error } in page.malformed {
                self.tell_malformed(object, error).await?;
            }
            self.tell(Change::Page(page.items)).await?;
            if page.next.is_some() {
                next = page.next;
                continue;
            }
            let restored = self.below.take().is_some();
            (self.seen, self.expired) = (version, 0);
            self.status.listed();
            return Ok(self.tell(Change::Listed { version, restored }).await?);
        }
    }

    fn params(&self, continue_token: Option<String>) -> ListParams {
        ListParams {
            label_selector: self.options.label_selector.clone(),
            limit: (self.expired < EXPIRED_LISTS).then_some(self.options.page_size),
            continue_token,
            // No version at all, never "0": a consistent read.
            ..ListParams::default()
        }
    }

    /// Whether a list at this version may be told; see the module's text.
    fn accept(&mut self, version: u64) -> Result<(), Trouble> {
        if version >= self.seen {
            self.below = None;
            return Ok(());
        }
        let proofs = match self.below {
            Some((proofs, last)) if version >= last => proofs + 1,
            _ => 1,
        };
        self.below = Some((proofs, version));
        if proofs < PROOF_LISTS {
            let seen = self.seen;
            return Err(Trouble::Doubt(format!("a list at version {version}, below {seen} seen before")));
        }
        tracing::warn!(
            watch = self.status.name(),
            version,
            seen = self.seen,
            "the server's versions went back: taking its etcd for restored from a backup"
        );
        Ok(())
    }

    /// Watches, and resumes the watch where it ended, until only a list can tell what is true.
    async fn watch_until_doubt(&mut self) -> Result<(), Closed> {
        let mut resumed = false;
        loop {
            let opened = Instant::now();
            let ended = self.watch(resumed).await;
            if opened.elapsed() >= HEALTHY_AFTER {
                self.backoff.reset();
            }
            match ended {
                Err(Trouble::Closed) => return Err(Closed),
                Err(Trouble::Expired) => {
                    tracing::info!(watch = self.status.name(), "the watch expired: listing again");
                    self.pause_unless_healthy(opened).await;
                    return Ok(());
                }
                Err(Trouble::Doubt(reason)) => {
                    tracing::warn!(watch = self.status.name(), reason, "listing again");
                    self.status.disconnected(&reason);
                    self.pause_unless_healthy(opened).await;
                    return Ok(());
                }
                Err(trouble) => self.wait_out(trouble).await?,
                Ok(()) => {
                    self.status.disconnected("the server ended the watch");
                    self.pause_unless_healthy(opened).await;
                }
            }
            if self.status.down_for() > RELIST_AFTER {
                return Ok(());
            }
            resumed = true;
        }
    }

    /// A watch that ends at once again and again must not become a busy loop; one that lived is
    /// resumed without delay.
    async fn pause_unless_healthy(&mut self, opened: Instant) {
        if opened.elapsed() < HEALTHY_AFTER {
            sleep(self.backoff.next()).await;
        }
    }

    /// One watch, until the server ends it.
    async fn watch(&mut self, resumed: bool) -> Result<(), Trouble> {
        let from = self.seen;
        let body = self.server.open(&self.options, from).await?;
        self.status.live(resumed);
        let live_since = Instant::now();
        let mut lines = Lines::new(body);
        let server = self.server.clone();
        let mut version = pin!(async move { server.version().await });
        let mut unchecked = resumed;
        let mut healthy = pin!(sleep(HEALTHY_AFTER));
        let mut young = true;
        loop {
            tokio::select! {
                // What comes once goes before what never ends.
                biased;
                version = &mut version, if unchecked => {
                    unchecked = false;
                    if version < from {
                        let doubt = format!("the server is at version {version}, below {from} seen before");
                        return Err(Trouble::Doubt(doubt));
                    }
                }
                () = &mut healthy, if young => {
                    young = false;
                    self.log.over(self.status.name(), live_since);
                }
                line = lines.next() => {
                    let Some(line) = line? else { return Ok(()) };
                    self.status.active();
                    self.take(line).await?;
                }
            }
        }
    }

    /// Tells what one line of the watch says.
    async fn take(&mut self, line: &[u8]) -> Result<(), Trouble> {
        match decode::line::<K>(line)? {
            Line::Added(object) | Line::Modified(object) => {
                self.advance(decode::version_of(object.meta())?)?;
                self.tell(Change::Applied(object)).await?;
            }
            Line::Deleted(object) => {
                self.advance(decode::version_of(object.meta())?)?;
                self.tell(Change::Deleted(object)).await?;
            }
            Line::Bookmark(mark) => {
                let version = decode::version(mark.metadata.resource_version.as_deref())?;
                self.advance(version)?;
                self.tell(Change::Bookmark(version)).await?;
            }
            Line::Error(status) => return Err(refusal(&status, None)),
            Line::Malformed { named, version, deleted } => {
                let object = named.object.clone();
                self.tell_malformed(named.object, named.error).await?;
                if let Some(version) = version {
                    self.advance(version)?;
                }
                if deleted {
                    // It must not stay known: a list tells that it is gone.
                    return Err(Trouble::Doubt(format!("{object} was deleted and cannot be read")));
                }
            }
        }
        Ok(())
    }

    /// Events of one resource come in the order of their versions.
    fn advance(&mut self, version: u64) -> Result<(), Trouble> {
        if version < self.seen {
            let seen = self.seen;
            return Err(Trouble::Doubt(format!("an event at version {version}, below {seen} seen before")));
        }
        self.seen = version;
        Ok(())
    }

    async fn tell_malformed(&self, object: String, error: String) -> Result<(), Closed> {
        self.status.malformed();
        tracing::warn!(
            watch = self.status.name(),
            object,
            error,
            "an object cannot be read: passing over it"
        );
        self.tell(Change::Malformed { object, error }).await
    }

    async fn tell(&self, change: Change<K>) -> Result<(), Closed> {
        self.sink.send(T::from((self.source, change))).await.map_err(|_| Closed)
    }

    /// Shows and logs a trouble, and waits before the next try.
    async fn wait_out(&mut self, trouble: Trouble) -> Result<(), Closed> {
        let (reason, wait) = match trouble {
            Trouble::Closed => return Err(Closed),
            Trouble::Expired => ("expired".into(), self.backoff.next()),
            Trouble::Doubt(reason) => (reason, PROOF_WAIT),
            Trouble::Failed { reason, retry_after } => {
                let asked = retry_after.unwrap_or_default().min(LAST_RETRY);
                (reason, self.backoff.next().max(asked))
            }
        };
        self.status.disconnected(&reason);
        self.log.trouble(self.status.name(), &reason);
        sleep(wait).await;
        Ok(())
    }
}
