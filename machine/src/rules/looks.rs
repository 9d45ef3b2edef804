//! The looks: what the state must be, given everything that is known. They may run at any time.

use statig::Outcome::{self, Handled, Super, Transition};

use crate::facts::{Facts, Life, Row, Sight, Slice};
use crate::orders::{Backoff, Doubt};
use crate::{Cause, Epoch, Pod, Shown, Standing, State, Timestamp};

use super::Cx;

impl Cx<'_> {
    fn go(&mut self, cause: Cause, state: State) -> Outcome<State> {
        self.cause = cause;
        Transition(state)
    }

    pub(super) fn sees_new_term(&self) -> bool {
        self.is_running() && matches!(self.learned.sight, Sight::Term { .. })
    }

    fn is_running(&self) -> bool {
        self.facts.life == Life::Running
    }

    /// Decides afresh from what is published and what is known of the pods. `present`: who leads, or was to.
    pub(super) fn start(&mut self, standing: &Standing, present: Option<&Pod>) -> Outcome<State> {
        if !self.learned.begins {
            return Handled;
        }
        let found = self.facts.slice.present().and_then(|publication| {
            let certain = standing.horizon >= publication.version;
            Some((publication.leader.clone()?, publication.epoch, certain))
        });
        if let Some((leader, recorded, certain)) = found {
            let epoch = recorded.unwrap_or_else(|| self.facts.epochs.next(self.at));
            self.facts.found_at = Some(self.at);
            return self.settle_on(leader, epoch, certain, Cause::Adopted);
        }
        if let Some(present) = present.filter(|present| self.facts.is_fit(present)) {
            // The slice was lost while we ran: who leads goes on, in a new term.
            return self.retry(present.clone(), None, Cause::Recovery, self.at);
        }
        match self.fill_vacancy() {
            Handled | Super => {
                let cause = present.map(|present| self.loss(present).unwrap_or(Cause::Unready));
                self.go(cause.unwrap_or(Cause::Recovery), State::Leaderless { since: self.at })
            }
            Transition(state) => Transition(state),
        }
    }

    /// Another term than the last acknowledged one is published: two views must not fight. `own`: the term
    /// that we had ordered, and why.
    pub(super) fn adopt(&mut self, own: Option<(&Pod, Epoch, Cause)>) -> Outcome<State> {
        let Sight::Term { certain } = self.learned.sight else { return Handled };
        let Some(publication) = self.facts.slice.present() else { return Handled };
        let (Some(leader), Some(epoch)) = (publication.leader.clone(), publication.epoch) else {
            return Handled;
        };
        let cause = match own {
            Some((candidate, term, cause)) if publication.ours && *candidate == leader && term == epoch => {
                cause
            }
            Some(_) | None => {
                self.facts.announced = Some(leader.clone());
                Cause::Adopted
            }
        };
        self.settle_on(leader, epoch, certain, cause)
    }

    /// `leader` is published as that of `epoch`: it is the leader, unless our facts are new enough to say that
    /// it can not be.
    fn settle_on(&mut self, leader: Pod, epoch: Epoch, certain: bool, cause: Cause) -> Outcome<State> {
        let mut epoch = epoch;
        self.renew(&leader, &mut epoch);
        let fit = self.facts.is_fit(&leader);
        let drained = matches!(self.facts.slice.present().map(|now| now.shown), Some(Shown::Terminating(_)));
        if !certain && (!fit || drained) {
            self.facts.hold_in_doubt(&leader);
        } else if let Some((cause, state)) = self.judge(&leader, epoch) {
            return self.go(cause, state);
        }
        let since = self.at;
        self.go(cause, State::Elected { leader, epoch, since })
    }

    pub(super) fn leave(&mut self, cause: Cause) -> Outcome<State> {
        let since = self.at;
        self.go(cause, State::Leaderless { since })
    }

    pub(super) fn fill_vacancy(&mut self) -> Outcome<State> {
        if !self.is_running() || self.facts.is_paused() {
            return Handled;
        }
        let Some(candidate) = self.facts.successor(None, self.at).cloned() else { return Handled };
        let is_first = self.facts.epochs.known().is_none();
        let cause = if is_first { Cause::FirstElection } else { Cause::Recovery };
        self.retry(candidate, None, cause, self.at)
    }

    pub(super) fn look_reelecting(
        &mut self,
        candidate: &Pod,
        epoch: &mut Epoch,
        incumbent: Option<&Pod>,
        cause: Cause,
        since: Timestamp,
    ) -> Outcome<State> {
        if !self.is_running() {
            return Handled;
        }
        let (facts, at) = (&*self.facts, self.at);
        let is_shown = facts.slice.present().is_some_and(|now| matches!(now.shown, Shown::Ready(_)));
        if is_shown && facts.flight.is_none() && facts.shows(candidate, *epoch) {
            let leader = candidate.clone();
            return self.go(cause, State::Elected { leader, epoch: *epoch, since: at });
        }
        if facts.row(candidate).is_some_and(|row| row.is_fit() && !facts.is_stranded(row, at)) {
            self.renew(candidate, epoch);
            return Handled;
        }
        // The candidate is lost. A write that may have happened ends its term; one that did not leaves no trace.
        let was_sent = facts.flight.is_some() || facts.epochs.may_be_used(*epoch);
        let recorded = facts.slice.present().filter(|now| now.leader.as_ref() == incumbent);
        let kept = recorded
            .and_then(|now| now.epoch)
            .filter(|epoch| !was_sent && !facts.epochs.is_stale(*epoch, recorded, true));
        if let Some(incumbent) = incumbent.filter(|incumbent| facts.is_fit(incumbent)) {
            let leader = incumbent.clone();
            return match kept {
                Some(epoch) => self.go(Cause::Recovery, State::Elected { leader, epoch, since: at }),
                None => self.retry(leader, Some(incumbent), Cause::Recovery, since),
            };
        }
        let cause = match cause {
            // What was preferred cannot be, and who led is lost as well.
            Cause::Failback | Cause::Cordoned | Cause::Switchover => {
                incumbent.and_then(|incumbent| self.loss(incumbent)).unwrap_or(Cause::Unready)
            }
            other => other,
        };
        if !facts.is_paused()
            && let Some(successor) = facts.successor(None, at).cloned()
        {
            return self.retry(successor, incumbent, cause, since);
        }
        if let Some(leader) = incumbent
            && facts.row(leader).is_some_and(Row::can_drain)
        {
            let (leader, epoch) = (leader.clone(), kept.unwrap_or_else(|| facts.epochs.next(at)));
            return self.go(cause, State::Draining { leader, epoch, cause, since: at, until: None });
        }
        self.go(cause, State::Leaderless { since: at })
    }

    fn retry(
        &mut self,
        candidate: Pod,
        incumbent: Option<&Pod>,
        cause: Cause,
        since: Timestamp,
    ) -> Outcome<State> {
        let (epoch, incumbent) = (self.facts.epochs.next(self.at), incumbent.cloned());
        self.go(cause, State::Reelecting { candidate, epoch, incumbent, cause, since })
    }

    pub(super) fn look_elected(&mut self, leader: &Pod, epoch: &mut Epoch) -> Outcome<State> {
        if !self.is_running() || self.is_in_doubt(leader, *epoch, Shown::Ready) {
            return Handled;
        }
        self.renew(leader, epoch);
        if let Some((cause, state)) = self.judge(leader, *epoch) {
            if cause.is_revocable() && self.learned.late.as_ref() == Some(leader) {
                // Whoever made this pod the leader may have seen it recover.
                self.facts.hold_in_doubt(leader);
                return Handled;
            }
            return self.go(cause, state);
        }
        self.decline_what_cannot_be();
        let Some((candidate, cause)) = self.facts.preference(leader, self.at) else { return Handled };
        let candidate = candidate.clone();
        if self.learned.confirmed.as_ref() != Some(&candidate) {
            self.facts.ask_about(&candidate);
            return Handled;
        }
        self.retry(candidate, Some(leader), cause, self.at)
    }

    pub(super) fn look_draining(
        &mut self,
        leader: &Pod,
        epoch: &mut Epoch,
        cause: Cause,
        until: &mut Option<Timestamp>,
    ) -> Outcome<State> {
        let is_tolerated = until.is_some();
        let shown = if is_tolerated { Shown::Ready } else { Shown::Terminating };
        if !self.is_running() || self.is_in_doubt(leader, *epoch, shown) {
            return Handled;
        }
        self.renew(leader, epoch);
        let (facts, at) = (&*self.facts, self.at);
        let row = facts.row(leader);
        if let (Some(tolerated), Some(row)) = (until, row.filter(|row| row.is_tolerable())) {
            if row.is_fit() || facts.is_paused() {
                let leader = leader.clone();
                let cause = if row.is_fit() { Cause::Recovery } else { cause };
                return self.go(cause, State::Elected { leader, epoch: *epoch, since: at });
            }
            // The policy may have changed.
            *tolerated = facts.tolerated_until(row);
            let is_stranded = facts.is_stranded(row, at);
            // Another replica's patience may have ended first, and nobody fights for a leader that is not Ready.
            let is_withdrawn = facts.slice.present().is_some_and(|now| now.shown == Shown::Nobody);
            if *tolerated > at && !is_stranded && !is_withdrawn {
                return Handled;
            }
            let cause = if is_stranded { Cause::NodeLost } else { cause };
            return self.go(cause, facts.vacate(leader, *epoch, cause, at));
        }
        let cause = self.loss(leader).unwrap_or(cause);
        match facts.vacate(leader, *epoch, cause, at) {
            State::Draining { .. } if !is_tolerated => Handled,
            state => self.go(cause, state),
        }
    }

    /// Somebody else changed what the slice says of `leader`. Another replica may have had a reason that we
    /// have not seen yet: ask before repairing. Answers whether an answer is still open.
    fn is_in_doubt(&mut self, leader: &Pod, epoch: Epoch, shown: fn(crate::Endpoint) -> Shown) -> bool {
        if self.learned.sight == (Sight::Edited { certain: false }) {
            let wanted = self.facts.row(leader).and_then(Row::endpoint).map(shown);
            let now = self.facts.slice.present().map(|now| now.shown);
            if !self.facts.shows(leader, epoch) || now != wanted {
                self.facts.hold_in_doubt(leader);
            }
        }
        self.facts.is_doubted(leader)
    }

    /// Where the pair of leader and epoch was broken, the term must be a new one.
    fn renew(&mut self, pod: &Pod, epoch: &mut Epoch) {
        let facts = &*self.facts;
        let is_known = !matches!(facts.slice, Slice::Unknown) && facts.flight.is_none();
        if is_known && facts.epochs.is_stale(*epoch, facts.slice.present(), facts.shows(pod, *epoch)) {
            *epoch = facts.epochs.next(self.at);
        }
    }

    /// A request for a pod that was replaced by another of its name can never be met.
    fn decline_what_cannot_be(&mut self) {
        let facts = &*self.facts;
        let hopeless = facts.pending(self.at).filter(|request| {
            let mut namesakes =
                facts.rows.iter().filter(|row| row.member.pod.name() == &*request.pod).peekable();
            facts.lease
                && request.uid.is_some()
                && namesakes.peek().is_some()
                && namesakes.all(|row| !row.is_named_by(request))
        });
        if let Some(text) = hopeless.map(|request| request.text.clone()) {
            self.facts.decline(text, self.step);
        }
    }
}

impl Facts {
    fn hold_in_doubt(&mut self, pod: &Pod) {
        if !self.is_doubted(pod) {
            self.doubt(pod, true);
        }
    }

    fn ask_about(&mut self, pod: &Pod) {
        if self.doubt.is_none() {
            self.doubt(pod, false);
        }
    }

    fn doubt(&mut self, pod: &Pod, holds: bool) {
        self.doubt = Some(Box::new(Doubt { pod: pod.clone(), id: None, holds, backoff: Backoff::default() }));
    }

    /// A transition makes doubts about others moot, and is worth a write at once.
    pub(super) fn moved(&mut self, target: &State) {
        self.doubt.take_if(|doubt| !doubt.holds || target.pod() != Some(&doubt.pod));
        if let Some(contest) = &mut self.contest {
            contest.hurry();
        }
        self.try_again();
    }
}
