//! The epochs of one Service, as far as anything that was ever committed tells of them: I3.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::store::{Commit, Resource};
use crate::time::unix;

pub(crate) const EPOCH: &str = "zen-lead.io/epoch";
pub(crate) const LEADER_UID: &str = "zen-lead.io/leader-pod-uid";

/// What whoever knows all copies of the epoch must not fall below, and who led in each.
#[derive(Default)]
pub(crate) struct Terms {
    /// No term may be below this.
    highest: u64,
    leaders: BTreeMap<u64, String>,
    /// What the slice shows, and whom it records.
    shown: Option<u64>,
    recorded: Option<String>,
    /// What the leader Service mirrors.
    mirrored: Option<u64>,
}

impl Terms {
    /// A replica has written this into the slice.
    pub(crate) fn published(&mut self, epoch: u64, leader: Option<&str>) -> Result<(), String> {
        // Whoever leaves the pair as it stands claims nothing new: that somebody has taken it back only the mirror tells,
        // which its view of Services may be behind.
        if leader.is_some() && (self.shown, self.recorded.as_deref()) == (Some(epoch), leader) {
            return Ok(());
        }
        // The version before it is known to every writer, whatever else is: it is written over.
        let highest = self.highest.max(self.shown.unwrap_or_default());
        if epoch < highest {
            return Err(format!("epoch {epoch} after {highest}"));
        }
        self.highest = epoch;
        let Some(leader) = leader else { return Ok(()) };
        let leads = self.leaders.entry(epoch).or_insert_with(|| leader.to_owned());
        if leads == leader { Ok(()) } else { Err(format!("{leader} has {leads}'s epoch {epoch}")) }
    }

    /// An object that a restore has left, or brought back.
    pub(crate) fn stands(&mut self, resource: Resource, object: &Value) {
        let epoch = epoch_of(object);
        match resource {
            Resource::Slices => (self.shown, self.recorded) = (epoch, recorded_in(object)),
            Resource::Services => self.mirrored = epoch,
            Resource::Pods | Resource::Events | Resource::Leases => {}
        }
        self.highest = self.highest.max(epoch.unwrap_or_default());
    }

    /// The slice or the leader Service is now something else, by whomever.
    ///
    /// The epoch has two copies, and whoever takes both back takes it back: somebody who edits the slice before its epoch
    /// is mirrored, for instance. What is left is the copies, and where the slice shows no epoch the clock; of terms
    /// in the second that the clock shows, nobody knows who led. Who led in the term that is left is what the slice
    /// says, if it alone shows that one: nothing else tells of whoever it was before.
    pub(crate) fn changed(&mut self, commit: &Commit) {
        let epoch = commit.after.as_deref().and_then(epoch_of);
        match commit.resource {
            Resource::Slices => {
                (self.shown, self.recorded) = (epoch, commit.after.as_deref().and_then(recorded_in));
            }
            Resource::Services => self.mirrored = epoch,
            Resource::Pods | Resource::Events | Resource::Leases => return,
        }
        let clock = if self.shown.is_none() { unix(commit.at) } else { 0 };
        let left = self.shown.unwrap_or(clock).max(self.mirrored.unwrap_or_default());
        if left <= self.highest {
            self.highest = left;
            let is_told = [self.shown, self.mirrored].contains(&Some(left));
            self.leaders.retain(|epoch, _| *epoch < left || is_told && *epoch == left);
            let is_left = self.shown == Some(left) && self.mirrored != Some(left);
            if let Some(leader) = self.recorded.clone().filter(|_| is_left) {
                self.leaders.insert(left, leader);
            }
        }
    }
}

/// Whom a slice records as its leader.
fn recorded_in(slice: &Value) -> Option<String> {
    slice["metadata"]["annotations"][LEADER_UID].as_str().map(str::to_owned)
}

/// The epoch that a slice shows or a Service mirrors.
pub(crate) fn epoch_of(object: &Value) -> Option<u64> {
    object["metadata"]["annotations"][EPOCH].as_str()?.parse().ok()
}
