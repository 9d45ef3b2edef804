//! One source Service that opted in: its election, the leader Service beside it, and the second family's slice.
//!
//! The election decides who leads and writes the authority slice. The other two follow: each is brought in line
//! with what is wanted whenever anything about it changes, by one write at a time and with a back-off of its
//! own, and no failure of theirs changes who leads.

use std::net::IpAddr;
use std::sync::Arc;

use machine::{
    Effect, Election, Epoch, Event, Micros, Mirror, Obstruction, OrderId, Phase, Scope, Standing, Step,
    Timestamp, Version, Wanted,
};

use crate::annotations::{EPOCH, Invalid, Settings};
use crate::apply::{Request, Target};
use crate::failure::{Failure, Kind};
use crate::kinds::{Family, ServiceLite, SliceLite, version};
use crate::notice::{self, Notice, Regarding};
use crate::rows::{PodRow, View};
use crate::service::{self, Claim, Place, Source, claim_service, claim_slice};
use crate::slice::{self, Draft, Observed, observe};

/// Pauses after failed writes beside the election: nobody's traffic waits for them.
const RETRY_FIRST: Micros = Micros::from_millis(100);
const RETRY_MOST: Micros = Micros::from_secs(30);

/// A foreign slice without our label is not on our watch: whether it is gone is asked this often.
const BLOCKED_RECHECK: Micros = Micros::from_secs(10);

/// Kubernetes acts on a selector of the leader Service's at the same time as we do, and leaves a slice behind:
/// that one is looked for again after so long.
const STRAYS_AGAIN: Micros = Micros::from_secs(2);

/// Who this process is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The installation, `namespace/name`.
    pub(crate) instance: Arc<str>,
    /// The replica.
    pub(crate) replica: Arc<str>,
}

/// A namespace and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// The namespace.
    pub(crate) namespace: Arc<str>,
    /// The source Service's name.
    pub(crate) name: Arc<str>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What an order is for, as far as one Service is concerned.
#[derive(Debug)]
pub(crate) enum Errand {
    /// The election's write of the authority slice.
    Publish { id: OrderId, creates: bool },
    /// The election's read of the authority slice.
    Read { id: OrderId },
    /// The election's read of a pod.
    Confirm { id: OrderId, name: String, uid: String },
    /// The election's removal of what we own.
    Remove { id: OrderId, scope: Scope, targets: Vec<Target> },
    /// A notice of the election's.
    Notify { id: OrderId },
    /// A write of the leader Service.
    LeaderService { creates: bool },
    /// A read of the leader Service, because one of its name exists that the watch has not shown.
    FindService,
    /// The deletion of a leader Service that has to be made anew.
    ReplaceService,
    /// The deletion of the authority slice, which has to be made anew. A read of the election's may wait for it.
    ReplaceSlice { read: Option<OrderId> },
    /// A write of the second family's slice.
    Second,
    /// The deletion of the second family's slice, which has to be made anew.
    ReplaceSecond,
    /// A read of the second family's slice.
    FindSecond,
    /// A look at a foreign slice that stands in our place.
    Recheck,
    /// A look for slices of others under the leader Service's name.
    Strays,
}

/// What the election should be told next, and what to send.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Facts for the election.
    pub(crate) events: Vec<Event>,
    /// Requests to send.
    pub(crate) errands: Vec<(Errand, Request)>,
    /// What people should be told besides the election's own notices.
    pub(crate) notices: Vec<Notice>,
}

/// A source Service that opted in.
pub(crate) struct Managed {
    /// Which Service.
    pub(crate) key: Key,
    /// Tells this election's orders from those of an earlier one of the same Service.
    pub(crate) generation: u32,
    /// The Service and its settings, as far as they decide where a pod can be reached.
    pub(crate) view: View,
    /// The Service's settings.
    pub(crate) settings: Settings,
    /// The leader Service's name.
    pub(crate) leader_service: Arc<str>,
    /// Names that the leader Service had before; its objects go once the new ones serve.
    pub(crate) retired: Vec<Arc<str>>,
    /// The election.
    pub(crate) election: Election,
    /// The moment for which the driver has set its alarm.
    pub(crate) alarm: Option<Timestamp>,
    is_synced: bool,
    /// The Service opted out or is gone; what is ours is being removed.
    pub(crate) is_leaving: bool,
    /// The highest epoch that was written or seen, also under a former name and before an opt-out: the election
    /// must not fall below it.
    highest_epoch: Option<Epoch>,
    /// The authority slice as last known.
    authority: Option<Observed>,
    /// When what led to the next write happened.
    triggered: Option<Timestamp>,
    /// The source as it was when the last write of the authority slice was ordered.
    drafted_for: Option<Arc<Source>>,
    service: LeaderService,
    second: Second,
    /// A foreign slice stands in our place.
    foreign: Option<ForeignSlice>,
    /// When to look for slices of others once more.
    strays: Option<Timestamp>,
}

