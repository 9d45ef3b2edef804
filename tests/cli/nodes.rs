//! Nodes, as `zen-lead why`, `status NAME` and `switchover` go by them.

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab::{Namespace, apply_yaml};
use serde_json::{Value, json};

use crate::program::{masked, run, zen_lead};
use crate::rights::{PODS, SERVICES, SLICES, allow, until};
use crate::support::{Stage, authorise, manifest};

/// A Node of this test: all tests share the control plane.
struct OwnNode {
    api: Api<Node>,
    name: String,
}

impl OwnNode {
    async fn create(ns: &Namespace, suffix: &str) -> Result<Self> {
        let name = format!("{}-{suffix}", ns.name());
        let api = Api::all(ns.client());
        let labels = json!({ "topology.kubernetes.io/zone": format!("zone-{suffix}") });
        let object = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } }))?;
        api.create(&PostParams::default(), &object).await?;
        let node = Self { api, name };
        // The API server taints each new one as not ready, for the node controller to find out otherwise.
        node.patch(&json!({ "taints": null })).await?;
        Ok(node)
    }

    async fn patch(&self, spec: &Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// A pod as the controller's own, which says how it was started; the controller of the test is a mere process.
async fn say(ns: &Namespace, arguments: &[&str]) -> Result<()> {
    let labels = json!({ "app.kubernetes.io/name": "zen-lead", "app.kubernetes.io/component": "controller" });
    let container = json!({ "name": "zen-lead", "image": "zen-lead", "args": arguments });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "replica", "labels": labels },
        "spec": { "containers": [container] },
    });
    ns.apply(&pod.to_string()).await
}

/// The rights of deploy/nodes for the stage's account.
async fn give_rights(ns: &Namespace) -> Result<()> {
    let leases =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "kube-node-lease" } });
    apply_yaml(&ns.client(), &leases.to_string(), None).await?;
    for file in ["clusterrole", "clusterrolebinding", "role", "rolebinding"] {
        let text = manifest(&format!("deploy/nodes/{file}.yaml"))?.replace("zen-lead-system", ns.name());
        apply_yaml(&ns.client(), &text, None).await?;
    }
    Ok(())
}

