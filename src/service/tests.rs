//! The leader Service: what is made, what is repaired, what is left alone.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use machine::Pod;
use serde_json::{Value, json};

use super::*;
use crate::annotations::ENABLED;
use crate::kinds::SliceLite;
use crate::kinds::fixtures::{decode, merge, service, view, with};

mod claims;

const INSTALLATION: &str = "zen-lead/controller";

fn place(view: &View) -> Place<'_> {
    Place { view, leader_service: "orders-leader", instance: INSTALLATION }
}

fn nobody() -> Mirror {
    Mirror { leader: None, epoch: None, switched: None, ours: false, handled: None }
}

fn somebody() -> Mirror {
    Mirror {
        leader: Some(Pod::new("orders-0", "a0")),
        epoch: Some(Epoch(1_763_625_607)),
        switched: Some(Timestamp(1_763_625_607_999_999)),
        ours: true,
        handled: Some("orders-0".into()),
    }
}

/// What is created for a source, as JSON.
fn created(over: &Value) -> Value {
    json!(desired(&place(&view(over)), &nobody(), &[]))
}

/// What an API server makes of it.
fn stored(over: &Value, mirror: &Mirror) -> Value {
    let mut stored = json!(desired(&place(&view(over)), mirror, &[]));
    merge(
        &mut stored,
        &json!({
            "metadata": {"uid": "l0", "resourceVersion": "9"},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "internalTrafficPolicy": "Cluster"},
        }),
    );
    stored
}

/// What has to change for the fixture's leader Service once somebody did this to it.
fn repair(over: &Value) -> Option<Value> {
    let view = view(&json!({}));
    let observed = decode(with(stored(&json!({}), &nobody()), over));
    difference(&observed, &place(&view), None).map(|patch| json!(patch))
}

/// The same, less the version and UID that have to be in it.
fn repair_only(over: &Value) -> Value {
    let mut patch = repair(over).unwrap();
    let metadata = patch["metadata"].as_object_mut().unwrap();
    assert_eq!(metadata.remove("resourceVersion"), Some(json!("9")));
    assert_eq!(metadata.remove("uid"), Some(json!("l0")));
    if metadata.is_empty() {
        patch.as_object_mut().unwrap().remove("metadata");
    }
    patch
}

#[test]
fn p01_p02_a_leader_service_has_the_sources_ports_and_no_selector() {
    let service = created(&json!({}));
    assert_eq!(service["metadata"]["name"], "orders-leader");
    assert_eq!(service["metadata"]["namespace"], "shop");
    assert_eq!(service["spec"].get("selector"), None);
    assert_eq!(
        service["spec"]["ports"],
        json!([
            {"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "http"},
            {"name": "rpc", "port": 9000, "protocol": "TCP", "targetPort": 9000},
        ])
    );
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(service["spec"]["ipFamilyPolicy"], "PreferDualStack");
    assert_eq!(service["metadata"]["labels"]["app.kubernetes.io/managed-by"], "zen-lead");
    assert_eq!(service["metadata"]["labels"]["zen-lead.io/source-service"], "orders");
    assert_eq!(
        service["metadata"]["ownerReferences"],
        json!([{"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "s0", "controller": true}])
    );
}

#[test]
fn p12_a_headless_source_gets_an_ordinary_leader() {
    let service = created(&json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}));
    assert_eq!(service["spec"]["type"], "ClusterIP");
    assert_eq!((service["spec"].get("clusterIP"), service["spec"].get("clusterIPs")), (None, None));
}

#[test]
fn p13_labels_are_copied_less_those_of_gitops_tools() {
    let mut labels = json!({
        "team": "shop", "service.kubernetes.io/headless": "", "zen-lead.io/source-service": "forged",
        "zen-lead.io/more": "x",
    });
    for key in crate::names::GITOPS_LABELS {
        labels[key] = json!("x");
    }
    let service = created(&json!({"metadata": {"labels": labels}}));
    assert_eq!(
        service["metadata"]["labels"],
        json!({
            "app": "orders", "team": "shop",
            "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "orders",
        })
    );
}

#[test]
fn b05_node_ports_and_load_balancers_are_not_copied() {
    for kind in ["NodePort", "LoadBalancer"] {
        let service = created(&json!({"spec": {
            "type": kind, "internalTrafficPolicy": "Local",
            "ports": [{"name": "web", "port": 80, "nodePort": 30080, "protocol": "TCP"}],
        }}));
        assert_eq!(service["spec"]["type"], "ClusterIP");
        assert_eq!(service["spec"]["ports"], json!([{"name": "web", "port": 80, "protocol": "TCP"}]));
        assert_eq!(service["spec"].get("internalTrafficPolicy"), None);
    }
}

#[test]
fn b08_no_annotation_is_copied() {
    let service = created(&json!({"metadata": {"annotations": {"service.beta.kubernetes.io/lb": "x"}}}));
    assert_eq!(service["metadata"]["annotations"], json!({"zen-lead.io/instance": INSTALLATION}));
}

#[test]
fn session_affinity_is_kept() {
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    let source = json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}});
    let service = created(&source);
    assert_eq!(service["spec"]["sessionAffinity"], "ClientIP");
    assert_eq!(service["spec"]["sessionAffinityConfig"], config);
}

