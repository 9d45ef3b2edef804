//! From pods to facts.

use std::collections::BTreeMap;

use machine::Endpoint;
use serde_json::{Value, json};

use super::*;
use crate::annotations::{PortsMode, Preferred};
use crate::kinds::fixtures::{READY, pod, row, view, with};

mod memory;

fn member(over: &Value) -> Member {
    row(over).member(&view(&json!({})), &Ground::default())
}

fn endpoint(row: &PodRow, view: &View) -> Endpoint {
    row.reach(view, Family::V4).endpoint().unwrap()
}

#[test]
fn p05_ready_is_running_and_the_condition_true() {
    let ready = |phase: &str, conditions: Value| {
        row(&json!({"status": {"phase": phase, "conditions": conditions}})).ready
    };
    let is = |status: &str| json!([{"type": "Ready", "status": status}]);
    assert!(ready("Running", is("True")));
    assert!(!ready("Pending", is("True")));
    assert!(!ready("Succeeded", is("True")));
    assert!(!ready("Running", is("False")));
    assert!(!ready("Running", is("Unknown")));
    assert!(!ready("Running", is("true")));
    assert!(!ready("Running", json!([])));
    assert!(!ready("Running", json!([{"type": "ContainersReady", "status": "True"}])));
    assert!(!row(&json!({"status": {"conditions": null}})).ready);
}

