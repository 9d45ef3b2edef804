//! Each check is seen to fire on a Service that is bad in one way, and to be silent on one that is good.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use machine::{Micros, Policy};
use serde_json::{Value, json};

use super::finding::Finding;
use super::owners::{Owner, Pace};
use super::proxy::Proxy;
use super::subject::Subject;
use super::{CHECKS, budgets, expected};
use crate::annotations::{PortsMode, Preferred};
use crate::kinds::{PodLite, ServiceLite};
use crate::rows::{Interner, PodRow, View};
use crate::service::Source;

/// A Service and its pods, as the API server tells of them.
struct Case {
    service: Value,
    pods: Vec<Value>,
    policy: Policy,
    budget: Option<Micros>,
    ports_mode: PortsMode,
    min_ready: Option<Micros>,
    proxy: Proxy,
}

/// Nothing is wrong: three members on three nodes in two zones.
fn good() -> Case {
    let service = json!({
        "metadata": { "namespace": "shop", "name": "orders", "uid": "s" },
        "spec": {
            "selector": { "app": "orders" }, "clusterIP": "None", "type": "ClusterIP",
            "ports": [{ "name": "http", "port": 80, "targetPort": "http", "protocol": "TCP" }],
        },
    });
    let pods = [("orders-0", "node-1", "a"), ("orders-1", "node-2", "b"), ("orders-2", "node-3", "a")];
    let pods = pods.map(|(name, node, zone)| {
        json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": name,
                "labels": { "app": "orders", "topology.kubernetes.io/zone": zone },
            },
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": "app",
                    "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                    "readinessProbe": { "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 1 },
                    "lifecycle": { "preStop": { "sleep": { "seconds": 2 } } },
                }],
            },
            "status": { "phase": "Running" },
        })
    });
    let (policy, budget, ports_mode) = (Policy::default(), None, PortsMode::All);
    let (min_ready, proxy) = (None, Proxy::assumed("nothing is known".into()));
    Case { service, pods: pods.into(), policy, budget, ports_mode, min_ready, proxy }
}

impl Case {
    fn service(mut self, field: &str, value: Value) -> Self {
        self.service["spec"][field] = value;
        self
    }

    fn pods(mut self, change: impl Fn(&mut Value)) -> Self {
        self.pods.iter_mut().for_each(change);
        self
    }

    /// Changes the first container of each pod.
    fn containers(self, field: &str, value: &Value) -> Self {
        self.pods(|pod| pod["spec"]["containers"][0][field] = value.clone())
    }

    fn subject(&self) -> Subject {
        let service: ServiceLite = serde_json::from_value(self.service.clone()).unwrap();
        let source = Arc::new(Source::new(&service).unwrap());
        let mut interner = Interner::default();
        let rows = self.pods.iter().map(|pod| {
            let lite: PodLite = serde_json::from_value(pod.clone()).unwrap();
            PodRow::new(&lite, &mut interner).unwrap()
        });
        let rows: Vec<_> = rows.collect();
        let pods: Vec<Pod> =
            self.pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        let view = View { source, ports_mode: self.ports_mode, preferred: Preferred::default() };
        let owner = Owner::of(&pods[0]);
        let pace = owner.zip(self.min_ready).map(|(owner, min_ready)| Pace { owner, min_ready });
        let settings = (self.policy.clone(), self.budget);
        Subject::new(service, view, settings, &rows, pods, (pace, self.proxy.clone()))
    }

    fn findings(&self) -> Vec<Finding> {
        let subject = self.subject();
        CHECKS.iter().filter_map(|check| check(&subject)).collect()
    }

    /// What the only finding says of the first object.
    #[track_caller]
    fn only(&self) -> (&'static str, String) {
        let findings = self.findings();
        let [Finding { check, evidence, .. }] = &*findings else { panic!("{findings:?}") };
        (check, format!("{}: {}: {}", evidence[0].object, evidence[0].field, evidence[0].value))
    }

    /// Cause, worst case in milliseconds if there is one.
    fn worst(&self) -> Vec<(&'static str, Option<u64>)> {
        let expected = expected(&self.subject());
        expected.iter().map(|one| (one.cause, one.worst_us.map(|us| us / 1_000))).collect()
    }

