//! The election of one Service: which of its pods leads, decided from facts alone.
//!
//! An [`Election`] is told facts ([`Event`]), is in one of four states ([`State`]), and gives orders
//! ([`Effect`]). It never looks at a clock, a network or a file, so that a test or a log can put it into any
//! situation there is.
//!
//! ```text
//!   +--------------+       leader lost, nobody eligible        +--------------+
//!   |              | <---------------------------------------- |              |
//!   |  Leaderless  |                                           |   Elected    |
//!   |              |              +------------+               |              |
//!   |  nothing     |   eligible   | Reelecting |  acknowledged |  the leader, |
//!   |  published   | -----------> |            | ------------> |  ready       |
//!   |              |              | candidate, |               |              |
//!   |              | <----------- | ready      | <------------ |              |
//!   |              |  candidate   |            |  leader lost, |              |
//!   +--------------+  lost        +------------+  failback,    +--------------+
//!          ^                        ^        |    switchover        |      ^
//!          |              eligible, |        | candidate lost,      |      |
//!          |              deadline  |        v incumbent serves     |      |
//!          |                      +------------+                    |      |
//!          |                      |  Draining  | <------------------+      |
//!          |                      |            |    terminating, no one    |
//!          |                      | leader,    |    to follow; NotReady    |
//!          |                      | on its way |    within its delay       |
//!          +--------------------- | out        | --------------------------+
//!            leader gone,         |            |    fit again
//!            nobody eligible      +------------+
//! ```
//!
//! These are the machine's own choices. What others have published it adopts instead of fighting it: then, and
//! when it begins, any state may follow.
//!
//! # Every event, in every state
//!
//! A cell has the initials of the states to which an event leads from there, the state's own if another pod
//! leads or is chosen in it. *Waiting* is before `Synced`, or while blocked: the state is Leaderless, and facts
//! are only remembered. After opting out nothing leads anywhere. *look*: the state looks again at everything it
//! knows, as it does after each event that can change the state, and most often stays. A look may find what had
//! been held back until then, by a doubt or a lost write for instance; so an event may once in a while lead
//! along another of the picture's arrows, too. `-`: the event never changes the state.
//!
//! | event | waiting | Leaderless | Reelecting | Elected | Draining | what it is for, or does |
//! |---|---|---|---|---|---|---|
//! | `Synced` | R E D | R E D | L R E D | L R E D | L R E D | all lists are in: decides from what is published |
//! | `PodReady` | - | R | R | L R D | R E | somebody can lead, or the leader is fit again |
//! | `PodUnready` | - | look | L R D | L R D | L | the leader is tolerated for a while, or followed |
//! | `PodTerminating` | - | look | L R D | L R D | L R | the leader is followed at once; alone, it drains |
//! | `PodGone` | - | look | L R D | L R | L R | the leader is followed, or nobody leads |
//! | `PodChanged` | - | R | L R D | L R D | L R | an address, ports, a priority, place, node or exclusion changed |
//! | `PolicyChanged` | - | R | - | look | L R | weighs every guard and every deadline anew |
//! | `OptedOut` | - | - | L | L | L | removes what we own, and is over |
//! | `ServiceGone` | - | - | L | L | L | likewise |
//! | `Published` | - | - | E | look | L | acknowledges what was ordered |
//! | `PublishFailed` | - | - | L R E D | L R | L R | tries again, as the outcome asks for; a refused pod is lost |
//! | `ReadDone` | - | E D | L E D | L R E D | L E D | tells what is published, after a conflict or an unknown outcome |
//! | `ReadFailed` | - | - | - | - | - | reads again |
//! | `Confirmed` | - | look | look | L R D | look | ends a doubt; a preferred member that is still there takes over |
//! | `ConfirmFailed` | - | - | - | - | - | asks again |
//! | `Mirrored` | - | - | - | - | - | the leader Service says who leads |
//! | `MirrorFailed` | - | - | - | - | - | mirrors again |
//! | `Notified` | - | - | - | - | - | nothing |
//! | `NotifyFailed` | - | - | - | - | - | nothing: a notice is not repeated |
//! | `Removed` | - | - | - | - | - | after opting out, all is over |
//! | `RemoveFailed` | - | - | - | - | - | removes again |
//! | `PublicationObserved` | - | E D | L E | L R E D | L E D | adopts a newer term, repairs anything else |
//! | `Blocked` | - | - | L | L | L | orders nothing more; our slices go if a Service is in the way |
//! | `Unblocked` | R E D | - | - | - | - | decides as at `Synced` |
//! | `SwitchoverRequested` | - | - | - | look | - | ranks that member first until it is done; the Lease's holder confirms it |
//! | `SwitchoverWithdrawn` | - | - | - | - | - | ranks as before |
//! | `Paused` | - | look | - | look | E | chooses nobody new; a NotReady leader stays |
//! | `Resumed` | - | R | - | L R D | R | decides what was left undecided |
//! | `LeaseHeld` | - | - | - | look | - | preferences, mirrors and some notices are ours now |
//! | `LeaseLost` | - | - | - | - | - | they are another replica's |
//! | `NodeLost` | - | - | R | R | R | the leader is followed if somebody elsewhere can lead |
//! | `NodeBack` | - | R | R | look | R | its members can be chosen again |
//! | `ServerBack` | - | - | - | - | - | ends the pauses between tries, but for what was refused |
//! | `DeadlineReached` | - | R | look | R | L R | time alone has changed something: who can lead, who is tolerated |
//!
//! Whatever the event, orders are given that are due: a write while what is published is not what is wanted, a
//! read while it is not known. While paused nobody new is chosen: no arrow of the picture leads into
//! Reelecting. After too many changes of leader, by the policy's [`MaxSwitches`], nobody takes over from one that is
//! fit until there is room for one more, unless a person asked for that.
//!
//! # The law of use
//!
//! - [`Election::step`] is told one fact at a time, in the order in which they were learnt. Its time never goes
//!   back.
//! - After each step, ask for the [`Election::deadline`], and tell `DeadlineReached` then. Too early or too
//!   often does nothing.
//! - Every order is carried out, or not, and is answered by an event with its [`OrderId`]. What failed is
//!   ordered again by the machine when it sees fit, never by whoever failed. Answers may be late, repeated or
//!   lost with the connection: say [`Outcome::Unknown`] then, and the machine looks.
//! - A publication is written only over the version that it was based on. Any number of replicas may then
//!   decide at once.
//! - The same events at the same times lead to the same steps, byte for byte. Nothing else changes an election.
//!
//! # Why safety needs neither clock nor Lease
//!
//! Epochs must only grow, and have one leader each: whoever fences by them relies on nothing else. Any number of
//! replicas may decide at once, on old facts, after having slept for an hour. It holds all the same:
//!
//! - A publication is written over exactly the version that it was decided on, or not at all. So the versions of
//!   the slice are one line, and whoever wrote one of them knew the one before.
//! - A new leader, or the same one after nobody, is published in an epoch above all that its writer knows, hence
//!   above that of the version it is written over. So along the line epochs never fall, and a new term always has
//!   a new one.
//! - A write whose answer is lost changes nothing about this. If it arrives late, either nothing else has been
//!   written meanwhile, and it is the next in line; or the version has moved on, and it is refused.
//! - The slice is created empty. So a creation that arrives late publishes nobody.
//!
//! Time does not appear in this. A clock that is wrong makes a failover early or late, or a pause between tries
//! short or long. Nor does the Lease: it says who acts first, and whose preferences count. Two who believe that
//! they hold it compete for the same version, and one of them is refused.
//!
//! The line can only end with the slice itself: deleted, or restored from a backup. After a deletion, the next
//! term starts at the clock, because nobody may be left who knows all epochs. That alone takes a clock that is
//! ahead of them; and not even that while the leader Service stands, which mirrors the last epoch: over a slice that
//! shows none, or not the one before, it is read first.
//!
//! Whoever may edit the slice can take an epoch back. A replica that knows better, by what it has seen of the slice, of
//! the leader Service or of the second family's slice, goes beyond that all the same. One that was blind meanwhile knows
//! at most that the line was edited, or that neither of these two confirms it: its next term then starts at the clock, and
//! the leader Service is read first.
//!
//! `tests/model` explores this exhaustively for a few replicas, pods and faults, without any Lease.