/// A slice of somebody else's where the authority belongs.
struct ForeignSlice {
    /// Which, and why it is not ours.
    words: Arc<str>,
    /// When to look whether it still stands there.
    recheck: Timestamp,
}

/// What is known of the leader Service, and what is being done about it.
#[derive(Default)]
struct LeaderService {
    observed: Option<Box<ServiceLite>>,
    obstruction: Option<Arc<str>>,
    mirror: Option<Mirror>,
    mirror_order: Option<OrderId>,
    former_ips: Vec<IpAddr>,
    /// Something changed that it may have to follow.
    is_due: bool,
    open: bool,
    pace: Pace,
    /// We created it, and it has not routed to anybody yet.
    is_new: bool,
}

/// The second family's slice.
#[derive(Default)]
struct Second {
    observed: Option<Observed>,
    /// A foreign slice has its name: nothing is done until that is gone.
    obstructed: bool,
    open: bool,
    pace: Pace,
}

/// A back-off.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    until: Timestamp,
    pause: Micros,
}

impl Pace {
    fn fail(&mut self, at: Timestamp) {
        self.pause = self.pause.doubled(RETRY_MOST).max(RETRY_FIRST);
        self.until = at.plus(self.pause);
    }

    fn is_over(&self, at: Timestamp) -> bool {
        self.until <= at
    }
}

impl Managed {
    /// A Service that opts in now.
    #[must_use]
    pub(crate) fn new(key: Key, generation: u32, source: Source, settings: Settings) -> Self {
        let leader_service = settings
            .leader_service_name
            .clone()
            .unwrap_or_else(|| crate::names::leader_service(&key.name).into());
        let view = View { source: Arc::new(source), ports_mode: settings.ports_mode };
        Self {
            election: Election::new(settings.policy.clone()),
            key,
            generation,
            view,
            settings,
            leader_service,
            retired: Vec::new(),
            alarm: None,
            is_synced: false,
            is_leaving: false,
            highest_epoch: None,
            authority: None,
            triggered: None,
            drafted_for: None,
            service: LeaderService::default(),
            second: Second::default(),
            foreign: None,
            strays: None,
        }
    }

    /// The same Service under another leader name: what stood under the old one is left for later.
    #[must_use]
    pub(crate) fn renamed(self, generation: u32, source: Source, settings: Settings) -> Self {
        let mut new = Self::new(self.key, generation, source, settings);
        new.highest_epoch = self.highest_epoch;
        new.retired = self.retired;
        new.retired.push(self.leader_service);
        new.retired.retain(|name| *name != new.leader_service);
        new
    }

    /// The highest epoch that was written or seen.
    #[must_use]
    pub(crate) const fn highest_epoch(&self) -> Option<Epoch> {
        self.highest_epoch
    }

    /// Takes note of an epoch.
    pub(crate) fn count(&mut self, epoch: Option<Epoch>) {
        self.highest_epoch = self.highest_epoch.max(epoch);
    }

    fn place<'a>(&'a self, identity: &'a Identity) -> Place<'a> {
        Place { view: &self.view, leader_service: &self.leader_service, instance: &identity.instance }
    }

    /// The Service that notices are about.
    #[must_use]
    pub(crate) fn regarding(&self) -> Regarding {
        Regarding::from(&*self.view.source)
    }

    fn first_family(&self) -> Family {
        self.view.source.first_family()
    }

    /// The names of the slices that are ours to write: the authority's, then the second family's.
    #[must_use]
    pub(crate) fn slice_names(&self, identity: &Identity) -> Vec<String> {
        let place = self.place(identity);
        self.view.source.families.iter().map(|family| slice::name(&place, *family)).collect()
    }

    /// Whether the election was told how things stand.
    #[must_use]
    pub(crate) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Whether it is known how the leader Service stands, so that an election can begin. One that is blocked
    /// begins as well: it has to know its members when that is over.
    #[must_use]
    pub(crate) fn can_begin(&self) -> bool {
        !self.is_synced && (self.service.observed.is_some() || self.service.obstruction.is_some())
    }

