//! The leader Service: made, kept as it should be, and told who leads. It follows the election and never holds it up.

use std::net::IpAddr;
use std::sync::Arc;

use machine::{Contest, Event, Micros, Mirror, OrderId, Version};

use super::pace::Pace;
use super::{DISTRUSTED, Errand, Managed, Outcome, STRAYS_AGAIN, Surroundings};
use crate::apply::{Reply, Request};
use crate::failure::{Failure, Kind};
use crate::kinds::{Kept, ServiceLite, Versioned as _, version};
use crate::notice::Notice;
use crate::service::{self, Claim, claim_service};

/// The API server lets go of a Service's addresses one by one after it. A creation between two of them is refused for the
/// second and, which was seen for the next 0.3 s at least, keeps the first from being had again.
const RELEASED_AFTER: Micros = Micros::from_millis(100);

/// What is known of the leader Service, and what is being done about it.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(super) struct LeaderService {
    pub(super) observed: Option<Seen>,
    /// As of this version there was none: an answer from before it, which comes late, tells of one that is no more.
    pub(super) gone: Version,
    pub(super) obstruction: Option<Arc<str>>,
    /// The UID of the foreign Service that is it, if that is known.
    pub(super) obstacle: Option<Box<str>>,
    pub(super) mirror: Option<Box<Mirror>>,
    /// It was ordered before another replica acted first, which may have mirrored more since.
    pub(super) is_mirror_old: bool,
    pub(super) mirror_order: Option<OrderId>,
    pub(super) former_ips: Vec<IpAddr>,
    /// Something changed that it may have to follow.
    pub(super) is_due: bool,
    pub(super) open: bool,
    pub(super) pace: Pace,
    /// Another writer keeps undoing what we write.
    pub(super) contest: Option<Box<Contest>>,
    /// We created it, and it has not routed to anybody yet.
    pub(super) is_new: bool,
}

/// The leader Service as last seen.
pub(super) struct Seen {
    uid: Box<str>,
    service: Kept<ServiceLite>,
}

impl Seen {
    fn new(service: &ServiceLite) -> Self {
        let uid = service.metadata.uid.as_deref().unwrap_or_default().into();
        Self { uid, service: Kept::new(service) }
    }
}

impl LeaderService {
    /// The present leader Service's UID.
    pub(super) fn uid(&self) -> Option<&str> {
        self.observed.as_ref().map(|seen| &*seen.uid)
    }

    /// Whatever is seen next is true, however old.
    pub(super) fn distrust(&mut self) {
        self.gone = Version::default();
        if let Some(mut service) = self.read() {
            service.metadata.resource_version = Some(DISTRUSTED.0.to_string());
            self.observed = Some(Seen::new(&service));
        }
    }

    /// The leader Service as it was last seen.
    pub(super) fn read(&self) -> Option<ServiceLite> {
        self.observed.as_ref().and_then(|seen| seen.service.read())
    }
}

impl Managed {
    /// Another replica acts first now, and mirrors what it sees.
    pub(crate) fn outdate_mirror(&mut self) {
        self.service.is_mirror_old = true;
    }

    pub(super) fn tend_service(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        let service = &self.service;
        if !service.is_due || service.open || service.obstruction.is_some() || !service.pace.is_over(cx.at) {
            return;
        }
        self.service.is_due = false;
        let (errand, request) = match self.service.read() {
            None => {
                let unknown =
                    Mirror { leader: None, epoch: None, switched: None, ours: false, handled: None };
                let mirror = self.wanted_mirror(None, cx).unwrap_or(&unknown);
                let service = service::desired(&self.place(cx.identity), mirror, &self.service.former_ips);
                (Errand::LeaderService { creates: true }, Request::CreateService(Box::new(service)))
            }
            Some(observed) => match self.lacking(&observed, cx) {
                None => {
                    if let Some(id) = self.service.mirror_order.take() {
                        out.events.push(Event::Mirrored { id });
                    }
                    return;
                }
                Some(patch) => {
                    let Ok(patch) = serde_json::to_value(&patch) else { return };
                    let name = self.leader_service.to_string();
                    (Errand::LeaderService { creates: false }, Request::PatchService(name, patch))
                }
            },
        };
        self.service.open = true;
        out.errands.push((errand, request));
    }

    /// Whether a list of this version would have shown the leader Service, were it still there; see
    /// [`Self::slices_due`].
    pub(crate) fn is_service_due(&self, list: Version) -> bool {
        self.service.observed.as_ref().is_some_and(|known| known.service.version() <= list)
    }

    /// As of this version no Service has the leader Service's name.
    pub(crate) fn service_gone(&mut self, as_of: Version, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.service.observed.as_ref().is_none_or(|known| known.service.version() <= as_of) {
            self.service.gone = as_of;
            self.service_seen(None, cx, out);
        }
    }

