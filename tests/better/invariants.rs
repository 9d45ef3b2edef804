//! The invariants, on the real server, as far as they can be seen there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod as PodObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, PostParams};
use lab::{Change, Entry, Pod, Revision, Signal, leader_of};
use serde_json::json;

use crate::support::{Controller, SOON, Stage, leaders};

fn epoch(slice: &EndpointSlice) -> Option<u64> {
    slice.annotations().get("zen-lead.io/epoch")?.parse().ok()
}

fn uid(slice: &EndpointSlice) -> Option<&String> {
    slice.annotations().get("zen-lead.io/leader-pod-uid")
}

/// Pods come and go in every way, each better than the anchor, which alone stays Ready.
async fn storm(stage: &Stage, rounds: usize) -> Result<Pod> {
    let anchor = stage.member("orders", "zz-anchor").annotation("zen-lead.io/priority", "-9").ready();
    let anchor = anchor.create().await?;
    for round in 0..rounds {
        let name = format!("orders-{}", round % 5);
        let pod = stage.member("orders", &name).ready().create().await?;
        stage.member("orders", &format!("other-{round}")).unready().create().await?.ready().await?;
        match round % 4 {
            0 => pod.unready().await?,
            1 => pod.terminate(lab::within(300)).await?,
            2 => pod.phase("Failed").await?,
            _ => pod.relabel("app", None).await?,
        }
        if round % 3 == 0 {
            stage.ns.slices().until_leader("orders-leader", &format!("other-{round}"), SOON).await?;
        }
        pod.vanish().await?;
        let api = stage.ns.api::<PodObject>();
        api.delete(&format!("other-{round}"), &DeleteParams::default().grace_period(0)).await?;
    }
    stage.until_led("orders", &anchor).await?;
    Ok(anchor)
}

/// At most one ready endpoint in any revision, over all slices of the leader Service.
fn at_most_one_is_ready(revisions: &[Revision]) -> Result<()> {
    let mut present: BTreeMap<String, usize> = BTreeMap::new();
    for Revision { change, slice, .. } in revisions {
        let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        let ready = slice.endpoints.iter().filter(is_ready).map(|endpoint| endpoint.addresses.len()).sum();
        let ready = if *change == Change::Deleted { 0 } else { ready };
        present.insert(slice.name_any(), ready);
        ensure!(present.values().sum::<usize>() <= 1, "{present:?} at {slice:#?}");
    }
    Ok(())
}

