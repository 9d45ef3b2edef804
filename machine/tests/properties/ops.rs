//! What can happen in a history.

use proptest::prelude::*;

/// One thing that happens. Small numbers choose among the few pods, replicas and variants there are, modulo how
/// many that is, so that every number means something and smaller ones are simpler.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// All is well for a moment: the watches of a replica catch up, and what it has ordered is done.
    Round(u8),
    /// Likewise, but it hears nothing new of pods.
    Answers(u8),
    /// A pod changes; the watches will show it.
    Pod(u8, PodOp),
    /// The pod watch shows a replica so many events.
    Pods(u8, u8),
    /// The pod watch shows a replica once more the event so many before its last.
    OldNews(u8, u8),
    /// The pod watch of a replica begins anew.
    Relist(u8),
    /// The slice watch shows a replica so many events.
    Slices(u8, u8),
    /// The open write of a replica meets this fate.
    Write(u8, Fate),
    /// The answer that a replica waits for longest comes.
    Late(u8),
    /// A write that seemed lost arrives.
    Limbo,
    Read(u8, Reply),
    Confirm(u8, Reply),
    Mirror(u8, Reply),
    Remove(u8, Reply),
    /// Another replica, outside this history, publishes a term of this pod.
    Term(u8),
    /// Another replica withdraws the leader, or lets it drain.
    Withdraw(bool),
    /// Somebody edits the slice.
    Edit(u8),
    DeleteSlice,
    Policy(u8),
    Pause(u8),
    Resume,
    Request(u8, u8),
    Unrequest,
    /// This replica gets the Lease, or all lose it.
    Lease(u8),
    Block(bool),
    Unblock,
    OptOut,
    Node(u8, bool),
    ServerBack(u8),
    Wait(u8),
    /// A replica's alarm rings.
    Wake(u8),
    /// All lists are in once more.
    Again(u8),
    /// A replica is replaced by a new one.
    Restart(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum PodOp {
    /// Created if it is not there, else ready.
    Ready,
    Unready,
    Terminating,
    Deleted,
    /// By another of its name and address.
    Replaced,
    Finished,
    Relabelled,
    Moved,
    Addressless,
    Unreachable,
    Excluded,
    Priority,
    Revision,
    Place,
    Site,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Answered as the server sees it.
    Fair,
    /// As fair, but the answer comes later.
    Slow,
    /// Applied as fair, and the answer is lost.
    Unanswered,
    /// The answer is lost, and the write arrives later, if ever.
    Limbo,
    /// Not applied.
    Unreachable,
    /// Applied as fair, but the server says that it failed.
    FalseAlarm,
    Throttled,
    RefusedEndpoint,
    Refused,
    Superseded,
    /// As fair, answered twice.
    Twice,
}

/// What becomes of another order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Fair,
    Slow,
    Failed,
}

fn pod_op() -> impl Strategy<Value = PodOp> {
    prop_oneof![
        8 => Just(PodOp::Ready),
        5 => Just(PodOp::Unready),
        3 => Just(PodOp::Terminating),
        3 => Just(PodOp::Deleted),
        2 => Just(PodOp::Replaced),
        1 => Just(PodOp::Finished),
        1 => Just(PodOp::Relabelled),
        2 => Just(PodOp::Moved),
        1 => Just(PodOp::Addressless),
        1 => Just(PodOp::Unreachable),
        1 => Just(PodOp::Excluded),
        1 => Just(PodOp::Priority),
        1 => Just(PodOp::Revision),
        1 => Just(PodOp::Place),
        2 => Just(PodOp::Site),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Fair),
        2 => Just(Fate::Slow),
        2 => Just(Fate::Unanswered),
        2 => Just(Fate::Limbo),
        2 => Just(Fate::Unreachable),
        1 => Just(Fate::FalseAlarm),
        1 => Just(Fate::Throttled),
        1 => Just(Fate::RefusedEndpoint),
        1 => Just(Fate::Refused),
        1 => Just(Fate::Superseded),
        1 => Just(Fate::Twice),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![6 => Just(Reply::Fair), 1 => Just(Reply::Slow), 1 => Just(Reply::Failed)]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let n = || 0..4u8;
    prop_oneof![
        14 => n().prop_map(Op::Round),
        12 => n().prop_map(Op::Answers),
        16 => (0..5u8, pod_op()).prop_map(|(slot, op)| Op::Pod(slot, op)),
        14 => (n(), 1..4u8).prop_map(|(replica, n)| Op::Pods(replica, n)),
        2 => (n(), 0..6u8).prop_map(|(replica, back)| Op::OldNews(replica, back)),
        2 => n().prop_map(Op::Relist),
        10 => (n(), 1..4u8).prop_map(|(replica, n)| Op::Slices(replica, n)),
        16 => (n(), fate()).prop_map(|(replica, fate)| Op::Write(replica, fate)),
        2 => n().prop_map(Op::Late),
        2 => Just(Op::Limbo),
        4 => (n(), reply()).prop_map(|(replica, reply)| Op::Read(replica, reply)),
        4 => (n(), reply()).prop_map(|(replica, reply)| Op::Confirm(replica, reply)),
        3 => (n(), reply()).prop_map(|(replica, reply)| Op::Mirror(replica, reply)),
        1 => (n(), reply()).prop_map(|(replica, reply)| Op::Remove(replica, reply)),
        3 => (0..5u8).prop_map(Op::Term),
        2 => any::<bool>().prop_map(Op::Withdraw),
        3 => (0..11u8).prop_map(Op::Edit),
        1 => Just(Op::DeleteSlice),
        2 => (0..12u8).prop_map(Op::Policy),
        1 => n().prop_map(Op::Pause),
        1 => Just(Op::Resume),
        2 => (0..5u8, n()).prop_map(|(slot, kind)| Op::Request(slot, kind)),
        1 => Just(Op::Unrequest),
        1 => n().prop_map(Op::Lease),
        1 => any::<bool>().prop_map(Op::Block),
        2 => Just(Op::Unblock),
        1 => Just(Op::OptOut),
        2 => (0..5u8, any::<bool>()).prop_map(|(slot, lost)| Op::Node(slot, lost)),
        1 => n().prop_map(Op::ServerBack),
        5 => (0..10u8).prop_map(Op::Wait),
        8 => n().prop_map(Op::Wake),
        1 => n().prop_map(Op::Again),
        1 => n().prop_map(Op::Restart),
    ]
}
