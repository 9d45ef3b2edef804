//! Leader slices: what is written, what is read back, and that both are the same.

use machine::Pod;
use serde_json::{Value, json};

use super::*;
use crate::kinds::SliceLite;
use crate::kinds::fixtures::{decode, row, view, with};

mod round_trip;

const INSTALLATION: &str = "zen-lead/controller";
const REPLICA: &str = "controller-7f/x1";
const NOW: Timestamp = Timestamp::from_secs(1_763_625_610);
const EPOCH_NOW: Epoch = Epoch(1_763_625_608);

fn place(view: &View) -> Place<'_> {
    Place { view, leader_service: "orders-leader", instance: INSTALLATION }
}

fn nobody() -> Wanted {
    Wanted { leader: None, epoch: Some(EPOCH_NOW), shown: Shown::Nobody, handled: None }
}

fn leading(row: &PodRow, view: &View, family: Family) -> Wanted {
    let shown = Shown::Ready(row.reach(view, family).endpoint().unwrap());
    Wanted { leader: Some(row.pod.clone()), epoch: Some(EPOCH_NOW), shown, handled: None }
}

fn draft<'a>(view: &'a View, wanted: &'a Wanted, row: Option<&'a PodRow>) -> Draft<'a> {
    let place = place(view);
    Draft { place, family: Family::V4, wanted, row, based_on: None, term_by: REPLICA, triggered: None }
}

/// The slice as an API server gives it back.
fn stored(slice: &EndpointSlice, over: &Value) -> SliceLite {
    let added = json!({"metadata": {"uid": "e0", "resourceVersion": "200"}});
    decode(with(with(json!(slice), &added), over))
}

fn read(slice: &SliceLite, view: &View) -> Observed {
    observe(slice, &place(view), Family::V4, REPLICA, NOW)
}

/// The fixture's pod leads; then somebody does this to the slice. What does it say, and is it what we want?
fn after(over: &Value) -> (Observed, bool) {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let wanted = leading(&row, &view, Family::V4);
    let slice = draft(&view, &wanted, Some(&row)).slice().unwrap();
    let observed = read(&stored(&slice, over), &view);
    let as_wanted = observed.publication.says(&wanted);
    (observed, as_wanted)
}

#[test]
fn p01_p03_a_leader_slice_is_written_in_full() {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let wanted = Wanted { handled: Some("orders-0".into()), ..leading(&row, &view, Family::V4) };
    let draft =
        Draft { triggered: Some(Timestamp(1_763_625_607_250_000)), ..draft(&view, &wanted, Some(&row)) };
    assert_eq!(
        json!(draft.slice().unwrap()),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "orders-leader", "namespace": "shop",
                "labels": {
                    "app": "orders",
                    "app.kubernetes.io/managed-by": "zen-lead",
                    "endpointslice.kubernetes.io/managed-by": "zen-lead",
                    "kubernetes.io/service-name": "orders-leader",
                    "zen-lead.io/source-service": "orders",
                },
                "annotations": {
                    "endpoints.kubernetes.io/last-change-trigger-time": "2025-11-20T08:00:07.25Z",
                    "zen-lead.io/epoch": "1763625608",
                    "zen-lead.io/instance": INSTALLATION,
                    "zen-lead.io/leader-pod-name": "orders-0",
                    "zen-lead.io/leader-pod-uid": "a0",
                    "zen-lead.io/switchover-handled": "orders-0",
                    "zen-lead.io/term-by": REPLICA,
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "s0", "controller": true},
                ],
            },
            "addressType": "IPv4",
            "endpoints": [{
                "addresses": ["10.0.7.21"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "node-7",
                "zone": "eu-1a",
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-0", "uid": "a0"},
            }],
            "ports": [
                {"name": "web", "port": 8080, "protocol": "TCP", "appProtocol": "http"},
                {"name": "rpc", "port": 9000, "protocol": "TCP"},
            ],
        })
    );
}

#[test]
fn b01_nobody_leads_means_an_empty_slice_that_keeps_the_epoch() {
    let view = view(&json!({}));
    let slice = json!(draft(&view, &nobody(), None).slice().unwrap());
    assert_eq!((&slice["endpoints"], &slice["ports"]), (&json!([]), &json!([])));
    assert_eq!(
        slice["metadata"]["annotations"],
        json!({"zen-lead.io/epoch": "1763625608", "zen-lead.io/instance": INSTALLATION, "zen-lead.io/term-by": REPLICA})
    );
    assert!(read(&decode(slice.clone()), &view).publication.says(&nobody()));
    let with_ports = with(slice, &json!({"ports": [{"name": "web", "port": 80}]}));
    assert!(!read(&decode(with_ports), &view).publication.says(&nobody()));
}

