//! What the controller makes of an object, but for telling the machine.

use std::collections::BTreeMap;

use machine::{Epoch, Mirror, Timestamp};
use zen_lead::annotations::{self, Settings};
use zen_lead::kinds::{Family, PodLite, ServiceLite, SliceLite};
use zen_lead::names::leader_service;
use zen_lead::rows::{Ground, Interner, PodRow, View, event_for};
use zen_lead::service::{
    Place, Source, asks_for, claim_service, claim_slice, desired, difference, is_generated, remembered,
};
use zen_lead::slice::observe;

const NOW: Timestamp = Timestamp::from_secs(1_772_442_000);
const INSTANCE: &str = "zen-lead-system/zen-lead";

/// A kind that the controller watches.
pub(super) trait Seen {
    /// What it keeps of those before.
    type State: Default;

    /// Looks at one.
    fn seen(&self, state: &mut Self::State);
}

/// The rows of all pods, and who looks at them.
#[derive(Default)]
pub(super) struct Pods {
    interner: Interner,
    rows: BTreeMap<String, PodRow>,
}

impl Seen for PodLite {
    type State = Pods;

    fn seen(&self, state: &mut Pods) {
        let Some(row) = PodRow::new(self, &mut state.interner) else { return };
        let (view, ground) = (view(), Ground::default());
        let _ = row.membership(&view.source.selector);
        for family in [Family::V4, Family::V6] {
            let _ = row.reach(&view, family);
        }
        let old = state.rows.get(row.pod.name()).map(|old| old.member(&view, &ground));
        let event = event_for(old.as_ref(), row.member(&view, &ground));
        assert!(event.is_none() || old != Some(row.member(&view, &ground)), "an event about nothing");
        state.rows.insert(row.pod.name().to_owned(), row);
    }
}

impl Seen for ServiceLite {
    type State = ();

    fn seen(&self, (): &mut ()) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let annotations = self.metadata.annotations.clone().unwrap_or_default();
        let settings = annotations::parse(&annotations, name);
        let _ = (is_generated(self), asks_for(self, true, name), asks_for(self, false, name));
        let past = remembered(self, NOW);
        let here = view();
        let _ = claim_service(self, &place(&here));
        let Ok(source) = Source::new(self) else { return };
        let theirs = View::new(source, &settings);
        let of_theirs = leader_service(name);
        let place = Place { view: &theirs, leader_service: &of_theirs, instance: INSTANCE };
        let epoch = Some(past.epoch.unwrap_or(Epoch(1)));
        let mirror = Mirror { leader: None, epoch, switched: past.switched, ours: true, handled: None };
        let _ = (desired(&place, &mirror, &[]), claim_service(self, &place));
        let _ = (difference(self, &place, Some(&mirror)), difference(self, &place, None));
    }
}

impl Seen for SliceLite {
    type State = ();

    fn seen(&self, (): &mut ()) {
        let view = view();
        let place = place(&view);
        for family in [Family::V4, Family::V6] {
            let _ = claim_slice(self, &place, family, Some("l0"));
            let first = observe(self, &place, family, "replica-0", NOW);
            assert_eq!(first, observe(self, &place, family, "replica-0", NOW), "it depends on nothing else");
        }
        let _ = self.manager();
    }
}

/// A Service of two families, with a named port.
fn view() -> View {
    let service = serde_json::json!({
        "metadata": { "name": "orders", "namespace": "shop", "uid": "s0", "labels": { "team": "a" } },
        "spec": {
            "selector": { "app": "orders" }, "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
        },
    });
    let service: ServiceLite = serde_json::from_value(service).expect("a Service");
    View::new(Source::new(&service).expect("a source"), &Settings::default())
}

fn place(view: &View) -> Place<'_> {
    Place { view, leader_service: "orders-leader", instance: INSTANCE }
}