#[test]
fn p09_the_age_of_ready_is_the_conditions_own() {
    assert_eq!(u64::from(row(&json!({})).ready_changed), READY);
    let never = row(&json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    assert_eq!(
        (never.ready_changed, never.created()),
        (never.created, Timestamp::from_secs(never.created.into()))
    );
}

#[test]
fn b02_a_deletion_timestamp_means_terminating_and_tells_since_when() {
    let leaving =
        json!({"metadata": {"deletionTimestamp": "2025-11-20T08:01:30Z", "deletionGracePeriodSeconds": 30}});
    assert_eq!(row(&leaving).terminated(), Some(Timestamp::from_secs(READY + 53)));
    assert!(member(&leaving).terminating && member(&leaving).ready);
    assert!(!member(&json!({})).terminating);
    let odd = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:01Z", "deletionGracePeriodSeconds": i64::MAX}});
    assert_eq!(row(&odd).terminated(), Some(Timestamp(1)));
    let negative =
        json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:01Z", "deletionGracePeriodSeconds": -1}});
    assert_eq!(row(&negative).terminated(), Some(Timestamp::from_secs(1)));
}

#[test]
fn p07_identity_is_the_uid() {
    assert_ne!(member(&json!({})).pod, member(&json!({"metadata": {"uid": "a1"}})).pod);
    assert!(PodRow::new(&pod(&json!({"metadata": {"uid": null}})), &mut Interner::default()).is_none());
    assert!(PodRow::new(&PodLite::default(), &mut Interner::default()).is_none());
}

#[test]
fn b12_a_pod_departs_by_its_labels_or_its_end() {
    let view = view(&json!({}));
    let standing = |over: Value| row(&over).membership(&view.source.selector);
    assert_eq!(standing(json!({})), Ok(()));
    assert_eq!(standing(json!({"metadata": {"labels": {"app": "other"}}})), Err(Departure::Relabelled));
    assert_eq!(standing(json!({"metadata": {"labels": null}})), Err(Departure::Relabelled));
    assert_eq!(standing(json!({"status": {"phase": "Succeeded"}})), Err(Departure::Finished));
    assert_eq!(standing(json!({"status": {"phase": "Failed"}})), Err(Departure::Finished));
    assert_eq!(standing(json!({"status": {"phase": "Unknown"}})), Ok(()));
}

#[test]
fn p14_a_selector_wants_all_its_labels_and_their_values() {
    let selector = |pairs: &[(&str, &str)]| {
        let pairs: BTreeMap<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Selector::new(&pairs)
    };
    let row = row(&json!({"metadata": {"labels": {"app": "orders", "tier": "", "a": "b", "aa": "b"}}}));
    let matches = |pairs: &[(&str, &str)]| selector(pairs).unwrap().matches(&row);
    assert!(matches(&[("app", "orders")]));
    assert!(matches(&[("app", "orders"), ("tier", "")]));
    assert!(!matches(&[("app", "orders"), ("missing", "")]));
    assert!(!matches(&[("app", "order")]));
    assert!(!matches(&[("ap", "porders")]));
    assert_eq!(selector(&[]), None);
}

#[test]
fn the_pair_to_index_by_has_the_longest_value() {
    let pairs = [("tier", "web"), ("app.kubernetes.io/part-of", "shop"), ("app", "orders-prod")];
    let pairs = pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    assert_eq!(&**Selector::new(&pairs).unwrap().index_pair(), "app=orders-prod");
}

#[test]
fn labels_are_found_by_their_whole_key() {
    let row = row(&json!({"metadata": {"labels": {"zone": "1", "zone2": "2", "empty": ""}}}));
    assert_eq!((row.label("zone"), row.label("zon"), row.label("empty")), (Some("1"), None, Some("")));
    assert_eq!(row.zone(), Some("eu-1a"));
}

#[test]
fn b09_each_family_has_its_address() {
    let of = |status: Value| {
        let row = row(&json!({"status": status}));
        [Family::V4, Family::V6].map(|family| row.address(family).map(|address| address.to_string()))
    };
    let v4 = Some("10.0.7.21".to_owned());
    assert_eq!(of(json!({})), [v4.clone(), Some("fd00:7::21".to_owned())]);
    // Before a kubelet reports all addresses, and from those that never do.
    assert_eq!(of(json!({"podIPs": null})), [v4, None]);
    assert_eq!(
        of(json!({"podIPs": [{"ip": "fd00::1"}], "podIP": "fd00::1"})),
        [None, Some("fd00::1".to_owned())]
    );
    assert_eq!(
        of(json!({"podIPs": [{"ip": "nonsense"}, {"ip": ""}, {}], "podIP": "10.0.0.256"})),
        [None, None]
    );
}

#[test]
fn without_an_address_of_the_first_family_there_is_no_way_to_it() {
    assert_eq!(member(&json!({"status": {"podIP": null, "podIPs": null}})).reach, Reach::NoAddress);
    assert_eq!(
        member(&json!({"status": {"podIP": null, "podIPs": [{"ip": "fd00::1"}]}})).reach,
        Reach::NoAddress
    );
    let six_first = view(&json!({"spec": {"ipFamilies": ["IPv6", "IPv4"]}}));
    let reach = row(&json!({})).member(&six_first, &Ground::default()).reach;
    assert_eq!(reach.endpoint().unwrap().address.to_string(), "fd00:7::21");
}

/// What a Service with one port resolves to on the fixture's pod.
fn resolved(port: &Value, over: &Value) -> Result<u16, bool> {
    let view = view(&json!({"spec": {"ports": [port]}}));
    let row = row(over);
    match resolve(&row, &view) {
        Ok(ports) => Ok(ports[0].port),
        Err(unresolved) => {
            assert_eq!(
                row.member(&view, &Ground::default()).reach,
                Reach::PortUnresolved { named: unresolved.named }
            );
            Err(unresolved.named)
        }
    }
}

#[test]
fn p11_a_named_port_is_found_in_any_container_by_name_and_protocol() {
    let over = json!({"spec": {
        "containers": [
            {"ports": [{"name": "http", "containerPort": 81, "protocol": "UDP"}]},
            {"ports": [{"containerPort": 1}, {"name": "http", "containerPort": 82}]},
            {"ports": [{"name": "http", "containerPort": 83, "protocol": "TCP"}]},
        ],
        "initContainers": [
            {"ports": [{"name": "setup", "containerPort": 84}]},
            {"restartPolicy": "Always", "ports": [{"name": "mesh", "containerPort": 85}, {"name": "http", "containerPort": 86}]},
        ],
    }});
    let named = |name: &str, protocol: &str| {
        resolved(&json!({"port": 80, "targetPort": name, "protocol": protocol}), &over)
    };
    assert_eq!(named("http", "TCP"), Ok(82), "the first one, with the default protocol");
    assert_eq!(named("http", "UDP"), Ok(81));
    assert_eq!(named("http", "SCTP"), Err(true));
    assert_eq!(named("mesh", "TCP"), Ok(85), "a sidecar's ports count");
    assert_eq!(named("setup", "TCP"), Err(true), "other init containers' do not");
    assert_eq!(named("absent", "TCP"), Err(true));
    assert_eq!(resolved(&json!({"port": 80, "targetPort": "http"}), &over), Ok(82), "no protocol is TCP");
}

#[test]
fn p11_what_is_no_port_number_fails_closed() {
    for number in [0, -1, 65_536, i32::MIN] {
        let reach = resolved(&json!({"port": 80, "targetPort": number}), &json!({}));
        assert_eq!(reach, Err(false), "{number}");
        let over = json!({"spec": {"containers": [{"ports": [
            {"name": "http", "containerPort": number}, {"name": "http", "containerPort": 80},
        ]}]}});
        // Kubernetes takes the first of that name, whatever its number.
        assert_eq!(resolved(&json!({"port": 80, "targetPort": "http"}), &over), Err(true), "{number}");
    }
    assert_eq!(resolved(&json!({"port": 0}), &json!({})), Err(false));
}

#[test]
fn p11_an_absent_target_port_is_the_port_itself() {
    assert_eq!(resolved(&json!({"port": 8443}), &json!({})), Ok(8443));
    assert_eq!(resolved(&json!({"port": 8443, "targetPort": ""}), &json!({})), Ok(8443));
    assert_eq!(resolved(&json!({"port": 8443, "targetPort": 65_535}), &json!({})), Ok(65_535));
    assert_eq!(
        resolved(&json!({"port": 80, "targetPort": "http"}), &json!({"spec": {"containers": null}})),
        Err(true)
    );
}

#[test]
fn ports_mode_available_publishes_what_resolves() {
    let source = json!({"spec": {"ports": [
        {"name": "a", "port": 1, "targetPort": "absent"}, {"name": "b", "port": 2}, {"name": "c", "port": 3},
    ]}});
    let all = view(&source);
    let available = View { ports_mode: PortsMode::Available, ..all.clone() };
    let row = row(&json!({}));
    assert_eq!(row.member(&all, &Ground::default()).reach, Reach::PortUnresolved { named: true });
    let names: Vec<_> = resolve(&row, &available).unwrap().into_iter().map(|port| port.name).collect();
    assert_eq!(names, ["b", "c"]);
    let none = view(&json!({"spec": {"ports": [{"port": 1, "targetPort": "absent"}]}}));
    let none = View { ports_mode: PortsMode::Available, ..none };
    assert_eq!(row.member(&none, &Ground::default()).reach, Reach::PortUnresolved { named: true });
}

#[test]
fn the_digest_changes_with_all_that_a_slice_shows_and_with_nothing_else() {
    let (base, view0) = (row(&json!({})), view(&json!({})));
    let digest = endpoint(&base, &view0);
    for over in [
        json!({"metadata": {"name": "orders-1"}}),
        json!({"metadata": {"uid": "a1"}}),
        json!({"metadata": {"namespace": "other"}}),
        json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "eu-1b"}}}),
        json!({"spec": {"nodeName": "node-8"}}),
        json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8081}]}]}}),
        json!({"status": {"podIPs": [{"ip": "10.0.7.22"}]}}),
    ] {
        assert_ne!(endpoint(&row(&over), &view0), digest, "{over}");
    }
    for over in [
        json!({"metadata": {"resourceVersion": "101", "labels": {"more": "1"}}}),
        json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}}),
        json!({"status": {"phase": "Pending", "conditions": null}}),
    ] {
        assert_eq!(endpoint(&row(&over), &view0), digest, "{over}");
    }
    let ports = |ports: Value| endpoint(&base, &view(&json!({"spec": {"ports": ports}})));
    let plain = ports(json!([{"name": "web", "port": 80}]));
    assert_ne!(plain, digest);
    assert_ne!(plain, ports(json!([{"name": "wob", "port": 80}])));
    assert_ne!(plain, ports(json!([{"name": "web", "port": 80, "appProtocol": "http"}])));
    assert_ne!(plain, ports(json!([{"name": "web", "port": 80, "protocol": "UDP"}])));
    assert_eq!(
        plain,
        ports(json!([{"name": "web", "port": 81, "targetPort": 80}])),
        "clients' port is no part of it"
    );
}

