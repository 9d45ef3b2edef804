//! What the Go program made and has forgotten: under a former name, or for a Service that no longer opts in.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Prospect;
use crate::annotations::INSTANCE;
use crate::cli::doctor::finding::Evidence;
use crate::cli::survey::{Facts, Key, key};
use crate::names::{LABEL_SERVICE_NAME, LABEL_SOURCE_SERVICE};
use crate::service::asks_for;

/// Objects of one name that nobody asks for.
#[derive(Default)]
struct Orphan {
    source: String,
    objects: Vec<&'static str>,
    /// Removed by this controller: there is a Service to say that it does not ask for them.
    goes: bool,
}

/// What nobody asks for; given a name, of what was made for the Service of that name.
pub(super) fn find(facts: &Facts, only: Option<&str>) -> Vec<Prospect> {
    let only = only.map(|name| name.rsplit_once('/').map_or(name, |(_, name)| name));
    let mut orphans = BTreeMap::<Key, Orphan>::new();
    let services = facts.services.values().map(|service| (key(service), &service.metadata, true));
    let slices = facts.slices.values().map(|slice| (key(slice), &slice.metadata, false));
    for ((namespace, name), metadata, is_service) in services.chain(slices) {
        let Some(source) = left_for(metadata).filter(|source| only.is_none_or(|only| only == *source)) else {
            continue;
        };
        let mut neighbours = facts.services.iter().filter(|((space, _), _)| *space == namespace);
        if neighbours.any(|(_, service)| asks_for(service, is_service, &name)) {
            continue;
        }
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let goes = facts.services.contains_key(&(namespace.clone(), source.to_owned()))
            && owners.iter().any(|owner| owner.kind == "Service");
        // A slice belongs to its Service, whose name it has.
        let service = label(metadata, LABEL_SERVICE_NAME).filter(|_| !is_service).map_or(name, str::to_owned);
        let orphan = orphans.entry((namespace, service)).or_default();
        source.clone_into(&mut orphan.source);
        orphan.objects.push(if is_service { "service" } else { "endpointslice" });
        orphan.goes = goes;
    }
    orphans.into_iter().map(|(key, orphan)| orphan.prospect(&key)).collect()
}

impl Orphan {
    fn prospect(&self, (namespace, name): &Key) -> Prospect {
        let field = format!("metadata.labels[{LABEL_SOURCE_SERVICE}]");
        let evidence = |object: &&str| {
            Evidence::new(format!("{object}/{name}"), &*field, format!("{namespace}/{}", self.source))
        };
        let evidence = self.objects.iter().map(evidence).collect();
        if self.goes {
            Prospect::open(
                "forgotten",
                format!("Service {} does not ask for it (any more): it is removed", self.source),
                evidence,
                format!(
                    "see that no client uses {name}.{namespace}; if one does, name it in zen-lead.io/leader-service-name"
                ),
            )
        } else {
            Prospect::open(
                "forgotten",
                format!(
                    "there is no Service {} (any more), and it is left alone: it routes to whoever led last",
                    self.source
                ),
                evidence,
                format!(
                    "kubectl delete service,endpointslice -n {namespace} -l {LABEL_SOURCE_SERVICE}={}",
                    self.source
                ),
            )
        }
    }
}

/// The Service that the Go program made this for.
fn left_for(metadata: &ObjectMeta) -> Option<&str> {
    let is_ours = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(INSTANCE));
    let goes = metadata.deletion_timestamp.is_some();
    label(metadata, LABEL_SOURCE_SERVICE).filter(|_| !is_ours && !goes)
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}
