//! What people are told: each term by one notice at most, over all replicas, and with a cause that is true: I9.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::store::Commit;

/// The reasons with which a term is told.
const OF_A_TERM: [&str; 4] = ["LeaderElected", "LeaderChanged", "LeaderRecovered", "SwitchoverCompleted"];

/// What there was to tell, and what was told.
#[derive(Default)]
pub(crate) struct Notices {
    /// The notices of each source Service, by its UID, and epoch.
    told: BTreeMap<(String, String), Vec<String>>,
    /// What has ever happened to the pods of each name, which is what notices say, in the words of causes.
    happened: BTreeMap<String, BTreeSet<&'static str>>,
    /// How often each of these epochs was begun.
    begun: BTreeMap<(String, String), usize>,
    /// How often the pods of each name have become Ready again.
    recovered: BTreeMap<String, usize>,
    /// Source Services, by UID, that have ever asked for a better-ranked leader, or for a certain one.
    failback: BTreeSet<String>,
    switchover: BTreeSet<String>,
    is_restored: bool,
}

impl Notices {
    /// A pod is now something else, or gone.
    pub(crate) fn pod(&mut self, commit: &Commit) {
        let Some(before) = commit.before.as_deref() else { return };
        let happened = self.happened.entry(commit.name.clone()).or_default();
        let Some(pod) = commit.after.as_deref() else {
            happened.insert("gone");
            return;
        };
        let ready = |pod: &Value| pod["status"]["conditions"][0]["status"] == "True";
        if ready(pod) && !ready(before) {
            *self.recovered.entry(commit.name.clone()).or_default() += 1;
        }
        let is_so = [
            ("unready", pod["status"]["conditions"][0]["status"] != "True"),
            ("terminating", !pod["metadata"]["deletionTimestamp"].is_null()),
            ("relabelled", pod["metadata"]["labels"] != before["metadata"]["labels"]),
            ("excluded", pod["metadata"]["annotations"]["zen-lead.io/never-lead"] == "true"),
        ];
        happened.extend(is_so.iter().filter(|(_, is_so)| *is_so).map(|(cause, _)| *cause));
    }

    /// The store has gone back: a pod that is known may be no more, and what was told may come true again.
    pub(crate) fn restored(&mut self) {
        self.is_restored = true;
        self.told.clear();
    }

    /// A source Service asks for this.
    pub(crate) fn source(&mut self, source: &Value) {
        let (uid, annotations) = (&source["metadata"]["uid"], &source["metadata"]["annotations"]);
        let uid = uid.as_str().unwrap_or_default();
        if annotations["zen-lead.io/failback"].is_string() {
            self.failback.insert(uid.to_owned());
        }
        if annotations["zen-lead.io/switchover-to"].is_string() {
            self.switchover.insert(uid.to_owned());
        }
    }

    /// A replica has sent a notice.
    pub(crate) fn told(&mut self, notice: &Value) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (reason, note) = (text(&notice["reason"]), text(&notice["note"]));
        let source = text(&notice["regarding"]["uid"]);
        let cause = between(&note, "Cause: ", " (");
        if let Some(cause) = cause {
            self.caused(&source, &note, cause)?;
        }
        let Some(epoch) = between(&note, "Epoch: ", ".") else { return Ok(()) };
        if OF_A_TERM.contains(&&*reason) && cause.is_none() {
            return Err(format!("I9: no cause is told: {note}"));
        }
        let key = (source, epoch.to_owned());
        let told = self.told.entry(key.clone()).or_default();
        let is_of_a_term = OF_A_TERM.contains(&&*reason);
        told.push(reason);
        // A notice of anything else tells of no term again, and need not name the leader, whose recoveries count below.
        if !is_of_a_term {
            return Ok(());
        }
        let many = |reason: &str| told.iter().filter(|told| *told == reason).count();
        // A leader that was tolerated while it was not Ready is told of again, in its term.
        let leader = notice["related"]["name"].as_str().unwrap_or_default();
        let tolerated = self.recovered.get(leader).copied().unwrap_or_default();
        let recoveries = many("LeaderRecovered").saturating_sub(tolerated);
        // A request for whoever leads anyway is told of as well.
        let terms = many("LeaderElected") + many("LeaderChanged") + recoveries;
        // Within the second that the clock shows, an epoch may be begun once more when all copies of it are lost.
        let begun = self.begun.get(&key).copied().unwrap_or(1);
        // After a restore two replicas may begin with the same epoch, that of the clock: the exception of the invariants.
        if terms > begun && !self.is_restored {
            Err(format!("notices: a term is told {terms} times: {told:?}, {note}"))
        } else {
            Ok(())
        }
    }

    /// Whether the cause that a notice states for the end of a leadership has been at all.
    fn caused(&self, source: &str, note: &str, cause: &str) -> Result<(), String> {
        let is_so = match cause {
            // Where nobody is named who had led, there is nobody to look at.
            _ if self.is_restored || !note.contains(" before.") => true,
            "unready" | "terminating" | "gone" | "relabelled" | "excluded" => {
                // Whoever begins, or lists anew, cannot tell a pod that is no member from one that is no more.
                let is_it = |all: &BTreeSet<&str>| {
                    all.contains(cause) || cause == "gone" && all.contains("relabelled")
                };
                // What goes on for long may have gone on from one leader to the next: named is the first, told the last.
                let is_long = note.starts_with("A failover took longer");
                let is_meant = |name: &str| {
                    let service = name.split_inclusive('-').next().unwrap_or_default();
                    note.contains(name) || is_long && note.contains(service)
                };
                let happened = |(name, all): (&String, &BTreeSet<_>)| is_meant(name) && is_it(all);
                self.happened.iter().any(happened)
            }
            "failback" => self.failback.contains(source),
            "switchover" => self.switchover.contains(source),
            // Nothing of this ever happens here.
            "finished" | "address_lost" | "port_unresolved" | "node_lost" | "cordoned" => false,
            _ => true,
        };
        if is_so { Ok(()) } else { Err(format!("I9: the cause that is told has never been: {note}")) }
    }

    /// A term has begun, by whoever's hand.
    pub(crate) fn begun(&mut self, source: &str, epoch: u64) {
        *self.begun.entry((source.to_owned(), epoch.to_string())).or_default() += 1;
    }

    /// Whether the term is told of.
    pub(crate) fn has_told(&self, source: &str, epoch: &str) -> bool {
        let told = self.told.get(&(source.to_owned(), epoch.to_owned()));
        told.is_some_and(|told| told.iter().any(|reason| OF_A_TERM.contains(&&**reason)))
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}
