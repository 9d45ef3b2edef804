//! The task between the watches and the driver.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::super::{Judge, Told};
use super::fleet::{lease_json, node_json, secs, words};
use crate::config::MetricsDetail;
use crate::driver::Feed;
use crate::health::Health;
use crate::kinds::fixtures::decode;
use crate::metrics::{BuildInfo, Metrics};
use crate::watch::{Change, WatchStatus};

/// The judge of three nodes with Leases, whose watch is live.
struct Court {
    told: mpsc::Sender<Told>,
    feed: mpsc::Receiver<Feed>,
    watch: WatchStatus,
    metrics: Metrics,
    version: u64,
    judge: JoinHandle<&'static str>,
}

impl Court {
    async fn sits() -> Self {
        let health = Health::new();
        let build = BuildInfo { version: "0", installation: "".into(), replica: "".into() };
        let metrics = Metrics::new(MetricsDetail::Service, &health, build);
        let (told, hears) = mpsc::channel(100);
        let (sink, feed) = mpsc::channel(100);
        let watch = health.watch("kube-node-lease/leases");
        let judge = Judge::new(None, watch.clone(), sink, metrics.clone());
        let judge = tokio::spawn(judge.run(hears));
        let mut court = Self { told, feed, watch, metrics, version: 0, judge };
        court.tell(Told::Nodes(Change::Relisting)).await;
        let nodes = ["n0", "n1", "n2"].map(|name| decode(node_json(name, false)));
        court.tell(Told::Nodes(Change::Page(nodes.into()))).await;
        court.tell(Told::Nodes(Change::Listed { version: 1, restored: false })).await;
        court.renew(&["n0", "n1", "n2"]).await;
        court.watch.live(false);
        court
    }

    async fn tell(&mut self, told: Told) {
        self.told.send(told).await.unwrap();
    }

    async fn renew(&mut self, names: &[&str]) {
        for name in names {
            self.version += 1;
            let lease = decode(lease_json(name, self.version, &json!({ "leaseDurationSeconds": 40 })));
            self.tell(Told::Leases(Change::Applied(lease))).await;
        }
    }

    /// So many seconds pass, in which all but `n0` are heard of.
    async fn pass(&mut self, secs: u64) {
        for second in 0..secs {
            sleep(Duration::from_secs(1)).await;
            if second % 5 == 0 {
                self.renew(&["n1", "n2"]).await;
            }
        }
    }

    fn verdicts(&mut self) -> Vec<String> {
        let mut verdicts = Vec::new();
        while let Ok(Feed::Node(verdict)) = self.feed.try_recv() {
            verdicts.push(words(&verdict));
        }
        verdicts
    }

    fn shows(&self, series: &str) -> bool {
        self.metrics.encode().lines().any(|line| line == series)
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_told_to_be_lost_and_then_to_be_back() {
    let mut court = Court::sits().await;
    court.pass(24).await;
    assert!(court.verdicts().is_empty());
    assert!(court.shows("zen_lead_nodes_lost 0"));
    court.pass(2).await;
    assert_eq!(court.verdicts(), ["n0 is lost"]);
    assert!(court.shows("zen_lead_nodes_lost 1") && court.shows("zen_lead_nodes_held 0"));
    court.renew(&["n0"]).await;
    court.pass(1).await;
    assert_eq!(court.verdicts(), ["n0 is back"]);
}

#[tokio::test(start_paused = true)]
async fn all_that_are_silent_are_shown_as_held() {
    let mut court = Court::sits().await;
    sleep(secs(60)).await;
    assert!(court.verdicts().is_empty());
    assert!(court.shows("zen_lead_nodes_lost 0") && court.shows("zen_lead_nodes_held 3"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_down_stops_the_clock_and_its_return_starts_it_anew() {
    let mut court = Court::sits().await;
    court.pass(20).await;
    court.watch.disconnected("no route");
    sleep(secs(300)).await;
    court.watch.listing();
    sleep(secs(300)).await;
    court.watch.live(true);
    court.pass(24).await;
    assert!(court.verdicts().is_empty());
    court.pass(2).await;
    assert_eq!(court.verdicts(), ["n0 is lost"]);
}

/// Down and live again before anybody looked.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_resumed_at_once_stops_nothing() {
    let mut court = Court::sits().await;
    for _ in 0..24 {
        court.pass(1).await;
        court.watch.disconnected("the server ended the watch");
        court.watch.live(true);
    }
    assert!(court.verdicts().is_empty());
    // At most the time between two looks is not counted, each time.
    court.pass(8).await;
    assert_eq!(court.verdicts(), ["n0 is lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_read_any_more_says_nothing() {
    let mut court = Court::sits().await;
    let (object, error) = ("kube-node-lease/n0".to_owned(), "odd".to_owned());
    court.tell(Told::Leases(Change::Malformed { object, error })).await;
    court.pass(60).await;
    assert!(court.verdicts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_wants_to_know() {
    let mut court = Court::sits().await;
    court.feed.close();
    let tainted = decode(node_json("n0", true));
    court.tell(Told::Nodes(Change::Applied(tainted))).await;
    assert!(timeout(secs(5), court.judge).await.is_ok());
}
