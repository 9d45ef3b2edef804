//! Pods to run on a cluster, and questions to ask of them.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::WEB;
use crate::lab::Namespace;
use crate::slices::until;
use crate::within;

/// How long a question may go without an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The port on which [`WEB`] answers each line with its pod's name.
pub const LINES: u16 = 8081;

/// How the pods of [`WEB`] behave, and what the Service in front of them is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// The field of the pod that they answer with.
    pub answer: &'static str,
    /// How long they take from their start until they listen.
    pub start: Duration,
    /// How long they serve on after SIGTERM.
    pub linger: Duration,
    /// Whether that Service is headless: it has no address, and kube-proxy takes no notice of its slice.
    pub headless: bool,
}

impl Default for Manners {
    fn default() -> Self {
        let linger = Duration::from_millis(500);
        Self { answer: "metadata.name", start: Duration::ZERO, linger, headless: false }
    }
}

/// Makes a Deployment of [`WEB`], its pods labelled `app: <name>` and spread over the nodes, and a Service of the same
/// name and label in front of them: port 80 speaks HTTP, [`LINES`] answers lines and datagrams. Returns the pods when
/// all are Ready; kube-proxy may take a second more to know of them.
pub async fn deploy_web(namespace: &Namespace, name: &str, replicas: usize) -> Result<Vec<Pod>> {
    deploy_web_with(namespace, name, replicas, Manners::default()).await
}

/// The same with these manners.
pub async fn deploy_web_with(
    namespace: &Namespace,
    name: &str,
    replicas: usize,
    manners: Manners,
) -> Result<Vec<Pod>> {
    let labels = json!({ "app": name });
    let probe = json!({
        "httpGet": { "path": "/ready", "port": 9001 },
        "periodSeconds": 1,
        "failureThreshold": 1,
    });
    let container = json!({
        "name": "web",
        "image": WEB,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": manners.answer } } },
            { "name": "START_MS", "value": manners.start.as_millis().to_string() },
            { "name": "LINGER_MS", "value": manners.linger.as_millis().to_string() },
        ],
        "readinessProbe": probe,
        // Without, they get a processor when nobody else on the machine wants it.
        "resources": { "requests": { "cpu": "100m" } },
    });
    let spread = json!({
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": labels },
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [container], "topologySpreadConstraints": [spread] },
            },
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "selector": labels,
            "clusterIP": manners.headless.then_some("None"),
            "ports": [
                { "name": "http", "port": 80, "targetPort": 8080 },
                { "name": "lines", "port": LINES },
                { "name": "datagrams", "port": LINES, "protocol": "UDP" },
            ],
        },
    });
    // JSON is YAML.
    namespace.apply(&format!("{deployment}\n---\n{service}\n")).await?;
    ready_pods(namespace, &format!("app={name}"), replicas).await
}

/// Waits until so many pods with these labels are there, all of them Ready; returns them.
pub async fn ready_pods(namespace: &Namespace, labels: &str, count: usize) -> Result<Vec<Pod>> {
    let wanted = |pods: &[Pod]| pods.len() == count && pods.iter().all(pod_is_ready);
    let pods = until(&namespace.api(), labels, within(60), wanted).await;
    pods.with_context(|| format!("waiting for {count} Ready pods with the labels {labels}"))
}

/// Whether its readiness probes succeed, as far as the API server knows.
pub(crate) fn pod_is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Who answers a line at this address, over a new connection: the name of a pod. Blocks, a second at most for each of
/// the connection and the answer; to ask from elsewhere, see [`super::Network::run`].
pub fn who_answers(at: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"who?\n")?;
    let mut name = String::new();
    BufReader::new(stream).read_line(&mut name)?;
    if name.ends_with('\n') {
        Ok(name.trim_end().to_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