    fn blocked(&self, budget: &Value) -> Option<String> {
        let budget: PodDisruptionBudget = serde_json::from_value(budget.clone()).unwrap();
        let Finding { evidence, .. } = budgets::blocking(&self.subject(), &[budget])?;
        Some(format!("{}: {}: {}", evidence[0].object, evidence[0].field, evidence[0].value))
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert!(good().findings().is_empty(), "{:?}", good().findings());
}

#[test]
fn one_that_could_lead_is_not_enough() {
    let mut alone = good();
    alone.pods.truncate(1);
    let counted =
        |members| format!("service/orders: spec.selector: matches {members} pods, of which 1 could lead");
    assert_eq!(alone.only(), ("nobody-to-follow", counted(1)));
    let mut others_may_not = good();
    for pod in &mut others_may_not.pods[1..] {
        pod["metadata"]["annotations"] = json!({ "zen-lead.io/never-lead": "true" });
    }
    assert_eq!(others_may_not.only(), ("nobody-to-follow", counted(3)));
    let mut others_end = good();
    for pod in &mut others_end.pods[1..] {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-31T18:00:00Z");
    }
    assert_eq!(others_end.only(), ("nobody-to-follow", counted(1)));
}

#[test]
fn all_on_one_node_or_in_one_zone_go_together() {
    let node = good().pods(|pod| pod["spec"]["nodeName"] = json!("node-1"));
    assert_eq!(node.only(), ("one-node", "pod/orders-0: spec.nodeName: node-1".into()));
    let zone = |pod: &mut Value| pod["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("a");
    let label = "pod/orders-0: metadata.labels[topology.kubernetes.io/zone]: a";
    assert_eq!(good().pods(zone).only(), ("one-zone", label.into()));
    let mut unknown = good().pods(zone);
    unknown.pods[1]["metadata"]["labels"] = json!({ "app": "orders" });
    assert!(unknown.findings().is_empty());
}

#[test]
fn a_probe_is_there_and_fast_enough() {
    let none = good().containers("readinessProbe", &Value::Null);
    assert_eq!(
        none.only(),
        ("no-readiness-probe", "pod/orders-0: spec.containers[app].readinessProbe: none".into())
    );
    let slow = |seconds| {
        let numbers = "periodSeconds 10, failureThreshold 3, timeoutSeconds 1";
        format!("pod/orders-0: spec.containers[app].readinessProbe: {numbers}: {seconds} s at worst")
    };
    // As Kubernetes has it unless it is told otherwise.
    let defaults = good().containers("readinessProbe", &json!({}));
    assert_eq!(defaults.only(), ("slow-readiness-probe", slow(31)));
    let patient = Case { budget: Some(Micros::from_secs(31)), ..defaults };
    assert!(patient.findings().is_empty());
}

#[test]
fn a_probe_that_takes_longer_than_its_period_delays_the_next() {
    let probe = json!({ "periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 4 });
    let (_, evidence) = good().containers("readinessProbe", &probe).only();
    assert!(evidence.ends_with(": 13 s at worst"), "{evidence}");
}

#[test]
fn there_is_time_to_hand_over() {
    let grace =
        |seconds: i64| good().pods(move |pod| pod["spec"]["terminationGracePeriodSeconds"] = json!(seconds));
    let told = |value: &str| {
        ("short-grace-period", format!("pod/orders-0: spec.terminationGracePeriodSeconds: {value}"))
    };
    assert_eq!(grace(0).only(), told("0 s, with a preStop sleep of 2 s"));
    assert_eq!(grace(2).only(), told("2 s, with a preStop sleep of 2 s"));
    assert!(grace(3).findings().is_empty());
}

#[test]
fn a_deleted_leader_serves_until_clients_are_elsewhere() {
    let hook = |hook: &Value| good().containers("lifecycle", hook);
    let told = |value: &str| {
        ("no-pre-stop", format!("pod/orders-0: spec.containers[app].lifecycle.preStop: {value}"))
    };
    assert_eq!(hook(&Value::Null).only(), told("none"));
    assert_eq!(hook(&json!({ "preStop": { "sleep": { "seconds": 0 } } })).only(), told("sleep of 0 s"));
    assert!(hook(&json!({ "preStop": { "exec": { "command": ["drain"] } } })).findings().is_empty());
    // Nobody connects to a container without ports, if others have some.
    let helper = good().pods(|pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "logs" }));
    });
    assert!(helper.findings().is_empty());
}

#[test]
fn what_the_leader_service_cannot_have_is_told() {
    let local = good().service("internalTrafficPolicy", json!("Local"));
    let evidence = "service/orders: spec.internalTrafficPolicy: Local";
    assert_eq!(local.only(), ("internal-traffic-local", evidence.into()));
    assert!(good().service("internalTrafficPolicy", json!("Cluster")).findings().is_empty());
}

#[test]
fn an_address_that_nobody_needs_is_told() {
    let address = good().service("clusterIP", json!("10.0.0.7"));
    assert_eq!(address.only(), ("source-has-address", "service/orders: spec.clusterIP: 10.0.0.7".into()));
    assert!(address.service("type", json!("NodePort")).findings().is_empty());
}

