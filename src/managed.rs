//! One source Service that opted in: its election, the leader Service beside it, and the second family's slice.
//!
//! The election decides who leads and writes the authority slice. The other two follow: each is brought in line
//! with what is wanted whenever anything about it changes, by one write at a time and with a back-off of its
//! own, and no failure of theirs changes who leads.

mod authority;
mod contest;
mod errand;
mod leader_service;
mod measures;
mod obstacle;
mod pace;
mod removal;
mod second;

use std::sync::Arc;

use machine::{
    Effect, Election, Epoch, Event, Micros, Phase, Standing, Step, Timestamp, Transition, Version,
};

use crate::annotations::Settings;
use crate::apply::{Reply, Request};
use crate::failover::{Followed, Journal, Seen};
use crate::failure::{Failure, Kind};
use crate::kinds::Family;
use crate::leaders::Term;
use crate::notice::{self, Notice, Regarding};
use crate::rows::View;
use crate::service::{self, Place, Remembered, Source};
use crate::slice::{self, Observed};

use authority::replaced;
pub(crate) use errand::{Errand, Outcome, Surroundings};
use leader_service::LeaderService;
use obstacle::ForeignSlice;
use second::Second;

/// Older than any object, and yet a version: a write that carries it is refused.
const DISTRUSTED: Version = Version(1);

/// Kubernetes acts on a selector of the leader Service's at the same time as we do, and leaves a slice behind: that one
/// is looked for again after so long.
const STRAYS_AGAIN: Micros = Micros::from_secs(2);

/// A look or a deletion that has failed is repeated after so long.
const STRAYS_RETRY: Micros = Micros::from_secs(10);

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
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The source Service's name.
    pub name: Arc<str>,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A source Service that opted in.
