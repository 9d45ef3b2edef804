//! `zen-lead doctor`.

use anyhow::Result;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::program::{run, zen_lead};
use crate::rights::{PODS, SERVICES, SLICES, allow, until};
use crate::support::Stage;

/// A pod in which nothing is wrong.
fn well(stage: &Stage, name: &str, node: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": stage.ns.name(), "name": name, "labels": { "app": "well" } },
        "spec": {
            "nodeName": node,
            "containers": [{
                "name": "app", "image": "registry.example/app:1",
                "readinessProbe": {
                    "httpGet": { "port": 8080 }, "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 1,
                },
                "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
            }],
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_and_what_is_right_is_not() -> Result<()> {
    let stage = Stage::new("doctor").await?;
    let ns = &stage.ns;
    stage.source("well").spec(json!({ "clusterIP": "None" })).create().await?;
    ns.apply(&well(&stage, "well-0", "node-1")).await?;
    ns.apply(&well(&stage, "well-1", "node-2")).await?;
    let done = zen_lead(ns, &["doctor", "well"])?;
    assert_eq!(
        done.told(ns),
        "\
NS/well: nothing found

IF   WORST CASE   MADE OF
pod deleted   SPAN   watch SPAN + controller SPAN + kube-proxy SPAN
container killed   SPAN   kubelet SPAN + watch SPAN + controller SPAN + kube-proxy SPAN
process hangs   SPAN   readiness probe (every SPAN, 2 failures, timeout SPAN) SPAN + watch SPAN + controller SPAN + \
         kube-proxy SPAN
node lost   SPAN   Kubernetes SPAN + watch SPAN + controller SPAN + kube-proxy SPAN
node lost, with --watch-nodes   SPAN   Lease SPAN + watch SPAN + controller SPAN + kube-proxy SPAN

note: kube-proxy's mode is not known, and its minSyncPeriod is taken for SPAN: there is no ConfigMap \
         kube-system/kube-proxy, as kubeadm makes it
note: only clients of well-leader.NS reach the leader: see that none uses well.NS, which is any pod"
    );
    assert!(done.told.contains("process hangs                   3.3 s "), "{done:?}");

    stage.source("ill").spec(json!({ "internalTrafficPolicy": "Local" })).create().await?;
    for name in ["ill-0", "ill-1"] {
        stage.member("ill", name).grace_seconds(0).ready().create().await?;
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "ill" },
        "spec": { "maxUnavailable": 0, "selector": { "matchLabels": { "app": "ill" } } },
    });
    ns.apply(&budget.to_string()).await?;
    let done = zen_lead(ns, &["doctor", "ill"])?;
    assert_eq!((done.code, &*done.complained), (Some(1), ""), "{done:?}");
    let named = |line: &&str| line.split_once(": ").is_some_and(|(check, _)| !check.contains([' ', '/']));
    let findings = done.told.lines().filter(|line| !line.starts_with("note: "));
    let checks: Vec<_> = findings.filter(named).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        checks,
        [
            "no-readiness-probe",
            "one-node",
            "short-grace-period",
            "no-pre-stop",
            "internal-traffic-local",
            "source-has-address",
            "blocking-disruption-budget",
        ],
        "{done:?}"
    );
    for told in [
        "\n  evidence: pod/ill-0, pod/ill-1: spec.nodeName: node-1\n  remedy:   spread them",
        "\nprocess hangs                   unbounded    never noticed: a member has no readiness probe\n",
        "\n  evidence: poddisruptionbudget/ill: spec.maxUnavailable: 0\n",
    ] {
        assert!(done.told.contains(told), "{told}\n{}", done.told);
    }

    let all = zen_lead(ns, &["doctor", "-o", "json"])?;
    assert_eq!(all.code, Some(1), "{all:?}");
    let answer: Value = serde_json::from_str(&all.told)?;
    let [ill, well] = [&answer["items"][0], &answer["items"][1]];
    assert_eq!((&ill["name"], &well["name"]), (&json!("ill"), &json!("well")));
    assert_eq!(ill["findings"][1]["check"], "one-node");
    assert_eq!(
        ill["findings"][1]["evidence"][1],
        json!({ "object": "pod/ill-1", "field": "spec.nodeName", "value": "node-1" })
    );
    assert_eq!(ill["expected"][0]["worstUs"], 1_300_000);
    assert_eq!(well["findings"], json!([]));
    assert_eq!(well["notes"].as_array().map(Vec::len), Some(2));
    assert_eq!(well["expected"][2]["terms"][0]["worstUs"], 3_000_000);
    assert_eq!(zen_lead(ns, &["doctor", "-o", "name"])?.told, "service/ill\n");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn how_fast_a_rollout_goes_is_read_if_it_may_be() -> Result<()> {
    let stage = Stage::new("paced").await?;
    let ns = &stage.ns;
    stage.source("well").spec(json!({ "clusterIP": "None" })).create().await?;
    let labels = json!({ "app": "well" });
    let owner: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "well" },
        "spec": {
            "minReadySeconds": 10, "serviceName": "well", "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "app", "image": "registry.example/app:1" }] },
            },
        },
    }))?;
    let owner = ns.api::<StatefulSet>().create(&PostParams::default(), &owner).await?;
    for (name, node) in [("well-0", "node-1"), ("well-1", "node-2")] {
        let mut pod: Value = serde_json::from_str(&well(&stage, name, node))?;
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "well", "uid": owner.metadata.uid, "controller": true,
        }]);
        ns.apply(&pod.to_string()).await?;
    }
    let done = zen_lead(ns, &["doctor", "well"])?;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.told.contains("\n  evidence: statefulset/well: spec.minReadySeconds: 10 s\n"), "{done:?}");

    let account = ns.account("jane").await?;
    allow(ns, "jane", &[SERVICES, SLICES, PODS]).await?;
    let done = until(&account, &["doctor", "well"], |done| done.code == Some(0)).await?;
    for rule in [
        "{apiGroups: [\"apps\"], resources: [\"statefulsets\"], verbs: [\"get\"]}",
        "{apiGroups: [\"\"], resources: [\"configmaps\"], verbs: [\"get\"]}",
    ] {
        assert!(done.told.lines().any(|line| line.starts_with("note: ") && line.ends_with(rule)), "{done:?}");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_budgets_the_rest_is_looked_at() -> Result<()> {
    let stage = Stage::new("unlisted").await?;
    let ns = &stage.ns;
    stage.source("well").spec(json!({ "clusterIP": "None" })).create().await?;
    ns.apply(&well(&stage, "well-0", "node-1")).await?;
    ns.apply(&well(&stage, "well-1", "node-2")).await?;
    let account = ns.account("jane").await?;
    allow(ns, "jane", &[SERVICES, SLICES, PODS]).await?;
    let done = until(&account, &["doctor", "well"], |done| done.code == Some(0)).await?;
    assert!(done.told.contains("/well: nothing found\n"), "{done:?}");
    let rule = "{apiGroups: [\"policy\"], resources: [\"poddisruptionbudgets\"], verbs: [\"list\"]}";
    assert!(done.complained.starts_with("warning: disruption budgets are not looked at: "), "{done:?}");
    assert!(done.complained.trim_end().ends_with(rule), "{done:?}");

    allow(ns, "jane", &[SERVICES, SLICES]).await?;
    let done = until(&account, &["doctor", "well"], |done| done.code == Some(1)).await?;
    assert!(done.complained.contains("may not list pods in namespace"), "{done:?}");
    let wrong = run(&account.kubeconfig().await?, &["doctor", "well", "orders"])?;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    stage.end().await
}