#[test]
fn a_port_that_some_lack_is_told() {
    let mut lacking = good();
    lacking.pods[2]["spec"]["containers"][0]["ports"] = json!([]);
    let evidence = "pod/orders-2: spec.containers[*].ports[*].name: no TCP port \"http\"";
    assert_eq!(lacking.only(), ("missing-named-port", evidence.into()));
    let number = json!([{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }]);
    assert!(lacking.service("ports", number).findings().is_empty());
}

#[test]
fn who_lacks_a_port_does_not_follow_unless_it_leads_without() {
    let mut lacking = good();
    for pod in &mut lacking.pods[1..] {
        pod["spec"]["containers"][0]["ports"] = json!([]);
    }
    let checks = |case: &Case| case.findings().iter().map(|finding| finding.check).collect::<Vec<_>>();
    assert_eq!(checks(&lacking), ["nobody-to-follow", "missing-named-port"]);
    lacking.ports_mode = PortsMode::Available;
    assert_eq!(checks(&lacking), ["missing-named-port"]);
}

#[test]
fn a_budget_that_allows_nothing_blocks() {
    let budget = |spec: Value| {
        let mut spec = spec;
        spec["selector"] = json!({ "matchLabels": { "app": "orders" } });
        json!({ "metadata": { "namespace": "shop", "name": "keep", "generation": 1 }, "spec": spec })
    };
    let told = |words: &str| Some(format!("poddisruptionbudget/keep: spec.{words}"));
    for (spec, found) in [
        (json!({ "maxUnavailable": 1 }), None),
        (json!({ "maxUnavailable": 0 }), told("maxUnavailable: 0")),
        (json!({ "maxUnavailable": "0%" }), told("maxUnavailable: 0%")),
        (json!({ "maxUnavailable": "1%" }), None),
        (json!({ "minAvailable": 2 }), None),
        (json!({ "minAvailable": 3 }), told("minAvailable: 3, of 3 pods")),
        (json!({ "minAvailable": "66%" }), None),
        (json!({ "minAvailable": "67%" }), told("minAvailable: 67%, of 3 pods")),
    ] {
        assert_eq!(good().blocked(&budget(spec.clone())), found, "{spec}");
    }
    let all = budget(json!({ "maxUnavailable": 0 }));
    for (path, value) in
        [("namespace", json!("other")), ("selector", json!({ "matchLabels": { "app": "web" } }))]
    {
        let mut other = all.clone();
        let place = if path == "namespace" { "metadata" } else { "spec" };
        other[place][path] = value;
        assert_eq!(good().blocked(&other), None, "{path}");
    }
}

#[test]
fn a_budget_is_used_up_as_far_as_its_status_is_of_now() {
    let status = |generation: i64, allowed: i32| {
        json!({
            "metadata": { "namespace": "shop", "name": "keep", "generation": 2 },
            "spec": { "maxUnavailable": 1, "selector": {} },
            "status": {
                "observedGeneration": generation, "disruptionsAllowed": allowed, "currentHealthy": 2,
                "desiredHealthy": 2, "expectedPods": 3,
            },
        })
    };
    let used_up = "poddisruptionbudget/keep: status.disruptionsAllowed: 0: 2 healthy pods, 2 demanded";
    assert_eq!(good().blocked(&status(2, 0)), Some(used_up.into()));
    assert_eq!(good().blocked(&status(2, 1)), None);
    assert_eq!(good().blocked(&status(1, 0)), None);
}

#[test]
fn the_worst_case_is_the_sum_of_its_terms() {
    let causes =
        ["pod deleted", "container killed", "process hangs", "node lost", "node lost, with --watch-nodes"];
    let worst = |case: &Case| {
        let (told, worst): (Vec<_>, Vec<_>) = case.worst().into_iter().unzip();
        assert_eq!(told, causes);
        worst
    };
    assert_eq!(worst(&good()), [300, 1_800, 3_300, 50_300, 25_300].map(Some));
    let address = good().service("clusterIP", json!("10.0.0.7"));
    assert_eq!(worst(&address), [1_300, 2_800, 4_300, 51_300, 26_300].map(Some));
    // Only what is NotReady is tolerated, not what is gone.
    let mut patient = good();
    patient.policy.failover_min_delay = Micros::from_secs(5);
    assert_eq!(worst(&patient), [300, 6_800, 8_300, 55_300, 25_300].map(Some));
    let unprobed = good().containers("readinessProbe", &Value::Null);
    assert_eq!(worst(&unprobed), [Some(300), Some(1_800), None, Some(50_300), Some(25_300)]);
    let together = good().pods(|pod| pod["spec"]["nodeName"] = json!("node-1"));
    assert_eq!(worst(&together), [Some(300), Some(1_800), Some(3_300), None, None]);
    let mut alone = good();
    alone.pods.truncate(1);
    assert_eq!(worst(&alone), [None; 5]);
}