pub(crate) struct Managed {
    /// Which Service.
    pub(crate) key: Key,
    /// Tells this election's orders from those of an earlier one of the same Service.
    pub(crate) generation: u32,
    /// The Service and its settings, as far as they decide what its members are to the election.
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
    /// Its changes of leadership.
    pub(crate) journal: Journal,
    is_synced: bool,
    /// The Service opted out or is gone; what is ours is being removed.
    pub(crate) is_leaving: bool,
    /// What those who ask for its leader were told last.
    pub(crate) told: Option<Term>,
    /// The highest epoch that was written or seen, also under a former name and before an opt-out: the election
    /// must not fall below it.
    highest_epoch: Option<Epoch>,
    /// The highest that the leader Service or the second family's slice has told of. Above that of the authority slice, it
    /// is of a term that somebody took back before we saw it.
    beside: Option<Epoch>,
    /// The authority slice as last known.
    authority: Option<Observed>,
    /// The highest version in which it was known. A watch that is behind shows older ones, also after another
    /// installation has taken the slice, or somebody has deleted it.
    past: Version,
    /// Since when its leader leads.
    led_since: Option<Timestamp>,
    /// When the leader changed last, as the leader Service tells whoever starts anew.
    remembered_switch: Option<Timestamp>,
    /// The last write of the authority slice failed.
    has_failed: bool,
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

impl Managed {
    /// A Service that opts in now.
    #[must_use]
    pub(crate) fn new(key: Key, generation: u32, source: Source, settings: Settings) -> Self {
        let leader_service = settings
            .leader_service_name
            .clone()
            .unwrap_or_else(|| crate::names::leader_service(&key.name).into());
        let view = View::new(source, &settings);
        Self {
            election: Election::new(settings.policy.clone()),
            key,
            generation,
            view,
            settings,
            leader_service,
            retired: Vec::new(),
            alarm: None,
            journal: Journal::default(),
            is_synced: false,
            is_leaving: false,
            told: None,
            highest_epoch: None,
            beside: None,
            authority: None,
            past: Version::default(),
            led_since: None,
            remembered_switch: None,
            has_failed: false,
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

    /// Likewise, and it was something else than the authority slice that told of it.
    fn count_beside(&mut self, epoch: Option<Epoch>) {
        self.beside = self.beside.max(epoch);
        self.count(epoch);
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
        let remembered = self.remembered(at);
        self.remembered_switch = remembered.as_ref().and_then(|remembered| remembered.switched);
        Event::Synced { members, standing: self.standing(remembered, horizon) }
    }

    fn remembered(&self, at: Timestamp) -> Option<Remembered> {
        self.service.read().map(|service| service::remembered(&service, at))
    }

    fn standing(&self, remembered: Option<Remembered>, horizon: Version) -> Standing {
        let Remembered { epoch, leader, switched, .. } = remembered.unwrap_or_default();
        let published = self.authority.as_ref().map(|observed| observed.publication.clone());
        // What the slice alone has told of does not confirm it.
        let shown = published.as_ref().and_then(|publication| publication.epoch);
        let is_told = self.beside.is_some() || self.highest_epoch > shown;
        Standing {
            published,
            mirrored: self.highest_epoch.filter(|_| is_told),
            mirrored_leader: leader.filter(|_| epoch >= self.highest_epoch).map(Arc::from),
            switched: switched.filter(|_| self.settings.policy.max_switches.is_some()),
            horizon,
        }
    }

    /// The store was restored: the leader Service is whatever is seen next, however old.
    pub(crate) fn distrust_service(&mut self) {
        self.service.distrust();
    }

    /// Likewise the slices.
    pub(crate) fn distrust_slices(&mut self) {
        for known in [self.authority.as_mut(), self.second.observed.as_deref_mut()].into_iter().flatten() {
            known.publication.version = DISTRUSTED;
        }
        (self.past, self.second.past) = (DISTRUSTED, DISTRUSTED);
    }

    /// Notes when the cause of the coming write happened.
    pub(crate) fn triggered(&mut self, at: Timestamp) {
        self.triggered = Some(at);
    }

    /// Writes down what a fact has changed.
    pub(crate) fn follow(
        &mut self,
        event: &Event,
        transition: Option<&Transition>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) -> Followed {
        let (key, election) = (&self.key, &self.election);
        let budget = self.settings.failover_budget.unwrap_or(cx.budget);
        let is_foreign = self.authority.as_ref().is_some_and(|authority| authority.manager.is_some());
        let seen = Seen { key, event, transition, election, cx, is_foreign, budget };
        self.journal.follow(&seen, &mut out.failovers)
    }

    /// Turns the election's orders into requests.
    pub(crate) fn carry_out(&mut self, step: &Step, cx: &Surroundings<'_>, out: &mut Outcome) {
        for effect in &step.effects {
            match effect {
                Effect::Publish { id, wanted, based_on } => self.publish(*id, wanted, *based_on, cx, out),
                Effect::Read { id } => {
                    let name = slice::name(&self.place(cx.identity), self.first_family());
                    let known = self.authority.as_ref().map_or(Version(0), |known| known.publication.version);
                    out.errands.push((Errand::Read { id: *id, known }, Request::ReadSlice(name)));
                }
                Effect::Confirm { id, pod } => {
                    let (name, uid) = (pod.name().to_owned(), pod.uid().to_owned());
                    out.errands
                        .push((Errand::Confirm { id: *id, name: name.clone(), uid }, Request::ReadPod(name)));
                }
                Effect::Mirror { id, mirror } => {
                    self.service.mirror = Some(Box::new(mirror.clone()));
                    self.service.is_mirror_old = false;
                    self.service.mirror_order = Some(*id);
                    self.service.is_due = true;
                }
                Effect::Notify { id, notice } => {
                    let notice = Notice::election(notice, self.election.state().epoch());
                    let event = notice::event(&notice, &self.regarding(), cx.at, &cx.identity.replica);
                    out.errands.push((Errand::Notify { id: *id }, Request::Notify(Box::new(event))));
                }
                Effect::Remove { id, scope } => {
                    let targets = self.targets(*scope, cx.identity);
                    let errand = Errand::Remove { id: *id, scope: *scope, targets: targets.clone() };
                    out.errands.push((errand, self.removal(*scope, targets)));
                }
            }
        }
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
        self.tend_obstacle(cx, out);
    }

    /// The answer to an errand.
    pub(crate) fn answered(
        &mut self,
        errand: Errand,
        result: Result<Reply, Failure>,
        cx: &Surroundings<'_>,
        out: &mut Outcome,
    ) {
        match errand {
            Errand::Publish { id, creates } => self.published(id, creates, result, cx, out),
            Errand::Read { id, known } => self.read(id, known, result, cx, out),
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
            Errand::Remove { id, scope, targets } => self.removed(id, scope, &targets, &result, cx, out),
            Errand::Notify { id } => out.events.push(match result {
                Ok(_) => Event::Notified { id },
                Err(_) => Event::NotifyFailed { id },
            }),
            Errand::LeaderService { creates } => self.service_written(creates, result, cx, out),
            Errand::FindService => self.service_found(result, cx, out),
            Errand::ReplaceService => self.service_replaced(is_gone(&result), cx),
            Errand::ReplaceSlice { read } => replaced(read, is_gone(&result), cx, out),
            Errand::Second => self.second_written(result, cx, out),
            Errand::FindSecond => self.second_found(result, cx, out),
            Errand::ReplaceSecond => self.second_replaced(is_gone(&result), cx),
            Errand::Recheck => self.rechecked(result, cx, out),
            Errand::Strays => match result {
                Ok(Reply::Slices(slices)) => self.strays(&slices, cx, out),
                Ok(_) => {}
                Err(_) => self.strays = Some(cx.at.plus(STRAYS_RETRY)),
            },
            // It must not stay until the next regular look.
            Errand::Stray => {
                if let Err(failure) = result {
                    let has_changed = failure.kind == Kind::Conflict;
                    let pause = if has_changed { STRAYS_AGAIN } else { STRAYS_RETRY };
                    self.strays = Some(cx.at.plus(pause));
                }
            }
        }
    }

    /// When something is to be done although nothing happens. Only who acts first tells of failovers that take long.
    #[must_use]
    pub(crate) fn deadline(&self, acts_first: bool) -> Option<Timestamp> {
        if self.is_leaving {
            // Nothing is tended any more, so that no other moment would ever pass.
            return self.election.deadline();
        }
        let of_service = self.service.pace.end().filter(|_| !self.service.open);
        let recheck = |foreign: &ForeignSlice| foreign.recheck;
        let of_second = self.second.pace.end().or_else(|| self.second.foreign.as_ref().map(recheck));
        let of_second = of_second.filter(|_| !self.second.open);
        let of_foreign = self.foreign.as_ref().map(recheck);
        let of_journal = self.journal.deadline().filter(|_| acts_first);
        [self.election.deadline(), of_service, of_second, of_foreign, self.strays, of_journal]
            .into_iter()
            .flatten()
            .min()
    }

    /// The moment has come that [`Self::deadline`] told.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        self.service.pace.wake(at);
        self.second.pace.wake(at);
        self.service.is_due = true;
    }

    /// Whether something beside the election waits for a back-off to end.
    pub(crate) fn is_backing_off(&self) -> bool {
        self.service.pace.end().is_some() || self.second.pace.end().is_some()
    }

    /// The API server is back: there is nothing to wait for.
    pub(crate) fn hurry(&mut self) {
        self.service.pace.hurry();
        self.second.pace.hurry();
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

/// Whether what was to be deleted is no more.
const fn is_gone(result: &Result<Reply, Failure>) -> bool {
    matches!(result, Ok(Reply::Done))
}
