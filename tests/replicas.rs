//! Several replicas: one acts first, the others when it does not, and nobody is told anything twice.

mod support;

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use lab::{Change, Collector, Forwarder, Lab, Pod, Revision, Signal, Trace};
use tokio::sync::watch;

use crate::support::{Controller, SOON, Stage, leaders, this_program};

/// Two replicas, of which the first holds the Lease, a Service with three pods, and what both send.
struct Pair {
    stage: Stage,
    second: Controller,
    pods: Vec<Pod>,
    collector: Collector,
    history: lab::History,
}

impl Pair {
    async fn new(purpose: &str) -> Result<Self> {
        Self::of(this_program(), purpose).await
    }

    /// Both of this program, which is perhaps of another version.
    async fn of(program: &Path, purpose: &str) -> Result<Self> {
        let collector = Collector::start().await?;
        let endpoint = collector.endpoint();
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
        let stage = Stage::replicated_by(program, purpose, &variables).await?;
        let kubeconfig = stage.account.kubeconfig().await?;
        let second = Controller::replica_of(program, &kubeconfig, &stage.ns, "second", &variables)?;
        second.until_ready().await?;
        second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 0")).await?;
        let (_, pods) = stage.led("orders", 3).await?;
        stage.until_announced("orders", &pods[0], "LeaderElected").await?;
        stage.all_is_seen().await?;
        until_scraped_leader(&second).await?;
        let history = stage.ns.history().await?;
        Ok(Self { stage, second, pods, collector, history })
    }

    /// The one trace of a failover with this cause, and which replica sent it.
    async fn trace_by(&self, cause: &str) -> Result<(Trace, String)> {
        let is_wanted =
            |trace: &Trace| trace.root().is_ok_and(|root| root.attributes["zen_lead.cause"] == cause);
        let trace = self.collector.until_trace(SOON, is_wanted).await?;
        let by = trace.root()?.resource["service.instance.id"].as_str().context("a name")?.to_owned();
        Ok((trace, by))
    }

    /// Who led, and never two at once; no epoch was taken twice.
    async fn check_history(&self, expected: &[&str]) -> Result<()> {
        let revisions = self.history.up_to_now().await?;
        assert_eq!(leaders(&revisions, "orders-leader"), expected);
        let mut terms = BTreeSet::new();
        for Revision { change, slice, .. } in &revisions {
            ensure!(slice.endpoints.len() <= 1, "two endpoints: {slice:?}");
            let annotation = |name: &str| slice.metadata.annotations.as_ref()?.get(name).cloned();
            if *change != Change::Deleted
                && let (Some(epoch), Some(uid)) =
                    (annotation("zen-lead.io/epoch"), annotation("zen-lead.io/leader-pod-uid"))
            {
                terms.insert((slice.metadata.name.clone(), epoch, uid));
            }
        }
        let epochs: BTreeSet<_> = terms.iter().map(|(name, epoch, _)| (name, epoch)).collect();
        assert_eq!(epochs.len(), terms.len(), "an epoch has two leaders: {terms:?}");
        Ok(())
    }
}

async fn until_scraped_leader(controller: &Controller) -> Result<()> {
    controller.until_logged(&["armed"]).await.map(drop)
}

fn term_by(slice: &k8s_openapi::api::discovery::v1::EndpointSlice) -> Option<&str> {
    slice.metadata.annotations.as_ref()?.get("zen-lead.io/term-by").map(String::as_str)
}

