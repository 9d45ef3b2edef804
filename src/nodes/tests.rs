//! Ages of Leases, and whose fault silence is.

mod fleet;
mod judge;

use std::time::Duration;

use serde_json::json;

use self::fleet::{Fleet, secs};
use crate::kinds::fixtures::decode;

const NOTHING: [&str; 0] = [];
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

#[test]
fn a_silent_node_is_lost_after_two_and_a_half_renewals_and_back_with_the_next_one() {
    let mut fleet = Fleet::of(4);
    assert_eq!(fleet.pass(600), NOTHING);
    fleet.silence("n0");
    assert_eq!(fleet.pass_till_before("n0", 25), NOTHING);
    assert_eq!(fleet.pass(1), ["n0 is lost"]);
    assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (1, 0));
    assert_eq!(fleet.pass(600), NOTHING);
    fleet.revive("n0");
    assert_eq!(fleet.pass(1), ["n0 is back"]);
    assert_eq!(fleet.nodes.lost(), 0);
    assert_eq!(fleet.pass(600), NOTHING);
}

#[test]
fn who_asks_for_more_time_gets_it_and_who_asks_for_less_does_not() {
    for (asked, due) in [(None, 25), (Some(60), 60), (Some(1), 25)] {
        let mut fleet = Fleet::asking(asked.map(secs), 4, 40);
        fleet.silence("n1");
        assert_eq!(fleet.pass_till_before("n1", due), NOTHING, "{asked:?}");
        assert_eq!(fleet.pass(2), ["n1 is lost"], "{asked:?}");
    }
    // A Lease that is renewed more often lets it.
    let mut fleet = Fleet::asking(Some(secs(1)), 4, 1);
    fleet.silence("n1");
    assert_eq!(fleet.pass(2), ["n1 is lost"]);
}

#[test]
fn a_lease_that_says_nothing_of_its_time_has_kubernetes_own() {
    for duration in [json!(null), json!(0), json!(-5)] {
        let mut fleet = Fleet::of(4);
        fleet.lease("n0", &json!({ "leaseDurationSeconds": duration }));
        fleet.silence("n0");
        assert_eq!(fleet.pass(24), NOTHING, "{duration}");
        assert_eq!(fleet.pass(2), ["n0 is lost"], "{duration}");
    }
}

/// Whatever clocks say, also backwards, also always the same: only the version counts, by our own clock.
#[test]
fn what_clocks_have_written_into_a_lease_is_not_read() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    for time in
        ["2026-01-01T00:00:00.000000Z", "1971-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", "?"]
    {
        for _ in 0..3 {
            assert_eq!(fleet.pass(20), NOTHING);
            fleet.lease("n0", &json!({ "leaseDurationSeconds": 40, "renewTime": time }));
        }
    }
    assert_eq!(fleet.pass(26), ["n0 is lost"]);
}

// --- many ---

#[test]
fn when_all_go_silent_at_once_nobody_is_lost_however_their_renewals_are_spread() {
    for count in [2, 3, 4, 10, 100] {
        let mut fleet = Fleet::of(count);
        fleet.pass(137);
        fleet.silence_all();
        assert_eq!(fleet.pass(600), NOTHING, "{count} nodes");
        assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (0, count));
        fleet.revive_all();
        assert_eq!(fleet.pass(600), NOTHING, "{count} nodes");
        assert_eq!(fleet.nodes.held(), 0);
    }
}

#[test]
fn when_they_are_back_one_after_the_other_the_last_ones_have_the_whole_time_once_more() {
    let mut fleet = Fleet::of(10);
    fleet.silence_all();
    fleet.pass(100);
    for node in 0..9 {
        fleet.revive(&format!("n{node}"));
        assert_eq!(fleet.pass(2), NOTHING);
    }
    // Held until the eighth was back: seven silent ones of ten are too many, and so are four.
    assert_eq!(fleet.nodes.held(), 0);
    assert_eq!(fleet.pass(25 - 6), NOTHING);
    assert_eq!(fleet.pass(8), ["n9 is lost"]);
}

