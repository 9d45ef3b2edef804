//! The event log: what an election was told, when, and what it decided, as JSON lines that can be replayed.
//!
//! ```json
//! {"log":1,"service":"shop/orders","machine":"0.1.0","note":"the leader is NotReady","policy":{"failback":"never"}}
//! {"seq":1,"at":1732340000123456,"event":{"pod_unready":{"member":{"pod":"orders-0/a1"}}},"from":"elected","to":"reelecting","from_pod":"orders-0/a1","to_pod":"orders-1/b2","cause":"unready","effects":[{"publish":{"id":3}}]}
//! ```
//!
//! - A **header** names the Service and says from where its election starts: new, with a `policy`; or in the midst
//!   of its life, as an `election` in the machine's own words and the `seq` of the first record that follows. So a
//!   log may begin anywhere, and whatever was lost before a header does no harm to what comes after.
//! - A **record** is one step: its number, its time in microseconds since the Unix epoch, the fact, the transition
//!   if there was one, the orders if there were any. Every fact and every order has one key, its kind.
//! - A file may hold several Services. A record belongs to the one that it names as `service`, else to that of the
//!   header before it.
//!
//! Replaying the facts through [`machine::Election`] gives the same transitions and orders, byte for byte.

mod files;
mod flight;
mod line;
mod names;
mod read;
mod recorder;
mod weight;

use std::sync::Arc;

use machine::{Election, Event, Policy, Step, Timestamp};

pub use files::{Directory, Files};
pub use line::{write_header, write_record};
pub use read::{Entry, Fault, ReadError, Reader};
pub use recorder::{DirectoryError, Recorder};

/// The version of the format. A log with a higher one is refused.
pub const VERSION: u32 = 1;

/// The version of the machine that is shipped.
pub const MACHINE: &str = env!("CARGO_PKG_VERSION");

/// Where a Service's records start.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Its source Service, `namespace/name`.
    pub service: Arc<str>,
    /// The version of the machine that decided.
    pub machine: Arc<str>,
    /// What the log shows, for people.
    pub note: Option<Arc<str>>,
    /// The number of the first record that follows.
    pub seq: u64,
    /// The election before that record.
    pub start: Start,
}

/// The election before the first record.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// A new one, by this policy.
    New(Policy),
    /// One in the midst of its life.
    Midst(Box<Election>),
}

impl Start {
    /// The start of a log whose first record is this election's next step. One that has not begun is told by its policy:
    /// that is all there is to it, and stays so whatever facts a later machine keeps.
    #[must_use]
    pub fn before(election: Election) -> Self {
        let policy = election.policy().clone();
        if election == Election::new(policy.clone()) {
            Self::New(policy)
        } else {
            Self::Midst(Box::new(election))
        }
    }
}

impl Header {
    /// A header of this version, for records from `seq` on.
    #[must_use]
    pub fn new(service: Arc<str>, seq: u64, start: Start) -> Self {
        Self { service, machine: MACHINE.into(), note: None, seq, start }
    }

    /// The election from which to replay.
    #[must_use]
    pub fn election(&self) -> Election {
        match &self.start {
            Start::New(policy) => Election::new(policy.clone()),
            Start::Midst(election) => Election::clone(election),
        }
    }
}

/// One step of an election.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Counts the election's steps, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// The fact.
    pub event: Event,
    /// What it led to.
    pub step: Step,
}