async fn told(stage: &Stage, reason: &str) -> Result<usize> {
    Ok(stage.reasons_about("orders").await?.iter().filter(|told| *told == reason).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_acts_and_tells_and_the_other_takes_over_at_its_end() -> Result<()> {
    let mut pair = Pair::new("r-first").await?;
    pair.pods[0].unready().await?;
    // The first, unless it gets no processor for a tenth of a second: then the second one, and that tells.
    let slice = pair.stage.until_led("orders", &pair.pods[1]).await?;
    let writer = term_by(&slice).context("a writer")?.to_owned();
    pair.stage.until_announced("orders", &pair.pods[1], "LeaderChanged").await?;
    let (_, by) = pair.trace_by("unready").await?;
    assert_eq!(by, writer);
    // Nobody is told twice, also of what nobody follows: an empty slice does not say who has emptied it.
    for pod in pair.pods[1..].iter().rev() {
        pod.unready().await?;
    }
    pair.stage.until_leaderless("orders").await?;
    pair.stage.until_told("LeaderLost", &["orders"]).await?;
    pair.pods[1].ready().await?;
    pair.stage.until_led("orders", &pair.pods[1]).await?;
    pair.stage.until_announced("orders", &pair.pods[1], "LeaderRecovered").await?;
    pair.stage.all_is_seen().await?;
    assert_eq!(told(&pair.stage, "LeaderLost").await?, 1);
    assert_eq!(told(&pair.stage, "LeaderChanged").await?, 1);

    // How Services stand, one tells; what was done, who did it.
    let name = format!("namespace=\"{}\",service=\"orders\"", pair.stage.ns.name());
    let of_orders = |scrape: &str, family: &str| {
        scrape.lines().any(|line| line.starts_with(&format!("zen_lead_{family}{{{name}")))
    };
    let (first, second) = (pair.stage.controller.scrape().await?, pair.second.scrape().await?);
    assert!(of_orders(&first, "epoch") && !of_orders(&second, "epoch"), "{second}");
    let failovers = format!("zen_lead_failover_count_total{{{name},reason=\"unready\"}}");
    let counted = |scrape: &str| -> Result<u32> {
        let value = scrape.lines().find_map(|line| line.strip_prefix(&failovers)).context("it is counted")?;
        Ok(value.trim().parse()?)
    };
    assert_eq!(counted(&first)? + counted(&second)?, 2, "the change, and the loss");

    // Given back at SIGTERM, it is the other's at its next look.
    pair.stage.controller.stop()?;
    pair.second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
    let lease: Lease = pair.stage.ns.api().get("zen-lead-controller-leader-election").await?;
    assert_eq!(lease.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("second"));
    pair.pods[2].ready().await?;
    pair.pods[1].unready().await?;
    let slice = pair.stage.until_led("orders", &pair.pods[2]).await?;
    assert_eq!(term_by(&slice), Some("second"));
    pair.second.stop()?;
    // A trace each, whoever sent it: of the first election, the change, the loss, the recovery, the last change.
    let mut told: Vec<_> = pair
        .collector
        .traces()
        .iter()
        .filter_map(|trace| trace.root().ok())
        .filter(|root| root.attributes["k8s.service.name"] == "orders")
        .map(|root| format!("{} {}", root.attributes["zen_lead.cause"], root.attributes["zen_lead.outcome"]))
        .collect();
    told.sort();
    let expected = [
        r#""first_election" "elected""#,
        r#""recovery" "elected""#,
        r#""unready" "elected""#,
        r#""unready" "elected""#,
        r#""unready" "leaderless""#,
    ];
    assert_eq!(told, expected);
    pair.check_history(&["orders-0", "orders-1", "nobody", "orders-1", "orders-2"]).await?;
    pair.stage.end().await
}

/// The loss of the one with the Lease, at the worst moment, costs a moment and no Lease's time.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_acts_when_the_one_with_the_lease_is_killed() -> Result<()> {
    let mut pair = Pair::new("r-killed").await?;
    pair.stage.controller.kill();
    pair.pods[0].unready().await?;
    let slice = pair.stage.until_led("orders", &pair.pods[1]).await?;
    assert_eq!(term_by(&slice), Some("second"));
    let (trace, by) = pair.trace_by("unready").await?;
    assert_eq!(by, "second");
    // It had given the other its chance, and no more than that.
    let waited = trace.span("queue")?.duration()?.as_millis();
    assert!((100..=500).contains(&waited), "{waited} ms: {trace}");
    assert_eq!(told(&pair.stage, "LeaderChanged").await?.min(1), 1);
    pair.check_history(&["orders-0", "orders-1"]).await?;
    pair.second.stop()?;
    pair.stage.end().await
}

/// One that hangs and wakes up has nothing to say any more.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_with_the_lease_wakes_up_and_overwrites_nothing() -> Result<()> {
    let mut pair = Pair::new("r-stopped").await?;
    pair.stage.controller.process()?.pause()?;
    pair.pods[0].unready().await?;
    let slice = pair.stage.until_led("orders", &pair.pods[1]).await?;
    assert_eq!(term_by(&slice), Some("second"));
    // The Lease runs out meanwhile.
    pair.second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
    pair.pods[1].unready().await?;
    pair.stage.until_led("orders", &pair.pods[2]).await?;
    pair.stage.controller.process()?.signal(Signal::CONT)?;
    pair.stage.controller.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 0")).await?;
    pair.stage.is_silent().await?;
    pair.check_history(&["orders-0", "orders-1", "orders-2"]).await?;
    assert_eq!(told(&pair.stage, "LeaderChanged").await?, 2);
    pair.stage.controller.stop()?;
    pair.second.stop()?;
    let traces = pair.collector.traces();
    let unready: Vec<_> = traces
        .iter()
        .filter_map(|trace| trace.root().ok())
        .filter(|root| root.attributes["zen_lead.cause"] == "unready")
        .map(|root| root.resource["service.instance.id"].clone())
        .collect();
    assert_eq!(unready, ["second", "second"]);
    pair.stage.end().await
}