mod candidates;
mod contest;
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

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use statig::blocking::{IntoStateMachineExt as _, StateMachine};

pub use candidates::{Bar, Candidate, Chance};
pub use contest::Contest;
pub use effect::{Cause, Effect, Mirror, Notice, OrderId, Reason, Scope, Step, Transition};
pub use event::{Departure, Event, Obstruction, Outcome, Standing};
pub use member::{Endpoint, Member, Pod, Reach, Site, Version};
pub use policy::{Failback, MaxSwitches, Policy, Strategy, Switchover};
pub use publication::{Epoch, Publication, Shown, Wanted};
pub use state::{Phase, State};
pub use time::{Micros, Timestamp};

use facts::{Facts, Life};
use rules::{Cx, Rules};

/// The election of one source Service.
///
/// It can be copied and put into words, whole: the copy then goes on as the original would have done. That is how
/// a log begins in the midst of an election's life. The words are those of this version alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Election {
    machine: StateMachine<Rules>,
    facts: Facts,
    now: Timestamp,
}

/// Two that are equal will do the same from now on.
impl PartialEq for Election {
    fn eq(&self, other: &Self) -> bool {
        self.now == other.now && self.state() == other.state() && self.facts == other.facts
    }
}

impl Eq for Election {}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, facts, now } = self;
        f.debug_struct("Election")
            .field("state", machine.state())
            .field("facts", facts)
            .field("now", now)
            .finish()
    }
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

    /// Whether the API server has told us that the authority slice says what the state wants it to say.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.facts.is_acknowledged(self.machine.state(), self.now)
    }

    /// Whether clients reach somebody: whether the pod that is published is Ready, as far as we know. Nothing while what
    /// is published is not known, or is being removed.
    #[must_use]
    pub fn is_served(&self) -> Option<bool> {
        self.facts.is_served()
    }

    /// What is known of a member.
    #[must_use]
    pub fn member(&self, pod: &Pod) -> Option<&Member> {
        self.facts.row(pod).map(|row| &row.member)
    }

    /// What the source Service asks for.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.facts.policy
    }

    /// Whether who leads, or is to lead, may go on with it as far as is known.
    #[must_use]
    pub fn is_leader_fit(&self) -> bool {
        self.state().pod().is_some_and(|pod| self.facts.is_fit(pod))
    }

    /// How many members could be chosen now.
    #[must_use]
    pub fn eligible(&self) -> usize {
        self.facts.eligible(self.now)
    }

    /// All members: first those that can be chosen, then those that will be, then the others, each by rank.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate<'_>> {
        self.facts.candidates(self.now)
    }

    /// Who would follow if the leader, or whoever is to lead, were lost now.
    #[must_use]
    pub fn successor(&self) -> Option<&Pod> {
        self.facts.successor(self.state().pod(), self.now)
    }

    /// The member that is to take over from the leader, which is fit, and until when it waits because the leader has
    /// changed too often: see [`MaxSwitches`].
    #[must_use]
    pub fn deferred(&self) -> Option<(&Pod, Timestamp)> {
        let State::Elected { leader, .. } = self.state() else { return None };
        let (candidate, cause) = self.facts.wish(leader, self.now)?;
        Some((candidate, self.facts.allowed_from(cause))).filter(|(_, from)| *from > self.now)
    }

    /// Whether no choices are made, because a person asked for that.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.facts.is_paused()
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

    /// How many bytes it takes, without the texts, which it shares with whoever told them.
    #[must_use]
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.facts.heap()
    }

    /// Whether what we owned is removed and the election over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.facts.life == Life::Removed
    }
}

/// Everything that the next steps depend on, so that a model checker can tell situations apart.
impl Hash for Election {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { machine, facts, now } = self;
        machine.state().hash(state);
        facts.hash(state);
        now.hash(state);
    }
}
