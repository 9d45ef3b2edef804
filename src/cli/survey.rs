//! What is in the cluster: the objects, read once, as of about one moment.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use machine::{Timestamp, Version};

use super::Error;
use super::cluster::{Cluster, Listed};
use super::look::Look;
use super::nodes::Nodes;
use crate::annotations;
use crate::clock::Clock;
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::names::{CONTROLLER, LABEL_MANAGED_BY, LABEL_SOURCE_SERVICE};
use crate::notice::Told;
use crate::rows::{Interner, PodRow};
use crate::service::is_generated;

/// Namespace and name.
pub(super) type Key = (String, String);

/// What is known of a cluster.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) services: BTreeMap<Key, ServiceLite>,
    pub(super) slices: BTreeMap<Key, SliceLite>,
    /// By namespace; none of those whose pods the caller may not read.
    pub(super) pods: BTreeMap<String, (Vec<PodRow>, Version)>,
    /// What Services were told, oldest first.
    pub(super) notices: BTreeMap<Key, Vec<Told>>,
    pub(super) nodes: Nodes,
}

impl Facts {
    /// Takes notices in.
    pub(super) fn tell(&mut self, notices: impl IntoIterator<Item = Told>) {
        for told in notices {
            self.notices.entry((told.namespace.clone(), told.service.clone())).or_default().push(told);
        }
        for told in self.notices.values_mut() {
            told.sort_by_key(|told| told.at);
        }
    }
}

/// What is not shown, and why: the caller may not read it.
pub(super) type Missing = (&'static str, Error);

/// Says it, where it does not get in the way of what other programs read.
pub(super) fn warn<'a>(missing: impl IntoIterator<Item = &'a Missing>) {
    for (what, error) in missing {
        eprintln!("warning: {what} shown: {error}");
    }
}

/// A cluster at one moment.
pub(super) struct Survey {
    /// When.
    pub(super) at: Timestamp,
    pub(super) facts: Facts,
    pub(super) missing: Vec<Missing>,
}

impl From<Facts> for Survey {
    fn from(facts: Facts) -> Self {
        Self { at: Clock::start().now(), facts, missing: Vec::new() }
    }
}

