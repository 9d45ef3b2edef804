//! Another writer of the leader Service that keeps undoing ours: what is done about the election's slice
//! ([`machine::Contest`]), done about the object beside it.

use machine::{Mirror, Timestamp};

use super::{Managed, Outcome, Surroundings};
use crate::kinds::ServiceLite;
use crate::names::FIELD_MANAGER;
use crate::notice::Notice;
use crate::service::{self, ServicePatch};

impl Managed {
    /// What the leader Service is to tell, where it tells this by now. Only who acts first mirrors; and what was to be
    /// mirrored when this replica did so before would undo what the one that did since has mirrored.
    pub(super) fn wanted_mirror(
        &self,
        known: Option<&ServiceLite>,
        cx: &Surroundings<'_>,
    ) -> Option<&Mirror> {
        let mirror = self.service.mirror.as_deref().filter(|_| cx.acts_first)?;
        let mirrored = known.and_then(|known| service::remembered(known, cx.at).epoch);
        (!self.service.is_mirror_old || mirror.epoch >= mirrored).then_some(mirror)
    }

    /// What has to change about the leader Service, if it is this.
    pub(super) fn lacking(&self, known: &ServiceLite, cx: &Surroundings<'_>) -> Option<ServicePatch> {
        service::difference(known, &self.place(cx.identity), self.wanted_mirror(Some(known), cx))
    }

    /// The leader Service is now this, or gone: whether that undoes what we had written, and once too often. Nobody's
    /// traffic waits for what follows: who leads is in the slices.
    pub(super) fn note_reversal(
        &mut self,
        seen: Option<&ServiceLite>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        let by = seen.map(ServiceLite::manager);
        // Our replicas mirror what each of them knows; they do not contend.
        let is_ours = by.is_some_and(|by| by.is_none_or(|by| by == FIELD_MANAGER));
        let Some(known) = self.service.read().filter(|_| !is_ours && !self.is_leaving) else { return };
        // As long as it is not as it should be anyway, nobody undoes anything.
        let is_right = |service: &ServiceLite| self.lacking(service, cx).is_none();
        if !is_right(&known) || seen.is_some_and(is_right) {
            return;
        }
        let is_news = self.service.contest.get_or_insert_default().reversed(cx.at);
        self.service.pace.wait(self.contested_until(), cx.at);
        if is_news && cx.acts_first {
            out.notices.push(Notice::contested(&self.leader_service, by.flatten()));
        }
    }

    /// The leader Service is left to another writer until then.
    pub(super) fn contested_until(&self) -> Timestamp {
        self.service.contest.as_ref().map_or(Timestamp(0), |contest| contest.until())
    }
}