#[test]
fn a_draining_leader_is_shown_terminating_but_serving() {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let Wanted { shown: Shown::Ready(endpoint), .. } = leading(&row, &view, Family::V4) else { panic!() };
    let wanted = Wanted { shown: Shown::Terminating(endpoint), ..leading(&row, &view, Family::V4) };
    let slice = draft(&view, &wanted, Some(&row)).slice().unwrap();
    assert_eq!(
        json!(slice.endpoints[0].conditions),
        json!({"ready": false, "serving": true, "terminating": true})
    );
    assert!(read(&stored(&slice, &json!({})), &view).publication.says(&wanted));
}

#[test]
fn i2_a_pod_that_is_no_longer_what_was_ordered_is_not_written() {
    let (ordered, view) = (row(&json!({})), view(&json!({})));
    let wanted = leading(&ordered, &view, Family::V4);
    let refused = |row: Option<&PodRow>, wanted: &Wanted| draft(&view, wanted, row).slice().is_none();
    assert!(!refused(Some(&ordered), &wanted));
    assert!(refused(None, &wanted));
    assert!(refused(Some(&row(&json!({"metadata": {"uid": "b2"}}))), &wanted));
    assert!(refused(Some(&row(&json!({"status": {"podIPs": [{"ip": "10.0.0.9"}]}}))), &wanted));
    assert!(refused(Some(&row(&json!({"status": {"podIP": null, "podIPs": null}}))), &wanted));
    assert!(refused(Some(&row(&json!({"spec": {"containers": null}}))), &wanted));
    assert!(refused(Some(&ordered), &Wanted { shown: Shown::Foreign, ..wanted.clone() }));
    assert!(refused(Some(&ordered), &Wanted { leader: None, ..wanted }));
}

#[test]
fn i4_a_write_carries_the_version_and_the_uid_and_gives_back_what_is_not_ours() {
    let theirs = json!({"metadata": {
        "labels": {"theirs": "1", "app": "edited"},
        "annotations": {"theirs": "2", "endpoints.kubernetes.io/last-change-trigger-time": "2025-01-01T00:00:00Z"},
        "finalizers": ["theirs/3"],
    }});
    let (observed, _) = after(&theirs);
    let (row, view) = (row(&json!({})), view(&json!({})));
    let wanted = leading(&row, &view, Family::V4);
    let based_on = Some((observed.publication.version, &observed.extras));
    let slice = Draft { based_on, ..draft(&view, &wanted, Some(&row)) }.slice().unwrap();
    let metadata = json!(slice.metadata);
    assert_eq!((&metadata["resourceVersion"], &metadata["uid"]), (&json!("200"), &json!("e0")));
    assert_eq!((&metadata["labels"]["theirs"], &metadata["labels"]["app"]), (&json!("1"), &json!("orders")));
    assert_eq!(metadata["annotations"]["theirs"], "2");
    // An old trigger time would make kube-proxy report an absurd delay.
    assert_eq!(metadata["annotations"].get(TRIGGER_TIME), None);
    assert_eq!(metadata["finalizers"], json!(["theirs/3"]));
}

