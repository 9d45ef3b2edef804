//! What the API server has answered: to whom it belongs, and what it says about the API server itself.

use machine::Event;
use tracing::debug;

use super::Driver;
use super::leftovers::Leftover;
use crate::apply::{Answer, Reply};
use crate::failover::Call;
use crate::failure::{Failure, Kind};
use crate::managed::{Errand, Key};

/// What an order is for, as far as the driver is concerned.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// One Service's election, in this generation.
    Of(Key, u32, Errand),
    /// The removal of an object of ours that nobody asks for.
    Sweep(Leftover),
    /// Nobody waits for the answer.
    Loose,
}

impl Driver {
    pub(super) fn answered(&mut self, answer: Answer<Purpose>) {
        self.note_reachability(&answer);
        self.note_failure(&answer);
        self.measure_call(&answer);
        let call = match &answer.purpose {
            Purpose::Of(_, _, errand) => {
                errand.call().map(|(id, what)| Call::new(id, what, &answer, self.clock))
            }
            Purpose::Sweep(_) | Purpose::Loose => None,
        };
        let (key, generation, errand) = match answer.purpose {
            Purpose::Of(key, generation, errand) => (key, generation, errand),
            Purpose::Sweep(leftover) => return self.unswept.answered(leftover, &answer.result),
            Purpose::Loose => return,
        };
        if let Errand::Confirm { name, uid, .. } = &errand {
            self.confirmed(&key, name, uid, &answer.result);
        }
        match &answer.result {
            Ok(Reply::Service(service)) => self.service_answered(service),
            Ok(Reply::Slice(slice)) => self.slice_answered(slice),
            Ok(_) | Err(_) => {}
        }
        if self.managed(&key).is_none_or(|managed| managed.generation != generation) {
            return;
        }
        let (waited, took) = (answer.begun - answer.ordered, answer.ended - answer.begun);
        debug!(service = %key, ?waited, ?took, "answered: {errand:?}");
        let result = answer.result;
        self.with(&key, |managed, cx, out| {
            out.has_failed = result.is_err();
            if let Errand::Publish { .. } = errand {
                managed.measure_write(result.is_ok(), out);
            }
            if let Some(call) = call {
                managed.journal.called(call, &mut out.failovers);
            }
            managed.answered(errand, result, cx, out);
        });
    }

    /// A pod that was read is a fact like any other, and may concern other Services as well.
    pub(super) fn confirmed(&mut self, key: &Key, name: &str, uid: &str, result: &Result<Reply, Failure>) {
        match result {
            Ok(Reply::Pod(pod)) => {
                if pod.metadata.uid.as_deref() != Some(uid) {
                    self.pod_gone(&key.namespace, name, Some(uid));
                }
                if let Some(row) = self.world.row(pod) {
                    self.pod_seen(row);
                }
            }
            Err(failure) if failure.kind == Kind::NotFound => self.pod_gone(&key.namespace, name, Some(uid)),
            Ok(_) | Err(_) => {}
        }
    }

    /// After an outage the first answer ends everybody's back-off. A write that fails says nothing: that may be an
    /// admission webhook's doing, while all reads are answered, and each of these would end the back-off.
    fn note_reachability(&mut self, answer: &Answer<Purpose>) {
        let is_cut_off = match &answer.result {
            Err(failure) if failure.is_general => true,
            Err(failure) if matches!(failure.kind, Kind::Unknown | Kind::Unreachable) => {
                self.is_cut_off || !answer.is_write
            }
            Ok(_) | Err(_) => false,
        };
        if self.is_cut_off && !is_cut_off {
            self.server_back();
        }
        self.is_cut_off = is_cut_off;
    }

    /// Failures are logged here, whatever they were needed for, so that one that goes on is not logged at every try.
    fn note_failure(&mut self, answer: &Answer<Purpose>) {
        let Err(failure) = &answer.result else { return };
        match &answer.purpose {
            Purpose::Of(key, _, Errand::Publish { .. }) => {
                self.failures.note("publication", &key.namespace, Some(&key.name), failure);
            }
            // With its Service, where it is known what follows.
            Purpose::Of(_, _, Errand::LeaderService { .. }) => {}
            Purpose::Of(..) | Purpose::Sweep(_) | Purpose::Loose => {
                self.failures.note(answer.what, &answer.namespace, None, failure);
            }
        }
    }

    /// Whoever waits before trying again need not.
    pub(super) fn server_back(&mut self) {
        self.unswept.hurry();
        let keys: Vec<_> = self
            .world
            .namespaces
            .values()
            .flat_map(|space| space.managed.values())
            .filter(|managed| !managed.election.is_settled() || managed.is_backing_off())
            .map(|managed| managed.key.clone())
            .collect();
        for key in keys {
            self.with(&key, |managed, _, out| {
                managed.hurry();
                out.events.extend(managed.is_synced().then_some(Event::ServerBack));
            });
        }
    }
}
