//! What must hold of a replica after each fact, in terms of what it was told.

use machine::{
    Cause, Departure, Event, Failback, Member, Micros, Phase, Pod, Publication, Reach, Shown, Site, State,
    Step, Timestamp, Version, Wanted,
};

use crate::met::{Met, met};
use crate::pods::{is_fit, uid};
use crate::replica::Replica;
use crate::server::shown_endpoint;
use crate::told::says;

/// A refused publication and a contest wait for so long.
const PAUSE_MOST: Micros = Micros::from_secs(30);

impl Replica {
    /// I7: while wanted and published differ, something is under way, or armed within the longest pause there is.
    pub(crate) fn check_armed(&self, at: Timestamp) {
        let is_armed = |deadline| deadline <= at.plus(PAUSE_MOST);
        assert!(
            self.election.is_settled() || self.waits() || self.election.deadline().is_some_and(is_armed),
            "I7: nothing is armed though wanted and published differ"
        );
    }

    /// A leader that is published is not unseated by facts older than its publication: it is asked about first.
    pub(crate) fn check_trust(&self, event: &Event) {
        let (published, horizon) = match event {
            Event::Synced { standing, .. } | Event::Unblocked { standing } => {
                (standing.published.as_ref(), standing.horizon)
            }
            Event::PublicationObserved { published, horizon, .. } => {
                let published = published.as_ref().filter(|published| self.is_term_of_others(published));
                (published, *horizon)
            }
            _ => return,
        };
        let Some(published) = published.filter(|published| horizon < published.version) else { return };
        let Some(leader) = published.leader.as_ref().map(uid).filter(|_| self.told.is_running()) else {
            return;
        };
        if self.told.member(leader).is_some_and(is_fit) || self.told.is_unsure(leader) {
            return;
        }
        let state = self.election.state();
        let is_kept = state.phase() == Phase::Elected && state.pod().map(uid) == Some(leader);
        let is_asked = self.doubts.iter().any(|doubt| doubt.pod == leader);
        assert!(is_kept && is_asked, "I10: {state:?}, though {published:?} is newer than what is known");
    }

    /// Whether what the watch has just shown is a term of another writer above all that were seen.
    fn is_term_of_others(&self, published: &Publication) -> bool {
        let Some((last, earlier)) = self.told.shown.split_last() else { return false };
        !published.ours
            && last.epoch.is_some()
            && earlier.iter().all(|earlier| earlier.version < last.version && earlier.epoch < last.epoch)
            && shown_endpoint(published.shown).is_some()
    }

    /// The state agrees with the facts, unless one of them is being asked about or the alarm has yet to ring.
    pub(crate) fn check_state(&self, at: Timestamp) {
        let (told, state) = (&self.told, self.election.state());
        let is_paused = told.paused.is_some();
        if !told.is_running() {
            return assert_eq!(state.phase(), Phase::Leaderless, "whoever may not publish leads nobody");
        }
        let is_due = self.election.deadline().is_some_and(|deadline| deadline <= at);
        let successor = told.eligible(at).next().filter(|_| !is_paused && !is_due);
        let Some(pod) = state.pod().map(uid) else {
            assert_eq!(successor, None, "I6: nobody leads, and somebody could");
            return;
        };
        if told.is_unsure(pod) || self.doubts.iter().any(|doubt| doubt.pod == pod) {
            return;
        }
        let member = told.member(pod);
        let is_allowed = member.is_some_and(|member| {
            let can_be_reached = member.reach.endpoint().is_some();
            match state {
                State::Leaderless { .. } => true,
                State::Reelecting { .. } => is_fit(member),
                State::Elected { .. } => is_fit(member) || is_paused && can_be_reached && !member.terminating,
                State::Draining { until: None, .. } => member.terminating && member.ready && can_be_reached,
                State::Draining { until: Some(until), .. } => {
                    let is_tolerable = !member.terminating && !member.excluded && can_be_reached;
                    let is_over = *until <= at && !is_due;
                    is_tolerable && !is_over && !is_paused && told.tolerated_until(pod) == Some(*until)
                }
            }
        });
        assert!(is_allowed, "I5, I15: {state:?} of {member:?}");
        if let State::Draining { until: None, .. } = state {
            assert_eq!(successor, None, "I5: it drains, and somebody could lead");
        }
    }

