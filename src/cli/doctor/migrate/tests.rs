//! Each prospect is seen where what the Go program left is odd in one way, and not where it is as it should be.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use machine::Version;
use serde_json::{Value, json};

use super::heritage::Heritage;
use super::program::Found;
use super::{Prospect, orphans};
use crate::cli::survey::{Facts, Survey, key};
use crate::kinds::fixtures::{decode, pod_json, service_json, with};
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::names::LABEL_SERVICE_NAME;
use crate::rows::{Interner, PodRow};

/// What stands in the namespace `shop`.
#[derive(Clone)]
struct Case {
    services: Vec<Value>,
    slices: Vec<Value>,
    pods: Vec<Value>,
}

const LEADER: &str = "orders-leader";

fn owned_by(name: &str, uid: &str) -> Value {
    json!([{ "apiVersion": "v1", "kind": "Service", "name": name, "uid": uid, "controller": true }])
}

/// As the Go program left it: orders-0 leads, and orders-1 could.
fn left() -> Case {
    let single =
        json!({ "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "clusterIPs": ["10.96.0.9"] });
    let source = with(service_json(), &json!({ "spec": single }));
    let (name, uid) = (source["metadata"]["name"].clone(), source["metadata"]["uid"].clone());
    let labels = json!({
        "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": name,
        "kubernetes.io/service-name": LEADER, "endpointslice.kubernetes.io/managed-by": "zen-lead",
    });
    let leader = json!({
        "metadata": {
            "namespace": "shop", "name": LEADER, "uid": "l", "labels": labels,
            "annotations": { "zen-lead.io/enabled": "true", "zen-lead.io/leader-pod-name": "orders-0" },
            "ownerReferences": owned_by(name.as_str().unwrap(), uid.as_str().unwrap()),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.0.0.9", "ports": source["spec"]["ports"], "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
        },
    });
    let slice = json!({
        "metadata": {
            "namespace": "shop", "name": LEADER, "uid": "e", "resourceVersion": "150", "labels": labels,
            "ownerReferences": owned_by(LEADER, "l"),
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [pod_json()["status"]["podIP"]], "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "namespace": "shop", "name": "orders-0", "uid": "a0" },
        }],
    });
    let second = with(
        pod_json(),
        &json!({
            "metadata": { "name": "orders-1", "uid": "b1", "creationTimestamp": "2025-11-20T09:00:00Z" },
            "status": { "podIP": "10.1.0.8", "podIPs": [{ "ip": "10.1.0.8" }] },
        }),
    );
    Case { services: vec![source, leader], slices: vec![slice], pods: vec![pod_json(), second] }
}

impl Case {
    fn source(mut self, over: &Value) -> Self {
        self.services[0] = with(self.services[0].clone(), over);
        self
    }

    fn leader(mut self, over: &Value) -> Self {
        self.services[1] = with(self.services[1].clone(), over);
        self
    }

    fn slice(mut self, over: &Value) -> Self {
        self.slices[0] = with(self.slices[0].clone(), over);
        self
    }

    fn pod(mut self, number: usize, over: &Value) -> Self {
        self.pods[number] = with(self.pods[number].clone(), over);
        self
    }

    fn facts(&self) -> Facts {
        let mut interner = Interner::default();
        let pods =
            self.pods.iter().map(|pod| PodRow::new(&decode::<PodLite>(pod.clone()), &mut interner).unwrap());
        let services = self.services.iter().map(|service| decode::<ServiceLite>(service.clone()));
        let slices = self.slices.iter().map(|slice| decode::<SliceLite>(slice.clone()));
        Facts {
            services: services.map(|service| (key(&service), service)).collect(),
            slices: slices.map(|slice| (key(&slice), slice)).collect(),
            pods: BTreeMap::from([("shop".to_owned(), (pods.collect(), Version(200)))]),
            ..Facts::default()
        }
    }

    /// Of the Service `orders`.
    fn prospects(&self) -> Vec<Prospect> {
        let survey = Survey::from(self.facts());
        let source = decode::<ServiceLite>(self.services[0].clone());
        let look = survey.look(&key(&source)).unwrap();
        let place = ("shop".to_owned(), look.leader_service.clone());
        let whole = self.services.iter().find(|service| service["metadata"]["name"] == *place.1);
        let whole = whole.map(|service| decode(service.clone()));
        let is_its = |slice: &&Value| slice["metadata"]["labels"][LABEL_SERVICE_NAME] == *place.1;
        let slices = self.slices.iter().filter(is_its).map(|slice| decode(slice.clone())).collect();
        let leader = survey.facts.services.get(&place);
        Heritage { look: &look, source: Some(&source), leader, whole: whole.as_ref(), slices }.prospects()
    }

    /// What is to be looked at.
    #[track_caller]
    fn open(&self) -> (&'static str, String) {
        let prospects = self.prospects();
        let open: Vec<_> = prospects.iter().filter(|prospect| prospect.look).collect();
        let [Prospect { finding, .. }] = *open else { panic!("{prospects:#?}") };
        (finding.check, finding.why.clone())
    }

    fn settled(&self) -> Vec<&'static str> {
        self.prospects()
            .iter()
            .filter(|prospect| !prospect.look)
            .map(|prospect| prospect.finding.check)
            .collect()
    }

    fn forgotten(&self, only: Option<&str>) -> Vec<String> {
        let told = |prospect: &Prospect| {
            let objects: Vec<_> =
                prospect.finding.evidence.iter().map(|evidence| &*evidence.object).collect();
            format!("{}: {}", objects.join(" "), prospect.finding.why)
        };
        orphans::find(&self.facts(), only).iter().map(told).collect()
    }
}

