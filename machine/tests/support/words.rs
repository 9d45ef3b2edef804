//! States and effects in one line each, so that a test reads like the table it comes from. Order ids are left
//! out; epochs that start at the clock are counted from [`super::START`].

use std::fmt::Write as _;

use machine::{Effect, Endpoint, Epoch, Notice, Scope, Shown, State, Timestamp, Wanted};

use super::START;

pub(crate) fn told(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(told_effect).collect()
}

pub(crate) fn told_state(state: &State, now: Timestamp) -> String {
    let phase = state.phase().as_str();
    let Some(pod) = state.pod() else { return phase.to_owned() };
    let term = format!("{phase} {pod}@{}", told_epoch(state.epoch()));
    match state {
        State::Leaderless { .. } | State::Elected { .. } => term,
        State::Reelecting { cause, .. } | State::Draining { cause, until: None, .. } => {
            format!("{term} by {}", cause.as_str())
        }
        State::Draining { cause, until: Some(until), .. } => {
            format!("{term} by {} for {} ms", cause.as_str(), until.since(now).0 / 1_000)
        }
    }
}

fn told_epoch(epoch: Option<Epoch>) -> String {
    match epoch {
        None => "none".to_owned(),
        Some(Epoch(epoch)) if epoch < START.as_secs() => epoch.to_string(),
        Some(Epoch(epoch)) => format!("+{}", epoch - START.as_secs()),
    }
}

fn told_effect(effect: &Effect) -> String {
    match effect {
        Effect::Publish { wanted, based_on: None, .. } => format!("create {}", told_wanted(wanted)),
        Effect::Publish { wanted, based_on: Some(_), .. } => format!("publish {}", told_wanted(wanted)),
        Effect::Read { .. } => "read".to_owned(),
        Effect::Confirm { pod, .. } => format!("confirm {pod}"),
        Effect::Mirror { mirror, .. } => {
            let leader = mirror.leader.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
            format!("mirror {leader}@{}", told_epoch(mirror.epoch))
        }
        Effect::Notify { notice, .. } => told_notice(notice),
        Effect::Remove { scope: Scope::Everything, .. } => "remove everything".to_owned(),
        Effect::Remove { scope: Scope::Slices, .. } => "remove slices".to_owned(),
    }
}

fn told_wanted(wanted: &Wanted) -> String {
    let epoch = told_epoch(wanted.epoch);
    let address = |endpoint: Endpoint| endpoint.address.to_string().replace("10.0.0.", ".");
    let mut words = match (&wanted.leader, wanted.shown) {
        (Some(leader), Shown::Ready(endpoint)) => format!("{leader}@{epoch} {}", address(endpoint)),
        (Some(leader), Shown::Terminating(endpoint)) => {
            format!("{leader}@{epoch} {} terminating", address(endpoint))
        }
        (None, Shown::Nobody) => format!("nobody@{epoch}"),
        (leader, shown) => unreachable!("never wanted: {leader:?} {shown:?}"),
    };
    if let Some(handled) = &wanted.handled {
        write!(words, " handled {handled}").unwrap_or_default();
    }
    words
}

fn told_notice(notice: &Notice) -> String {
    let mut words = format!("tell {:?}", notice.reason);
    if let Some(cause) = notice.cause {
        write!(words, " {}", cause.as_str()).unwrap_or_default();
    }
    if let Some(pod) = &notice.pod {
        write!(words, " {pod}").unwrap_or_default();
    }
    if let Some(previous) = &notice.previous {
        write!(words, " after {previous}").unwrap_or_default();
    }
    if let Some(detail) = &notice.detail {
        write!(words, ": {detail}").unwrap_or_default();
    }
    words
}
