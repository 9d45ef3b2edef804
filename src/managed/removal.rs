//! What is taken away: our own objects when nobody asks for them, and slices of others under the leader Service's name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::{Event, OrderId, Scope};

use super::{Errand, Identity, Managed, Outcome, Surroundings, is_gone};
use crate::apply::{Reply, Request, Target, Unless};
use crate::failure::{Failure, Kind};
use crate::kinds::SliceLite;
use crate::slice;

impl Managed {
    /// What there is of ours to be deleted.
    pub(super) fn targets(&self, scope: Scope, identity: &Identity) -> Vec<Target> {
        let mut targets = Vec::new();
        if let Some(service) = self.service.read().filter(|_| scope == Scope::Everything) {
            targets.push(Target::of(true, &service.metadata));
        }
        let place = self.place(identity);
        let families = self.view.source.families.iter();
        for (family, observed) in families.zip([self.authority.as_ref(), self.second.observed.as_deref()]) {
            if let Some(observed) = observed {
                targets.push(Target {
                    is_service: false,
                    name: slice::name(&place, *family),
                    uid: observed.extras.uid.clone().unwrap_or_default(),
                    version: observed.publication.version.0,
                });
            }
        }
        targets
    }

    /// The deletion of an object that has to be made anew.
    pub(super) fn delete_stale(&self, metadata: &ObjectMeta, is_service: bool) -> Request {
        let unless = Unless::MadeAnew(self.view.source.uid.to_string());
        let (targets, source) = (vec![Target::of(is_service, metadata)], self.view.source.name.to_string());
        Request::DeleteLeft { targets, source, unless }
    }

    /// The deletion that the election has ordered.
    pub(super) fn removal(&self, scope: Scope, targets: Vec<Target>) -> Request {
        match scope {
            // The Service asks for them, and must not have them as long as a foreign one has the leader Service's name.
            Scope::Slices => {
                let source = self.leader_service.to_string();
                let unless = Unless::Freed(self.service.obstacle.as_deref().map(str::to_owned));
                Request::DeleteLeft { targets, source, unless }
            }
            Scope::Everything => {
                let source = self.view.source.name.to_string();
                Request::DeleteLeft { targets, source, unless: Unless::AskedFor }
            }
        }
    }

    /// These objects are no more.
    fn forget(&mut self, removed: &[Target]) {
        let is_gone = |uid: Option<&str>| removed.iter().any(|target| uid.unwrap_or_default() == target.uid);
        if is_gone(self.service.uid()) {
            self.service.observed = None;
        }
        self.authority.take_if(|slice| is_gone(slice.extras.uid.as_deref()));
        self.second.observed.take_if(|slice| is_gone(slice.extras.uid.as_deref()));
    }

    /// Whether anything is left to be removed: what was being made when the removal was ordered stands by now, or
    /// may do so soon.
    fn has_left(&self, scope: Scope) -> bool {
        let slices = self.authority.is_some() || self.second.observed.is_some() || self.second.open;
        let service = self.service.observed.is_some() || self.service.open;
        slices || scope == Scope::Everything && service
    }

    /// Slices that somebody took our label from are not on our watch: only a read tells the version to delete.
    fn look_at_slices(&mut self, targets: &[Target], cx: &Surroundings<'_>, out: &mut Outcome) {
        for (place, name) in self.slice_names(cx.identity).into_iter().enumerate() {
            if !targets.iter().any(|target| !target.is_service && target.name == name) {
                continue;
            }
            if place == 0 {
                out.errands.push((Errand::Recheck, Request::ReadSlice(name)));
            } else if !self.second.open {
                self.second.open = true;
                out.errands.push((Errand::FindSecond, Request::ReadSlice(name)));
            }
        }
    }

    /// Slices of others under the leader Service's name would be routed to beside ours.
    pub(super) fn strays(&mut self, slices: &[SliceLite], cx: &Surroundings<'_>, out: &mut Outcome) {
        let ours = self.slice_names(cx.identity);
        let leader_uid = self.service.uid();
        for stray in slices {
            let metadata = &stray.metadata;
            let name = metadata.name.as_deref().unwrap_or_default();
            if ours.iter().any(|ours| ours == name) {
                continue;
            }
            let owners = metadata.owner_references.as_deref().unwrap_or_default();
            let is_of_leader = leader_uid.is_some_and(|uid| owners.iter().any(|owner| owner.uid == uid));
            if is_of_leader {
                out.errands.push((Errand::Stray, Request::Delete(vec![Target::of(false, metadata)])));
            } else {
                tracing::warn!(service = %self.key, leader_service = %self.leader_service, slice = name,
                    "an EndpointSlice that is not ours carries the leader Service's name: \
                     traffic may reach its endpoints; delete it or change its label kubernetes.io/service-name");
            }
        }
    }

    /// A look for slices of others.
    #[must_use]
    pub(crate) fn look_for_strays(&self) -> (Errand, Request) {
        (Errand::Strays, Request::ListSlices(self.leader_service.to_string()))
    }

    /// The answer to the election's order to remove what is ours.
    pub(super) fn removed(
        &mut self,
        id: OrderId,
        scope: Scope,
        targets: &[Target],
        result: &Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        if is_gone(result) {
            self.forget(targets);
        }
        if result.as_ref().is_err_and(|failure| failure.kind == Kind::Conflict) {
            self.look_at_slices(targets, cx, out);
        }
        // The Service as it is asks for what is there: the next election takes it over, as soon as what this one has
        // ordered is answered. What was not in the way may be so again before the watch comes to that.
        let is_written = self.service.open || self.second.open;
        let is_kept = matches!(result, Ok(Reply::Kept)) && scope == Scope::Everything && !is_written;
        let is_done = is_kept || is_gone(result) && !self.has_left(scope);
        out.events.push(if is_done { Event::Removed { id } } else { Event::RemoveFailed { id } });
    }
}
