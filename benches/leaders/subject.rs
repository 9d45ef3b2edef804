//! The controller, a Service that loses its leader, and those who wait to be told.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Handle;

use crate::apiserver::{ApiServer, Written};
use crate::clients::{Clients, Told, after};
use crate::shop;
use crate::store::Kind;
use crate::support::Controller;

const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: usize = 0;

/// A controller that serves `/leader`, on an API server that only remembers.
pub struct Subject {
    port: u16,
    server: ApiServer,
    controller: Controller,
    kubeconfig: PathBuf,
}

/// One change of the leader.
pub struct Round {
    /// When the write of the slice was acknowledged, and when its watch was told.
    pub published: Instant,
    pub shown: Instant,
    pub told: Told,
    /// Processor time of the controller until all were told.
    pub cpu: Duration,
}

impl Subject {
    /// `servers`: where the API server runs.
    pub async fn begin(servers: &Handle) -> Result<Self> {
        let server = servers.spawn(ApiServer::start()).await??;
        server.put(Kind::Services, shop::service(SERVICE));
        for pod in 0..2 {
            server.put(Kind::Pods, shop::pod(SERVICE, pod, pod == 0));
        }
        let port = lab::free_port()?;
        let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("leaders-{port}.json"));
        std::fs::write(&kubeconfig, server.kubeconfig())?;
        let bind = format!("--leader-bind-address=127.0.0.1:{port}");
        let controller = Controller::with_kubeconfig(&kubeconfig, &["--log-level=warn", &bind])?;
        server.until(PATIENCE, |written| written.published >= 1).await?;
        server.until_quiet().await;
        Ok(Self { port, server, controller, kubeconfig })
    }

    pub async fn clients(&self, count: usize) -> Result<Clients> {
        let mut clients = Clients::default();
        for _ in 0..count {
            clients.connect(self.port).await?;
        }
        Ok(clients)
    }

    /// The leader is lost while all of these wait.
    pub async fn round(&self, clients: &Clients) -> Result<Round> {
        clients.ask(&request(&format!("?after={}", self.latest().await?))).await?;
        // One thread serves all, in the order in which they asked: once this is answered, they wait.
        self.latest().await?;
        let leader = shop::leader(&self.server, SERVICE)?;
        self.server.put(Kind::Pods, shop::pod(SERVICE, 1 - leader, true));
        let before = self.server.written();
        let cpu = self.controller.cpu()?;
        let lose = || self.server.put(Kind::Pods, shop::pod(SERVICE, leader, false));
        let told = clients.told_of(lose).await?;
        let cpu = self.controller.cpu()?.saturating_sub(cpu);
        let is_over = |now: Written| now.mirrored > before.mirrored && now.told > before.told;
        self.server.until(PATIENCE, is_over).await?;
        let Written { published, published_at, shown_at, .. } = self.server.written();
        ensure!(published == before.published + 1, "{} writes of the slice", published - before.published);
        let published = published_at.context("published")?;
        Ok(Round { published, shown: shown_at.context("shown")?, told, cpu })
    }

    /// What is to be waited for now.
    async fn latest(&self) -> Result<String> {
        let client = self.clients(1).await?;
        client.ask(&request("")).await?;
        Ok(after(&client.told_of(|| ()).await?.answer)?.to_owned())
    }

    pub fn end(mut self) -> Result<()> {
        self.controller.stop()?;
        std::fs::remove_file(&self.kubeconfig)?;
        Ok(std::fs::remove_file(&self.controller.log)?)
    }
}

fn request(query: &str) -> String {
    format!("GET /leader/shop/orders-{SERVICE}{query} HTTP/1.1\r\nhost: bench\r\n\r\n")
}