fn pods(told: &str) -> &str {
    told.split_once("\n\n").unwrap_or_default().1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_cordoned_node_is_what_a_controller_that_watches_nodes_does() -> Result<()> {
    let lab = lab::Lab::shared().await?;
    let ns = lab.namespace("grounds").await?;
    let account = authorise(&ns).await?;
    give_rights(&ns).await?;
    let stage = Stage::for_account(lab, ns, account, &["--watch-nodes"]).await?;
    let ns = &stage.ns;
    let source = stage.source("orders").create().await?;
    let (mut nodes, mut members) = (Vec::new(), Vec::new());
    for (number, suffix) in ["a", "b", "c"].into_iter().enumerate() {
        nodes.push(OwnNode::create(ns, suffix).await?);
        let pod = stage.member("orders", &format!("orders-{number}")).node(&nodes[number].name);
        members.push(pod.ready().create().await?);
        if number == 0 {
            stage.until_led("orders", &members[0]).await?;
        }
    }
    nodes[1].patch(&json!({ "unschedulable": true })).await?;
    stage.controller.until_logged(&["cordoned", &nodes[1].name]).await?;
    stage.all_is_seen().await?;

    // Nobody says how the controller runs.
    let here = format!("--controller-namespace={}", ns.name());
    let told = zen_lead(ns, &["why", "orders", &here])?.told(ns);
    assert_eq!(
        pods(&told),
        "\
RANK   POD   VERDICT   REASON
1   orders-0   leads   fit, and first by rank
2   orders-1   next   leads if the leader is lost; its node NS-b is cordoned: with --watch-nodes it is chosen last
3   orders-2   could   others rank before it"
    );
    say(ns, &["run", "--watch-nodes"]).await?;
    let told = zen_lead(ns, &["why", "orders", &here])?.told(ns);
    assert!(told.contains("Rules:   rank by sound node, then higher priority, "), "{told}");
    assert!(told.contains("Leader:   orders-0 on node NS-a, zone zone-a, at "), "{told}");
    assert_eq!(
        pods(&told),
        "\
RANK   POD   VERDICT   REASON
1   orders-0   leads   fit, and first by rank
2   orders-2   next   leads if the leader is lost
3   orders-1   could   others rank before it; its node NS-b is cordoned: it is chosen last"
    );
    let json = zen_lead(ns, &["why", "orders", &here, "-o", "json"])?;
    let answer: Value = serde_json::from_str(&json.told)?;
    assert_eq!(answer["watchesNodes"], true);
    let facts = |pod: &Value| [pod["name"].clone(), pod["nodeIs"].clone(), pod["zone"].clone()];
    assert_eq!(facts(&answer["pods"][1]), [json!("orders-2"), json!(null), json!("zone-c")]);
    assert_eq!(facts(&answer["pods"][2]), [json!("orders-1"), json!("cordoned"), json!("zone-b")]);
    let status = zen_lead(ns, &["status", "orders", &here])?.told(ns);
    assert!(status.contains("Successor:   orders-2\n"), "{status}");

    // Who is said to be next is asked for, and follows.
    let asked = zen_lead(ns, &["switchover", "orders", "--dry-run", &here])?.told(ns);
    assert_eq!(asked, "NS/orders: would hand over from orders-0 to orders-2 (dry run)");
    members[0].unready().await?;
    stage.until_led("orders", &members[2]).await?;

    // Out of service: of no use, whatever Kubernetes says of the pod.
    let taint = json!({ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" });
    nodes[1].patch(&json!({ "taints": [taint] })).await?;
    stage.controller.until_logged(&["out of service", &nodes[1].name]).await?;
    let told = zen_lead(ns, &["why", "orders", &here])?.told(ns);
    let line = "-   orders-1   cannot   on a lost node; its node NS-b is out of service: it cannot lead";
    assert!(told.lines().any(|told| told == line), "{told}");
    members[2].unready().await?;
    stage.until_leaderless("orders").await?;
    drop(source);
    // Not the end of other stages: SECURITY.md lists the rights of this controller elsewhere.
    let mut stage = stage;
    stage.controller.stop()
}

/// Who may not get nodes is told the rule to ask for, and has the rest; `status -A` needs no more rights than before.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_nodes_the_rest_is_told() -> Result<()> {
    let stage = Stage::new("groundless").await?;
    let ns = &stage.ns;
    let node = OwnNode::create(ns, "a").await?;
    node.patch(&json!({ "unschedulable": true })).await?;
    stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").node(&node.name).ready().create().await?;
    stage.until_led("orders", &pod).await?;
    let here = format!("--controller-namespace={}", ns.name());
    let account = ns.account("jane").await?;
    allow(ns, "jane", &[SERVICES, SLICES, PODS]).await?;
    let done = until(&account, &["why", "orders", &here], |done| done.code == Some(0)).await?;
    assert_eq!(
        masked(&done.complained, ns),
        "warning: no cordoned or lost nodes are shown: system:serviceaccount:NS:jane may not get node NS-a; ask for a \
         ClusterRole with the rule {apiGroups: [\"\"], resources: [\"nodes\"], verbs: [\"get\"]}"
    );
    assert!(done.told.contains("fit, and first by rank\n"), "{done:?}");
    let kubeconfig = account.kubeconfig().await?;
    for (command, lines) in
        [(&["status", "orders", &here][..], 1), (&["status"], 0), (&["switchover", "orders", "--to=x"], 0)]
    {
        let done = run(&kubeconfig, command)?;
        let told = done.complained.lines().filter(|line| line.contains("nodes")).count();
        assert_eq!(told, lines, "{command:?}: {done:?}");
    }

    // A controller that does not go by nodes: nothing is missed.
    say(ns, &["run"]).await?;
    assert_eq!(run(&kubeconfig, &["why", "orders", &here])?.complained, "");
    let told = zen_lead(ns, &["why", "orders", &here])?.told(ns);
    let reason =
        "fit, and first by rank; its node NS-a is cordoned, which does not count without --watch-nodes";
    assert!(told.ends_with(reason), "{told}");
    stage.end().await
}
