//! What the controller may do, what it does, and what it says when it may not.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use lab::{Account, Entry, Lab, Namespace, Options, documents, within};
use serde_json::{Value, json};
use support::{Controller, SOON, Stage, manifest};
use tokio::time::{Duration, Instant, interval};

/// API group, resource, verb.
type Right = (String, String, String);

// --- the lists ---

#[test]
fn role_cluster_role_and_the_table_of_security_md_say_the_same() -> Result<()> {
    let table = table()?;
    assert_eq!(rights("deploy/clusterrole.yaml")?, table);
    assert_eq!(rights("deploy/namespaced/role.yaml")?, table);
    let wildcard =
        |(group, resource, verb): &Right| [group, resource, verb].iter().any(|text| text.contains('*'));
    assert!(!table.iter().any(wildcard), "{table:?}");
    Ok(())
}

/// Who reads SECURITY.md may look them up.
#[test]
fn the_tests_that_security_md_names_exist() -> Result<()> {
    let text = manifest("SECURITY.md")?;
    let (_, section) = text.split_once("## How each claim is tested").context("the section")?;
    let named: BTreeSet<&str> = section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('_') && !word.contains('/'))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let mut sources = String::new();
    for folder in ["tests", "src", "machine"] {
        read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources)?;
    }
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

fn read_sources(folder: &Path, into: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_sources(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// One object, and nothing that could make or find others.
#[test]
fn the_lease_is_the_only_one_that_may_be_touched() -> Result<()> {
    let documents = documents(&manifest("deploy/base/lease.yaml")?)?;
    let role = documents.iter().find(|document| document["kind"] == "Role").context("a Role")?;
    let lease = documents.iter().find(|document| document["kind"] == "Lease").context("a Lease")?;
    let expected = json!([{
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "resourceNames": [lease["metadata"]["name"]], "verbs": ["get", "update"],
    }]);
    assert_eq!(role["rules"], expected);
    Ok(())
}

/// Both only read, and one of them in one namespace alone.
#[test]
fn the_roles_for_nodes_and_their_table_in_security_md_say_the_same() -> Result<()> {
    let roles = [rights("deploy/nodes/clusterrole.yaml")?, rights("deploy/nodes/role.yaml")?];
    let both: BTreeSet<Right> = roles.iter().flatten().cloned().collect();
    let (_, text) = tables()?;
    assert_eq!(both, rows(&text)?);
    assert!(both.iter().all(|(_, _, verb)| ["list", "watch"].contains(&&**verb)), "{both:?}");
    let role = documents(&manifest("deploy/nodes/role.yaml")?)?;
    assert_eq!(
        (&role[0]["kind"], &role[0]["metadata"]["namespace"]),
        (&json!("Role"), &json!("kube-node-lease"))
    );
    Ok(())
}

/// SECURITY.md up to the rights for `--watch-nodes`, and from there on.
fn tables() -> Result<(String, String)> {
    let text = manifest("SECURITY.md")?;
    let (always, nodes) = text.split_once("\n### Rights for `--watch-nodes`\n").context("the heading")?;
    Ok((always.to_owned(), nodes.to_owned()))
}

/// The rows of SECURITY.md's table of the rights that are always needed.
fn table() -> Result<BTreeSet<Right>> {
    rows(&tables()?.0)
}

fn rows(text: &str) -> Result<BTreeSet<Right>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut rights = BTreeSet::new();
    for row in rows.filter(|row| row.matches('|').count() == 6) {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let verbs = cells[3].split(',').map(str::trim);
        rights.extend(verbs.map(|verb| (cells[1].replace('"', ""), cells[2].clone(), verb.to_owned())));
    }
    ensure!(!rights.is_empty(), "SECURITY.md has no table of rights");
    Ok(rights)
}

/// The rights that the only document of a file gives.
fn rights(path: &str) -> Result<BTreeSet<Right>> {
    let documents = documents(&manifest(path)?)?;
    let [role] = documents.as_slice() else { anyhow::bail!("{path} has one document") };
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("rules")? {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                rights.extend(
                    words(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)),
                );
            }
        }
    }
    Ok(rights)
}

