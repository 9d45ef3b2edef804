//! Nodes whose kubelets renew their Leases, in a time that passes as the test says.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::Site;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::table::Nodes;
use super::super::{LOOK_EVERY, Verdict};
use crate::kinds::fixtures::decode;
use crate::rows::Ground;

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// In words.
pub(super) fn words(Verdict { node, ground }: &Verdict) -> String {
    let Ground { is_lost, zone, site } = ground;
    let zone = zone.as_deref().map(|zone| format!(" in {zone}")).unwrap_or_default();
    let site = match site {
        Site::Sound => "",
        Site::Troubled => ", troubled",
        Site::Cordoned => ", cordoned",
    };
    format!("{node} is {}{zone}{site}", if *is_lost { "lost" } else { "back" })
}

pub(super) fn node_json(name: &str, is_out: bool) -> Value {
    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" });
    json!({ "metadata": { "name": name }, "spec": { "taints": is_out.then_some([taint]) } })
}

pub(super) fn lease_json(name: &str, version: u64, spec: &Value) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string() }, "spec": spec })
}

struct Kubelet {
    is_live: bool,
    /// When it renewed its Lease, or would have before the test began.
    renewed: Instant,
    heard: Instant,
    version: u64,
    spec: Value,
}

pub(super) struct Fleet {
    pub(super) nodes: Nodes,
    pub(super) now: Instant,
    kubelets: BTreeMap<String, Kubelet>,
    version: u64,
    period: Duration,
}

impl Fleet {
    /// So many nodes, `n0` and so on, as kubelets are by default; their watch is live.
    pub(super) fn of(count: usize) -> Self {
        Self::asking(None, count, 40)
    }

    pub(super) fn asking(asked: Option<Duration>, count: usize, seconds: u32) -> Self {
        let mut fleet = Self::new(asked, count, seconds);
        fleet.nodes.hears_again(fleet.now);
        fleet
    }

    /// The watch of their Leases is not live yet.
    pub(super) fn deaf(count: usize) -> Self {
        Self::new(None, count, 40)
    }

    fn new(asked: Option<Duration>, count: usize, seconds: u32) -> Self {
        let now = Instant::now();
        let nodes = Nodes::new(asked, now);
        let period = Duration::from_secs(seconds.into()) / 4;
        let mut fleet = Self { nodes, now, kubelets: BTreeMap::new(), version: 0, period };
        for number in 0..count {
            let name = format!("n{number}");
            fleet.taint(&name, false);
            fleet.lease(&name, &json!({ "leaseDurationSeconds": seconds }));
            // Renewals are spread over their period.
            let since = period * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
            fleet.kubelet(&name).renewed = now.checked_sub(since).unwrap_or(now);
        }
        fleet
    }

    fn kubelet(&mut self, name: &str) -> &mut Kubelet {
        self.kubelets.get_mut(name).unwrap()
    }

    pub(super) fn silence(&mut self, name: &str) {
        self.kubelet(name).is_live = false;
    }

    pub(super) fn silence_all(&mut self) {
        self.kubelets.values_mut().for_each(|kubelet| kubelet.is_live = false);
    }

    pub(super) fn revive(&mut self, name: &str) {
        let now = self.now;
        let spec = json!({ "leaseDurationSeconds": 40 });
        let kubelet = Kubelet { is_live: true, renewed: now, heard: now, version: 0, spec };
        self.kubelets.entry(name.to_owned()).or_insert(kubelet).is_live = true;
        self.renew(name);
    }

    pub(super) fn revive_all(&mut self) {
        let names: Vec<_> = self.kubelets.keys().cloned().collect();
        for name in &names {
            self.revive(name);
        }
    }

    /// It is there no more; nobody has said so.
    pub(super) fn remove(&mut self, name: &str) {
        self.kubelets.remove(name);
    }

    pub(super) fn taint(&mut self, name: &str, is_out: bool) {
        self.nodes.node_seen(&decode(node_json(name, is_out)));
    }

    /// Its Lease is written.
    pub(super) fn lease(&mut self, name: &str, spec: &Value) {
        self.version += 1;
        let (version, now) = (self.version, self.now);
        let is_live = self.kubelets.get(name).is_none_or(|kubelet| kubelet.is_live);
        let kubelet = Kubelet { is_live, renewed: now, heard: now, version, spec: spec.clone() };
        self.kubelets.insert(name.to_owned(), kubelet);
        self.nodes.lease_seen(&decode(lease_json(name, version, spec)), now);
    }

    pub(super) fn renew(&mut self, name: &str) {
        let spec = self.kubelets.get(name).map_or_else(|| json!({}), |kubelet| kubelet.spec.clone());
        self.lease(name, &spec);
    }

    /// Both are listed again, as they are.
    pub(super) fn relist(&mut self) {
        self.nodes.relist_nodes();
        self.nodes.relist_leases();
        for (name, Kubelet { version, spec, .. }) in &self.kubelets {
            self.nodes.node_listed(&decode(node_json(name, false)));
            self.nodes.lease_listed(&decode(lease_json(name, *version, spec)), self.now);
        }
        self.nodes.nodes_listed(self.now);
        self.nodes.leases_listed(self.now);
    }

    /// So many seconds pass. What the driver is told meanwhile.
    pub(super) fn pass(&mut self, secs: u64) -> Vec<String> {
        self.go_on(Duration::from_secs(secs), true)
    }

    /// Time passes until its Lease is almost as many seconds old: one look more, and it is.
    pub(super) fn pass_till_before(&mut self, name: &str, secs: u64) -> Vec<String> {
        let age = self.now.saturating_duration_since(self.kubelets[name].heard);
        self.go_on(Duration::from_secs(secs).saturating_sub(age + LOOK_EVERY), true)
    }

    /// The same, and no renewal is heard of.
    pub(super) fn pass_unheard(&mut self, secs: u64) -> Vec<String> {
        self.go_on(Duration::from_secs(secs), false)
    }

    fn go_on(&mut self, time: Duration, are_heard: bool) -> Vec<String> {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + LOOK_EVERY).min(end);
            let (now, period) = (self.now, self.period);
            let is_due = |kubelet: &Kubelet| kubelet.is_live && kubelet.renewed + period <= now;
            let due: Vec<_> =
                self.kubelets.iter().filter(|(_, k)| is_due(k)).map(|(name, _)| name.clone()).collect();
            for name in due.iter().filter(|_| are_heard) {
                self.renew(name);
            }
            self.nodes.look(self.now);
        }
        self.nodes.verdicts().iter().map(words).collect()
    }
}