#[test]
fn p24_what_is_as_it_should_be_is_adopted_and_nobody_has_to_do_anything() {
    let prospects = left().prospects();
    let told: Vec<_> = prospects.iter().map(|prospect| (prospect.finding.check, prospect.look)).collect();
    assert_eq!(told, [("adopted", false), ("copied-opt-in", false), ("same-leader", false)]);
    assert_eq!(prospects[2].finding.why, "orders-0 stays the leader");
    assert_eq!(left().forgotten(None), [""; 0]);
}

#[test]
fn another_leader_is_told_with_the_reason() {
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    let leaves = json!({ "metadata": { "deletionTimestamp": "2026-01-31T18:00:00Z" } });
    let relabelled = json!({ "metadata": { "labels": { "app": "web" } } });
    let never = json!({ "metadata": { "annotations": { "zen-lead.io/never-lead": "true" } } });
    for (over, why) in [
        (unready, "not Ready"),
        (leaves, "terminating"),
        (relabelled, "gone, or no longer selected"),
        (never, "zen-lead.io/never-lead"),
    ] {
        let (check, told) = left().pod(0, &over).open();
        assert_eq!(
            (check, &*told),
            ("another-leader", &*format!("orders-1 takes over from orders-0, which is {why}"))
        );
    }
}

#[test]
fn a_better_one_takes_over_only_if_asked_to() {
    let younger = json!({ "metadata": { "creationTimestamp": "2025-11-20T10:00:00Z" } });
    assert!(left().pod(0, &younger).settled().contains(&"same-leader"));
    let unsticky = json!({ "metadata": { "annotations": { "zen-lead.io/sticky": "false" } } });
    let (check, why) = left().pod(0, &younger).source(&unsticky).open();
    assert_eq!(check, "another-leader");
    assert!(why.starts_with("orders-1 ranks before orders-0"), "{why}");
}

#[test]
fn b01_a_dead_endpoint_is_taken_away() {
    let mut dead = left();
    dead.pods.clear();
    let (check, why) = dead.open();
    assert_eq!(check, "emptied");
    assert!(why.starts_with("orders-0 is gone, or no longer selected, and nobody can follow"), "{why}");
}

