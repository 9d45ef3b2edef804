//! One Service at a time: what it is told, what its election makes of that, and what is sent and said for it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use machine::{Cause, Event, Timestamp};
use tokio::time::Instant;

use super::report::Moved;
use super::{Driver, Purpose};
use crate::apply::{Order, Parent, Request};
use crate::failover::Ids;
use crate::lease::Tenure;
use crate::managed::{Errand, Key, Managed, Outcome, Surroundings};
use crate::metrics::Gauges;
use crate::notice::{self, Notice, Regarding};
use crate::record::{Record, Recorder};

impl Driver {
    /// One fact for one election, and everything that follows from it.
    pub(super) fn step(&mut self, key: &Key, event: Event) {
        self.with(key, |_, _, out| out.events.push(event));
    }

    /// Lets `act` do something with one Service, tells its election the facts that come of it, and sends what
    /// that orders, until nothing more follows.
    pub(super) fn with(
        &mut self,
        key: &Key,
        act: impl FnOnce(&mut Managed, &Surroundings<'_>, &mut Outcome),
    ) {
        let begun = Instant::now();
        if self.held.is_tenure_over(begun) {
            self.lease(Tenure::Over);
        }
        let horizon = self.horizon(&key.namespace);
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let cx = Surroundings {
            at: self.clock.timestamp(begun),
            clock: self.clock,
            identity: &self.identity,
            acts_first: self.held.acts_first,
            tracer: self.tracer.as_ref(),
            budget: self.budget,
            pods: &space.pods,
            horizon,
            grounds: &self.world.grounds,
        };
        let mut out = Outcome::default();
        act(managed, &cx, &mut out);
        let moves = decide(&self.recorder, key, managed, &cx, &mut out);
        if let Some(leaders) = self.leaders.as_ref().filter(|_| !managed.is_leaving) {
            leaders.service_is(key, &managed.election, &mut managed.told);
        }
        let after = After::of(managed, &cx, &out);
        self.set_alarm(key);
        if after.is_led {
            self.recall(key);
        }
        for (errand, request) in std::mem::take(&mut out.errands) {
            self.submit(key, after.generation, errand, request, after.trace);
        }
        let has_failed = out.has_failed;
        self.tell(key, &moves, out, &after);
        self.metrics.decided(key, begun.elapsed(), !has_failed);
        for name in after.retired {
            self.sweep_name(&key.namespace, &name);
        }
        if after.is_over {
            self.ended(key);
        } else if after.can_begin && self.is_armed {
            self.begin(key);
        }
    }

    /// Whoever waits for the publication came first; whoever reads logs comes before other readers.
    fn tell(&mut self, key: &Key, moves: &[Moved], out: Outcome, after: &After) {
        for moved in moves {
            moved.log(key);
        }
        if let Some(regarding) = &after.regarding {
            for notice in &out.notices {
                self.send_notice(notice, regarding);
            }
            self.over(out.failovers, regarding);
        }
        if let Some(gauges) = &after.gauges {
            self.metrics.service_is(key, gauges);
        }
        for counter in out.counters {
            self.metrics.count(key, counter);
        }
    }

    /// `trace`: that of the failover under way, if there is one.
    pub(super) fn submit(
        &mut self,
        key: &Key,
        generation: u32,
        errand: Errand,
        request: Request,
        trace: Option<Ids>,
    ) {
        let trace = trace.filter(|_| errand.call().is_some());
        let parent = trace
            .zip(self.tracer.as_ref())
            .and_then(|(ids, tracer)| Some(Parent { trace: ids.trace, span: tracer.propagated()? }));
        let purpose = Purpose::Of(key.clone(), generation, errand);
        let order = Order::new(purpose, key.namespace.to_string(), request);
        self.give(Order { parent, ..order });
    }

    pub(super) fn send_notice(&mut self, notice: &Notice, regarding: &Regarding) {
        let event = notice::event(notice, regarding, self.clock.now(), &self.identity.replica);
        let request = Request::Notify(Box::new(event));
        self.apply.submit(Order::new(Purpose::Loose, regarding.namespace.to_string(), request));
    }

    fn set_alarm(&mut self, key: &Key) {
        let Some(space) = self.world.namespaces.get_mut(&key.namespace) else { return };
        let Some(managed) = space.managed.get_mut(&key.name) else { return };
        let deadline = managed.deadline(self.held.acts_first);
        if deadline != managed.alarm {
            managed.alarm = deadline;
            if let Some(at) = deadline {
                self.alarms.push(Reverse((at, key.clone())));
            }
        }
    }

    /// Tells everybody whose time has come.
    pub(super) fn ring(&mut self) {
        let now = self.clock.now();
        let mut due = BTreeSet::new();
        while let Some(Reverse((at, _))) = self.alarms.peek()
            && *at <= now
        {
            let Some(Reverse((at, key))) = self.alarms.pop() else { break };
            if self.managed(&key).is_some_and(|managed| managed.alarm == Some(at)) {
                due.insert(key);
            }
        }
        for key in due {
            if let Some(managed) = self
                .world
                .namespaces
                .get_mut(&key.namespace)
                .and_then(|space| space.managed.get_mut(&key.name))
            {
                managed.alarm = None;
                managed.wake(now);
            }
            self.step(&key, Event::DeadlineReached);
            self.look_for_overdue(&key, now);
        }
    }
}

/// Tells the election the facts in `out`, and whatever they lead to in turn; what that orders is added to `out`.
fn decide(
    recorder: &Recorder,
    key: &Key,
    managed: &mut Managed,
    cx: &Surroundings<'_>,
    out: &mut Outcome,
) -> Vec<Moved> {
    let at = cx.at;
    let mut moves = Vec::new();
    let mut facts = VecDeque::from(std::mem::take(&mut out.events));
    loop {
        while let Some(event) = facts.pop_front() {
            let since = managed.election.state().since();
            let seq = managed.journal.next_seq();
            let record = recorder.step(key, seq, at, &mut managed.election, event);
            let Record { event, step, .. } = &*record;
            managed.measure(event, step, at, out);
            let followed = managed.follow(event, step.transition.as_ref(), cx, out);
            if let Some(transition) = &step.transition {
                managed.triggered(at);
                moves.push(Moved {
                    is_found: matches!(event, Event::Synced { .. }) && transition.cause == Cause::Adopted,
                    epoch: managed.election.state().epoch(),
                    lasted: (since > Timestamp(0)).then(|| at.since(since)),
                    trace: followed.ids.map(|ids| ids.trace),
                    took: followed.took,
                    transition: transition.clone(),
                });
            }
            managed.carry_out(step, cx, out);
            facts.extend(out.events.drain(..));
        }
        // What comes of tending may have to be tended in turn: a mirror that is done makes room for the next.
        managed.tend(cx, out);
        facts.extend(out.events.drain(..));
        if facts.is_empty() {
            return moves;
        }
    }
}

/// How a Service is left by what happened to it.
struct After {
    generation: u32,
    /// The failover under way.
    trace: Option<Ids>,
    /// Whom notices are about, if there are any.
    regarding: Option<Regarding>,
    /// What is shown of it, unless it is on its way out.
    gauges: Option<Gauges>,
    is_led: bool,
    can_begin: bool,
    is_over: bool,
    /// Former names of the leader Service, whose objects can go now.
    retired: Vec<Arc<str>>,
}

impl After {
    fn of(managed: &mut Managed, cx: &Surroundings<'_>, out: &Outcome) -> Self {
        let has_news = !out.notices.is_empty() || !out.failovers.is_empty();
        Self {
            generation: managed.generation,
            trace: managed.journal.open().and_then(|failover| failover.ids),
            regarding: has_news.then(|| managed.regarding()),
            gauges: (!managed.is_leaving).then(|| managed.gauges(cx)),
            is_led: managed.election.state().pod().is_some(),
            can_begin: managed.can_begin(),
            is_over: managed.election.is_over(),
            retired: managed.take_retired(),
        }
    }
}
