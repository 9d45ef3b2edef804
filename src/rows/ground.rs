//! Where a pod runs, and how well that suits a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use machine::Site;

use super::PodRow;
use crate::annotations::Preferred;

/// What is known of a node, if nodes are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// The node is lost.
    pub is_lost: bool,
    /// The zone that it says it is in.
    pub zone: Option<Arc<str>>,
    /// What is said of it.
    pub site: Site,
}

impl Ground {
    /// Its pods had better not lead.
    pub(crate) fn is_avoided(&self) -> bool {
        self.is_lost || self.site != Site::Sound
    }
}

/// Of a node that nobody has told of.
static UNKNOWN: Ground = Ground { is_lost: false, zone: None, site: Site::Sound };

/// What is known of all nodes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grounds(BTreeMap<Arc<str>, Ground>);

impl Grounds {
    /// Takes note of what a node is now, and answers with what it was.
    pub(crate) fn put(&mut self, node: &Arc<str>, ground: Ground) -> Ground {
        let old = if ground == UNKNOWN { self.0.remove(node) } else { self.0.insert(node.clone(), ground) };
        old.unwrap_or_default()
    }

    /// Where a pod runs.
    pub(crate) fn of(&self, row: &PodRow) -> &Ground {
        row.node.as_ref().and_then(|node| self.0.get(node)).unwrap_or(&UNKNOWN)
    }
}

impl PodRow {
    /// How well its place suits: the node is the closer wish.
    pub(crate) fn place(&self, ground: &Ground, preferred: &Preferred) -> u8 {
        let is = |wanted: Option<&str>, here: Option<&str>| u8::from(wanted.is_some() && wanted == here);
        let zone = self.zone().or(ground.zone.as_deref());
        2 * is(preferred.node.as_deref(), self.node.as_deref()) + is(preferred.zone.as_deref(), zone)
    }
}
