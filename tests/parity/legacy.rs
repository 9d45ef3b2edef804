//! Where the Go zen-lead was before: its command line, and the objects that it left.

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;

use crate::support::{
    Controller, ENABLED, LONG_AGO, SOON, Stage, before_the_upgrade, give_lease, leaders, left_by_go,
};

const LEADER: &str = "orders-leader";

#[tokio::test(flavor = "multi_thread")]
async fn p22_the_go_command_line_runs_with_one_warning() -> Result<()> {
    let mut stage = Stage::new("p22").await?;
    stage.controller.stop()?;
    let kubeconfig = stage.account.kubeconfig().await?;
    let metrics = format!("-metrics-bind-address=127.0.0.1:{}", lab::free_port()?);
    // No subcommand, one dash or two, values joined or apart. The namespace only keeps it from other tests' objects.
    let command_line = [
        &metrics,
        "--leader-election-id=zen-lead-controller-leader-election",
        "--qps=50",
        "-burst",
        "100",
        "--max-concurrent-reconciles=10",
        "--enable-parallel-api-calls",
        "--enable-leader-pod-cache=true",
        "--leader-pod-cache-ttl-seconds=30",
        "--retry-max-attempts=3",
        "--namespace",
        stage.ns.name(),
    ];
    give_lease(&stage.ns).await?;
    let variables = [("POD_NAMESPACE", stage.ns.name())];
    stage.controller = Controller::start_as(&kubeconfig, "p22", &variables, &command_line)?;
    stage.controller.until_ready().await?;
    stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;

    let log = stage.controller.log()?;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("do nothing here")).collect();
    let [warning] = warnings[..] else { panic!("one warning was expected:\n{log}") };
    assert!(warning.contains("WARN"), "{warning}");
    for flag in [
        "--qps",
        "--burst",
        "--max-concurrent-reconciles",
        "--enable-parallel-api-calls",
        "--enable-leader-pod-cache",
        "--leader-pod-cache-ttl-seconds",
        "--retry-max-attempts",
    ] {
        assert!(warning.contains(flag), "{flag} is not named: {warning}");
    }
    for flag in ["--leader-election-id", "--metrics-bind-address"] {
        assert!(!warning.contains(flag), "{flag} does something: {warning}");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p22_without_such_flags_there_is_no_warning() -> Result<()> {
    let stage = Stage::new("p22-none").await?;
    let log = stage.controller.log()?;
    assert!(!log.contains("do nothing here"), "{log}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p24_what_the_go_program_left_is_adopted_in_place() -> Result<()> {
    let (mut stage, [_, second]) = before_the_upgrade("p24").await?;
    let source = stage.source("orders").create().await?;
    // Not the one that would be elected today.
    let (old_service, old_slice) = left_by_go(&stage, &source, &second).await?;
    let history = stage.ns.history().await?;
    stage.restart().await?;
    let adopted = |slice: &EndpointSlice| slice.annotations().contains_key("zen-lead.io/epoch");
    let slice = stage.ns.slices().until(LEADER, SOON, adopted).await?;
    let with_epoch = |service: &Service| service.annotations().contains_key("zen-lead.io/epoch");
    let service = lab::until_object(&stage.ns.api::<Service>(), LEADER, SOON, with_epoch).await?;
    stage.mark().await?;

    // The same objects, the same leader, no gap, and one write to the slice.
    assert_eq!((service.uid(), slice.uid()), (old_service.uid(), old_slice.uid()));
    let address = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    assert_eq!(address(&service), address(&old_service));
    assert_eq!(stage.made_for("orders").await?, (vec![LEADER.to_owned()], vec![LEADER.to_owned()]));
    let revisions = history.up_to_now().await?;
    assert_eq!(leaders(&revisions, LEADER), ["orders-1"]);
    let empty = revisions
        .iter()
        .filter(|revision| revision.slice.name_any() == LEADER)
        .find(|revision| revision.slice.endpoints.is_empty());
    assert!(empty.is_none(), "{empty:?}");
    let to_slice = format!("update endpointslices {LEADER}");
    assert_eq!(
        stage.writes()?.iter().filter(|write| **write == to_slice).count(),
        1,
        "{:?}",
        stage.writes()?
    );

    // From now on they are ours.
    for owners in [slice.owner_references(), service.owner_references()] {
        assert_eq!(owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), [source.uid()]);
    }
    let annotation =
        |name: &str| service.annotations().get(&format!("zen-lead.io/{name}")).map(String::as_str);
    assert_eq!(annotation("current-leader"), Some("orders-1"));
    assert_eq!(annotation("leader-last-switch-time"), Some(LONG_AGO), "nothing was switched");
    assert_eq!(annotation("enabled"), None, "the leader Service is not a source itself");
    assert_eq!(
        stage.reasons_about("orders").await?,
        [""; 0],
        "nothing has happened that people would care about"
    );
    stage.end().await
}

/// Several at once, and at the moment of their adoption: one change of the leader Service comes upon another.
#[tokio::test(flavor = "multi_thread")]
async fn p24_after_adoption_a_failover_is_like_any_other() -> Result<()> {
    let mut stage = Stage::new("p24-after").await?;
    stage.controller.stop()?;
    let mut services = Vec::new();
    for number in 0..8 {
        let name = format!("orders-{number}");
        let source = stage.source(&name).create().await?;
        let next = stage.member(&name, &format!("{name}-0")).ready().create().await?;
        let leader = stage.member(&name, &format!("{name}-1")).ready().create().await?;
        left_by_go(&stage, &source, &leader).await?;
        services.push((format!("{name}-leader"), leader, next));
    }
    let history = stage.ns.history().await?;
    stage.restart().await?;
    try_join_all(services.iter().map(|(_, leader, _)| leader.unready())).await?;
    for (leader_service, _, next) in &services {
        stage.until_mirrored(leader_service, next.name()).await?;
    }
    try_join_all(services.iter().map(|(_, leader, _)| leader.ready())).await?;
    try_join_all(services.iter().map(|(_, _, next)| next.vanish())).await?;
    for (leader_service, leader, next) in &services {
        stage.ns.slices().until_leader(leader_service, leader.name(), SOON).await?;
        let order = [leader.name(), next.name(), leader.name()];
        assert_eq!(leaders(&history.up_to_now().await?, leader_service), order);
    }
    stage.end().await
}

/// The leader died between the two programs.
#[tokio::test(flavor = "multi_thread")]
async fn p24_a_dead_leader_of_the_go_program_is_replaced_without_a_gap() -> Result<()> {
    let (mut stage, [first, second]) = before_the_upgrade("p24-dead").await?;
    let source = stage.source("orders").create().await?;
    left_by_go(&stage, &source, &first).await?;
    first.vanish().await?;
    let history = stage.ns.history().await?;
    stage.restart().await?;
    stage.ns.slices().until_leader(LEADER, second.name(), SOON).await?;
    let service = stage.until_mirrored(LEADER, second.name()).await?;
    let since =
        service.annotations().get("zen-lead.io/leader-last-switch-time").context("it tells since when")?;
    assert_ne!(since, LONG_AGO);
    stage.mark().await?;
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-0", "orders-1"]);
    let to_slice = format!("update endpointslices {LEADER}");
    assert_eq!(
        stage.writes()?.iter().filter(|write| **write == to_slice).count(),
        1,
        "{:?}",
        stage.writes()?
    );
    stage.end().await
}

/// The Service opted out between the two programs: what is left is still removed.
#[tokio::test(flavor = "multi_thread")]
async fn p24_what_nobody_asks_for_any_more_is_removed() -> Result<()> {
    let (mut stage, [first, _]) = before_the_upgrade("p24-out").await?;
    let source = stage.source("orders").annotation(ENABLED, "false").create().await?;
    left_by_go(&stage, &source, &first).await?;
    stage.restart().await?;
    stage.until_nothing_for("orders").await?;
    source.get().await?;
    stage.end().await
}
