//! What is answered, and when.

use http::Request;
use http_body_util::BodyExt as _;
use machine::{Epoch, Phase, Pod};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, yield_now};

use super::*;

fn orders() -> Key {
    Key { namespace: "shop".into(), name: "orders".into() }
}

fn led(epoch: u64) -> Term {
    Term::new(Some(Pod::new("orders-0", &format!("uid-{epoch}"))), Some(Epoch(epoch)), Phase::Elected)
}

fn over(epoch: u64) -> Term {
    Term::new(None, Some(Epoch(epoch)), Phase::Leaderless)
}

/// A health that is well.
fn healthy() -> Health {
    let health = Health::new();
    health.set_synced(true);
    health
}

async fn get(board: Arc<Board>, health: Health, target: String) -> (StatusCode, String) {
    let (head, ()) = Request::get(target).body(()).unwrap().into_parts();
    let answer = routes(&board, &health).answer(head).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// One that waits for what comes after this.
fn waiting(board: &Arc<Board>, after: &str) -> JoinHandle<(StatusCode, String)> {
    tokio::spawn(get(board.clone(), healthy(), format!("/leader/shop/orders?after={after}")))
}

/// Whether it is still waiting, when everything else that can happen has happened.
async fn waits(client: &JoinHandle<(StatusCode, String)>) -> bool {
    for _ in 0..10 {
        yield_now().await;
    }
    !client.is_finished()
}

#[tokio::test]
async fn leader_and_epoch_are_told_in_one_piece() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    let (status, body) = get(board.clone(), healthy(), "/leader/shop/orders".into()).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "namespace": "shop", "service": "orders", "leader": "orders-0", "uid": "uid-7", "epoch": 7,
        "phase": "Elected", "after": "7", "fresh": true,
    });
    assert_eq!((status, told), (StatusCode::OK, expected));
    board.tell(orders(), Some(over(7)));
    let (_, body) = get(board, Health::new(), "/leader/shop/orders".into()).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "namespace": "shop", "service": "orders", "leader": null, "uid": null, "epoch": 7,
        "phase": "Leaderless", "after": "7,over", "fresh": false,
    });
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_answered_at_the_end_of_the_term_and_at_the_next_one() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    let [at_end, at_next] = ["7", "7%2Cover"].map(|after| waiting(&board, after));
    assert!(waits(&at_end).await && waits(&at_next).await);
    // Another phase is no other term, and a lower epoch no news.
    board.tell(
        orders(),
        Some(Term::new(Some(Pod::new("orders-0", "uid-7")), Some(Epoch(7)), Phase::Draining)),
    );
    board.tell(orders(), Some(over(6)));
    assert!(waits(&at_end).await && waits(&at_next).await);
    board.tell(orders(), Some(over(7)));
    assert!(at_end.await.unwrap().1.contains("\"after\":\"7,over\""));
    assert!(waits(&at_next).await);
    board.tell(orders(), Some(led(8)));
    assert!(at_next.await.unwrap().1.contains("\"epoch\":8"));
    let at_once = waiting(&board, "7");
    assert!(!waits(&at_once).await, "that is over already");
}

/// A thousand would, twice for each failover, before the change that they wait for.
#[tokio::test]
async fn another_phase_wakes_up_nobody_and_is_told_to_who_asks() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    let waiting = board.listen(&orders()).unwrap();
    let draining = Term::new(Some(Pod::new("orders-0", "uid-7")), Some(Epoch(7)), Phase::Draining);
    board.tell(orders(), Some(draining));
    assert!(!waiting.has_changed().unwrap());
    let (_, body) = get(board.clone(), healthy(), "/leader/shop/orders".into()).await;
    assert!(body.contains("\"phase\":\"Draining\""), "{body}");
    board.tell(orders(), Some(over(7)));
    assert!(waiting.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_long_is_told_what_there_is() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    let begun = tokio::time::Instant::now();
    let (status, body) = waiting(&board, "7").await.unwrap();
    assert_eq!((status, begun.elapsed()), (StatusCode::OK, WAIT));
    assert!(body.contains("\"epoch\":7"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn what_opts_out_is_told_to_those_who_wait_and_unknown_then() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    let client = waiting(&board, "7");
    assert!(waits(&client).await);
    board.tell(orders(), None);
    let (status, body) = client.await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("nobody is elected for shop/orders"), "{body}");
    // Before the first lists are in, nothing is known of anybody.
    let (status, body) = get(board, Health::new(), "/leader/shop/orders".into()).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("/readyz"), "{status} {body}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let board = Arc::new(Board::default());
    board.tell(orders(), Some(led(7)));
    for (target, status, words) in [
        ("/leader/shop/orders?after=soon", StatusCode::BAD_REQUEST, "after=\"soon\" makes no sense"),
        ("/leader/shop/orders?after=7,soon", StatusCode::BAD_REQUEST, "after=\"7,soon\" makes no sense"),
        ("/leader/shop/orders?epoch=7", StatusCode::BAD_REQUEST, "\"epoch=7\" is not known here"),
        ("/leader/shop", StatusCode::NOT_FOUND, "/leader/NAMESPACE/SERVICE"),
        ("/leader/shop/orders/log", StatusCode::NOT_FOUND, "/leader/NAMESPACE/SERVICE"),
        ("/leader", StatusCode::NOT_FOUND, "/leader/NAMESPACE/SERVICE"),
        ("/", StatusCode::NOT_FOUND, "/leader/"),
    ] {
        let (told, body) = get(board.clone(), healthy(), target.into()).await;
        assert!(told == status && body.contains(words), "{target}: {told} {body}");
    }
}
