//! What happens in a simulation: a list that follows from the seed, each item of which can be left out.

use zen_lead::dice::Dice;

use crate::net::Trouble;
use crate::store::Resource;
use crate::time::Moment;

/// How long things happen, in milliseconds.
pub(crate) const EVENTFUL: Moment = 30_000;

/// Kinds of happenings to choose from; those of pods come first.
const ALL_KINDS: usize = 36;
const KINDS_OF_PODS: usize = 11;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A pod begins or ceases to be Ready.
    Ready(usize, bool),
    /// A pod is told to end.
    Terminate(usize),
    /// A pod is no more.
    Vanish(usize),
    /// A pod of the same name comes, perhaps at an address that another one had.
    Appear(usize, usize),
    /// A pod leaves its Service by its labels, or comes back.
    Select(usize, bool),
    /// A pod is never to lead, or may again.
    Exclude(usize, bool),
    /// Somebody deletes the slice.
    DeleteSlice(usize),
    /// Somebody deletes the leader Service.
    DeleteService(usize),
    /// Somebody takes the endpoint out of the slice.
    EmptySlice(usize),
    /// Somebody adds an endpoint to the slice.
    AddEndpoint(usize),
    /// Somebody adds this to the epoch.
    ShiftEpoch(usize, i64),
    /// Somebody takes all labels off the slice.
    StripLabels(usize),
    /// Another installation takes the slice for its own.
    Seize(usize),
    /// The store goes back to how it was so many versions ago.
    Restore(u64),
    /// Another program writes the slice as it thinks right.
    Overwrite(usize),
    /// The Go zen-lead looks after the Service as well, for so long.
    Go(usize, Moment),
    /// A slice of somebody else's comes under the leader Service's name.
    Stray(usize),
    /// A Service opts in or out.
    OptIn(usize, bool),
    /// A Service asks for something else.
    Settings(usize, usize),
    /// A Service is deleted and made anew.
    Recreate(usize),
    /// A replica dies.
    Crash(usize),
    /// A replica is told to end.
    Stop(usize),
    /// A replica begins.
    Start(usize),
    /// A replica's connections break and cannot be made for so long.
    Cut(usize, Moment),
    /// Nothing gets to a replica or from it for so long, then all of it does.
    Stall(usize, Moment),
    /// A replica stands still for so long, whatever it is about, and then goes on.
    Pause(usize, Moment),
    /// A replica's watches end.
    EndWatches(usize),
    /// A replica's watch of this is late by so much, for so long.
    Lag(usize, Resource, u64, Moment),
    /// Requests of a replica fail in this way, so many of a hundred, for so long.
    Fail(usize, Trouble, u32, Moment),
    /// The API server is away for so long.
    Outage(Moment),
    /// The API server forgets what was.
    Compact,
}

/// Something that happens, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happening {
    pub(crate) at: Moment,
    pub(crate) what: What,
}

/// A simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) replicas: usize,
    /// Replicas of another installation, on the same Services; they come after ours.
    pub(crate) rivals: usize,
    pub(crate) services: usize,
    /// Of each Service.
    pub(crate) pods: usize,
    pub(crate) settings: Vec<usize>,
    /// Pods and Services have addresses of both families.
    pub(crate) is_dual: bool,
    pub(crate) happenings: Vec<Happening>,
}

/// How long a restore keeps the API server away, from everybody. Longer than a minute, as the controller's watches expect
/// of one: they list anew then, and see what happened even if the server's count has caught up with what they know.
pub(crate) const RESTORING: Moment = 61_000;

/// Asks for a certain leader.
pub(crate) const SWITCHOVER: &str = "zen-lead.io/switchover-to";

/// Annotations of a Service, to be chosen from.
pub(crate) const SETTINGS: [&[(&str, &str)]; 9] = [
    &[],
    &[("zen-lead.io/failover-min-delay", "1s")],
    &[("zen-lead.io/min-ready-duration", "2s")],
    &[("zen-lead.io/failback", "immediate")],
    &[("zen-lead.io/failback", "3s"), ("zen-lead.io/strategy", "newest")],
    &[
        ("zen-lead.io/failover-min-delay", "500ms"),
        ("zen-lead.io/failback", "immediate"),
        ("zen-lead.io/max-switches", "2/5s"),
    ],
    &[("zen-lead.io/paused", "true")],
    // The name of a pod follows its Service's.
    &[(SWITCHOVER, "-1")],
    &[(SWITCHOVER, "-0"), ("zen-lead.io/failover-min-delay", "1s")],
];

