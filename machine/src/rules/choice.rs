//! Who is lost, who follows, and who is preferred.

use crate::facts::{Facts, Row};
use crate::{Cause, Departure, Epoch, Failback, Pod, Reach, State, Timestamp};

use super::Cx;

impl Cx<'_> {
    /// Why `leader` is lost, if it is gone or of no use.
    pub(super) fn loss(&self, leader: &Pod) -> Option<Cause> {
        self.loss_of(leader, self.facts.row(leader))
    }

    fn loss_of(&self, leader: &Pod, row: Option<&Row>) -> Option<Cause> {
        let Some(row) = row else {
            return Some(match &self.learned.departed {
                Some((pod, how)) if pod == leader => departure_cause(*how),
                _ => Cause::Gone,
            });
        };
        match row.member.reach {
            Reach::NoAddress => return Some(Cause::AddressLost),
            Reach::PortUnresolved { .. } => return Some(Cause::PortUnresolved),
            Reach::At(_) => {}
        }
        if row.member.terminating {
            return Some(Cause::Terminating);
        }
        if row.refused {
            return Some(Cause::Refused);
        }
        row.member.excluded.then_some(Cause::Excluded)
    }

    /// What must follow now that `leader` leads; nothing if it may stay.
    pub(super) fn judge(&self, leader: &Pod, epoch: Epoch) -> Option<(Cause, State)> {
        let (facts, at) = (&*self.facts, self.at);
        let row = facts.row(leader);
        let lost =
            self.loss_of(leader, row).filter(|cause| !(facts.is_paused() && *cause == Cause::Excluded));
        if let Some(cause) = lost {
            return Some((cause, facts.vacate(leader, epoch, cause, at)));
        }
        if facts.is_paused() {
            return None;
        }
        let row = row?;
        if facts.is_stranded(row, at) {
            return Some((Cause::NodeLost, facts.vacate(leader, epoch, Cause::NodeLost, at)));
        }
        if row.member.ready {
            return None;
        }
        let (cause, until) = (Cause::Unready, facts.tolerated_until(row));
        let state = if until > at {
            State::Draining { leader: leader.clone(), epoch, cause, since: at, until: Some(until) }
        } else {
            facts.vacate(leader, epoch, cause, at)
        };
        Some((cause, state))
    }
}

const fn departure_cause(how: Departure) -> Cause {
    match how {
        Departure::Deleted => Cause::Gone,
        Departure::Finished => Cause::Finished,
        Departure::Relabelled => Cause::Relabelled,
    }
}

impl Facts {
    /// Who follows `leader`, if anybody can.
    pub(super) fn vacate(&self, leader: &Pod, epoch: Epoch, cause: Cause, since: Timestamp) -> State {
        if !self.is_paused()
            && let Some(candidate) = self.successor(Some(leader), since)
        {
            let (candidate, incumbent) = (candidate.clone(), Some(leader.clone()));
            return State::Reelecting { candidate, epoch: self.epochs.next(since), incumbent, cause, since };
        }
        if self.row(leader).is_some_and(Row::can_drain) {
            return State::Draining { leader: leader.clone(), epoch, cause, since, until: None };
        }
        State::Leaderless { since }
    }

    /// For how long a NotReady leader is tolerated.
    pub(super) const fn tolerated_until(&self, row: &Row) -> Timestamp {
        row.seen.plus(self.policy.failover_min_delay)
    }

    /// The member that shall take over from a fit leader now, and why.
    pub(crate) fn preference(&self, leader: &Pod, at: Timestamp) -> Option<(&Pod, Cause)> {
        self.wish(leader, at).filter(|(_, cause)| self.allowed_from(*cause) <= at)
    }

    /// The member that had better lead than `leader`, which is fit, and why: also if the leader has changed too often
    /// lately.
    pub(crate) fn wish(&self, leader: &Pod, at: Timestamp) -> Option<(&Pod, Cause)> {
        if !self.lease || self.is_paused() {
            return None;
        }
        if let Some(request) = self.pending(at)
            && !self.row(leader)?.is_named_by(request)
        {
            let ranking = self.ranking(at);
            let named = self.rows.iter().filter(|row| row.is_named_by(request));
            let eligible = named.filter(|row| row.is_eligible(&self.policy, at));
            if let Some(row) = eligible.min_by(|a, b| ranking.compare(a, b)) {
                return Some((&row.member.pod, Cause::Switchover));
            }
        }
        let incumbent = self.row(leader)?;
        if self.leaves(incumbent)
            && let Some(successor) = self.successor(Some(leader), at)
            && self.row(successor).is_some_and(|row| !row.is_avoided())
        {
            return Some((successor, Cause::Cordoned));
        }
        let Failback::After(wait) = self.policy.failback else { return None };
        let ranking = self.ranking(at);
        let is_elsewhere = |row: &Row| !row.is_avoided() && row.is_eligible(&self.policy, at);
        let may_be_chosen =
            |row: &Row| !row.is_avoided() || incumbent.is_avoided() && !self.rows.iter().any(is_elsewhere);
        // Rank first: most often nobody comes before the leader. It needs no comparison with itself, by name at last.
        self.rows
            .iter()
            .filter(|row| !std::ptr::eq(*row, incumbent) && ranking.is_better(row, incumbent))
            .filter(|row| may_be_chosen(row))
            .filter(|row| row.eligible_at(&self.policy).is_some_and(|from| from.plus(wait) <= at))
            .min_by(|a, b| ranking.compare(a, b))
            .map(|row| (&row.member.pod, Cause::Failback))
    }
}
