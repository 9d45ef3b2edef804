//! What happens to the leader Service and its slices: asked of what compares them with what they should be.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::Obstruction;

use super::Prospect;
use super::heritage::Heritage;
use crate::annotations::{ENABLED, LEADER_SERVICE_NAME, PREFIX};
use crate::cli::doctor::finding::Evidence;
use crate::kinds::{Family, SliceLite};
use crate::names::leader_slice;
use crate::rows::View;
use crate::service::{Change, Claim, Place, Stale, claim_service, claim_slice, difference};

/// Somebody else's object where ours belongs: nothing is done for this Service.
pub(super) fn refused(heritage: &Heritage<'_>) -> Option<Prospect> {
    let look = heritage.look;
    let foreign = heritage.slices.iter().find_map(|slice| {
        let view = look.view.as_ref().ok()?;
        let family = view
            .source
            .families
            .iter()
            .find(|family| slice.metadata.name.as_deref() == Some(&*name(heritage, view, **family)))?;
        let place = place(heritage, view);
        match claim_slice(slice, &place, *family, leader_uid(heritage)) {
            Claim::Foreign(why) => Some(format!("EndpointSlice {}: {why}", object_name(slice))),
            Claim::Ours | Claim::Adoptable | Claim::Stale(_) => None,
        }
    });
    let obstruction = match &look.obstruction {
        Some(Obstruction::Service(words) | Obstruction::Slice(words)) => Some(words.to_string()),
        None => foreign,
    };
    obstruction.map(|words| {
        Prospect::open(
            "foreign-object",
            "it is in the leader Service's place, and is left alone: this Service gets no leader",
            vec![Evidence::new(heritage.leader_object(), "metadata", words)],
            format!(
                "rename it, or name another leader Service: kubectl annotate service {} -n {} {LEADER_SERVICE_NAME}=...",
                look.key.1, look.key.0
            ),
        )
    })
}

/// What becomes of the leader Service.
pub(super) fn leader_service(heritage: &Heritage<'_>) -> Vec<Prospect> {
    let look = heritage.look;
    let Ok(view) = &look.view else { return Vec::new() };
    let object = || heritage.leader_object();
    let Some(leader) = heritage.leader else {
        let kind =
            heritage.source.and_then(|source| source.spec.kind.clone()).unwrap_or_else(|| "ClusterIP".into());
        let evidence = vec![Evidence::new(heritage.object(), "spec.type", kind)];
        let why =
            format!("there is no leader Service {}: it is made, of type ClusterIP", look.leader_service);
        return vec![Prospect::settled("new-leader-service", why, evidence)];
    };
    let address = leader.spec.cluster_ip.clone().unwrap_or_default();
    let evidence = vec![Evidence::new(object(), "spec.clusterIP", address)];
    let place = place(heritage, view);
    let mut prospects = vec![match claim_service(leader, &place) {
        Claim::Ours => {
            let instance = heritage.instance().unwrap_or_default();
            Prospect::settled(
                "taken-over",
                format!("it belongs to the installation {instance} already"),
                evidence,
            )
        }
        Claim::Adoptable => {
            let why = "it is adopted in place: same name, same address, same UID";
            Prospect::settled("adopted", why, evidence)
        }
        Claim::Stale(why) => {
            let families = leader.spec.ip_families.join(",");
            return vec![made_anew(why, object(), &leader.metadata, ("spec.ipFamilies", &families))];
        }
        // Told by `refused`.
        Claim::Foreign(_) => return Vec::new(),
    }];
    prospects.extend(copied(heritage));
    prospects.extend(respecified(heritage, &place));
    prospects
}

