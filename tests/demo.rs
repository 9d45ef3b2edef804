//! `cargo demo`, end to end: with the controller of this build instead of a released one, in the lab and in a
//! cluster that is not the demo's own.

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future, pending};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use lab::demo::{self, Arguments, Outcome, Screen};
use lab::{Chromium, Lab, within};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// Longer than a show takes on a busy machine; its waits are bounded by themselves.
const LONG: Duration = within(180);

const SCENES: [&str; 8] = [
    "Opting in",
    "Readiness lost",
    "Graceful deletion",
    "Total outage and recovery",
    "Back and forth",
    "A foreign x-leader",
    "Opting out",
    "Measured",
];

/// Each show has a control plane of its own: all at once would be slow on a small machine.
async fn turn() -> Result<SemaphorePermit<'static>> {
    static TURNS: Semaphore = Semaphore::const_new(2);
    Ok(TURNS.acquire().await?)
}

/// What is printed, to be read while it is.
#[derive(Clone)]
struct Paper(Arc<watch::Sender<String>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn new() -> Self {
        Self(Arc::new(watch::channel(String::new()).0))
    }

    fn text(&self) -> String {
        self.0.borrow().clone()
    }

    async fn until(&self, words: &str) -> Result<String> {
        let mut text = self.0.subscribe();
        let found = timeout(LONG, text.wait_for(|text| text.contains(words))).await;
        Ok(found.with_context(|| format!("{words:?} was not printed:\n{}", self.text()))??.clone())
    }
}

fn arguments() -> Arguments {
    Arguments {
        rounds: 1,
        keep: false,
        traces: false,
        screenshot: None,
        kubeconfig: None,
        context: None,
        controller: Some(env!("CARGO_BIN_EXE_zen-lead").into()),
    }
}

/// Shows it, and meanwhile lets somebody watch who may stop it.
async fn show<F>(arguments: &Arguments, spectator: impl FnOnce(Paper, Stop) -> F) -> Result<(Outcome, String)>
where
    F: Future<Output = Result<()>>,
{
    let paper = Paper::new();
    let mut screen = Screen::plain(paper.clone());
    let (sender, mut stop) = mpsc::unbounded_channel();
    let watching = async {
        spectator(paper.clone(), Stop(sender)).await?;
        pending::<Result<()>>().await
    };
    let outcome = tokio::select! {
        outcome = timeout(LONG, demo::run(arguments, &mut screen, &mut stop)) => outcome,
        result = watching => return Err(result.err().context("the spectator left")?),
    };
    let text = paper.text();
    Ok((outcome.with_context(|| format!("it does not end:\n{text}"))?, text))
}

/// Ctrl-C.
struct Stop(mpsc::UnboundedSender<()>);

impl Stop {
    fn press(&self) -> Result<()> {
        Ok(self.0.send(())?)
    }
}

async fn nobody(_: Paper, stop: Stop) -> Result<()> {
    stop.0.closed().await;
    Ok(())
}

