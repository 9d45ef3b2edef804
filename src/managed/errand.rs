//! What goes to and fro between one Service and the driver.

use machine::{Event, Micros, OrderId, Scope, Timestamp, Version};

use super::Identity;
use crate::apply::{Request, Target};
use crate::clock::Clock;
use crate::failover::{Failover, Purpose};
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::rows::{Grounds, PodRow, View};
use crate::traces::Tracer;
use crate::world::Pods;

/// What an order is for, as far as one Service is concerned.
#[derive(Debug)]
pub(crate) enum Errand {
    /// The election's write of the authority slice.
    Publish { id: OrderId, creates: bool },
    /// The election's read of the authority slice, which was known in this version.
    Read { id: OrderId, known: Version },
    /// The election's read of a pod.
    Confirm { id: OrderId, name: String, uid: String },
    /// The election's removal of what we own.
    Remove { id: OrderId, scope: Scope, targets: Vec<Target> },
    /// A notice of the election's.
    Notify { id: OrderId },
    /// A write of the leader Service.
    LeaderService { creates: bool },
    /// A read of the leader Service, because one of its name exists that the watch has not shown.
    FindService,
    /// The deletion of a leader Service that has to be made anew.
    ReplaceService,
    /// The deletion of the authority slice, which has to be made anew. A read of the election's may wait for it.
    ReplaceSlice { read: Option<OrderId> },
    /// A write of the second family's slice.
    Second,
    /// The deletion of the second family's slice, which has to be made anew.
    ReplaceSecond,
    /// A read of the second family's slice.
    FindSecond,
    /// A look at what stands in the authority slice's place, if the watch may not show it: it is foreign, or has lost
    /// our label.
    Recheck,
    /// A look for slices of others under the leader Service's name.
    Strays,
    /// The deletion of one that Kubernetes made for the leader Service.
    Stray,
}

impl Errand {
    /// The call of it that a change of leadership may wait for.
    pub(crate) const fn call(&self) -> Option<(OrderId, Purpose)> {
        match self {
            Self::Publish { id, .. } => Some((*id, Purpose::Publish)),
            Self::Read { id, .. } => Some((*id, Purpose::Read)),
            Self::Confirm { id, .. } => Some((*id, Purpose::Confirm)),
            _ => None,
        }
    }
}

/// What the election should be told next, and what to send.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Facts for the election.
    pub(crate) events: Vec<Event>,
    /// Requests to send.
    pub(crate) errands: Vec<(Errand, Request)>,
    /// What people should be told besides the election's own notices.
    pub(crate) notices: Vec<Notice>,
    /// What happened that is counted.
    pub(crate) counters: Vec<Counter>,
    /// It began with a failure.
    pub(crate) has_failed: bool,
    /// Changes of leadership that are over.
    pub(crate) failovers: Vec<Failover>,
}

/// What is around a Service when something happens to it.
pub(crate) struct Surroundings<'a> {
    /// Now.
    pub(crate) at: Timestamp,
    /// What tells so.
    pub(crate) clock: Clock,
    /// Who we are.
    pub(crate) identity: &'a Identity,
    /// No other replica acts first.
    pub(crate) acts_first: bool,
    /// What makes traces, if somebody wants them.
    pub(crate) tracer: Option<&'a Tracer>,
    /// What a failover may take, unless the Service says something else.
    pub(crate) budget: Micros,
    /// All pods of the namespace, by name.
    pub(crate) pods: &'a Pods,
    /// How new they are.
    pub(crate) horizon: Version,
    /// What is known of nodes.
    pub(crate) grounds: &'a Grounds,
}

impl Surroundings<'_> {
    /// What is known of a pod.
    pub(crate) fn row(&self, pod: &machine::Pod) -> Option<&PodRow> {
        self.pods.get(pod.name()).filter(|row| row.pod == *pod)
    }

    pub(super) fn member(&self, uid: &str, view: &View) -> Option<machine::Member> {
        let row = self.pods.values().find(|row| row.pod.uid() == uid)?;
        row.membership(&view.source.selector).ok()?;
        Some(row.member(view, self.grounds.of(row)))
    }
}