    /// I9: a leader changes only for a stated cause.
    pub(crate) fn check_transition(&mut self, at: Timestamp, event: &Event, before: &State, step: &Step) {
        let after = self.election.state().clone();
        let (from, to) = ((before.phase(), before.pod()), (after.phase(), after.pod()));
        let (from_uid, to_uid) = (from.1.map(uid), to.1.map(uid));
        let is_same = from.0 == to.0 && from_uid == to_uid;
        let Some(transition) = &step.transition else {
            return assert!(is_same, "I9: {before:?} became {after:?} without a transition");
        };
        assert!(!is_same, "I9: a transition without a change");
        let pods = [&transition.from_pod, &transition.to_pod].map(|pod| pod.as_ref().map(uid));
        assert_eq!((transition.from, transition.to, pods), (from.0, to.0, [from_uid, to_uid]), "I9");
        met(Met::Arrow(from.0, to.0));
        if from_uid != to_uid {
            self.doubts.retain(|doubt| Some(doubt.pod) == to_uid);
        }
        let is_begun = matches!(event, Event::Synced { .. } | Event::Unblocked { .. });
        let is_seen = matches!(event, Event::PublicationObserved { .. } | Event::ReadDone { .. });
        let is_true = match from {
            // Then the cause is about who is published.
            _ if is_begun || is_seen => true,
            (Phase::Elected | Phase::Draining, Some(leader)) => {
                self.check_patience(at, leader, transition.cause, to.0);
                self.is_true(transition.cause, leader, event)
            }
            _ => true,
        };
        let is_possible = match transition.cause {
            Cause::Adopted => is_begun || is_seen,
            Cause::Removal => matches!(event, Event::OptedOut | Event::ServiceGone),
            Cause::Obstruction => matches!(event, Event::Blocked { .. }),
            Cause::Failback | Cause::Cordoned | Cause::Switchover if to.0 == Phase::Reelecting => {
                matches!(event, Event::Confirmed { .. }) && self.told.paused.is_none() && self.told.lease
            }
            _ => is_true,
        };
        assert!(is_possible, "I9: {transition:?} by {event:?}");
        if !is_begun && !is_seen {
            self.check_return(before, &after);
        }
        self.check_switches(at, &after);
        if let State::Reelecting { candidate, cause, .. } = &after
            && from_uid != to_uid
        {
            self.check_choice(at, before, candidate, *cause);
        }
    }

    /// No more moves that are only a preference than max-switches allows.
    fn check_switches(&mut self, at: Timestamp, after: &State) {
        let Some(limit) = self.told.policy.max_switches else { return };
        match after {
            State::Elected { leader, .. } => {
                let leader = uid(leader);
                if self.led.replace(leader).is_some_and(|led| led != leader) {
                    self.switches.push(at);
                }
            }
            State::Reelecting { cause: Cause::Failback | Cause::Cordoned, .. } => {
                let lately = self.switches.iter().filter(|then| then.plus(limit.window) > at).count();
                assert!(lately < usize::from(limit.count.get()), "max-switches: {after:?} after {lately}");
            }
            State::Reelecting { .. } | State::Draining { .. } | State::Leaderless { .. } => {}
        }
    }

    /// A leader leaves no earlier than it must.
    fn check_patience(&self, at: Timestamp, leader: &Pod, cause: Cause, to: Phase) {
        let (told, pod) = (&self.told, uid(leader));
        let Some(member) = told.member(pod).filter(|_| told.is_running() && !told.is_unsure(pod)) else {
            return;
        };
        let newest = told.shown.iter().max_by_key(|shown| shown.version);
        let is_withdrawn = newest.is_some_and(|shown| shown.shown == Shown::Nobody);
        if cause == Cause::Unready && matches!(to, Phase::Reelecting | Phase::Leaderless) && !is_withdrawn {
            let until = told.tolerated_until(pod);
            assert!(until.is_none_or(|until| until <= at), "failover-min-delay: {leader:?} until {until:?}");
        }
        let could_drain = member.terminating && member.ready && member.reach.endpoint().is_some();
        if to == Phase::Leaderless {
            assert!(!could_drain || told.is_refused(pod), "I6: {leader:?} still serves");
        }
    }

    /// Whoever led before a candidate that is lost goes on in the old term, unless the new one may have begun.
    fn check_return(&self, before: &State, after: &State) {
        if let (State::Reelecting { candidate, epoch, .. }, State::Elected { leader, .. }) = (before, after)
            && uid(leader) != uid(candidate)
        {
            let ordered = self.publishes.last().filter(|last| last.wanted.epoch == Some(*epoch));
            let may_be = ordered.is_some_and(|last| !last.is_void);
            assert!(!may_be, "I3: {leader:?} goes on, and {ordered:?} may have happened");
        }
    }

