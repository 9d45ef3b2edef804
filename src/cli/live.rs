//! `status --watch`: a view that follows the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Error;
use super::cluster::{Cluster, api, request};
use super::error::user;
use super::output::Output;
use super::status::Shown;
use super::survey::{Facts, Key, Wanted, key};
use crate::config::StatusArgs;
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::notice::Told;
use crate::rows::{Interner, PodRow};
use crate::watch::{Change, Phase, WatchOptions, WatchStatus, follow};

/// Changes that come together are shown together: nobody reads faster.
const TOGETHER: Duration = Duration::from_millis(100);

/// Ages go on although nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// What is behind is shown sooner or later; there is no reason to slow the watches down.
const QUEUE: usize = 1_024;

/// Clears the terminal, what was scrolled away excepted.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows it until the terminal is closed or Ctrl-C pressed.
pub(super) async fn run(args: &StatusArgs, cluster: &Cluster, out: &mut Output) -> Result<(), Error> {
    let wanted = args.name.as_ref().map(|name| Wanted::read(name, cluster.namespace.as_deref()));
    let namespace = wanted.as_ref().map_or(&cluster.namespace, |wanted| &wanted.namespace).clone();
    let (sink, mut news) = mpsc::channel(QUEUE);
    let mut watches = Watches {
        cluster,
        namespace: namespace.as_deref(),
        sink,
        statuses: Vec::new(),
        tasks: JoinSet::new(),
    };
    watches.follow::<ServiceLite>();
    watches.follow::<SliceLite>();
    watches.follow::<PodLite>();
    watches.follow::<Event>();
    let mut mirror = Mirror::default();
    let mut last = String::new();
    let mut tick = Instant::now() + TICK;
    loop {
        let first = timeout_at(tick, news.recv()).await;
        if let Ok(Some(change)) = first {
            mirror.apply(change);
            let until = Instant::now() + TOGETHER;
            while let Ok(Some(change)) = timeout_at(until, news.recv()).await {
                mirror.apply(change);
            }
            // Never longer than that, however much comes.
            sleep_until(until).await;
        }
        tick = Instant::now() + TICK;
        let trouble = watches.trouble()?;
        if !mirror.is_whole() {
            continue;
        }
        let shown = Shown::of(mirror.facts(), wanted.as_ref());
        let state = format!("{}{trouble:?}", shown.fingerprint());
        if !out.is_terminal && state == last {
            continue;
        }
        if out.is_terminal {
            write!(out, "{CLEAR}")?;
        } else if !last.is_empty() {
            writeln!(out)?;
        }
        last = state;
        shown.write(args, cluster, out)?;
        if let Some(trouble) = trouble {
            writeln!(out, "This is old: {trouble}")?;
        }
        out.flush()?;
    }
}

/// The watches behind the view.
struct Watches<'a> {
    cluster: &'a Cluster,
    namespace: Option<&'a str>,
    sink: mpsc::Sender<News>,
    statuses: Vec<(WatchStatus, super::error::Request)>,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    fn follow<K>(&mut self)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + fmt::Debug
            + Send
            + Sync
            + 'static,
        News: From<(usize, Change<K>)>,
    {
        let status = WatchStatus::new(K::plural(&()));
        let api = api::<K>(&self.cluster.watch, self.namespace);
        let (sink, source) = (self.sink.clone(), self.statuses.len());
        self.statuses.push((status.clone(), request::<K>("watch", self.namespace, None)));
        self.tasks.spawn(follow(api, WatchOptions::default(), source, sink, status));
    }

    /// Why the view is out of date, if it is. A right that is missing will not come by itself.
    fn trouble(&self) -> Result<Option<String>, Error> {
        for (status, request) in &self.statuses {
            let Phase::Disconnected(reason) = status.state().phase else { continue };
            for verb in ["list", "watch"] {
                if let Some(user) = user(&reason, verb) {
                    let request = super::error::Request { verb, ..request.clone() };
                    return Err(Error::Forbidden { request: request.into(), user });
                }
            }
            return Ok(Some(format!("cannot {request}: {reason}")));
        }
        Ok(None)
    }
}

/// Something has changed.
enum News {
    Service(Change<ServiceLite>),
    Slice(Change<SliceLite>),
    Pod(Change<PodLite>),
    Notice(Box<Change<Event>>),
}

impl From<(usize, Change<ServiceLite>)> for News {
    fn from((_, change): (usize, Change<ServiceLite>)) -> Self {
        Self::Service(change)
    }
}

impl From<(usize, Change<SliceLite>)> for News {
    fn from((_, change): (usize, Change<SliceLite>)) -> Self {
        Self::Slice(change)
    }
}

