//! Where a pod can be reached for a Service: its address, and the Service's ports as they resolve on it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machine::{Endpoint, Reach};

use super::PodRow;
use crate::annotations::{PortsMode, Preferred, Settings};
use crate::kinds::Family;
use crate::service::Source;
use crate::slice::Content;

/// A source Service and its settings, as far as they decide where a pod can be reached and how well it is placed.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The Service.
    pub source: Arc<Source>,
    /// What to do about a port that does not resolve.
    pub ports_mode: PortsMode,
    /// Where the leader had better run.
    pub preferred: Preferred,
}

impl View {
    /// The Service with these settings.
    #[must_use]
    pub fn new(source: Source, settings: &Settings) -> Self {
        let preferred = settings.preferred.clone();
        Self { source: Arc::new(source), ports_mode: settings.ports_mode, preferred }
    }
}

/// A port of a Service as it resolves on a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedPort<'a> {
    pub(crate) name: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) port: u16,
    pub(crate) app_protocol: Option<&'a str>,
}

pub(super) fn reach(row: &PodRow, view: &View, family: Family) -> Reach {
    let Some(address) = row.address(family) else { return Reach::NoAddress };
    match resolve(row, view) {
        Ok(ports) => {
            let content = Content::of_row(row, ports).digest();
            Reach::At(Endpoint { address, content })
        }
        Err(Unresolved { named }) => Reach::PortUnresolved { named },
    }
}

/// A port does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// It is a named one.
    pub(crate) named: bool,
}

/// The Service's ports on this pod: all of them, or those that resolve, as the Service wishes.
///
/// # Errors
/// The first port that does not resolve. If the Service is content with some, that none does.
pub(crate) fn resolve<'a>(row: &'a PodRow, view: &'a View) -> Result<Vec<ResolvedPort<'a>>, Unresolved> {
    let mut resolved = Vec::with_capacity(view.source.ports.len());
    let mut first_unresolved = None;
    for wanted in &view.source.ports {
        match number(row, wanted) {
            Ok(port) => resolved.push(ResolvedPort {
                name: wanted.name.as_deref().unwrap_or_default(),
                protocol: protocol(wanted.protocol.as_deref()),
                port,
                app_protocol: wanted.app_protocol.as_deref(),
            }),
            Err(unresolved) => {
                first_unresolved.get_or_insert(unresolved);
            }
        }
    }
    match (first_unresolved, view.ports_mode) {
        (Some(unresolved), PortsMode::All) => Err(unresolved),
        (Some(unresolved), PortsMode::Available) if resolved.is_empty() => Err(unresolved),
        (Some(_), PortsMode::Available) | (None, PortsMode::All | PortsMode::Available) => Ok(resolved),
    }
}

/// The first of the Service's ports that does not resolve on this pod.
pub(super) fn unresolved<'a>(row: &PodRow, view: &'a View) -> Option<&'a ServicePort> {
    view.source.ports.iter().find(|port| number(row, port).is_err())
}

/// The number of a Service's port on this pod. An absent targetPort is the port itself, a name is looked up,
/// and no number outside 1 to 65535 is any good.
fn number(row: &PodRow, wanted: &ServicePort) -> Result<u16, Unresolved> {
    let (number, named) = match &wanted.target_port {
        Some(IntOrString::String(name)) if !name.is_empty() => {
            (row.named_port(name, protocol(wanted.protocol.as_deref())), true)
        }
        Some(IntOrString::Int(number)) => (u16::try_from(*number).ok(), false),
        Some(IntOrString::String(_)) | None => (u16::try_from(wanted.port).ok(), false),
    };
    number.filter(|number| *number > 0).ok_or(Unresolved { named })
}

/// A protocol with Kubernetes' default.
pub(super) fn protocol(protocol: Option<&str>) -> &str {
    protocol.filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}
