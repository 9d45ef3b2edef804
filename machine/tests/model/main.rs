//! The protocol, explored exhaustively: replicas of the machine as it is, a store that compares and swaps, watches that
//! lag, pods, and whatever can go wrong within a budget of faults.
//!
//! Of one Service with the default policy, everything is explored that a few replicas, pods and faults can come to, in
//! whatever order. I1, I2, I3, I4, I9 and I10 are checked in every situation; and in each in which nothing is left to
//! do, all are of one mind, and what is published is right. (As a property of single situations: what stateright calls
//! `eventually` overlooks paths that join.) Nobody ever holds the Lease, each replica has a clock of its own, and that
//! moves only to its next deadline, whenever that pleases. But when the slice is deleted, or a replica begins from one
//! without an epoch, clocks are ahead of all epochs: it is the one thing that the design asks of them.
//!
//! # What counts as a fault
//!
//! - Anything that befalls a pod: Ready or not, terminating, deleted, created, replaced by another of its name and
//!   address.
//! - A write, a read or a question about a pod that is not carried out and answered at once: it is late, or its answer
//!   is; the answer is lost, and the write has happened, has not, or happens later, maybe after its writer has died.
//! - An edit of the slice by somebody else: emptied, given a second endpoint, deleted.
//! - A replica that dies, and another that begins; a pods' watch that misses events and begins anew.
//! - With [`Lags::AreFaults`], a watch that stalls. From then on it may lag as it likes. Other watches have shown what
//!   there is, in any order, before the next fault. With [`Lags::Free`] all watches may always lag.
//!
//! # Why it ends
//!
//! Situations are the same if nothing to come can tell them apart: see [`canon`]. No situation can follow itself: with
//! each action, the faults grow; or the epoch does; or revisions without a new epoch, of which there are only so many
//! between faults; or what is open or still to be learned shrinks; or orders and alarms without any news grow,
//! of which there are only so many, too. Both numbers belong to the situation, and that they stay below their limits
//! is a property that is checked.
//!
//! # How much is explored
//!
//! Each line with all smaller budgets before it, with and without bookmarks. The times are of its last budget, on one of
//! two cores of a busy machine.
//!
//! | replicas | pods | begins | watches | faults | situations | transitions | time |
//! |---|---|---|---|---|---|---|---|
//! | 2 | 3 | led | stalls are faults | 3 | 332,791 | 765,463 | 5 s |
//! | 2 | 3 | led | lag freely | 2 | 60,768 | 161,689 | 1 s |
//! | 2 | 3 | without a slice | stalls are faults | 2 | 55,566 | 146,991 | 1 s |
//! | 2 | 3 | without a slice | lag freely | 1 | 3,058 | 7,810 | 0.1 s |
//! | 1 | 2 | led | lag freely | 3 | 66,652 | 136,638 | 1 s |
//! | 1 | 2 | without a slice | lag freely | 3 | 194,425 | 470,743 | 2 s |
//! | 3 | 2 | led | stalls are faults | 2 | 87,177 | 304,414 | 2 s |
//! | *2* | *3* | *led* | *stalls are faults* | *4* | 10,717,656 | 28,915,974 | 4 min |
//! | *2* | *3* | *without a slice* | *stalls are faults* | *3* | 2,109,924 | 6,384,672 | 40 s |
//! | *2* | *3* | *without a slice* | *lag freely* | *2* | 420,454 | 1,335,492 | 10 s |
//! | *1* | *2* | *led* | *lag freely* | *4* | 1,795,629 | 4,408,339 | 25 s |
//! | *1* | *2* | *without a slice* | *lag freely* | *4* | 5,085,062 | 13,948,625 | 80 s |
//!
//! `cargo test` explores the lines in upright letters, and with `MODEL_LARGE=1` those in italics as well:
//!
//! ```text
//! MODEL_LARGE=1 cargo test -p machine --test model -- --nocapture --test-threads 1
//! ```
//!
//! Four faults are within reach because slowness is one: of a watch, and of an order. With watches that lag freely,
//! three faults were not explored to the end in three minutes, nor, with writes as well that take as long as they
//! please, three changes of pods alone in eight.
//!
//! # What it was seen to catch
//!
//! The machine was broken by hand, each time in one place, and this is what failed:
//!
//! | the machine | what failed |
//! |---|---|
//! | writes over another version than it knows | I4 |
//! | writes while a write is open | I3, and no end |
//! | writes while its question about the leader is open | I3 |
//! | gives a new term the epoch of the last | I3 |
//! | repeats a write after a conflict, without looking | no end |
//! | compares pods by name | what rests is not settled |
//! | adopts a term without asking whether its facts call the leader fit | what rests is not settled |
//! | adopts a term without asking about a leader whom only old facts call unfit | I10 |
//! | unseats a leader whom it adopted by news that is older than the adopted term | I10 |
//! | does not adopt the terms of others | I10 |
//! | ignores the answer that a pod is gone | I2 |
//! | believes a watch event that is older than an answer | I9 |
//! | publishes a leader in a slice that it creates | I3 |
//!
//! And with a store that does not compare, I3 fails: that is a test below.
//!
//! What it does not catch, because the store makes up for it: whether the slice is read after a write of unknown
//! outcome, and whether the epoch of such a write is used again. Either way the next write meets a conflict.

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod canon;
mod invariants;
mod pods;
mod protocol;
mod replica;
mod server;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker as _, HasDiscoveries, Model};