/// The one with the Lease is alive, and its connections have gone dead at the moment of the loss.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_acts_when_the_one_with_the_lease_is_cut_off() -> Result<()> {
    let lab = Lab::shared().await?;
    let way = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    let mut stage = Stage::replicated("r-cut", &[]).await?;
    stage.controller.stop()?;
    let kubeconfig = stage.account.kubeconfig_for(&way.url()).await?;
    stage.controller = Controller::replica_by(&kubeconfig, &stage.ns, "first", &[])?;
    stage.controller.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
    let mut second = Controller::replica(&stage.ns, &stage.account, "second", &[]).await?;
    second.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 0")).await?;
    second.until_ready().await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    stage.all_is_seen().await?;
    way.black_hole().await?;
    pods[0].unready().await?;
    let slice = stage.until_led("orders", &pods[1]).await?;
    assert_eq!(term_by(&slice), Some("second"));
    stage.until_told("LeaderChanged", &["orders-1"]).await?;
    // Back again, it has missed something, and repeats nothing.
    way.forward().await?;
    stage.controller.until_logged(&["transition", "cause=\"adopted\""]).await?;
    stage.is_silent().await?;
    assert_eq!(told(&stage, "LeaderChanged").await?, 1);
    second.stop()?;
    stage.end().await
}

/// As the Deployment is updated: a new one is Ready before an old one is told to end, one after the other. The leader is
/// lost again and again meanwhile. With `ZEN_LEAD_UPDATE_FROM=<program>` the old ones are of that version.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_amid_failovers_leaves_no_gap_and_tells_all_of_it_once() -> Result<()> {
    let before = env::var_os("ZEN_LEAD_UPDATE_FROM").map(PathBuf::from);
    let before = before.as_deref().unwrap_or_else(|| this_program());
    let Pair { mut stage, mut second, pods, collector, history } = Pair::of(before, "r-update").await?;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint())];
    let third = Controller::replica(&stage.ns, &stage.account, "third", &variables).await?;
    third.until_ready().await?;
    let mut first = std::mem::replace(&mut stage.controller, third);
    let (done, is_done) = watch::channel(false);
    let update = async {
        first.stop()?;
        let fourth = Controller::replica(&stage.ns, &stage.account, "fourth", &variables).await?;
        fourth.until_ready().await?;
        second.stop()?;
        done.send(true)?;
        anyhow::Ok(fourth)
    };
    let losses = async {
        let mut losses = 0;
        let mut is_last = false;
        // And once more after the update.
        while !is_last {
            is_last = *is_done.borrow();
            let (lost, next) = (&pods[losses % 2], &pods[(losses + 1) % 2]);
            lost.unready().await?;
            stage.until_led("orders", next).await?;
            lost.ready().await?;
            stage.all_is_seen().await?;
            losses += 1;
        }
        anyhow::Ok(losses)
    };
    let (mut fourth, losses) = tokio::try_join!(update, losses)?;
    stage.is_silent().await?;
    let expected: Vec<_> = (0..=losses).map(|term| format!("orders-{}", term % 2)).collect();
    assert_eq!(leaders(&history.up_to_now().await?, "orders-leader"), expected);
    assert_eq!(told(&stage, "LeaderChanged").await?, losses);
    fourth.stop()?;
    stage.controller.stop()?;
    let traces = collector.traces();
    let of_losses =
        |trace: &&Trace| trace.root().is_ok_and(|root| root.attributes["zen_lead.cause"] == "unready");
    assert_eq!(traces.iter().filter(of_losses).count(), losses);
    stage.end().await
}

/// Without a Lease, or the right to it, one replica is as good as alone.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_a_lease_it_acts_and_says_so() -> Result<()> {
    let stage = Stage::new("r-alone").await?;
    let variables = [("POD_NAMESPACE", stage.ns.name())];
    let mut alone = Controller::replica(&stage.ns, &stage.account, "alone", &variables).await?;
    alone.until_ready().await?;
    let line = alone.until_logged(&["there is no Lease for this replica"]).await?;
    assert!(line.contains("WARN") && line.contains("deploy/"), "{line}");
    alone.until_scraped(|scrape| scrape.contains("zen_lead_acts_first 1")).await?;
    alone.stop()
}
