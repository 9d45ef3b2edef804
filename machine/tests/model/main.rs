//! The model.

#![allow(clippy::panic, reason = "a test")]

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

/// Whether to explore all that can be in an hour, and not in a minute.
fn is_large() -> bool {
    std::env::var_os("MODEL_LARGE").is_some()
}

/// Explores with ever more faults, so that a failure is one of few.
fn check(start: Start, lags: Lags, faults: u8, large: u8) {
    let faults = if is_large() { large } else { faults };
    for faults in 0..=faults {
        let protocol = Protocol { replicas: 2, pods: 3, faults, start, lags, compares: true };
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
    check(Start::Led, Lags::AreFaults, 3, 4);
}

#[test]
fn i1_i3_i4_while_the_watches_lag_as_they_like() {
    check(Start::Led, Lags::Free, 2, 3);
}

#[test]
fn i1_i3_i4_from_the_first_election_on() {
    check(Start::Fresh, Lags::AreFaults, 2, 3);
    check(Start::Fresh, Lags::Free, 1, 2);
}

/// What keeps the epochs is that a write names the version it was decided on, and that the store asks for it.
#[test]
fn i3_falls_if_the_store_does_not_compare() {
    let protocol =
        Protocol { replicas: 2, pods: 3, faults: 2, start: Start::Led, lags: Lags::Free, compares: false };
    let found = explore(protocol, HasDiscoveries::AllOf(BTreeSet::from([I3])));
    assert!(found.discovery(I3).is_some());
}
