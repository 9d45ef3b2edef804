//! The controller at scale, on a real control plane: many Services opted in at once, many leaders lost at once, start,
//! quiet and memory. Where there is a floor it is a bare client on the same connections, in the same run.
//!
//! `cargo bench --bench scale [-- --only NAME] [--rounds N] [--huge] [--json FILE]`
//!
//! Names: `optin`, `lost`, `start`, `quiet`, `memory`, `many`, `huge`. `--rounds` is for the parts that take time,
//! `--huge` adds 10,000 Services with 50,000 pods, which takes many minutes. `--services` is for trying things out, with
//! fewer than the 500 Services of the usual parts.

#![allow(missing_docs, unreachable_pub, reason = "a program")]

mod bare;
mod fleet;
mod lost;
mod memory;
mod observer;
mod optin;
mod quiet;
mod start;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use fleet::{Fleet, Size};
use lab::{Account, Audit, Lab, Options};
use observer::Observer;
use support::{Controller, Figure, argument, number, report};

/// A control plane with Services, and what is needed to measure on it.
pub struct Bench {
    pub lab: Lab,
    pub account: Account,
    pub fleet: Fleet,
    pub slices: Observer,
}

const PARTS: [&str; 7] = ["optin", "lost", "start", "quiet", "memory", "many", "huge"];

#[tokio::main]
async fn main() -> Result<()> {
    let only = argument("--only");
    let is_huge = std::env::args().any(|argument| argument == "--huge");
    let mut parts: BTreeSet<&str> = PARTS.into_iter().filter(|part| *part != "huge" || is_huge).collect();
    if let Some(only) = only {
        ensure!(PARTS.contains(&&*only), "--only {only}: there are {}", PARTS.join(", "));
        parts.retain(|part| **part == *only);
        parts.extend(PARTS.into_iter().filter(|part| **part == *only));
    }
    let mut figures = Vec::new();
    if parts.iter().any(|part| !["many", "huge"].contains(part)) {
        usual(&parts, &mut figures).await?;
    }
    if parts.contains("many") {
        figures.extend(memory::of_its_own(Size { services: 1_000, pods: 10 }).await?);
    }
    if parts.contains("huge") {
        figures.extend(memory::of_its_own(Size { services: 10_000, pods: 5 }).await?);
    }
    report("scale", &figures)
}

/// The parts on Services with 3 pods each.
async fn usual(parts: &BTreeSet<&str>, figures: &mut Vec<Figure>) -> Result<()> {
    let mut bench = Bench::new(Size { services: number("--services", 500)?, pods: 3 }).await?;
    if parts.contains("optin") {
        figures.extend(optin::measure(&mut bench).await?);
    }
    bench.opt_in_all().await?;
    if parts.contains("lost") {
        figures.extend(lost::measure(&mut bench).await?);
    }
    if parts.contains("start") {
        figures.extend(start::measure(&mut bench).await?);
    }
    if parts.contains("quiet") {
        figures.push(quiet::measure(&mut bench).await?);
    }
    if parts.contains("memory") {
        figures.extend(memory::measure(&mut bench).await?);
    }
    Ok(())
}

impl Bench {
    /// A new control plane with so many Services, none of which opts in yet.
    pub async fn new(size: Size) -> Result<Self> {
        eprintln!("starting a control plane for {size}");
        let lab = Lab::start(Options::default()).await?;
        let home = lab.namespace("zen-lead").await?;
        let account = support::authorise(&home).await?;
        let slices = Observer::begin(&home.kubeconfig_admin()?).await?;
        let fleet = Fleet::create(&lab, size).await?;
        Ok(Self { lab, account, fleet, slices })
    }

    /// Starts the controller, and waits until it is armed.
    pub async fn controller(&self) -> Result<Controller> {
        let controller = Controller::start(&self.account, &[]).await?;
        controller.until_logged("armed: all lists are in").await?;
        Ok(controller)
    }

    /// Lets the controller opt in whatever does not yet, and go again.
    pub async fn opt_in_all(&self) -> Result<()> {
        self.fleet.opt_in(true).await?;
        let mut controller = self.controller().await?;
        let all = self.fleet.leader_slices();
        self.slices.until(&all, |_, leader| leader.is_some()).await?;
        self.quiet().await?;
        controller.stop()
    }

    /// Waits until the controller asks for nothing more.
    pub async fn quiet(&self) -> Result<()> {
        loop {
            let audit = self.audit();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if audit.by(&self.account.user())?.is_empty() {
                return Ok(());
            }
        }
    }

    /// What is asked from now on.
    pub fn audit(&self) -> Audit {
        self.lab.control_plane.audit().from_now()
    }

    /// How many requests the controller has made since: those that change something, and the others.
    pub fn requests(&self, since: &Audit) -> Result<(usize, usize)> {
        let asked = since.by(&self.account.user())?;
        let is_read = |entry: &&lab::Entry| matches!(entry.verb.as_str(), "get" | "list" | "watch");
        let reads = asked.iter().filter(is_read).count();
        Ok((asked.len() - reads, reads))
    }
}
