//! What an endpoint says, apart from its conditions.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort};

use crate::names::Digest;
use crate::rows::{PodRow, ResolvedPort};

/// An endpoint and its ports, however they came to be known.
pub(crate) struct Content<'a> {
    node: Option<&'a str>,
    zone: Option<&'a str>,
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    ports: Vec<Port<'a>>,
}

struct Port<'a> {
    name: &'a str,
    protocol: &'a str,
    number: Option<i32>,
    app_protocol: Option<&'a str>,
}

impl<'a> Content<'a> {
    /// As we would write it.
    pub(crate) fn of_row(row: &'a PodRow, ports: Vec<ResolvedPort<'a>>) -> Self {
        let port = |port: ResolvedPort<'a>| Port {
            name: port.name,
            protocol: port.protocol,
            number: Some(i32::from(port.port)),
            app_protocol: port.app_protocol,
        };
        Self {
            node: row.node.as_deref(),
            zone: row.zone(),
            namespace: &row.namespace,
            name: row.pod.name(),
            uid: row.pod.uid(),
            ports: ports.into_iter().map(port).collect(),
        }
    }

    /// As a slice has it, with what the API server fills in.
    pub(super) fn of_slice(endpoint: &'a Endpoint, ports: &'a [EndpointPort]) -> Self {
        let target = endpoint.target_ref.as_ref();
        let port = |port: &'a EndpointPort| Port {
            name: port.name.as_deref().unwrap_or_default(),
            protocol: port.protocol.as_deref().unwrap_or("TCP"),
            number: port.port,
            app_protocol: port.app_protocol.as_deref(),
        };
        Self {
            node: endpoint.node_name.as_deref(),
            zone: endpoint.zone.as_deref(),
            namespace: target.and_then(|target| target.namespace.as_deref()).unwrap_or_default(),
            name: target.and_then(|target| target.name.as_deref()).unwrap_or_default(),
            uid: target.and_then(|target| target.uid.as_deref()).unwrap_or_default(),
            ports: ports.iter().map(port).collect(),
        }
    }

    /// The number that stands for it.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Digest::new();
        for field in [self.node, self.zone, Some(self.namespace), Some(self.name), Some(self.uid)] {
            digest.field(field);
        }
        for port in &self.ports {
            digest.field(Some(port.name));
            digest.field(Some(port.protocol));
            digest.bytes(&port.number.unwrap_or(-1).to_le_bytes());
            digest.field(port.app_protocol);
        }
        digest.value()
    }
}
