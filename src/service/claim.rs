//! Whose an object is that stands where one of ours belongs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Place, Source};
use crate::annotations::{self, INSTANCE};
use crate::kinds::{Family, ServiceLite, SliceLite};
use crate::names::{self, CONTROLLER, LABEL_MANAGED_BY, LABEL_SOURCE_SERVICE};

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Ours, though perhaps not as it should be.
    Ours,
    /// Ours, but no write can make it right: delete it by UID and version, and create it anew.
    Stale(Stale),
    /// Made for the same source Service by the Go zen-lead, or left without an owner: write to it, and it is
    /// ours.
    Adoptable,
    /// Somebody else's, and why: never touched.
    Foreign(String),
}

/// Why an object of ours has to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Its owner is a former Service of the source's or leader Service's name: the garbage collector is
    /// coming for it.
    Owner,
    /// It is of another IP family, which never changes.
    Family,
    /// It has no cluster IP, and never gets one.
    Headless,
}

/// Whose the Service is that has the leader Service's name.
#[must_use]
pub fn claim_service(observed: &ServiceLite, place: &Place<'_>) -> Claim {
    let claim = claim(&observed.metadata, place, Kind::LeaderService);
    let first = observed.spec.ip_families.first().and_then(|text| Family::parse(text));
    if observed.spec.cluster_ip.as_deref() == Some("None") {
        claim.unless_kept(Stale::Headless)
    } else if first.is_some_and(|first| first != place.source().first_family()) {
        claim.unless_kept(Stale::Family)
    } else {
        claim
    }
}

/// Whose the slice is that has a leader slice's name. The leader Service's UID, if it is known, tells slices
/// of the present one from those of a former one, as the Go zen-lead made them.
#[must_use]
pub fn claim_slice(
    observed: &SliceLite,
    place: &Place<'_>,
    family: Family,
    leader_uid: Option<&str>,
) -> Claim {
    let claim = claim(&observed.metadata, place, Kind::Slice { leader_uid });
    if observed.address_type == family.as_str() { claim } else { claim.unless_kept(Stale::Family) }
}

/// Whether a Service was made by zen-lead, of whatever installation: it never is a source, even if it is
/// annotated as one. The Go zen-lead copied annotations, `enabled` included.
#[must_use]
pub fn is_generated(service: &ServiceLite) -> bool {
    let metadata = &service.metadata;
    label(metadata, LABEL_SOURCE_SERVICE).is_some() || annotation(metadata, INSTANCE).is_some()
}

/// Whether a Service asks for a leader Service or a leader slice of this name.
#[must_use]
pub fn asks_for(service: &ServiceLite, is_service: bool, name: &str) -> bool {
    let ServiceLite { metadata, .. } = service;
    let Some(annotations) = metadata.annotations.as_ref().filter(|all| annotations::opts_in(all)) else {
        return false;
    };
    if metadata.deletion_timestamp.is_some() || is_generated(service) {
        return false;
    }
    let Ok(source) = Source::new(service) else { return false };
    let asked = annotations::parse(annotations, &source.name).leader_service_name;
    let leader = asked.map_or_else(|| names::leader_service(&source.name), |asked| asked.to_string());
    if is_service {
        return leader == name;
    }
    source.families.iter().any(|family| names::leader_slice(&leader, *family, source.first_family()) == name)
}

impl Claim {
    /// Stale instead of ours or adoptable.
    fn unless_kept(self, stale: Stale) -> Self {
        match self {
            Self::Ours | Self::Adoptable => Self::Stale(stale),
            Self::Stale(_) | Self::Foreign(_) => self,
        }
    }
}

/// Who owns an object, as far as it concerns us.
enum Owner {
    /// The source Service.
    Source,
    /// A Service that the leader Service's name was or is (slices of the Go zen-lead).
    Leader,
    /// A Service of the source's or leader Service's name that is no more.
    Former,
    Nobody,
    SomebodyElse(String),
}

/// What an object is, and so who may own it.
#[derive(Clone, Copy)]
enum Kind<'a> {
    LeaderService,
    /// The Go zen-lead made the leader Service its owner. That one's UID, if it is known.
    Slice {
        leader_uid: Option<&'a str>,
    },
}

fn claim(observed: &ObjectMeta, place: &Place<'_>, kind: Kind<'_>) -> Claim {
    let ours = match annotation(observed, INSTANCE) {
        Some(instance) if instance != place.instance => {
            return Claim::Foreign(format!("it belongs to the zen-lead installation {instance}"));
        }
        instance => instance.is_some(),
    };
    let owner = owner(observed, place, kind);
    // Instance and owner say it; labels can be edited.
    if ours && matches!(owner, Owner::Source) {
        return Claim::Ours;
    }
    let source = label(observed, LABEL_SOURCE_SERVICE);
    if let Some(other) = source.filter(|source| *source != &*place.source().name) {
        return Claim::Foreign(format!("it was made for the Service {other}"));
    }
    let labelled = source.is_some() && label(observed, LABEL_MANAGED_BY) == Some(CONTROLLER);
    if !ours && !labelled {
        return Claim::Foreign("it was not made by zen-lead".to_owned());
    }
    match owner {
        Owner::Source | Owner::Leader | Owner::Nobody => Claim::Adoptable,
        Owner::Former => Claim::Stale(Stale::Owner),
        Owner::SomebodyElse(who) => Claim::Foreign(format!("it is owned by {who}")),
    }
}

fn owner(observed: &ObjectMeta, place: &Place<'_>, kind: Kind<'_>) -> Owner {
    let owners = observed.owner_references.as_deref().unwrap_or_default();
    let source = place.source();
    if owners.iter().any(|owner| owner.uid == *source.uid) {
        return Owner::Source;
    }
    let controller = owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first());
    let Some(owner) = controller else { return Owner::Nobody };
    let is_service = |owner: &OwnerReference, name: &str| owner.kind == "Service" && owner.name == name;
    if is_service(owner, &source.name) {
        Owner::Former
    } else if let Kind::Slice { leader_uid } = kind
        && is_service(owner, place.leader_service)
    {
        if leader_uid.is_none_or(|uid| uid == owner.uid) { Owner::Leader } else { Owner::Former }
    } else {
        Owner::SomebodyElse(format!("{} {}", owner.kind, owner.name))
    }
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
