//! Who is preferred: a total order over members, so that ties cannot differ from replica to replica.

use std::cmp::{Ordering, Reverse};

use crate::facts::Row;
use crate::{Pod, Policy, Strategy, Switchover};

/// What ranking depends on besides the members themselves.
pub(crate) struct Ranking<'a> {
    policy: &'a Policy,
    pending: Option<&'a Switchover>,
    preferred_revision: Option<u64>,
}

impl<'a> Ranking<'a> {
    pub(crate) fn new(rows: &[Row], policy: &'a Policy, pending: Option<&'a Switchover>) -> Self {
        let preferred_revision = if policy.prefer_new_revision { rollout_target(rows) } else { None };
        Self { policy, pending, preferred_revision }
    }

    /// `Less` means that `a` is chosen before `b`.
    pub(crate) fn compare(&self, a: &Row, b: &Row) -> Ordering {
        // A person who names a pod knows where it is.
        self.by_request(a, b)
            .then_with(|| a.is_avoided().cmp(&b.is_avoided()))
            .then_with(|| self.by_merit(a, b))
    }

    /// Whether `a` leads before `b`, whatever is said of their nodes: that alone unseats nobody.
    pub(crate) fn is_better(&self, a: &Row, b: &Row) -> bool {
        self.by_request(a, b).then_with(|| self.by_merit(a, b)).is_lt()
    }

    fn by_request(&self, a: &Row, b: &Row) -> Ordering {
        self.is_requested(b).cmp(&self.is_requested(a))
    }

    fn by_merit(&self, a: &Row, b: &Row) -> Ordering {
        b.member
            .priority
            .cmp(&a.member.priority)
            // Before the revision: a place is wanted for good, a rollout is over soon, and its last pods need not be there.
            .then_with(|| b.member.place.cmp(&a.member.place))
            .then_with(|| self.is_old_revision(a).cmp(&self.is_old_revision(b)))
            .then_with(|| self.by_strategy(a, b))
            .then_with(|| a.member.created.cmp(&b.member.created))
            .then_with(|| by_name(&a.member.pod, &b.member.pod))
    }

    fn is_requested(&self, row: &Row) -> bool {
        self.pending.is_some_and(|request| row.is_named_by(request))
    }

    fn is_old_revision(&self, row: &Row) -> bool {
        self.preferred_revision.is_some_and(|revision| row.member.revision != revision)
    }

    fn by_strategy(&self, a: &Row, b: &Row) -> Ordering {
        match self.policy.strategy {
            Strategy::Oldest => a.member.created.cmp(&b.member.created),
            Strategy::Newest => b.member.created.cmp(&a.member.created),
            Strategy::LongestReady => a.member.ready_changed.cmp(&b.member.ready_changed),
        }
    }
}

/// Two pods of one second are rare.
#[cold]
fn by_name(a: &Pod, b: &Pod) -> Ordering {
    a.name().cmp(b.name()).then_with(|| a.uid().cmp(b.uid()))
}

/// The youngest pod's revision, if members differ in theirs: a rollout is on its way to it.
fn rollout_target(rows: &[Row]) -> Option<u64> {
    let first = rows.first()?.member.revision;
    if rows.iter().all(|row| row.member.revision == first) {
        return None;
    }
    rows.iter()
        .min_by_key(|row| (Reverse(row.member.created), row.member.pod.name(), row.member.pod.uid()))
        .map(|row| row.member.revision)
}
