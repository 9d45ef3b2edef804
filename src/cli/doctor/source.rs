//! What the source Service asks for that its leader Service cannot have, or is the slower for.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machine::Micros;

use super::finding::{Evidence, Finding, seconds};
use super::subject::Subject;
use crate::annotations::PortsMode;

/// It keeps traffic on the node, which one leader cannot.
pub(super) fn local_traffic(subject: &Subject) -> Option<Finding> {
    let policy =
        subject.service.spec.internal_traffic_policy.as_deref().filter(|policy| *policy == "Local")?;
    Some(Finding {
        check: "internal-traffic-local",
        why: "it is not copied to the leader Service: clients reach the leader from all nodes, not from its own only"
            .into(),
        evidence: vec![Evidence::new(subject.object(), "spec.internalTrafficPolicy", policy)],
        remedy: "Cluster, unless clients of the source Service itself need Local".into(),
    })
}

/// Kubernetes rewrites its slice for the same loss, and kube-proxy takes the second of two changes only a second later.
/// Whoever asks for node ports or a load balancer needs the address.
pub(super) fn own_address(subject: &Subject) -> Option<Finding> {
    let spec = &subject.service.spec;
    // Where it does not wait, nothing is gained.
    if !has_address(subject)
        || subject.proxy.min_sync == Micros::ZERO
        || !matches!(spec.kind.as_deref(), None | Some("ClusterIP"))
    {
        return None;
    }
    let address = spec.cluster_ip.clone().unwrap_or_default();
    Some(Finding {
        check: "source-has-address",
        why: format!(
            "kube-proxy programs the source's endpoints for the same loss, and takes the second of two changes only {} (its \
             minSyncPeriod) after the first: measured under load, with 1 s, a change took 1164 ms at the median; 65 ms \
             without that address",
            seconds(subject.proxy.min_sync)
        ),
        evidence: vec![Evidence::new(subject.object(), "spec.clusterIP", address)],
        remedy: "clusterIP: None, if no client uses the source Service's own address. It cannot be changed in place: the \
                 Service has to be deleted and made anew, and its leader Service goes and comes with it"
            .into(),
    })
}

/// Whether kube-proxy programs it.
pub(super) fn has_address(subject: &Subject) -> bool {
    subject.service.spec.cluster_ip.as_deref().is_some_and(|address| !address.is_empty() && address != "None")
}

/// A port's name that some member does not declare.
pub(super) fn missing_port(subject: &Subject) -> Option<Finding> {
    let lacking: Vec<_> = subject
        .members
        .iter()
        .filter_map(|member| {
            let port = member.row().unresolved(&subject.view)?;
            let Some(IntOrString::String(name)) = &port.target_port else { return None };
            let field = "spec.containers[*].ports[*].name";
            Some(Evidence::new(
                member.object(),
                field,
                format!("no {} port {name:?}", protocol(port.protocol.as_deref())),
            ))
        })
        .collect();
    let never = match subject.view.ports_mode {
        PortsMode::All => "a pod that lacks a named port never leads",
        PortsMode::Available => "a pod that lacks a named port leads without it",
    };
    (!lacking.is_empty()).then(|| Finding {
        check: "missing-named-port",
        why: format!("{never}: {} of {} members do", lacking.len(), subject.members.len()),
        evidence: lacking,
        remedy: format!(
            "declare the port in the pods' containers, or give a number as spec.ports[*].targetPort of {}",
            subject.object()
        ),
    })
}

fn protocol(protocol: Option<&str>) -> &str {
    protocol.unwrap_or("TCP")
}
