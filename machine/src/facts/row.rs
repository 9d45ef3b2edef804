//! Members, and what the machine remembers of each.

use serde::{Deserialize, Serialize};

use crate::rank::Ranking;
use crate::{Bar, Endpoint, Member, Pod, Policy, Reach, Site, Switchover, Timestamp};

use super::Facts;

/// Confirmed departures whose watch events have not come yet; more than a few at a time cannot be.
const GRAVES_MOST: usize = 8;

/// Pods of which a lost node was told before themselves; who tells of them tells of one Service's pods on one node.
const STRANDED_MOST: usize = 1_024;

/// A member and what the machine remembers of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) member: Member,
    /// When we first saw its present readiness.
    pub(crate) seen: Timestamp,
    /// The API server refused its present endpoint for good.
    pub(crate) refused: bool,
    pub(crate) node_lost: bool,
}

impl Row {
    const fn new(member: Member, seen: Timestamp) -> Self {
        Self { member, seen, refused: false, node_lost: false }
    }

    pub(crate) const fn endpoint(&self) -> Option<Endpoint> {
        self.member.reach.endpoint()
    }

    /// May stay leader.
    pub(crate) const fn is_fit(&self) -> bool {
        self.bar().is_none()
    }

    /// Why it may not stay leader, first what people would call the reason.
    pub(crate) const fn bar(&self) -> Option<Bar> {
        let member = &self.member;
        if member.terminating {
            return Some(Bar::Terminating);
        }
        if !member.ready {
            return Some(Bar::Unready);
        }
        if member.excluded {
            return Some(Bar::Excluded);
        }
        match member.reach {
            Reach::NoAddress => Some(Bar::NoAddress),
            Reach::PortUnresolved { .. } => Some(Bar::PortUnresolved),
            Reach::At(_) if self.refused => Some(Bar::Refused),
            Reach::At(_) => None,
        }
    }

    /// From when on it may be chosen, provided that nothing changes; never for one that is not fit.
    pub(crate) fn eligible_at(&self, policy: &Policy) -> Option<Timestamp> {
        (self.is_fit() && !self.node_lost)
            .then(|| self.member.ready_changed.min(self.seen).plus(policy.min_ready_duration))
    }

    pub(crate) fn is_eligible(&self, policy: &Policy, at: Timestamp) -> bool {
        self.eligible_at(policy).is_some_and(|from| from <= at)
    }

    /// It is only chosen while nobody elsewhere can be.
    pub(crate) fn is_avoided(&self) -> bool {
        self.member.site != Site::Sound
    }

    /// Terminating, and still answering.
    pub(crate) const fn can_drain(&self) -> bool {
        let member = &self.member;
        member.terminating && member.ready && !self.refused && self.endpoint().is_some()
    }

    /// NotReady at most, which may be tolerated for a while.
    pub(crate) const fn is_tolerable(&self) -> bool {
        let member = &self.member;
        !member.terminating && !member.excluded && !self.refused && self.endpoint().is_some()
    }

    pub(crate) fn is_named_by(&self, request: &Switchover) -> bool {
        self.member.pod.name() == &*request.pod
            && request.uid.as_deref().is_none_or(|uid| uid == self.member.pod.uid())
    }
}

impl Facts {
    pub(crate) fn row(&self, pod: &Pod) -> Option<&Row> {
        self.rows.iter().find(|row| row.member.pod == *pod)
    }

    pub(super) fn row_mut(&mut self, pod: &Pod) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.member.pod == *pod)
    }

    pub(crate) fn is_fit(&self, pod: &Pod) -> bool {
        self.row(pod).is_some_and(Row::is_fit)
    }

    pub(crate) fn ranking(&self, at: Timestamp) -> Ranking<'_> {
        Ranking::new(&self.rows, &self.policy, self.pending(at))
    }

    /// The best eligible member, other than `except`.
    pub(crate) fn successor(&self, except: Option<&Pod>, at: Timestamp) -> Option<&Pod> {
        let ranking = self.ranking(at);
        self.rows
            .iter()
            .filter(|row| row.is_eligible(&self.policy, at) && except != Some(&row.member.pod))
            .min_by(|a, b| ranking.compare(a, b))
            .map(|row| &row.member.pod)
    }

    /// Whether `leader` is to leave its node before that is drained, if somebody elsewhere can follow.
    pub(crate) fn leaves(&self, leader: &Row) -> bool {
        self.policy.leave_cordoned && leader.member.site == Site::Cordoned
    }

    /// Whether the leader's node is lost, and somebody elsewhere can follow.
    pub(crate) fn is_stranded(&self, row: &Row, at: Timestamp) -> bool {
        row.node_lost && !self.is_paused() && self.successor(Some(&row.member.pod), at).is_some()
    }

    /// All members anew. How long they have been Ready is by their own account: we were not there.
    pub(super) fn learn_members(&mut self, at: Timestamp, members: &[Member]) {
        let former = std::mem::take(&mut self.rows);
        let node_lost = |pod: &Pod| former.iter().any(|row| row.node_lost && row.member.pod == *pod);
        let stranded = std::mem::take(&mut self.stranded);
        self.rows = members
            .iter()
            .map(|member| Row {
                node_lost: node_lost(&member.pod) || stranded.contains(&member.pod),
                ..Row::new(member.clone(), member.ready_changed.min(at))
            })
            .collect();
        self.graves.clear();
        // An open answer may be older than the list.
        self.doubt = None;
        self.asked.clear();
    }

    pub(super) fn learn_member(&mut self, at: Timestamp, member: &Member) {
        if self.graves.contains(&member.pod) {
            return;
        }
        let Some(row) = self.row_mut(&member.pod) else {
            // One at a time: most elections have few members, and elections are many.
            self.rows.reserve_exact(1);
            let node_lost = self.unstrand(&member.pod);
            self.rows.push(Row { node_lost, ..Row::new(member.clone(), at) });
            return;
        };
        if member.version < row.member.version {
            return;
        }
        let known = &row.member;
        if (known.ready, known.ready_changed) != (member.ready, member.ready_changed) {
            row.seen = at;
        }
        let has_moved = known.reach != member.reach;
        row.refused &= !has_moved;
        row.member.clone_from(member);
        if has_moved && let Some(contest) = &mut self.contest {
            contest.hurry();
        }
    }

    /// The node of a pod, member or not yet, is lost or back.
    pub(super) fn node(&mut self, pod: &Pod, lost: bool) {
        if let Some(row) = self.row_mut(pod) {
            row.node_lost = lost;
            return;
        }
        self.unstrand(pod);
        if lost && self.stranded.len() < STRANDED_MOST {
            self.stranded.push(pod.clone());
        }
    }

    /// Whether its node was told to be lost before it was a member.
    fn unstrand(&mut self, pod: &Pod) -> bool {
        let before = self.stranded.len();
        self.stranded.retain(|stranded| stranded != pod);
        self.stranded.len() < before
    }

    /// Whether it was known.
    pub(super) fn forget(&mut self, pod: &Pod) -> bool {
        self.graves.retain(|grave| grave != pod);
        self.unstrand(pod);
        let Some(index) = self.rows.iter().position(|row| row.member.pod == *pod) else { return false };
        self.rows.swap_remove(index);
        true
    }

    /// The pod is known to be gone, but its last watch events may still be on their way.
    pub(super) fn bury(&mut self, pod: Pod) {
        self.forget(&pod);
        if self.graves.len() == GRAVES_MOST {
            self.graves.remove(0);
        }
        self.graves.push(pod);
    }
}
