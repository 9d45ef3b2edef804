//! Networks that fail.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams};
use lab::{Forwarder, Lab, Options, PacketDrop, Route, Token, within};
use tokio::time;

async fn client_of(lab: &Lab, forwarder: &Forwarder) -> Result<Client> {
    let connection = lab.control_plane.connection();
    let token = Token::Inline(connection.admin_token().into());
    lab::client(connection.kubeconfig(&forwarder.url(), lab::Authority::Inline, &token, "default")).await
}

async fn list(client: &Client) -> kube::Result<()> {
    Api::<Pod>::default_namespaced(client.clone()).list(&ListParams::default()).await.map(drop)
}

/// Whether a request stays without an answer for half a second.
async fn hangs(client: &Client) -> bool {
    time::timeout(Duration::from_millis(500), list(client)).await.is_err()
}

#[tokio::test]
async fn a_black_hole_answers_nothing_and_loses_nothing() -> Result<()> {
    let lab = Lab::shared().await?;
    let forwarder = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    let client = client_of(lab, &forwarder).await?;
    list(&client).await?;
    assert_eq!((forwarder.opened(), forwarder.open()), (1, 1));

    forwarder.black_hole().await?;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { list(&client).await }
    });
    assert!(hangs(&client_of(lab, &forwarder).await?).await);
    assert!(!waiting.is_finished());

    forwarder.forward().await?;
    waiting.await??;

    forwarder.black_hole_without_accepting().await?;
    let opened = forwarder.opened();
    assert!(hangs(&client_of(lab, &forwarder).await?).await);
    assert_eq!(forwarder.opened(), opened);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_resets_and_refuses_until_it_is_back() -> Result<()> {
    let lab = Lab::shared().await?;
    let forwarder = Forwarder::start([lab.control_plane.api_server(0).port()]).await?;
    let client = client_of(lab, &forwarder).await?;
    list(&client).await?;

    forwarder.refuse().await?;
    for _ in 0..2 {
        time::timeout(within(2), list(&client)).await?.err().context("it is down")?;
    }
    forwarder.forward().await?;
    list(&client).await?;
    assert_eq!(forwarder.opened(), 2);
    Ok(())
}

#[tokio::test]
async fn connections_go_where_they_are_routed() -> Result<()> {
    let lab = Lab::start(Options::two_api_servers()).await?;
    let ports = [0, 1].map(|index| lab.control_plane.api_server(index).port());
    let forwarder = Forwarder::start(ports).await?;
    let first = client_of(&lab, &forwarder).await?;
    list(&first).await?;

    forwarder.route(Route::To(1)).await?;
    list(&first).await?;
    assert_eq!((forwarder.opened_to(0), forwarder.opened_to(1)), (1, 0), "an open connection stays");
    list(&client_of(&lab, &forwarder).await?).await?;
    assert_eq!((forwarder.opened_to(0), forwarder.opened_to(1)), (1, 1));

    forwarder.route(Route::RoundRobin).await?;
    for _ in 0..4 {
        list(&client_of(&lab, &forwarder).await?).await?;
    }
    assert_eq!((forwarder.opened_to(0), forwarder.opened_to(1)), (3, 3));
    Ok(())
}

#[tokio::test]
async fn dropped_packets_silence_open_connections_and_no_others() -> Result<()> {
    if let Err(reason) = PacketDrop::available() {
        eprintln!("skipped: {reason:#}");
        return Ok(());
    }
    let lab = Lab::start(Options::default()).await?;
    let connection = lab.control_plane.connection();
    let port = lab.control_plane.api_server(0).port();
    let client = connection.client().await?;
    list(&client).await?;

    let dropped = PacketDrop::established(port, Some(std::process::id()))?;
    assert!(hangs(&client).await);
    assert!(dropped.packets()? > 0);
    list(&connection.client().await?).await?;
    drop(dropped);

    let dropped = PacketDrop::all(port)?;
    assert!(hangs(&connection.client().await?).await);
    drop(dropped);
    list(&connection.client().await?).await?;
    Ok(())
}
