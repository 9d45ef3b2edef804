//! `zen-lead pause` and `resume`.

use anyhow::Result;

use crate::program::{masked, zen_lead};
use crate::support::Stage;

const PAUSED: &str = "zen-lead.io/paused";

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_leader_until_it_is_resumed() -> Result<()> {
    let stage = Stage::new("pause").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    let told = |arguments: &[&str]| zen_lead(&stage.ns, arguments).map(|done| done.told(&stage.ns));
    assert_eq!(told(&["pause", "orders", "--for", "2h"])?, "NS/orders paused until TIME");
    stage.until_notice("Paused").await?;
    pods[0].unready().await?;
    stage.all_is_seen().await?;
    stage.until_led("orders", &pods[0]).await?;
    let status = told(&["status", "orders"])?;
    assert!(status.ends_with("Notes:   paused until TIME"), "{status}");
    assert_eq!(told(&["resume", "orders"])?, "NS/orders resumed");
    stage.until_led("orders", &pods[1]).await?;
    assert_eq!(told(&["resume", "orders"])?, "NS/orders is not paused");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_those_that_opt_in_in_the_namespace() -> Result<()> {
    let stage = Stage::new("pause-all").await?;
    let neighbour = lab::Lab::shared().await?.namespace("pause-neighbour").await?;
    let other = neighbour.service("other").annotation("zen-lead.io/enabled", "true").selector("a", "b");
    let other = other.port("http", 80, 80).create().await?;
    let orders = stage.source("orders").create().await?;
    stage.source("carts").create().await?;
    let plain = stage.ns.service("plain").selector("a", "b").port("http", 80, 80).create().await?;
    let done = zen_lead(&stage.ns, &["pause", "--all"])?;
    assert_eq!(done.told(&stage.ns), "NS/carts paused\nNS/orders paused");
    let paused = async |service: &lab::Service| {
        let annotations = service.get().await?.metadata.annotations.unwrap_or_default();
        anyhow::Ok(annotations.get(PAUSED).cloned())
    };
    assert_eq!(paused(&orders).await?.as_deref(), Some("true"));
    assert_eq!((paused(&plain).await?, paused(&other).await?), (None, None));
    let done = zen_lead(&stage.ns, &["resume", "--all"])?;
    assert_eq!(masked(&done.told, &stage.ns), "NS/carts resumed\nNS/orders resumed");
    assert_eq!(paused(&orders).await?, None);
    stage.end().await
}
