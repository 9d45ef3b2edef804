//! `zen-lead why`.

use anyhow::Result;
use serde_json::Value;

use crate::program::zen_lead;
use crate::support::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn each_member_has_a_reason() -> Result<()> {
    let mut stage = Stage::new("why").await?;
    let (source, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    source.annotate("zen-lead.io/min-ready-duration", Some("1000h")).await?;
    stage.member("orders", "orders-2").annotation("zen-lead.io/priority", "5").ready().create().await?;
    stage.member("orders", "orders-3").create().await?.unready().await?;
    stage.member("orders", "orders-4").annotation("zen-lead.io/never-lead", "true").ready().create().await?;
    stage.member("orders", "orders-5").ready().create().await?.phase("Succeeded").await?;
    stage.all_is_seen().await?;
    let told = zen_lead(&stage.ns, &["why", "orders"])?.told(&stage.ns);
    let (_, rules) = told.split_once("Rules:").unwrap_or_default();
    let mut lines: Vec<&str> = rules.lines().collect();
    // Who will be eligible first comes first, and that is told to the second.
    lines[4..].sort_unstable();
    assert_eq!(
        lines.join("\n"),
        "   rank by higher priority, then newest revision during a rollout, then oldest pod
                chosen after being Ready for AGE

RANK   POD   VERDICT   REASON
-   orders-0   leads   fit, and nobody else can lead now
-   orders-1   soon   can lead in AGE: Ready for less than min-ready-duration
-   orders-2   soon   can lead in AGE: Ready for less than min-ready-duration
-   orders-3   cannot   not Ready for AGE
-   orders-4   cannot   zen-lead.io/never-lead
-   orders-5   cannot   its containers are done"
    );
    source.annotate("zen-lead.io/min-ready-duration", None).await?;
    let told = zen_lead(&stage.ns, &["why", "orders"])?.told(&stage.ns);
    let (_, pods_told) = told.split_once("\n\n").unwrap_or_default();
    assert_eq!(
        pods_told,
        "\
RANK   POD   VERDICT   REASON
1   orders-2   next   leads if the leader is lost
2   orders-0   leads   fit: a better-ranked pod does not take over (failback: never)
3   orders-1   could   others rank before it
-   orders-3   cannot   not Ready for AGE
-   orders-4   cannot   zen-lead.io/never-lead
-   orders-5   cannot   its containers are done"
    );
    source.annotate("zen-lead.io/max-switches", Some("1/1000h")).await?;
    // Then the controller, too, knows of changes only what the leader Service tells.
    stage.restart().await?;
    source.annotate("zen-lead.io/failback", Some("immediate")).await?;
    stage.all_is_seen().await?;
    let told = zen_lead(&stage.ns, &["why", "orders"])?.told(&stage.ns);
    for words in [
        "a fit leader stays after 1 change of leader within AGE, unless a person asks",
        "2   orders-0   leads   fit: orders-2 takes over in AGE, when max-switches allows it",
    ] {
        assert!(told.contains(words), "{told}");
    }
    source.annotate("zen-lead.io/failback", None).await?;
    let json = zen_lead(&stage.ns, &["why", "orders", "-o", "json"])?;
    let answer: Value = serde_json::from_str(&json.told)?;
    assert_eq!(answer["successor"], "orders-2");
    assert_eq!(answer["pods"][0]["verdict"], "next");
    assert_eq!(answer["pods"][0]["priority"], 5);
    stage.end().await
}

/// What it says would follow does follow.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_next_is_who_follows() -> Result<()> {
    let stage = Stage::new("next").await?;
    let (_, pods) = stage.led("orders", 3).await?;
    pods[2].annotate("zen-lead.io/priority", Some("1")).await?;
    stage.all_is_seen().await?;
    let answer: Value = serde_json::from_str(&zen_lead(&stage.ns, &["why", "orders", "-o", "json"])?.told)?;
    assert_eq!(answer["successor"], "orders-2");
    pods[0].unready().await?;
    stage.until_led("orders", &pods[2]).await?;
    stage.end().await
}
