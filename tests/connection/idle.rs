//! What is not used must still be there when it is needed.

use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Lab, client_ports};

use crate::support::Stage;

/// Longer than pools keep idle connections (90 s), and than the usual idle limits below two minutes.
const IDLE: Duration = Duration::from_secs(100);

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_warm_and_shared_after_a_hundred_seconds_of_idling() -> Result<()> {
    let stage = Stage::on(Lab::shared().await?, "idle", &[]).await?;
    let pods = stage.led_pair().await?;
    let (_, port) = stage.ns.connection().url(0).rsplit_once(':').context("a URL with a port")?;
    let port = port.parse()?;
    let connections = || -> Result<Vec<u16>> {
        let mut open = client_ports(port, Some(stage.controller.pid()?))?;
        open.sort_unstable();
        Ok(open)
    };
    let before = connections()?;
    assert_eq!(before.len(), 2, "one for all watches, one for all writes");

    tokio::time::sleep(IDLE).await;
    assert_eq!(connections()?, before, "after idling");
    pods[0].unready().await?;
    stage.until_led_by("orders-1").await?;
    assert_eq!(connections()?, before, "the failover opened none");
    let ready = stage.controller.probe("/readyz").await?;
    assert!(!ready.contains("reconnects"), "{ready}");
    stage.end().await
}