#[test]
fn one_of_three_is_lost_two_of_three_are_held() {
    let mut fleet = Fleet::of(3);
    fleet.silence("n0");
    assert_eq!(fleet.pass(30), ["n0 is lost"]);
    fleet.silence("n1");
    assert_eq!(fleet.pass(300), NOTHING);
    assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (1, 1));
    fleet.revive("n0");
    assert_eq!(fleet.pass(1), ["n0 is back"]);
    // Nobody holds it now; but it has its time once more.
    assert_eq!(fleet.pass(23), NOTHING);
    assert_eq!(fleet.pass(3), ["n1 is lost"]);
}

#[test]
fn three_of_ten_are_lost_and_the_fourth_is_held() {
    let mut fleet = Fleet::of(10);
    for node in ["n0", "n1", "n2"] {
        fleet.silence(node);
        assert_eq!(fleet.pass(60), [format!("{node} is lost")]);
    }
    fleet.silence("n3");
    assert_eq!(fleet.pass(600), NOTHING);
    assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (3, 1));
    // A person says that it is them; of three of nine that would not be enough.
    fleet.taint("n0", true);
    assert_eq!(fleet.pass(60), NOTHING);
    fleet.taint("n1", true);
    assert_eq!(fleet.pass(24), NOTHING);
    assert_eq!(fleet.pass(3), ["n3 is lost"]);
}

// --- what we could not hear ---

#[test]
fn the_time_in_which_we_were_cut_off_does_not_count() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    fleet.pass(20);
    fleet.nodes.hears_nothing(fleet.now);
    assert_eq!(fleet.pass_unheard(600), NOTHING);
    fleet.nodes.hears_again(fleet.now);
    assert_eq!(fleet.pass(24), NOTHING);
    assert_eq!(fleet.pass(2), ["n0 is lost"]);
}

/// The server ends every watch once in a while: that must not cost a detection its time.
#[test]
fn a_watch_that_is_resumed_at_once_costs_no_more_than_its_gap() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    fleet.pass(10);
    fleet.nodes.hears_nothing(fleet.now);
    fleet.now += Duration::from_millis(40);
    fleet.nodes.hears_again(fleet.now);
    assert_eq!(fleet.pass_till_before("n0", 25), NOTHING);
    assert_eq!(fleet.pass(1), ["n0 is lost"]);
}

#[test]
fn the_time_in_which_we_did_not_run_does_not_count() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    fleet.pass(20);
    fleet.now += secs(600);
    assert_eq!(fleet.pass(24), NOTHING);
    assert_eq!(fleet.pass(2), ["n0 is lost"]);
}

#[test]
fn before_the_watch_is_live_nothing_is_judged() {
    let mut fleet = Fleet::deaf(4);
    assert_eq!(fleet.pass_unheard(600), NOTHING);
    fleet.nodes.hears_again(fleet.now);
    assert_eq!(fleet.pass_unheard(24), NOTHING);
}

// --- lists ---

#[test]
fn a_list_that_shows_the_same_again_is_no_renewal() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    for _ in 0..4 {
        assert_eq!(fleet.pass(5), NOTHING);
        fleet.relist();
    }
    assert_eq!(fleet.pass_till_before("n0", 25), NOTHING);
    assert_eq!(fleet.pass(1), ["n0 is lost"]);
    fleet.renew("n0");
    fleet.relist();
    assert_eq!(fleet.pass(1), ["n0 is back"]);
}

#[test]
fn who_is_in_no_list_any_more_is_forgotten() {
    let mut fleet = Fleet::of(4);
    fleet.remove("n0");
    fleet.relist();
    assert_eq!(fleet.pass(600), NOTHING);
    assert_eq!(fleet.nodes.held(), 0);
}

