//! Pods as compact rows, and what the machine is told of them.
//!
//! Every watched pod is kept, also those of no Service, so that a Service that opts in later is decided from
//! the same view. A row therefore has to be small: texts that pods share are stored once.

mod ground;
mod intern;
mod reach;
mod selector;

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use machine::{Departure, Event, Member, Pod, Reach, Timestamp, Version};

pub use ground::Ground;
pub use intern::Interner;
pub use reach::View;
pub use selector::Selector;

pub(crate) use ground::Grounds;
pub(crate) use reach::{ResolvedPort, resolve};

use crate::annotations::{self, Invalid};
use crate::kinds::{ContainerLite, Family, PodLite, timestamp, version};
use crate::names::{Digest, LABEL_REVISION_HASH, LABEL_TEMPLATE_HASH, LABEL_ZONE};

/// A pod, as last seen: at most 400 bytes of memory at six labels, all included.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "four facts that are independent of each other")]
pub struct PodRow {
    /// Who it is.
    pub pod: Pod,
    /// Where it lives.
    pub namespace: Arc<str>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The object's version.
    pub version: Version,
    /// Seconds since 1970, as Kubernetes has them: half the size of a time.
    created: u32,
    /// Likewise: when its Ready condition last changed; if it has none, when it was created.
    ready_changed: u32,
    /// Higher leads first.
    pub priority: i32,
    /// Phase Running and condition Ready True.
    pub ready: bool,
    /// Its containers are done: phase Succeeded or Failed.
    pub finished: bool,
    /// It says that it never leads.
    pub excluded: bool,
    /// What of its annotations could not be understood, if anything.
    pub invalid: Option<Arc<Vec<Invalid>>>,
    /// Microseconds since 1970, never 0: that takes eight bytes less than an optional time.
    terminated: Option<NonZeroU64>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    /// `key=value`, sorted.
    labels: Arc<[Arc<str>]>,
    /// Sorted; one for each name and protocol: the one that Kubernetes would find first.
    ports: Arc<[NamedPort]>,
}

/// A named port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    name: Arc<str>,
    protocol: Arc<str>,
    /// 0: declared, but no valid number.
    port: u16,
}

impl PodRow {
    /// The row of a pod; none if it lacks a name or a UID, which no pod of an API server does.
    #[must_use]
    pub fn new(lite: &PodLite, interner: &mut Interner) -> Option<Self> {
        let PodLite { metadata, spec, status } = lite;
        let pod = Pod::new(metadata.name.as_deref()?, metadata.uid.as_deref()?);
        let asked = metadata.annotations.as_ref().map(annotations::parse_pod).unwrap_or_default();
        let created = metadata.creation_timestamp.as_ref().map(seconds).unwrap_or_default();
        let ready = status.ready_condition();
        let changed = ready.and_then(|ready| ready.last_transition_time.as_ref());
        let phase = status.phase.as_deref().unwrap_or_default();
        let (v4, v6) = addresses(lite);
        Some(Self {
            pod,
            namespace: interner.text(metadata.namespace.as_deref().unwrap_or_default()),
            node: spec.node_name.as_deref().filter(|node| !node.is_empty()).map(|node| interner.text(node)),
            version: version(metadata),
            created,
            ready_changed: changed.map_or(created, seconds),
            terminated: terminated(lite).map(|at| NonZeroU64::new(at.0).unwrap_or(NonZeroU64::MIN)),
            priority: asked.priority,
            ready: phase == "Running" && ready.is_some_and(|ready| ready.status.as_deref() == Some("True")),
            finished: phase == "Succeeded" || phase == "Failed",
            excluded: asked.excluded,
            invalid: (!asked.invalid.is_empty()).then(|| Arc::new(asked.invalid)),
            v4,
            v6,
            labels: labels(lite, interner),
            ports: named_ports(lite, interner),
        })
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        Timestamp::from_secs(self.created.into())
    }

    /// When its Ready condition last changed, to the second; if it has none, when it was created.
    #[must_use]
    pub fn ready_changed(&self) -> Timestamp {
        Timestamp::from_secs(self.ready_changed.into())
    }

    /// When it was told to terminate: its deletion timestamp less the grace period, to the second. None: it
    /// was not.
    #[must_use]
    pub fn terminated(&self) -> Option<Timestamp> {
        self.terminated.map(|micros| Timestamp(micros.get()))
    }

