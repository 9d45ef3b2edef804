//! What is known of the authority slice: what the API server last showed, and which of it is news.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Cause, Epoch, Notice, Pod, Publication, Reason, Shown, Standing, Step, Timestamp, Version};

use super::{Epochs, Facts, Life, News};

/// The authority slice as we know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Slice {
    /// A write's outcome is unknown, or we know to be behind.
    Unknown,
    Absent,
    Present(Publication),
}

impl Slice {
    pub(crate) const fn present(&self) -> Option<&Publication> {
        match self {
            Self::Present(publication) => Some(publication),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// What an event showed of the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Nothing, or nothing that is not known, or what we ordered.
    #[default]
    Nothing,
    /// A term above the last acknowledged one. `certain`: our facts about pods are newer than it.
    Term { certain: bool },
    /// Anything else. `certain`: likewise.
    Edited { certain: bool },
}

/// How the slice came to be seen.
pub(super) enum Source<'a> {
    /// By a read that was ordered after we had lost sight of it: the truth, whatever we knew before.
    Read,
    /// By the watch; written by this field manager, if that is not ours.
    Watch(Option<&'a Arc<str>>),
}

impl Facts {
    /// Whether the slice shows `pod` as the leader of `epoch`.
    pub(crate) fn shows(&self, pod: &Pod, epoch: Epoch) -> bool {
        self.slice.present().is_some_and(|publication| {
            publication.leader.as_ref() == Some(pod) && publication.epoch == Some(epoch)
        })
    }

    /// Whether a Ready pod is published; nothing while that is not known, or not wanted any more.
    pub(crate) fn is_served(&self) -> Option<bool> {
        let publication = match &self.slice {
            Slice::Unknown => return None,
            Slice::Present(_) | Slice::Absent if matches!(self.life, Life::Removing | Life::Removed) => {
                return None;
            }
            Slice::Absent => return Some(false),
            Slice::Present(publication) => publication,
        };
        let leader = match publication.shown {
            Shown::Ready(_) | Shown::Terminating(_) => publication.leader.as_ref(),
            Shown::Nobody | Shown::Foreign => None,
        };
        Some(leader.and_then(|leader| self.row(leader)).is_some_and(|row| row.member.ready))
    }

    /// Takes over how the slice stands when decisions begin.
    pub(super) fn learn_standing(&mut self, standing: &Standing, at: Timestamp) {
        self.epochs.see(standing.mirrored.filter(|epoch| Epochs::is_plausible(*epoch, at)));
        self.learn_last_switch(at, standing.switched);
        self.acked = None;
        self.newest = Version::default();
        self.vouched = Version::default();
        self.is_ours = false;
        if let Some(flight) = &mut self.flight {
            flight.is_outdated = true;
        }
        let Some(publication) = &standing.published else {
            self.epochs.breaks(at);
            return self.know(Slice::Absent);
        };
        self.clear_if_blocked();
        let mut publication = self.accept(publication, at);
        // Somebody took the slice back to a term that was another's: what we do not know of came in between.
        publication.epoch = publication.epoch.filter(|epoch| !standing.contradicts(*epoch, &publication));
        // Somebody may have deleted the leader Service and taken back the slice.
        let is_confirmed = standing.mirrored.is_some();
        if publication.epoch != self.epochs.known() || publication.epoch.is_none() || !is_confirmed {
            self.epochs.edited(at);
        }
        self.acked = term(&publication);
        self.handled.clone_from(&publication.handled);
        self.announced.clone_from(&publication.leader);
        if let Some(leader) = &publication.leader {
            self.led(at, leader);
        }
        self.heed(&publication);
        self.know(Slice::Present(publication));
    }

    /// Nothing of ours may carry a foreign Service's name.
    const fn clear_if_blocked(&mut self) {
        if let Life::Blocked { by: crate::Obstruction::Service(_), clear } = &mut self.life {
            *clear = true;
        }
    }

    fn know(&mut self, slice: Slice) {
        self.newest = slice.present().map_or(self.newest, |publication| publication.version);
        self.slice = slice;
        // A read that is still open was of an older state.
        self.reading = None;
        self.read_backoff.reset();
    }

    /// What the slice says is no longer known: look again at `when`.
    pub(super) fn lose_sight(&mut self, when: Timestamp) {
        self.slice = Slice::Unknown;
        self.reading = None;
        self.read_backoff.reset();
        self.read_backoff.hold_until(when);
    }

    /// Our own write, acknowledged by its answer.
    pub(super) fn published(&mut self, at: Timestamp, id: crate::OrderId, version: Version) {
        if self.echo.take_if(|echo| *echo == id).is_some() {
            self.is_ours = version == self.newest;
        }
        let Some(flight) = self.flight.take_if(|flight| flight.id == id) else {
            if version > self.newest {
                // What the watch showed was another's, and is gone: ours was created after that.
                self.lose_sight(Timestamp(0));
                self.newest = version;
            }
            return;
        };
        if flight.is_outdated {
            self.epochs.see(flight.wanted.epoch);
            return self.lose_sight(Timestamp(0));
        }
        if version < self.newest {
            // It happened, and something has happened since that we have seen already.
            self.epochs.see(flight.wanted.epoch);
            return;
        }
        // Whose what was seen before has been, no longer matters.
        self.echo = None;
        self.is_ours = true;
        self.performed(at, &flight);
        self.acknowledge(at, flight.wanted.acknowledged(version));
    }

    fn performed(&mut self, at: Timestamp, flight: &crate::orders::Flight) {
        if flight.based_on.is_none() {
            // Until the slice was created there was none: terms may have come and gone, with their slices, that we
            // never saw.
            self.epochs.breaks(at);
        }
        if flight.is_term {
            self.vouched = Version::default();
            self.epochs.begun();
        }
    }

    fn acknowledge(&mut self, at: Timestamp, publication: Publication) {
        self.backoff.reset();
        self.rejection = None;
        self.epochs.see(publication.epoch);
        self.epochs.end(publication.epoch.filter(|_| publication.leader.is_none()));
        let request = self.request.as_ref().map(|request| &request.text);
        if request.is_some()
            && publication.handled.as_ref() == request
            && self.handled.as_ref() != request
            && self.declined.as_ref() != request
        {
            self.news = Some(News { reason: Reason::SwitchoverCompleted, cause: Cause::Switchover });
        }
        if let Some(leader) = &publication.leader {
            self.led(at, leader);
            self.acked = term(&publication);
            self.epochs.mended_by(publication.epoch.unwrap_or_default());
        }
        self.handled.clone_from(&publication.handled);
        self.know(Slice::Present(publication));
    }

    /// The same slice may no longer be as it should be, because the source Service asks for something else now. One of
    /// the same version that says something else is of a restored store, and comes again when that is known.
    fn look_again(&mut self, publication: &Publication) {
        if let Slice::Present(known) = &mut self.slice
            && (known.version, known.epoch, known.shown)
                == (publication.version, publication.epoch, publication.shown)
            && known.leader == publication.leader
        {
            known.intact = publication.intact;
        }
    }

    /// The slice is, or was, this.
    pub(super) fn observe(
        &mut self,
        at: Timestamp,
        published: Option<&Publication>,
        horizon: Version,
        source: &Source<'_>,
        step: &mut Step,
    ) -> Sight {
        if self.life == Life::Unsynced {
            return Sight::Nothing;
        }
        let Some(publication) = published else { return self.vanished(at, source, step) };
        let is_read = matches!(source, Source::Read);
        if !is_read && publication.version <= self.newest {
            self.look_again(publication);
            return Sight::Nothing;
        }
        self.clear_if_blocked();
        if publication.anew {
            self.vanished(at, source, step);
        }
        let known = self.epochs.known();
        let publication = self.accept(publication, at);
        self.accepted_by_server(&publication);
        let is_answer = |flight: &mut Box<crate::orders::Flight>| {
            publication.says(&flight.wanted) && (publication.ours || !flight.is_term)
        };
        if !is_read && let Some(flight) = self.flight.take_if(is_answer) {
            // A term says who wrote it; a repair or a withdrawal may be another replica's.
            self.is_ours = flight.is_term;
            self.echo = (!flight.is_term).then_some(flight.id);
            self.performed(at, &flight);
            self.acknowledge(at, publication);
            return Sight::Nothing;
        }
        let by = if let Source::Watch(by) = source { *by } else { None };
        if by.is_some() && self.is_undone_by(&publication) {
            self.reversed(at, by, step);
        }
        let certain = horizon >= publication.version;
        let sight = match (&publication.leader, publication.epoch) {
            (Some(leader), Some(epoch))
                // Somebody may have edited the endpoints since: the term is that of whoever began it all the same.
                if self.is_above_acknowledged(epoch) && !self.contradicts(&publication) =>
            {
                // Whose what was seen before has been, no longer matters.
                self.echo = None;
                self.is_ours = publication.ours;
                self.led(at, leader);
                self.acked = term(&publication);
                self.handled.clone_from(&publication.handled);
                self.backoff.reset();
                self.epochs.mended_by(epoch);
                Sight::Term { certain }
            }
            _ => {
                self.is_ours = false;
                if publication.handled.is_some() {
                    // The Lease's holder may have refused or completed a request meanwhile.
                    self.handled.clone_from(&publication.handled);
                }
                // Terms above it that we never saw may have been taken back with the one that we know.
                let is_taken_back = publication.epoch < known;
                if publication.epoch.is_none() || is_taken_back || self.contradicts(&publication) {
                    self.epochs.edited(at);
                }
                Sight::Edited { certain }
            }
        };
        self.heed(&publication);
        self.know(Slice::Present(publication));
        sight
    }

    /// Our own term was decided on our own facts: what comes later of its leader counts, however old.
    fn heed(&mut self, publication: &Publication) {
        self.vouched = if publication.ours { Version::default() } else { publication.version };
    }

    /// Notes the epoch of a publication, unless it is one that nobody can have reached.
    fn accept(&mut self, publication: &Publication, at: Timestamp) -> Publication {
        // News is new once.
        let mut publication = Publication { anew: false, ..publication.clone() };
        // One text for one pod: it is compared at every step.
        if let Some(leader) = &mut publication.leader
            && let Some(row) = self.row(leader)
        {
            leader.clone_from(&row.member.pod);
        }
        publication.epoch = publication.epoch.filter(|epoch| Epochs::is_plausible(*epoch, at));
        self.epochs.see(publication.epoch);
        self.epochs.end(publication.epoch.filter(|_| publication.leader.is_none()));
        publication
    }

    /// An endpoint that is published cannot be one that the server refuses, whoever wrote it.
    fn accepted_by_server(&mut self, publication: &Publication) {
        if let Shown::Ready(shown) | Shown::Terminating(shown) = publication.shown
            && let Some(leader) = &publication.leader
            && let Some(row) = self.row_mut(leader)
        {
            row.refused &= row.endpoint() != Some(shown);
        }
    }

    fn is_above_acknowledged(&self, epoch: Epoch) -> bool {
        self.acked.as_ref().is_none_or(|(acked, _)| epoch > *acked)
    }

    /// Whether it names another leader than we know its epoch to have: that of the last acknowledged term, or of
    /// one that we wrote ourselves.
    fn contradicts(&self, publication: &Publication) -> bool {
        let (Some(recorded), Some(epoch)) = (&publication.leader, publication.epoch) else { return false };
        let acked = self.acked.as_ref().and_then(|(acked, leader)| Some((acked, leader.as_ref()?)));
        let ordered = self.ordered.as_ref().filter(|_| publication.ours).map(|(epoch, pod)| (epoch, pod));
        let known = [acked, ordered];
        known.into_iter().flatten().any(|(known, leader)| *known == epoch && leader != recorded)
    }

    /// There is no slice.
    pub(super) fn vanished(&mut self, at: Timestamp, source: &Source<'_>, step: &mut Step) -> Sight {
        if let Slice::Absent = self.slice {
            return Sight::Nothing;
        }
        if self.life == Life::Running && self.slice.present().is_some() {
            self.notify_as_holder(Notice::plain(Reason::EndpointSliceDeleted), step);
            // While we run nobody else of ours deletes it.
            let by = if let Source::Watch(by) = source { *by } else { None };
            self.reversed(at, by, step);
        }
        self.epochs.breaks(at);
        self.is_ours = false;
        self.know(Slice::Absent);
        Sight::Edited { certain: true }
    }

    /// Whether what we had published is no longer what the slice says.
    fn is_undone_by(&self, now: &Publication) -> bool {
        self.slice.present().is_some_and(|before| {
            before.ours
                && before.intact
                && (before.leader != now.leader || before.shown != now.shown || !now.intact)
        })
    }

    fn reversed(&mut self, at: Timestamp, by: Option<&Arc<str>>, step: &mut Step) {
        if self.life == Life::Running && self.contest.get_or_insert_default().reversed(at) {
            let notice = Notice { detail: by.cloned(), ..Notice::plain(Reason::PublicationContested) };
            self.notify(notice, step);
        }
    }
}

impl Standing {
    /// Whether the leader Service says that `epoch` is another pod's than the slice does.
    fn contradicts(&self, epoch: Epoch, published: &Publication) -> bool {
        let pods = published.leader.as_ref().zip(self.mirrored_leader.as_ref());
        self.mirrored == Some(epoch) && pods.is_some_and(|(recorded, mirrored)| recorded.uid() != &**mirrored)
    }
}

fn term(publication: &Publication) -> Option<(Epoch, Option<Pod>)> {
    Some((publication.epoch?, publication.leader.clone()))
}
