//! The protocol as stateright explores it.

use std::sync::Arc;

use machine::Phase;
use stateright::{Model, Property};

use crate::actions::Action;
use crate::invariants::Broken;
use crate::replica::Replica;
use crate::server::Server;
use crate::support::START;
use crate::world::{Sight, World};

/// How all begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A leader is published, and all know it.
    Led,
    /// There is no slice yet.
    Fresh,
}

/// How much watches may lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lags {
    /// As they like.
    Free,
    /// Nothing befalls anything while there is something to show, but by a watch that has stalled. That is a fault, and
    /// from then on it may lag as it likes.
    AreFaults,
}

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) replicas: usize,
    pub(crate) pods: usize,
    pub(crate) faults: u8,
    pub(crate) start: Start,
    pub(crate) lags: Lags,
    /// Whether the store takes a write only over the version that it names.
    pub(crate) compares: bool,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    /// With bookmarks, by which a watch that has nothing to show says how new it is, and without.
    fn init_states(&self) -> Vec<World> {
        [true, false].map(|bookmarks| self.begin(bookmarks)).to_vec()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.run(action);
        // Nothing can come between any more.
        while next.faults == 0
            && next.broken.is_none()
            && let Some(urgent) = next.urgent()
        {
            next.run(urgent);
        }
        next.collect_garbage();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("I1: one endpoint, the leader's", |_, w: &World| w.broken != Some(Broken::I1)),
            Property::always("I2: who is ordered to lead is fit", |_, w: &World| {
                w.broken != Some(Broken::I2)
            }),
            Property::always(I3, |_, w: &World| w.broken != Some(Broken::I3)),
            Property::always(I4, |_, w: &World| w.broken != Some(Broken::I4)),
            Property::always("I9: who is fit stays", |_, w: &World| w.broken != Some(Broken::I9)),
            Property::always("I10: old facts unseat nobody", |_, w: &World| w.broken != Some(Broken::I10)),
            Property::always("nothing forbidden is ordered", |_, w: &World| {
                w.broken != Some(Broken::Forbidden)
            }),
            Property::always("nothing goes on for ever", |_, w: &World| w.broken != Some(Broken::Endless)),
            Property::always("what rests is settled", |_, w: &World| !w.rests() || w.is_at_peace()),
        ];
        // What the larger sizes must have met, so that their silence means something.
        if self.faults >= 2 {
            properties.push(Property::sometimes("a write comes too late", |_, w: &World| w.has_late_write()));
        }
        if self.faults >= 2 && self.replicas >= 2 {
            properties.push(Property::sometimes("two choose differently", |_, w: &World| w.is_torn()));
        }
        if usize::from(self.faults) >= self.pods && self.start == Start::Led {
            properties.extend([
                Property::sometimes("a leader drains", |_, w: &World| w.has_one_in(Phase::Draining)),
                Property::sometimes("nobody leads", |_, w: &World| w.has_one_in(Phase::Leaderless)),
            ]);
        }
        properties
    }
}

pub(crate) const I3: &str = "I3: epochs grow, and have one leader each";
pub(crate) const I4: &str = "I4: a write lands where it was decided";

impl Protocol {
    fn begin(&self, bookmarks: bool) -> World {
        let mut server = Server::new(self.pods, self.compares);
        if let (Start::Led, Some(first)) = (self.start, server.pods[0].clone()) {
            server.publish(&first, 7);
        }
        let (pods_stalled, slices_stalled) = (self.lags == Lags::Free, self.lags == Lags::Free);
        let horizon = server.version();
        let sight = Sight { pods_behind: 0, slices_behind: 0, pods_stalled, slices_stalled, horizon };
        let replicas = (0..self.replicas).map(|n| Arc::new(Replica::begin(n, &server, START))).collect();
        let sights = vec![sight; self.replicas];
        World { server, replicas, sights, bookmarks, faults: self.faults, broken: None }
    }
}

impl World {
    fn is_torn(&self) -> bool {
        let mut leaders = self.replicas.iter().filter_map(|replica| replica.election.state().pod());
        leaders.next().is_some_and(|first| leaders.any(|other| other.uid() != first.uid()))
    }

    fn has_late_write(&self) -> bool {
        let present = self.server.slice.as_ref().map(|stored| stored.publication.version);
        self.server.limbo.iter().any(|(_, write)| write.based_on != present)
    }

    fn has_one_in(&self, phase: Phase) -> bool {
        self.replicas.iter().any(|replica| replica.election.state().phase() == phase)
    }
}