    /// Its labels, each as `key=value`, sorted.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find_map(|label| label.strip_prefix(key)?.strip_prefix('='))
    }

    /// The zone it runs in, as far as its own label says.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.label(LABEL_ZONE)
    }

    /// Its address in a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Whether it is a member of the Service with this selector, and if not, in which way not.
    ///
    /// # Errors
    /// How it departed, for a pod that was a member before.
    pub fn membership(&self, selector: &Selector) -> Result<(), Departure> {
        if !selector.matches(self) {
            Err(Departure::Relabelled)
        } else if self.finished {
            Err(Departure::Finished)
        } else {
            Ok(())
        }
    }

    /// What the machine is told of it, as a member of the viewed Service, on this ground.
    #[must_use]
    pub fn member(&self, view: &View, ground: &Ground) -> Member {
        Member {
            pod: self.pod.clone(),
            version: self.version,
            created: self.created(),
            ready: self.ready,
            ready_changed: self.ready_changed(),
            terminating: self.terminated.is_some(),
            excluded: self.excluded,
            priority: self.priority,
            place: self.place(ground, &view.preferred),
            site: ground.site,
            revision: self.revision(),
            reach: self.reach(view, view.source.first_family()),
        }
    }

    /// Where it can be reached in a family.
    #[must_use]
    pub fn reach(&self, view: &View, family: Family) -> Reach {
        reach::reach(self, view, family)
    }

    /// The first of the Service's ports that does not resolve on it.
    #[must_use]
    pub(crate) fn unresolved<'a>(&self, view: &'a View) -> Option<&'a ServicePort> {
        reach::unresolved(self, view)
    }

    /// A digest of its revision label; 0 if it has none.
    fn revision(&self) -> u64 {
        let label = self.label(LABEL_TEMPLATE_HASH).or_else(|| self.label(LABEL_REVISION_HASH));
        label.map_or(0, |revision| {
            let mut digest = Digest::new();
            digest.bytes(revision.as_bytes());
            digest.value().max(1)
        })
    }

    /// The number of the port with this name, as Kubernetes resolves it; 0 if it is declared with none.
    fn named_port(&self, name: &str, protocol: &str) -> Option<u16> {
        let order = |port: &NamedPort| (&*port.name, &*port.protocol).cmp(&(name, protocol));
        self.ports.binary_search_by(order).ok().map(|found| self.ports[found].port)
    }
}

/// A pod to be found by its name. The name is the row's own: with ten thousand pods a second copy of each is half a
/// megabyte.
#[derive(Clone, Debug)]
pub struct ByName(Pod);

impl From<Pod> for ByName {
    fn from(pod: Pod) -> Self {
        Self(pod)
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}

/// The event that tells the machine of a member, given what it was told before; none if nothing changed that
/// matters.
///
/// A newer version alone is no change: the machine needs none, since its facts are as new as the watch, whose
/// horizon it is told with every publication.
#[must_use]
pub fn event_for(old: Option<&Member>, new: Member) -> Option<Event> {
    let old = old.filter(|old| old.pod == new.pod);
    if old.is_some_and(|old| Member { version: new.version, ..old.clone() } == new) {
        return None;
    }
    let (was_terminating, was_ready) = old.map_or((false, None), |old| (old.terminating, Some(old.ready)));
    Some(if new.terminating && !was_terminating {
        Event::PodTerminating { member: new }
    } else if was_ready == Some(new.ready) {
        Event::PodChanged { member: new }
    } else if new.ready {
        Event::PodReady { member: new }
    } else {
        Event::PodUnready { member: new }
    })
}

/// Times before 1970 and after 2106 are none that an API server gives.
fn seconds(time: &Time) -> u32 {
    u32::try_from(timestamp(time.0).as_secs()).unwrap_or(u32::MAX)
}

fn terminated(lite: &PodLite) -> Option<Timestamp> {
    let due = timestamp(lite.metadata.deletion_timestamp.as_ref()?.0);
    let grace = lite.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let grace = u64::try_from(grace).unwrap_or_default().saturating_mul(1_000_000);
    Some(Timestamp(due.0.saturating_sub(grace)))
}

fn addresses(lite: &PodLite) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let all =
        lite.status.pod_ips.iter().filter_map(|ip| ip.ip.as_deref()).chain(lite.status.pod_ip.as_deref());
    let (mut v4, mut v6) = (None, None);
    for address in all.filter_map(|text| text.parse().ok()) {
        match address {
            IpAddr::V4(address) => v4 = v4.or(Some(address)),
            IpAddr::V6(address) => v6 = v6.or(Some(address)),
        }
    }
    (v4, v6)
}

fn labels(lite: &PodLite, interner: &mut Interner) -> Arc<[Arc<str>]> {
    let mut labels: Vec<_> =
        lite.metadata.labels.iter().flatten().map(|(key, value)| interner.label(key, value)).collect();
    labels.sort_unstable();
    interner.labels(&labels)
}

/// Kubernetes looks through the containers in order, then through the sidecars, and takes the first port with
/// the name and the protocol. So the first of each is all that is kept.
fn named_ports(lite: &PodLite, interner: &mut Interner) -> Arc<[NamedPort]> {
    let sidecar = |container: &&ContainerLite| container.restart_policy.as_deref() == Some("Always");
    let containers = lite.spec.containers.iter().chain(lite.spec.init_containers.iter().filter(sidecar));
    let declared = containers.flat_map(|container| &container.ports);
    let mut ports = Vec::new();
    for port in declared {
        let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        ports.push(NamedPort {
            name: interner.text(name),
            protocol: interner.text(reach::protocol(port.protocol.as_deref())),
            port: u16::try_from(port.container_port).unwrap_or_default(),
        });
    }
    // The sort is stable, so that the first one declared stays the first of its kind.
    ports.sort_by(|a, b| (&a.name, &a.protocol).cmp(&(&b.name, &b.protocol)));
    ports.dedup_by(|later, first| (&later.name, &later.protocol) == (&first.name, &first.protocol));
    interner.ports(&ports)
}

#[cfg(test)]
mod tests;