/// Epochs only grow; one epoch has one leader, and a change of leader is a change of epoch.
fn epochs_grow(revisions: &[Revision]) -> Result<()> {
    let mut terms: Vec<(u64, Option<String>)> = Vec::new();
    for Revision { change, slice, .. } in revisions {
        let Some(epoch) = epoch(slice).filter(|_| *change != Change::Deleted) else { continue };
        let leader = uid(slice).cloned();
        if let Some((last, led)) = terms.last() {
            ensure!(epoch >= *last, "epoch {epoch} after {last}: {terms:?}");
            if epoch == *last && leader.is_some() && led.is_some() {
                ensure!(leader == *led, "two leaders in epoch {epoch}: {led:?}, {leader:?}");
            }
        }
        if leader.is_some() || terms.is_empty() {
            terms.push((epoch, leader));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_i6_in_a_storm_there_is_one_leader_always_with_growing_epochs() -> Result<()> {
    let stage = Stage::new("i1").await?;
    stage.source("orders").annotation("zen-lead.io/failback", "immediate").create().await?;
    stage.until_leaderless("orders").await?;
    let history = stage.ns.history().await?;
    storm(&stage, 24).await?;
    let revisions = history.up_to_now().await?;
    let changes = revisions.iter().filter(|revision| leader_of(&revision.slice).is_some()).count();
    assert!(changes > 10, "a storm moves the leader: {changes}");
    at_most_one_is_ready(&revisions)?;
    epochs_grow(&revisions)?;
    // The anchor was eligible all the time: from the first leader on the slice was never empty.
    let empty = revisions
        .iter()
        .skip_while(|revision| revision.slice.endpoints.is_empty())
        .find(|revision| leader_of(&revision.slice).is_none());
    assert!(empty.is_none(), "{empty:#?}");
    stage.end().await
}

/// Restart, deletion of either copy or of both, opt-out and opt-in, the source made anew.
#[tokio::test(flavor = "multi_thread")]
async fn i3_nothing_takes_an_epoch_back() -> Result<()> {
    let mut stage = Stage::new("i3").await?;
    let history = stage.ns.history().await?;
    let (mut source, pods) = stage.led("orders", 2).await?;
    let mut last = epoch(&stage.slice("orders").await?).context("an epoch")?;
    for round in 0..10 {
        // Many terms within a second take the epoch past the clock.
        for change in 0..6 {
            let (loses, follows) = (&pods[change % 2], &pods[(change + 1) % 2]);
            loses.unready().await?;
            stage.until_led("orders", follows).await?;
            loses.ready().await?;
        }
        let params = DeleteParams::default();
        match round % 5 {
            0 => stage.restart().await?,
            1 => drop(stage.slices_api().delete("orders-leader", &params).await?),
            2 => {
                let (slices, services) = (stage.slices_api(), stage.services_api());
                let (slice, service) = tokio::join!(
                    slices.delete("orders-leader", &params),
                    services.delete("orders-leader", &params)
                );
                slice?;
                service?;
            }
            3 => {
                source.annotate("zen-lead.io/enabled", None).await?;
                stage.ns.slices().all_until("orders-leader", SOON, <[_]>::is_empty).await?;
                source.annotate("zen-lead.io/enabled", Some("true")).await?;
            }
            _ => {
                source.delete().await?;
                source = stage.source("orders").create().await?;
            }
        }
        let newer = |slice: &EndpointSlice| {
            leader_of(slice).is_some() && (round % 5 == 0 || epoch(slice).is_some_and(|epoch| epoch > last))
        };
        let known = last;
        last = epoch(&stage.slice_when(newer).await.with_context(|| format!("round {round}"))?)
            .context("an epoch")?;
        assert!(last >= known, "round {round}: {last} after {known}");
    }
    epochs_grow(&history.up_to_now().await?)?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_a_planned_move_and_a_restart_leave_no_gap() -> Result<()> {
    let mut stage = Stage::new("i6").await?;
    let (source, pods) = stage.led("orders", 3).await?;
    let history = stage.ns.history().await?;
    source.annotate("zen-lead.io/switchover-to", Some("orders-2")).await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.restart().await?;
    pods[2].annotate("zen-lead.io/never-lead", Some("true")).await?;
    stage.until_led("orders", &pods[0]).await?;
    pods[0].terminate(lab::within(300)).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.controller.kill();
    pods[1].unready().await?;
    pods[2].annotate("zen-lead.io/never-lead", None).await?;
    stage.restart().await?;
    stage.until_led("orders", &pods[2]).await?;
    let revisions = history.up_to_now().await?;
    let gap = revisions.iter().find(|revision| leader_of(&revision.slice).is_none());
    assert!(gap.is_none(), "{gap:#?}");
    at_most_one_is_ready(&revisions)?;
    epochs_grow(&revisions)?;
    stage.end().await
}

/// What is in the namespace, but for pods' status and Events: kind, name, version.
async fn inventory(stage: &Stage) -> Result<Vec<(String, Option<String>)>> {
    let list = ListParams::default();
    let mut all = Vec::new();
    let services = stage.services_api().list(&list).await?;
    all.extend(
        services.iter().map(|object| (format!("service {}", object.name_any()), object.resource_version())),
    );
    let slices = stage.slices_api().list(&list).await?;
    all.extend(
        slices.iter().map(|object| (format!("slice {}", object.name_any()), object.resource_version())),
    );
    let pods = stage.ns.api::<PodObject>().list(&list).await?;
    all.extend(pods.iter().map(|object| (format!("pod {}", object.name_any()), object.resource_version())));
    let maps = stage.ns.api::<ConfigMap>().list(&list).await?;
    all.extend(maps.iter().map(|object| (format!("map {}", object.name_any()), object.resource_version())));
    all.sort();
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn i13_opting_out_leaves_the_namespace_as_it_was() -> Result<()> {
    let stage = Stage::new("i13").await?;
    let slice = json!({
        "metadata": { "name": "orders-x7k2p", "labels": { "kubernetes.io/service-name": "orders" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": ["10.244.9.9"] }],
    });
    stage.slices_api().create(&PostParams::default(), &serde_json::from_value(slice)?).await?;
    let source = stage.ns.service("orders").selector("app", "orders").port("http", 80, 8080).dual_stack();
    let source = source.create().await?;
    let pods = [
        stage.member("orders", "orders-0").dual_stack().ready().create().await?,
        stage.member("orders", "orders-1").dual_stack().ready().create().await?,
    ];
    let before = inventory(&stage).await?;

    source.annotate("zen-lead.io/enabled", Some("true")).await?;
    stage.until_led("orders", &pods[0]).await?;
    let opted_in = source.get().await?.resource_version();
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    assert_eq!(source.get().await?.resource_version(), opted_in, "the source is read only");
    source.annotate("zen-lead.io/enabled", None).await?;
    stage.ns.slices().all_until("orders-leader", SOON, <[_]>::is_empty).await?;
    lab::until(&stage.services_api(), "app.kubernetes.io/managed-by=zen-lead", SOON, <[_]>::is_empty).await?;

    let source_aside = |all: Vec<(String, Option<String>)>| -> Vec<_> {
        all.into_iter().filter(|(name, _)| name != "service orders").collect()
    };
    let after = inventory(&stage).await?;
    assert_eq!(source_aside(after.clone()), source_aside(before.clone()));
    assert_eq!(after.len(), before.len());
    stage.only_ours_were_written("orders")?;
    stage.end().await
}

/// Kubernetes hands a gone pod's address to the next pod, which may be anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn i15_the_address_of_a_gone_pod_is_withdrawn_even_when_paused() -> Result<()> {
    let stage = Stage::new("i15").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    stage.until_notice("Paused").await?;
    // Not Ready is no reason while paused.
    pods[0].unready().await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?).as_deref(), Some("orders-0"));
    // Gone is, and nobody is chosen instead.
    pods[0].vanish().await?;
    stage.until_leaderless("orders").await?;
    stage.all_is_seen().await?;
    assert_eq!(leader_of(&stage.slice("orders").await?), None);
    source.annotate("zen-lead.io/paused", None).await?;
    stage.until_led("orders", &pods[1]).await?;
    stage.end().await
}

/// The same while nobody watches: what a new process finds is judged by whether the pod is still there.
#[tokio::test(flavor = "multi_thread")]
async fn i15_a_restart_while_paused_withdraws_a_gone_pod_and_keeps_another() -> Result<()> {
    let mut stage = Stage::new("i15-restart").await?;
    let (orders, orders_pods) = stage.led("orders", 2).await?;
    let (users, users_pods) = stage.led("users", 2).await?;
    for source in [&orders, &users] {
        source.annotate("zen-lead.io/paused", Some("true")).await?;
        stage.until_notice("Paused").await?;
    }
    stage.all_is_seen().await?;
    stage.controller.stop()?;
    orders_pods[0].vanish().await?;
    users_pods[0].unready().await?;
    stage.restart().await?;
    stage.until_leaderless("orders").await?;
    assert_eq!(leader_of(&stage.slice("users").await?).as_deref(), Some("users-0"));
    users.annotate("zen-lead.io/paused", None).await?;
    stage.until_led("users", &users_pods[1]).await?;
    stage.end().await
}

/// A second replica of the same installation beside the first, as during each rolling update.
async fn second_replica(stage: &Stage) -> Result<Controller> {
    let second = stage.another(&["--identity=second"]).await?;
    second.until_ready().await?;
    Ok(second)
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i3_i8_two_replicas_in_a_storm_agree_on_one_leader_and_fall_silent() -> Result<()> {
    let stage = Stage::new("replicas").await?;
    stage.source("orders").annotation("zen-lead.io/failback", "immediate").create().await?;
    stage.until_leaderless("orders").await?;
    let mut second = second_replica(&stage).await?;
    let history = stage.ns.history().await?;
    let anchor = storm(&stage, 24).await?;
    let revisions = history.up_to_now().await?;
    at_most_one_is_ready(&revisions)?;
    epochs_grow(&revisions)?;
    let writers: BTreeSet<_> = revisions
        .iter()
        .filter_map(|revision| revision.slice.annotations().get("zen-lead.io/term-by"))
        .collect();
    assert_eq!(writers.len(), 2, "both take part: {writers:?}");

    stage.until_mirrored("orders-leader", anchor.name()).await?;
    stage.is_silent().await?;
    second.stop()?;
    stage.end().await
}

/// A controller is stopped with a failover due; others lead meanwhile, and it goes on with what it knew. Answers whether
/// it has tried to write that: it may also hear of the others first.
async fn goes_on_after_a_stop(stage: &Stage, name: &str) -> Result<bool> {
    let source = stage.source(name).annotation("zen-lead.io/failover-min-delay", "1s");
    source.create().await?;
    let pods = stage.members(name, 3).await?;
    stage.all_is_seen().await?;
    let history = stage.ns.history().await?;
    pods[0].unready().await?;
    stage.controller.until_logged(&["transition", name, "to=\"Draining\""]).await?;
    stage.controller.process()?.pause()?;

    let mut second = second_replica(stage).await?;
    stage.until_led(name, &pods[1]).await?;
    pods[1].vanish().await?;
    let slice = stage.until_led(name, &pods[2]).await?;
    assert_eq!(slice.annotations().get("zen-lead.io/term-by").map(String::as_str), Some("second"));
    // So that the two would tell of different times at which the leader changed.
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    stage.controller.process()?.signal(Signal::CONT)?;
    let pod = format!("pod=\"{}\"", pods[2].name());
    stage.controller.until_logged(&["transition", "cause=\"adopted\"", &pod]).await?;
    stage.is_silent().await?;
    let slice = format!("{name}-leader");
    let mut revisions = history.up_to_now().await?;
    revisions.retain(|revision| revision.slice.name_any() == slice);
    assert_eq!(leaders(&revisions, &slice), pods.iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>());
    at_most_one_is_ready(&revisions)?;
    epochs_grow(&revisions)?;
    second.stop()?;
    let refused = |entry: &Entry| (&*entry.verb, &*entry.name, entry.code) == ("update", &*slice, 409);
    Ok(stage.asked()?.iter().any(refused))
}

#[tokio::test(flavor = "multi_thread")]
async fn i4_a_controller_that_was_stopped_meanwhile_overwrites_nothing() -> Result<()> {
    let stage = Stage::new("i4").await?;
    for round in 0..10 {
        if goes_on_after_a_stop(&stage, &format!("orders{round}")).await? {
            return stage.end().await;
        }
    }
    bail!("it never tried to write what it knew")
}