// --- the whole, in a cluster ---

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_role_is_all_it_takes_and_nothing_of_it_is_left_unused() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let system = lab.namespace("system").await?;
    for file in ["base/serviceaccount.yaml", "clusterrole.yaml", "clusterrolebinding.yaml"] {
        system.apply(&manifest(&format!("deploy/{file}"))?).await?;
    }
    let account = system.account("zen-lead").await?;
    let shop = lab.namespace("shop").await?;
    until_allowed(&account, Api::<Pod>::all(account.client().await?)).await?;
    set_scene(&shop).await?;
    let audit = lab.control_plane.audit().from_now();
    let mut controller = Controller::start(&account.kubeconfig().await?, "cluster", &[])?;
    controller.until_ready().await?;

    act(&shop, &controller).await?;
    controller.stop()?;

    let asked = audit.by(&account.user())?;
    let denied: Vec<&Entry> = asked.iter().filter(|entry| [401, 403].contains(&entry.code)).collect();
    assert!(denied.is_empty(), "{denied:?}");
    let used: BTreeSet<_> = asked.iter().filter_map(right_of).collect();
    let listed: BTreeSet<_> = table()?.into_iter().map(|(_, resource, verb)| (resource, verb)).collect();
    assert_eq!(used, listed);
    let elsewhere: Vec<_> =
        asked.iter().filter(|entry| entry.resource.is_empty() && entry.uri != "/version").collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    Ok(())
}

fn right_of(entry: &Entry) -> Option<(String, String)> {
    let resource = match &*entry.subresource {
        "" => entry.resource.clone(),
        sub => format!("{}/{sub}", entry.resource),
    };
    (!entry.resource.is_empty()).then(|| (resource, entry.verb.clone()))
}

/// A life of a Service from opting in to opting out, among neighbours.
async fn act(shop: &Namespace, controller: &Controller) -> Result<()> {
    let slices = shop.slices();
    slices.until_leader("orders-leader", "orders-0", SOON).await?;
    slices.until_leader("adopted-leader", "adopted-0", SOON).await?;
    meet_unaware(shop, controller, "late").await?;
    // Failover, outage, recovery, repair.
    ready(shop, "orders-0", false).await?;
    slices.until_leader("orders-leader", "orders-1", SOON).await?;
    ready(shop, "orders-1", false).await?;
    slices.until_leaderless("orders-leader", SOON).await?;
    ready(shop, "orders-0", true).await?;
    slices.until_leader("orders-leader", "orders-0", SOON).await?;
    let api = shop.api::<EndpointSlice>();
    api.delete("orders-leader", &DeleteParams::default()).await?;
    slices.until_leader("orders-leader", "orders-0", SOON).await?;
    empty_by_hand(shop, "orders-leader").await?;
    slices.until_leader("orders-leader", "orders-0", SOON).await?;
    // Foreign objects stay, what is left of a former Service goes.
    let services = shop.api::<Service>();
    assert!(services.get_opt("late-leader").await?.is_some());
    assert!(api.get_opt("guarded-leader").await?.is_some());
    // Opting out.
    annotate(shop, "orders", "false").await?;
    lab::until(&services, "app.kubernetes.io/managed-by=zen-lead", SOON, |services| {
        let exists =
            |name: &str| services.iter().any(|service| service.metadata.name.as_deref() == Some(name));
        !exists("orders-leader") && !exists("gone-leader")
    })
    .await?;
    slices.all_until("orders-leader", SOON, <[_]>::is_empty).await?;
    slices.all_until("gone-leader", SOON, <[_]>::is_empty).await.map(drop)
}

/// As a user applies it, and as a cluster takes it: a pod of the Deployment meets the strictest Pod Security Standard,
/// which the namespace enforces.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_deploy_can_be_applied_and_its_pod_is_admitted() -> Result<()> {
    let lab = Lab::start(Options::default()).await?;
    let control_plane = &lab.control_plane;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    control_plane.kubectl(&["create", "namespace", "shop"]).await?;
    for folder in [folder, &format!("{folder}/namespaced")] {
        control_plane.kubectl(&["apply", "--kustomize", folder]).await?;
    }
    let client = control_plane.admin().await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "zen-lead-system");
    let pods: Api<Pod> = Api::namespaced(client, "zen-lead-system");
    let deployment = serde_json::to_value(deployments.get("zen-lead").await?)?;
    let template = &deployment["spec"]["template"];
    assert_eq!(
        template["spec"]["containers"][0]["args"],
        json!(["run", "--namespace=shop"]),
        "of the variant"
    );
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(template["spec"]["securityContext"]["runAsUser"], 65534);
    assert!(
        container["resources"]["limits"]["memory"].is_string()
            && container["resources"]["requests"]["cpu"].is_string()
    );

    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut pod = json!({ "metadata": { "name": "zen-lead-0", "labels": template["metadata"]["labels"] }, "spec": template["spec"] });
    pods.create(&dry_run, &serde_json::from_value(pod.clone())?).await?;
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refused = pods.create(&dry_run, &serde_json::from_value(pod)?).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("PodSecurity")), "it is enforced");
    Ok(())
}

// --- one namespace ---

