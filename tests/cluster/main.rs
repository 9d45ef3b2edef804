//! The controller on a cluster with real nodes, installed by its chart: what its clients are answered, what people get
//! of its flight recorder, and what is left when it is uninstalled.

mod recorder;
mod release;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use lab::cluster::{Cluster, LINES, Network, Options, Proxy, archive, deploy_web, who_answers};
use lab::{Directory, Namespace, Signal, leader_of, until_object, within};
use serde_json::json;
use tokio::task;

use crate::release::Release;

/// The image that the Deployment names, as containerd calls it.
const IMAGE: &str = "docker.io/library/zen-lead:0.1.0";

/// Enough to see a pod that should not be asked, if there is a rule that leads to it.
const QUESTIONS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_every_node_are_answered_by_the_leader_alone_and_by_the_next_one_after_its_crash()
-> Result<()> {
    if !task::spawn_blocking(Cluster::is_possible).await? {
        return Ok(());
    }
    let folder = Directory::create()?;
    let image = folder.path().join("zen-lead.tar");
    // The other mode is that of the cluster's own tests.
    let options = Options { proxy: Proxy::Iptables, images: vec![image.clone()], ..Options::default() };
    // The program under test with the libraries of this machine, in the place of the image that is shipped.
    let program = Path::new(env!("CARGO_BIN_EXE_zen-lead"));
    task::spawn_blocking(move || archive(program, &[], IMAGE, &image)).await??;
    let cluster = Cluster::start(options).await?;
    let shop = cluster.namespace("shop").await?;
    let release = Release::install(&cluster, &shop).await?;
    let pods = deploy_web(&shop, "web", 3).await?;
    let opt_in = json!({ "metadata": { "annotations": { "zen-lead.io/enabled": "true" } } });
    shop.api::<Service>().patch("web", &PatchParams::default(), &Patch::Merge(opt_in)).await?;

    let clients = pods.iter().map(|pod| cluster.node_of(pod)?.network_of(pod)).collect::<Result<Vec<_>>>()?;
    let first = until_led(&shop, |_| true).await?;
    let address = address_of(&shop).await?;
    only_answered_by(&clients, address, &first)?;

    let leader = pods.iter().find(|pod| pod.name_any() == first).context("a pod of web leads")?;
    cluster.node_of(leader)?.signal(leader, Signal::KILL)?;
    let second = until_led(&shop, |name| name != first).await?;
    only_answered_by(&clients, address, &second)?;
    recorder::tells_of_the_failover(&cluster, &shop, &second).await?;

    // Back again, the first is asked nothing.
    let is_back = |pod: &Pod| {
        let statuses = pod.status.iter().filter_map(|status| status.container_statuses.as_ref()).flatten();
        statuses.into_iter().any(|status| status.restart_count == 1 && status.ready)
    };
    until_object(&shop.api(), &first, within(60), is_back).await?;
    only_answered_by(&clients, address, &second)?;
    drop(clients);
    release.test(&shop).await?;
    release.uninstall(&cluster, &shop).await?;
    task::spawn_blocking(move || drop(cluster)).await?;
    Ok(())
}

/// Waits until a pod leads whose name is as wanted; returns the name.
async fn until_led(shop: &Namespace, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let led = |slice: &_| leader_of(slice).is_some_and(|name| wanted(&name));
    let slice = shop.slices().until("web-leader", within(60), led).await?;
    leader_of(&slice).context("it has a leader")
}

async fn address_of(shop: &Namespace) -> Result<SocketAddr> {
    let service: Service = shop.api().get("web-leader").await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("a cluster IP")?;
    Ok((address.parse::<IpAddr>()?, LINES).into())
}

/// From each of these networks: once this pod answers, nobody else does.
fn only_answered_by(clients: &[Arc<Network>], at: SocketAddr, pod: &str) -> Result<()> {
    let deadline = Instant::now() + within(30);
    for client in clients {
        client.run(|| {
            // The node's kube-proxy learns of a leader when it does.
            while !who_answers(at).is_ok_and(|name| name == pod) {
                ensure!(Instant::now() < deadline, "{pod} does not answer at {at}");
            }
            for _ in 0..QUESTIONS {
                let name = who_answers(at)?;
                ensure!(name == pod, "{name} answers, but {pod} leads");
            }
            Ok(())
        })?;
    }
    Ok(())
}
