//! Decodes the part of an object's metadata that its kind needs.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::annotations::PREFIX;
use crate::names::{FIELD_MANAGER, LABEL_ZONE};

/// The metadata of a Pod.
pub(super) fn pod<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    decode::<OnlyOurs, IgnoredAny, IgnoredAny, IgnoredAny, D>(from)
}

/// The metadata of a Service.
pub(super) fn service<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    decode::<OnlyOurs, Vec<OwnerReference>, IgnoredAny, Newest, D>(from)
}

/// The metadata of a slice.
pub(super) fn slice<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    decode::<Texts, Vec<OwnerReference>, Vec<String>, Newest, D>(from)
}

/// Of an object of which only name and version matter.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Name {
        name: Option<String>,
        resource_version: Option<String>,
    }
    let Name { name, resource_version } = Option::<Name>::deserialize(from)?.unwrap_or_default();
    Ok(ObjectMeta { name, resource_version, ..ObjectMeta::default() })
}

/// Of a Node also the label of its zone: it has dozens more.
pub(super) fn node<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Labels {
        #[serde(rename = "topology.kubernetes.io/zone")]
        zone: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Node {
        name: Option<String>,
        resource_version: Option<String>,
        labels: Option<Labels>,
    }
    let Node { name, resource_version, labels } = Option::<Node>::deserialize(from)?.unwrap_or_default();
    let zone = labels.and_then(|labels| labels.zone);
    let labels = zone.map(|zone| BTreeMap::from([(LABEL_ZONE.to_owned(), zone)]));
    Ok(ObjectMeta { name, resource_version, labels, ..ObjectMeta::default() })
}

/// Metadata with annotations `A`, owners `O`, finalizers `F` and managed fields `M`, where [`IgnoredAny`]
/// stands for "not read".
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<A, O, F, M> {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<Texts>,
    annotations: Option<A>,
    owner_references: Option<O>,
    finalizers: Option<F>,
    managed_fields: Option<M>,
}

fn decode<'de, A, O, F, M, D>(from: D) -> Result<ObjectMeta, D::Error>
where
    A: Deserialize<'de> + Keep<BTreeMap<String, String>>,
    O: Deserialize<'de> + Keep<Vec<OwnerReference>>,
    F: Deserialize<'de> + Keep<Vec<String>>,
    M: Deserialize<'de> + Keep<Vec<ManagedFieldsEntry>>,
    D: Deserializer<'de>,
{
    let Some(meta) = Option::<Meta<A, O, F, M>>::deserialize(from)? else {
        return Ok(ObjectMeta::default());
    };
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels.and_then(Keep::keep),
        annotations: meta.annotations.and_then(Keep::keep),
        owner_references: meta.owner_references.and_then(Keep::keep),
        finalizers: meta.finalizers.and_then(Keep::keep),
        managed_fields: meta.managed_fields.and_then(Keep::keep),
        ..ObjectMeta::default()
    })
}

/// Labels or annotations, where a null is as good as nothing.
type Texts = BTreeMap<String, Option<String>>;

/// What is left of a field once it is decoded.
trait Keep<T> {
    fn keep(self) -> Option<T>;
}

impl<T> Keep<T> for T {
    fn keep(self) -> Option<T> {
        Some(self)
    }
}

impl Keep<BTreeMap<String, String>> for Texts {
    fn keep(self) -> Option<BTreeMap<String, String>> {
        Some(self.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl Keep<BTreeMap<String, String>> for OnlyOurs {
    fn keep(self) -> Option<BTreeMap<String, String>> {
        Some(self.0)
    }
}

impl Keep<Vec<ManagedFieldsEntry>> for Newest {
    fn keep(self) -> Option<Vec<ManagedFieldsEntry>> {
        self.0.map(|entry| vec![entry])
    }
}

impl Keep<Vec<OwnerReference>> for IgnoredAny {
    fn keep(self) -> Option<Vec<OwnerReference>> {
        None
    }
}

impl Keep<Vec<String>> for IgnoredAny {
    fn keep(self) -> Option<Vec<String>> {
        None
    }
}

impl Keep<Vec<ManagedFieldsEntry>> for IgnoredAny {
    fn keep(self) -> Option<Vec<ManagedFieldsEntry>> {
        None
    }
}

/// The annotations whose names are ours. Others can be long (a whole manifest, for instance): they are
/// skipped without being copied.
struct OnlyOurs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for OnlyOurs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = OnlyOurs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OnlyOurs, A::Error> {
                let mut ours = BTreeMap::new();
                while let Some(Name(name)) = map.next_key()? {
                    if let Some(name) = name {
                        ours.extend(map.next_value::<Option<String>>()?.map(|value| (name, value)));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(OnlyOurs(ours))
            }
        }

        from.deserialize_map(Map)
    }
}

/// The name of an annotation, if it is ours.
struct Name(Option<String>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an annotation's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.starts_with(PREFIX).then(|| name.to_owned())))
            }
        }

        from.deserialize_str(Text)
    }
}

/// The newest entry of managedFields. Its times are whole seconds: of two equally new ones it is the one that
/// is not ours, since our own write would have been recognised by its version.
struct Newest(Option<ManagedFieldsEntry>);

impl<'de> Deserialize<'de> for Newest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Entry {
            manager: Option<String>,
            time: Option<Time>,
        }

        impl Entry {
            fn rank(&self) -> (Option<&Time>, bool) {
                (self.time.as_ref(), self.manager.as_deref() != Some(FIELD_MANAGER))
            }
        }

        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Newest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("managed fields")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Newest, A::Error> {
                let mut newest: Option<Entry> = None;
                while let Some(entry) = list.next_element::<Entry>()? {
                    if newest.as_ref().is_none_or(|newest| entry.rank() >= newest.rank()) {
                        newest = Some(entry);
                    }
                }
                Ok(Newest(newest.map(|Entry { manager, time }| ManagedFieldsEntry {
                    manager,
                    time,
                    ..ManagedFieldsEntry::default()
                })))
            }
        }

        from.deserialize_seq(List)
    }
}