/// A program of these lines instead of the controller.
fn script(name: &str, lines: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scene_is_shown_and_holds() -> Result<()> {
    let _turn = turn().await?;
    let (outcome, text) = show(&arguments(), nobody).await?;
    assert_eq!(outcome, Outcome::Held, "{text}");
    assert_eq!(outcome.code(), 0);
    let lines: Vec<&str> = text.lines().collect();
    let places: Vec<_> = SCENES.iter().map(|scene| lines.iter().position(|line| line == scene)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
    for phase in ["Elected ", "Draining ", "Leaderless "] {
        assert!(
            text.lines().any(|line| line.trim_start().starts_with('+') && line.contains(phase)),
            "{phase}:\n{text}"
        );
    }
    for words in
        ["LeaderChanged: the leader was not Ready", "LeaderRecovered: ", "LeaderServiceConflict", "NotReady"]
    {
        assert!(in_one_line(&text).contains(words), "{words}:\n{text}");
    }
    assert!(text.ends_with("Everything held.\n") && text.contains(", 0 did not hold\n"), "{text}");
    assert!(!text.contains('\x1b'), "a pipe gets no colours");
    Ok(())
}

/// The text however its lines are broken.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_never_acts_is_named_as_what_did_not_hold() -> Result<()> {
    let _turn = turn().await?;
    // It is ready, and looks elsewhere.
    let elsewhere = format!("exec {} \"$@\" --namespace=elsewhere", env!("CARGO_BIN_EXE_zen-lead"));
    let controller = Some(script("looks-elsewhere", &elsewhere)?);
    let (outcome, text) = show(&Arguments { controller, ..arguments() }, nobody).await?;
    assert_eq!((outcome, outcome.code()), (Outcome::NotHeld, 1), "{text}");
    let why =
        "EndpointSlice orders-leader should say that orders-0 leads; it says nothing, for there is none";
    assert!(in_one_line(&text).contains(why), "{text}");
    assert!(!text.contains("Everything held"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_none_gives_a_clear_error() -> Result<()> {
    let _turn = turn().await?;
    for (lines, words) in [
        ("exit 0", "the controller ended with exit status: 0 before it was ready; it logged nothing"),
        (
            "echo no such thing; exit 3",
            "ended with exit status: 3 before it was ready; the end of its log: no such thing",
        ),
    ] {
        let controller = Some(script(&format!("exits-{}", lines.len()), lines)?);
        let (outcome, text) = show(&Arguments { controller, ..arguments() }, nobody).await?;
        assert_eq!(outcome, Outcome::NotHeld, "{text}");
        assert!(in_one_line(&text).contains(words), "{words}:\n{text}");
    }
    let controller = Some("/no/such/program".into());
    let (outcome, text) = show(&Arguments { controller, ..arguments() }, nobody).await?;
    assert_eq!(outcome, Outcome::NotHeld);
    assert!(text.contains("--controller /no/such/program: there is no such program"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_can_be_tried_as_it_says() -> Result<()> {
    let _turn = turn().await?;
    let keep = Arguments { keep: true, ..arguments() };
    let (outcome, text) = show(&keep, |paper, stop| async move {
        let text = paper.until("Ctrl-C ends it").await?;
        let told = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start));
        let (kubeconfig, path) = (told("export KUBECONFIG="), told("export PATH="));
        let function = told("leader() {").context("who leads")?;
        let setting =
            format!("{}\n{}\n{function}\n", kubeconfig.context("kubeconfig")?, path.context("path")?);
        let file = kubeconfig.and_then(|line| line.split_once('=')).context("a path")?.1;
        let slices: Api<EndpointSlice> = Api::default_namespaced(lab::client_from(Path::new(file)).await?);
        let before = leader(&slices, |_| true).await?;
        let columns = told("kubectl get endpointslice").context("see who leads")?.replace(" -w ", " ");
        let seen = typed(&setting, &columns)?;
        assert!(seen.starts_with("LEADER") && seen.contains(&before) && !seen.contains("<none>"), "{seen}");

        typed(&setting, told("kubectl patch pod $").context("make it NotReady")?)?;
        let after = leader(&slices, |leader| leader != before).await?;
        assert_ne!(after, before);
        // Back to the first one, which only a request makes leader again.
        typed(&setting, told(&format!("kubectl patch pod {before}")).context("make it Ready again")?)?;
        typed(
            &setting,
            told("kubectl annotate service orders zen-lead.io/switchover-to").context("hand over")?,
        )?;
        leader(&slices, |leader| leader == before).await?;
        assert!(typed(&setting, told("kubectl events").context("read")?)?.contains("SwitchoverCompleted"));
        typed(&setting, told("kubectl delete pod $").context("delete")?)?;
        leader(&slices, |leader| leader != before).await?;
        typed(&setting, text.lines().rfind(|line| line.contains("enabled-")).context("opt out")?)?;
        let gone = lab::until(&slices, "", within(20), <[_]>::is_empty).await?;
        assert!(gone.is_empty());
        stop.press()
    })
    .await?;
    assert_eq!(outcome, Outcome::Held, "{text}");
    assert!(text.contains("the lab is gone"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_pages_as_long_as_it_runs() -> Result<()> {
    let _turn = turn().await?;
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slowest.png");
    let _ = fs::remove_file(&picture);
    let traced = Arguments { traces: true, screenshot: Some(picture.clone()), ..arguments() };
    let (outcome, text) = show(&traced, |paper, stop| async move {
        let text = paper.until("Ctrl-C ends it").await?;
        let pages: Vec<&str> = text.lines().filter(|line| line.contains("/traces/")).map(str::trim).collect();
        let [slowest, last] = pages[..] else { bail!("two pages: {text}") };
        for page in [slowest, last] {
            let page = Chromium::find()?.dom(page, (1500, 800)).await?;
            ensure!(page.contains("failover") && page.contains("reelecting"), "no trace in:\n{page}");
        }
        stop.press()
    })
    .await?;
    assert_eq!(outcome, Outcome::Held, "{text}");
    // Those that the scenes show, and perhaps one more: who is first in rank when sticky is switched off is told by the
    // seconds in which the pods were made.
    let traced = in_one_line(&text).split_once("each failover went (").and_then(|(_, rest)| {
        rest.split_once(", from one leader to the next)").and_then(|(number, _)| number.parse::<usize>().ok())
    });
    let shown = text.lines().filter(|line| line.contains("LeaderChanged: ")).count();
    assert!(traced == Some(shown) || traced == Some(shown + 1), "{traced:?} of {shown}: {text}");
    assert!(picture.exists(), "{text}");
    Ok(())
}

/// Types lines into a shell.
fn typed(setting: &str, line: &str) -> Result<String> {
    let output = Command::new("/bin/sh").args(["-ec", &format!("{setting}{line}")]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}\n{error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn leader(slices: &Api<EndpointSlice>, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let is_wanted = |slice: &EndpointSlice| lab::leader_of(slice).is_some_and(|leader| wanted(&leader));
    let slice = lab::until_object(slices, "orders-leader", within(20), is_wanted).await?;
    lab::leader_of(&slice).context("it has a leader")
}

/// What a demo left in its namespace when it asked for its removal: counts by kind.
type LeftOver = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Kubernetes' own namespace controller, which the lab does not run: empties namespaces that are to go.
async fn empty_namespaces(client: &Client, found: &LeftOver) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let is_leaving = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    loop {
        let all = lab::until(&namespaces, "", LONG, |all| all.iter().any(is_leaving)).await?;
        for mut namespace in all.into_iter().filter(is_leaving) {
            let name = namespace.name_any();
            let kinds = [
                ("pods", delete_all::<Pod>(client, &name).await?),
                ("services", delete_all::<Service>(client, &name).await?),
                ("slices", delete_all::<EndpointSlice>(client, &name).await?),
                ("roles", delete_all::<Role>(client, &name).await?),
                ("bindings", delete_all::<RoleBinding>(client, &name).await?),
                ("accounts", delete_all::<ServiceAccount>(client, &name).await?),
            ];
            found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(kinds);
            if let Some(spec) = &mut namespace.spec {
                spec.finalizers = None;
            }

            namespaces.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await?;
        }
    }
}

async fn delete_all<K>(client: &Client, namespace: &str) -> Result<usize>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let objects = api.list(&ListParams::default()).await?.items;
    for object in &objects {
        api.delete(&object.name_any(), &DeleteParams::default().grace_period(0)).await?;
    }
    Ok(objects.len())
}

/// The names of what a demo makes, wherever it is.
async fn traces(client: &Client) -> Result<Vec<String>> {
    let all = ListParams::default();
    let mut names = Vec::new();
    names.extend(
        Api::<Namespace>::all(client.clone()).list(&all).await?.iter().map(kube::ResourceExt::name_any),
    );
    names.extend(
        Api::<ClusterRole>::all(client.clone()).list(&all).await?.iter().map(kube::ResourceExt::name_any),
    );
    names.extend(
        Api::<ClusterRoleBinding>::all(client.clone())
            .list(&all)
            .await?
            .iter()
            .map(kube::ResourceExt::name_any),
    );
    names.retain(|name| name.contains("zen-lead"));
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_of_the_users_it_stays_in_one_namespace_and_removes_it() -> Result<()> {
    let _turn = turn().await?;
    let lab = Lab::start(lab::Options::default()).await?;
    let client = lab.control_plane.admin().await?;
    let own = Arguments { kubeconfig: Some(lab.control_plane.kubeconfig_admin()?), ..arguments() };
    let found = LeftOver::default();
    let (outcome, text) = show(&own, |_, _stop| {
        let (client, found) = (client.clone(), found.clone());
        async move { empty_namespaces(&client, &found).await }
    })
    .await?;
    assert_eq!(outcome, Outcome::Held, "{text}");
    assert!(text.contains("is gone, and all that was in it"), "{text}");
    assert_eq!(traces(&client).await?, Vec::<String>::new());
    let found = found.lock().unwrap().clone();
    assert_eq!((found["pods"], found["slices"], found["roles"]), (0, 0, 1), "{found:?}");
    // It has no right but in that namespace.
    let users: Vec<_> = lab.control_plane.audit().entries()?;
    let elsewhere =
        users.iter().filter(|entry| entry.user.ends_with(":zen-lead") && !entry.resource.is_empty());
    let outside: Vec<_> = elsewhere.filter(|entry| !entry.namespace.starts_with("zen-lead-demo-")).collect();
    assert!(outside.is_empty(), "{outside:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_demo_removes_what_it_made() -> Result<()> {
    let _turn = turn().await?;
    let lab = Lab::start(lab::Options::default()).await?;
    let client = lab.control_plane.admin().await?;
    let kubeconfig = Some(lab.control_plane.kubeconfig_admin()?);
    // So many rounds that it is certainly still at it.
    let own = Arguments { kubeconfig, rounds: 1000, ..arguments() };
    let found = LeftOver::default();
    let (outcome, text) = show(&own, |paper, stop| {
        let (client, found) = (client.clone(), found.clone());
        async move {
            paper.until("LeaderChanged").await?;
            stop.press()?;
            empty_namespaces(&client, &found).await
        }
    })
    .await?;
    assert_eq!((outcome, outcome.code()), (Outcome::Interrupted, 130), "{text}");
    assert_eq!(traces(&client).await?, Vec::<String>::new());
    assert_eq!(found.lock().unwrap()["pods"], 0, "pods without a kubelet would hold their namespace");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_used_is_named_with_the_remedy() -> Result<()> {
    let _turn = turn().await?;
    let own = Arguments { kubeconfig: Some("/no/such/file".into()), ..arguments() };
    let (outcome, text) = show(&own, nobody).await?;
    assert_eq!(outcome, Outcome::NotHeld);
    assert!(text.contains("--kubeconfig /no/such/file: name a file that kubectl can use"), "{text}");

    let lab = Lab::shared().await?;
    let kubeconfig = lab.control_plane.kubeconfig_admin()?;
    let context = Some("elsewhere".into());
    let (_, text) = show(&Arguments { kubeconfig: Some(kubeconfig), context, ..own.clone() }, nobody).await?;
    assert!(text.contains("--context elsewhere version`"), "{text}");

    // Somebody who may do nothing there.
    let account = lab.namespace("powerless").await?.account("somebody").await?;
    let kubeconfig = Some(account.kubeconfig().await?);
    let (_, text) = show(&Arguments { kubeconfig, context: None, ..own }, nobody).await?;
    assert!(
        text.contains("creating a namespace in the cluster of") && text.contains("must be allowed"),
        "{text}"
    );
    Ok(())
}