#[test]
fn b05_node_ports_go() {
    let ports =
        json!([{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080 }]);
    let case = left().leader(&json!({ "spec": { "type": "NodePort", "ports": ports } }));
    assert_eq!(case.open().0, "node-ports-removed");
    let prospects = case.prospects();
    let found = prospects.iter().find(|prospect| prospect.look).unwrap();
    let evidence =
        found.finding.evidence.iter().map(|evidence| format!("{}: {}", evidence.field, evidence.value));
    assert_eq!(evidence.collect::<Vec<_>>(), ["spec.type: NodePort", "spec.ports[80].nodePort: 30080"]);
    // The Go program could not make one at all.
    let mut none = left();
    none.services.truncate(1);
    none.slices.clear();
    assert_eq!(none.settled(), ["new-leader-service", "first-leader"]);
}

#[test]
fn b08_copied_annotations_are_named_and_stay() {
    let annotations = json!({ "metadata": { "annotations": { "prometheus.io/scrape": "true" } } });
    let case = left().leader(&annotations);
    assert_eq!(case.open().0, "copied-annotations");
    let prospects = case.prospects();
    let remedy = &prospects.iter().find(|prospect| prospect.look).unwrap().finding.remedy;
    assert!(
        remedy.starts_with("kubectl annotate service orders-leader -n shop prometheus.io/scrape-"),
        "{remedy}"
    );
}

#[test]
fn b07_what_has_a_former_name_is_forgotten() {
    let renamed = left()
        .source(&json!({ "metadata": { "annotations": { "zen-lead.io/leader-service-name": "first" } } }));
    let told = "service/orders-leader endpointslice/orders-leader: Service orders does not ask for it (any more): it is \
                removed";
    assert_eq!(renamed.forgotten(None), [told]);
    assert_eq!(renamed.forgotten(Some("shop/orders")), [told]);
    assert_eq!(renamed.forgotten(Some("web")), [""; 0]);
    assert_eq!(renamed.settled(), ["new-leader-service", "first-leader"]);
    let opted_out =
        left().source(&json!({ "metadata": { "annotations": { "zen-lead.io/enabled": "false" } } }));
    assert_eq!(opted_out.forgotten(None), [told]);
    let mut gone = left();
    gone.services.remove(0);
    let kept = gone.forgotten(None);
    assert!(matches!(&*kept, [one] if one.contains("left alone")), "{kept:?}");
    // Those of another installation are its own.
    let instance = json!({ "metadata": { "annotations": { "zen-lead.io/instance": "a/b" } } });
    assert_eq!(renamed.leader(&instance).slice(&instance).forgotten(None), [""; 0]);
}

#[test]
fn b03_a_foreign_object_is_refused() {
    let foreign = left().leader(&json!({ "metadata": { "labels": null, "ownerReferences": null } }));
    assert_eq!(foreign.open().0, "foreign-object");
    // Without our label no watch shows it; nodes go by it all the same.
    let slice = left().slice(&json!({ "metadata": {
        "labels": { "app.kubernetes.io/managed-by": "somebody", "zen-lead.io/source-service": null },
        "ownerReferences": null,
    } }));
    assert_eq!(slice.open().0, "foreign-object");
}

#[test]
fn b06_the_services_own_name_is_refused() {
    let own = json!({ "metadata": { "annotations": { "zen-lead.io/leader-service-name": "orders" } } });
    let (check, why) = left().source(&own).open();
    assert_eq!(check, "invalid-annotation");
    assert!(why.contains("used instead"), "{why}");
}

