//! Which objects are the installation's.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::{Error, Task};
use crate::annotations::INSTANCE;
use crate::config::Instance;
use crate::names::{CONTROLLER, LABEL_MANAGED_BY, LABEL_SOURCE_SERVICE};

/// Metadata are small, but a cluster may have ten thousand Services.
const PAGE: u32 = 500;

/// What we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Slice,
}

impl Kind {
    const fn resource(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Slice => "endpointslice",
        }
    }
}

/// An object as it was seen.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) finalizers: Vec<String>,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.resource(), self.namespace, self.name)
    }
}

impl Object {
    fn new(kind: Kind, metadata: ObjectMeta) -> Self {
        Self {
            kind,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
            finalizers: metadata.finalizers.unwrap_or_default(),
        }
    }
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Leader Services first: with them gone, nobody is routed by a slice that is still to go.
    pub(super) ours: Vec<Object>,
    /// How many objects that zen-lead made are whose.
    pub(super) others: BTreeMap<String, usize>,
}

impl Found {
    /// Looks into all namespaces of the task.
    pub(super) async fn look(client: &Client, task: &Task) -> Result<Self, Error> {
        let mut found = Self::default();
        let namespaces: Vec<Option<&str>> = match &*task.namespaces {
            [] => vec![None],
            some => some.iter().map(|name| Some(&**name)).collect(),
        };
        for namespace in &namespaces {
            found.add::<Service>(client, Kind::Service, *namespace, &task.instance).await?;
        }
        for namespace in &namespaces {
            found.add::<EndpointSlice>(client, Kind::Slice, *namespace, &task.instance).await?;
        }
        Ok(found)
    }

    async fn add<K>(
        &mut self,
        client: &Client,
        kind: Kind,
        namespace: Option<&str>,
        instance: &Instance,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug,
    {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let what = || match namespace {
            Some(namespace) => format!("list {}s of namespace {namespace}", kind.resource()),
            None => format!("list {}s of all namespaces (--namespace names some)", kind.resource()),
        };
        // All of them: our labels are for finding things, and anybody may have taken them off.
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list =
                api.list_metadata(&page).await.map_err(|error| Error::Refused { what: what(), error })?;
            for object in list.items {
                self.sort_in(kind, object.metadata, instance);
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    fn sort_in(&mut self, kind: Kind, metadata: ObjectMeta, instance: &Instance) {
        match Maker::of(&metadata) {
            Maker::Installation(name) if name == instance.to_string() => {
                self.ours.push(Object::new(kind, metadata));
            }
            Maker::Installation(name) => {
                *self.others.entry(format!("the installation {name} (--instance)")).or_default() += 1;
            }
            Maker::Unnamed => {
                *self.others.entry("no installation, as the Go zen-lead made them".into()).or_default() += 1;
            }
            Maker::SomebodyElse => {}
        }
    }
}

/// Who made an object.
enum Maker<'a> {
    /// This installation.
    Installation(&'a str),
    /// A zen-lead that does not say which.
    Unnamed,
    SomebodyElse,
}

impl<'a> Maker<'a> {
    fn of(metadata: &'a ObjectMeta) -> Self {
        let labels = metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
        let labelled = label(LABEL_MANAGED_BY) == Some(CONTROLLER) && label(LABEL_SOURCE_SERVICE).is_some();
        // Everything that we make is owned by the source Service. The annotation alone is not enough: people copy
        // annotations from one Service to another.
        let owned = metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Service");
        let instance = metadata.annotations.as_ref().and_then(|annotations| annotations.get(INSTANCE));
        match instance {
            Some(instance) if labelled || owned => Self::Installation(instance),
            None if labelled => Self::Unnamed,
            _ => Self::SomebodyElse,
        }
    }
}

/// The object as it is now, if it is still the same and still the installation's.
pub(super) async fn again<K>(
    api: &Api<K>,
    object: &Object,
    instance: &Instance,
) -> kube::Result<Option<Object>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
{
    // By a list, for that is a right which was needed before.
    let only = ListParams::default().fields(&format!("metadata.name={}", object.name));
    let now = api.list_metadata(&only).await?.items.into_iter().next().map(|object| object.metadata);
    Ok(now.filter(|now| now.uid.as_ref() == Some(&object.uid)).and_then(|now| {
        let ours = matches!(Maker::of(&now), Maker::Installation(name) if name == instance.to_string());
        ours.then(|| Object::new(object.kind, now))
    }))
}
