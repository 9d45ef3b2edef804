//! What a watch's status says, from its beginning on.

use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_watch_is_live_from_when_events_arrive() {
    let status = WatchStatus::new("pods of shop");
    assert_eq!((status.name(), status.state().phase), ("pods of shop", Phase::Waiting));
    status.begin();
    assert_eq!(status.state().phase, Phase::Listing);
    status.listed();
    assert_eq!((status.has_listed(), status.state().phase), (true, Phase::Opening));
    advance(SECOND).await;
    assert_eq!((status.down_for(), status.idle_for()), (SECOND, SECOND));
    status.live(false);
    assert!(status.is_live());
    assert_eq!((status.down_for(), status.idle_for()), (Duration::ZERO, Duration::ZERO));
    assert_eq!((status.reconnects(), status.relists(), status.malformed_objects()), (0, 0, 0));
}

/// Why it was lost stays visible while another list is wanted, until an answer comes.
#[tokio::test(start_paused = true)]
async fn a_reason_stays_until_there_is_an_answer() {
    let status = WatchStatus::new("pods");
    status.live(false);
    status.disconnected("refused");
    advance(SECOND).await;
    status.begin();
    assert_eq!((status.state().phase, status.down_for()), (Phase::Disconnected("refused".into()), SECOND));
    status.listing();
    assert_eq!((status.state().phase, status.down_for()), (Phase::Listing, SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_happens_again_is_counted() {
    let status = WatchStatus::new("pods");
    for again in [false, true, true] {
        status.live(again);
        status.listed();
        status.malformed();
    }
    assert_eq!((status.reconnects(), status.relists(), status.malformed_objects()), (2, 2, 3));
    advance(SECOND).await;
    status.active();
    assert_eq!(status.idle_for(), Duration::ZERO);
}