/// The pods' controller, as the API server tells of it.
fn owned(kind: &str, name: &str) -> Value {
    json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true }])
}

#[test]
fn pods_of_others_are_named_with_their_owners() {
    let mut of_one = good().pods(|pod| {
        pod["metadata"]["ownerReferences"] = owned("ReplicaSet", "orders-7d4b");
        pod["metadata"]["labels"]["pod-template-hash"] = json!("7d4b");
    });
    // Of the next revision of the same Deployment.
    of_one.pods[1]["metadata"]["ownerReferences"] = owned("ReplicaSet", "orders-99ff");
    of_one.pods[1]["metadata"]["labels"]["pod-template-hash"] = json!("99ff");
    assert!(of_one.findings().is_empty(), "{:?}", of_one.findings());
    of_one.pods[2]["metadata"]["ownerReferences"] = owned("Job", "orders-import");
    assert_eq!(
        of_one.only(),
        ("several-owners", "pod/orders-0: metadata.ownerReferences: deployment/orders".into())
    );
    let why = of_one.findings().remove(0).why;
    assert!(why.ends_with("any of them can lead: 2 of deployment/orders, 1 of job/orders-import"), "{why}");
    of_one.pods[2]["metadata"]["ownerReferences"] = Value::Null;
    assert!(
        of_one.findings()[0].why.contains("1 of nobody, 2 of deployment/orders"),
        "{:?}",
        of_one.findings()
    );
}

#[test]
fn rollout_and_election_wait_for_the_same_time() {
    let waiting = |rollout: u64, election: u64| {
        let mut case = good().pods(|pod| pod["metadata"]["ownerReferences"] = owned("StatefulSet", "orders"));
        case.min_ready = Some(Micros::from_secs(rollout));
        case.policy.min_ready_duration = Micros::from_secs(election);
        case
    };
    for (rollout, election) in [(0, 0), (30, 30)] {
        assert!(waiting(rollout, election).findings().is_empty());
    }
    let told =
        |seconds| ("min-ready-seconds", format!("statefulset/orders: spec.minReadySeconds: {seconds} s"));
    assert_eq!(waiting(0, 30).only(), told(0));
    assert!(waiting(0, 30).findings()[0].why.ends_with("for up to 30 s nobody leads"));
    assert_eq!(waiting(10, 0).only(), told(10));
    assert!(waiting(10, 0).findings()[0].why.starts_with("a new pod may lead 10 s before"));
}

#[test]
fn kube_proxy_is_read_as_kubeadm_writes_it() {
    let of = |text: &str| Proxy::parse(text).map(|proxy| (proxy.mode.unwrap_or_default(), proxy.min_sync));
    let kubeadm = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: \"\"\n\
                   clientConnection: {acceptContentTypes: \"\", qps: 0}\niptables: {masqueradeAll: false, \
                   minSyncPeriod: 0s, syncPeriod: 0s}\n";
    let second = Micros::from_secs(1);
    assert_eq!(of(kubeadm), Some(("iptables".into(), second)));
    let paced = "mode: nftables\nnftables: {minSyncPeriod: 10s}\niptables: {minSyncPeriod: 2s}\n";
    assert_eq!(of(paced), Some(("nftables".into(), Micros::from_secs(10))));
    assert_eq!(of("mode: ipvs\n"), Some(("ipvs".into(), Micros::ZERO)));
    assert_eq!(of("- no configuration"), None);

    let mut slow = good();
    slow.proxy = Proxy::parse(paced).unwrap();
    let evidence = "configmap/kube-proxy -n kube-system: nftables.minSyncPeriod: 10 s";
    assert_eq!(slow.only(), ("slow-kube-proxy", evidence.into()));
    // Only a Service with an address has two changes for one loss.
    assert_eq!(slow.worst()[0].1, Some(300));
    let address = Case { proxy: slow.proxy.clone(), ..good().service("clusterIP", json!("10.0.0.7")) };
    assert_eq!(address.worst()[0].1, Some(10_300));
    assert_eq!((slow.proxy.note(), good().proxy.note().is_some()), (None, true));
    let at_once =
        Case { proxy: Proxy::parse("mode: ipvs").unwrap(), ..good().service("clusterIP", json!("10.0.0.7")) };
    assert!(at_once.findings().is_empty(), "{:?}", at_once.findings());
}
