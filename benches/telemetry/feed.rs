//! Services with two pods each, that lose their leaders as fast as the controller follows.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::apiserver::{ApiServer, Written};
use crate::store::{Kind, now, text};

/// They lose their leaders together: fewer than the writes of the controller that wait, so that no notice is dropped.
pub const SERVICES: usize = 100;

/// A wave takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster.
#[derive(Debug)]
pub struct Feed {
    pub server: ApiServer,
}

impl Feed {
    pub async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        for number in 0..SERVICES {
            server.put(Kind::Services, service(number));
            for pod in 0..2 {
                server.put(Kind::Pods, pod_of(number, pod, true));
            }
        }
        Ok(Self { server })
    }

    /// Waits until all have leaders and the controller has nothing more to say.
    pub async fn until_quiet(&self) -> Result<()> {
        self.server.until(PATIENCE, |written| written.published >= SERVICES).await?;
        let mut before = self.server.written();
        loop {
            sleep(Duration::from_secs(1)).await;
            let after = self.server.written();
            if after == before {
                return Ok(());
            }
            before = after;
        }
    }

    /// All leaders become NotReady, and those before them Ready again. Returns when all successors are published, and
    /// mirrors and notices written.
    pub async fn wave(&self) -> Result<()> {
        let Written { published, mirrored, told } = self.server.written();
        let leaders = (0..SERVICES).map(|number| self.leader(number)).collect::<Result<Vec<_>>>()?;
        for (number, leader) in leaders.iter().enumerate() {
            self.server.put(Kind::Pods, pod_of(number, 1 - leader, true));
        }
        for (number, leader) in leaders.iter().enumerate() {
            self.server.put(Kind::Pods, pod_of(number, *leader, false));
        }
        let is_over = |written: Written| {
            written.published >= published + SERVICES
                && written.mirrored >= mirrored + SERVICES
                && written.told >= told + SERVICES
        };
        self.server.until(PATIENCE, is_over).await
    }

    /// Which of a Service's pods leads.
    fn leader(&self, number: usize) -> Result<usize> {
        let slice = self.server.get(Kind::Slices, &format!("orders-{number}-leader"));
        let pod = text(&slice["endpoints"][0]["targetRef"]["name"]);
        let pod = pod.rsplit('-').next().and_then(|pod| pod.parse().ok());
        pod.with_context(|| format!("orders-{number} has no leader: {slice}"))
    }
}

fn service(number: usize) -> Value {
    let name = format!("orders-{number}");
    let address = format!("10.97.0.{}", number + 1);
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "creationTimestamp": now(),
            "annotations": { "zen-lead.io/enabled": "true" },
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
        },
        "status": { "loadBalancer": {} },
    })
}

fn pod_of(number: usize, pod: usize, is_ready: bool) -> Value {
    let name = format!("orders-{number}-{pod}");
    let address = format!("10.1.{pod}.{}", number + 1);
    let ready = if is_ready { "True" } else { "False" };
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": { "app": format!("orders-{number}") },
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "nodeName": format!("node-{pod}"),
            "containers": [{ "name": "main", "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }] }],
        },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": now() }],
        },
    })
}