/// Annotations that the Go program copied, for whoever else acts on them.
fn copied(heritage: &Heritage<'_>) -> Option<Prospect> {
    let annotations = heritage.whole?.metadata.annotations.as_ref()?;
    let others = annotations.iter().filter(|(key, _)| !key.starts_with(PREFIX));
    let evidence: Vec<_> = others
        .clone()
        .map(|(key, value)| {
            // A whole manifest helps nobody who reads.
            let value = crate::annotations::cut(value, 64);
            Evidence::new(heritage.leader_object(), format!("metadata.annotations[{key}]"), value)
        })
        .collect();
    let keys: Vec<_> = others.map(|(key, _)| format!("{key}-")).collect();
    (!keys.is_empty()).then(|| {
        Prospect::open(
            "copied-annotations",
            "the Go program copied all annotations of the Service, and cloud controllers, external-dns or scrapers may act on \
             them twice: this one copies none, and leaves these, for they may be somebody's own",
            evidence,
            format!(
                "kubectl annotate service {} -n {} {}, unless they are meant for it",
                heritage.look.leader_service,
                heritage.look.key.0,
                keys.join(" ")
            ),
        )
    })
}

/// What is changed about its spec, and the opt-in that was copied.
fn respecified(heritage: &Heritage<'_>, place: &Place<'_>) -> Vec<Prospect> {
    let Some((leader, patch)) =
        heritage.leader.and_then(|leader| Some((leader, difference(leader, place, None)?)))
    else {
        return Vec::new();
    };
    let object = || heritage.leader_object();
    let (spec, mut prospects) = (&leader.spec, Vec::new());
    if patch.metadata.annotations.contains_key(ENABLED) {
        let evidence = vec![Evidence::new(object(), format!("metadata.annotations[{ENABLED}]"), "true")];
        let why = "it was copied, and is removed: a leader Service opts in to nothing";
        prospects.push(Prospect::settled("copied-opt-in", why, evidence));
    }
    if let Change::Set(to) = patch.spec.kind {
        let kind = spec.kind.clone().unwrap_or_default();
        let mut evidence = vec![Evidence::new(object(), "spec.type", kind)];
        for port in &spec.ports {
            let node_port = port.node_port.filter(|port| *port != 0);
            let field = format!("spec.ports[{}].nodePort", port.port);
            evidence.extend(node_port.map(|node_port| Evidence::new(object(), field, node_port.to_string())));
        }
        prospects.push(Prospect::open(
            "node-ports-removed",
            format!("its type becomes {to}: its node ports go, and its load balancer if it has one"),
            evidence,
            "see that no client uses them; one that does needs a Service of its own",
        ));
    }
    if patch.spec.selector != Change::Keep {
        let selector: Vec<_> = spec.selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        prospects.push(Prospect::open(
            "selector-removed",
            "Kubernetes publishes all pods that it matches beside the leader: it is removed",
            vec![Evidence::new(object(), "spec.selector", selector.join(","))],
            "find out who set it: it will be removed whenever it comes back",
        ));
    }
    let fields = [
        ("spec.ports", patch.spec.ports != Change::Keep && patch.spec.kind == Change::Keep),
        ("spec.ipFamilyPolicy", patch.spec.ip_family_policy != Change::Keep),
        ("spec.sessionAffinity", patch.spec.session_affinity != Change::Keep),
        ("spec.sessionAffinityConfig", patch.spec.session_affinity_config != Change::Keep),
        ("spec.internalTrafficPolicy", patch.spec.internal_traffic_policy != Change::Keep),
    ];
    let evidence: Vec<_> = fields
        .into_iter()
        .filter(|(_, changes)| *changes)
        .map(|(field, _)| Evidence::new(object(), field, "not as the Service has it"))
        .collect();
    if !evidence.is_empty() {
        let why = "it is brought in line with the Service";
        prospects.push(Prospect::settled("brought-in-line", why, evidence));
    }
    prospects
}

