//! The write rule: whenever what is wanted differs from what is published and no order is open, give one; and
//! whenever none can be given now, know when it can.

use crate::facts::{Facts, Life, Mirrored, News, Row, Slice, vacancy};
use crate::{
    Effect, Epoch, Failback, Micros, Mirror, Notice, OrderId, Pod, Publication, Scope, Shown, State, Step,
    Timestamp, Version, Wanted,
};

/// The first pause after a failure, and the longest: a failed write of the API server's is often the only one.
pub(crate) const RETRY_FIRST: Micros = Micros::from_millis(20);
pub(crate) const RETRY_MOST: Micros = Micros::from_secs(1);

/// A pause that doubles with each failure. The controller adds jitter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    until: Timestamp,
    pause: Micros,
}

impl Backoff {
    pub(crate) fn fail(&mut self, at: Timestamp) {
        self.pause = self.pause.doubled(RETRY_MOST).max(RETRY_FIRST);
        self.until = at.plus(self.pause);
    }

    pub(crate) fn hold_until(&mut self, when: Timestamp) {
        self.until = when;
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_over(&self, at: Timestamp) -> bool {
        self.until <= at
    }
}

/// The one open write of the authority slice.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: OrderId,
    pub(crate) wanted: Wanted,
    pub(crate) based_on: Option<Version>,
    /// The highest epoch before this write's was taken.
    pub(crate) floor_before: Epoch,
}

/// A pod that is to be read before something is decided.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    pub(crate) pod: Pod,
    /// The open order.
    pub(crate) id: Option<OrderId>,
    /// Our facts about the published leader may be old: nothing is written until they are not. Otherwise the
    /// doubt is only whether a preferred member is still there.
    pub(crate) holds: bool,
    pub(crate) backoff: Backoff,
}

impl Facts {
    /// What `state` wants the slice to say; nothing while that cannot be said.
    pub(crate) fn wanted(&self, state: &State) -> Option<Wanted> {
        let (leader, epoch, shown) = match state {
            State::Leaderless { .. } => {
                let epoch = (self.floor > Epoch(0)).then_some(self.floor);
                return Some(Wanted {
                    leader: None,
                    epoch,
                    shown: Shown::Nobody,
                    handled: self.handled.clone(),
                });
            }
            State::Reelecting { candidate: leader, epoch, .. }
            | State::Elected { leader, epoch, .. }
            | State::Draining { leader, epoch, until: Some(_), .. } => {
                (leader, *epoch, Shown::Ready(self.row(leader)?.endpoint()?))
            }
            State::Draining { leader, epoch, until: None, .. } => {
                (leader, *epoch, Shown::Terminating(self.row(leader)?.endpoint()?))
            }
        };
        Some(Wanted {
            leader: Some(leader.clone()),
            epoch: Some(epoch),
            shown,
            handled: self.handling(leader),
        })
    }

    /// The request to record as handled when `leader` leads.
    fn handling(&self, leader: &Pod) -> Option<std::sync::Arc<str>> {
        let row = self.row(leader);
        match self.pending() {
            Some(request) if row.is_some_and(|row| row.is_named_by(request)) => Some(request.text.clone()),
            Some(_) | None => self.handled.clone(),
        }
    }

    /// Gives the orders that bring the world in line with `state`.
    pub(crate) fn settle(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        match self.life {
            Life::Unsynced | Life::Removed | Life::Blocked { clear: false } => {}
            Life::Blocked { clear: true } => self.remove(Scope::Slices, at, step),
            Life::Removing => self.remove(Scope::Everything, at, step),
            Life::Running => {
                self.ask(at, step);
                self.publish(state, at, step);
            }
        }
    }

    fn remove(&mut self, scope: Scope, at: Timestamp, step: &mut Step) {
        if self.flight.is_none() && self.removing.is_none() && self.backoff.is_over(at) {
            let id = self.next_id();
            self.removing = Some(id);
            step.effects.push(Effect::Remove { id, scope });
        }
    }