    /// Whether what is said of why `leader` leads no more is so.
    fn is_true(&self, cause: Cause, leader: &Pod, event: &Event) -> bool {
        let pod = uid(leader);
        if self.told.is_unsure(pod) {
            return true;
        }
        let member = self.told.member(pod);
        let is = |holds: fn(&machine::Member) -> bool| member.is_some_and(holds);
        let left = |by: Departure| match event {
            Event::PodGone { how, .. } => *how == by,
            // It is read to be there, and no member.
            Event::Confirmed { member: None, exists: true, .. } => by == Departure::Relabelled,
            _ => false,
        };
        match cause {
            Cause::Unready => is(|member| !member.ready),
            Cause::Terminating => is(|member| member.terminating),
            Cause::Gone => member.is_none(),
            Cause::Finished => member.is_none() && left(Departure::Finished),
            Cause::Relabelled => member.is_none() && left(Departure::Relabelled),
            Cause::Excluded => is(|member| member.excluded),
            Cause::AddressLost => is(|member| member.reach == Reach::NoAddress),
            Cause::PortUnresolved => is(|member| matches!(member.reach, Reach::PortUnresolved { .. })),
            Cause::NodeLost => self.told.node_lost.contains(&pod),
            Cause::Cordoned => is(|member| member.site == Site::Cordoned),
            Cause::FirstElection
            | Cause::Recovery
            | Cause::Refused
            | Cause::Failback
            | Cause::Switchover
            | Cause::Adopted
            | Cause::Obstruction
            | Cause::Removal => true,
        }
    }

    /// Who is chosen may be chosen, and is the best.
    fn check_choice(&self, at: Timestamp, before: &State, candidate: &Pod, cause: Cause) {
        let (told, pod) = (&self.told, uid(candidate));
        let incumbent = match before {
            State::Reelecting { incumbent, .. } => incumbent.as_ref(),
            State::Leaderless { .. } | State::Elected { .. } | State::Draining { .. } => before.pod(),
        };
        if told.is_unsure(pod) || incumbent.map(uid) == Some(pod) {
            return;
        }
        assert!(told.paused.is_none(), "a choice while paused");
        let is_eligible = |wait| told.may_be_eligible(pod, wait, at);
        assert!(is_eligible(Micros::ZERO), "I2: {candidate:?} is not eligible: {:?}", told.member(pod));
        let Some(chosen) = told.member(pod) else { return };
        let published = self.election.published();
        match cause {
            Cause::Failback => {
                met(Met::Failback);
                let wait = match told.policy.failback {
                    Failback::After(wait) => Some(wait),
                    Failback::Never => None,
                };
                assert!(wait.is_some_and(is_eligible), "a failback that is not due");
                let leader = incumbent.and_then(|leader| told.member(uid(leader)));
                let is_better = leader.is_some_and(|leader| told.merit(chosen) < told.merit(leader));
                assert!(is_better || told.request.is_some(), "a failback to no better member");
                if chosen.site != Site::Sound {
                    let is_elsewhere = |member: &Member| member.site == Site::Sound;
                    let somebody = leader.is_some_and(is_elsewhere) || told.eligible(at).any(is_elsewhere);
                    assert!(!somebody, "a failback to a node that is avoided, and somebody is elsewhere");
                }
            }
            Cause::Cordoned => {
                met(Met::Cordoned);
                let leader = incumbent.and_then(|leader| told.member(uid(leader)));
                assert!(told.policy.leave_cordoned, "nobody asked to leave cordoned nodes");
                assert!(leader.is_some_and(|leader| leader.site == Site::Cordoned), "{leader:?}");
                assert_eq!(chosen.site, Site::Sound, "from one node that is avoided to another");
            }
            Cause::Switchover => {
                met(Met::Switchover);
                let request = told.request.as_ref();
                let handled = published.and_then(|published| published.handled.as_ref());
                let names = |request: &&machine::Switchover| {
                    *request.pod == *candidate.name()
                        && request.uid.as_ref().is_none_or(|uid| **uid == *candidate.uid())
                        && request.expires.is_none_or(|expires| expires > at)
                        && handled != Some(&request.text)
                };
                assert!(request.is_some_and(|request| names(&request)), "nobody asked for {candidate:?}");
            }
            _ if told.request.is_none()
                && told.members.iter().all(|known| !told.is_unsure(uid(&known.member.pod))) =>
            {
                let leader = incumbent.map(uid);
                let others = told.eligible(at).filter(|other| Some(uid(&other.pod)) != leader);
                let best = others.min_by_key(|other| told.rank(other));
                let is_best = best.is_none_or(|best| told.rank(chosen) <= told.rank(best));
                assert!(is_best, "{chosen:?} was chosen, {best:?} ranks first");
            }
            _ => {}
        }
    }