impl What {
    /// For how long this keeps the controller from its work; `contest`: what somebody who writes our objects does.
    pub(crate) fn trouble(self, contest: Moment) -> Moment {
        match self {
            Self::Cut(_, span) | Self::Stall(_, span) | Self::Lag(.., span) | Self::Outage(span) => span,
            // A list that is never answered is given up after 30 s; below this seam, pings notice a dead server.
            Self::Fail(.., span) => span + 31_000,
            Self::DeleteSlice(_)
            | Self::DeleteService(_)
            | Self::EmptySlice(_)
            | Self::AddEndpoint(_)
            | Self::ShiftEpoch(..)
            | Self::StripLabels(_)
            | Self::Seize(_)
            | Self::Overwrite(_) => contest,
            Self::Go(_, span) => span + contest,
            // Three lists have to prove it, each after those before.
            Self::Restore(_) => RESTORING + 10_000,
            Self::Ready(..)
            | Self::Terminate(_)
            | Self::Vanish(_)
            | Self::Appear(..)
            | Self::Select(..)
            | Self::Exclude(..)
            | Self::Stray(_) => 0,
            // It first does what it had in mind, and then hears of all that has happened.
            Self::Pause(_, span) => span + 1_000,
            // What began is not over at once.
            Self::OptIn(..)
            | Self::Settings(..)
            | Self::Recreate(_)
            | Self::Crash(_)
            | Self::Stop(_)
            | Self::Start(_)
            | Self::EndWatches(_)
            | Self::Compact => 1_000,
        }
    }
}

/// What is not left to the seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) replicas: Option<usize>,
    pub(crate) services: Option<usize>,
}

