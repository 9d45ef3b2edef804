//! The election of one Service.

mod effect;
mod event;
mod facts;
mod member;
mod notices;
mod orders;
mod policy;
mod publication;
mod rank;
mod rules;
mod state;
mod time;

use statig::blocking::{IntoStateMachineExt as _, StateMachine};

pub use effect::{Cause, Effect, Mirror, Notice, OrderId, Reason, Scope, Step, Transition};
pub use event::{Departure, Event, Obstruction, Outcome, Standing};
pub use member::{Endpoint, Member, Pod, Reach, Version};
pub use policy::{Failback, Policy, Strategy, Switchover};
pub use publication::{Epoch, Publication, Shown, Wanted};
pub use state::{Phase, State};
pub use time::{Micros, Timestamp};

use facts::{Facts, Life};
use rules::{Cx, Rules};

/// The election of one source Service.
pub struct Election {
    machine: StateMachine<Rules>,
    facts: Facts,
    now: Timestamp,
}

impl Election {
    /// An election that knows nothing yet, decides nothing and wants nothing until it is told
    /// [`Event::Synced`].
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { machine: Rules.state_machine(), facts: Facts::new(policy), now: Timestamp(0) }
    }

    /// Takes a fact in, at a time that never goes back, and answers with the orders to carry out.
    pub fn step(&mut self, at: Timestamp, event: &Event) -> Step {
        let at = at.max(self.now);
        self.now = at;
        let mut step = Step::default();
        let learned = self.facts.learn(at, event, &mut step);
        let mut cx = Cx { at, facts: &mut self.facts, learned, step: &mut step, cause: Cause::Adopted };
        self.machine.handle_with_context(event, &mut cx);
        self.facts.settle(self.machine.state(), at, &mut step);
        step
    }

    /// When to send [`Event::DeadlineReached`] although nothing happens. Early or repeated calls do nothing.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.facts.deadline(self.machine.state(), self.now)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        self.machine.state()
    }

    /// What the API server last told us that the authority slice says, if we know.
    #[must_use]
    pub fn published(&self) -> Option<&Publication> {
        self.facts.slice.present()
    }

    /// The request for a handover that still waits.
    #[must_use]
    pub fn pending_switchover(&self) -> Option<&Switchover> {
        self.facts.pending(self.now)
    }

    /// Whether everything is as wanted and no order is open.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.facts.is_settled(self.machine.state(), self.now)
    }

    /// Whether what we owned is removed and the election over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.facts.life == Life::Removed
    }
}
