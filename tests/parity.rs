//! What users of the Go zen-lead rely on, on a real control plane: one test a row of the list, named after it.

mod support;

use anyhow::Result;
use support::{SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn p01_an_annotated_service_gets_a_leader_service_and_one_endpoint() -> Result<()> {
    let stage = Stage::new("p01").await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    let slice = stage.ns.slices().until_leader("orders-leader", "orders-0", SOON).await?;
    assert_eq!(slice.endpoints.len(), 1);
    assert_eq!(
        source.get().await?.spec.and_then(|spec| spec.selector).map(|selector| selector.len()),
        Some(1)
    );
    stage.end().await
}
