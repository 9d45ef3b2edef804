//! All nodes, and which of them are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use machine::Site;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Verdict;
use super::node::{Lease, Node, least, period, seconds};
use crate::kinds::{NodeLeaseLite, NodeLite, version};
use crate::rows::Ground;

/// Who heard nothing for so long was cut off. The server ends every watch once in five minutes, which takes some
/// milliseconds, and an interval's tick is late at times; neither may cost a node's detection a second try.
pub(super) const CUT_OFF: Duration = Duration::from_secs(1);

/// Nodes that were lost and deleted are remembered for so long, since their pods may be there for a while. Kubernetes
/// removes these after a minute or so.
const REMEMBERED: Duration = Duration::from_hours(1);

/// More silent nodes than this, in hundredths, and more than one: it is we who hear nothing.
const MANY_PERCENT: usize = 30;

/// All nodes.
pub(super) struct Nodes {
    /// How old a Lease may become; none: as short as it may be.
    asked: Option<Duration>,
    all: BTreeMap<Arc<str>, Node>,
    /// Since when the watch of Leases is not live; it is not at first.
    deaf: Option<Instant>,
    /// When ages were looked at last.
    looked: Instant,
    /// Too many are silent at once.
    is_held: bool,
    /// Names in a list that is not complete.
    in_list: BTreeSet<Arc<str>>,
    leases_in_list: BTreeSet<Arc<str>>,
    has_refused: bool,
    verdicts: Vec<Verdict>,
}

impl Nodes {
    pub(super) fn new(asked: Option<Duration>, now: Instant) -> Self {
        Self {
            asked,
            all: BTreeMap::new(),
            deaf: Some(now),
            looked: now,
            is_held: false,
            in_list: BTreeSet::new(),
            leases_in_list: BTreeSet::new(),
            has_refused: false,
            verdicts: Vec::new(),
        }
    }

