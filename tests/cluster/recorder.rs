//! `zen-lead log` and `history`, which forward a port to the controller's pods through API server and kubelet.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use lab::cluster::Cluster;
use lab::{Account, Assets, Directory, Namespace, within};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::Instant;

pub(crate) const SYSTEM: &str = "zen-lead-system";

/// What the rights are called that a caller needs, in the order in which they are missed.
const RIGHTS: [(&str, &str); 3] =
    [("pods", "list"), ("pods/portforward", "get"), ("pods/portforward", "create")];

/// After a failover to this pod: somebody with no rights is told which ones to ask for, one after the other, and with all
/// of them has a log that can be replayed.
pub(crate) async fn tells_of_the_failover(cluster: &Cluster, shop: &Namespace, leader: &str) -> Result<()> {
    let jane = shop.account("jane").await?;
    let user = jane.user();
    let who = Caller { kubeconfig: jane.kubeconfig().await?, account: jane };
    let history_rights = json!([
        { "apiGroups": [""], "resources": ["services"], "verbs": ["list"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"] },
    ]);
    who.may(shop, &history_rights).await?;

    for (given, (resource, verb)) in RIGHTS.iter().enumerate() {
        who.may_forward(shop, given).await?;
        let verbs = if *resource == "pods" { "\"list\"" } else { "\"get\", \"create\"" };
        let rule = format!("{{apiGroups: [\"\"], resources: [\"{resource}\"], verbs: [{verbs}]}}");
        // Of the second right to forward, the API server does not say who lacks it.
        let whom = if *verb == "create" { "you" } else { &*user };
        let is_told = |text: &str| text.contains(&format!("{whom} may not {verb} {resource} "));
        let done = who.until(&["log", "web"], |done| is_told(&complaint(done)))?;
        let line = complaint(&done);
        assert!(done.status.code() == Some(1) && done.stdout.is_empty(), "{done:?}");
        assert!(
            line.contains(&format!("ask for a Role in namespace {SYSTEM} with the rule {rule}")),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
        let done = who.until(&["history", "web"], |done| done.status.success())?;
        let line = complaint(&done);
        assert!(line.starts_with("warning: told from notices alone: ") && line.contains(&rule), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(String::from_utf8_lossy(&done.stdout).contains(leader), "{done:?}");
    }
    who.may_forward(shop, RIGHTS.len()).await?;
    let audit = cluster.audit().from_now();
    let log = who.until(&["log", "web"], |done| done.status.success())?;
    assert_eq!(complaint(&log), "");
    replays(&log.stdout, leader)?;

    // The right was new: earlier ones may have been refused.
    let writer = writer(shop).await?;
    let is_forward = |entry: &&lab::Entry| entry.user == user && entry.subresource == "portforward";
    let is_told = |entries: &[lab::Entry]| {
        entries.iter().filter(is_forward).any(|entry| entry.code == 101 && entry.name == writer)
    };
    audit.until(within(30), is_told).await.context("the replica that wrote the term was asked")?;
    ensure!(audit.entries()?.iter().filter(is_forward).all(|entry| entry.name == writer), "and no other");

    // As a plugin of the real kubectl, which hands the log through.
    let log = who.run_by_kubectl(&["log", "web"])?;
    assert_eq!((log.status.code(), &*complaint(&log)), (Some(0), ""));
    replays(&log.stdout, leader)?;

    // From the recorder are the durations.
    let history = who.run(&["history", "web", "-o", "json"])?;
    assert_eq!((history.status.code(), &*complaint(&history)), (Some(0), ""));
    let answer: Value = serde_json::from_slice(&history.stdout)?;
    let last = answer["items"].as_array().and_then(|items| items.last()).context("a change")?;
    assert!(last["to"] == leader && last["tookUs"].is_u64(), "{answer}");

    for (arguments, words) in [
        (&["log", "carts"][..], "404 Not Found: nothing is recorded of it"),
        (
            &["log", "web", "--debug-port=9"],
            "nothing listens on its port 9: name another one with --debug-port",
        ),
    ] {
        let done = who.run(arguments)?;
        let line = complaint(&done);
        assert_eq!((done.status.code(), line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.contains("error: no flight recorder has ") && line.contains(words), "{line}");
        // Of both replicas, and once.
        assert_eq!((line.matches("zen-lead-").count(), line.matches(words).count()), (2, 1), "{line}");
    }
    who.may(shop, &rules(RIGHTS.len())).await?;
    let elsewhere = format!("--controller-namespace={}", shop.name());
    let done = who.until(&["log", "web", &elsewhere], |done| complaint(done).contains("no pod of"))?;
    assert_eq!(
        complaint(&done),
        format!(
            "error: no pod of the controller runs in namespace {}: name its namespace with --controller-namespace\n",
            shop.name()
        )
    );
    Ok(())
}

/// Somebody who runs the program.
struct Caller {
    account: Account,
    kubeconfig: PathBuf,
}

impl Caller {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_zen-lead"));
        program.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig);
        Ok(block_in_place(|| program.output())?)
    }

    /// The same as `kubectl zen-lead`.
    fn run_by_kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let plugins = Directory::create()?;
        symlink(env!("CARGO_BIN_EXE_zen-lead"), plugins.path().join("kubectl-zen_lead"))?;
        let mut kubectl = Command::new(Assets::find_or_build()?.program("kubectl"));
        kubectl.arg("zen-lead").args(arguments).env("PATH", plugins.path());
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        Ok(block_in_place(|| kubectl.output())?)
    }

    /// Runs it until the API server has learnt of the rights, which it does by a watch.
    fn until(&self, arguments: &[&str], wanted: impl Fn(&Output) -> bool) -> Result<Output> {
        let deadline = Instant::now() + within(30);
        loop {
            let done = self.run(arguments)?;
            if wanted(&done) {
                return Ok(done);
            }
            ensure!(Instant::now() < deadline, "{arguments:?}: {done:?}");
        }
    }

    /// The first so many of [`RIGHTS`], where the controller runs.
    async fn may_forward(&self, shop: &Namespace, count: usize) -> Result<()> {
        self.may(&shop.beside(SYSTEM), &rules(count)).await
    }

    /// These rights in this namespace, and no others there.
    async fn may(&self, there: &Namespace, rules: &Value) -> Result<()> {
        let user = self.account.user();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "jane" }, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "jane" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jane" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        });
        there.apply(&role.to_string()).await?;
        there.apply(&binding.to_string()).await
    }
}

fn rules(count: usize) -> Value {
    let rule = |(resource, verb): &(&str, &str)| json!({ "apiGroups": [""], "resources": [resource], "verbs": [verb] });
    RIGHTS[..count].iter().map(rule).collect()
}

fn complaint(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// The replica that wrote the present term.
async fn writer(shop: &Namespace) -> Result<String> {
    let slice: EndpointSlice = shop.api().get("web-leader").await?;
    let annotation = slice.metadata.annotations.and_then(|mut all| all.remove("zen-lead.io/term-by"));
    annotation.context("the slice tells who wrote the term")
}

/// The log leads to the same once more, and tells of a failover to this pod.
fn replays(log: &[u8], leader: &str) -> Result<()> {
    let directory = Directory::create()?;
    let file = directory.path().join("incident.jsonl");
    fs::write(&file, log)?;
    let replay = Command::new(env!("CARGO_BIN_EXE_zen-lead")).arg("replay").arg(&file).output()?;
    let text = String::from_utf8_lossy(&replay.stdout);
    ensure!(replay.status.success(), "{text}{}", String::from_utf8_lossy(&replay.stderr));
    ensure!(text.contains(leader), "no word of {leader}: {text}");
    Ok(())
}