impl From<(usize, Change<PodLite>)> for News {
    fn from((_, change): (usize, Change<PodLite>)) -> Self {
        Self::Pod(change)
    }
}

impl From<(usize, Change<Event>)> for News {
    fn from((_, change): (usize, Change<Event>)) -> Self {
        Self::Notice(change.into())
    }
}

/// The cluster, as far as the watches have told.
#[derive(Default)]
struct Mirror {
    services: Objects<ServiceLite>,
    slices: Objects<SliceLite>,
    pods: Objects<PodRow>,
    notices: Objects<Told>,
    interner: Interner,
}

impl Mirror {
    fn apply(&mut self, news: News) {
        match news {
            News::Service(change) => self.services.apply(change, Some),
            News::Slice(change) => self.slices.apply(change, Some),
            News::Pod(change) => self.pods.apply(change, |pod| PodRow::new(&pod, &mut self.interner)),
            News::Notice(change) => self.notices.apply(*change, |event| Told::of_ours(&event)),
        }
    }

    /// Whether everything has been told once.
    fn is_whole(&self) -> bool {
        self.services.version.is_some()
            && self.slices.version.is_some()
            && self.pods.version.is_some()
            && self.notices.version.is_some()
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts {
            services: self.services.known.clone(),
            slices: self.slices.known.clone(),
            ..Facts::default()
        };
        let horizon = machine::Version(self.pods.version.unwrap_or_default());
        for (namespace, _) in self.services.known.keys() {
            facts.pods.entry(namespace.clone()).or_insert_with(|| (Vec::new(), horizon));
        }
        for ((namespace, _), row) in &self.pods.known {
            if let Some((rows, _)) = facts.pods.get_mut(namespace) {
                rows.push(row.clone());
            }
        }
        facts.tell(self.notices.known.values().cloned());
        facts
    }
}

/// The objects of a kind.
struct Objects<V> {
    known: BTreeMap<Key, V>,
    /// The pages of a list that is not complete.
    pages: BTreeMap<Key, V>,
    /// How new they are, if there was a list.
    version: Option<u64>,
}

impl<V> Default for Objects<V> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), pages: BTreeMap::new(), version: None }
    }
}

impl<V> Objects<V> {
    fn apply<K: Resource<DynamicType = ()>>(
        &mut self,
        change: Change<K>,
        mut kept: impl FnMut(K) -> Option<V>,
    ) {
        match change {
            Change::Relisting => self.pages.clear(),
            Change::Page(objects) => {
                for object in objects {
                    let key = key(&object);
                    self.pages.extend(kept(object).map(|value| (key, value)));
                }
            }
            Change::Listed { version, .. } => {
                self.known = std::mem::take(&mut self.pages);
                self.version = Some(version);
            }
            Change::Applied(object) => {
                self.saw(&object);
                let key = key(&object);
                self.known.extend(kept(object).map(|value| (key, value)));
            }
            Change::Deleted(object) => {
                self.saw(&object);
                self.known.remove(&key(&object));
            }
            Change::Bookmark(version) => self.version = self.version.max(Some(version)),
            Change::Malformed { .. } => {}
        }
    }

    fn saw<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        self.version = self.version.max(Some(crate::kinds::version(object.meta()).0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, version: u64) -> ServiceLite {
        let metadata =
            serde_json::json!({ "namespace": "shop", "name": name, "resourceVersion": version.to_string() });
        serde_json::from_value(serde_json::json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn a_list_replaces_what_was_known_and_changes_add_to_it() {
        let mut objects = Objects::default();
        let names = |objects: &Objects<ServiceLite>| -> Vec<String> {
            objects.known.keys().map(|(_, name)| name.clone()).collect()
        };
        let mut tell = |change| {
            objects.apply(change, Some);
            (names(&objects), objects.version)
        };
        tell(Change::Relisting);
        assert_eq!(tell(Change::Page(vec![service("a", 1), service("b", 2)])), (vec![], None), "half a list");
        assert_eq!(tell(Change::Listed { version: 5, restored: false }).0, ["a", "b"]);
        assert_eq!(tell(Change::Deleted(service("a", 6))), (vec!["b".into()], Some(6)));
        assert_eq!(tell(Change::Applied(service("c", 7))).0, ["b", "c"]);
        assert_eq!(tell(Change::Bookmark(9)).1, Some(9));
        tell(Change::Relisting);
        tell(Change::Page(vec![service("c", 7)]));
        assert_eq!(tell(Change::Listed { version: 10, restored: false }), (vec!["c".into()], Some(10)));
    }
}
