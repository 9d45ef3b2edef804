//! A large cluster.

use std::time::Instant;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::program::zen_lead;
use crate::support::Stage;

const SERVICES: usize = 1_000;

/// Services made at a time.
const AT_ONCE: usize = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_are_shown() -> Result<()> {
    let lab = lab::Lab::start(lab::Options::default()).await?;
    let stage = &Stage::on(&lab, "many", &[]).await?;
    let make = |number: usize| async move {
        let name = format!("orders-{number:03}");
        stage.source(&name).create().await?;
        for member in 0..2 {
            stage.member(&name, &format!("{name}-{member}")).ready().create().await?;
        }
        stage
            .ns
            .slices()
            .until(&format!("{name}-leader"), crate::support::SOON * 6, |slice| {
                lab::leader_of(slice).is_some()
            })
            .await
    };
    stream::iter((0..SERVICES).map(make)).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    stage.all_is_seen().await?;
    for format in ["wide", "wide", "wide", "json"] {
        let begun = Instant::now();
        let done = zen_lead(&stage.ns, &["status", "-A", "-o", format])?;
        println!("status -A -o {format} with {SERVICES} Services: {:?}", begun.elapsed());
        assert_eq!((done.code, &*done.complained), (Some(0), ""));
        if format == "json" {
            let answer: Value = serde_json::from_str(&done.told)?;
            let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            assert_eq!(items.len(), SERVICES + 1, "and the one by which the controller is seen to be done");
            let is_right = |item: &&Value| item["phase"] == "Elected" && item["members"]["eligible"] == 2;
            assert_eq!(items.iter().filter(is_right).count(), SERVICES);
        } else {
            assert_eq!(done.told.lines().count(), 1 + SERVICES + 1);
        }
    }
    Ok(())
}
