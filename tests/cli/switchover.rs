//! `zen-lead switchover`.

use anyhow::Result;
use tokio::task::spawn_blocking;

use crate::program::{run, zen_lead};
use crate::support::{Stage, leaders};

const SWITCHOVER: &str = "zen-lead.io/switchover-to";

#[tokio::test(flavor = "multi_thread")]
async fn the_best_or_the_named_pod_takes_over_and_nobody_is_never_published() -> Result<()> {
    let stage = Stage::new("switchover").await?;
    let (_, pods) = stage.led("orders", 3).await?;
    let history = stage.ns.history().await?;
    let done = zen_lead(&stage.ns, &["switchover", "orders", "--wait"])?;
    assert_eq!(done.told(&stage.ns), "NS/orders: handed over from orders-0 to orders-1 in SPAN, epoch EPOCH");
    stage.until_led("orders", &pods[1]).await?;
    let done = zen_lead(&stage.ns, &["switchover", "orders", "--to", "orders-2", "--wait"])?;
    assert_eq!(done.told(&stage.ns), "NS/orders: handed over from orders-1 to orders-2 in SPAN, epoch EPOCH");
    let again = zen_lead(&stage.ns, &["switchover", "orders", "--to", "pod/orders-2", "--wait"])?;
    assert_eq!(again.told(&stage.ns), "NS/orders: orders-2 leads already");
    let asked = zen_lead(&stage.ns, &["switchover", "orders", "--to=orders-0"])?;
    assert_eq!(asked.told(&stage.ns), "NS/orders: asked to hand over from orders-2 to orders-0, until TIME");
    stage.until_led("orders", &pods[0]).await?;
    let seen = leaders(&history.up_to_now().await?, "orders-leader");
    assert_eq!(seen, ["orders-0", "orders-1", "orders-2", "orders-0"]);
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_asks_for_nothing() -> Result<()> {
    let stage = Stage::new("trial").await?;
    let (source, _) = stage.led("orders", 2).await?;
    let done = zen_lead(&stage.ns, &["switchover", "orders", "--wait", "--dry-run"])?;
    assert_eq!(done.told(&stage.ns), "NS/orders: would hand over from orders-0 to orders-1 (dry run)");
    let annotations = source.get().await?.metadata.annotations.unwrap_or_default();
    assert!(!annotations.contains_key(SWITCHOVER), "{annotations:?}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_come_about_is_not_asked_for() -> Result<()> {
    let stage = Stage::new("refused").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    pods[1].unready().await?;
    let refusal = |arguments: &[&str]| {
        let arguments = [&["switchover", "orders"], arguments].concat();
        zen_lead(&stage.ns, &arguments).map(|done| done.refusal(&stage.ns))
    };
    assert_eq!(refusal(&["--to", "orders-1"])?, "NS/orders: orders-1 cannot lead: not Ready");
    assert_eq!(refusal(&[])?, "NS/orders: nobody can follow: zen-lead why NS/orders tells why");
    assert_eq!(
        refusal(&["--to", "orders-9"])?,
        "NS/orders: orders-9 is no member: those are orders-0, orders-1"
    );
    pods[1].ready().await?;
    source.annotate("zen-lead.io/paused", Some("true")).await?;
    assert_eq!(refusal(&[])?, "NS/orders: it is paused: zen-lead resume NS/orders comes first");
    source.annotate("zen-lead.io/paused", None).await?;
    // Another one's request, which waits for a pod that is not there.
    source.annotate(SWITCHOVER, Some("orders-7/uid;token;2096-01-31T18:00:00Z")).await?;
    assert_eq!(
        refusal(&[])?,
        "NS/orders: a handover to orders-7 is asked for already until TIME: wait for it, or take the annotation \
         zen-lead.io/switchover-to off"
    );
    let annotations = source.get().await?.metadata.annotations.unwrap_or_default();
    assert!(annotations[SWITCHOVER].starts_with("orders-7/"), "{annotations:?}");
    stage.end().await
}

/// Each reads, finds no request, and writes: neither may overwrite the other's unseen.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_at_once_one_is_refused() -> Result<()> {
    let mut stage = Stage::new("twice").await?;
    let (source, _) = stage.led("orders", 3).await?;
    // So that nothing comes of them.
    stage.controller.stop()?;
    let kubeconfig = stage.ns.kubeconfig_admin()?;
    for round in 0..8 {
        let ask = |to: &'static str| {
            let kubeconfig = kubeconfig.clone();
            spawn_blocking(move || run(&kubeconfig, &["switchover", "orders", "--to", to]))
        };
        let (one, two) = tokio::try_join!(ask("orders-1"), ask("orders-2"))?;
        let (one, two) = (one?, two?);
        let (placed, refused) = if one.code == Some(0) { (one, two) } else { (two, one) };
        assert_eq!((placed.code, refused.code), (Some(0), Some(1)), "round {round}: {placed:?} {refused:?}");
        assert!(refused.complained.contains("is asked for already"), "round {round}: {refused:?}");
        source.annotate(SWITCHOVER, None).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_controller_it_says_that_nobody_answers() -> Result<()> {
    let mut stage = Stage::new("nobody").await?;
    stage.led("orders", 2).await?;
    stage.controller.stop()?;
    let done = zen_lead(&stage.ns, &["switchover", "orders", "--wait", "--timeout", "1s"])?;
    let refusal = done.refusal(&stage.ns);
    assert_eq!(
        refusal,
        "NS/orders: not handed over to orders-1: nobody has answered within SPAN, and the request is over; is a \
         controller running?"
    );
    Ok(())
}

/// The pod that was asked for is lost after the request was placed, and before a controller sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_words_of_the_notice() -> Result<()> {
    let mut stage = Stage::new("lapsed").await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.controller.stop()?;
    let ns = stage.ns.clone();
    let waiting = tokio::task::spawn_blocking(move || {
        let mut program = std::process::Command::new(crate::program::program());
        program.args(["switchover", "orders", "--wait", "--timeout", "3s", "--kubeconfig"]);
        program.arg(ns.kubeconfig_admin()?);
        let output = program.output()?;
        anyhow::Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    });
    let requested = |service: &k8s_openapi::api::core::v1::Service| {
        service.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(SWITCHOVER))
    };
    lab::until_object(&stage.services_api(), "orders", crate::support::SOON, requested).await?;
    pods[1].unready().await?;
    stage.controller = stage.another(&[]).await?;
    let (code, complained) = waiting.await??;
    assert_eq!(code, Some(1), "{complained}");
    let words = "not handed over to orders-1: The handover will not come about";
    assert!(complained.contains(words), "{complained}");
    stage.end().await
}
