//! What can happen.

use crate::pods::PodFault;
use crate::server::Edit;
use crate::world::{Sight, World};

/// One thing that happens. Numbers are those of replicas, but for those of a pod and of a lost write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Something happens to a pod; the watches will show it.
    Pod(usize, PodFault),
    /// Somebody changes the slice.
    Edit(Edit),
    /// The pods' watch shows the replica its next event.
    ShowPod(usize),
    /// The slice's watch shows the replica its next revision.
    ShowSlice(usize),
    /// The pods' watch of the replica, or the slice's, need not keep up any more.
    Stall(usize, Watch),
    /// The pods' watch of the replica is cut off, and begins anew from a list.
    Relist(usize),
    /// The open write meets this fate.
    Write(usize, Fate),
    Read(usize, Reply),
    Confirm(usize, Reply),
    /// An answer that was on its way comes.
    Late(usize),
    /// A write that seemed lost arrives.
    Limbo(usize),
    /// The replica's next deadline is here.
    Wake(usize),
    /// The replica dies, and another takes its place.
    Restart(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Pods,
    Slice,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and its answer too.
    Fair,
    /// It arrives later, and its answer then.
    Delayed,
    /// It arrives; the answer comes later.
    Slow,
    /// It arrives, and the answer is lost.
    Unanswered,
    /// The answer is lost, and the write arrives later, if ever.
    Limbo,
    /// It does not arrive.
    Unreachable,
    /// It is dropped before it is sent.
    Superseded,
}

impl Fate {
    const FAULTS: [Self; 6] =
        [Self::Delayed, Self::Slow, Self::Unanswered, Self::Limbo, Self::Unreachable, Self::Superseded];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Fair,
    /// Answered now, heard later.
    Slow,
    Failed,
}

impl Action {
    /// Whether it counts against the budget. A write that seemed lost has been counted.
    pub(crate) const fn is_fault(self) -> bool {
        match self {
            Self::ShowPod(_) | Self::ShowSlice(_) | Self::Late(_) | Self::Limbo(_) | Self::Wake(_) => false,
            Self::Write(_, fate) => !matches!(fate, Fate::Fair),
            Self::Read(_, reply) | Self::Confirm(_, reply) => !matches!(reply, Reply::Fair),
            Self::Pod(..) | Self::Edit(_) | Self::Stall(..) | Self::Relist(_) | Self::Restart(_) => true,
        }
    }
}

impl World {
    /// Everything that can happen.
    pub(crate) fn actions(&self, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        self.progress(actions);
        if self.urgent().is_none() {
            actions.extend((0..self.server.limbo.len()).map(Action::Limbo));
        }
        if self.faults > 0 {
            self.faults(actions);
        }
    }

    /// Nothing is left to do, unless something else happens.
    pub(crate) fn rests(&self) -> bool {
        let mut actions = Vec::new();
        self.progress(&mut actions);
        self.broken.is_none() && actions.is_empty()
    }

    /// What was just ordered: it is carried out before anything else happens, unless that goes wrong.
    pub(crate) fn urgent(&self) -> Option<Action> {
        self.replicas.iter().enumerate().find_map(|(n, replica)| {
            if replica.writes.len() > replica.slow_writes {
                return Some(Action::Write(n, Fate::Fair));
            }
            if !replica.reads.is_empty() {
                return Some(Action::Read(n, Reply::Fair));
            }
            (replica.confirms.len() > replica.slow_confirms()).then_some(Action::Confirm(n, Reply::Fair))
        })
    }

    /// What happens if nothing goes wrong, in whatever order.
    fn progress(&self, actions: &mut Vec<Action>) {
        if let Some(urgent) = self.urgent() {
            actions.push(urgent);
            return;
        }
        for (n, replica) in self.replicas.iter().enumerate() {
            let sight = self.sights[n];
            let mut may = |is_possible: bool, action| {
                if is_possible {
                    actions.push(action);
                }
            };
            may(sight.pods_behind > 0, Action::ShowPod(n));
            may(sight.slices_behind > 0, Action::ShowSlice(n));
            may(!replica.writes.is_empty(), Action::Write(n, Fate::Fair));
            may(!replica.late.is_empty(), Action::Late(n));
            may(replica.election.deadline().is_some(), Action::Wake(n));
        }
    }

    fn faults(&self, actions: &mut Vec<Action>) {
        const REPLIES: [Reply; 2] = [Reply::Slow, Reply::Failed];
        match self.urgent() {
            Some(Action::Write(n, _)) => actions.extend(Fate::FAULTS.map(|fate| Action::Write(n, fate))),
            Some(Action::Read(n, _)) => actions.extend(REPLIES.map(|reply| Action::Read(n, reply))),
            Some(Action::Confirm(n, _)) => actions.extend(REPLIES.map(|reply| Action::Confirm(n, reply))),
            None if self.sights.iter().all(Sight::keeps_up) => self.calamities(actions),
            Some(_) | None => {}
        }
    }

    /// What befalls the world while the watches keep up, but for those that need not.
    fn calamities(&self, actions: &mut Vec<Action>) {
        for slot in 0..self.server.pods.len() {
            actions.extend(self.server.pod_faults(slot).iter().map(|fault| Action::Pod(slot, *fault)));
        }
        if self.server.slice.is_some() {
            actions.extend([Edit::Emptied, Edit::SecondEndpoint, Edit::Deleted].map(Action::Edit));
        }
        for (n, sight) in self.sights.iter().enumerate() {
            if !sight.pods_stalled {
                actions.push(Action::Stall(n, Watch::Pods));
            }
            if !sight.slices_stalled {
                actions.push(Action::Stall(n, Watch::Slice));
            }
            if sight.pods_behind > 1 {
                actions.push(Action::Relist(n));
            }
            actions.push(Action::Restart(n));
        }
    }
}
