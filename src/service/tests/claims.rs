//! Whose an object is, and what becomes of those of the Go zen-lead.

use super::*;
use crate::kinds::fixtures::service_json;

/// Whose the leader Service is, once somebody did this to it.
fn whose(over: &Value) -> Claim {
    let view = view(&json!({}));
    claim_service(&decode(with(stored(&json!({}), &nobody()), over)), &place(&view))
}

/// The leader Service as the Go zen-lead made it.
fn made_by_go() -> Value {
    json!({
        "metadata": {
            "name": "orders-leader", "namespace": "shop", "uid": "l0",
            "labels": {"app": "orders", "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "orders"},
            "annotations": {"zen-lead.io/enabled": "true", "zen-lead.io/leader-pod-name": "orders-0"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "s0", "controller": true}],
        },
        "spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"],
            "ports": [{"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}]},
    })
}

fn foreign(claim: &Claim) -> &str {
    let Claim::Foreign(why) = claim else { panic!("{claim:?}") };
    why
}

#[test]
fn what_we_made_is_ours_though_its_labels_are_gone() {
    assert_eq!(whose(&json!({})), Claim::Ours);
    assert_eq!(whose(&json!({"metadata": {"labels": null}})), Claim::Ours);
    assert_eq!(whose(&json!({"metadata": {"labels": {"zen-lead.io/source-service": "bills"}}})), Claim::Ours);
    assert_eq!(whose(&json!({"metadata": {"labels": null, "ownerReferences": null}})), Claim::Adoptable);
    assert_eq!(whose(&json!({"metadata": {"annotations": null}})), Claim::Adoptable);
}

#[test]
fn b03_what_others_made_is_foreign() {
    let bare = json!({"metadata": {"labels": null, "annotations": null}});
    assert_eq!(foreign(&whose(&bare)), "it was not made by zen-lead");
    let half = json!({"metadata": {"annotations": null, "labels": {"app.kubernetes.io/managed-by": "Helm"}}});
    assert_eq!(foreign(&whose(&half)), "it was not made by zen-lead");
    let unnamed = json!({"metadata": {"annotations": null, "labels": {"zen-lead.io/source-service": null}}});
    assert_eq!(foreign(&whose(&unnamed)), "it was not made by zen-lead");
    let other = json!({"metadata": {"annotations": {"zen-lead.io/instance": "other/installation"}}});
    assert!(foreign(&whose(&other)).contains("other/installation"));
    let sibling = json!({"metadata": {
        "labels": {"zen-lead.io/source-service": "bills"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "bills", "uid": "b0", "controller": true}],
    }});
    assert!(foreign(&whose(&sibling)).contains("bills"));
    let owned = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "y", "controller": true},
    ]}});
    assert!(foreign(&whose(&owned)).contains("Deployment x"));
    // A Service may own a slice of the Go zen-lead, but never a leader Service.
    let odd = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "Service", "name": "orders-leader", "uid": "l0", "controller": true},
    ]}});
    assert!(foreign(&whose(&odd)).contains("orders-leader"));
}

#[test]
fn what_no_write_can_mend_is_stale() {
    let former = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "former", "controller": true},
    ]}});
    assert_eq!(whose(&former), Claim::Stale(Stale::Owner));
    assert_eq!(whose(&json!({"spec": {"clusterIP": "None"}})), Claim::Stale(Stale::Headless));
    assert_eq!(whose(&json!({"spec": {"ipFamilies": ["IPv6"]}})), Claim::Stale(Stale::Family));
    let foreign_and_headless =
        json!({"metadata": {"labels": null, "annotations": null}, "spec": {"clusterIP": "None"}});
    assert!(matches!(whose(&foreign_and_headless), Claim::Foreign(_)));
}

#[test]
fn p24_a_leader_service_of_go_is_adopted_with_one_patch() {
    let view = view(&json!({}));
    let observed: ServiceLite = decode(made_by_go());
    assert_eq!(claim_service(&observed, &place(&view)), Claim::Adoptable);
    let patch = json!(difference(&observed, &place(&view), None).unwrap());
    assert_eq!(
        patch["metadata"]["annotations"],
        json!({"zen-lead.io/instance": INSTALLATION, ENABLED: null})
    );
    assert_eq!(patch["spec"]["type"], "ClusterIP");
    assert_eq!(patch["spec"]["ports"], created(&json!({}))["spec"]["ports"]);
    assert_eq!(patch["spec"].get("clusterIP"), None);
    // Once it is written there is nothing left to do, and it is ours.
    let after = with(made_by_go(), &patch);
    let after: ServiceLite = decode(after);
    assert_eq!(difference(&after, &place(&view), None), None);
    assert_eq!(claim_service(&after, &place(&view)), Claim::Ours);
}

#[test]
fn p24_a_slice_of_go_is_adopted_if_its_leader_service_still_stands() {
    let view = view(&json!({}));
    let mut slice = made_by_go();
    merge(
        &mut slice,
        &json!({
            "metadata": {"annotations": null, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": "orders-leader", "uid": "l0", "controller": true},
            ]},
            "addressType": "IPv4",
        }),
    );
    let slice: SliceLite = decode(slice);
    let whose = |family, leader| claim_slice(&slice, &place(&view), family, leader);
    assert_eq!(whose(Family::V4, Some("l0")), Claim::Adoptable);
    assert_eq!(whose(Family::V4, None), Claim::Adoptable);
    assert_eq!(whose(Family::V4, Some("l1")), Claim::Stale(Stale::Owner));
    assert_eq!(whose(Family::V6, Some("l0")), Claim::Stale(Stale::Family));
}

#[test]
fn b08_what_zen_lead_made_is_no_source() {
    assert!(is_generated(&decode(made_by_go())));
    assert!(is_generated(&decode(with(
        stored(&json!({}), &nobody()),
        &json!({"metadata": {"labels": null}})
    ))));
    assert!(!is_generated(&service(&json!({}))));
}

#[test]
fn of_several_owners_the_one_that_controls_counts() {
    let several = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "y"},
        {"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "former", "controller": true},
    ]}});
    assert_eq!(whose(&several), Claim::Stale(Stale::Owner));
}

#[test]
fn who_opts_in_asks_for_a_service_and_a_slice_for_each_family() {
    let asks = |over: &Value, is_service, name| {
        let base = json!({"metadata": {"annotations": {ENABLED: "true"}}});
        asks_for(&decode(with(with(service_json(), &base), over)), is_service, name)
    };
    let plain = json!({});
    assert!(asks(&plain, true, "orders-leader") && asks(&plain, false, "orders-leader"));
    assert!(!asks(&plain, true, "bills-leader") && !asks(&plain, false, "bills-leader"));
    let named = json!({"metadata": {"annotations": {"zen-lead.io/leader-service-name": "primary"}}});
    assert!(asks(&named, true, "primary") && !asks(&named, true, "orders-leader"));
    let both = json!({"spec": {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}});
    assert!(asks(&both, false, "orders-leader-ipv6") && !asks(&both, true, "orders-leader-ipv6"));
    for not in [
        json!({"metadata": {"annotations": {ENABLED: "no"}}}),
        json!({"metadata": {"deletionTimestamp": "2025-11-20T08:00:00Z"}}),
        json!({"metadata": {"labels": {"zen-lead.io/source-service": "x"}}}),
        json!({"spec": {"selector": null}}),
    ] {
        assert!(!asks(&not, true, "orders-leader"), "{not}");
    }
}
