//! For any pod, Service and term: what is written is what is read back.

use machine::Event;
use proptest::prelude::*;

use super::*;
use crate::annotations::PortsMode;
use crate::kinds::fixtures::merge;
use crate::rows::{Ground, event_for};

fn name() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,12}[a-z0-9])?"
}

/// Ports of a Service, some of which resolve on the pod below and some do not.
fn service_ports() -> impl Strategy<Value = Vec<Value>> {
    let target = prop_oneof![
        Just(json!(null)),
        (1..=65_535).prop_map(|number| json!(number)),
        prop_oneof!["http", "grpc", "absent"].prop_map(|name| json!(name)),
    ];
    let protocol = prop_oneof![Just(json!(null)), Just(json!("TCP")), Just(json!("UDP"))];
    let app_protocol = prop::option::of(name());
    let port = (1..=65_535, target, protocol, app_protocol).prop_map(|(port, target, protocol, app_protocol)| {
        json!({"port": port, "targetPort": target, "protocol": protocol, "appProtocol": app_protocol})
    });
    prop::collection::vec(port, 1..5).prop_map(|mut ports| {
        for (i, port) in ports.iter_mut().enumerate() {
            port["name"] = json!(format!("p{i}"));
        }
        if ports.len() == 1 {
            ports[0]["name"] = json!(null);
        }
        ports
    })
}

fn pods() -> impl Strategy<Value = Value> {
    let addresses = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| json!([{"ip": address.to_string()}])),
        (any::<std::net::Ipv4Addr>(), any::<std::net::Ipv6Addr>())
            .prop_map(|(v4, v6)| json!([{"ip": v6.to_string()}, {"ip": v4.to_string()}])),
        Just(json!([])),
    ];
    (name(), name(), prop::option::of(name()), prop::option::of(name()), addresses).prop_map(
        |(pod, uid, node, zone, addresses)| {
            let mut over = json!({"metadata": {"name": pod, "uid": uid}, "status": {"podIPs": addresses}});
            merge(&mut over, &json!({"spec": {"nodeName": node}, "status": {"podIP": null}}));
            over["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": zone});
            over["spec"]["nodeName"] = json!(node);
            over["status"]["podIP"] = json!(null);
            over
        },
    )
}

proptest! {
    /// Written, stored and read back, a slice says exactly what was wanted: so nothing is written twice.
    #[test]
    fn i8_what_we_write_is_what_we_read(
        pod in pods(),
        ports in service_ports(),
        available in any::<bool>(),
        terminating in any::<bool>(),
        epoch in prop::option::of(1..EPOCH_NOW.0),
        handled in prop::option::of("[a-z;/:-]{1,40}"),
    ) {
        let ports_mode = if available { PortsMode::Available } else { PortsMode::All };
        let view = View { ports_mode, ..view(&json!({"spec": {"ports": ports}})) };
        let row = row(&pod);
        let member = row.member(&view, &Ground::default());
        prop_assert_eq!(event_for(Some(&member), row.member(&view, &Ground::default())), None::<Event>);
        let shown = match member.reach.endpoint() {
            None => Shown::Nobody,
            Some(endpoint) if terminating => Shown::Terminating(endpoint),
            Some(endpoint) => Shown::Ready(endpoint),
        };
        let leader = member.reach.endpoint().map(|_| row.pod.clone());
        let wanted = Wanted { leader, epoch: epoch.map(Epoch), shown, handled: handled.map(Into::into) };
        let slice = draft(&view, &wanted, Some(&row)).slice().unwrap();
        // Through text, as over the wire.
        let text = serde_json::to_string(&slice).unwrap();
        let observed = read(&serde_json::from_str(&text).unwrap(), &view);
        prop_assert!(observed.publication.says(&wanted), "{:?} is not {:?}", observed.publication, wanted);
        prop_assert_eq!(observed.extras, Extras::default());
    }

    /// Whatever stands in a slice, reading it is no reason to fall over.
    #[test]
    fn any_slice_is_read(
        addresses in prop::collection::vec("[0-9a-f.:]{0,12}", 0..3),
        uid in "\\PC{0,70}",
        name in "\\PC{0,20}",
        epoch in "\\PC{0,25}",
        conditions in prop::option::of(any::<(Option<bool>, Option<bool>, Option<bool>)>()),
        port in any::<Option<i32>>(),
    ) {
        let conditions = conditions.map(|(ready, serving, terminating)| {
            json!({"ready": ready, "serving": serving, "terminating": terminating})
        });
        let slice: SliceLite = decode(json!({
            "metadata": {"annotations": {LEADER_POD_UID: uid, LEADER_POD_NAME: name, EPOCH: epoch}},
            "endpoints": [{"addresses": addresses, "conditions": conditions, "targetRef": {"uid": uid, "name": name}}],
            "ports": [{"port": port}],
        }));
        let observed = read(&slice, &view(&json!({})));
        prop_assert!(!observed.publication.intact);
    }
}