use protocol::{I3, Lags, Protocol, Start};

/// Whether to explore what takes minutes.
fn is_large() -> bool {
    std::env::var_os("MODEL_LARGE").is_some()
}

/// Explores with ever more faults, so that a failure is one of few.
///
/// `faults`: as a rule, and at large.
fn check(replicas: usize, pods: usize, start: Start, lags: Lags, faults: [u8; 2]) {
    for faults in 0..=faults[usize::from(is_large())] {
        let protocol = Protocol { replicas, pods, faults, start, lags, compares: true };
        explore(protocol, HasDiscoveries::AnyFailures).assert_properties();
    }
}

fn explore(protocol: Protocol, until: HasDiscoveries) -> impl stateright::Checker<Protocol> {
    let checker = protocol.checker().finish_when(until).spawn_dfs();
    checker.join_and_report(&mut Report(protocol))
}

/// Prints what was explored, and how long it took.
struct Report(Protocol);

impl Reporter<Protocol> for Report {
    fn report_checking(&mut self, data: ReportData) {
        if data.done {
            let ReportData { unique_states, total_states, max_depth, duration, .. } = data;
            let Protocol { replicas, pods, faults, start, lags, .. } = self.0;
            println!(
                "{replicas} replicas, {pods} pods, {start:?}, {faults} faults, lags {lags:?}: {unique_states} states, \
                 {total_states} transitions, at most {max_depth} in a row, {:.1} s",
                duration.as_secs_f64()
            );
        }
    }

    fn report_discoveries(&mut self, _: &Protocol, _: BTreeMap<&'static str, ReportDiscovery<Protocol>>)
    where
        <Protocol as Model>::Action: Debug + PartialEq,
        <Protocol as Model>::State: Debug + Hash + PartialEq,
    {
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(20)
    }
}

#[test]
fn i1_i3_i4_while_the_watches_keep_up_or_stall() {
    check(2, 3, Start::Led, Lags::AreFaults, [3, 4]);
}

#[test]
fn i1_i3_i4_while_the_watches_lag_as_they_like() {
    check(2, 3, Start::Led, Lags::Free, [2, 2]);
}

#[test]
fn i1_i3_i4_from_the_first_election_on() {
    check(2, 3, Start::Fresh, Lags::AreFaults, [2, 3]);
    check(2, 3, Start::Fresh, Lags::Free, [1, 2]);
}

/// More faults than with two, and all that a single one has to get right.
#[test]
fn i1_i3_i4_of_one_replica() {
    check(1, 2, Start::Led, Lags::Free, [3, 4]);
    check(1, 2, Start::Fresh, Lags::Free, [3, 4]);
}

#[test]
fn i1_i3_i4_of_three_replicas() {
    check(3, 2, Start::Led, Lags::AreFaults, [2, 2]);
}

/// What keeps the epochs is that a write names the version it was decided on, and that the store asks for it.
#[test]
fn i3_falls_if_the_store_does_not_compare() {
    let protocol =
        Protocol { replicas: 2, pods: 3, faults: 2, start: Start::Led, lags: Lags::Free, compares: false };
    let found = explore(protocol, HasDiscoveries::AllOf(BTreeSet::from([I3])));
    assert!(found.discovery(I3).is_some());
}
