//! How a Service is doing, in one line or one screen.

use std::io::{self, Write};

use machine::{Chance, Micros};
use serde::Serialize;

use super::age::{self, moment};
use super::changes::{self, Change, ChangeAnswer};
use super::look::Look;
use super::notes::notes;
use crate::kinds::Family;

/// How a Service is doing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) leader_service: String,
    pub(super) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leader: Option<Leader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Members>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) successor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_failover: Option<ChangeAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failover_budget: Option<String>,
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    age: Option<Micros>,
    #[serde(skip)]
    change: Option<(Change, Micros)>,
}

/// The pod that clients reach, and where.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader {
    pub(super) name: String,
    pub(super) uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
}

/// How many pods there are to choose from.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Members {
    pub(super) eligible: usize,
    pub(super) total: usize,
}

impl Summary {
    pub(super) fn of(look: &Look) -> Self {
        let election = look.election.as_ref();
        let candidates = election.map(machine::Election::candidates);
        let since = look.since();
        let change = changes::told(&look.notices).into_iter().rfind(|change| change.from.is_some());
        Self {
            namespace: look.key.0.clone(),
            name: look.key.1.clone(),
            leader_service: look.leader_service.clone(),
            phase: look.phase().as_str(),
            leader: leader(look),
            since: since.map(moment),
            epoch: look.published.as_ref().and_then(|published| published.epoch).map(|epoch| epoch.0),
            members: candidates.as_ref().map(|all| Members {
                eligible: all.iter().filter(|one| one.chance == Chance::Eligible).count(),
                total: all.len(),
            }),
            successor: election.and_then(|election| election.successor()).map(ToString::to_string),
            last_failover: change.as_ref().map(Change::answer),
            failover_budget: look.settings.failover_budget.map(age::span),
            notes: notes(look, candidates.as_deref().unwrap_or_default()),
            age: since.map(|since| look.at.since(since)),
            change: change.map(|change| {
                let ago = look.at.since(change.at);
                (change, ago)
            }),
        }
    }

    /// The cells of its row; `wide` ones are more.
    pub(super) fn cells(&self, wide: bool) -> Vec<String> {
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        let leader = self.leader.as_ref();
        let mut cells = vec![
            self.namespace.clone(),
            self.name.clone(),
            text(leader.map(|leader| &leader.name)),
            self.phase.to_owned(),
            self.age.map(age::age).unwrap_or_default(),
            self.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            self.members.map(|members| members.to_string()).unwrap_or_default(),
            text(leader.and_then(|leader| leader.node.as_ref())),
        ];
        if wide {
            cells.extend([
                text(leader.and_then(|leader| leader.zone.as_ref())),
                self.last_failover(),
                text(self.failover_budget.as_ref()),
            ]);
        }
        cells.push(self.notes.join("; "));
        cells
    }

    /// The headings of these cells.
    pub(super) fn headings(wide: bool) -> Vec<&'static str> {
        let mut headings = vec!["NAMESPACE", "NAME", "LEADER", "PHASE", "SINCE", "EPOCH", "ELIGIBLE", "NODE"];
        if wide {
            headings.extend(["ZONE", "LAST FAILOVER", "BUDGET"]);
        }
        headings.push("NOTES");
        headings
    }

    fn last_failover(&self) -> String {
        let Some((change, ago)) = &self.change else { return String::new() };
        let cause = change.cause.as_deref().unwrap_or("unknown cause");
        let took = change.took.map(|took| format!(", took {}", age::span(took))).unwrap_or_default();
        format!("{} ago: {cause}{took}", age::age(*ago))
    }

    /// One screen.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |label: &str, words: &str| {
            let words = if words.is_empty() { "-" } else { words };
            writeln!(out, "{:<16}{words}", format!("{label}:"))
        };
        line("Service", &format!("{}/{}", self.namespace, self.name))?;
        line("Leader Service", &self.leader_service)?;
        let since = match (&self.since, self.age) {
            (Some(since), Some(ago)) => format!(" since {since} ({} ago)", age::age(ago)),
            _ => String::new(),
        };
        line("Phase", &format!("{}{since}", self.phase))?;
        line("Leader", &self.leader.as_ref().map(ToString::to_string).unwrap_or_default())?;
        line("Epoch", &self.epoch.map(|epoch| epoch.to_string()).unwrap_or_default())?;
        let members =
            self.members.map(|Members { eligible, total }| format!("{eligible} eligible of {total}"));
        line("Members", &members.unwrap_or_default())?;
        line("Successor", self.successor.as_deref().unwrap_or("nobody"))?;
        line("Last failover", &self.last_failover())?;
        line("Budget", self.failover_budget.as_deref().unwrap_or("the controller's (--failover-budget)"))?;
        for (number, note) in self.notes.iter().enumerate() {
            line(if number == 0 { "Notes" } else { "     " }, note)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.eligible, self.total)
    }
}

impl std::fmt::Display for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        for (before, what) in [(" on node ", &self.node), (", zone ", &self.zone), (", at ", &self.address)] {
            if let Some(what) = what {
                write!(f, "{before}{what}")?;
            }
        }
        Ok(())
    }
}

fn leader(look: &Look) -> Option<Leader> {
    let (leader, row) = look.leader()?;
    let family = look.view.as_ref().map_or(Family::V4, |view| view.source.first_family());
    // What is published, where the pod itself cannot be read.
    let endpoint = look.slice.as_ref().and_then(|slice| slice.endpoints.first());
    let node = row.and_then(|row| row.node.as_deref().map(str::to_owned));
    let zone = row.and_then(|row| look.nodes.zone(row).map(str::to_owned));
    let address = row.and_then(|row| row.address(family)).map(|address| address.to_string());
    Some(Leader {
        name: leader.name().to_owned(),
        uid: leader.uid().to_owned(),
        node: node.or_else(|| endpoint?.node_name.clone()),
        zone: zone.or_else(|| endpoint?.zone.clone()),
        address: address.or_else(|| endpoint?.addresses.first().cloned()),
    })
}
