//! `zen-lead doctor --migrate`.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::program::{Done, zen_lead};
use crate::rights::{PODS, SERVICES, SLICES, allow, until};
use crate::support::{ENABLED, Stage, before_the_upgrade, left_by_go};

/// Check, whether a person should look at it.
fn prospects(of: &Value) -> Vec<(String, bool)> {
    let prospects = of.as_array().into_iter().flatten();
    prospects.map(|one| (one["check"].as_str().unwrap_or_default().to_owned(), one["look"] == true)).collect()
}

/// The Go program, as its own manifests install it.
async fn go_program(stage: &Stage, arguments: &[&str]) -> Result<()> {
    let labels = json!({ "app": "zen-lead" });
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "name": "zen-lead-controller-manager", "labels": labels },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "manager", "image": "kubezen/zen-lead:latest", "args": arguments }] },
            },
        },
    }))?;
    stage.ns.api::<Deployment>().create(&PostParams::default(), &deployment).await?;
    let lease: Lease = serde_json::from_value(json!({
        "metadata": { "name": "zen-lead-controller-leader-election" },
        "spec": { "holderIdentity": "zen-lead-controller-manager-7d4b_1" },
    }))?;
    stage.ns.api::<Lease>().create(&PostParams::default(), &lease).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_change_is_told_before_it_does() -> Result<()> {
    let (stage, [first, second]) = before_the_upgrade("migrate").await?;
    let ns = &stage.ns;
    let source = stage.source("orders").create().await?;
    left_by_go(&stage, &source, &second).await?;
    let migrate = |more: &[&str]| -> Result<Done> {
        zen_lead(ns, &[&["doctor", "--migrate", "--go-namespace", ns.name()], more].concat())
    };

    // Nothing is in the way, and the Go program is not there any more.
    let quiet = migrate(&["orders"])?;
    assert_eq!(quiet.code, Some(0), "{quiet:?}");
    for told in [
        "The Go zen-lead: nothing found\n",
        "/orders: nothing to do\n\nadopted: it is adopted in place",
        "\nsame-leader: orders-1 stays the leader\n",
        "  remedy:   nothing to do\n",
    ] {
        assert!(quiet.told.contains(told), "{told:?}\n{}", quiet.told);
    }
    assert!(quiet.complained.contains("--go-namespace"), "{quiet:?}");

    // What it is told is read as this program reads it; a change of leader is to be looked at.
    go_program(&stage, &["--metrics-bind-address=:8080", "--qps=50"]).await?;
    second.unready().await?;
    let done = migrate(&["-o", "json"])?;
    assert_eq!((done.code, &*done.complained), (Some(1), ""), "{done:?}");
    let answer: Value = serde_json::from_str(&done.told)?;
    let settled = |check: &str| (check.to_owned(), false);
    assert_eq!(
        prospects(&answer["cluster"]),
        [settled("go-program"), settled("flags-without-meaning"), settled("lease")]
    );
    assert_eq!(answer["items"][0]["name"], "orders");
    let of_orders = prospects(&answer["items"][0]["prospects"]);
    assert_eq!(
        of_orders,
        [settled("adopted"), settled("copied-opt-in"), ("another-leader".to_owned(), true)]
    );
    let why = answer["items"][0]["prospects"][2]["why"].as_str().unwrap_or_default();
    assert_eq!(why, format!("{} takes over from {}, which is not Ready", first.name(), second.name()));
    assert_eq!(migrate(&["-o", "name"])?.told, "service/orders\n");

    // Opted out, and forgotten by the Go program.
    source.annotate(ENABLED, None).await?;
    let out = migrate(&[])?;
    assert_eq!(out.code, Some(1), "{out:?}");
    assert!(out.told.contains("evidence: service/orders-leader, endpointslice/orders-leader: "), "{out:?}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_of_the_go_program_is_left_out_and_said() -> Result<()> {
    let (stage, [_, second]) = before_the_upgrade("migrate-poor").await?;
    let ns = &stage.ns;
    let source = stage.source("orders").create().await?;
    left_by_go(&stage, &source, &second).await?;
    go_program(&stage, &["--leader-election-id=zen-lead-controller-leader-election"]).await?;
    let account = ns.account("jane").await?;
    let command = ["doctor", "--migrate", "--go-namespace", ns.name()];
    allow(ns, "jane", &[SERVICES, SLICES, PODS]).await?;
    let done = until(&account, &command, |done| done.code == Some(0)).await?;
    let rule = "{apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"list\"]}";
    assert!(done.told.contains("same-leader") && done.complained.contains(rule), "{done:?}");
    allow(ns, "jane", &[SERVICES, SLICES, PODS, ("apps", "deployments", "list")]).await?;
    let rule = "{apiGroups: [\"coordination.k8s.io\"], resources: [\"leases\"], verbs: [\"get\"]}";
    let done = until(&account, &command, |done| done.complained.contains(rule)).await?;
    assert!(done.told.contains("go-program: it runs, and must not run beside this one"), "{done:?}");
    allow(ns, "jane", &[SERVICES, SLICES]).await?;
    let done = until(&account, &command, |done| done.code == Some(1)).await?;
    assert!(done.complained.contains("may not list pods in namespace"), "{done:?}");
    stage.end().await
}