impl Survey {
    /// Reads Services and leader slices, then the pods of the namespaces in which some opt in, so that the pods are as
    /// new as the slices at least. Given a name: no other pods than those of the Services of that name.
    pub(super) async fn take(
        cluster: &Cluster,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Error> {
        let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={CONTROLLER}"));
        let services = cluster.list::<ServiceLite>(namespace, ListParams::default());
        let slices = cluster.list::<SliceLite>(namespace, ours);
        let notices = notices(cluster, namespace, name);
        let (services, slices, notices) = futures::join!(services, slices, notices);
        let (services, slices) = (services?, slices?);
        let mut survey = Self::from(Facts {
            services: services.items.into_iter().map(|service| (key(&service), service)).collect(),
            slices: slices.items.into_iter().map(|slice| (key(&slice), slice)).collect(),
            ..Facts::default()
        });
        let mut spaces = BTreeMap::<String, ListParams>::new();
        for ((space, other), service) in survey.opted_in() {
            let which = match name {
                None => ListParams::default(),
                Some(name) if name == other => ListParams::default().labels(&selector(service)),
                Some(_) => continue,
            };
            spaces.insert(space.clone(), which);
        }
        let pods = join_all(spaces.iter().map(|(space, which)| cluster.list(Some(space), which.clone())));
        for (space, pods) in spaces.keys().zip(pods.await) {
            survey.add_pods(space, pods)?;
        }
        match notices {
            Ok(notices) => survey.facts.tell(notices),
            Err(error) if error.is_forbidden() => survey.missing.push(("no last failover is", error)),
            Err(error) => return Err(error),
        }
        survey.at = Clock::start().now();
        Ok(survey)
    }

    /// Reads Services only, which takes fewer rights.
    pub(super) async fn of_services(cluster: &Cluster, namespace: Option<&str>) -> Result<Self, Error> {
        let services = cluster.list::<ServiceLite>(namespace, ListParams::default()).await?.items;
        let services = services.into_iter().map(|service| (key(&service), service)).collect();
        Ok(Self::from(Facts { services, ..Facts::default() }))
    }

    /// Reads the nodes of the pods that are known in a namespace, and whether the controller, which runs in another one,
    /// goes by them. What is missing then is told.
    pub(super) async fn add_nodes(
        &mut self,
        cluster: &Cluster,
        namespace: &str,
        controller: &str,
    ) -> Result<Option<Missing>, Error> {
        let rows = self.pods(namespace).map(|(rows, _)| &**rows).unwrap_or_default();
        let names: BTreeSet<_> = rows.iter().filter_map(|row| row.node.clone()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let (nodes, missing) = Nodes::read(cluster, names, controller).await?;
        self.facts.nodes = nodes;
        Ok(missing.map(|error| ("no cordoned or lost nodes are", error)))
    }

    fn add_pods(&mut self, space: &str, pods: Result<Listed<PodLite>, Error>) -> Result<(), Error> {
        match pods {
            Ok(pods) => {
                let mut interner = Interner::default();
                let rows = pods.items.iter().filter_map(|pod| PodRow::new(pod, &mut interner)).collect();
                self.facts.pods.insert(space.to_owned(), (rows, pods.version));
                Ok(())
            }
            Err(error) if error.is_forbidden() => {
                self.missing.push(("no members are", error));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The Services that opt in.
    pub(super) fn opted_in(&self) -> impl Iterator<Item = (&Key, &ServiceLite)> {
        self.facts.services.iter().filter(|(_, service)| opts_in(service))
    }

    /// A closer look at one of them.
    pub(super) fn look(&self, key: &Key) -> Option<Look> {
        let service = self.facts.services.get(key).filter(|service| opts_in(service))?;
        Some(Look::new(self, key, service))
    }

    /// A closer look at all of them.
    pub(super) fn looks(&self) -> Vec<Look> {
        self.opted_in().map(|(key, service)| Look::new(self, key, service)).collect()
    }

    pub(super) fn pods(&self, namespace: &str) -> Option<&(Vec<PodRow>, Version)> {
        self.facts.pods.get(namespace)
    }

    pub(super) fn notices(&self, key: &Key) -> &[Told] {
        self.facts.notices.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The Service that is meant by a name, in the namespace or, if that is all of them, in whichever one has it.
    pub(super) async fn find(&self, cluster: &Cluster, name: &Wanted) -> Result<Key, Error> {
        let refused = |words: String| Err(Error::Refused(words));
        let found = self.facts.services.keys().filter(|(_, other)| *other == name.name);
        let namespaces: Vec<&str> = found.map(|(space, _)| &**space).collect();
        let namespace = match (&name.namespace, &*namespaces) {
            (_, [one]) => (*one).to_owned(),
            (None, []) => return refused(format!("there is no Service {} in any namespace", name.name)),
            (Some(namespace), []) => return Err(self.missing(cluster, namespace, &name.name).await),
            (_, some) => {
                let Wanted { name, .. } = name;
                let some = some.join(", ");
                return refused(format!("{name} is in several namespaces: {some}; name one with -n"));
            }
        };
        let key = (namespace, name.name.clone());
        let (namespace, name) = &key;
        let Some(service) = self.facts.services.get(&key) else {
            return refused(format!("there is no Service {namespace}/{name}"));
        };
        if is_generated(service) {
            let labels = service.metadata.labels.as_ref();
            let source = labels.and_then(|labels| labels.get(LABEL_SOURCE_SERVICE));
            let source = source.map_or_else(|| "its source".to_owned(), |source| format!("Service {source}"));
            return refused(format!("{namespace}/{name} is a leader Service: ask for the {source} instead"));
        }
        if !opts_in(service) {
            return refused(format!(
                "Service {namespace}/{name} does not opt in: kubectl annotate service {name} -n {namespace} \
                 zen-lead.io/enabled=true"
            ));
        }
        Ok(key)
    }

    /// What to say of a Service that is not there.
    async fn missing(&self, cluster: &Cluster, namespace: &str, name: &str) -> Error {
        if cluster.has_namespace(namespace).await == Some(false) {
            return no_namespace(namespace);
        }
        let mut names: Vec<&str> = self.opted_in().map(|((_, name), _)| &**name).collect();
        let more = names.len().saturating_sub(NAMES_SHOWN);
        names.truncate(NAMES_SHOWN);
        let names = names.join(", ");
        let hint = match (&*names, more) {
            ("", _) => "none opts in there; look into another namespace with -n, or all with -A".to_owned(),
            (_, 0) => format!("those that opt in there: {names}"),
            (_, more) => format!("those that opt in there: {names} and {more} more"),
        };
        Error::Refused(format!("there is no Service {namespace}/{name}: {hint}"))
    }
}

/// A namespace was named that is not there.
pub(super) fn no_namespace(namespace: &str) -> Error {
    Error::Refused(format!("there is no namespace {namespace}: name another one with -n, or all with -A"))
}

/// More names help nobody.
const NAMES_SHOWN: usize = 8;

/// Which Service is asked for.
pub(super) struct Wanted {
    /// None: whichever has it.
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

impl Wanted {
    /// `NAME`, `NAMESPACE/NAME`, or kubectl's own `service/NAME`.
    pub(super) fn read(text: &str, namespace: Option<&str>) -> Self {
        let own = || namespace.map(str::to_owned);
        match text.split_once('/') {
            Some(("service" | "services" | "svc", name)) => Self { namespace: own(), name: name.to_owned() },
            Some((namespace, name)) => Self { namespace: Some(namespace.to_owned()), name: name.to_owned() },
            None => Self { namespace: own(), name: text.to_owned() },
        }
    }
}

/// What Services were told by zen-lead: all of them in a namespace, or one.
pub(super) async fn notices(
    cluster: &Cluster,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Vec<Told>, Error> {
    let mut fields = format!("reportingController={CONTROLLER},regarding.kind=Service");
    if let Some(name) = name {
        fields = format!("{fields},regarding.name={name}");
    }
    let events = cluster.list::<Event>(namespace, ListParams::default().fields(&fields)).await?;
    Ok(events.items.iter().filter_map(Told::read).collect())
}

/// The selector as the API server takes it.
pub(super) fn selector(service: &ServiceLite) -> String {
    let pairs: Vec<_> = service.spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn opts_in(service: &ServiceLite) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    annotations.is_some_and(annotations::opts_in) && !is_generated(service)
}

pub(super) fn key(object: &impl kube::Resource<DynamicType = ()>) -> Key {
    let metadata = object.meta();
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
