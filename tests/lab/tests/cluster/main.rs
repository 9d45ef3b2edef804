//! The cluster of real nodes, where there can be one: that it is a cluster, that its nodes fail and return as told, and
//! that nothing remains of it.

mod machine;
mod web;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::ListParams;
use lab::cluster::{self, Cluster, LINES, Network, Options, deploy_web, who_answers};
use lab::{Directory, PacketDrop, Signal, until_object, within};
use tokio::task;

use self::machine::Machine;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_answered_across_nodes_that_fail_and_return_and_nothing_remains() -> Result<()> {
    if !task::spawn_blocking(Cluster::is_possible).await? {
        return Ok(());
    }
    let before = Machine::now()?;
    let cluster = Cluster::start(Options::default()).await?;
    let namespaces = machine::namespaces_of(&cluster)?;
    let logs = cluster.logs();

    let shop = cluster.namespace("shop").await?;
    let pods = deploy_web(&shop, "web", 3).await?;
    let (near, far) = (on_node(&pods, "n1")?, on_node(&pods, "n2")?);
    let service = address_of(&shop.api().get("web").await?)?;
    let client = cluster.node_of(near)?.network_of(near)?;
    answered_by(&client, service, &far.name_any())?;

    let far_ip = pod_address(far)?.ip();
    client.run(|| web::tells_its_name_in_every_way(far_ip, &far.name_any()))?;
    let api_server = SocketAddr::from(([10, 96, 0, 1], 443));
    drop(client.connect(api_server)?);
    let cut_off = PacketDrop::between(&client, api_server.port())?;
    ensure!(client.connect(api_server).is_err(), "the pod reaches the API server, from which it is cut off");
    ensure!(cut_off.packets()? > 0, "packets were dropped");
    answered_by(&client, pod_address(far)?, &far.name_any())?;
    drop(cut_off);
    drop(client.connect(api_server)?);

    let node = cluster.node("n2")?;
    node.kube_proxy().restart().await?;
    answered_by(node.network(), service, &near.name_any())?;

    let far_address = pod_address(far)?;
    node.cut()?;
    ensure!(
        client.run(|| Ok(who_answers(far_address)?)).is_err(),
        "a pod answers although its node is cut off"
    );
    node.bring_back()?;
    answered_by(&client, far_address, &far.name_any())?;
    node.freeze()?;
    ensure!(
        client.run(|| Ok(who_answers(far_address)?)).is_err(),
        "a pod answers although its node is frozen"
    );
    node.bring_back()?;
    answered_by(&client, far_address, &far.name_any())?;

    node.signal(far, Signal::KILL)?;
    let restarted = |pod: &Pod| {
        let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
        statuses.into_iter().any(|status| status.restart_count == 1 && status.ready)
    };
    until_object(&shop.api(), &far.name_any(), within(60), restarted).await?;
    answered_by(&client, far_address, &far.name_any())?;

    cluster.etcd().restart().await?;
    cluster.api_server().restart().await?;
    shop.api::<Pod>().list(&ListParams::default()).await?;

    let name = cluster.name().to_owned();
    drop(client);
    // A node that is frozen must not be in the way of the end.
    cluster.node("n3")?.freeze()?;
    task::spawn_blocking(move || drop(cluster)).await?;
    before.is_unchanged(&name, &namespaces)?;
    ensure!(!logs.exists(), "{} is still there", logs.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cluster_whose_owner_is_killed_nothing_remains_when_the_next_one_has_come() -> Result<()> {
    if !task::spawn_blocking(Cluster::is_possible).await? {
        return Ok(());
    }
    let before = Machine::now()?;
    let folder = Directory::create()?;
    let mut owner = start_for_hands(folder.path())?;
    let name = machine::cluster_of(owner.id())?;
    ensure!(machine::control_groups(&name).len() > 1, "{name} has control groups");
    let members = machine::members(&name);
    ensure!(!members.is_empty(), "{name} runs");
    owner.kill()?;
    owner.wait()?;
    // Nobody has cleaned up yet: that is the kernel.
    let deadline = Instant::now() + within(20);
    while members.iter().any(|process| machine::runs(*process)) {
        ensure!(Instant::now() < deadline, "processes of {name} outlive their owner");
        std::thread::sleep(Duration::from_millis(10));
    }

    let removed = task::spawn_blocking(cluster::remove_leftovers).await??;
    ensure!(removed.contains(&name), "{name} was found");
    before.is_unchanged(&name, &[])
}

/// `cargo lab cluster up --nodes 1` until it has said how to use it. With a folder for temporary files of its own it does
/// not meet a cluster that somebody keeps here.
fn start_for_hands(temporary: &Path) -> Result<Child> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["cluster", "up", "--nodes", "1"])
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = std::io::BufReader::new(owner.stdout.take().context("stdout is piped")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line)?;
    let kubeconfig = line.trim_end().strip_prefix("export KUBECONFIG=");
    let kubeconfig = kubeconfig.with_context(|| format!("the first line of `cluster up` is {line:?}"))?;
    ensure!(Path::new(kubeconfig).exists(), "{kubeconfig} does not exist");
    // What it says later must find a reader, or it ends.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Ok(owner)
}

fn on_node<'a>(pods: &'a [Pod], node: &str) -> Result<&'a Pod> {
    let is_there = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(node));
    pods.iter().find(is_there).with_context(|| format!("no pod is on {node}"))
}

fn address_of(service: &Service) -> Result<SocketAddr> {
    let address =
        service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).context("a cluster IP")?;
    Ok((address.parse::<std::net::IpAddr>()?, LINES).into())
}

fn pod_address(pod: &Pod) -> Result<SocketAddr> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).context("a pod IP")?;
    Ok((address.parse::<std::net::IpAddr>()?, LINES).into())
}

/// Asks until this pod has answered; which of its pods answers for a Service is left to chance.
fn answered_by(client: &Network, at: SocketAddr, pod: &str) -> Result<()> {
    let deadline = Instant::now() + within(30);
    let mut last = None;
    while Instant::now() < deadline {
        let answer = client.run(|| Ok(who_answers(at)?));
        if answer.as_ref().is_ok_and(|name| name == pod) {
            return Ok(());
        }
        last = Some(answer);
    }
    bail!("{pod} does not answer at {at}; the last answer: {last:?}")
}