#[test]
fn a_revision_is_a_digest_of_its_label() {
    let of = |labels: Value| member(&json!({"metadata": {"labels": labels}})).revision;
    assert_eq!(of(json!({})), 0);
    let (first, second) = (of(json!({"pod-template-hash": "1"})), of(json!({"pod-template-hash": "2"})));
    assert!(first != second && first != 0);
    assert_eq!(of(json!({"controller-revision-hash": "1"})), first);
    assert_eq!(of(json!({"pod-template-hash": "1", "controller-revision-hash": "2"})), first);
}

#[test]
fn priority_and_exclusion_are_read_and_nonsense_is_noticed() {
    let row = row(
        &json!({"metadata": {"annotations": {"zen-lead.io/priority": "5", "zen-lead.io/never-lead": "true"}}}),
    );
    assert_eq!((row.priority, row.excluded, row.invalid.is_some()), (5, true, false));
    let row = super::tests::row(&json!({"metadata": {"annotations": {"zen-lead.io/priority": "high"}}}));
    assert_eq!((row.priority, row.excluded, row.invalid.is_some()), (0, false, true));
}

/// What `event_for` makes of a member that changes from one to the other: kind and member.
fn told(old: Option<&Value>, new: &Value) -> Option<&'static str> {
    let new = member(new);
    Some(match event_for(old.map(member).as_ref(), new.clone())? {
        Event::PodReady { member } if member == new => "ready",
        Event::PodUnready { member } if member == new => "unready",
        Event::PodTerminating { member } if member == new => "terminating",
        Event::PodChanged { member } if member == new => "changed",
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_event_says_what_changed() {
    let ready = json!({});
    let unready = json!({"status": {"conditions": []}});
    let leaving = json!({"metadata": {"deletionTimestamp": "2025-11-20T08:01:30Z"}});
    let leaving_unready = with(leaving.clone(), &unready);
    let elsewhere = json!({"status": {"podIPs": [{"ip": "10.0.0.9"}]}});
    let newer = json!({"metadata": {"resourceVersion": "101"}});
    let namesake = json!({"metadata": {"uid": "b2"}});
    for (old, new, wanted) in [
        (None, &ready, Some("ready")),
        (None, &unready, Some("unready")),
        (None, &leaving, Some("terminating")),
        (Some(&ready), &unready, Some("unready")),
        (Some(&unready), &ready, Some("ready")),
        (Some(&ready), &leaving, Some("terminating")),
        (Some(&ready), &leaving_unready, Some("terminating")),
        (Some(&leaving), &leaving_unready, Some("unready")),
        (Some(&ready), &elsewhere, Some("changed")),
        (Some(&leaving), &with(leaving.clone(), &elsewhere), Some("changed")),
        (Some(&ready), &ready, None),
        (Some(&ready), &newer, None),
        (Some(&ready), &namesake, Some("ready")),
    ] {
        assert_eq!(told(old, new), wanted, "{old:?} -> {new}");
    }
}

#[test]
fn everything_that_ranks_a_member_is_a_change() {
    for over in [
        json!({"metadata": {"annotations": {"zen-lead.io/priority": "1"}}}),
        json!({"metadata": {"annotations": {"zen-lead.io/never-lead": "true"}}}),
        json!({"metadata": {"labels": {"pod-template-hash": "2"}}}),
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-11-20T08:00:08Z"}]}}),
    ] {
        assert_eq!(told(Some(&json!({})), &over), Some("changed"), "{over}");
    }
}

#[test]
fn a_pod_is_found_by_its_name() {
    let pods: std::collections::HashSet<ByName> =
        [Pod::new("a", "1"), Pod::new("b", "2")].map(ByName::from).into();
    assert!(pods.contains("a") && pods.contains("b") && !pods.contains("c"));
    assert_eq!(ByName::from(Pod::new("a", "1")), ByName::from(Pod::new("a", "9")), "by its name alone");
    assert_ne!(ByName::from(Pod::new("a", "1")), ByName::from(Pod::new("b", "1")));
}

/// The fixture runs on node-7 and says that this is in eu-1a.
#[test]
fn a_place_suits_by_its_node_first_and_by_its_zone() {
    let place = |row: &PodRow, ground: &Ground, node: Option<&str>, zone: Option<&str>| {
        let preferred = Preferred { node: node.map(Arc::from), zone: zone.map(Arc::from) };
        row.member(&View { preferred, ..view(&json!({})) }, ground).place
    };
    let (here, nowhere) = (row(&json!({})), Ground::default());
    for (node, zone, expected) in [
        (None, None, 0),
        (Some("node-8"), Some("eu-1b"), 0),
        (None, Some("eu-1a"), 1),
        (Some("node-7"), Some("eu-1b"), 2),
        (Some("node-7"), Some("eu-1a"), 3),
    ] {
        assert_eq!(place(&here, &nowhere, node, zone), expected, "{node:?} {zone:?}");
    }
    // Its own label is nearer to the truth than the node's, which counts where it has none.
    let ground = Ground { zone: Some("eu-1b".into()), ..Ground::default() };
    assert_eq!(place(&here, &ground, None, Some("eu-1b")), 0);
    let unlabelled = row(&json!({"metadata": {"labels": {"topology.kubernetes.io/zone": null}}}));
    assert_eq!(place(&unlabelled, &ground, None, Some("eu-1b")), 1);
    assert_eq!(place(&unlabelled, &nowhere, None, Some("eu-1b")), 0);
    // Nothing is no place that could be meant.
    let pending = row(&json!({"spec": {"nodeName": null}}));
    assert_eq!(place(&pending, &nowhere, None, None), 0);
}
