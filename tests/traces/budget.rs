//! What a failover may take, and who is told when it takes longer.

use anyhow::{Context as _, Result};
use lab::Status;

use crate::Traced;

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_over_its_budget_is_told_while_it_goes_on() -> Result<()> {
    let traced = Traced::new("t-budget").await?;
    let source =
        traced.stage.source("orders").annotation("zen-lead.io/failover-budget", "300ms").create().await?;
    let [first, second] = traced.stage.pair().await?;
    let broken = traced.stage.break_writes_of_slices("UPDATE").await?;
    first.unready().await?;
    // Before anything can come of it.
    let notice =
        traced.stage.until_told("BudgetExceeded", &["of 0.300 s and is not over", "Reelecting"]).await?;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    assert_eq!(notice.regarding.and_then(|regarding| regarding.uid).as_deref(), Some(source.uid()));
    traced.stage.mend_writes_of_slices(broken).await?;
    traced.stage.until_led("orders", &second).await?;
    let trace = traced.trace("unready", "elected").await?;
    let root = trace.root()?;
    assert_eq!(root.attributes["zen_lead.budget.limit_ms"], 300.0);
    assert_eq!(root.attributes["zen_lead.budget.exceeded"], true);
    assert_eq!(root.status, Status::Error("took longer than its budget".into()));
    let note = notice.note.context("a note")?;
    assert!(note.contains(trace.id()), "the notice names the trace: {note}");
    // Once, however long it took.
    traced.stage.all_is_seen().await?;
    let told = traced.stage.reasons_about("orders").await?;
    assert_eq!(told.iter().filter(|reason| *reason == "BudgetExceeded").count(), 1, "{told:?}");
    traced.stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flag_is_for_services_that_say_nothing_and_a_bad_annotation_is_told() -> Result<()> {
    let traced = Traced::with("t-flag", &[], &["--failover-budget=1us"]).await?;
    traced.stage.led("orders", 1).await?;
    traced.stage.until_told("BudgetExceeded", &["of 0.000 s"]).await?;
    traced.stage.source("shop").annotation("zen-lead.io/failover-budget", "0s").create().await?;
    traced.stage.until_told("InvalidConfiguration", &["failover-budget", "--failover-budget"]).await?;
    let patient =
        traced.stage.source("patient").annotation("zen-lead.io/failover-budget", "10m").create().await?;
    let pod = traced.stage.member("patient", "patient-0").ready().create().await?;
    traced.stage.until_led("patient", &pod).await?;
    traced.stage.all_is_seen().await?;
    let told = traced.stage.reasons_about(patient.name()).await?;
    assert!(!told.contains(&"BudgetExceeded".to_owned()), "{told:?}");
    traced.stage.end().await
}
