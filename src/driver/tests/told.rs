//! What those who ask for leaders are told.

use serde_json::json;

use super::super::{Driver, Feed};
use super::{driver, hear, led, readiness, server};
use crate::kinds::fixtures::pod;
use crate::leaders::{Leaders, Said};
use crate::watch::Change;

/// What was said since, to the other thread.
fn said(said: &mut Said) -> Vec<bool> {
    std::iter::from_fn(|| said.try_recv().ok()).map(|(_, term)| term.is_some()).collect()
}

fn label(driver: &mut Driver, version: &str) {
    let metadata = json!({ "resourceVersion": version, "labels": { "app": "orders", "seen": version } });
    driver.told(Feed::Pods(0, Change::Applied(pod(&json!({ "metadata": metadata })))));
}

/// Each message wakes up a thread.
#[tokio::test(start_paused = true)]
async fn a_step_after_which_the_leader_is_the_same_is_not_told() {
    let server = server(100);
    let mut driver = driver(&server);
    let (leaders, mut sayings) = Leaders::new();
    driver.leaders = Some(leaders);
    led(&mut driver).await;
    assert_eq!(said(&mut sayings).last(), Some(&true));
    label(&mut driver, "2000");
    hear(&mut driver).await;
    assert!(said(&mut sayings).is_empty(), "nothing has changed");
    driver.told(readiness("orders-0", "a0", "2001", "False"));
    hear(&mut driver).await;
    assert!(!said(&mut sayings).is_empty());
}

/// What was told of the former election is forgotten, and told again of the next.
#[tokio::test(start_paused = true)]
async fn whoever_opts_in_again_is_told_anew() {
    let server = server(100);
    let mut driver = driver(&server);
    let (leaders, mut sayings) = Leaders::new();
    driver.leaders = Some(leaders);
    led(&mut driver).await;
    said(&mut sayings);
    super::successors::opt_out_and_in(&mut driver).await;
    let said = said(&mut sayings);
    assert!(said.contains(&false) && said.last() == Some(&true), "{said:?}");
}
