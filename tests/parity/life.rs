//! Opting in and out, and everything that is none of our business.

use std::collections::BTreeMap;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{ENABLED, SOON, Stage, leaders};

const LEADER: &str = "orders-leader";
const NOTHING: [&str; 0] = [];

fn one_each(name: &str) -> (Vec<String>, Vec<String>) {
    (vec![name.to_owned()], vec![name.to_owned()])
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_opting_out_removes_both_objects() -> Result<()> {
    let stage = Stage::new("p10").await?;
    for (name, value) in [("orders", None), ("bills", Some("false"))] {
        let source = stage.source(name).create().await?;
        let pod = stage.member(name, &format!("{name}-0")).ready().create().await?;
        stage.until_mirrored(&format!("{name}-leader"), pod.name()).await?;
        source.annotate(ENABLED, value).await?;
        stage.until_nothing_for(name).await?;
        let mark = stage.mark().await?;
        // Nobody cares any more.
        pod.unready().await?;
        pod.ready().await?;
        assert_eq!(stage.writes_since(mark).await?, NOTHING);
        source.get().await?;
        pod.get().await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_both_objects_go_with_their_source() -> Result<()> {
    let stage = Stage::new("p10-source").await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    let slice = stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    let leader_service = stage.until_service(LEADER).await?;
    for owners in [slice.owner_references(), leader_service.owner_references()] {
        let [owner] = owners else { panic!("one owner was expected: {owners:?}") };
        assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("Service", "orders"));
        assert_eq!(owner.uid, source.uid());
        assert_eq!(owner.controller, Some(true));
        assert_ne!(owner.block_owner_deletion, Some(true), "some clusters demand extra rights for it");
    }
    // There is no garbage collector here: the controller does not wait for one.
    source.delete().await?;
    stage.until_nothing_for("orders").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_nothing_to_remove_is_no_error() -> Result<()> {
    let mut stage = Stage::new("p10-nothing").await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.until_mirrored(LEADER, "orders-0").await?;

    // Somebody has removed everything while the controller was away.
    stage.controller.stop()?;
    stage.ns.api::<Service>().delete(LEADER, &DeleteParams::default()).await?;
    stage.ns.api::<EndpointSlice>().delete(LEADER, &DeleteParams::default()).await?;
    source.annotate(ENABLED, None).await?;
    stage.restart().await?;
    let mark = stage.mark().await?;
    source.annotate(ENABLED, Some("false")).await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);

    // Somebody removes everything at the same time.
    source.annotate(ENABLED, Some("true")).await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    stage.controller.process()?.pause()?;
    stage.ns.api::<EndpointSlice>().delete(LEADER, &DeleteParams::default()).await?;
    stage.ns.api::<Service>().delete(LEADER, &DeleteParams::default()).await?;
    source.annotate(ENABLED, None).await?;
    stage.controller.process()?.signal(lab::Signal::CONT)?;
    stage.mark().await?;
    stage.until_nothing_for("orders").await?;
    stage.mark().await?;
    assert_eq!(stage.made_for("orders").await?, (vec![], vec![]));
    assert!(!stage.controller.log()?.contains("ERROR"), "{}", stage.controller.log()?);
    stage.end().await
}

/// A leader Service is made anew the moment its Service opts out: it must not be left behind.
#[tokio::test(flavor = "multi_thread")]
async fn p10_what_is_being_made_is_removed_as_well() -> Result<()> {
    let stage = Stage::new("p10-making").await?;
    let mut sources = Vec::new();
    for number in 0..10 {
        let name = format!("orders-{number}");
        sources.push(stage.source(&name).create().await?);
        stage.member(&name, &format!("{name}-0")).ready().create().await?;
    }
    for source in &sources {
        stage.until_mirrored(&format!("{}-leader", source.name()), &format!("{}-0", source.name())).await?;
    }
    // It is told of both in one breath.
    stage.controller.process()?.pause()?;
    for source in &sources {
        let leader_service = format!("{}-leader", source.name());
        stage.ns.api::<Service>().delete(&leader_service, &DeleteParams::default()).await?;
        source.annotate(ENABLED, None).await?;
    }
    stage.controller.process()?.signal(lab::Signal::CONT)?;
    stage.mark().await?;
    for source in &sources {
        stage.until_nothing_for(source.name()).await?;
    }
    stage.mark().await?;
    for source in &sources {
        assert_eq!(stage.made_for(source.name()).await?, (vec![], vec![]));
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p14_a_pod_of_several_services_leads_each_on_its_own() -> Result<()> {
    let stage = Stage::new("p14").await?;
    let both = stage.member("orders", "both-0").label("tier", "gold").unready().create().await?;
    let orders = stage.member("orders", "orders-0").ready().create().await?;
    stage.source("orders").create().await?;
    let gold = stage.ns.service("gold").annotation(ENABLED, "true").selector("tier", "gold");
    gold.port("admin", 90, 9090).create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
    stage.ns.slices().until_leaderless("gold-leader", SOON).await?;

    both.ready().await?;
    let slice = stage.ns.slices().until_leader("gold-leader", "both-0", SOON).await?;
    let ports: Vec<_> = slice.ports.iter().flatten().map(|port| port.port).collect();
    assert_eq!(ports, [Some(9090)], "each has its own ports");
    orders.vanish().await?;
    stage.ns.slices().until_leader(LEADER, "both-0", SOON).await?;
    both.relabel("tier", None).await?;
    stage.ns.slices().until_leaderless("gold-leader", SOON).await?;
    stage.ns.slices().until_leader(LEADER, "both-0", SOON).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p14_pods_and_services_that_concern_nobody_cause_nothing() -> Result<()> {
    let stage = Stage::new("p14-nothing").await?;
    stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    let mark = stage.mark().await?;
    let stranger = stage.member("bills", "bills-0").ready().create().await?;
    stranger.unready().await?;
    stranger.ready().await?;
    stage.ns.service("bills").selector("app", "bills").port("http", 80, 8080).create().await?;
    stage.ns.service("orders-plain").selector("app", "orders").port("http", 80, 8080).create().await?;
    stage.ns.service("bare").annotation(ENABLED, "true").port("http", 80, 8080).create().await?;
    stranger.terminate(lab::within(30)).await?;
    stranger.vanish().await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    for name in ["bills", "orders-plain", "bare"] {
        assert_eq!(stage.made_for(name).await?, (vec![], vec![]), "{name}");
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p15_opting_in_and_out_takes_effect_at_once() -> Result<()> {
    let stage = Stage::new("p15").await?;
    let source = stage.source("orders").annotation(ENABLED, "false").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    for _ in 0..3 {
        stage.mark().await?;
        assert_eq!(stage.made_for("orders").await?, (vec![], vec![]));
        source.annotate(ENABLED, Some("true")).await?;
        stage.ns.slices().until_leader(LEADER, "orders-0", SOON).await?;
        source.annotate(ENABLED, None).await?;
        stage.until_nothing_for("orders").await?;
    }
    stage.end().await
}

/// Whatever was under way when the mind was changed.
#[tokio::test(flavor = "multi_thread")]
async fn p15_a_mind_that_is_changed_midway_leaves_what_was_wanted_last() -> Result<()> {
    let stage = Stage::new("p15-midway").await?;
    let mut sources = Vec::new();
    for number in 0..8 {
        let name = format!("orders-{number}");
        stage.member(&name, &format!("{name}-0")).ready().create().await?;
        sources.push(stage.source(&name).annotation(ENABLED, "false").create().await?);
    }
    for wanted in [None, Some("true")] {
        // Each for a time of its own, so that the change of mind meets another moment of the way in.
        try_join_all(sources.iter().enumerate().map(async |(steps, source)| {
            source.annotate(ENABLED, Some("true")).await?;
            for step in 0..steps {
                source.annotate("example.com/step", Some(&step.to_string())).await?;
            }
            source.annotate(ENABLED, None).await?;
            if wanted.is_some() {
                source.annotate(ENABLED, wanted).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        for source in &sources {
            let leader_service = format!("{}-leader", source.name());
            if wanted.is_some() {
                let pod = format!("{}-0", source.name());
                stage.ns.slices().until_leader(&leader_service, &pod, SOON).await?;
            } else {
                stage.mark().await?;
                stage.until_nothing_for(source.name()).await?;
            }
        }
        stage.mark().await?;
        for source in &sources {
            let expected = match wanted {
                Some(_) => one_each(&format!("{}-leader", source.name())),
                None => (vec![], vec![]),
            };
            assert_eq!(stage.made_for(source.name()).await?, expected);
        }
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p15_a_changed_selector_takes_effect_at_once() -> Result<()> {
    let stage = Stage::new("p15-selector").await?;
    let history = stage.ns.history().await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "blue-0").label("colour", "blue").ready().create().await?;
    stage.member("orders", "green-0").label("colour", "green").ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "blue-0", SOON).await?;
    source.patch(json!({ "spec": { "selector": { "colour": "green" } } })).await?;
    stage.ns.slices().until_leader(LEADER, "green-0", SOON).await?;
    source.patch(json!({ "spec": { "selector": { "colour": "blue" } } })).await?;
    stage.ns.slices().until_leader(LEADER, "blue-0", SOON).await?;
    source.patch(json!({ "spec": { "selector": { "colour": "red" } } })).await?;
    stage.ns.slices().until_leaderless(LEADER, SOON).await?;
    // A selector of other labels altogether.
    stage.ns.pod("red-0").label("hue", "red").ready().create().await?;
    source.patch(json!({ "spec": { "selector": { "app": null, "colour": null, "hue": "red" } } })).await?;
    stage.ns.slices().until_leader(LEADER, "red-0", SOON).await?;
    let order = ["blue-0", "green-0", "blue-0", "nobody", "red-0"];
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), order);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_three_services_get_three_leader_services() -> Result<()> {
    let stage = Stage::new("p16").await?;
    let names = ["orders", "bills", "mail"];
    for name in names {
        stage.source(name).create().await?;
        stage.member(name, &format!("{name}-0")).ready().create().await?;
    }
    for name in names {
        let leader_service = format!("{name}-leader");
        stage.ns.slices().until_leader(&leader_service, &format!("{name}-0"), SOON).await?;
        assert_eq!(stage.made_for(name).await?, one_each(&leader_service));
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p16_five_writers_at_once_leave_one_leader_service() -> Result<()> {
    let stage = Stage::new("p16-writers").await?;
    let mark = stage.mark().await?;
    let source = stage.source("orders").create().await?;
    stage.member("orders", "orders-0").ready().create().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    let history = stage.ns.history().await?;
    try_join_all((0..5).map(async |writer| {
        let label = format!("writer-{writer}");
        for value in 0..10 {
            source.patch(json!({ "metadata": { "labels": { &label: format!("v{value}") } } })).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    let has_last = |labels: &BTreeMap<String, String>| {
        (0..5).all(|writer| labels.get(&format!("writer-{writer}")).is_some_and(|value| value == "v9"))
    };
    lab::until_object(&stage.ns.api::<Service>(), LEADER, SOON, |service: &Service| {
        has_last(service.labels())
    })
    .await?;
    stage.ns.slices().until(LEADER, SOON, |slice| has_last(slice.labels())).await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    let writes = stage.writes_since(mark).await?;
    let creations: Vec<_> = writes.iter().filter(|write| write.starts_with("create ")).collect();
    assert_eq!(
        creations,
        ["create services orders-leader", "create endpointslices orders-leader"],
        "{writes:?}"
    );
    assert_eq!(stage.made_for("orders").await?, one_each(LEADER));
    assert_eq!(leaders(&history.up_to_now().await?, LEADER), ["orders-0"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p17_a_service_without_selector_is_told_so_once() -> Result<()> {
    let stage = Stage::new("p17").await?;
    let bare = stage.ns.service("bare").annotation(ENABLED, "true").port("http", 80, 8080);
    let source = bare.create().await?;
    let notice = stage.until_notice("InvalidService").await?;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    for value in ["one", "two", "three"] {
        source.annotate("example.com/touched", Some(value)).await?;
    }
    stage.mark().await?;
    assert_eq!(stage.reasons_about("bare").await?, ["InvalidService"]);
    assert_eq!(stage.made_for("bare").await?, (vec![], vec![]));

    // It is like any other once it has a selector, and until it has none again.
    stage.member("bare", "bare-0").ready().create().await?;
    source.patch(json!({ "spec": { "selector": { "app": "bare" } } })).await?;
    stage.ns.slices().until_leader("bare-leader", "bare-0", SOON).await?;
    source.patch(json!({ "spec": { "selector": null } })).await?;
    stage.until_nothing_for("bare").await?;
    assert!(!stage.controller.log()?.contains("ERROR"), "{}", stage.controller.log()?);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn p17_a_service_that_is_gone_is_no_error() -> Result<()> {
    let stage = Stage::new("p17-gone").await?;
    let source = stage.source("orders").create().await?;
    let pod = stage.member("orders", "orders-0").ready().create().await?;
    stage.until_mirrored(LEADER, "orders-0").await?;
    let never = stage.ns.service("never").selector("app", "orders").port("http", 80, 8080).create().await?;
    never.delete().await?;
    // Its pods go on, and nobody asks for it.
    source.delete().await?;
    pod.unready().await?;
    stage.until_nothing_for("orders").await?;
    pod.vanish().await?;
    let mark = stage.mark().await?;
    assert_eq!(stage.writes_since(mark).await?, NOTHING);
    assert!(!stage.controller.log()?.contains("ERROR"), "{}", stage.controller.log()?);

    // One of the same name is another Service.
    stage.source("orders").create().await?;
    stage.member("orders", "orders-1").ready().create().await?;
    stage.ns.slices().until_leader(LEADER, "orders-1", SOON).await?;
    stage.end().await
}
