//! A Service whose leader is lost again and again, and who sees that.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::Api;
use kube::api::DeleteParams;
use lab::{Namespace, Pod};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use zen_lead::client::{ClientOptions, Clients, connect};
use zen_lead::kinds::{PodLite, SliceLite};
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

use crate::support::ms;

/// What ends the leadership in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    NotReady,
    ForceDeleted,
    GracefullyDeleted,
}

/// A Service whose leader is lost again and again.
pub struct Subject {
    pub name: String,
    pub slice: String,
    pub leader: String,
    pub pods: HashMap<String, Pod>,
}

/// What the observer saw, and when.
pub struct Seen {
    pub at: Instant,
    pub what: What,
}

pub enum What {
    Pod { name: String, uid: String, ready: bool, terminating: bool, gone: bool },
    Slice { name: String, leader: Option<String> },
    Other,
}

impl From<(usize, Change<PodLite>)> for Seen {
    fn from((_, change): (usize, Change<PodLite>)) -> Self {
        let at = Instant::now();
        let what = match change {
            Change::Applied(pod) => pod_seen(&pod, false),
            Change::Deleted(pod) => pod_seen(&pod, true),
            _ => What::Other,
        };
        Self { at, what }
    }
}

impl From<(usize, Change<SliceLite>)> for Seen {
    fn from((_, change): (usize, Change<SliceLite>)) -> Self {
        let at = Instant::now();
        let what = match change {
            Change::Applied(slice) => What::Slice {
                name: slice.metadata.name.unwrap_or_default(),
                leader: slice.endpoints.first().and_then(|endpoint| endpoint.target_ref.clone()?.name),
            },
            _ => What::Other,
        };
        Self { at, what }
    }
}

pub fn pod_seen(pod: &PodLite, gone: bool) -> What {
    let ready = pod.status.ready_condition().is_some_and(|ready| ready.status.as_deref() == Some("True"));
    What::Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ready,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        gone,
    }
}

impl Subject {
    pub async fn new(ns: &Namespace, name: &str, slice: &str) -> Result<Self> {
        let mut pods = HashMap::new();
        for number in 0..3 {
            let pod = format!("{name}-{number}");
            pods.insert(pod.clone(), member(ns, name, &pod).await?);
        }
        Ok(Self { name: name.into(), slice: slice.into(), leader: String::new(), pods })
    }
}

/// One failover and the way back; returns milliseconds from the pod's change to the slice's.
pub async fn round(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
) -> Result<f64> {
    let (leader, took) = lose(ns, seen, subject, loss).await?;
    come_back(ns, seen, subject, loss, &leader).await?;
    Ok(took)
}

/// Loses the leader, and waits until another one is published; returns who was lost, and the milliseconds.
pub async fn lose(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
) -> Result<(String, f64)> {
    let leader = subject.leader.clone();
    let pod = subject.pods.get(&leader).with_context(|| format!("{leader} is no pod of {}", subject.name))?;
    let uid = pod.uid().to_owned();
    let api: Api<PodObject> = ns.api();
    match loss {
        Loss::NotReady => pod.unready().await?,
        Loss::ForceDeleted => delete(&api, &leader, 0).await?,
        Loss::GracefullyDeleted => delete(&api, &leader, 30).await?,
    }
    let (mut seen_lost, mut moved) = (None, None);
    while seen_lost.is_none() || moved.is_none() {
        let Seen { at, what } = next(seen).await?;
        match what {
            What::Pod { name, uid: whose, ready, terminating, gone } if name == leader && whose == uid => {
                if seen_lost.is_none() && (!ready || terminating || gone) {
                    seen_lost = Some(at);
                }
            }
            What::Slice { name, leader: Some(next) } if name == subject.slice && next != leader => {
                subject.leader = next;
                moved = Some(at);
            }
            What::Pod { .. } | What::Slice { .. } | What::Other => {}
        }
    }
    let (Some(start), Some(moved)) = (seen_lost, moved) else { bail!("both were seen") };
    // Two watches have no common order: the slice may be seen a moment before the pod.
    let took = ms(moved.saturating_duration_since(start)) - ms(start.saturating_duration_since(moved));
    Ok((leader, took))
}

/// The pod that was lost is Ready again, or another one of its name.
pub async fn come_back(
    ns: &Namespace,
    seen: &mut mpsc::Receiver<Seen>,
    subject: &mut Subject,
    loss: Loss,
    former: &str,
) -> Result<()> {
    if loss == Loss::NotReady {
        subject.pods[former].ready().await?;
    } else {
        if loss == Loss::GracefullyDeleted {
            delete(&ns.api(), former, 0).await?;
        }
        let pod = member(ns, &subject.name, former).await?;
        subject.pods.insert(former.to_owned(), pod);
    }
    let uid = subject.pods[former].uid().to_owned();
    until_ready(seen, &uid).await
}

async fn delete(api: &Api<PodObject>, pod: &str, grace: u32) -> Result<()> {
    api.delete(pod, &DeleteParams::default().grace_period(grace)).await?;
    Ok(())
}

async fn until_ready(seen: &mut mpsc::Receiver<Seen>, uid: &str) -> Result<()> {
    loop {
        if let What::Pod { uid: whose, ready: true, terminating: false, gone: false, .. } =
            next(seen).await?.what
            && whose == uid
        {
            return Ok(());
        }
    }
}

async fn next(seen: &mut mpsc::Receiver<Seen>) -> Result<Seen> {
    let seen = timeout(Duration::from_secs(20), seen.recv()).await.context("nothing was seen for 20 s")?;
    seen.context("the observer ended")
}

pub async fn clients(ns: &Namespace) -> Result<Clients> {
    let options = ClientOptions { kubeconfig: Some(ns.kubeconfig_admin()?), context: None };
    Ok(connect(&options).await?)
}

pub fn observe(ns: &Namespace, clients: &Clients, sink: &mpsc::Sender<Seen>) {
    let pods = Api::<PodLite>::namespaced(clients.watch.clone(), ns.name());
    let slices = Api::<SliceLite>::namespaced(clients.watch.clone(), ns.name());
    let status = || WatchStatus::new("observer");
    tokio::spawn(follow(pods, WatchOptions::default(), 0, sink.clone(), status()));
    tokio::spawn(follow(slices, WatchOptions::default(), 1, sink.clone(), status()));
}

pub async fn member(ns: &Namespace, service: &str, name: &str) -> Result<Pod> {
    ns.pod(name).label("app", service).ready().create().await
}

pub async fn first_leader(ns: &Namespace, service: &str) -> Result<String> {
    let slices = ns.slices().of(service).await?;
    slices.first().and_then(lab::leader_of).with_context(|| format!("{service} has no leader"))
}