#[test]
fn i8_what_is_not_ours_to_decide_causes_no_write() {
    for theirs in [
        json!({}),
        json!({"metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "2"}, "finalizers": ["x/y"]}}),
        json!({"metadata": {"annotations": {TRIGGER_TIME: "2025-01-01T00:00:00Z"}}}),
        json!({"metadata": {"resourceVersion": "201", "generation": 5}}),
    ] {
        assert!(after(&theirs).1, "{theirs}");
    }
}

#[test]
fn b13_every_edit_of_what_is_ours_is_seen() {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let slice = json!(draft(&view, &leading(&row, &view, Family::V4), Some(&row)).slice().unwrap());
    let (endpoint, port) = (slice["endpoints"][0].clone(), slice["ports"][0].clone());
    let endpoint = |over: Value| json!({"endpoints": [with(endpoint.clone(), &over)]});
    let ports = |over: Value| json!({"ports": [with(port.clone(), &over), slice["ports"][1]]});
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
    for edit in [
        json!({"addressType": "IPv6"}),
        json!({"endpoints": null}),
        json!({"endpoints": [slice["endpoints"][0], slice["endpoints"][0]]}),
        endpoint(json!({"addresses": ["10.0.7.22"]})),
        endpoint(json!({"addresses": ["10.0.7.21", "10.0.7.22"]})),
        endpoint(json!({"addresses": ["fd00:7::21"]})),
        endpoint(json!({"addresses": ["nonsense"]})),
        endpoint(json!({"addresses": null})),
        endpoint(json!({"conditions": {"ready": false}})),
        endpoint(json!({"conditions": {"ready": null}})),
        endpoint(json!({"conditions": {"serving": false}})),
        endpoint(json!({"conditions": {"terminating": true}})),
        endpoint(json!({"conditions": null})),
        endpoint(json!({"nodeName": "node-8"})),
        endpoint(json!({"zone": null})),
        endpoint(json!({"hostname": "x"})),
        endpoint(json!({"hints": {"forZones": [{"name": "eu-1b"}]}})),
        endpoint(json!({"deprecatedTopology": {"x": "y"}})),
        endpoint(json!({"targetRef": null})),
        endpoint(json!({"targetRef": {"kind": "Node"}})),
        endpoint(json!({"targetRef": {"namespace": "other"}})),
        endpoint(json!({"targetRef": {"name": "orders-1"}})),
        endpoint(json!({"targetRef": {"uid": "b2"}})),
        endpoint(json!({"conditions": {"ready": false, "serving": null, "terminating": true}})),
        json!({"ports": null}),
        json!({"ports": [slice["ports"][1], slice["ports"][0]]}),
        ports(json!({"port": 8081})),
        ports(json!({"port": null})),
        ports(json!({"name": "x"})),
        ports(json!({"protocol": "UDP"})),
        ports(json!({"appProtocol": null})),
        json!({"metadata": {"labels": null}}),
        json!({"metadata": {"labels": {"app": "x"}}}),
        json!({"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}),
        json!({"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "other"}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        json!({"metadata": {"labels": {"zen-lead.io/source-service": null}}}),
        json!({"metadata": {"ownerReferences": null}}),
        annotation(INSTANCE, json!(null)),
        annotation(TERM_BY, json!(null)),
        annotation(EPOCH, json!("1763625609")),
        annotation(EPOCH, json!(null)),
        annotation(EPOCH, json!("soon")),
        annotation(LEADER_POD_UID, json!("b2")),
        annotation(LEADER_POD_UID, json!(null)),
        annotation(LEADER_POD_NAME, json!("orders-1")),
        annotation(LEADER_POD_NAME, json!(null)),
        annotation(SWITCHOVER_HANDLED, json!("orders-1")),
    ] {
        assert!(!after(&edit).1, "{edit}");
    }
}

#[test]
fn an_endpoint_that_contradicts_the_recorded_leader_is_foreign() {
    let target = |uid: &str, name: &str| {
        json!({"endpoints": [{
            "addresses": ["10.0.7.21"], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": name, "uid": uid},
        }]})
    };
    let (observed, _) = after(&target("b2", "orders-1"));
    assert_eq!(observed.publication.shown, Shown::Foreign);
    let leader = observed.publication.leader.unwrap();
    assert_eq!((leader.name(), leader.uid()), ("orders-0", "a0"));
}

#[test]
fn b13_an_emptied_slice_still_says_who_led() {
    let (observed, _) = after(&json!({"endpoints": null, "ports": null}));
    let leader = observed.publication.leader.unwrap();
    assert_eq!((leader.name(), leader.uid()), ("orders-0", "a0"));
    assert_eq!(observed.publication.shown, Shown::Nobody);
}

#[test]
fn a_name_that_is_no_pods_is_not_believed() {
    // It would become part of a request's path.
    for name in ["../secrets", "a/b", "A", "", "a?b", &"a".repeat(254)] {
        let edit = json!({"endpoints": null, "metadata": {"annotations": {LEADER_POD_NAME: name}}});
        assert_eq!(after(&edit).0.publication.leader, None, "{name}");
    }
    for uid in ["a/b", "a b", "../x", &"a".repeat(65)] {
        let edit = json!({"metadata": {"annotations": {LEADER_POD_UID: uid}}});
        assert_eq!(after(&edit).0.publication.leader, None, "{uid}");
    }
}

#[test]
fn i3_an_epoch_that_cannot_be_is_none_and_reported() {
    for bad in ["99999999999", "-1", "later"] {
        let (observed, _) = after(&json!({"metadata": {"annotations": {EPOCH: bad}}}));
        assert_eq!((observed.publication.epoch, observed.invalid_epoch.as_deref()), (None, Some(bad)));
    }
    let (observed, _) = after(&json!({"metadata": {"annotations": {EPOCH: null}}}));
    assert_eq!((observed.publication.epoch, observed.invalid_epoch), (None, None));
}

/// The Go zen-lead puts a pod into a slice that we had emptied, and leaves our annotations.
#[test]
fn i3_an_epoch_without_its_leader_is_not_that_of_the_pod_that_is_shown() {
    let edit = json!({"metadata": {"annotations": {LEADER_POD_UID: null, LEADER_POD_NAME: null}}});
    let (Observed { publication, .. }, as_wanted) = after(&edit);
    assert!(!as_wanted);
    assert_eq!((publication.leader, publication.epoch), (None, Some(EPOCH_NOW)));
    assert_eq!(publication.shown, Shown::Foreign);
}

#[test]
fn the_replica_that_wrote_the_term_is_known() {
    let (observed, _) = after(&json!({}));
    assert!(observed.publication.ours && observed.term_by.as_deref() == Some(REPLICA));
    let (observed, as_wanted) = after(&json!({"metadata": {"annotations": {TERM_BY: "controller-7f/x2"}}}));
    assert!(!observed.publication.ours && observed.term_by.as_deref() == Some("controller-7f/x2"));
    assert!(as_wanted, "another replica's publication is as good as ours");
}

#[test]
fn only_writers_other_than_this_program_are_named() {
    let by = |manager: &str| {
        let fields = json!([{"manager": manager, "operation": "Update", "time": "2025-11-20T08:00:09Z"}]);
        after(&json!({"metadata": {"managedFields": fields}})).0.manager
    };
    assert_eq!((by("kubectl-edit").as_deref(), by(names::FIELD_MANAGER)), (Some("kubectl-edit"), None));
    // The Go zen-lead, still running beside us.
    assert_eq!(by("zen-lead").as_deref(), Some("zen-lead"));
}

/// A slice as the Go zen-lead wrote it, for the fixture's pod.
fn made_by_go(ready: bool) -> SliceLite {
    decode(json!({
        "metadata": {
            "name": "orders-leader", "namespace": "shop", "uid": "e0", "resourceVersion": "200",
            "labels": {
                "app": "orders", "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "orders",
                "kubernetes.io/service-name": "orders-leader", "endpointslice.kubernetes.io/managed-by": "zen-lead",
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": "orders-leader", "uid": "l0", "controller": true},
            ],
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.0.7.21"], "conditions": {"ready": ready}, "nodeName": "node-7",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-0", "uid": "a0"},
        }],
        "ports": [
            {"name": "web", "port": 8080, "protocol": "TCP"}, {"name": "rpc", "port": 9000, "protocol": "TCP"},
        ],
    }))
}

#[test]
fn p24_a_slice_of_go_says_who_leads_and_needs_one_write() {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let observed = read(&made_by_go(true), &view);
    let Publication { leader, epoch, shown, intact, ours, .. } = observed.publication.clone();
    assert_eq!((leader, epoch, intact, ours), (Some(Pod::new("orders-0", "a0")), None, false, false));
    let Shown::Ready(endpoint) = shown else { panic!("{shown:?}") };
    assert_eq!(endpoint.address.to_string(), "10.0.7.21");
    // The one write: then it says what is wanted.
    let wanted = leading(&row, &view, Family::V4);
    let based_on = Some((observed.publication.version, &observed.extras));
    let slice = Draft { based_on, ..draft(&view, &wanted, Some(&row)) }.slice().unwrap();
    assert!(read(&stored(&slice, &json!({})), &view).publication.says(&wanted));
}

#[test]
fn what_is_not_ready_does_not_serve_unless_it_says_so() {
    let conditions = json!({"ready": false, "terminating": true, "serving": null});
    let endpoint = json!({
        "addresses": ["10.0.7.21"], "conditions": conditions,
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "orders-0", "uid": "a0"},
    });
    assert_eq!(after(&json!({"endpoints": [endpoint]})).0.publication.shown, Shown::Foreign);
}

#[test]
fn b01_a_dead_endpoint_of_go_is_foreign() {
    let observed = read(&made_by_go(false), &view(&json!({})));
    assert_eq!(observed.publication.shown, Shown::Foreign);
}

#[test]
fn i12_the_second_family_follows_the_acknowledged_authority() {
    let (row, view) = (row(&json!({})), view(&json!({})));
    let authority = leading(&row, &view, Family::V4).acknowledged(Version(200));
    let wanted = second_family(&authority, Some(&row), &view, Family::V6).unwrap();
    assert_eq!((&wanted.leader, wanted.epoch), (&authority.leader, authority.epoch));
    let slice = Draft { family: Family::V6, ..draft(&view, &wanted, Some(&row)) }.slice().unwrap();
    assert_eq!(slice.metadata.name.as_deref(), Some("orders-leader-ipv6"));
    assert_eq!((&*slice.address_type, &*slice.endpoints[0].addresses[0]), ("IPv6", "fd00:7::21"));
    let observed = observe(&stored(&slice, &json!({})), &place(&view), Family::V6, REPLICA, NOW);
    assert!(observed.publication.says(&wanted));
}

#[test]
fn i12_the_second_family_shows_nobody_rather_than_somebody_else() {
    let (leader, view) = (row(&json!({})), view(&json!({})));
    let authority = leading(&leader, &view, Family::V4).acknowledged(Version(200));
    let shown = |authority: &Publication, row: Option<&PodRow>| {
        second_family(authority, row, &view, Family::V6).map(|wanted| (wanted.leader, wanted.shown))
    };
    let led_by_nobody_here = Some((authority.leader.clone(), Shown::Nobody));
    assert_eq!(shown(&authority, None), led_by_nobody_here);
    let other = row(&json!({"metadata": {"uid": "b2"}}));
    assert_eq!(shown(&authority, Some(&other)), led_by_nobody_here);
    let single = row(&json!({"status": {"podIPs": [{"ip": "10.0.7.21"}]}}));
    assert_eq!(shown(&authority, Some(&single)), led_by_nobody_here);
    let empty = nobody().acknowledged(Version(200));
    assert_eq!(shown(&empty, Some(&leader)), Some((None, Shown::Nobody)));
    let Shown::Ready(endpoint) = authority.shown else { panic!() };
    let draining = Publication { shown: Shown::Terminating(endpoint), ..authority.clone() };
    assert!(matches!(shown(&draining, Some(&leader)), Some((_, Shown::Terminating(_)))));
    let edited = Publication { shown: Shown::Foreign, ..authority };
    assert_eq!(shown(&edited, Some(&leader)), None);
}

#[test]
fn names_of_63_characters_fit() {
    let source = "a".repeat(63);
    let view = view(&json!({"metadata": {"name": source}}));
    let leader_service = crate::names::leader_service(&source);
    let place = Place { leader_service: &leader_service, ..place(&view) };
    let wanted = nobody();
    for family in [Family::V4, Family::V6] {
        let slice = Draft { place, family, ..draft(&view, &wanted, None) }.slice().unwrap();
        let labels = slice.metadata.labels.clone().unwrap();
        assert!(labels.values().all(|value| value.len() <= 63));
        assert!(observe(&decode(json!(slice)), &place, family, REPLICA, NOW).publication.says(&wanted));
    }
}

#[test]
fn b13_a_name_without_a_uid_is_not_what_an_empty_slice_says() {
    let (view, wanted) = (view(&json!({})), nobody());
    let slice = draft(&view, &wanted, None).slice().unwrap();
    assert!(read(&stored(&slice, &json!({})), &view).publication.intact);
    let named = json!({"metadata": {"annotations": {"zen-lead.io/leader-pod-name": "orders-0"}}});
    assert!(!read(&stored(&slice, &named), &view).publication.intact);
}

/// All ports, which is not what we write.
#[test]
fn b13_a_port_without_a_number_is_no_port_1() {
    let content = |number: Value| {
        let (observed, _) = after(&json!({"ports": [{"name": "web", "protocol": "TCP", "port": number}]}));
        observed.publication.shown
    };
    assert_ne!(content(Value::Null), content(json!(1)));
}
