//! How each scenario is brought about, and undone.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{task, time};

use super::place::{Place, Stage, node_name, pods};
use super::scenario::Scenario;
use crate::cluster::{Badness, Network, Passed, ready_pods};
use crate::packets::PacketDrop;
use crate::slices::{until, until_object};
use crate::within;

/// How long the API server is down.
const DOWN: Duration = Duration::from_mins(1);

/// How long lines are bad in a round; three rounds are an hour.
const BAD_FOR: Duration = Duration::from_mins(20);

const BAD: Badness = Badness { jitter: Duration::from_millis(200), lost_of_thousand: 50 };

/// The port of the API server's Service, as pods know it.
const API_PORT: u16 = 443;

/// What was done.
#[derive(Debug)]
pub(super) struct Done {
    /// When it began.
    pub(super) at: Instant,
    /// Whether that is also when the API server was told of it, not only when it happened.
    pub(super) told: bool,
    /// What has to be set right afterwards.
    pub(super) undo: Undo,
}

/// What to set right.
#[derive(Debug)]
pub(super) enum Undo {
    /// Nothing: Kubernetes does it.
    Nothing,
    /// A process that hangs.
    Resume(Box<Pod>),
    /// Nodes that are frozen or cut off.
    BringBack(Vec<String>),
    /// A node that takes no pods.
    Uncordon(String),
    /// Packets that are dropped.
    Pass(PacketDrop),
}

/// Brings it about; returns when all is done that belongs to it.
pub(super) async fn bring_about(scenario: Scenario, place: &Place, stage: &Stage) -> Result<Done> {
    let cluster = &place.cluster;
    let leader = &stage.leader;
    let node = cluster.node_of(leader)?;
    let mut undo = Undo::Nothing;
    // What has to be found out before comes first.
    let controller = match scenario {
        Scenario::KillReplica | Scenario::KillCutOff => place.controllers().await?.into_iter().next(),
        _ => None,
    };
    let mut at = Instant::now();
    match scenario {
        Scenario::PutDelete | Scenario::Delete => {
            place.shop.api::<Pod>().delete(&leader.name_any(), &DeleteParams::default()).await?;
        }
        Scenario::PutKill | Scenario::Kill => node.signal(leader, Signal::KILL)?,
        Scenario::Drain => {
            undo = Undo::Uncordon(stage.leader_node());
            kubectl(place, &["drain", &stage.leader_node(), "--ignore-daemonsets"]).await?;
        }
        Scenario::Rollout => roll_out(place, stage).await?,
        Scenario::Switchover => switch_over(place, stage).await?,
        Scenario::Hang => {
            node.signal(leader, Signal::STOP)?;
            undo = Undo::Resume(Box::new(leader.clone()));
        }
        Scenario::KillReplica => {
            let controller = controller.context("the controller runs")?;
            cluster.node_of(&controller)?.signal(&controller, Signal::KILL)?;
            node.signal(leader, Signal::KILL)?;
        }
        Scenario::KillCutOff => {
            let controller = controller.context("the controller runs")?;
            let network: Arc<Network> = cluster.node_of(&controller)?.network_of(&controller)?;
            undo = Undo::Pass(PacketDrop::between(&network, API_PORT)?);
            at = Instant::now();
            node.signal(leader, Signal::KILL)?;
        }
        Scenario::ScaleToZero => scale_to_zero_and_back(place, stage).await?,
        Scenario::EtcdRestart => cluster.etcd().restart().await?,
        Scenario::ProxyRestart => cluster.node(&stage.seat)?.kube_proxy().restart().await?,
        Scenario::ApiDown => {
            take_api_server_down(place);
            time::sleep(DOWN).await;
            bring_api_server_back(place).await?;
        }
        Scenario::ApiDownHang => {
            take_api_server_down(place);
            time::sleep(DOWN / 2).await;
            undo = Undo::Resume(Box::new(leader.clone()));
            at = Instant::now();
            node.signal(leader, Signal::STOP)?;
            time::sleep(DOWN / 2).await;
            bring_api_server_back(place).await?;
        }
        Scenario::NodeFrozen | Scenario::TwoNodes => {
            let mut names = vec![stage.leader_node()];
            if scenario == Scenario::TwoNodes {
                let others = cluster.nodes().iter().map(crate::cluster::Node::name);
                names.extend(others.filter(|name| *name != stage.seat && *name != stage.leader_node()));
            }
            for name in &names {
                cluster.node(name)?.freeze()?;
            }
            undo = Undo::BringBack(names);
        }
        Scenario::BadLines => have_bad_lines(place).await?,
        Scenario::NodeCut => {
            node.cut()?;
            undo = Undo::BringBack(vec![stage.leader_node()]);
        }
    }
    Ok(Done { at, told: scenario == Scenario::Switchover, undo })
}

