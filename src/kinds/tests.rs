//! Decoding: nothing odd may stop a watch, nothing that matters may be lost.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::{ObjectList, WatchEvent};
use serde_json::{Value, json};

use super::fixtures::{POD, decode, service_json};
use super::*;
use crate::names::FIELD_MANAGER;

#[test]
fn a_real_pod_says_the_same_as_the_full_type() {
    assert!((6_000..10_500).contains(&POD.len()), "{}", POD.len());
    let full: Pod = serde_json::from_str(POD).unwrap();
    let lite: PodLite = serde_json::from_str(POD).unwrap();
    let (metadata, spec, status) = (full.metadata, full.spec.unwrap(), full.status.unwrap());
    assert_eq!(lite.metadata.name, metadata.name);
    assert_eq!(lite.metadata.namespace, metadata.namespace);
    assert_eq!(lite.metadata.uid, metadata.uid);
    assert_eq!(lite.metadata.resource_version, metadata.resource_version);
    assert_eq!(lite.metadata.labels, metadata.labels);
    assert_eq!(lite.metadata.creation_timestamp, metadata.creation_timestamp);
    assert_eq!(lite.spec.node_name, spec.node_name);
    let ports = |of: &ContainerLite| of.ports.clone();
    let full_ports: Vec<_> = spec.containers.iter().map(|of| of.ports.clone().unwrap()).collect();
    assert_eq!(lite.spec.containers.iter().map(ports).collect::<Vec<_>>(), full_ports);
    assert_eq!(lite.spec.init_containers[0].restart_policy.as_deref(), Some("Always"));
    assert_eq!(lite.spec.init_containers[1].restart_policy, None);
    assert_eq!(lite.status.phase, status.phase);
    assert_eq!(lite.status.pod_ip, status.pod_ip);
    let ips = status.pod_ips.unwrap().into_iter().map(|ip| Some(ip.ip));
    assert_eq!(
        lite.status.pod_ips.iter().map(|ip| ip.ip.clone()).collect::<Vec<_>>(),
        ips.collect::<Vec<_>>()
    );
    let ready = lite.status.ready_condition().unwrap();
    let full_ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, Some(full_ready.status));
    assert_eq!(ready.last_transition_time, full_ready.last_transition_time);
}

#[test]
fn of_a_pod_only_our_annotations_are_kept() {
    let lite: PodLite = serde_json::from_str(POD).unwrap();
    assert_eq!(json!(lite.metadata.annotations), json!({"zen-lead.io/priority": "10"}));
    assert_eq!(lite.metadata.managed_fields, None);
    assert_eq!(lite.metadata.owner_references, None);
}

#[test]
fn lists_and_watch_events_decode() {
    let pod: Value = serde_json::from_str(POD).unwrap();
    let list =
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "5"}, "items": [pod]});
    assert_eq!(decode::<ObjectList<PodLite>>(list).items.len(), 1);
    let line = format!(r#"{{"type":"DELETED","object":{POD}}}"#);
    let event: WatchEvent<PodLite> = serde_json::from_str(&line).unwrap();
    assert!(matches!(event, WatchEvent::Deleted(pod) if version(&pod.metadata) == Version(123_456_789)));
}

#[test]
fn what_is_missing_or_null_takes_its_default() {
    for odd in [
        json!({}),
        json!({"metadata": null, "spec": null, "status": null, "endpoints": null, "ports": null}),
        json!({"metadata": {}, "spec": {}, "status": {}}),
        json!({
            "metadata": {"name": null, "labels": null, "annotations": null, "ownerReferences": null,
                "managedFields": null, "finalizers": null, "resourceVersion": null, "creationTimestamp": null,
                "deletionTimestamp": null, "deletionGracePeriodSeconds": null},
            "spec": {"containers": null, "initContainers": null, "nodeName": null, "selector": null,
                "ports": null, "clusterIP": null, "clusterIPs": null, "ipFamilies": null, "type": null,
                "sessionAffinityConfig": null},
            "status": {"conditions": null, "podIP": null, "podIPs": null, "phase": null},
            "addressType": null, "endpoints": null,
        }),
        json!({
            "metadata": {"annotations": {"zen-lead.io/enabled": null, "other": null}, "managedFields": [],
                "labels": {"app": null}},
            "spec": {"containers": [{}, {"ports": null}, {"ports": [{}]}], "ports": [{"port": null}]},
            "status": {"conditions": [{}, {"type": "Ready"}], "podIPs": [{}, {"ip": null}]},
            "endpoints": [{}, {"addresses": null, "conditions": null, "targetRef": null}],
        }),
    ] {
        let pod: PodLite = decode(odd.clone());
        assert_eq!(pod.metadata.name, None);
        let service: ServiceLite = decode(odd.clone());
        assert!(service.spec.selector.is_empty());
        let slice: SliceLite = decode(odd);
        assert_eq!(slice.address_type, "");
    }
}

#[test]
fn ten_thousand_ports_decode() {
    let ports: Vec<_> = (1..=10_000).map(|i| json!({"name": format!("p{i}"), "containerPort": i})).collect();
    let pod: PodLite = decode(json!({"spec": {"containers": [{"ports": ports}]}}));
    assert_eq!(pod.spec.containers[0].ports.len(), 10_000);
}

#[test]
fn a_service_keeps_only_our_annotations_and_what_routes() {
    let service: ServiceLite = decode(service_json());
    assert_eq!(json!(service.metadata.annotations), json!({"zen-lead.io/enabled": "true"}));
    assert_eq!(service.spec.cluster_ips, ["10.96.0.9", "fd00:96::9"]);
    assert_eq!(service.spec.ports.len(), 2);
    assert_eq!(service.spec.kind.as_deref(), Some("ClusterIP"));
}