    fn ask(&mut self, at: Timestamp, step: &mut Step) {
        let Some(mut doubt) = self.doubt.take_if(|doubt| doubt.id.is_none() && doubt.backoff.is_over(at))
        else {
            return;
        };
        let id = self.next_id();
        doubt.id = Some(id);
        step.effects.push(Effect::Confirm { id, pod: doubt.pod.clone() });
        self.doubt = Some(doubt);
    }

    fn publish(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        if self.flight.is_some() || self.doubt.as_ref().is_some_and(|doubt| doubt.holds) {
            return;
        }
        match &self.slice {
            Slice::Unknown => {
                if self.reading.is_none() && self.read_backoff.is_over(at) {
                    let id = self.next_id();
                    self.reading = Some(id);
                    step.effects.push(Effect::Read { id });
                }
            }
            Slice::Absent => {
                if self.may_write(at) {
                    // Empty first: a creation that arrives late can then never publish anybody.
                    let epoch = (self.floor > Epoch(0)).then_some(self.floor);
                    let handled = self.handled.clone();
                    self.order(Wanted { leader: None, epoch, shown: Shown::Nobody, handled }, None, step);
                }
            }
            Slice::Present(publication) => {
                let Some(wanted) = self.wanted(state) else { return };
                if publication.says(&wanted) {
                    self.calm(state, at, step);
                } else if self.may_write(at) {
                    let based_on = Some(publication.version);
                    self.order(wanted, based_on, step);
                }
            }
        }
    }

    /// Back-offs spare the server and other writers; a transition ends the wait of a contest.
    fn may_write(&self, at: Timestamp) -> bool {
        self.backoff.is_over(at) && self.contest.is_none_or(|(until, _)| until <= at)
    }

    fn order(&mut self, wanted: Wanted, based_on: Option<Version>, step: &mut Step) {
        let id = self.next_id();
        let floor_before = self.floor;
        if wanted.leader.is_some()
            && let Some(epoch) = wanted.epoch
            && epoch > self.floor
        {
            self.floor = epoch;
            self.used = Some(epoch);
        }
        self.flight = Some(Box::new(Flight { id, wanted: wanted.clone(), based_on, floor_before }));
        step.effects.push(Effect::Publish { id, wanted, based_on });
    }

    /// The API server shows what is wanted: tell people, and the leader Service.
    fn calm(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        if self.contest.is_some() {
            self.forgive(at);
        }
        self.report_vacancy(state, step);
        self.announce(state, step);
        self.mirror(state, at, step);
    }

    fn report_vacancy(&mut self, state: &State, step: &mut Step) {
        let vacancy = match state {
            State::Leaderless { .. } => vacancy(&self.rows),
            State::Reelecting { .. } | State::Elected { .. } | State::Draining { .. } => None,
        };
        if self.vacancy != vacancy {
            self.vacancy = vacancy;
            if let Some(reason) = vacancy {
                self.notify(Notice::plain(reason), step);
            }
        }
    }

    fn announce(&mut self, state: &State, step: &mut Step) {
        let Some(News { reason, cause }) = self.news.take() else { return };
        let pod = state.pod().cloned();
        let previous = self.announced.take().filter(|previous| pod.as_ref() != Some(previous));
        self.announced.clone_from(&pod);
        let detail = None;
        self.notify(Notice { reason, cause: Some(cause), pod, previous, detail }, step);
    }

    fn mirror(&mut self, state: &State, at: Timestamp, step: &mut Step) {
        let Some(Publication { epoch, handled, .. }) = self.slice.present() else { return };
        let now = Mirrored { leader: state.pod().cloned(), epoch: *epoch, handled: handled.clone() };
        let is_mirrored = self.mirrored.as_ref() == Some(&now);
        if is_mirrored || !self.lease || self.mirroring.is_some() || !self.mirror_backoff.is_over(at) {
            return;
        }
        let switched = match state {
            State::Leaderless { since } | State::Elected { since, .. } => {
                // A leadership that we only found says nothing about when it began.
                self.found_at.is_none_or(|found| found != *since).then_some(*since)
            }
            State::Reelecting { .. } | State::Draining { .. } => None,
        };
        let id = self.next_id();
        self.mirroring = Some(id);
        let Mirrored { leader, epoch, handled } = now.clone();
        self.mirrored = Some(now);
        step.effects.push(Effect::Mirror { id, mirror: Mirror { leader, epoch, switched, handled } });
    }

