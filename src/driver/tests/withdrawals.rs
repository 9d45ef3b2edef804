//! Leaving nobody in a slice, decided on what was known before a watch of pods went away.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::advance;

use super::{Driver, Feed, PODS, SLICES, Server, driver, hear, led, readiness, server};
use crate::driver::held::CATCH_UP;

/// The endpoints that the slice was last given.
fn endpoints(server: &Server) -> Value {
    server.slices.lock().unwrap().last().unwrap().0["endpoints"].clone()
}

/// Nobody can lead, and no pods are seen any more.
async fn blind() -> (Arc<Server>, Driver) {
    let server = server(100);
    let mut driver = driver(&server);
    led(&mut driver).await;
    driver.told(readiness("orders-1", "a1", "2000", "False"));
    driver.told(Feed::Disconnected(PODS));
    driver.told(readiness("orders-0", "a0", "2001", "False"));
    hear(&mut driver).await;
    advance(Duration::from_mins(1)).await;
    hear(&mut driver).await;
    (server, driver)
}

#[tokio::test(start_paused = true)]
async fn i6_nobody_is_withdrawn_until_pods_are_seen_again() {
    let (server, mut driver) = blind().await;
    assert_eq!(endpoints(&server)[0]["targetRef"]["name"], "orders-0");
    driver.told(Feed::Reconnected(SLICES));
    hear(&mut driver).await;
    assert_eq!(endpoints(&server)[0]["targetRef"]["name"], "orders-0", "a watch of something else");

    driver.told(Feed::Reconnected(PODS));
    hear(&mut driver).await;
    assert_eq!(endpoints(&server)[0]["targetRef"]["name"], "orders-0", "nothing was told yet");
    advance(CATCH_UP).await;
    hear(&mut driver).await;
    assert_eq!(endpoints(&server), json!([]));
}

#[tokio::test(start_paused = true)]
async fn i6_whoever_is_fit_again_when_pods_are_seen_again_was_never_withdrawn() {
    let (server, mut driver) = blind().await;
    driver.told(Feed::Reconnected(PODS));
    driver.told(readiness("orders-0", "a0", "2002", "True"));
    hear(&mut driver).await;
    advance(CATCH_UP).await;
    hear(&mut driver).await;
    let slices = server.slices.lock().unwrap();
    let shown: Vec<_> =
        slices.iter().map(|(sent, _)| sent["endpoints"][0]["targetRef"]["name"].clone()).collect();
    assert_eq!(shown[shown.len() - 1], "orders-0");
    assert!(!shown[1..].contains(&Value::Null), "{shown:?}");
}