    /// What an election has to know before it begins: what stands in its way, and the wishes.
    #[must_use]
    pub(crate) fn wishes(&self) -> Vec<Event> {
        let pause = self.settings.pause.map(|pause| Event::Paused { until: pause.until });
        let switchover =
            self.settings.switchover.clone().map(|request| Event::SwitchoverRequested { request });
        self.obstruction().into_iter().chain(pause).chain(switchover).collect()
    }

    /// The fact with which an election begins, or begins anew.
    pub(crate) fn begin(&mut self, members: Vec<machine::Member>, horizon: Version, at: Timestamp) -> Event {
        self.is_synced = true;
        Event::Synced { members, standing: self.standing(horizon, at) }
    }

    fn standing(&self, horizon: Version, at: Timestamp) -> Standing {
        let remembered = self.service.observed.as_ref().map(|service| service::remembered(service, at));
        Standing {
            published: self.authority.as_ref().map(|observed| observed.publication.clone()),
            mirrored: remembered.and_then(|remembered| remembered.epoch).max(self.highest_epoch),
            horizon,
        }
    }

    /// Notes when the cause of the coming write happened.
    pub(crate) fn triggered(&mut self, at: Timestamp) {
        self.triggered = Some(at);
    }

    /// Turns the election's orders into requests.
    pub(crate) fn carry_out(&mut self, step: Step, cx: &Surroundings<'_>, out: &mut Outcome) {
        for effect in step.effects {
            match effect {
                Effect::Publish { id, wanted, based_on } => self.publish(id, &wanted, based_on, cx, out),
                Effect::Read { id } => {
                    let name = slice::name(&self.place(cx.identity), self.first_family());
                    out.errands.push((Errand::Read { id }, Request::ReadSlice(name)));
                }
                Effect::Confirm { id, pod } => {
                    let (name, uid) = (pod.name().to_owned(), pod.uid().to_owned());
                    out.errands
                        .push((Errand::Confirm { id, name: name.clone(), uid }, Request::ReadPod(name)));
                }
                Effect::Mirror { id, mirror } => {
                    self.service.mirror = Some(mirror);
                    self.service.mirror_order = Some(id);
                    self.service.is_due = true;
                }
                Effect::Notify { id, notice } => {
                    let notice = Notice::election(&notice, self.election.state().epoch());
                    let event = notice::event(&notice, &self.regarding(), cx.at, &cx.identity.replica);
                    out.errands.push((Errand::Notify { id }, Request::Notify(Box::new(event))));
                }
                Effect::Remove { id, scope } => {
                    let targets = self.targets(scope, cx.identity);
                    let errand = Errand::Remove { id, scope, targets: targets.clone() };
                    out.errands.push((errand, Request::Delete(targets)));
                }
            }
        }
    }

    fn publish(
        &mut self,
        id: OrderId,
        wanted: &Wanted,
        based_on: Option<Version>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.count(wanted.epoch);
        let known = self.authority.as_ref().filter(|known| Some(known.publication.version) == based_on);
        let is_repair = known.is_some_and(|known| known.publication.epoch == wanted.epoch);
        let term_by = known.and_then(|known| known.term_by.clone()).filter(|_| is_repair);
        let draft = Draft {
            place: self.place(cx.identity),
            family: self.first_family(),
            wanted,
            row: wanted.leader.as_ref().and_then(|leader| cx.row(leader)),
            based_on: known.map(|known| (known.publication.version, &known.extras)),
            term_by: term_by.as_deref().unwrap_or(&cx.identity.replica),
            triggered: self.triggered,
        };
        // Without the slice that the order is based on there is nothing to be safely written. The election is told
        // that it did not happen and waits a little: at once it could only decide the same again.
        let is_sound = based_on.is_some() == known.is_some();
        match draft.slice().filter(|_| is_sound) {
            None => out.events.push(Event::PublishFailed { id, outcome: machine::Outcome::Unreachable }),
            Some(slice) => {
                self.drafted_for = Some(self.view.source.clone());
                let slice = Box::new(slice);
                let creates = based_on.is_none();
                let request =
                    if creates { Request::CreateSlice(slice) } else { Request::ReplaceSlice(slice) };
                out.errands.push((Errand::Publish { id, creates }, request));
            }
        }
    }