#[tokio::test(flavor = "multi_thread")]
async fn with_a_role_in_one_namespace_it_asks_for_nothing_in_another() -> Result<()> {
    let lab = Lab::shared().await?;
    let next_door = lab.namespace("next-door").await?;
    set_scene(&next_door).await?;
    let stage = Stage::on(lab, "role", &[]).await?;
    let pods = stage.led_pair().await?;
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    let outside: Vec<_> = stage
        .asked()?
        .into_iter()
        .filter(|entry| !entry.resource.is_empty() && entry.namespace != stage.ns.name())
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
    assert!(next_door.api::<Service>().get_opt("orders-leader").await?.is_none());
    stage.end().await
}

// --- one verb less ---

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verb_on_pods_it_says_so_and_goes_on_when_it_is_granted() -> Result<()> {
    for verb in ["get", "list", "watch"] {
        without("pods", verb).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verb_on_services_it_says_so_and_goes_on_when_it_is_granted() -> Result<()> {
    for verb in ["get", "list", "watch", "create", "patch", "delete"] {
        without("services", verb).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verb_on_slices_it_says_so_and_goes_on_when_it_is_granted() -> Result<()> {
    for verb in ["get", "list", "watch", "create", "update", "delete"] {
        without("endpointslices", verb).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_notices_it_says_so_and_goes_on_when_it_is_granted() -> Result<()> {
    without("events", "create").await
}

#[test]
fn every_verb_was_taken_away_once() -> Result<()> {
    let source = manifest("tests/rbac.rs")?;
    for (_, resource, verb) in table()? {
        let call = format!("without(\"{resource}\", ");
        let (before, after) = source.split_once(&call).with_context(|| format!("{call} is called"))?;
        let verbs = before.rsplit_once("for verb in [").map_or("", |(_, verbs)| verbs);
        let is_tried = verbs.contains(&format!("\"{verb}\"")) || after.starts_with(&format!("\"{verb}\""));
        assert!(is_tried, "{verb} on {resource}");
    }
    Ok(())
}

async fn without(resource: &str, verb: &str) -> Result<()> {
    let ns = Lab::shared().await?.namespace("less").await?;
    let account = ns.account("zen-lead").await?;
    bind(&ns, Some((resource, verb))).await?;
    // So that only what was taken away is missing.
    let granted = if (resource, verb) == ("pods", "list") { "services" } else { "pods" };
    until_may_list(&account, &ns, granted).await?;
    set_scene(&ns).await?;
    let audit = Lab::shared().await?.control_plane.audit().from_now();
    let mut controller = Controller::in_namespace(&ns, &account, &[]).await?;

    let words = format!("cannot {verb} resource \"{resource}\"");
    let is_read_by_watches = ["list", "watch"].contains(&verb);
    if is_read_by_watches {
        let unready = |answer: &str| answer.starts_with("HTTP/1.1 503") && answer.contains(&words);
        controller.until_probe("/readyz", unready).await?;
    } else {
        controller.until_ready().await?;
        meet_unaware(&ns, &controller, "late").await?;
    }
    if (resource, verb) == ("pods", "get") {
        ns.slices().until_leader("adopted-leader", "adopted-0", SOON).await?;
        empty_by_hand(&ns, "adopted-leader").await?;
    }
    let line = controller.until_logged(&[&format!("cannot {verb} resource"), resource]).await?;
    assert!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    let healthy = controller.probe("/healthz").await?;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");

    bind(&ns, None).await?;
    controller.until_ready().await?;
    ns.slices().until_leader("adopted-leader", "adopted-0", SOON).await?;
    ready(&ns, "orders-0", false).await?;
    ns.slices().until_leader("orders-leader", "orders-1", SOON).await?;
    if (resource, verb) == ("services", "get") {
        meet_unaware(&ns, &controller, "later").await?;
    }
    let user = account.user();
    let is_granted = |entry: &Entry| {
        entry.user == user
            && entry.verb == verb
            && entry.resource == resource
            && ![401, 403].contains(&entry.code)
    };
    let granted = audit.until(SOON, |entries| entries.iter().any(is_granted)).await;
    granted.with_context(|| format!("{verb} on {resource} was needed, and is not used when granted"))?;
    controller.stop()
}

/// The shipped ClusterRole in this namespace, less one verb.
async fn bind(ns: &Namespace, less: Option<(&str, &str)>) -> Result<()> {
    let mut role = documents(&manifest("deploy/clusterrole.yaml")?)?.pop().context("a ClusterRole")?;
    for rule in role["rules"].as_array_mut().context("rules")? {
        let Some((resource, verb)) = less.filter(|(resource, _)| rule["resources"] == json!([resource]))
        else {
            continue;
        };
        let verbs = rule["verbs"].as_array_mut().context("verbs")?;
        let before = verbs.len();
        verbs.retain(|other| other != verb);
        ensure!(verbs.len() + 1 == before, "{verb} on {resource} is in the ClusterRole");
    }
    let rules = role["rules"].as_array_mut().context("rules")?;
    rules.retain(|rule| rule["verbs"] != json!([]));
    let mut binding =
        documents(&manifest("deploy/namespaced/rolebinding.yaml")?)?.pop().context("a RoleBinding")?;
    binding["roleRef"]["kind"] = json!("ClusterRole");
    ns.apply(&role.to_string()).await?;
    ns.apply(&binding.to_string()).await
}

// --- the scene ---

/// Work for every right: a Service to be led, a slice of somebody else in our place, a slice that names a pod that
/// is no more, and what was left of a Service that is gone.
async fn set_scene(ns: &Namespace) -> Result<()> {
    for source in ["orders", "guarded", "adopted"] {
        let service = ns.service(source).selector("app", source).port("http", 80, 8080);
        service.annotation("zen-lead.io/enabled", "true").create().await?;
    }
    for (source, name) in [("orders", "orders-0"), ("orders", "orders-1"), ("adopted", "adopted-0")] {
        let pod = ns.pod(name).label("app", source).ready().create().await?;
        if name == "orders-0" {
            pod.becomes_older().await?;
        }
    }
    ns.apply(FOREIGN_SLICE).await?;
    for (source, extra) in [("adopted", ""), ("gone", "zen-lead.io/instance: default/zen-lead")] {
        ns.apply(&LEFT.replace("SOURCE", source).replace("EXTRA", extra)).await?;
    }
    Ok(())
}

const FOREIGN_SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: guarded-leader }
addressType: IPv4
endpoints: []
";

const LEFT: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: SOURCE-leader
  labels: { app.kubernetes.io/managed-by: zen-lead, zen-lead.io/source-service: SOURCE }
  annotations: { EXTRA }
spec:
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: SOURCE-leader
  labels:
    app.kubernetes.io/managed-by: zen-lead
    endpointslice.kubernetes.io/managed-by: zen-lead
    kubernetes.io/service-name: SOURCE-leader
    zen-lead.io/source-service: SOURCE
  annotations: { zen-lead.io/epoch: "7", zen-lead.io/leader-pod-uid: ghost, EXTRA }
addressType: IPv4
endpoints:
  - addresses: ["10.255.255.1"]
    conditions: { ready: true }
    targetRef: { kind: Pod, name: ghost, uid: ghost }
ports: [{ name: http, port: 8080, protocol: TCP }]
"#;

/// A Service opts in whose leader Service's name is taken before the controller can know: it hears of both at once.
async fn meet_unaware(ns: &Namespace, controller: &Controller, name: &str) -> Result<()> {
    ns.service(name).selector("app", name).port("http", 80, 8080).create().await?;
    controller.process()?.pause()?;
    annotate(ns, name, "true").await?;
    ns.service(&format!("{name}-leader")).selector("app", "theirs").port("http", 80, 8080).create().await?;
    controller.process()?.signal(lab::Signal::CONT)
}

/// Somebody empties a slice. It may be another replica that knows more of the leader, so that pod is read first.
async fn empty_by_hand(ns: &Namespace, slice: &str) -> Result<()> {
    let patch = kube::api::Patch::Merge(json!({ "endpoints": [] }));
    ns.api::<EndpointSlice>().patch(slice, &kube::api::PatchParams::default(), &patch).await?;
    Ok(())
}

async fn annotate(ns: &Namespace, service: &str, enabled: &str) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { "zen-lead.io/enabled": enabled } } });
    let patch = kube::api::Patch::Merge(patch);
    ns.api::<Service>().patch(service, &kube::api::PatchParams::default(), &patch).await?;
    Ok(())
}

async fn ready(ns: &Namespace, pod: &str, is_ready: bool) -> Result<()> {
    let status = if is_ready { "True" } else { "False" };
    let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } });
    let patch = kube::api::Patch::Merge(patch);
    ns.api::<Pod>().patch_status(pod, &kube::api::PatchParams::default(), &patch).await?;
    Ok(())
}

/// The API server learns of roles by a watch.
async fn until_may_list(account: &Account, ns: &Namespace, resource: &str) -> Result<()> {
    let client = account.client().await?;
    match resource {
        "services" => until_allowed(account, Api::<Service>::namespaced(client, ns.name())).await,
        _ => until_allowed(account, Api::<Pod>::namespaced(client, ns.name())).await,
    }
}

async fn until_allowed<K>(account: &Account, api: Api<K>) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let deadline = Instant::now() + within(20);
    let mut often = interval(Duration::from_millis(10));
    while let Err(error) = api.list(&ListParams::default().limit(1)).await {
        ensure!(Instant::now() < deadline, "{} has no rights: {error}", account.user());
        often.tick().await;
    }
    Ok(())
}