#[test]
fn p19_the_leader_is_mirrored() {
    let service = json!(desired(&place(&view(&json!({}))), &somebody(), &[]));
    assert_eq!(
        service["metadata"]["annotations"],
        json!({
            "zen-lead.io/instance": INSTALLATION,
            "zen-lead.io/current-leader": "orders-0",
            "zen-lead.io/leader-pod-name": "orders-0",
            "zen-lead.io/leader-pod-uid": "a0",
            "zen-lead.io/leader-last-switch-time": "2025-11-20T08:00:07Z",
            "zen-lead.io/epoch": "1763625607",
            "zen-lead.io/switchover-handled": "orders-0",
        })
    );
}

#[test]
fn former_cluster_ips_are_asked_for_as_far_as_they_fit() {
    let ips = |over: &Value, former: &[&str]| {
        let former: Vec<IpAddr> = former.iter().map(|ip| ip.parse().unwrap()).collect();
        let spec = desired(&place(&view(over)), &nobody(), &former).spec.unwrap();
        assert_eq!(spec.cluster_ip, spec.cluster_ips.clone().unwrap_or_default().first().cloned());
        spec.cluster_ips.unwrap_or_default()
    };
    let dual = json!({});
    assert_eq!(ips(&dual, &["10.96.0.1", "fd00::1"]), ["10.96.0.1", "fd00::1"]);
    assert_eq!(ips(&dual, &["fd00::1", "10.96.0.1"]), ["10.96.0.1", "fd00::1"]);
    assert_eq!(ips(&dual, &["10.96.0.1"]), ["10.96.0.1"]);
    // The second alone cannot be asked for.
    assert_eq!(ips(&dual, &["fd00::1"]), Vec::<String>::new());
    let single = json!({"spec": {"ipFamilies": ["IPv4"]}});
    assert_eq!(ips(&single, &["10.96.0.1", "fd00::1"]), ["10.96.0.1"]);
}

#[test]
fn p17_some_services_cannot_have_a_leader() {
    let of = |over: Value| Source::new(&service(&over)).unwrap_err();
    assert_eq!(of(json!({"spec": {"selector": null}})), InvalidService::NoSelector);
    assert_eq!(of(json!({"spec": {"type": "ExternalName"}})), InvalidService::ExternalName);
    assert_eq!(of(json!({"spec": {"ports": []}})), InvalidService::NoPorts);
    assert_eq!(of(json!({"spec": {"ports": null, "clusterIP": "None"}})), InvalidService::NoPorts);
    assert_eq!(Source::new(&ServiceLite::default()).unwrap_err(), InvalidService::NoSelector);
}

#[test]
fn families_are_the_servers_or_those_of_the_cluster_ips() {
    let of = |spec: Value| Source::new(&service(&json!({"spec": spec}))).unwrap().families;
    assert_eq!(of(json!({"ipFamilies": ["IPv6", "IPv4"]})), [Family::V6, Family::V4]);
    assert_eq!(of(json!({"ipFamilies": null})), [Family::V4, Family::V6]);
    assert_eq!(of(json!({"ipFamilies": null, "clusterIPs": null, "clusterIP": "fd00::1"})), [Family::V6]);
    assert_eq!(of(json!({"ipFamilies": null, "clusterIPs": ["None"], "clusterIP": "None"})), [Family::V4]);
}

