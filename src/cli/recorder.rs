//! The controller's flight recorder: at an address, or in its pods, to whose debug port one is forwarded.
//!
//! Every replica records every election. The one that wrote the present term knows most of how that came about, so it is
//! asked first; the others are asked if it has nothing, or is gone.

mod address;
mod forward;

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use kube::api::ListParams;

use super::Error;
use super::cluster::Cluster;
use super::survey::Key;
use crate::annotations::TERM_BY;
use crate::client::{connect_for_upgrades, explain_any};
use crate::config::{ClusterArgs, RecorderArgs};
use crate::kinds::{PodLite, SliceLite};
use crate::names::LABEL_SOURCE_SERVICE;

/// The controller's pods, by the labels of `deploy/base` and of the chart.
pub(super) const PODS: &str = "app.kubernetes.io/name=zen-lead,app.kubernetes.io/component=controller";

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The log of a Service.
pub(super) async fn fetch(
    args: &RecorderArgs,
    place: &ClusterArgs,
    cluster: &Cluster,
    key: &Key,
) -> Result<Bytes, Error> {
    if let Some(address) = &args.debug_address {
        return address::fetch(address, key).await;
    }
    let (namespace, port) = (&*args.controller.controller_namespace, args.debug_port);
    let pods = cluster.list::<PodLite>(Some(namespace), ListParams::default().labels(PODS));
    let (pods, writer) = futures::join!(pods, writer(cluster, key));
    let pods = in_order(&pods?.items, writer.as_deref());
    if pods.is_empty() {
        return Err(Error::Refused(format!(
            "no pod of the controller runs in namespace {namespace}: name its namespace with --controller-namespace"
        )));
    }
    let client = connect_for_upgrades(&place.client()).await?;
    let mut misses = Misses::default();
    for pod in pods {
        match forward::fetch(&client, namespace, &pod, port, key).await {
            Ok(log) => return Ok(log),
            Err(Error::Refused(why)) => misses.add(pod, why),
            // It would be the same of the others.
            Err(error) => return Err(error),
        }
    }
    Err(misses.of(key))
}

/// The replica that wrote the present term, if the caller may know.
async fn writer(cluster: &Cluster, (namespace, name): &Key) -> Option<String> {
    let slices = ListParams::default().labels(&format!("{LABEL_SOURCE_SERVICE}={name}"));
    let slices = cluster.list::<SliceLite>(Some(namespace), slices).await.ok()?.items;
    slices.into_iter().find_map(|slice| slice.metadata.annotations?.remove(TERM_BY))
}

/// The names of those that can be asked: the writer, then those that are Ready and stay, then the oldest, which remember
/// most.
fn in_order(pods: &[PodLite], writer: Option<&str>) -> Vec<String> {
    let mut running: Vec<&PodLite> =
        pods.iter().filter(|pod| pod.status.phase.as_deref() == Some("Running")).collect();
    running.sort_by_key(|pod| {
        let ready = pod.status.ready_condition().and_then(|condition| condition.status.as_deref());
        let serves = ready == Some("True") && pod.metadata.deletion_timestamp.is_none();
        let is_writer = writer.is_some() && pod.metadata.name.as_deref() == writer;
        (
            Reverse(is_writer),
            Reverse(serves),
            pod.metadata.creation_timestamp.clone(),
            pod.metadata.name.clone(),
        )
    });
    running.into_iter().filter_map(|pod| pod.metadata.name.clone()).collect()
}

/// Why there is no log: what each replica said, those together that said the same.
#[derive(Default)]
struct Misses(Vec<(Vec<String>, String)>);

impl Misses {
    fn add(&mut self, pod: String, why: String) {
        match self.0.iter_mut().find(|(_, known)| *known == why) {
            Some((pods, _)) => pods.push(pod),
            None => self.0.push((vec![pod], why)),
        }
    }

    fn of(self, (namespace, name): &Key) -> Error {
        let said = self.0.into_iter().map(|(pods, why)| format!("{}: {why}", pods.join(", ")));
        let said = said.collect::<Vec<_>>().join("; ");
        Error::Refused(format!("no flight recorder has {namespace}/{name}: {said}"))
    }
}

fn path((namespace, name): &Key) -> String {
    format!("/debug/elections/{namespace}/{name}/log")
}

/// A question without a body.
type Question = Request<Empty<Bytes>>;

/// The log in an answer; else why there is none.
async fn read(answer: Response<Incoming>) -> Result<Bytes, String> {
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| explain_any(&error))?.to_bytes();
    if status == StatusCode::OK {
        return Ok(body);
    }
    Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, born: u32, phase: &str, ready: &str, leaves: bool) -> Value {
        let at = |minute: u32| format!("2026-01-01T00:{minute:02}:00Z");
        let mut pod = json!({
            "metadata": { "name": name, "creationTimestamp": at(born) },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] },
        });
        if leaves {
            pod["metadata"]["deletionTimestamp"] = at(59).into();
        }
        pod
    }

    fn order(pods: &[Value], writer: Option<&str>) -> Vec<String> {
        let pods: Vec<PodLite> =
            pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap()).collect();
        in_order(&pods, writer)
    }

    #[test]
    fn who_wrote_the_term_is_asked_first_then_who_serves_then_the_oldest() {
        let pods = [
            pod("young", 9, "Running", "True", false),
            pod("unready", 1, "Running", "False", false),
            pod("old", 5, "Running", "True", false),
            pod("leaving", 2, "Running", "True", true),
            pod("done", 0, "Succeeded", "False", false),
            pod("coming", 0, "Pending", "False", false),
        ];
        assert_eq!(order(&pods, Some("young")), ["young", "old", "unready", "leaving"]);
        // It need not be well to remember.
        assert_eq!(order(&pods, Some("leaving")), ["leaving", "old", "young", "unready"]);
        // Gone, or not known.
        for writer in [Some("done"), Some("gone"), None] {
            assert_eq!(order(&pods, writer), ["old", "young", "unready", "leaving"], "{writer:?}");
        }
        assert!(order(&pods[4..], None).is_empty());
    }

    #[test]
    fn what_several_replicas_say_is_said_once() {
        let key = ("shop".to_owned(), "orders".to_owned());
        let mut misses = Misses::default();
        misses.add("a".into(), "nothing".into());
        misses.add("b".into(), "its port is shut".into());
        misses.add("c".into(), "nothing".into());
        assert_eq!(
            misses.of(&key).to_string(),
            "no flight recorder has shop/orders: a, c: nothing; b: its port is shut"
        );
    }
}
