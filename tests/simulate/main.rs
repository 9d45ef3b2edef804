//! The controller as it is shipped, simulated: several replicas over an API server in memory, in a time that jumps from
//! event to event, with all that can go wrong. One seed decides everything, so that whatever is found can be seen again.
//!
//! `SIM_SEEDS=20000 cargo test --release --test simulate` tries more of them, `SIM_FIRST=500` begins with that one, `SIM_SEED=7` tries one only,
//! `SIM_LOG=1` with the controller's log.

mod asks;
mod history;
mod invariants;
mod net;
mod notices;
mod plan;
mod sabotage;
mod server;
mod shrink;
mod simulation;
mod store;
mod terms;
mod time;
mod watch;
mod world;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::plan::Plan;
use crate::simulation::simulate;

/// Seeds in one run of the tests.
const SEEDS: u64 = 400;

/// Seeds that are simulated twice.
const SAME: u64 = 30;

/// Seeds in which a mistake has to be found out.
const ENOUGH: u64 = 500;

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("{variable}={text}: give a number of at most 64 bits"))
}

#[test]
fn whatever_happens_the_invariants_hold_and_it_settles() -> Result<()> {
    let one = number("SIM_SEED")?;
    if one.is_some() && std::env::var_os("SIM_LOG").is_some() {
        let log = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::DEBUG);
        // Another test may have begun to log.
        let _ = log.with_ansi(false).without_time().try_init();
    }
    let first = one.or(number("SIM_FIRST")?).unwrap_or_default();
    let many = one.map(|_| 1).or(number("SIM_SEEDS")?).unwrap_or(SEEDS);
    let seeds = first..first.saturating_add(many);
    let begun = Instant::now();
    let (mut steps, mut simulated, mut failed) = (0, 0, Vec::new());
    for seed in seeds.clone() {
        let plan = Plan::new(seed);
        let verdict = simulate(&plan, None);
        steps += verdict.steps;
        simulated += verdict.simulated / 1_000;
        if !verdict.violations.is_empty() {
            failed.push(plan);
        }
    }
    let took = begun.elapsed();
    let a_second = |number: u64| u128::from(number) * 1_000 / took.as_millis().max(1);
    println!(
        "{} seeds in {took:.1?}, {steps} steps: {} steps and {} simulated seconds a second",
        seeds.end - seeds.start,
        a_second(steps),
        a_second(simulated),
    );
    if let Some(first) = failed.first() {
        let which: Vec<_> = failed.iter().map(|plan| plan.seed).collect();
        bail!("{} failed: {which:?}; the first of them:\n{}", failed.len(), shrink::report(first, None));
    }
    Ok(())
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..SAME {
        let plan = Plan::new(seed);
        assert_eq!(simulate(&plan, None), simulate(&plan, None), "seed {seed}");
    }
}

/// A simulation that finds nothing proves nothing: each of these mistakes has to be found out.
#[test]
fn every_mistake_is_found_out() {
    for sabotage in sabotage::ALL {
        let is_found = |seed: &u64| !simulate(&Plan::new(*seed), Some(sabotage)).violations.is_empty();
        let found = (0..ENOUGH).find(is_found);
        println!("{sabotage:?}: seed {found:?}");
        assert!(found.is_some(), "{sabotage:?} is not found out in {ENOUGH} seeds");
    }
}