#[test]
fn i8_what_is_as_it_should_be_needs_no_patch() {
    assert_eq!(repair(&json!({})), None);
    let view = view(&json!({}));
    let mirrored: ServiceLite = decode(stored(&json!({}), &somebody()));
    assert_eq!(difference(&mirrored, &place(&view), Some(&somebody())), None);
    // A source that leaves to the server what the server fills in.
    let plain = json!({"spec": {"ports": [{"port": 80}], "sessionAffinity": null}});
    let view = super::tests::view(&plain);
    let mut observed = stored(&plain, &nobody());
    let filled_in = json!({
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "sessionAffinity": "None",
    });
    merge(&mut observed, &json!({"spec": filled_in}));
    assert_eq!(difference(&decode(observed.clone()), &place(&view), None), None);
    // As good as nothing.
    merge(&mut observed, &json!({"spec": {"ports": [{"port": 80, "name": "", "nodePort": 0}]}}));
    assert_eq!(difference(&decode(observed), &place(&view), None), None);
}

#[test]
fn other_peoples_labels_and_annotations_are_left_alone() {
    let theirs = json!({"metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "2"}}});
    assert_eq!(repair(&theirs), None);
}

#[test]
fn b13_what_somebody_changed_is_put_back_and_nothing_else() {
    assert_eq!(
        repair_only(&json!({"spec": {"selector": {"app": "x"}}})),
        json!({"spec": {"selector": null}})
    );
    assert_eq!(
        repair_only(&json!({"metadata": {"labels": {"app": "x", "zen-lead.io/source-service": null}}})),
        json!({"metadata": {"labels": {"app": "orders", "zen-lead.io/source-service": "orders"}}})
    );
    assert_eq!(
        repair_only(&json!({"metadata": {"annotations": {"zen-lead.io/instance": null}}})),
        json!({"metadata": {"annotations": {"zen-lead.io/instance": INSTALLATION}}})
    );
    let ports = created(&json!({}))["spec"]["ports"].clone();
    for other in [
        json!([]),
        json!([ports[0]]),
        json!([ports[1], ports[0]]),
        json!([with(ports[0].clone(), &json!({"name": "renamed"})), ports[1]]),
        json!([with(ports[0].clone(), &json!({"targetPort": 8080})), ports[1]]),
        json!([with(ports[0].clone(), &json!({"nodePort": 30080})), ports[1]]),
        json!([with(ports[0].clone(), &json!({"protocol": "UDP"})), ports[1]]),
        json!([with(ports[0].clone(), &json!({"appProtocol": null})), ports[1]]),
    ] {
        assert_eq!(repair_only(&json!({"spec": {"ports": other}})), json!({"spec": {"ports": ports}}));
    }
    assert_eq!(
        repair_only(
            &json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}})
        ),
        json!({"spec": {"sessionAffinity": "None", "sessionAffinityConfig": null}})
    );
    assert_eq!(
        repair_only(&json!({"spec": {"ipFamilyPolicy": "SingleStack"}})),
        json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}})
    );
    assert_eq!(
        repair_only(&json!({"spec": {"internalTrafficPolicy": "Local"}})),
        json!({"spec": {"internalTrafficPolicy": "Cluster"}})
    );
}

#[test]
fn b13_another_type_goes_back_to_cluster_ip_with_what_would_be_refused() {
    let spec = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]});
    let patch = repair_only(&json!({"spec": spec}));
    assert_eq!(patch["spec"]["type"], "ClusterIP");
    let cleared = [
        "allocateLoadBalancerNodePorts",
        "externalName",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "loadBalancerClass",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
    ];
    for field in cleared {
        assert_eq!(patch["spec"].get(field), Some(&Value::Null), "{field}");
        // The full type knows the field: it is spelled right.
        let mut spec = json!({});
        spec[field] = match field {
            "allocateLoadBalancerNodePorts" => json!(true),
            "healthCheckNodePort" => json!(1),
            "loadBalancerSourceRanges" => json!(["x"]),
            _ => json!("x"),
        };
        assert_eq!(json!(decode::<Service>(json!({"spec": spec})))["spec"], spec);
    }
    assert_eq!(patch["spec"].as_object().unwrap().len(), cleared.len() + 1);
}

