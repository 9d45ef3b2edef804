//! `zen-lead history` and `log`.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::program::{masked, program, zen_lead};
use crate::support::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn notices_and_the_flight_recorder_tell_what_happened() -> Result<()> {
    let port = lab::free_port()?;
    let address = format!("http://127.0.0.1:{port}");
    let stage = Stage::with("history", &[&format!("--debug-bind-address=127.0.0.1:{port}")]).await?;
    let (_, pods) = stage.led("orders", 2).await?;
    stage.until_announced("orders", &pods[0], "LeaderElected").await?;
    pods[0].unready().await?;
    stage.until_announced("orders", &pods[1], "LeaderChanged").await?;
    pods[1].unready().await?;
    stage.until_notice("LeaderLost").await?;
    pods[0].ready().await?;
    stage.until_notice("LeaderRecovered").await?;
    pods[1].ready().await?;
    let done = zen_lead(&stage.ns, &["switchover", "orders", "--wait"])?;
    assert_eq!(done.code, Some(0), "{done:?}");
    stage.until_notice("SwitchoverCompleted").await?;

    let done = zen_lead(&stage.ns, &["history", "orders"])?;
    assert_eq!(done.code, Some(0), "{done:?}");
    // There are no kubelets here, which could forward a port.
    assert_eq!(
        done.complained,
        "warning: told from notices alone: no pod of the controller runs in namespace zen-lead-system: name its \
         namespace with --controller-namespace\n"
    );
    assert_eq!(
        masked(&done.told, &stage.ns),
        "\
WHEN   CAUSE   FROM   TO   EPOCH   TOOK   PHASES
TIME   first_election   -   orders-0   EPOCH   -   -
TIME   unready   orders-0   orders-1   EPOCH   -   -
TIME   unready   orders-1   orders-0   EPOCH   SPAN   Leaderless SPAN
TIME   switchover   orders-0   orders-1   EPOCH   -   -"
    );
    let done = zen_lead(&stage.ns, &["history", "orders", "--debug-address", &address])?;
    assert_eq!(
        done.told(&stage.ns),
        "\
WHEN   CAUSE   FROM   TO   EPOCH   TOOK   PHASES
TIME   first_election   -   orders-0   EPOCH   SPAN   Reelecting SPAN
TIME   unready   orders-0   orders-1   EPOCH   SPAN   Reelecting SPAN
TIME   unready   orders-1   orders-0   EPOCH   SPAN   Leaderless SPAN, Reelecting SPAN
TIME   switchover   orders-0   orders-1   EPOCH   SPAN   Reelecting SPAN"
    );
    let json = zen_lead(&stage.ns, &["history", "orders", "-o", "json"])?;
    let answer: Value = serde_json::from_str(&json.told)?;
    assert_eq!(answer["items"][2]["phases"][0]["phase"], "Leaderless");

    let log = zen_lead(&stage.ns, &["log", "orders", "--debug-address", &address])?;
    assert_eq!((log.code, &*log.complained), (Some(0), ""));
    let file = stage.ns.kubeconfig_admin()?.with_extension("jsonl");
    std::fs::write(&file, &log.told)?;
    let mut replay = Command::new(program());
    replay.arg("replay").arg(&file);
    let replayed = crate::program::finish(replay)?;
    assert_eq!(replayed.code, Some(0), "{replayed:?}");

    let unknown = zen_lead(&stage.ns, &["log", "carts", "--debug-address", &address])?.refusal(&stage.ns);
    let words = "nothing of NS/carts: 404 Not Found: nothing is recorded of it";
    assert!(unknown.contains(words), "{unknown}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_of_no_use_is_named_with_what_is() -> Result<()> {
    let ns = lab::Lab::shared().await?.namespace("forward").await?;
    let nobody = format!("http://127.0.0.1:{}", lab::free_port()?);
    let refusal = zen_lead(&ns, &["log", "orders", "--debug-address", &nobody])?.refusal(&ns);
    assert_eq!(
        refusal,
        format!(
            "the flight recorder at {nobody}: it refuses connections: it is down, or the address is wrong; without \
             --debug-address a port is forwarded to the controller"
        )
    );
    let wrong = zen_lead(&ns, &["log", "orders", "--debug-address", "localhost"])?.refusal(&ns);
    assert!(wrong.starts_with("the flight recorder at localhost: "), "{wrong}");
    // One way or the other.
    let both = ["log", "orders", "--debug-address", &nobody, "--debug-port=1"];
    assert_eq!(zen_lead(&ns, &both)?.code, Some(2));
    Ok(())
}
