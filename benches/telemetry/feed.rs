//! Services with two pods each, that lose their leaders as fast as the controller follows.

use std::time::Duration;

use anyhow::Result;

use crate::apiserver::{ApiServer, Written};
use crate::shop;
use crate::store::Kind;

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
            server.put(Kind::Services, shop::service(number));
            for pod in 0..2 {
                server.put(Kind::Pods, shop::pod(number, pod, true));
            }
        }
        Ok(Self { server })
    }

    /// Waits until all have leaders and the controller has nothing more to say.
    pub async fn until_quiet(&self) -> Result<()> {
        self.server.until(PATIENCE, |written| written.published >= SERVICES).await?;
        self.server.until_quiet().await;
        Ok(())
    }

    /// All leaders become NotReady, and those before them Ready again. Returns when all successors are published, and
    /// mirrors and notices written.
    pub async fn wave(&self) -> Result<()> {
        let Written { published, mirrored, told, .. } = self.server.written();
        let leaders =
            (0..SERVICES).map(|number| shop::leader(&self.server, number)).collect::<Result<Vec<_>>>()?;
        for (number, leader) in leaders.iter().enumerate() {
            self.server.put(Kind::Pods, shop::pod(number, 1 - leader, true));
        }
        for (number, leader) in leaders.iter().enumerate() {
            self.server.put(Kind::Pods, shop::pod(number, *leader, false));
        }
        let is_over = |written: Written| {
            written.published >= published + SERVICES
                && written.mirrored >= mirrored + SERVICES
                && written.told >= told + SERVICES
        };
        self.server.until(PATIENCE, is_over).await
    }
}
