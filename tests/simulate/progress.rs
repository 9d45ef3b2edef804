//! What has come of the simulations so far, and how fast they go.

use std::fmt;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use crate::cores::cores;
use crate::simulation::Verdict;

/// How often progress is told on a terminal, and else.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(30);

/// What has come of it.
pub(crate) struct Tally {
    begun: Instant,
    /// How many seeds there are to be.
    asked: u64,
    done: u64,
    steps: u64,
    simulated_seconds: u64,
    /// The seeds that failed, and how.
    pub(crate) failed: Vec<(u64, String)>,
    told: Option<Instant>,
}

impl Tally {
    pub(crate) fn of(asked: u64) -> Self {
        Self {
            begun: Instant::now(),
            asked,
            done: 0,
            steps: 0,
            simulated_seconds: 0,
            failed: Vec::new(),
            told: None,
        }
    }

    /// One more is done.
    pub(crate) fn add(&mut self, seed: u64, verdict: &Verdict) {
        self.done += 1;
        self.steps += verdict.steps;
        self.simulated_seconds += verdict.simulated / 1_000;
        if let Some(violation) = verdict.violations.first() {
            // At once: who runs millions of steps need not wait for their end to look at it.
            self.end();
            let _ = writeln!(stderr(), "seed {seed} failed: {violation}");
            self.failed.push((seed, violation.clone()));
        }
    }

    /// A line about it on stderr, if it is time for one.
    pub(crate) fn show(&mut self) {
        let is_watched = stderr().is_terminal();
        let pause = if is_watched { OFTEN } else { SELDOM };
        if self.told.is_some_and(|told| told.elapsed() < pause) {
            return;
        }
        self.told = Some(Instant::now());
        let (done, asked, failed) = (self.done, self.asked, self.failed.len());
        let left = self.begun.elapsed().as_secs() * (asked - done) / done.max(1);
        let rate = self.a_second(self.steps);
        let line = format!(
            "{done} of {asked} seeds, {} steps, {rate} a second, {failed} failed, {left} s left",
            self.steps
        );
        // Over the line before, on a terminal; nobody to tell is no failure.
        let _ = if is_watched { write!(stderr(), "\r{line}\x1b[K") } else { writeln!(stderr(), "{line}") };
    }

    /// Leaves the line of progress, if there is one.
    pub(crate) fn end(&mut self) {
        if self.told.take().is_some() && stderr().is_terminal() {
            let _ = writeln!(stderr());
        }
    }

    fn a_second(&self, number: u64) -> u128 {
        u128::from(number) * 1_000 / self.begun.elapsed().as_millis().max(1)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = cores();
        let a_core = |number| self.a_second(number) / cores as u128;
        writeln!(
            f,
            "{} seeds, {} steps and {} simulated seconds in {:.1?} on {cores} cores; a second and core: {} steps, \
             {} simulated seconds; {} seeds failed",
            self.done,
            self.steps,
            self.simulated_seconds,
            self.begun.elapsed(),
            a_core(self.steps),
            a_core(self.simulated_seconds),
            self.failed.len(),
        )?;
        self.failed.iter().try_for_each(|(seed, violation)| writeln!(f, "  seed {seed}: {violation}"))
    }
}