impl Undo {
    /// Sets it right.
    pub(super) async fn undo(self, place: &Place) -> Result<()> {
        match self {
            Self::Nothing => {}
            Self::Resume(pod) => place.cluster.node_of(&pod)?.signal(&pod, Signal::CONT)?,
            Self::BringBack(nodes) => {
                for node in nodes {
                    place.cluster.node(&node)?.bring_back()?;
                }
            }
            Self::Uncordon(node) => kubectl(place, &["uncordon", &node]).await?,
            Self::Pass(drop_of_packets) => task::spawn_blocking(move || drop(drop_of_packets)).await?,
        }
        Ok(())
    }
}

async fn have_bad_lines(place: &Place) -> Result<()> {
    let lines = place.cluster.nodes().iter().map(|node| node.worsen_line(BAD));
    let lines = lines.collect::<Result<Vec<_>>>()?;
    time::sleep(BAD_FOR).await;
    for line in lines {
        let Passed { late, lost } = task::spawn_blocking(move || line.end()).await??;
        eprintln!("lab: a bad line: {late} packets came late, {lost} were lost");
        ensure!(lost > 0, "no packet was lost");
    }
    Ok(())
}

/// With what Kubernetes runs beside it: a controller manager whose Lease has run out ends, and is started again. That of the
/// lab has no Lease; it would go on, and take all nodes for dead when it has not heard of them for 50 s.
fn take_api_server_down(place: &Place) {
    place.cluster.controller_manager().kill();
    place.cluster.api_server().kill();
}

async fn bring_api_server_back(place: &Place) -> Result<()> {
    place.cluster.api_server().start().await?;
    place.cluster.controller_manager().start().await
}

async fn kubectl(place: &Place, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(place.cluster.assets().program("kubectl"));
    command.env("KUBECONFIG", place.shop.kubeconfig_admin()?).args(arguments).stdin(Stdio::null());
    let output = task::spawn_blocking(move || command.output()).await?.context("cannot start kubectl")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {error}", arguments.join(" "));
    Ok(())
}

/// Returns when all pods are new ones, and Ready.
async fn roll_out(place: &Place, stage: &Stage) -> Result<()> {
    let mark = Timestamp::now().to_string();
    let template =
        json!({ "spec": { "template": { "metadata": { "annotations": { "lab/rollout": mark } } } } });
    let generation = change(place, stage, template).await?.metadata.generation;
    let done = |deployment: &Deployment| {
        let Some(status) = &deployment.status else { return false };
        let all = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        status.observed_generation >= generation
            && status.updated_replicas == all
            && status.available_replicas == all
            && status.replicas == all
    };
    until_object(&place.shop.api(), stage.mover.source(), within(120), done).await?;
    Ok(())
}

async fn scale_to_zero_and_back(place: &Place, stage: &Stage) -> Result<()> {
    let labels = format!("app={}", stage.mover.source());
    change(place, stage, json!({ "spec": { "replicas": 0 } })).await?;
    until(&place.shop.api::<Pod>(), &labels, within(60), <[Pod]>::is_empty).await?;
    change(place, stage, json!({ "spec": { "replicas": stage.pods.len() } })).await?;
    ready_pods(&place.shop, &labels, stage.pods.len()).await?;
    Ok(())
}

async fn change(place: &Place, stage: &Stage, change: Value) -> Result<Deployment> {
    let api = place.shop.api();
    Ok(api.patch(stage.mover.source(), &PatchParams::default(), &Patch::Merge(change)).await?)
}

/// Asks for a leader on the clients' node, if the leader is not there, as it never is.
async fn switch_over(place: &Place, stage: &Stage) -> Result<()> {
    let present = pods(&place.shop, &format!("app={}", stage.mover.source())).await?;
    let to =
        present.iter().find(|pod| node_name(pod) == stage.seat).context("a pod is on the clients' node")?;
    // A token of its own, since the same text is done only once.
    let now = Timestamp::now();
    let expiry = now.checked_add(within(3_600))?;
    let request =
        format!("{}/{};{};{expiry}", to.name_any(), to.uid().unwrap_or_default(), now.as_microsecond());
    let wish = json!({ "metadata": { "annotations": { "zen-lead.io/switchover-to": request } } });
    let services = place.shop.api::<Service>();
    services.patch(stage.mover.source(), &PatchParams::default(), &Patch::Merge(wish)).await?;
    Ok(())
}
