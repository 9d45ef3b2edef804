//! Where the leader had better run.

use std::sync::Arc;

use super::{PREFER_NODE, PREFER_ZONE, Reader, Why};
use crate::names::{is_label_value, is_rfc1123_subdomain};

/// Where a Service prefers its leader to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferred {
    /// On this node.
    pub node: Option<Arc<str>>,
    /// In this zone.
    pub zone: Option<Arc<str>>,
}

pub(super) fn preferred(read: &mut Reader<'_>) -> Preferred {
    Preferred {
        node: read.value(PREFER_NODE, "no preferred node", node),
        zone: read.value(PREFER_ZONE, "no preferred zone", zone),
    }
}

fn node(value: &str) -> Result<Arc<str>, Why> {
    is_rfc1123_subdomain(value)
        .then(|| value.into())
        .ok_or("it is not a node's name: at most 253 of a-z, 0-9, '-' and '.'")
}

fn zone(value: &str) -> Result<Arc<str>, Why> {
    is_label_value(value)
        .then(|| value.into())
        .ok_or("it is not a zone, as labels have it: at most 63 of letters, 0-9, '-', '_' and '.'")
}
