//! The only API writes, and the few single reads that decisions ask for.
//!
//! Publications go before everything else: they, and the reads they wait for, have a lane of their own, so that
//! a webhook that hangs on Services can never delay a failover. What Services need so that they route at all comes
//! second. Mirrors and notices, which nobody's traffic waits for, come last: they take the API server's time too, and
//! five hundred leaders lost at once are a thousand of them. The deciding task keeps at most one write open per object,
//! so a lane's queue is bounded by the number of objects; notices alone may pile up and are cut.

mod call;
mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use crate::failure::Failure;
use crate::halt::Halt;

use call::Call;
pub(crate) use call::{Exchange, Parent};
pub(crate) use request::{Reply, Request, Target, Unless};

/// Orders of the side lane in flight at once: with the publications' 48 that makes 64, beyond which an API server
/// gains nothing (measured: 32 to 64 is best).
const SIDE_IN_FLIGHT: usize = 16;

/// Orders of the last lane in flight at once, if nothing else is.
const LATER_IN_FLIGHT: usize = 16;

/// Beside others they wait for so long, and then go on one by one.
const LATER_PATIENCE: Duration = Duration::from_secs(1);

/// Notices that may wait, about 1 KB each; a thousand Services that opt in at once send three each. Beyond it they are
/// dropped, and answered so.
const NOTICES_WAITING: usize = 4_000;

/// A request and what it is for.
#[derive(Debug)]
pub(crate) struct Order<T> {
    /// What it is for, returned with the answer.
    pub(crate) purpose: T,
    /// The namespace.
    pub(crate) namespace: String,
    /// The request.
    pub(crate) request: Request,
    /// When it was given.
    pub(crate) since: Instant,
    /// The span that the API server shall take for the parent of its own.
    pub(crate) parent: Option<Parent>,
}

impl<T> Order<T> {
    /// An order that is given now and in nobody's trace.
    #[must_use]
    pub(crate) fn new(purpose: T, namespace: String, request: Request) -> Self {
        Self { purpose, namespace, request, since: Instant::now(), parent: None }
    }
}

/// The answer to an order; every order gets one.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// What the order was for.
    pub(crate) purpose: T,
    /// The namespace.
    pub(crate) namespace: String,
    /// Method and kind of the request.
    pub(crate) what: &'static str,
    /// The resource, as the API names it; of a deletion that of the first object.
    pub(crate) resource: &'static str,
    /// It would have changed something.
    pub(crate) is_write: bool,
    /// What came of it.
    pub(crate) result: Result<Reply, Failure>,
    /// When it was ordered.
    pub(crate) ordered: Instant,
    /// When it was its turn.
    pub(crate) begun: Instant,
    /// When it was answered.
    pub(crate) ended: Instant,
    /// The last HTTP request that it came to.
    pub(crate) exchange: Option<Exchange>,
    lane: LaneName,
}

impl<T> Answer<T> {
    /// A word for what came of it: `ok`, or the kind of failure.
    #[must_use]
    pub(crate) fn outcome(&self) -> &'static str {
        self.result.as_ref().map_or_else(Failure::category, |_| "ok")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneName {
    Publications,
    Side,
    Later,
}

/// The lanes to the API server. Owned by the deciding task, which never waits for them.
pub(crate) struct Apply<T> {
    client: kube::Client,
    dry_run: bool,
    halt: Halt,
    /// Publications in flight at once.
    most: usize,
    publications: Lane<T>,
    side: Lane<T>,
    later: Lane<T>,
    notices: VecDeque<Order<T>>,
    running: JoinSet<Answer<T>>,
    /// Answers to what was not sent.
    dropped: VecDeque<Answer<T>>,
}

struct Lane<T> {
    in_flight: usize,
    waiting: VecDeque<Order<T>>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { in_flight: 0, waiting: VecDeque::new() }
    }
}