// --- coming and going ---

#[test]
fn a_lost_node_that_is_deleted_stays_lost_until_it_is_heard_of_again() {
    let mut fleet = Fleet::of(4);
    fleet.silence("n0");
    assert_eq!(fleet.pass(26), ["n0 is lost"]);
    fleet.remove("n0");
    fleet.nodes.node_gone("n0", fleet.now);
    fleet.nodes.lease_gone("n0", fleet.now);
    assert_eq!(fleet.pass(600), NOTHING);
    assert_eq!(fleet.nodes.lost(), 0, "there is no such node");
    // A new Node of that name, whose kubelet has not said anything yet.
    fleet.taint("n0", false);
    assert_eq!(fleet.pass(60), NOTHING);
    fleet.revive("n0");
    assert_eq!(fleet.pass(1), ["n0 is back"]);
}

#[test]
fn a_lost_node_that_never_comes_back_is_forgotten_in_the_end() {
    let mut fleet = Fleet::of(4);
    fleet.taint("n0", true);
    fleet.remove("n0");
    fleet.nodes.node_gone("n0", fleet.now);
    fleet.nodes.lease_gone("n0", fleet.now);
    assert_eq!(fleet.pass(3_599), ["n0 is lost"]);
    assert_eq!(fleet.pass(2), ["n0 is back"]);
}

#[test]
fn a_node_that_comes_and_goes_begins_anew_each_time() {
    let mut fleet = Fleet::of(4);
    for _ in 0..10 {
        fleet.silence("n0");
        assert_eq!(fleet.pass(20), NOTHING);
        fleet.nodes.node_gone("n0", fleet.now);
        fleet.nodes.lease_gone("n0", fleet.now);
        fleet.taint("n0", false);
        fleet.renew("n0");
    }
    assert_eq!(fleet.pass(26), ["n0 is lost"]);
}

#[test]
fn a_node_without_a_lease_is_never_lost_and_a_lease_without_a_node_is_none() {
    let mut fleet = Fleet::of(3);
    fleet.taint("bare", false);
    fleet.renew("other");
    assert_eq!(fleet.pass(600), NOTHING);
    fleet.silence("n0");
    fleet.nodes.lease_gone("n0", fleet.now);
    assert_eq!(fleet.pass(600), NOTHING);
    assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (0, 0));
}

// --- out of service ---

#[test]
fn out_of_service_is_lost_at_once_and_back_without_the_taint() {
    let mut fleet = Fleet::of(4);
    fleet.taint("n2", true);
    assert_eq!(fleet.pass(0), ["n2 is lost"]);
    fleet.taint("n2", true);
    assert_eq!(fleet.pass(60), NOTHING);
    fleet.taint("n2", false);
    assert_eq!(fleet.pass(0), ["n2 is back"]);
}

#[test]
fn out_of_service_needs_no_guess_however_many_they_are() {
    let mut fleet = Fleet::of(4);
    for node in ["n0", "n1", "n2"] {
        fleet.silence(node);
        fleet.taint(node, true);
        assert_eq!(fleet.pass(60), [format!("{node} is lost")]);
    }
    assert_eq!((fleet.nodes.lost(), fleet.nodes.held()), (3, 0));
    // Without the taint it is as silent as before.
    fleet.taint("n0", false);
    assert_eq!(fleet.pass(60), NOTHING);
    fleet.revive("n0");
    assert_eq!(fleet.pass(1), ["n0 is back"]);
}

// --- zones ---