#[test]
fn b09_families_and_other_slices() {
    let dual = json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.0.0.7", "fd00::7"] } });
    assert!(left().source(&dual).settled().contains(&"second-family"));
    assert!(!left().settled().contains(&"second-family"));
    let moved = left().slice(&json!({ "addressType": "IPv6" }));
    let checks: Vec<_> =
        moved.prospects().iter().filter(|prospect| prospect.look).map(|p| p.finding.check).collect();
    assert!(checks.contains(&"made-anew"), "{checks:?}");
    let former = left().slice(&json!({ "metadata": { "ownerReferences": owned_by(LEADER, "former") } }));
    assert_eq!(former.open().0, "made-anew");
    assert!(former.open().1.starts_with("it is owned by a former Service"), "{:?}", former.open());
    let beside = |owner: Value| {
        let mut case = left();
        case.slices.push(json!({
            "metadata": {
                "namespace": "shop", "name": "orders-leader-x7k2p", "uid": "x", "ownerReferences": owner,
                "labels": { "kubernetes.io/service-name": LEADER },
            },
            "addressType": "IPv4", "endpoints": [{ "addresses": ["10.1.0.7"] }, { "addresses": ["10.1.0.8"] }],
        }));
        case.open()
    };
    assert_eq!(beside(owned_by(LEADER, "l")).1, "it routes the leader Service to other pods: it is deleted");
    assert_eq!(beside(json!([])).1, "it routes the leader Service to other pods, and is left alone");
    assert_eq!(
        left().leader(&json!({ "spec": { "selector": { "app": "orders" } } })).open().0,
        "selector-removed"
    );
}

#[test]
fn b15_a_long_name_is_told() {
    let mut long = left();
    long.services.truncate(1);
    let long = long.source(&json!({ "metadata": { "name": "a".repeat(60) } }));
    assert_eq!(long.settled(), ["shortened-name", "new-leader-service", "first-leader"]);
}

#[test]
fn what_is_taken_over_already_is_said_to_be() {
    let place =
        json!({ "metadata": { "annotations": { "zen-lead.io/instance": "zen-lead-system/zen-lead" } } });
    let settled = left().leader(&place).settled();
    assert!(settled.contains(&"taken-over") && !settled.contains(&"adopted"), "{settled:?}");
}

/// The Go program's Deployment, told this.
fn told(replicas: u32, container: &Value) -> Vec<(&'static str, bool, String)> {
    let container = with(json!({ "name": "manager", "image": "kubezen/zen-lead:1" }), container);
    let deployment: Deployment = decode(json!({
        "metadata": { "namespace": "zen-system", "name": "zen-lead-controller-manager", "labels": { "app": "zen-lead" } },
        "spec": { "replicas": replicas, "selector": {}, "template": { "spec": { "containers": [container] } } },
    }));
    let prospects = Found::new(&deployment).map(|found| found.prospects()).unwrap_or_default();
    let told = |Prospect { look, finding }: Prospect| {
        let value = finding.evidence.iter().map(|evidence| evidence.value.clone()).collect::<Vec<_>>();
        (finding.check, look, value.join(" "))
    };
    prospects.into_iter().map(told).collect()
}

#[test]
fn p22_what_the_go_program_is_told_is_read_as_this_one_reads_it() {
    assert_eq!(
        told(1, &json!({ "args": ["--metrics-bind-address=:8080"] })),
        [("go-program", false, "1".into())]
    );
    let tuned = json!({ "args": ["--qps=50", "-burst", "100", "--leader-elect=true"] });
    assert_eq!(told(0, &tuned)[1], ("flags-without-meaning", false, "--qps --burst".into()));
    let unknown = json!({ "args": ["--magic=1"] });
    assert_eq!(told(0, &unknown)[1], ("flags-refused", true, "--magic=1".into()));
    let limited = json!({ "env": [{ "name": "WATCH_NAMESPACE", "value": "shop" }] });
    assert_eq!(told(0, &limited)[1], ("variable-without-meaning", true, "shop".into()));
    assert_eq!(told(0, &json!({ "env": [{ "name": "WATCH_NAMESPACE", "value": "" }] })).len(), 1);
    assert_eq!(told(2, &json!({ "args": ["run"] })), [], "that is this program");
}
