//! The election of one Service.

mod effect;
mod event;
mod member;
mod policy;
mod publication;
mod state;
mod time;

pub use effect::{Cause, Effect, Mirror, Notice, OrderId, Reason, Scope, Step, Transition};
pub use event::{Departure, Event, Obstruction, Outcome, Standing};
pub use member::{Endpoint, Member, Pod, Reach, Version};
pub use policy::{Failback, Policy, Strategy, Switchover};
pub use publication::{Epoch, Publication, Shown, Wanted};
pub use state::{Phase, State};
pub use time::{Micros, Timestamp};