#[test]
fn b13_the_owner_is_put_back() {
    let owner = json!([json!(place(&view(&json!({}))).owner())]);
    for other in [
        json!(null),
        json!([{"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "s0"}]),
        json!([{"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "old", "controller": true}]),
        json!([owner[0], {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]),
        json!([with(owner[0].clone(), &json!({"blockOwnerDeletion": true}))]),
    ] {
        let patch = repair_only(&json!({"metadata": {"ownerReferences": other}}));
        assert_eq!(patch, json!({"metadata": {"ownerReferences": owner}}), "{other}");
    }
    let spelled_out = json!([with(owner[0].clone(), &json!({"blockOwnerDeletion": false}))]);
    assert_eq!(repair(&json!({"metadata": {"ownerReferences": spelled_out}})), None);
}

#[test]
fn b08_the_copied_opt_in_is_removed_and_other_annotations_stay() {
    let copied = json!({"metadata": {"annotations": {ENABLED: "true", "external-dns/hostname": "x"}}});
    assert_eq!(repair_only(&copied), json!({"metadata": {"annotations": {ENABLED: null}}}));
}

#[test]
fn a_mirror_touches_only_what_it_knows() {
    let view = view(&json!({}));
    let patch = |stands: &Mirror, wanted: &Mirror| {
        let observed = decode(stored(&json!({}), stands));
        difference(&observed, &place(&view), Some(wanted))
            .map(|patch| json!(patch)["metadata"]["annotations"].clone())
    };
    assert_eq!(
        patch(&somebody(), &nobody()).unwrap(),
        json!({
            "zen-lead.io/current-leader": null,
            "zen-lead.io/leader-pod-name": null,
            "zen-lead.io/leader-pod-uid": null,
        })
    );
    let next = Mirror { epoch: Some(Epoch(1_763_625_608)), switched: None, ..somebody() };
    assert_eq!(patch(&somebody(), &next).unwrap(), json!({"zen-lead.io/epoch": "1763625608"}));
}

/// Two replicas never know the same moment: one tells it, and the other leaves it so, or they would correct each other
/// for ever.
#[test]
fn i8_the_moment_of_a_change_is_told_by_whoever_wrote_it() {
    let view = view(&json!({}));
    let patch = |stands: &Mirror, wanted: &Mirror| {
        let observed = decode(stored(&json!({}), stands));
        difference(&observed, &place(&view), Some(wanted))
            .map(|patch| json!(patch)["metadata"]["annotations"].clone())
    };
    let later = Mirror { switched: Some(Timestamp(1_763_625_609_000_000)), ..somebody() };
    let later_by_another = Mirror { ours: false, ..later.clone() };
    let told = json!("2025-11-20T08:00:09Z");
    assert_eq!(patch(&somebody(), &later_by_another), None);
    assert_eq!(patch(&somebody(), &later).unwrap(), json!({ "zen-lead.io/leader-last-switch-time": told }));
    // Whoever wrote it may have died before it could tell.
    let unknown = Mirror { switched: None, ..somebody() };
    let next = Mirror { epoch: Some(Epoch(1_763_625_609)), ..later_by_another.clone() };
    for (stands, wanted) in [(&unknown, &later_by_another), (&somebody(), &next)] {
        assert_eq!(patch(stands, wanted).unwrap()["zen-lead.io/leader-last-switch-time"], told);
    }
    let nobody = Mirror { leader: None, ..later_by_another };
    assert_eq!(patch(&somebody(), &nobody).unwrap()["zen-lead.io/leader-last-switch-time"], told);
}

#[test]
fn what_was_mirrored_is_read_back() {
    let now = Timestamp::from_secs(1_763_625_600);
    let observed = decode(stored(&json!({}), &somebody()));
    let remembered = remembered(&observed, now);
    assert_eq!(remembered.epoch, Some(Epoch(1_763_625_607)));
    assert_eq!((remembered.invalid_epoch, remembered.handled.as_deref()), (None, Some("orders-0")));
    assert_eq!(super::remembered(&ServiceLite::default(), now), Remembered::default());
}

#[test]
fn i3_an_epoch_that_cannot_be_is_not_believed() {
    let now = Timestamp::from_secs(1_763_625_600);
    assert_eq!(epoch("1763625601", now), Some(Epoch(1_763_625_601)));
    let latest = 1_763_625_600 + EPOCH_LEAD_MAX;
    assert_eq!(epoch(&latest.to_string(), now), Some(Epoch(latest)));
    for bad in [&(latest + 1).to_string(), "18446744073709551616", "-1", "+1", " 1", "1.0", "0x1", "one"] {
        assert_eq!(epoch(bad, now), None, "{bad}");
        let service = service(&json!({"metadata": {"annotations": {EPOCH: bad}}}));
        assert_eq!(remembered(&service, now).invalid_epoch.as_deref(), Some(bad));
    }
}
