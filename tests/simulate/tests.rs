//! What every run of the tests simulates.

use std::ops::ControlFlow;

use clap::ValueEnum as _;
use zen_lead::config::{Command, parse_from};
use zen_lead::replay::replay;

use crate::cores::on_all_cores;
use crate::plan::{Plan, Size};
use crate::sabotage::Sabotage;
use crate::simulation::{record, simulate};
use crate::{default_logs, shrink, try_seeds};

/// Seeds in one run of the tests.
const SEEDS: u64 = 2_000;

/// Seeds that are simulated twice.
const SAME: u64 = 30;

/// Seeds in which a mistake has to be found out.
const ENOUGH: u64 = 500;

#[test]
fn whatever_happens_the_invariants_hold_and_it_settles() {
    let tally = try_seeds(0..SEEDS, Size::default(), None, false);
    print!("{tally}");
    if let Some((seed, _)) = tally.failed.first() {
        panic!("{tally}{}", shrink::report(&Plan::new(*seed, Size::default()), None, &default_logs()));
    }
}

/// On one thread or another, with nothing of what is shared between them.
#[test]
fn the_same_seed_is_the_same_history() {
    let mut first: Vec<_> = (0..SAME).map(|_| None).collect();
    on_all_cores(
        0..2 * SAME,
        |turn| simulate(&Plan::new(turn % SAME, Size::default()), None),
        |turn, verdict| {
            let seed = usize::try_from(turn % SAME).unwrap();
            match first[seed].take() {
                None => first[seed] = Some(verdict),
                Some(before) => assert_eq!(before, verdict, "seed {seed}"),
            }
            ControlFlow::Continue(())
        },
    );
}

/// The first seed in which a mistake is found out, or one of the first; by what must find it out, if that is known.
fn found_out(sabotage: Sabotage) -> Option<u64> {
    let is_it = |violation: &String| {
        sabotage.breaks().is_none_or(|invariant| violation.starts_with(&format!("{invariant}:")))
    };
    let mut found = None;
    on_all_cores(
        0..ENOUGH,
        |seed| simulate(&Plan::new(seed, Size::default()), Some(sabotage)),
        |seed, verdict| {
            let Some(violation) = verdict.violations.iter().find(|violation| is_it(violation)) else {
                return ControlFlow::Continue(());
            };
            println!("{sabotage:?}: seed {seed}, {violation}");
            found = Some(seed);
            ControlFlow::Break(())
        },
    );
    found
}

/// A simulation that finds nothing proves nothing: each of these mistakes has to be found out.
#[test]
fn every_mistake_is_found_out() {
    let missed: Vec<_> =
        Sabotage::value_variants().iter().filter(|mistake| found_out(**mistake).is_none()).collect();
    assert!(missed.is_empty(), "not found out in {ENOUGH} seeds: {missed:?}");
}

/// I14, for whatever the replicas have decided: also where they were misled, and died.
#[test]
fn what_replicas_decide_is_replayed_as_it_was() {
    let folder = default_logs().join("replayed");
    for seed in 0..SAME {
        for sabotage in [None, Some(Sabotage::WriteBlindly), Some(Sabotage::BelieveReady)] {
            let (verdict, logs) = record(&Plan::new(seed, Size::default()), sabotage);
            assert!(!logs.is_empty(), "seed {seed} has no logs: {verdict:?}");
            for log in logs {
                let file = log.write(&folder).unwrap();
                let line = ["zen-lead", "replay", "--quiet", file.to_str().unwrap()];
                let Command::Replay(arguments) = parse_from(line).unwrap().command else { unreachable!() };
                let mut told = Vec::new();
                let differs = replay(&arguments.task(), &mut told).unwrap();
                let told = String::from_utf8(told).unwrap();
                assert!(!differs && !told.contains("records: 0"), "seed {seed}, {sabotage:?}: {told}");
            }
        }
    }
}