    /// What there is of ours to be deleted.
    fn targets(&self, scope: Scope, identity: &Identity) -> Vec<Target> {
        let mut targets = Vec::new();
        if let Some(service) = self.service.observed.as_ref().filter(|_| scope == Scope::Everything) {
            targets.push(Target::of(true, &service.metadata));
        }
        let place = self.place(identity);
        let families = self.view.source.families.iter();
        for (family, observed) in families.zip([self.authority.as_ref(), self.second.observed.as_ref()]) {
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

    /// These objects are no more.
    fn forget(&mut self, removed: &[Target]) {
        let is_gone = |uid: Option<&str>| removed.iter().any(|target| uid.unwrap_or_default() == target.uid);
        self.service.observed.take_if(|service| is_gone(service.metadata.uid.as_deref()));
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

    /// Brings the leader Service and the second slice in line with what is wanted.
    pub(crate) fn tend(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.is_leaving {
            return;
        }
        self.tend_service(cx, out);
        self.tend_second(cx, out);
        if self.strays.take_if(|when| *when <= cx.at).is_some() {
            out.errands.push(self.look_for_strays());
        }
        if let Some(foreign) = self.foreign.as_mut().filter(|foreign| foreign.recheck <= cx.at) {
            foreign.recheck = cx.at.plus(BLOCKED_RECHECK);
            let name = slice::name(&self.place(cx.identity), self.first_family());
            out.errands.push((Errand::Recheck, Request::ReadSlice(name)));
        }
    }

    fn tend_service(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        let service = &self.service;
        if !service.is_due || service.open || service.obstruction.is_some() || !service.pace.is_over(cx.at) {
            return;
        }
        self.service.is_due = false;
        let place = self.place(cx.identity);
        let (errand, request) = match &self.service.observed {
            None => {
                let unknown = Mirror { leader: None, epoch: None, switched: None, handled: None };
                let mirror = self.service.mirror.as_ref().unwrap_or(&unknown);
                let service = service::desired(&place, mirror, &self.service.former_ips);
                (Errand::LeaderService { creates: true }, Request::CreateService(Box::new(service)))
            }
            Some(observed) => match service::difference(observed, &place, self.service.mirror.as_ref()) {
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

    fn tend_second(&mut self, cx: &Surroundings<'_>, out: &mut Outcome) {
        let Some(family) = self.view.source.second_family() else {
            self.second = Second::default();
            return;
        };
        let second = &self.second;
        if !self.is_synced || second.open || second.obstructed || !second.pace.is_over(cx.at) {
            return;
        }
        // The authority first: the second slice is a function of what was acknowledged.
        let Some(authority) = self.election.published().filter(|authority| authority.intact) else { return };
        let leader = authority.leader.as_ref().and_then(|leader| cx.row(leader));
        let Some(wanted) = slice::second_family(authority, leader, &self.view, family) else { return };
        let nobody = Wanted { leader: None, epoch: None, shown: machine::Shown::Nobody, handled: None };
        let (wanted, based_on) = match &second.observed {
            // Empty first: a creation that arrives late can then never publish anybody.
            None => (nobody, None),
            Some(observed) if observed.publication.says(&wanted) => return,
            Some(observed) => (wanted, Some((observed.publication.version, &observed.extras))),
        };
        let term_by = self.authority.as_ref().and_then(|observed| observed.term_by.as_deref());
        let draft = Draft {
            place: self.place(cx.identity),
            family,
            wanted: &wanted,
            row: leader,
            based_on,
            term_by: term_by.unwrap_or(&cx.identity.replica),
            triggered: self.triggered,
        };
        let Some(slice) = draft.slice().map(Box::new) else { return };
        let creates = based_on.is_none();
        self.second.open = true;
        let request = if creates { Request::CreateSlice(slice) } else { Request::ReplaceSlice(slice) };
        out.errands.push((Errand::Second, request));
    }

    /// The Service that has the leader Service's name is now this; `None` if there is none, as of `seen`.
    pub(crate) fn service_seen(
        &mut self,
        seen: Option<&ServiceLite>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        self.service.is_due = true;
        let Some(seen) = seen else {
            if let Some(gone) = self.service.observed.take() {
                self.service.former_ips =
                    gone.spec.cluster_ips.iter().filter_map(|address| address.parse().ok()).collect();
            }
            self.unobstruct_service(cx, out);
            return;
        };
        let is_old = |known: &ServiceLite| {
            known.metadata.uid == seen.metadata.uid && version(&known.metadata) > version(&seen.metadata)
        };
        if self.service.observed.as_deref().is_some_and(is_old) {
            return;
        }
        match claim_service(seen, &self.place(cx.identity)) {
            Claim::Ours | Claim::Adoptable => {
                if !seen.spec.selector.is_empty() {
                    out.errands.push(self.look_for_strays());
                    self.strays = Some(cx.at.plus(STRAYS_AGAIN));
                }
                self.service.observed = Some(Box::new(seen.clone()));
                self.unobstruct_service(cx, out);
            }
            Claim::Stale(_) => {
                self.service.observed = None;
                if !self.service.open {
                    self.service.open = true;
                    let target = Target::of(true, &seen.metadata);
                    out.errands.push((Errand::ReplaceService, Request::Delete(vec![target])));
                }
            }
            Claim::Foreign(why) => self.obstruct_service(&why, out),
        }
    }

    /// A Service that nobody annotated for us has the leader Service's name.
    pub(crate) fn service_is_foreign(&mut self, out: &mut Outcome) {
        self.obstruct_service("it was not made by zen-lead", out);
    }

    fn obstruct_service(&mut self, why: &str, out: &mut Outcome) {
        self.service.observed = None;
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

    /// What stands in our place, if anything does. A foreign Service weighs more than a foreign slice: slices of
    /// ours must not stay beside it.
    fn obstruction(&self) -> Option<Event> {
        let service = self.service.obstruction.clone().map(Obstruction::Service);
        let slice = self.foreign.as_ref().map(|foreign| Obstruction::Slice(foreign.words.clone()));
        service.or(slice).map(|by| Event::Blocked { by })
    }

    /// Something foreign is there now. An election that has not begun is told when it does.
    fn block(&self, out: &mut Outcome) {
        out.events.extend(self.obstruction().filter(|_| self.is_synced));
    }

    /// Something foreign has gone; something else that is may be left.
    fn unblock(&self, cx: &Surroundings<'_>, out: &mut Outcome) {
        if self.is_synced {
            let free = || Event::Unblocked { standing: self.standing(cx.horizon, cx.at) };
            out.events.push(self.obstruction().unwrap_or_else(free));
        }
    }

    /// A slice of one of our names is now this.
    pub(crate) fn slice_seen(&mut self, seen: &SliceLite, cx: &Surroundings<'_>, out: &mut Outcome) {
        let name = seen.metadata.name.as_deref().unwrap_or_default();
        let families = self.view.source.families.clone();
        let Some(family) =
            families.into_iter().find(|family| slice::name(&self.place(cx.identity), *family) == name)
        else {
            return;
        };
        let leader_uid = self.service.observed.as_ref().and_then(|service| service.metadata.uid.as_deref());
        let place = self.place(cx.identity);
        let claim = claim_slice(seen, &place, family, leader_uid);
        let observed = observe(seen, &place, family, &cx.identity.replica, cx.at);
        if family == self.first_family() {
            self.authority_seen(seen, claim, observed, None, cx, out);
        } else {
            self.second_seen(seen, &claim, observed, out);
        }
    }

    /// `read`: the election's read that this answers.
    fn authority_seen(
        &mut self,
        seen: &SliceLite,
        claim: Claim,
        observed: Observed,
        read: Option<OrderId>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        let is_newer = self.is_newer(&observed);
        if matches!(claim, Claim::Ours | Claim::Adoptable) {
            self.count(observed.publication.epoch);
        }
        match claim {
            Claim::Ours | Claim::Adoptable => {
                if is_newer {
                    self.report_epoch(&observed, out);
                    self.authority = Some(observed);
                }
                let Some(known) = &self.authority else { return };
                let published = Some(known.publication.clone());
                let horizon = cx.horizon;
                if self.foreign.take().is_some() {
                    self.unblock(cx, out);
                } else if let Some(id) = read {
                    out.events.push(Event::ReadDone { id, published, horizon });
                } else if is_newer {
                    let by = known.manager.clone();
                    out.events.push(Event::PublicationObserved { published, horizon, by });
                }
            }
            Claim::Stale(_) => {
                self.authority = None;
                let target = Target::of(false, &seen.metadata);
                out.errands.push((Errand::ReplaceSlice { read }, Request::Delete(vec![target])));
            }
            Claim::Foreign(why) => {
                self.authority = None;
                let name = seen.metadata.name.as_deref().unwrap_or_default();
                let words: Arc<str> = format!("EndpointSlice {name}: {why}").into();
                let recheck = cx.at.plus(BLOCKED_RECHECK);
                let is_known = self.foreign.as_ref().is_some_and(|foreign| foreign.words == words);
                self.foreign = Some(ForeignSlice { words, recheck });
                if !is_known {
                    self.block(out);
                }
                out.events.extend(read.map(|id| Event::ReadFailed { id }));
            }
        }
    }

    /// An epoch that nobody can have reached is not believed, and people should know.
    fn report_epoch(&self, observed: &Observed, out: &mut Outcome) {
        let Some(text) = &observed.invalid_epoch else { return };
        if self.authority.as_ref().is_some_and(|known| known.invalid_epoch == observed.invalid_epoch) {
            return;
        }
        let invalid = Invalid {
            annotation: EPOCH,
            value: text.clone(),
            default: "a new epoch",
            why: "it is no number, or more than ten years ahead",
        };
        out.notices.push(Notice::invalid_configuration(&invalid, None));
    }

    fn is_newer(&self, observed: &Observed) -> bool {
        self.authority.as_ref().is_none_or(|known| {
            known.publication.version < observed.publication.version
                || known.publication.version == observed.publication.version && known != observed
        })
    }

    fn second_seen(&mut self, seen: &SliceLite, claim: &Claim, observed: Observed, out: &mut Outcome) {
        let is_old = |known: &Observed| known.publication.version > observed.publication.version;
        if self.second.observed.as_ref().is_some_and(is_old) {
            return;
        }
        match claim {
            Claim::Ours | Claim::Adoptable => self.second.observed = Some(observed),
            Claim::Stale(_) => {
                self.second.observed = None;
                if !self.second.open {
                    self.second.open = true;
                    out.errands.push((
                        Errand::ReplaceSecond,
                        Request::Delete(vec![Target::of(false, &seen.metadata)]),
                    ));
                }
            }
            Claim::Foreign(_) => {
                self.second.observed = None;
                self.second.obstructed = true;
            }
        }
    }

    /// A slice of one of our names was deleted, or lost our label; this was its last state.
    pub(crate) fn slice_gone(&mut self, last: &SliceLite, cx: &Surroundings<'_>, out: &mut Outcome) {
        let name = last.metadata.name.as_deref().unwrap_or_default();
        let names = self.slice_names(cx.identity);
        let is_old = |known: &Observed| {
            known.publication.version > version(&last.metadata) && known.extras.uid != last.metadata.uid
        };
        if names.first().is_some_and(|first| first == name) {
            if self.authority.as_ref().is_some_and(is_old) {
                return;
            }
            self.authority = None;
            if self.foreign.take().is_some() {
                self.unblock(cx, out);
            } else {
                out.events.push(Event::PublicationObserved {
                    published: None,
                    horizon: cx.horizon,
                    by: None,
                });
            }
        } else if names.get(1).is_some_and(|second| second == name) {
            self.second.obstructed = false;
            if !self.second.observed.as_ref().is_some_and(is_old) {
                self.second.observed = None;
            }
        }
    }

    /// The answer to an errand.
    pub(crate) fn answered(
        &mut self,
        errand: Errand,
        result: Result<crate::apply::Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        use crate::apply::Reply;
        match errand {
            Errand::Publish { id, creates } => self.published(id, creates, result, cx, out),
            Errand::Read { id } => match result {
                Ok(Reply::Slice(slice)) => self.read(&slice, Some(id), cx, out),
                Err(failure) if failure.kind == Kind::NotFound => {
                    self.authority = None;
                    out.events.push(Event::ReadDone { id, published: None, horizon: cx.horizon });
                }
                Ok(_) | Err(_) => out.events.push(Event::ReadFailed { id }),
            },
            // The driver has taken note of the pod by now: it may concern other Services as well.
            Errand::Confirm { id, uid, .. } => out.events.push(match &result {
                Err(failure) if failure.kind != Kind::NotFound => Event::ConfirmFailed { id },
                Ok(_) | Err(_) => {
                    let exists = matches!(
                        &result,
                        Ok(Reply::Pod(pod)) if pod.metadata.uid.as_deref() == Some(&*uid)
                    );
                    Event::Confirmed { id, member: cx.member(&uid, &self.view), exists }
                }
            }),
            Errand::Remove { id, scope, targets } => out.events.push(match result {
                Ok(_) => {
                    self.forget(&targets);
                    if self.has_left(scope) { Event::RemoveFailed { id } } else { Event::Removed { id } }
                }
                Err(_) => Event::RemoveFailed { id },
            }),
            Errand::Notify { id } => out.events.push(match result {
                Ok(_) => Event::Notified { id },
                Err(_) => Event::NotifyFailed { id },
            }),
            Errand::LeaderService { creates } => self.service_written(creates, result, cx, out),
            Errand::FindService => {
                self.service.open = false;
                self.service.is_due = true;
                match result {
                    Ok(Reply::Service(service)) => self.service_seen(Some(&service), cx, out),
                    Err(failure) if failure.kind == Kind::NotFound => self.service_seen(None, cx, out),
                    Ok(_) | Err(_) => self.service.pace.fail(cx.at),
                }
            }
            Errand::ReplaceService => {
                self.service.open = false;
                self.service.is_due = true;
                if result.is_err() {
                    self.service.pace.fail(cx.at);
                }
            }
            Errand::ReplaceSlice { read } => match (result, read) {
                (Ok(_), Some(id)) => {
                    out.events.push(Event::ReadDone { id, published: None, horizon: cx.horizon });
                }
                (Ok(_), None) => {
                    let (published, horizon) = (None, cx.horizon);
                    out.events.push(Event::PublicationObserved { published, horizon, by: None });
                }
                (Err(_), Some(id)) => out.events.push(Event::ReadFailed { id }),
                (Err(_), None) => {}
            },
            Errand::Second => self.second_written(result, cx, out),
            Errand::ReplaceSecond => {
                self.second.open = false;
                if result.is_err() {
                    self.second.pace.fail(cx.at);
                }
            }
            Errand::FindSecond => {
                self.second.open = false;
                match result {
                    Ok(Reply::Slice(slice)) => self.slice_seen(&slice, cx, out),
                    Ok(_) | Err(_) => self.second.pace.fail(cx.at),
                }
            }
            Errand::Recheck => match result {
                Ok(Reply::Slice(slice)) => self.slice_seen(&slice, cx, out),
                Err(failure) if failure.kind == Kind::NotFound && self.foreign.take().is_some() => {
                    self.unblock(cx, out);
                }
                Ok(_) | Err(_) => {}
            },
            Errand::Strays => {
                if let Ok(Reply::Slices(slices)) = result {
                    self.strays(&slices, cx, out);
                }
            }
        }
    }

    fn read(&mut self, slice: &SliceLite, read: Option<OrderId>, cx: &Surroundings<'_>, out: &mut Outcome) {
        let leader_uid = self.service.observed.as_ref().and_then(|service| service.metadata.uid.as_deref());
        let (place, family) = (self.place(cx.identity), self.first_family());
        let claim = claim_slice(slice, &place, family, leader_uid);
        let observed = observe(slice, &place, family, &cx.identity.replica, cx.at);
        self.authority_seen(slice, claim, observed, read, cx, out);
    }

    fn published(
        &mut self,
        id: OrderId,
        creates: bool,
        result: Result<crate::apply::Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        use crate::apply::Reply;
        match result {
            Ok(Reply::Slice(slice)) => {
                let (place, family) = (self.place(cx.identity), self.first_family());
                let observed = observe(&slice, &place, family, &cx.identity.replica, cx.at);
                let version = observed.publication.version;
                let published = Some(observed.publication.clone());
                if self.is_newer(&observed) {
                    self.authority = Some(observed);
                }
                out.events.push(Event::Published { id, version });
                // The Service changed while this was on its way: it may ask for other labels by now.
                if self.drafted_for.as_ref().is_none_or(|source| !Arc::ptr_eq(source, &self.view.source)) {
                    out.events.push(Event::PublicationObserved { published, horizon: cx.horizon, by: None });
                }
                self.routes(&slice, out);
            }
            Ok(_) => {
                // A dry run: what was not written has no version either.
                let version = self.authority.as_ref().map_or(Version(0), |known| known.publication.version);
                out.events.push(Event::Published { id, version });
            }
            Err(failure) => {
                if !creates && failure.kind == Kind::NotFound {
                    self.authority = None;
                }
                tracing::warn!(service = %self.key, outcome = failure.category(), "publication failed: {failure}");
                out.events.push(Event::PublishFailed { id, outcome: failure.outcome() });
            }
        }
    }

    fn routes(&mut self, slice: &SliceLite, out: &mut Outcome) {
        if self.service.is_new && !slice.endpoints.is_empty() {
            self.service.is_new = false;
            let leader = self.election.state().pod().cloned();
            out.notices.push(Notice::leader_routing_available(&self.leader_service, leader));
        }
    }

    fn service_written(
        &mut self,
        creates: bool,
        result: Result<crate::apply::Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        use crate::apply::Reply;
        self.service.open = false;
        self.service.is_due = true;
        match result {
            Ok(Reply::Service(service)) => {
                self.service.pace = Pace::default();
                if creates {
                    self.service.is_new = true;
                    out.notices.push(Notice::leader_service_created(&self.leader_service));
                }
                self.service_seen(Some(&service), cx, out);
            }
            // A dry run: pretend once.
            Ok(_) => self.service.pace.until = Timestamp(u64::MAX),
            Err(failure) if matches!(failure.kind, Kind::Exists) => {
                self.service.open = true;
                let name = self.leader_service.to_string();
                out.errands.push((Errand::FindService, Request::ReadService(name)));
            }
            Err(failure) => {
                // A former address may be somebody else's by now, or not be free again yet: the API server lets go
                // of it a moment after the Service.
                if matches!(failure.kind, Kind::Refused { .. }) && self.service.pace.pause > RETRY_FIRST {
                    self.service.former_ips.clear();
                }
                self.service.pace.fail(cx.at);
                if matches!(failure.kind, Kind::NotFound | Kind::Conflict) {
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

    fn second_written(
        &mut self,
        result: Result<crate::apply::Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        use crate::apply::Reply;
        self.second.open = false;
        match result {
            Ok(Reply::Slice(slice)) => {
                self.second.pace = Pace::default();
                self.slice_seen(&slice, cx, out);
            }
            Ok(_) => self.second.pace.until = Timestamp(u64::MAX),
            Err(failure) => {
                self.second.pace.fail(cx.at);
                if failure.kind == Kind::NotFound {
                    self.second.observed = None;
                }
                if let Some(name) = self.slice_names(cx.identity).into_iter().nth(1) {
                    self.second.open = true;
                    out.errands.push((Errand::FindSecond, Request::ReadSlice(name)));
                }
            }
        }
    }

    /// Slices of others under the leader Service's name would be routed to beside ours.
    fn strays(&mut self, slices: &[SliceLite], cx: &Surroundings<'_>, out: &mut Outcome) {
        let ours = self.slice_names(cx.identity);
        let leader_uid = self.service.observed.as_ref().and_then(|service| service.metadata.uid.as_deref());
        for stray in slices {
            let metadata = &stray.metadata;
            let name = metadata.name.as_deref().unwrap_or_default();
            if ours.iter().any(|ours| ours == name) {
                continue;
            }
            let owners = metadata.owner_references.as_deref().unwrap_or_default();
            let is_of_leader = leader_uid.is_some_and(|uid| owners.iter().any(|owner| owner.uid == uid));
            if is_of_leader {
                out.errands.push((Errand::Strays, Request::Delete(vec![Target::of(false, metadata)])));
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

    /// When something is to be done although nothing happens.
    #[must_use]
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let is_waiting = |pace: &Pace, open: bool| {
            (!open && pace.until > Timestamp(0) && pace.until < Timestamp(u64::MAX)).then_some(pace.until)
        };
        let of_service = is_waiting(&self.service.pace, self.service.open);
        let of_second = is_waiting(&self.second.pace, self.second.open);
        let of_foreign = self.foreign.as_ref().map(|foreign| foreign.recheck);
        [self.election.deadline(), of_service, of_second, of_foreign, self.strays].into_iter().flatten().min()
    }

    /// A back-off that is over has done its work: only another failure starts the next.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        for pace in [&mut self.service.pace, &mut self.second.pace] {
            if pace.is_over(at) {
                pace.until = Timestamp(0);
            }
        }
        self.service.is_due = true;
    }

    /// The Service asks for something else: what follows from it has to be looked at.
    pub(crate) fn reconsider(&mut self) {
        self.service.is_due = true;
    }

    /// The former names whose objects can go now.
    pub(crate) fn take_retired(&mut self) -> Vec<Arc<str>> {
        if self.retired.is_empty() || !self.serves() {
            return Vec::new();
        }
        std::mem::take(&mut self.retired)
    }

    /// Whether what stood under former names can go: the new ones serve, or there is nobody to serve.
    #[must_use]
    pub(crate) fn serves(&self) -> bool {
        self.is_synced
            && self.election.is_settled()
            && matches!(self.election.state().phase(), Phase::Elected | Phase::Draining | Phase::Leaderless)
    }
}

/// What is around a Service when something happens to it.
pub(crate) struct Surroundings<'a> {
    /// Now.
    pub(crate) at: Timestamp,
    /// Who we are.
    pub(crate) identity: &'a Identity,
    /// All pods of the namespace, by name.
    pub(crate) pods: &'a std::collections::HashMap<Arc<str>, PodRow>,
    /// How new they are.
    pub(crate) horizon: Version,
}

impl Surroundings<'_> {
    /// What is known of a pod.
    pub(crate) fn row(&self, pod: &machine::Pod) -> Option<&PodRow> {
        self.pods.get(pod.name()).filter(|row| row.pod == *pod)
    }

    fn member(&self, uid: &str, view: &View) -> Option<machine::Member> {
        let row = self.pods.values().find(|row| row.pod.uid() == uid)?;
        row.membership(&view.source.selector).ok()?;
        Some(row.member(view))
    }
}