/// What becomes of the slices, but for whom they show.
pub(super) fn slices(heritage: &Heritage<'_>) -> Vec<Prospect> {
    let Ok(view) = &heritage.look.view else { return Vec::new() };
    let place = place(heritage, view);
    let ours: Vec<_> =
        view.source.families.iter().map(|family| (*family, name(heritage, view, *family))).collect();
    let mut prospects = Vec::new();
    for (family, name) in &ours {
        let slice = heritage.slices.iter().find(|slice| slice.metadata.name.as_ref() == Some(name));
        match slice.map(|slice| (slice, claim_slice(slice, &place, *family, leader_uid(heritage)))) {
            None if *family != view.source.first_family() => {
                let why = format!(
                    "the Service has {} addresses as well: the leader gets a slice for them",
                    family.as_str()
                );
                let families: Vec<_> = view.source.families.iter().map(|family| family.as_str()).collect();
                let evidence = vec![Evidence::new(heritage.object(), "spec.ipFamilies", families.join(","))];
                prospects.push(Prospect::settled("second-family", why, evidence));
            }
            Some((slice, Claim::Stale(why))) => {
                let family = ("addressType", &*slice.address_type);
                prospects.push(made_anew(why, format!("endpointslice/{name}"), &slice.metadata, family));
            }
            None | Some((_, Claim::Ours | Claim::Adoptable | Claim::Foreign(_))) => {}
        }
    }
    let others = heritage
        .slices
        .iter()
        .filter(|slice| !ours.iter().any(|(_, name)| slice.metadata.name.as_ref() == Some(name)));
    prospects.extend(others.map(|slice| other(heritage, slice)));
    prospects
}

/// A slice that is not ours: its endpoints get traffic beside the leader.
fn other(heritage: &Heritage<'_>, slice: &SliceLite) -> Prospect {
    let name = object_name(slice);
    let evidence = vec![Evidence::new(
        format!("endpointslice/{name}"),
        "endpoints",
        format!("{}, made by {}", slice.endpoints.len(), slice.manager().unwrap_or("nobody knows whom")),
    )];
    let owners = slice.metadata.owner_references.iter().flatten();
    let owned = leader_uid(heritage).is_some_and(|uid| owners.clone().any(|owner| owner.uid == uid));
    if owned {
        let why = "it routes the leader Service to other pods: it is deleted";
        return Prospect::open(
            "other-slice",
            why,
            evidence,
            "see why it is there: the leader Service had a selector once",
        );
    }
    let remedy =
        format!("kubectl delete endpointslice {name} -n {}, and whatever makes it", heritage.look.key.0);
    Prospect::open(
        "other-slice",
        "it routes the leader Service to other pods, and is left alone",
        evidence,
        remedy,
    )
}

/// An object that no write can make right.
fn made_anew(why: Stale, object: String, metadata: &ObjectMeta, family: (&str, &str)) -> Prospect {
    let owners = metadata.owner_references.iter().flatten();
    let owners: Vec<_> =
        owners.map(|owner| format!("{} {} ({})", owner.kind, owner.name, owner.uid)).collect();
    let owners = owners.join(", ");
    let (words, (field, value)) = match why {
        Stale::Owner => (
            "it is owned by a former Service of that name, and Kubernetes is about to delete it",
            ("metadata.ownerReferences", &*owners),
        ),
        Stale::Family => ("it is of another IP family than the Service, and that never changes", family),
        Stale::Headless => ("it has no address, and never gets one", ("spec.clusterIP", "None")),
    };
    Prospect::open(
        "made-anew",
        format!("{words}: it is deleted and made anew"),
        vec![Evidence::new(object, field, value)],
        "take over when clients can bear refused connections for a moment",
    )
}

fn place<'a>(heritage: &'a Heritage<'_>, view: &'a View) -> Place<'a> {
    let instance = heritage.instance().unwrap_or_default();
    Place { view, leader_service: &heritage.look.leader_service, instance }
}

/// The name of our slice of this family.
fn name(heritage: &Heritage<'_>, view: &View, family: Family) -> String {
    leader_slice(&heritage.look.leader_service, family, view.source.first_family())
}

fn object_name(slice: &SliceLite) -> &str {
    slice.metadata.name.as_deref().unwrap_or_default()
}

fn leader_uid<'a>(heritage: &'a Heritage<'_>) -> Option<&'a str> {
    heritage.leader.and_then(|leader| leader.metadata.uid.as_deref())
}