    /// The Service that has the leader Service's name is now this; `None` if there is none.
    pub(crate) fn service_seen(
        &mut self,
        seen: Option<&ServiceLite>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.service.is_due = true;
        let Some(seen) = seen else {
            self.note_reversal(None, cx, out);
            if let Some(gone) = self.service.read() {
                self.service.observed = None;
                self.service.former_ips =
                    gone.spec.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect();
                if !self.service.former_ips.is_empty() {
                    self.service.pace.wait(cx.at.plus(RELEASED_AFTER), cx.at);
                }
            }
            self.unobstruct_service(cx, out);
            return;
        };
        // Also of one that stood there before: a watch may be behind what an answer has told.
        let is_old = |known: &Seen| known.service.version() > version(&seen.metadata);
        if self.service.observed.as_ref().is_some_and(is_old) {
            return;
        }
        let claim = claim_service(seen, &self.place(cx.identity));
        // Also of one that has to go: with it goes the mirror of its terms.
        if !matches!(claim, Claim::Foreign(_)) {
            self.count_beside(service::remembered(seen, cx.at).epoch);
        }
        match claim {
            Claim::Ours | Claim::Adoptable => {
                self.note_reversal(Some(seen), cx, out);
                if !seen.spec.selector.is_empty() {
                    out.errands.push(self.look_for_strays());
                    self.strays = Some(cx.at.plus(STRAYS_AGAIN));
                }
                self.service.observed = Some(Seen::new(seen));
                self.unobstruct_service(cx, out);
            }
            Claim::Stale(_) => {
                self.service.observed = None;
                // Whoever leaves replaces nothing: it may be the next one's.
                if !self.service.open && !self.is_leaving {
                    self.service.open = true;
                    out.errands.push((Errand::ReplaceService, self.delete_stale(&seen.metadata, true)));
                }
            }
            Claim::Foreign(why) => self.obstruct_service(&why, seen.metadata.uid.as_deref(), out),
        }
    }

    /// A Service that nobody annotated for us has the leader Service's name.
    pub(crate) fn service_is_foreign(&mut self, out: &mut Outcome) {
        self.obstruct_service("it was not made by zen-lead", None, out);
    }

    fn obstruct_service(&mut self, why: &str, uid: Option<&str>, out: &mut Outcome) {
        self.service.observed = None;
        self.service.obstacle = uid.map(Box::from);
        let words: Arc<str> = format!("Service {}: {why}", self.leader_service).into();
        // Told once, not at every change of somebody else's object.
        if self.service.obstruction.replace(words.clone()) != Some(words) {
            self.block(out);
        }
    }

    fn unobstruct_service(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.service.obstruction.take().is_some() {
            self.unblock(cx, out);
        }
    }

    pub(super) fn service_written(
        &mut self,
        creates: bool,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.service.open = false;
        self.service.is_due = true;
        match result {
            Ok(Reply::Service(service)) => {
                self.service.pace = Pace::default();
                self.service.pace.wait(self.contested_until(), cx.at);
                if creates {
                    self.service.is_new = true;
                    out.notices.push(Notice::leader_service_created(&self.leader_service));
                }
                if version(&service.metadata) >= self.service.gone {
                    self.service_seen(Some(&service), cx, out);
                }
            }
            // A dry run: pretend once.
            Ok(_) => self.service.pace.rest(),
            Err(failure) if matches!(failure.kind, Kind::Exists) => {
                self.find_service(out);
            }
            Err(failure) => {
                // A former address may be somebody else's by now, or not be free again yet: the API server lets go
                // of it a moment after the Service.
                if matches!(failure.kind, Kind::Refused { .. }) && self.service.pace.is_repeated() {
                    self.service.former_ips.clear();
                }
                self.service.pace.fail(cx.at);
                if failure.kind == Kind::Conflict && self.service.pace.is_repeated() {
                    // The watch shows nothing newer: the store was restored to a time before a write of ours that no watch
                    // has shown, so that none will tell. A read does.
                    self.service.distrust();
                    self.find_service(out);
                }
                if matches!(failure.kind, Kind::NotFound | Kind::Conflict | Kind::Superseded) {
                    // The watch shows what became of it.
                } else {
                    tracing::warn!(service = %self.key, leader_service = %self.leader_service,
                        outcome = failure.category(), "write of the leader Service failed: {failure}");
                }
                if let Some(id) = self.service.mirror_order.take() {
                    out.events.push(Event::MirrorFailed { id });
                }
            }
        }
    }

    fn find_service(&mut self, out: &mut Outcome) {
        self.service.open = true;
        let name = self.leader_service.to_string();
        out.errands.push((Errand::FindService, Request::ReadService(name)));
    }

    /// The answer to a read of the Service that has the leader Service's name.
    pub(super) fn service_found(
        &mut self,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.service.open = false;
        self.service.is_due = true;
        match result {
            Ok(Reply::Service(service)) => self.service_seen(Some(&service), cx, out),
            Err(failure) if failure.kind == Kind::NotFound => self.service_seen(None, cx, out),
            Ok(_) | Err(_) => self.service.pace.fail(cx.at),
        }
    }

    /// The answer to the deletion of a leader Service that has to be made anew.
    pub(super) fn service_replaced(&mut self, is_gone: bool, cx: &Surroundings<'_>) {
        self.service.open = false;
        self.service.is_due = true;
        if !is_gone {
            self.service.pace.fail(cx.at);
        }
    }
}
