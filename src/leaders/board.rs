//! What was told last of each Service, and who waits for more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use machine::{Election, Epoch, Phase, Pod, Shown};
use serde::Serialize;
use tokio::sync::watch;

use crate::managed::Key;

/// A term of leadership, or what is left after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// Whom clients are sent to.
    leader: Option<Pod>,
    /// Which term it is, or was the last.
    epoch: Option<Epoch>,
    phase: Phase,
}

impl Term {
    #[cfg(test)]
    pub(super) const fn new(leader: Option<Pod>, epoch: Option<Epoch>, phase: Phase) -> Self {
        Self { leader, epoch, phase }
    }

    /// What is published; nothing if that is not known, or makes no sense and is being repaired.
    pub(super) fn of(election: &Election) -> Option<Self> {
        let published = election.published()?;
        let leader = match published.shown {
            Shown::Nobody => None,
            Shown::Ready(_) | Shown::Terminating(_) => Some(published.leader.clone()?),
            Shown::Foreign => return None,
        };
        Some(Self { leader, epoch: published.epoch, phase: election.state().phase() })
    }

    /// As one line. `is_fresh`: what is known is known from watches that are alive.
    fn to_json(&self, key: &Key, is_fresh: bool) -> Bytes {
        #[derive(Serialize)]
        struct Line<'a> {
            namespace: &'a str,
            service: &'a str,
            leader: Option<&'a str>,
            uid: Option<&'a str>,
            epoch: Option<u64>,
            phase: &'a str,
            after: String,
            fresh: bool,
        }
        let line = Line {
            namespace: &key.namespace,
            service: &key.name,
            leader: self.leader.as_ref().map(Pod::name),
            uid: self.leader.as_ref().map(Pod::uid),
            epoch: self.epoch.map(|epoch| epoch.0),
            phase: self.phase.as_str(),
            after: self.after().to_string(),
            fresh: is_fresh,
        };
        // Strings and numbers can always be written.
        let mut line = serde_json::to_string(&line).unwrap_or_default();
        line.push('\n');
        line.into()
    }

    /// What to ask for to be told of the next change.
    fn after(&self) -> After {
        let epoch = self.epoch.unwrap_or_default();
        if self.leader.is_some() { After::Term(epoch) } else { After::End(epoch) }
    }
}

/// What the one who waits has been told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// This term: wait for its end, or a later one.
    Term(Epoch),
    /// Its end: wait for a later one.
    End(Epoch),
}

impl After {
    /// `7`, or `7,over`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (epoch, is_over) = text.strip_suffix(",over").map_or((text, false), |epoch| (epoch, true));
        let epoch = Epoch(epoch.parse().ok()?);
        Some(if is_over { Self::End(epoch) } else { Self::Term(epoch) })
    }

    /// Whether something else is the case now. What is older is not news: it comes from a replica that lags.
    pub(super) fn is_over(self, term: &Term) -> bool {
        let epoch = term.epoch.unwrap_or_default();
        match self {
            Self::Term(told) => epoch > told || epoch == told && term.leader.is_none(),
            Self::End(told) => epoch > told,
        }
    }
}

impl std::fmt::Display for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term(epoch) => write!(f, "{}", epoch.0),
            Self::End(epoch) => write!(f, "{},over", epoch.0),
        }
    }
}

/// What was told last of a Service, and the lines that say so: the same bytes for all who wait.
#[derive(Debug)]
pub(super) struct Told {
    term: Term,
    fresh: Bytes,
    stale: Bytes,
}

impl Told {
    fn new(key: &Key, term: Term) -> Self {
        Self { fresh: term.to_json(key, true), stale: term.to_json(key, false), term }
    }

    /// What was told.
    pub(super) const fn term(&self) -> &Term {
        &self.term
    }

    /// The line for whom watches are alive, or not.
    pub(super) fn line(&self, is_fresh: bool) -> Bytes {
        if is_fresh { self.fresh.clone() } else { self.stale.clone() }
    }
}

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Board {
    services: Mutex<HashMap<Key, watch::Sender<Told>>>,
}

impl Board {
    /// Tells all who wait; of a Service that is gone, that it is.
    pub(super) fn tell(&self, key: Key, term: Option<Term>) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(term) = term else {
            services.remove(&key);
            return;
        };
        if let Some(told) = services.get(&key) {
            // Another phase of the same term wakes up nobody.
            told.send_if_modified(|told| {
                let is_news = told.term.after() != term.after();
                *told = Told::new(&key, term);
                is_news
            });
        } else {
            let told = Told::new(&key, term);
            services.insert(key, watch::Sender::new(told));
        }
    }

    /// What is told of a Service from now on, if it has opted in.
    pub(super) fn listen(&self, key: &Key) -> Option<watch::Receiver<Told>> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.get(key).map(watch::Sender::subscribe)
    }
}