    /// An order to publish: one at a time, based on what is known, and not for nothing.
    pub(crate) fn check_order(&self, wanted: &Wanted, based_on: Option<Version>) {
        let told = &self.told;
        assert!(told.is_running(), "it may not publish");
        for open in self.publishes.iter().filter(|publish| !publish.is_answered) {
            let is_done = told.shown[open.shown..].iter().any(|shown| says(shown, &open.wanted));
            assert!(is_done, "the write rule: {open:?} is open");
        }
        let leader = wanted.leader.as_ref().map(uid);
        let in_doubt = self.doubts.iter().find(|doubt| doubt.holds && Some(doubt.pod) == leader);
        assert!(in_doubt.is_none(), "I10: {wanted:?} is ordered while {in_doubt:?}");
        if let Some(last) = self.publishes.last() {
            assert!(
                !last.is_blind || told.sights > last.sights,
                "the write rule: nothing was seen since {last:?}"
            );
        }
        let Some(version) = based_on else { return };
        let base = told.shown_at(version);
        assert!(base.is_some() && version >= told.newest, "I4, I10: {version:?} is not what it knows");
        assert!(base.is_none_or(|base| !says(base, wanted)), "I8: a write that changes nothing");
    }

    /// I3: an epoch is used up when its write is ordered, unless that certainly never happened.
    pub(crate) fn check_epoch(&self, wanted: &Wanted, based_on: Option<Version>) {
        let Some((leader, epoch)) = wanted.leader.as_ref().map(uid).zip(wanted.epoch) else { return };
        let base = based_on.and_then(|version| self.told.shown_at(version));
        let is_published = base
            .is_some_and(|base| base.epoch == Some(epoch) && base.leader.as_ref().map(uid) == Some(leader));
        if is_published {
            return;
        }
        for earlier in self.publishes.iter().filter(|publish| !publish.is_void) {
            let Some((other, used)) = earlier.wanted.leader.as_ref().map(uid).zip(earlier.wanted.epoch)
            else {
                continue;
            };
            if other == leader {
                assert!(epoch >= used, "I3: {wanted:?} after {earlier:?}");
            } else {
                assert!(epoch > used, "I3: {wanted:?} after {earlier:?}");
                if base.is_some_and(|base| base.epoch < Some(used)) {
                    met(Met::SpentEpoch);
                }
            }
        }
    }

    /// What is to be published agrees with the facts.
    pub(crate) fn check_wanted(&self, at: Timestamp, wanted: &Wanted, creates: bool) {
        let told = &self.told;
        let Some(leader) = &wanted.leader else {
            assert_eq!(wanted.shown, Shown::Nobody, "I1");
            let eligible = told.eligible(at).next();
            assert!(creates || told.paused.is_some() || eligible.is_none(), "I6: {eligible:?} could lead");
            return;
        };
        assert!(!creates, "a slice is created empty");
        assert!(wanted.epoch.is_some(), "I3: a term without epoch");
        if let (State::Reelecting { cause: Cause::Switchover, .. }, Some(request)) =
            (self.election.state(), &told.request)
            && *request.pod == *leader.name()
            && request.uid.as_ref().is_none_or(|uid| **uid == *leader.uid())
            && request.expires.is_none_or(|expires| expires > at)
        {
            assert_eq!(wanted.handled.as_ref(), Some(&request.text), "a switchover that is not recorded");
        }
        let member = told.member(uid(leader));
        assert!(member.is_some(), "I2: {leader:?} is no member");
        let Some(member) = member else { return };
        let tolerates = match self.election.state() {
            State::Draining { until, .. } => until.is_some(),
            State::Leaderless { .. } | State::Reelecting { .. } | State::Elected { .. } => {
                told.paused.is_some()
            }
        };
        let (shown, is_allowed) = match wanted.shown {
            Shown::Ready(endpoint) => (Some(endpoint), is_fit(member) || tolerates && !member.terminating),
            Shown::Terminating(endpoint) => (Some(endpoint), member.ready && member.terminating),
            Shown::Nobody | Shown::Foreign => (None, false),
        };
        assert!(is_allowed, "I2: {member:?} is not fit for {:?}", wanted.shown);
        let is_refused = shown.is_some_and(|shown| told.is_surely_refused(uid(leader), shown));
        assert!(!is_refused, "the server has refused {wanted:?}");
        assert_eq!(shown, member.reach.endpoint(), "I2: at its present address");
    }
}