    /// What the driver is to be told.
    pub(super) fn verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts)
    }

    /// How many nodes are lost.
    pub(super) fn lost(&self) -> usize {
        self.all.values().filter(|node| node.told.is_lost && node.exists).count()
    }

    /// How many look lost and are not taken for it, since too many do.
    pub(super) fn held(&self) -> usize {
        if self.is_held { self.newly_silent(self.looked).len() } else { 0 }
    }

    // --- Nodes ---

    pub(super) fn relist_nodes(&mut self) {
        self.in_list.clear();
    }

    pub(super) fn node_listed(&mut self, node: &NodeLite) {
        self.in_list.insert(node.name().into());
        self.node_seen(node);
    }

    pub(super) fn nodes_listed(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.in_list);
        let is_gone = |(name, node): &(&Arc<str>, &Node)| node.exists && !listed.contains(*name);
        let gone: Vec<_> = self.all.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.node_gone(name, now);
        }
    }

    pub(super) fn node_seen(&mut self, node: &NodeLite) {
        let known = self.node(node.name());
        (known.exists, known.is_out, known.gone) = (true, node.is_out_of_service(), None);
        known.site = node.site();
        if known.zone.as_deref() != node.zone() {
            known.zone = node.zone().map(Into::into);
        }
        self.settle(node.name());
    }

    /// What was lost stays lost: its pods are still there.
    pub(super) fn node_gone(&mut self, name: &str, now: Instant) {
        let Some(node) = self.all.get_mut(name) else { return };
        node.exists = false;
        self.forget_unless_lost(name, now);
    }

    // --- Leases ---

    pub(super) fn relist_leases(&mut self) {
        self.leases_in_list.clear();
    }

    pub(super) fn lease_listed(&mut self, lease: &NodeLeaseLite, now: Instant) {
        self.leases_in_list.insert(lease.name().into());
        self.lease_seen(lease, now);
    }

    pub(super) fn leases_listed(&mut self, now: Instant) {
        let listed = std::mem::take(&mut self.leases_in_list);
        let is_gone = |(name, node): &(&Arc<str>, &Node)| node.lease.is_some() && !listed.contains(*name);
        let gone: Vec<_> = self.all.iter().filter(is_gone).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            self.lease_gone(name, now);
        }
    }

    pub(super) fn lease_seen(&mut self, lease: &NodeLeaseLite, now: Instant) {
        let seconds = seconds(lease.spec.lease_duration_seconds);
        self.refuse_if_too_short(lease.name(), seconds);
        let version = version(&lease.metadata);
        let node = self.node(lease.name());
        // A list tells of what is known, too.
        if let Some(known) = node.lease.as_mut().filter(|known| known.version == version) {
            known.period = period(seconds);
            return;
        }
        node.lease = Some(Lease::new(version, seconds, now));
        (node.is_silent, node.gone) = (false, None);
        self.settle(lease.name());
    }

    /// Without a Lease nobody can tell how the node is. One that is lost already stays lost.
    pub(super) fn lease_gone(&mut self, name: &str, now: Instant) {
        let Some(node) = self.all.get_mut(name) else { return };
        node.lease = None;
        self.forget_unless_lost(name, now);
    }

    /// The watch of Leases is down.
    pub(super) fn hears_nothing(&mut self, now: Instant) {
        // At the worst since the last look, if nobody saw it begin.
        let looked = self.looked;
        self.deaf.get_or_insert_with(|| looked.min(now));
    }

    /// The watch of Leases is live.
    pub(super) fn hears_again(&mut self, now: Instant) {
        if let Some(since) = self.deaf.take() {
            self.skip(now.saturating_duration_since(since), now);
        }
        self.looked = now;
    }

    /// Looks how old the Leases are.
    pub(super) fn look(&mut self, now: Instant) {
        let since_last = now.saturating_duration_since(self.looked);
        self.looked = now;
        self.forget_old(now);
        if self.deaf.is_some() {
            return;
        }
        // We did not run, and cannot have heard what is waiting for us.
        if since_last >= CUT_OFF {
            warn!(
                seconds = since_last.as_secs_f32(),
                "this process did not run: the ages of nodes' Leases start anew"
            );
            self.skip(since_last, now);
        }
        self.judge(now);
    }

    fn judge(&mut self, now: Instant) {
        let asked = self.asked;
        // Who is lost anyway must not be back for a moment when the taint goes.
        for node in self.all.values_mut().filter(|node| node.is_out) {
            node.is_silent |= node.lease.as_ref().is_some_and(|lease| lease.is_silent(asked, now));
        }
        let counted = self.all.values().filter_map(Node::counts).count();
        let overdue =
            |node: &&Node| node.counts().is_some_and(|lease| node.is_silent || lease.is_overdue(asked, now));
        let silent = self.all.values().filter(overdue).count();
        let are_too_many = silent > 1 && silent * 100 > counted * MANY_PERCENT;
        let newly = self.newly_silent(now);
        if are_too_many {
            if !newly.is_empty() && !self.is_held {
                self.is_held = true;
                let held = newly.join(", ");
                warn!(
                    silent,
                    nodes = counted,
                    held,
                    "so many nodes do not renew their Leases that it is not them but what is between them and us: none \
                     is taken for lost until that is over. If they are lost indeed, say so by the taint \
                     node.kubernetes.io/out-of-service, or delete them"
                );
            }
        } else if std::mem::take(&mut self.is_held) {
            info!(silent, nodes = counted, "few enough nodes are silent: they are judged again, from now on");
            for node in self.all.values_mut().filter(|node| !node.is_silent) {
                if let Some(lease) = node.lease.as_mut().filter(|lease| lease.is_overdue(asked, now)) {
                    lease.changed = now;
                }
            }
        } else {
            for name in newly {
                self.node(&name).is_silent = true;
                self.settle(&name);
            }
        }
    }

    fn newly_silent(&self, now: Instant) -> Vec<Arc<str>> {
        let is_newly = |node: &Node| {
            !node.is_silent && node.counts().is_some_and(|lease| lease.is_silent(self.asked, now))
        };
        self.all.iter().filter(|(_, node)| is_newly(node)).map(|(name, _)| name.clone()).collect()
    }

    /// So long we could not hear.
    fn skip(&mut self, gap: Duration, now: Instant) {
        for lease in self.all.values_mut().filter_map(|node| node.lease.as_mut()) {
            lease.changed = if gap < CUT_OFF { (lease.changed + gap).min(now) } else { now };
        }
    }

    fn node(&mut self, name: &str) -> &mut Node {
        if !self.all.contains_key(name) {
            self.all.insert(name.into(), Node::default());
        }
        self.all.entry(name.into()).or_default()
    }

    /// Tells the driver what it does not know yet.
    fn settle(&mut self, name: &str) {
        let Some((name, node)) = self.all.get_key_value(name) else { return };
        let (name, ground) = (name.clone(), node.ground());
        if node.told == ground {
            return;
        }
        match (ground.is_lost, node.is_out) {
            _ if ground.is_lost == node.told.is_lost => {}
            (true, true) => warn!(node = &*name, "out of service, by its taint: its leaders are followed"),
            (true, false) => {
                let age =
                    node.lease.as_ref().map(|lease| self.looked.saturating_duration_since(lease.changed));
                let seconds = age.map(|age| age.as_secs_f32());
                warn!(node = &*name, seconds, "lost, it does not renew its Lease: its leaders are followed");
            }
            (false, _) => info!(node = &*name, "the node is back"),
        }
        if ground.site != node.told.site {
            info!(node = &*name, "{}", words(ground.site));
        }
        self.node(&name).told.clone_from(&ground);
        self.verdicts.push(Verdict { node: name, ground });
    }

    fn forget_unless_lost(&mut self, name: &str, now: Instant) {
        let Some(node) = self.all.get_mut(name).filter(|node| !node.exists && node.lease.is_none()) else {
            return;
        };
        if node.told.is_lost {
            node.gone.get_or_insert(now);
        } else if let Some((node, Node { told, .. })) = self.all.remove_entry(name)
            && told != Ground::default()
        {
            self.verdicts.push(Verdict { node, ground: Ground::default() });
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let is_old =
            |node: &Node| node.gone.is_some_and(|gone| now.saturating_duration_since(gone) >= REMEMBERED);
        for (name, _) in self.all.extract_if(.., |_, node| is_old(node)) {
            self.verdicts.push(Verdict { node: name, ground: Ground::default() });
        }
    }

    /// Says once that the flag cannot be followed.
    fn refuse_if_too_short(&mut self, node: &str, seconds: u32) {
        let period = period(seconds);
        let Some(asked) = self.asked.filter(|asked| *asked < least(period)) else { return };
        if std::mem::replace(&mut self.has_refused, true) {
            return;
        }
        let (period, least) = (period.as_secs_f32(), least(period).as_secs_f32());
        warn!(
            "--node-lease-timeout={asked:?} is refused for the node {node}: its Lease (leaseDurationSeconds {seconds}) is \
             renewed every {period} s, and one that is two renewals late must not count as lost. Used instead: {least} s; \
             likewise for other nodes. Raise the flag, leave it out, or let kubelets renew more often \
             (nodeLeaseDurationSeconds)"
        );
    }
}

/// What follows from what is said of a node.
const fn words(site: Site) -> &'static str {
    match site {
        Site::Sound => "its pods are chosen like any others",
        Site::Troubled => "unreachable or not ready, by its taints: others are chosen before its pods",
        Site::Cordoned => "cordoned: others are chosen before its pods",
    }
}
