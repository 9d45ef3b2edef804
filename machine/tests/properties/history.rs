//! A history: what happens, then peace. Also one from bytes, as a fuzzer makes them up: `tests/fuzz` at the top.

use crate::ops::{Fate, Op, PodOp, Reply};
use crate::world::World;

/// More say nothing new, and take long.
const OPS_MOST: usize = 150;

/// Lives it.
pub(crate) fn live(replicas: usize, ops: &[Op]) -> World {
    let mut world = World::new(replicas);
    for op in ops {
        world.run(op);
    }
    world.settle();
    for replica in &world.replicas {
        replica.check_replay(ops.len().is_multiple_of(16));
    }
    world
}

/// How many replicas there are, and what happens. Any bytes are a history.
pub(crate) fn from_bytes(bytes: &[u8]) -> (usize, Vec<Op>) {
    let mut bytes = Bytes(bytes.iter());
    let replicas = 1 + usize::from(bytes.below(3));
    let ops = std::iter::from_fn(|| bytes.op()).take(OPS_MOST).collect();
    (replicas, ops)
}

struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    /// The same numbers as `ops::op` has.
    fn op(&mut self) -> Option<Op> {
        let kind = *self.0.next()?;
        Some(match kind % 33 {
            0 => Op::Round(self.below(4)),
            1 => Op::Answers(self.below(4)),
            2 => Op::Pod(self.below(5), self.pod_op()),
            3 => Op::Pods(self.below(4), 1 + self.below(3)),
            4 => Op::OldNews(self.below(4), self.below(6)),
            5 => Op::Relist(self.below(4)),
            6 => Op::Slices(self.below(4), 1 + self.below(3)),
            7 => Op::Write(self.below(4), self.fate()),
            8 => Op::Late(self.below(4)),
            9 => Op::Limbo,
            10 => Op::Read(self.below(4), self.reply()),
            11 => Op::Confirm(self.below(4), self.reply()),
            12 => Op::Mirror(self.below(4), self.reply()),
            13 => Op::Remove(self.below(4), self.reply()),
            14 => Op::Term(self.below(5)),
            15 => Op::Withdraw(self.below(2) == 1),
            16 => Op::Edit(self.below(11)),
            17 => Op::DeleteSlice,
            18 => Op::Policy(self.below(12)),
            19 => Op::Pause(self.below(4)),
            20 => Op::Resume,
            21 => Op::Request(self.below(5), self.below(4)),
            22 => Op::Unrequest,
            23 => Op::Lease(self.below(4)),
            24 => Op::Block(self.below(2) == 1),
            25 => Op::Unblock,
            26 => Op::OptOut,
            27 => Op::Node(self.below(5), self.below(2) == 1),
            28 => Op::ServerBack(self.below(4)),
            29 => Op::Wait(self.below(10)),
            30 => Op::Wake(self.below(4)),
            31 => Op::Again(self.below(4)),
            _ => Op::Restart(self.below(4)),
        })
    }

    fn below(&mut self, most: u8) -> u8 {
        self.0.next().map_or(0, |byte| byte % most)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.0.next().copied().unwrap_or_default()) % all.len()]
    }

    fn pod_op(&mut self) -> PodOp {
        self.one_of(&[
            PodOp::Ready,
            PodOp::Unready,
            PodOp::Terminating,
            PodOp::Deleted,
            PodOp::Replaced,
            PodOp::Finished,
            PodOp::Relabelled,
            PodOp::Moved,
            PodOp::Addressless,
            PodOp::Unreachable,
            PodOp::Excluded,
            PodOp::Priority,
            PodOp::Revision,
            PodOp::Place,
            PodOp::Site,
        ])
    }

    fn fate(&mut self) -> Fate {
        self.one_of(&[
            Fate::Fair,
            Fate::Slow,
            Fate::Unanswered,
            Fate::Limbo,
            Fate::Unreachable,
            Fate::FalseAlarm,
            Fate::Throttled,
            Fate::RefusedEndpoint,
            Fate::Refused,
            Fate::Superseded,
            Fate::Twice,
        ])
    }

    fn reply(&mut self) -> Reply {
        self.one_of(&[Reply::Fair, Reply::Slow, Reply::Failed])
    }
}