    /// When something is to be done although nothing happens.
    pub(crate) fn deadline(&self, state: &State, at: Timestamp) -> Option<Timestamp> {
        let mut next = Soonest(None);
        match self.life {
            Life::Unsynced | Life::Removed | Life::Blocked { clear: false } => return None,
            Life::Removing | Life::Blocked { clear: true } => {
                if self.flight.is_none() && self.removing.is_none() {
                    next.add(self.backoff.until);
                }
                return next.0;
            }
            Life::Running => {}
        }
        next.add_some(self.pause.and_then(|pause| pause.until));
        next.add_some(self.pending().and_then(|request| request.expires).filter(|_| self.lease));
        if let Some(doubt) = self.doubt.as_ref().filter(|doubt| doubt.id.is_none()) {
            next.add(doubt.backoff.until);
        }
        self.add_write(state, &mut next);
        let is_held = self.doubt.as_ref().is_some_and(|doubt| doubt.holds);
        if !self.is_paused() && !is_held {
            self.add_choice(state, at, &mut next);
        }
        next.0
    }

    fn add_write(&self, state: &State, next: &mut Soonest) {
        if self.flight.is_some() || self.doubt.as_ref().is_some_and(|doubt| doubt.holds) {
            return;
        }
        let differs = match &self.slice {
            Slice::Unknown => {
                if self.reading.is_none() {
                    next.add(self.read_backoff.until);
                }
                return;
            }
            Slice::Absent => true,
            Slice::Present(publication) => {
                self.wanted(state).is_some_and(|wanted| !publication.says(&wanted))
            }
        };
        if differs {
            next.add(self.contest.map_or(self.backoff.until, |(until, _)| until.max(self.backoff.until)));
        } else if self.lease && self.mirrored.is_none() && self.mirroring.is_none() {
            next.add(self.mirror_backoff.until);
        }
    }

    /// The moments at which time alone changes who may lead.
    fn add_choice(&self, state: &State, at: Timestamp, next: &mut Soonest) {
        let wait = match state {
            State::Draining { until: Some(until), .. } => return next.add(*until),
            State::Reelecting { .. } => return,
            State::Leaderless { .. } | State::Draining { until: None, .. } => Micros::ZERO,
            State::Elected { leader, .. } => {
                if self.doubt.is_some() {
                    return;
                }
                if self.preference(leader, at).is_some() {
                    return next.add(at);
                }
                self.wait_beside(leader)
            }
        };
        let due = |row: &Row| row.eligible_at(&self.policy).map(|from| from.plus(wait));
        for row in &self.rows {
            next.add_some(due(row).filter(|when| *when > at));
        }
    }

    /// How long a member must have been eligible to matter beside a leader.
    fn wait_beside(&self, leader: &Pod) -> Micros {
        let is_urgent = self.pending().is_some() || self.row(leader).is_some_and(|row| row.node_lost);
        match self.policy.failback {
            Failback::After(wait) if !is_urgent => wait,
            Failback::After(_) | Failback::Never => Micros::ZERO,
        }
    }
}

/// The earliest of several moments.
struct Soonest(Option<Timestamp>);

impl Soonest {
    fn add(&mut self, when: Timestamp) {
        self.0 = Some(self.0.map_or(when, |soonest| soonest.min(when)));
    }

    fn add_some(&mut self, when: Option<Timestamp>) {
        if let Some(when) = when {
            self.add(when);
        }
    }
}
