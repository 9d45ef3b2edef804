//! `/leader`: who leads a Service, and in which term, for applications that have their writes fenced by the epoch.
//!
//! Leader and epoch are told in one piece, as one revision of the leader slice has them. So a pod never reads a newer
//! term than its own together with its own UID, however late it reads; see README, "Fencing".
//!
//! All of this runs on a thread of its own, so that thousands that wait for a change cost the deciding task no more than
//! one message.

mod board;

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use machine::Election;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

pub(crate) use self::board::Term;
use self::board::{After, Board};
use crate::health::Health;
use crate::managed::Key;
use crate::serve::{self, Answer, Routes, text};

/// Clients that may wait at once. Each is a connection.
const CONNECTIONS: usize = 8_192;

/// Whoever waits for a change is answered after this time without one, and asks again: less than what proxies allow.
const WAIT: Duration = Duration::from_secs(25);

const LEADER: &str = "/leader/";

/// What comes out where it is told.
pub(crate) type Said = mpsc::UnboundedReceiver<(Key, Option<Term>)>;

/// Takes what is to be told. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Leaders {
    changes: mpsc::UnboundedSender<(Key, Option<Term>)>,
}

impl Leaders {
    pub(crate) fn new() -> (Self, Said) {
        let (changes, said) = mpsc::unbounded_channel();
        (Self { changes }, said)
    }

    /// How an election stands now, and what was told of it last. Says nothing while that is so still, nor while it is not
    /// known what is published, so that what was told last holds.
    pub(crate) fn service_is(&self, key: &Key, election: &Election, told: &mut Option<Term>) {
        if let Some(term) = Term::of(election)
            && told.as_ref() != Some(&term)
        {
            *told = Some(term.clone());
            // The other end is gone when the process ends.
            let _ = self.changes.send((key.clone(), Some(term)));
        }
    }

    /// The Service has opted out or is gone.
    pub(crate) fn forget(&self, key: &Key) {
        let _ = self.changes.send((key.clone(), None));
    }
}

/// Serves `/leader` on a thread of its own, for as long as the [`Leaders`] are there. The receiver is dropped when that
/// ends.
pub(crate) fn serve(listener: TcpListener, health: Health) -> io::Result<(Leaders, oneshot::Receiver<()>)> {
    let listener = listener.into_std()?;
    allow_connections();
    let (leaders, mut told) = Leaders::new();
    let (alive, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("leaders".into()).spawn(move || {
        let _alive = alive;
        runtime.block_on(async move {
            let board = Arc::new(Board::default());
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return warn!(%error, "cannot serve {LEADER}"),
            };
            let tell = async {
                while let Some((key, term)) = told.recv().await {
                    board.tell(key, term);
                }
            };
            tokio::select! {
                () = tell => {}
                () = serve::serve(listener, routes(&board, &health), CONNECTIONS) => {}
            }
        });
    })?;
    Ok((leaders, ended))
}

/// A process may open a thousand files unless it asks for more. A connection is a file.
fn allow_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "cannot raise the number of files that may be open, and so of clients of {LEADER}");
    }
}

fn routes(board: &Arc<Board>, health: &Health) -> Routes {
    let (board, health) = (board.clone(), health.clone());
    Routes::new().with("/leader", |_| ready(usage())).with_below(LEADER, move |head| {
        let (board, health) = (board.clone(), health.clone());
        async move { answer(&board, &health, &head).await }
    })
}

async fn answer(board: &Board, health: &Health, head: &Parts) -> Answer {
    let path = head.uri.path().strip_prefix(LEADER).unwrap_or_default();
    let Some((namespace, name)) = path.split_once('/').filter(|(_, name)| !name.contains('/')) else {
        return usage();
    };
    let key = Key { namespace: namespace.into(), name: name.into() };
    let after = match after(head.uri.query().unwrap_or_default()) {
        Ok(after) => after,
        Err(refusal) => return text(StatusCode::BAD_REQUEST, refusal),
    };
    let Some(mut told) = board.listen(&key) else { return unknown(&key, health) };
    if let Some(after) = after
        && let Ok(Err(_)) = timeout(WAIT, told.wait_for(|told| after.is_over(told.term()))).await
    {
        return unknown(&key, health);
    }
    let line = told.borrow().line(health.is_ready());
    let mut answer = text(StatusCode::OK, line);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What to wait for, if anything.
fn after(query: &str) -> Result<Option<After>, String> {
    let mut after = None;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("after", value)) => {
                let value = percent_decode_str(value).decode_utf8_lossy();
                let Some(parsed) = After::parse(&value) else {
                    return Err(format!(
                        "after={value:?} makes no sense: give the `after` of the last answer, or an epoch\n"
                    ));
                };
                after = Some(parsed);
            }
            _ => return Err(format!("{part:?} is not known here; there is only after=EPOCH\n")),
        }
    }
    Ok(after)
}

fn usage() -> Answer {
    text(StatusCode::NOT_FOUND, format!("not found; try {LEADER}NAMESPACE/SERVICE or ...?after=EPOCH\n"))
}

fn unknown(key: &Key, health: &Health) -> Answer {
    if health.is_ready() {
        let why = format!("nobody is elected for {key}: it is not watched, or has not opted in\n");
        return text(StatusCode::NOT_FOUND, why);
    }
    let mut answer =
        text(StatusCode::SERVICE_UNAVAILABLE, format!("nothing is known of {key} yet; /readyz says why\n"));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests;
