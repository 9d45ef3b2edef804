//! Watches: what was committed since a version, then whatever is, in order, as late as the watch is.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout_at};
use tower::BoxError;

use crate::net::{Net, State};
use crate::server::{Ask, status};
use crate::store::{Commit, Refusal, Told, versioned};
use crate::time::{Moment, now};

/// One watch.
struct Watch {
    net: Net,
    replica: usize,
    ask: Ask,
    told: UnboundedReceiver<Told>,
    /// The link's cuts when it began.
    cuts: u64,
    /// Nothing up to this version is told: a store that was restored comes to it again.
    from: u64,
    ends: Instant,
}

/// Begins a watch from the version that is asked for.
pub(crate) fn open(net: &Net, replica: usize, ask: &Ask) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
    let sabotaged = {
        let state = net.state();
        state
            .saboteur
            .as_ref()
            .filter(|_| replica < state.ours)
            .map(|saboteur| saboteur.request(ask, &state.store))
    };
    let ask = sabotaged.as_ref().unwrap_or(ask);
    let from = ask.parameter("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0_u64);
    let seconds = ask.parameter("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let (sink, told) = unbounded_channel();
    let cuts = {
        let mut state = net.state();
        if from < state.store.compacted {
            let refusal = Refusal::new(410, "Expired", format!("too old resource version: {from}"));
            return line("ERROR", &status(&refusal)).map(whole);
        }
        for commit in state.store.since(from) {
            if commit.resource == ask.resource {
                // The receiver is here.
                let _ = sink.send(Told::Change(commit.clone()));
            }
        }
        state.store.watchers.push((ask.resource, sink));
        state.links[replica].cuts
    };
    let ends = Instant::now() + Duration::from_secs(seconds);
    let watch = Watch { net: net.clone(), replica, ask: ask.clone(), told, cuts, from, ends };
    let lines = stream::unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        match watch.next().await {
            Some(Ok(line)) => Some((Ok(Frame::data(line)), Some(watch))),
            Some(Err(error)) => Some((Err(BoxError::from(error)), None)),
            None => None,
        }
    });
    Response::new(StreamBody::new(Box::pin(lines)).boxed_unsync())
}

fn whole(line: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    StreamBody::new(stream::iter([Ok(Frame::data(line))])).boxed_unsync()
}

fn line(kind: &str, object: &Value) -> Response<Bytes> {
    // The real server writes `type` first.
    Response::new(Bytes::from(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")))
}

impl Watch {
    /// The next line; none: the server ends the watch.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let told = timeout_at(self.ends, self.told.recv()).await.ok().flatten();
            let at = match &told {
                Some(Told::Change(commit)) => commit.at,
                Some(Told::Bookmark(_, at)) => *at,
                None => now(),
            };
            self.arrival(at).await;
            if self.net.state().links[self.replica].cuts != self.cuts {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let said = match told? {
                Told::Change(commit) if commit.version <= self.from => None,
                Told::Change(commit) => self.meaning(&commit),
                Told::Bookmark(version, _) if version < self.from => None,
                Told::Bookmark(version, _) => {
                    let mark = json!({ "metadata": { "resourceVersion": version.to_string() } });
                    Some(("BOOKMARK", mark))
                }
            };
            let Some((kind, object)) = said else { continue };
            let mut state = self.net.state();
            let State { store, links, ours, saboteur, steps, .. } = &mut *state;
            *steps += 1;
            let object = match saboteur.as_mut().filter(|_| self.replica < *ours) {
                None => Some(object),
                Some(saboteur) => {
                    let life = (self.replica, links[self.replica].life);
                    saboteur.line(life, &self.ask, kind, object, store)
                }
            };
            let Some(object) = object else { continue };
            return Some(Ok(line(kind, &object).into_body()));
        }
    }

    /// Waits until what happened at `at` arrives.
    async fn arrival(&self, at: Moment) {
        loop {
            let arrives = {
                let state = self.net.state();
                let link = &state.links[self.replica];
                (at + 1 + link.lag(self.ask.resource)).max(link.open_at())
            };
            let Some(wait) = arrives.checked_sub(now()).filter(|wait| *wait > 0) else { return };
            sleep(Duration::from_millis(wait)).await;
        }
    }

    /// What a change is to this watch: objects come and go also by their labels.
    fn meaning(&self, commit: &Commit) -> Option<(&'static str, Value)> {
        if !self.ask.covers(&commit.namespace) {
            return None;
        }
        let before = commit.before.as_deref().filter(|object| self.ask.selects(object));
        let after = commit.after.as_deref().filter(|object| self.ask.selects(object));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(("ADDED", after.clone())),
            (Some(_), Some(after)) => Some(("MODIFIED", after.clone())),
            (Some(before), None) => Some(("DELETED", versioned(before, commit.version))),
        }
    }
}