impl<T: Send + 'static> Apply<T> {
    /// Lanes over `client` with at most `most` publications in flight. A dry run answers without sending.
    #[must_use]
    pub(crate) fn new(client: kube::Client, most: usize, dry_run: bool) -> Self {
        Self {
            client,
            dry_run,
            halt: Halt::default(),
            most,
            publications: Lane::default(),
            side: Lane::default(),
            later: Lane::default(),
            notices: VecDeque::new(),
            running: JoinSet::new(),
            dropped: VecDeque::new(),
        }
    }

    /// The same, whose calls can be halted.
    #[must_use]
    pub(crate) fn halted_by(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// Sends the order now, or when it is its turn.
    pub(crate) fn submit(&mut self, order: Order<T>) {
        let name = order.request.lane();
        if !order.request.is_notice() {
            self.lane(name).waiting.push_back(order);
        } else if self.notices.len() < NOTICES_WAITING {
            self.notices.push_back(order);
        } else {
            self.refuse(order, Failure::dropped(NOTICES_WAITING));
        }
        self.fill(name);
    }

    /// Whether an answer is to come.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.dropped.is_empty()
    }

    /// How many orders wait for their turn, by lane.
    #[must_use]
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 3] {
        let later = self.later.waiting.len() + self.notices.len();
        [
            ("publications", self.publications.waiting.len()),
            ("side", self.side.waiting.len()),
            ("later", later),
        ]
    }

    /// The next answer; waits for ever if nothing is in flight.
    pub(crate) async fn answer(&mut self) -> Answer<T> {
        if let Some(dropped) = self.dropped.pop_front() {
            return dropped;
        }
        let Some(done) = self.running.join_next().await else { return std::future::pending().await };
        let answer = match done {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.lane(answer.lane).in_flight -= 1;
        for name in [LaneName::Publications, LaneName::Side, LaneName::Later] {
            self.fill(name);
        }
        answer
    }

    /// Starts what waits, as far as there is room.
    fn fill(&mut self, name: LaneName) {
        while self.has_room(name)
            && let Some(order) = self.next(name)
        {
            self.start(name, order);
        }
    }

    fn has_room(&self, lane: LaneName) -> bool {
        match lane {
            LaneName::Publications => self.publications.in_flight < self.most,
            LaneName::Side => self.side.in_flight < SIDE_IN_FLIGHT,
            LaneName::Later => {
                let is_alone = self.publications.in_flight == 0 && self.side.in_flight == 0;
                let oldest = self.later.waiting.front().or_else(|| self.notices.front());
                let is_late = oldest.is_some_and(|order| order.since.elapsed() >= LATER_PATIENCE);
                self.later.in_flight < if is_alone { LATER_IN_FLIGHT } else { usize::from(is_late) }
            }
        }
    }

    fn lane(&mut self, name: LaneName) -> &mut Lane<T> {
        match name {
            LaneName::Publications => &mut self.publications,
            LaneName::Side => &mut self.side,
            LaneName::Later => &mut self.later,
        }
    }

    /// The next order of a lane. Notices come after whatever else its lane has.
    fn next(&mut self, name: LaneName) -> Option<Order<T>> {
        let next = self.lane(name).waiting.pop_front();
        if name == LaneName::Later { next.or_else(|| self.notices.pop_front()) } else { next }
    }

    /// Answers an order that is not to be sent, because another replica has done what it asks for, or it would be wrong
    /// by now.
    pub(crate) fn supersede(&mut self, order: Order<T>) {
        self.refuse(order, Failure::superseded());
    }

    fn refuse(&mut self, order: Order<T>, failure: Failure) {
        let is_write = order.request.is_write();
        let Order { purpose, namespace, request, since, .. } = order;
        let (what, resource, lane) = (request.what(), request.resource(), request.lane());
        let (result, now) = (Err(failure), Instant::now());
        self.dropped.push_back(Answer {
            purpose,
            namespace,
            what,
            resource,
            is_write,
            result,
            ordered: since,
            begun: now,
            ended: now,
            exchange: None,
            lane,
        });
    }

    fn start(&mut self, lane: LaneName, order: Order<T>) {
        let (client, dry_run) = (self.client.clone(), self.dry_run);
        let begun = Instant::now();
        self.lane(lane).in_flight += 1;
        self.running.spawn(self.halt.clone().task(async move {
            let Order { purpose, namespace, request, since: ordered, parent } = order;
            let (what, resource, is_write) = (request.what(), request.resource(), request.is_write());
            let mut call = Call::new(&client, &namespace, parent);
            let result = if dry_run && is_write {
                info!(dry_run, namespace, "would send: {request}");
                Ok(request.pretend())
            } else if request.is_notice() {
                request.insist(&mut call).await
            } else {
                request.send(&mut call).await
            };
            let exchange = call.into_exchange();
            let ended = Instant::now();
            Answer {
                purpose,
                namespace,
                what,
                resource,
                is_write,
                result,
                ordered,
                begun,
                ended,
                exchange,
                lane,
            }
        }));
    }
}
