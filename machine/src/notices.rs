//! What people are told, and when: once the API server shows it, by the replica that wrote it.

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Row};
use crate::{Cause, Notice, Phase, Pod, Reach, Reason, State, Step};

/// A notice about a transition, sent once the API server shows what it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) reason: Reason,
    pub(crate) cause: Cause,
}

impl Notice {
    pub(crate) const fn plain(reason: Reason) -> Self {
        Self { reason, cause: None, pod: None, previous: None, detail: None }
    }
}

/// The one table from transitions to what people are told.
pub(crate) fn reason(
    source: &State,
    target: &State,
    cause: Cause,
    announced: Option<&Pod>,
) -> Option<Reason> {
    match (target, cause) {
        (State::Reelecting { .. }, _)
        | (_, Cause::Obstruction | Cause::Removal)
        | (State::Elected { .. }, Cause::Adopted) => None,
        (State::Draining { .. }, _) => Some(Reason::LeaderDraining),
        (State::Leaderless { .. }, _) => announced.map(|_| Reason::LeaderLost),
        (State::Elected { .. }, Cause::FirstElection) => Some(Reason::LeaderElected),
        (State::Elected { .. }, Cause::Switchover) => Some(Reason::SwitchoverCompleted),
        (State::Elected { leader, .. }, _) => match announced {
            None => Some(Reason::LeaderRecovered),
            Some(announced) if announced != leader => Some(Reason::LeaderChanged),
            Some(_) => (source.phase() == Phase::Draining && cause == Cause::Recovery)
                .then_some(Reason::LeaderRecovered),
        },
    }
}

impl Facts {
    pub(crate) fn report_vacancy(&mut self, state: &State, step: &mut Step) {
        let vacancy = match state {
            State::Leaderless { .. } => vacancy(&self.rows),
            State::Reelecting { .. } | State::Elected { .. } | State::Draining { .. } => None,
        };
        if self.vacancy != vacancy {
            self.vacancy = vacancy;
            if let Some(reason) = vacancy {
                self.notify_as_holder(Notice::plain(reason), step);
            }
        }
    }

    /// Once the API server has shown that nobody or somebody else leads, whoever people know as the leader begins a term
    /// of which they have yet to be told, if that is who is to lead again. A slice without an epoch shows nothing of the
    /// kind: it was made anew, and nobody has lost anything but the slice.
    pub(crate) fn outdate_announcement(&mut self, state: &State) {
        let State::Reelecting { candidate, .. } = state else { return };
        let Some(published) = self.slice.present() else { return };
        if published.epoch.is_some() && published.leader.as_ref() != Some(candidate) {
            self.announced.take_if(|announced| announced == candidate);
        }
    }

    pub(crate) fn announce(&mut self, state: &State, step: &mut Step) {
        if self.echo.is_some() {
            return;
        }
        let Some(News { reason, cause }) = self.news.take() else { return };
        let pod = state.pod().cloned();
        let was_told = self.announced == pod;
        let previous = self.announced.take().filter(|_| !was_told);
        self.announced.clone_from(&pod);
        // A NotReady leader that is tolerated, or Ready again, needs no write: then the Lease says who tells.
        let needs_no_write = match state {
            State::Draining { until, .. } => until.is_some(),
            State::Elected { .. } => reason == Reason::LeaderRecovered && was_told,
            State::Leaderless { .. } | State::Reelecting { .. } => false,
        };
        if if needs_no_write { self.lease } else { self.is_ours } {
            self.notify(Notice { reason, cause: Some(cause), pod, previous, detail: None }, step);
        }
    }
}

/// Why nobody can be chosen, as users know it.
fn vacancy(rows: &[Row]) -> Option<Reason> {
    if rows.is_empty() {
        return Some(Reason::NoPodsFound);
    }
    let mut ready = rows.iter().filter(|row| row.member.ready && !row.member.terminating).peekable();
    if ready.peek().is_none() {
        return Some(Reason::NoReadyPods);
    }
    let mut named = false;
    for row in ready {
        match row.member.reach {
            Reach::PortUnresolved { named: by_name } => named |= by_name,
            Reach::At(_) | Reach::NoAddress => return None,
        }
    }
    Some(if named { Reason::NamedPortResolutionFailed } else { Reason::PortResolutionFailed })
}
