//! Whether the controller goes by nodes, what follows from that, and what is said of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use machine::{Bar, Chance, Version};
use serde_json::{Value, json};

use super::{Nodes, Trouble, told};
use crate::cli::look::Look;
use crate::cli::survey::{Facts, Survey, key};
use crate::kinds::NodeLite;
use crate::kinds::fixtures::{decode, row, service};

fn replica(container: &Value) -> Pod {
    decode(json!({ "spec": { "containers": [container] } }))
}

fn told_by(arguments: &[&str]) -> Pod {
    replica(&json!({ "name": "zen-lead", "args": arguments }))
}

#[test]
fn replicas_tell_by_argument_or_variable_whether_they_watch_nodes() {
    let variable = |value: &str| json!([{ "name": "ZEN_LEAD_WATCH_NODES", "value": value }]);
    assert_eq!(told(&[]), None, "nobody is there");
    assert_eq!(told(&[told_by(&["run", "--watch-nodes"])]), Some(true));
    assert_eq!(told(&[told_by(&["run", "--watch-nodes=no"])]), Some(false));
    assert_eq!(told(&[told_by(&["run", "--namespace=shop"])]), Some(false));
    assert_eq!(told(&[told_by(&["run", "--watch-nodes=perhaps"])]), None, "it does not start");
    let by_command = json!({ "name": "zen-lead", "command": ["/zen-lead", "run", "--watch-nodes"] });
    assert_eq!(told(&[replica(&by_command)]), Some(true));
    assert_eq!(told(&[replica(&json!({ "name": "zen-lead", "env": variable("on") }))]), Some(true));
    let both = json!({ "name": "zen-lead", "args": ["run", "--watch-nodes=false"], "env": variable("on") });
    assert_eq!(told(&[replica(&both)]), Some(false), "the argument goes before");
}

#[test]
fn replicas_that_differ_tell_nothing() {
    let (with, without) = (told_by(&["run", "--watch-nodes"]), told_by(&["run"]));
    assert_eq!(told(&[with.clone(), with.clone()]), Some(true));
    assert_eq!(told(&[with.clone(), without.clone()]), None);
    assert_eq!(told(&[without, with]), None);
}

fn node(name: &str, mut node: Value) -> NodeLite {
    node["metadata"]["name"] = name.into();
    decode(node)
}

fn cordoned(name: &str) -> NodeLite {
    node(name, json!({ "spec": { "unschedulable": true } }))
}

fn tainted(name: &str, taint: &str) -> NodeLite {
    node(name, json!({ "spec": { "taints": [{ "key": format!("node.kubernetes.io/{taint}") }] } }))
}

/// `orders-0` on `node-7`, which ranks first, and `orders-1` on `node-8`, which does not say in which zone it is.
fn look(annotations: &Value, nodes: Nodes) -> Look {
    let source = service(&json!({ "metadata": { "annotations": annotations } }));
    let second = json!({
        "metadata": {
            "name": "orders-1", "uid": "b1", "creationTimestamp": "2025-11-20T09:00:00Z",
            "labels": { "topology.kubernetes.io/zone": null },
        },
        "spec": { "nodeName": "node-8" },
    });
    let pods = (vec![row(&json!({})), row(&second)], Version(200));
    let key = key(&source);
    let facts = Facts {
        services: BTreeMap::from([(key.clone(), source)]),
        pods: BTreeMap::from([("shop".to_owned(), pods)]),
        nodes,
        ..Facts::default()
    };
    Survey::from(facts).look(&key).unwrap()
}

fn chosen(annotations: &Value, nodes: &[NodeLite], are_watched: Option<bool>) -> String {
    let look = look(annotations, Nodes::new(nodes, are_watched));
    look.election.unwrap().state().pod().unwrap().name().to_owned()
}

#[test]
fn what_a_controller_heeds_decides_who_is_chosen() {
    for node in [cordoned("node-7"), tainted("node-7", "unreachable"), tainted("node-7", "out-of-service")] {
        assert_eq!(chosen(&json!({}), std::slice::from_ref(&node), Some(true)), "orders-1", "{node:?}");
        for are_watched in [None, Some(false)] {
            assert_eq!(chosen(&json!({}), std::slice::from_ref(&node), are_watched), "orders-0", "{node:?}");
        }
    }
    assert_eq!(chosen(&json!({}), &[cordoned("node-8")], Some(true)), "orders-0");
    assert_eq!(chosen(&json!({}), &[], Some(true)), "orders-0");
}

#[test]
fn a_node_tells_the_zone_of_a_pod_that_does_not() {
    let wish = json!({ "zen-lead.io/prefer-zone": "eu-1b" });
    let labels = json!({ "topology.kubernetes.io/zone": "eu-1b" });
    let nodes = ["node-7", "node-8"].map(|name| node(name, json!({ "metadata": { "labels": labels } })));
    assert_eq!(chosen(&wish, &nodes, Some(true)), "orders-1");
    assert_eq!(chosen(&wish, &nodes, None), "orders-0", "as without --watch-nodes");
    let look = look(&wish, Nodes::new(&nodes, None));
    let zones: Vec<_> = look.pods.iter().flatten().map(|row| look.nodes.zone(row)).collect();
    assert_eq!(zones, [Some("eu-1a"), Some("eu-1b")], "where it is, it is all the same");
}

#[test]
fn nobody_on_a_node_out_of_service_can_lead() {
    let nodes = Nodes::new(&[tainted("node-7", "out-of-service")], Some(true));
    let election = look(&json!({}), nodes).election.unwrap();
    let candidates = election.candidates();
    let chances: Vec<_> = candidates.iter().map(|one| (one.member.pod.name(), one.chance)).collect();
    assert_eq!(chances, [("orders-1", Chance::Eligible), ("orders-0", Chance::Barred(Bar::NodeLost))]);
}

#[test]
fn what_is_wrong_with_a_node_is_said_with_what_follows() {
    let told = |node: NodeLite, are_watched| {
        let nodes = Nodes::new(&[node], are_watched);
        let row = row(&json!({}));
        (nodes.trouble(&row), nodes.words(&row).unwrap_or_default())
    };
    let words = |node, are_watched| told(node, are_watched).1;
    assert_eq!(words(cordoned("node-7"), Some(true)), "its node node-7 is cordoned: it is chosen last");
    assert_eq!(
        told(cordoned("node-7"), None),
        (Some(Trouble::Cordoned), "its node node-7 is cordoned: with --watch-nodes it is chosen last".into())
    );
    assert_eq!(
        words(cordoned("node-7"), Some(false)),
        "its node node-7 is cordoned, which does not count without --watch-nodes"
    );
    assert_eq!(
        told(tainted("node-7", "not-ready"), Some(true)),
        (Some(Trouble::Troubled), "its node node-7 is unreachable or not ready: it is chosen last".into())
    );
    assert_eq!(
        told(tainted("node-7", "out-of-service"), None),
        (
            Some(Trouble::OutOfService),
            "its node node-7 is out of service: with --watch-nodes it cannot lead".into()
        )
    );
    for node in [tainted("node-7", "memory-pressure"), cordoned("node-8")] {
        assert_eq!(told(node, Some(true)), (None, String::new()));
    }
}
