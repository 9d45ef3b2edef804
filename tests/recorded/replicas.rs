//! Two replicas, each with a log of its own.

use anyhow::{Result, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use lab::Signal;

use crate::recording::{Record, Story};
use crate::support::{Controller, Stage};

struct Pair {
    stage: Stage,
    second: Controller,
    records: [Record; 2],
}

impl Pair {
    /// The first one holds the Lease.
    async fn new(purpose: &str) -> Result<Self> {
        let records = [Record::new()?, Record::new()?];
        let [first, second] = [0, 1].map(|number: usize| records[number].directory().display().to_string());
        let stage = Stage::replicated(purpose, &[("ZEN_LEAD_RECORD", &first)]).await?;
        let record = [("ZEN_LEAD_RECORD", &*second)];
        let second = Controller::replica(&stage.ns, &stage.account, "second", &record).await?;
        second.until_ready().await?;
        second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 0")).await?;
        Ok(Self { stage, second, records })
    }

    /// Ends both, and keeps the log of each of which a story is to be told.
    async fn keep(mut self, stories: [Option<Story<'_>>; 2]) -> Result<()> {
        self.stage.is_silent().await?;
        self.second.stop()?;
        self.stage.controller.stop()?;
        let service = format!("{}/orders", self.stage.ns.name());
        for (record, story) in self.records.iter().zip(&stories) {
            story.as_ref().map_or(Ok(()), |story| record.keep(&service, story))?;
        }
        Ok(())
    }
}

/// Several times, so that the second one does not get ahead in all of them, whatever the machine is busy with.
#[tokio::test(flavor = "multi_thread")]
async fn one_acts_and_the_other_follows() -> Result<()> {
    let pair = Pair::new("two-replicas").await?;
    let (_, pods) = pair.stage.led("orders", 2).await?;
    pair.stage.is_silent().await?;
    let by_the_first = |slice: &EndpointSlice| {
        slice.annotations().get("zen-lead.io/term-by").is_some_and(|by| by == "first")
    };
    for round in 0..10 {
        let (loses, follows) = if round % 2 == 0 { (&pods[0], &pods[1]) } else { (&pods[1], &pods[0]) };
        loses.unready().await?;
        let slice = pair.stage.until_led("orders", follows).await?;
        loses.ready().await?;
        if by_the_first(&slice) {
            break;
        }
    }
    pair.keep([
        Some(Story {
            name: "replica-acts",
            note: "Two replicas, of which this one holds the Lease: it writes the new leader at once.",
            tells: &["-> Reelecting orders-", "publish orders-", "is acknowledged", "-> Elected orders-"],
        }),
        Some(Story {
            name: "replica-follows",
            note: "Two replicas, of which this one does not hold the Lease: it holds its write back, sees \
             on the watch that the other one has published the new leader, and drops it.",
            tells: &["-> Reelecting", "the watch shows: ", "failed: it was no longer needed"],
        }),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_acts_when_one_is_killed() -> Result<()> {
    let mut pair = Pair::new("one-killed").await?;
    let (_, pods) = pair.stage.led("orders", 2).await?;
    pair.stage.is_silent().await?;
    pair.stage.controller.kill();
    pods[0].unready().await?;
    pair.stage.until_led("orders", &pods[1]).await?;
    pair.second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
    pair.keep([
        None,
        Some(Story {
            name: "replica-takes-over",
            note: "The replica that holds the Lease is killed, and then the leader lost: this one has \
             given the other 100 ms, and writes. The Lease is its own only later.",
            tells: &[
                "another replica acts first",
                "-> Reelecting orders-1, for unready",
                "-> Elected orders-1, for unready",
                "this replica acts first",
            ],
        }),
    ])
    .await
}

/// What it had begun is refused, or given up: it never overwrites what it has not seen.
#[tokio::test(flavor = "multi_thread")]
async fn one_is_stopped_and_wakes_up() -> Result<()> {
    let pair = Pair::new("one-stopped").await?;
    let (_, pods) = pair.stage.led("orders", 2).await?;
    pair.stage.is_silent().await?;
    pair.stage.controller.process()?.pause()?;
    pods[0].unready().await?;
    let slice = pair.stage.until_led("orders", &pods[1]).await?;
    ensure!(slice.annotations().get("zen-lead.io/term-by").is_some_and(|by| by == "second"), "{slice:?}");
    pair.stage.controller.process()?.signal(Signal::CONT)?;
    pair.keep([
        Some(Story {
            name: "replica-wakes-up",
            note: "The replica that holds the Lease is stopped when the leader is lost, and wakes up when \
             the other one has published the next leader: it takes that over, whatever it sees \
             first.",
            tells: &["-> Elected orders-0, for first_election", "the watch shows: orders-1 is published"],
        }),
        None,
    ])
    .await
}
