//! What happens to the slice, by others, and how replicas come to see it.

use machine::{Epoch, Event, Shown, Timestamp};

use crate::pods::{endpoint, is_fit, uid};
use crate::server::Author;

use super::World;

/// An epoch that somebody makes up: far below the clock.
const FORGED: Epoch = Epoch(3);

impl World {
    pub(super) fn show_slices(&mut self, n: usize, count: usize) {
        for _ in 0..count {
            let replica = &mut self.replicas[n];
            let Some(shown) = self.server.revisions.get(replica.slices) else { return };
            replica.slices += 1;
            let published = shown.stored.as_ref().map(|stored| stored.seen_by(replica.life));
            let by = (shown.by == Author::Foreign).then(|| "kubectl".into());
            let horizon = replica.horizon(&self.server);
            self.feed(n, Event::PublicationObserved { published, horizon, by });
        }
    }

    /// Another replica, which keeps the rules, takes this pod for fit.
    pub(super) fn term(&mut self, slot: usize) {
        let Some(truth) = self.server.pods.slots[slot].as_ref().filter(|truth| truth.is_member) else {
            return;
        };
        let (pod, reach) = (truth.member.pod.clone(), truth.member.reach);
        let Some(endpoint) = reach.endpoint() else { return };
        let present = self.server.slice.as_ref().and_then(|stored| stored.publication.epoch);
        let present = present.filter(|epoch| epoch.0 < self.now.as_secs() + 10 * 365 * 24 * 3_600);
        let epoch = Epoch(self.server.highest_epoch().max(present.unwrap_or_default()).0 + 1);
        self.server.overwrite(true, |publication| {
            publication.leader = Some(pod);
            publication.epoch = Some(epoch);
            publication.shown = Shown::Ready(endpoint);
            publication.intact = true;
        });
    }

    /// Another replica saw a loss that it has no successor for.
    pub(super) fn withdraw(&mut self, drain: bool) {
        let Some(publication) = self.server.slice.as_ref().map(|stored| &stored.publication) else { return };
        let Some(leader) = publication.leader.clone() else { return };
        if !self.server.is_true(publication) {
            return;
        }
        let truth = self.server.pods.find(uid(&leader)).map(|truth| truth.member.clone());
        match truth {
            Some(member) if drain && member.ready && member.terminating => {
                if let Some(endpoint) = member.reach.endpoint() {
                    self.server
                        .overwrite(true, |publication| publication.shown = Shown::Terminating(endpoint));
                }
            }
            Some(member) if is_fit(&member) => {}
            Some(_) | None => self.server.overwrite(true, |publication| {
                publication.leader = None;
                publication.shown = Shown::Nobody;
            }),
        }
    }

    pub(super) fn delete_slice(&mut self) {
        self.outrun_unknown_epochs();
        self.server.delete_slice();
    }

    pub(super) fn edit(&mut self, kind: u8) {
        let Some(present) = self.server.slice.clone() else { return };
        let is_known = self.replicas.iter().all(|replica| replica.knows(&present));
        // To whoever has seen no term yet, any is new.
        let have_seen_terms = self.replicas.iter().all(|replica| replica.told.highest_epoch() > Some(FORGED));
        if matches!(kind, 3..=5 | 9) && !is_known || kind == 4 && !have_seen_terms {
            // Whoever never knew the true pair of leader and epoch cannot tell that it was forged.
            return;
        }
        self.outrun_epochs();
        // The leader of the term that a withdrawal ended.
        let mut commits =
            self.server.commits.iter().rev().filter(|commit| Some(commit.epoch) == present.publication.epoch);
        let ended = commits.find_map(|commit| self.server.pods.find(commit.leader?));
        let ended = ended.and_then(|truth| Some((truth.member.pod.clone(), truth.member.reach.endpoint()?)));
        let stranger = self.server.pods.present().next().map(|truth| truth.member.pod.clone());
        let beyond = self.now.as_secs() + 11 * 365 * 24 * 3_600;
        self.server.overwrite(false, |publication| match kind {
            0 => {
                publication.leader = None;
                publication.shown = Shown::Nobody;
            }
            1 => publication.shown = Shown::Foreign,
            2 => publication.shown = Shown::Ready(endpoint(66)),
            3 => publication.leader = stranger,
            4 => publication.epoch = Some(FORGED),
            5 => publication.epoch = None,
            6 => publication.intact = false,
            7 => {
                publication.leader = stranger;
                publication.epoch = publication.epoch.map(|epoch| Epoch(epoch.0 + 50));
                publication.shown = Shown::Ready(endpoint(66));
            }
            8 => publication.epoch = Some(Epoch(beyond)),
            9 => {
                if let Some((pod, endpoint)) = ended {
                    publication.leader = Some(pod);
                    publication.shown = Shown::Ready(endpoint);
                }
            }
            _ => publication.handled = Some("x".into()),
        });
    }

    /// A slice that is made anew starts at the clock, which is taken to be ahead of all epochs: more than one
    /// term in every second of a Service's life cannot be told from lost ones.
    pub(super) fn outrun_epochs(&mut self) {
        self.now = self.now.max(Timestamp::from_secs(self.server.highest_epoch().0 + 1));
    }

    /// Unless all replicas know them, and the mirror does.
    fn outrun_unknown_epochs(&mut self) {
        let highest = self.server.highest_epoch();
        let is_known = self.replicas.iter().all(|replica| replica.told.highest_epoch() >= Some(highest));
        if !is_known || self.server.mirrored < Some(highest) {
            self.outrun_epochs();
        }
    }

    /// Nothing that a replica could know tells it that the recorded pair of leader and epoch is not the one that
    /// was published, if it was not there: such a slice is taken away.
    pub(super) fn remove_what_nobody_could_know(&mut self) -> Option<Epoch> {
        self.outrun_unknown_epochs();
        let publication = self.server.slice.as_ref().map(|stored| stored.publication.clone())?;
        let epoch = publication.epoch?;
        if !self.server.is_true(&publication) {
            self.server.delete_slice();
        }
        (epoch != self.server.highest_epoch()).then(|| self.server.highest_epoch())
    }
}