#[test]
fn a_slice_keeps_all_that_a_put_must_give_back() {
    let json = json!({
        "metadata": {
            "name": "x", "labels": {"theirs": "1"}, "annotations": {"theirs": "2"}, "finalizers": ["theirs/3"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "x", "uid": "u"}],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "z"}]}, "hostname": "h"}],
        "ports": [{"name": "web", "port": 80}],
    });
    let full: EndpointSlice = decode(json.clone());
    let lite: SliceLite = decode(json);
    assert_eq!(lite.metadata, full.metadata);
    assert_eq!((lite.endpoints, Some(lite.ports)), (full.endpoints, full.ports));
}

#[test]
fn the_newest_manager_is_told() {
    let by = |fields: Value| {
        let slice: SliceLite = decode(json!({"metadata": {"managedFields": fields}}));
        slice.manager().map(ToOwned::to_owned)
    };
    let entry = |manager: &str, second: u32| {
        json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:metadata": {}},
            "time": format!("2025-11-20T08:00:{second:02}Z")})
    };
    assert_eq!(by(json!([])), None);
    assert_eq!(by(json!([entry("kubectl-edit", 2), entry(FIELD_MANAGER, 1)])).unwrap(), "kubectl-edit");
    assert_eq!(by(json!([entry(FIELD_MANAGER, 3), entry("kubectl-edit", 2)])).unwrap(), FIELD_MANAGER);
    // To the second they are equal: what we wrote ourselves we know by its version.
    assert_eq!(by(json!([entry("kubectl-edit", 2), entry(FIELD_MANAGER, 2)])).unwrap(), "kubectl-edit");
    assert_eq!(by(json!([{"manager": "no-time"}, entry(FIELD_MANAGER, 0)])).unwrap(), FIELD_MANAGER);
}

#[test]
fn times_survive_the_way_there_and_back() {
    let at = "2025-11-20T08:00:07.123456Z".parse().unwrap();
    assert_eq!(timestamp(at), Timestamp(1_763_625_607_123_456));
    assert_eq!(wall_time(timestamp(at)), at);
    assert_eq!(timestamp("1969-12-31T23:59:59Z".parse().unwrap()), Timestamp(0));
    assert_eq!(wall_time(Timestamp(u64::MAX)), jiff::Timestamp::MAX);
}

#[test]
fn the_slim_types_are_watched_at_the_right_path() {
    use kube::Resource;
    assert_eq!(PodLite::url_path(&(), Some("shop")), "/api/v1/namespaces/shop/pods");
    assert_eq!(ServiceLite::url_path(&(), None), "/api/v1/services");
    assert_eq!(SliceLite::url_path(&(), None), "/apis/discovery.k8s.io/v1/endpointslices");
}

/// What the API server sends, kept as text, is what was decoded: nothing that matters is lost on the way, and the
/// slim decoding does not depend on what it skips.
#[test]
fn a_kept_object_is_read_back_as_it_was() {
    let lite: ServiceLite = decode(service_json());
    let kept = Kept::new(&lite);
    assert_eq!(kept.version(), version(&lite.metadata));
    assert_eq!(kept.read(), Some(lite));
    let odd = json!({
        "metadata": {"name": "a", "labels": {"x": null}, "annotations": {"zen-lead.io/enabled": ""}},
        "spec": null,
    });
    let lite: ServiceLite = decode(odd);
    assert_eq!(Kept::new(&lite).read(), Some(lite));
}

#[test]
fn a_kept_slice_is_read_back_with_its_owner_manager_and_finalizers() {
    let lite: SliceLite = decode(json!({
        "metadata": {
            "name": "orders-leader", "namespace": "shop", "uid": "e0", "resourceVersion": "12",
            "deletionTimestamp": "2025-11-20T08:00:00Z", "finalizers": ["example.org/x"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "s0"}],
            "managedFields": [{"manager": "kubectl", "time": "2025-11-20T08:00:00Z"}],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.7.21"], "conditions": {"ready": true}}, {"addresses": []}],
        "ports": [{"name": "web", "port": 8080}],
    }));
    assert_eq!(lite.manager(), Some("kubectl"));
    let managed = lite.metadata.managed_fields.as_ref().unwrap();
    assert_eq!(json!(managed[0].time), "2025-11-20T08:00:00Z");
    let kept = Kept::new(&lite);
    assert_eq!(kept.version(), Version(12));
    assert_eq!(kept.read(), Some(lite));
}

#[test]
fn families_are_written_as_kubernetes_does() {
    for (family, text) in [(Family::V4, "IPv4"), (Family::V6, "IPv6")] {
        assert_eq!((family.as_str(), Family::parse(text)), (text, Some(family)));
    }
    assert_eq!(Family::parse("ipv4"), None);
}

/// Who deletes a pod may wait for finalizers; we do not, and there may be thousands of pods.
#[test]
fn a_pods_finalizers_are_not_kept() {
    let pod: PodLite = decode(json!({"metadata": {"name": "a", "uid": "1", "finalizers": ["theirs/1"]}}));
    assert_eq!(pod.metadata.finalizers, None);
}

/// The watch tells which object cannot be read, and why.
#[test]
fn what_has_the_wrong_type_is_told_with_what_was_expected() {
    let refused = |metadata: Value| {
        serde_json::from_value::<SliceLite>(json!({"metadata": metadata})).unwrap_err().to_string()
    };
    assert!(refused(json!({"managedFields": 7})).contains("expected managed fields"));
    let pod = serde_json::from_value::<PodLite>(json!({"metadata": {"annotations": 7}})).unwrap_err();
    assert!(pod.to_string().contains("expected annotations"), "{pod}");
}
