//! With the caller's own rights: what is missing is named as the rule to ask for.

use anyhow::{Result, ensure};
use lab::{Account, Namespace};
use serde_json::json;
use tokio::time::Instant;

use crate::program::{Done, run};
use crate::support::{SOON, Stage};

/// API group, resource, verb.
pub(crate) type Right = (&'static str, &'static str, &'static str);

pub(crate) const SERVICES: Right = ("", "services", "list");
pub(crate) const SLICES: Right = ("discovery.k8s.io", "endpointslices", "list");
const SLICE_WATCH: Right = ("discovery.k8s.io", "endpointslices", "watch");
pub(crate) const PODS: Right = ("", "pods", "list");
const NOTICES: Right = ("events.k8s.io", "events", "list");
const PATCH: Right = ("", "services", "patch");

/// Gives an account just these rights in the namespace.
pub(crate) async fn allow(ns: &Namespace, account: &str, rights: &[Right]) -> Result<()> {
    let rules: Vec<_> = rights
        .iter()
        .map(|(group, resource, verb)| json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] }))
        .collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": account }, "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": account },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": ns.name() }],
    });
    ns.apply(&role.to_string()).await?;
    ns.apply(&binding.to_string()).await
}

/// Runs it until the API server has learnt of the rights, which it does by a watch.
pub(crate) async fn until(
    account: &Account,
    arguments: &[&str],
    wanted: impl Fn(&Done) -> bool,
) -> Result<Done> {
    let kubeconfig = account.kubeconfig().await?;
    let deadline = Instant::now() + SOON;
    loop {
        let done = run(&kubeconfig, arguments)?;
        if wanted(&done) {
            return Ok(done);
        }
        ensure!(Instant::now() < deadline, "{arguments:?}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_right_is_the_rule_to_ask_for() -> Result<()> {
    let stage = Stage::new("rights").await?;
    stage.led("orders", 2).await?;
    let ns = &stage.ns;
    let account = ns.account("jane").await?;
    let user = format!("system:serviceaccount:{}:jane", ns.name());
    let needed: [(&[&str], &[Right], bool); 4] = [
        (&["why", "orders"], &[SERVICES, SLICES, PODS], false),
        (&["pause", "orders"], &[SERVICES, PATCH], true),
        (&["history", "orders"], &[SERVICES, NOTICES], false),
        (&["switchover", "orders", "--wait"], &[SERVICES, SLICES, PODS, SLICE_WATCH, PATCH], true),
    ];
    for (command, rights, pauses) in needed {
        for missing in rights {
            let others: Vec<Right> = rights.iter().filter(|right| *right != missing).copied().collect();
            allow(ns, "jane", &others).await?;
            let (group, resource, verb) = missing;
            let rule =
                format!("{{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}");
            let done = until(&account, command, |done| done.complained.contains(&rule)).await?;
            assert_eq!((done.code, &*done.told), (Some(1), ""), "{command:?}: {done:?}");
            let line = done.complained.lines().last().unwrap_or_default();
            assert!(line.contains(&format!("{user} may not {verb} ")), "{command:?}: {done:?}");
            assert!(
                line.contains(&format!("ask for a Role in namespace {}", ns.name())),
                "{command:?}: {done:?}"
            );
        }
        allow(ns, "jane", rights).await?;
        until(&account, command, |done| done.code == Some(0)).await?;
        if pauses && command[0] == "pause" {
            until(&account, &["resume", "orders"], |done| done.code == Some(0)).await?;
        }
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_may_be_seen_and_says_what_may_not() -> Result<()> {
    let stage = Stage::new("poor").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    let ns = &stage.ns;
    let account = ns.account("poor").await?;
    allow(ns, "poor", &[SERVICES, SLICES]).await?;
    let done = until(&account, &["status"], |done| done.code == Some(0)).await?;
    let row = crate::program::masked(&done.told, ns);
    assert!(row.ends_with("orders   orders-0   Elected   AGE   EPOCH   -   node-1   -"), "{row}");
    let missing: Vec<&str> = done.complained.lines().collect();
    assert_eq!(missing.len(), 2, "{done:?}");
    assert!(missing[0].starts_with("warning: no members are shown: "), "{done:?}");
    assert!(missing[1].starts_with("warning: no last failover is shown: "), "{done:?}");
    let everywhere = until(&account, &["status", "-A"], |done| done.code == Some(1)).await?;
    assert!(
        everywhere.complained.contains("ask for a ClusterRole (or name a namespace with -n)"),
        "{everywhere:?}"
    );
    stage.end().await
}