impl Plan {
    /// That of a seed.
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let dice = Dice::seeded(seed);
        let roll = |most: usize| usize::try_from(dice.number() % most.max(1) as u64).unwrap_or_default();
        let (replicas, services, pods) = (1 + roll(3), 1 + roll(3), 2 + roll(3));
        let (replicas, services) = (size.replicas.unwrap_or(replicas), size.services.unwrap_or(services));
        let settings = (0..services).map(|_| roll(SETTINGS.len())).collect();
        let is_dual = roll(3) == 0;
        let mut plan =
            Self { seed, replicas, rivals: 0, services, pods, settings, is_dual, happenings: Vec::new() };
        // A few moments at which much happens find more than an even spread.
        let moments: Vec<Moment> = (0..2 + roll(5)).map(|_| 200 + roll(28_000) as u64).collect();
        // In a third of them only pods come and go, so that delays are to be seen that are nobody's fault.
        let kinds = [ALL_KINDS, ALL_KINDS, KINDS_OF_PODS][roll(3)];
        // As much for each Service, however many there are.
        for _ in 0..(5 + roll(30)) * services.div_ceil(3) {
            let at = moments[roll(moments.len())] + roll(400) as u64;
            plan.add(at, kinds, &roll);
        }
        // A restore beside other trouble is a trouble of its own.
        if kinds == KINDS_OF_PODS && roll(4) == 0 {
            plan.happenings.push(Happening { at: moments[0], what: What::Restore(1 + roll(40) as u64) });
        }
        // Most revealing in the midst of something else.
        if kinds == ALL_KINDS && roll(2) == 0 {
            for _ in 0..=roll(3) {
                let at = moments[roll(moments.len())] + roll(400) as u64;
                let span = [5, 100, 700, 2_500, 7_000, 12_000][roll(6)] + roll(500) as u64;
                let what = What::Pause(roll(plan.replicas), span);
                plan.happenings.push(Happening { at, what });
            }
        }
        if kinds == ALL_KINDS && roll(6) == 0 {
            let at = moments[roll(moments.len())] + roll(400) as u64;
            let span = [100, 2_500, 15_000][roll(3)] + roll(500) as u64;
            plan.happenings.push(Happening { at, what: What::Go(roll(services), span) });
        }
        // Just when the loss of whoever is the first to lead is being written.
        if kinds == ALL_KINDS && roll(3) == 0 {
            let at = moments[roll(moments.len())] + roll(400) as u64;
            let (pod, span) = (roll(services) * pods, [700, 2_500, 7_000][roll(3)] + roll(500) as u64);
            plan.happenings.push(Happening { at, what: What::Ready(pod, false) });
            plan.happenings.push(Happening { at: at + 2 + roll(3) as u64, what: What::Outage(span) });
            plan.happenings.push(Happening { at: at + span + 1_500, what: What::Ready(pod, true) });
        }
        plan.rivals = usize::from(roll(8) == 0);
        plan.happenings.sort_by_key(|happening| happening.at);
        plan
    }

    fn add(&mut self, at: Moment, kinds: usize, roll: &dyn Fn(usize) -> usize) {
        let (pod, service, replica) =
            (roll(self.services * self.pods), roll(self.services), roll(self.replicas));
        let span = [100, 700, 2_500, 7_000][roll(4)] + roll(500) as u64;
        let kind = [Resource::Pods, Resource::Services, Resource::Slices][roll(3)];
        let mut happen = |after: u64, what| self.happenings.push(Happening { at: at + after, what });
        match roll(kinds) {
            0..3 => {
                happen(0, What::Ready(pod, false));
                happen(span, What::Ready(pod, true));
            }
            3 => happen(0, What::Ready(pod, false)),
            4..6 => {
                happen(0, What::Terminate(pod));
                // The kubelet says so within a second; what it then waits for may take long.
                happen((span / 2).min(1_000), What::Ready(pod, false));
                happen(span, What::Vanish(pod));
                happen(span + 50 * roll(20) as u64, What::Appear(pod, roll(12)));
            }
            6..8 => {
                happen(0, What::Vanish(pod));
                happen(50 * roll(20) as u64, What::Appear(pod, roll(12)));
            }
            8 => happen(0, What::Vanish(pod)),
            9 => {
                happen(0, What::Select(pod, false));
                happen(span, What::Select(pod, true));
            }
            10 => happen(0, What::Exclude(pod, roll(2) == 0)),
            11 => happen(0, What::DeleteSlice(service)),
            12 => happen(0, What::DeleteService(service)),
            13 => happen(0, [What::EmptySlice(service), What::AddEndpoint(service)][roll(2)]),
            14 => happen(0, What::ShiftEpoch(service, [-5, -1, 1, 1_000][roll(4)])),
            15 => happen(0, [What::StripLabels(service), What::Stray(service)][roll(2)]),
            16 => (0..=roll(4) as u64).for_each(|n| happen(n * 150, What::Overwrite(service))),
            17 => {
                happen(0, What::OptIn(service, false));
                happen(span, What::OptIn(service, true));
            }
            18 => happen(0, What::Settings(service, roll(SETTINGS.len()))),
            19 => happen(0, What::Recreate(service)),
            20..22 => {
                happen(0, [What::Crash(replica), What::Stop(replica)][roll(2)]);
                happen(span, What::Start(replica));
            }
            22 => happen(0, What::Cut(replica, span)),
            23..25 => happen(0, What::Stall(replica, span)),
            25 => happen(0, What::EndWatches(replica)),
            26 => happen(0, What::Lag(replica, kind, [20, 300, 3_000][roll(3)], span)),
            27..30 => {
                let troubles = [
                    Trouble::Refused([403, 410, 422, 429, 500, 503][roll(6)]),
                    Trouble::Swallowed,
                    Trouble::Unanswered,
                    Trouble::Broken,
                    Trouble::Slow([50, 900, 2_500][roll(3)]),
                ];
                happen(0, What::Fail(replica, troubles[roll(5)], [20, 60, 100][roll(3)], span));
            }
            30 => happen(0, What::Outage(span)),
            31 => (0..20).for_each(|n| happen(n * 130, What::Overwrite(service))),
            32 | 33 => {
                happen(0, What::Seize(service));
                happen(span, What::DeleteSlice(service));
            }
            34 => {
                happen(0, What::Settings(service, 6));
                happen(span, What::Settings(service, roll(6)));
            }
            _ => {
                happen(0, What::Compact);
                happen(1, What::Cut(replica, 50));
            }
        }
    }
}