#[test]
fn a_zone_is_told_whenever_it_changes_and_no_longer_when_the_node_is_gone() {
    let mut fleet = Fleet::of(3);
    let zone =
        |zone| json!({ "metadata": { "name": "n0", "labels": { "topology.kubernetes.io/zone": zone } } });
    fleet.nodes.node_seen(&decode(zone(json!("eu-1a"))));
    assert_eq!(fleet.pass(0), ["n0 is back in eu-1a"]);
    fleet.nodes.node_seen(&decode(zone(json!("eu-1a"))));
    assert_eq!(fleet.pass(60), NOTHING);
    fleet.silence("n0");
    assert_eq!(fleet.pass(26), ["n0 is lost in eu-1a"]);
    fleet.nodes.node_seen(&decode(zone(json!("eu-1b"))));
    assert_eq!(fleet.pass(0), ["n0 is lost in eu-1b"]);
    fleet.revive("n0");
    assert_eq!(fleet.pass(1), ["n0 is back in eu-1b"]);
    fleet.nodes.node_gone("n0", fleet.now);
    fleet.nodes.lease_gone("n0", fleet.now);
    assert_eq!(fleet.pass(0), ["n0 is back"]);
    for empty in [json!(""), json!(null)] {
        fleet.nodes.node_seen(&decode(zone(empty)));
        assert_eq!(fleet.pass(0), NOTHING);
    }
}

// --- cordoned, and in trouble ---

#[test]
fn what_is_said_of_a_node_is_told_whenever_it_changes() {
    let mut fleet = Fleet::of(3);
    let node = |cordoned: bool, taints: &[&str]| {
        let taints: Vec<_> =
            taints.iter().map(|taint| json!({ "key": taint, "effect": "NoSchedule" })).collect();
        let spec = json!({ "unschedulable": cordoned.then_some(true), "taints": taints });
        decode(json!({ "metadata": { "name": "n0" }, "spec": spec }))
    };
    for (cordoned, taints, expected) in [
        (true, &["node.kubernetes.io/unschedulable"][..], "n0 is back, cordoned"),
        (true, &[UNREACHABLE], ""),
        (false, &[UNREACHABLE], "n0 is back, troubled"),
        (false, &["node.kubernetes.io/not-ready"], ""),
        (false, &["node.kubernetes.io/memory-pressure", "mine"], "n0 is back"),
        (true, &[], "n0 is back, cordoned"),
    ] {
        fleet.nodes.node_seen(&node(cordoned, taints));
        let told: Vec<_> = Some(expected).into_iter().filter(|expected| !expected.is_empty()).collect();
        assert_eq!(fleet.pass(0), told, "{cordoned} {taints:?}");
    }
    fleet.silence("n0");
    assert_eq!(fleet.pass(26), ["n0 is lost, cordoned"]);
    fleet.nodes.node_seen(&node(true, &["node.kubernetes.io/out-of-service"]));
    assert_eq!(fleet.pass(60), NOTHING);
}

#[test]
fn slim_objects_read_what_an_api_server_sends() {
    let node: crate::kinds::NodeLite = decode(json!({
        "metadata": {
            "name": "n0", "resourceVersion": "7", "managedFields": [{ "manager": "kubelet" }],
            "labels": { "kubernetes.io/hostname": "n0", "topology.kubernetes.io/zone": "eu-1a" },
        },
        "spec": { "podCIDR": "10.0.0.0/24", "taints": [
            { "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" },
            { "key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute" },
        ] },
        "status": { "images": [] },
    }));
    assert!(node.is_out_of_service() && node.name() == "n0" && node.zone() == Some("eu-1a"));
    let bare: crate::kinds::NodeLite =
        decode(json!({ "metadata": { "name": "n1" }, "spec": { "taints": null } }));
    assert!(!bare.is_out_of_service() && bare.zone().is_none());
    let lease: crate::kinds::NodeLeaseLite = decode(json!({
        "metadata": { "name": "n0", "namespace": "kube-node-lease", "resourceVersion": "8", "ownerReferences": [] },
        "spec": { "holderIdentity": "n0", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z" },
    }));
    assert_eq!((lease.name(), lease.spec.lease_duration_seconds), ("n0", Some(40)));
    assert_eq!(crate::kinds::version(&lease.metadata).0, 8);
}
