//! Facts, orders and times in people's words.

use std::fmt::Write as _;

use machine::{
    Departure, Effect, Epoch, Event, Member, Micros, Notice, Obstruction, Outcome, Phase, Pod, Publication,
    Reach, Scope, Shown, Site, Timestamp, Wanted,
};

use crate::kinds::wall_time;

/// A time, in UTC, to the microsecond.
#[must_use]
pub fn time(at: Timestamp) -> String {
    wall_time(at).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// A length of time.
#[must_use]
pub fn span(span: Micros) -> String {
    let Micros(micros) = span;
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        1_000_000..60_000_000 => {
            format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
        }
        _ => format!("{} min {} s", micros / 60_000_000, micros % 60_000_000 / 1_000_000),
    }
}

/// A state: its phase, and who leads or is to.
#[must_use]
pub fn state(phase: Phase, pod: Option<&Pod>) -> String {
    pod.map_or_else(|| phase.as_str().to_owned(), |pod| format!("{} {pod}", phase.as_str()))
}

/// A fact, as seen while `leader` led.
#[must_use]
pub fn event(event: &Event, leader: Option<&Pod>) -> String {
    let who = |pod: &Pod| {
        if leader == Some(pod) { format!("the leader {pod}") } else { pod.to_string() }
    };
    match event {
        Event::Synced { members, standing } => {
            let count = members.len();
            format!("all lists are in: {count} members; {}", published(standing.published.as_ref()))
        }
        Event::PodReady { member } => format!("{} is Ready{}", who(&member.pod), remarks(member)),
        Event::PodUnready { member } => format!("{} is NotReady{}", who(&member.pod), remarks(member)),
        Event::PodTerminating { member } => format!("{} is told to terminate", who(&member.pod)),
        Event::PodGone { pod, how } => {
            let how = match how {
                Departure::Deleted => "is deleted",
                Departure::Finished => "is done",
                Departure::Relabelled => "is no longer selected",
            };
            format!("{} {how}", who(pod))
        }
        Event::PodChanged { member } => format!("{} has changed{}", who(&member.pod), remarks(member)),
        Event::PolicyChanged { .. } => "the Service asks for something else".into(),
        Event::OptedOut => "the Service no longer opts in".into(),
        Event::ServiceGone => "the Service is gone".into(),
        Event::Published { id, version } => {
            format!("write {} is acknowledged, as version {}", id.0, version.0)
        }
        Event::PublishFailed { id, outcome } => format!("write {} failed: {}", id.0, self::outcome(outcome)),
        Event::ReadDone { published, .. } => format!("read: {}", self::published(published.as_ref())),
        Event::ReadFailed { .. } => "the slice could not be read".into(),
        Event::Confirmed { member: Some(member), .. } => {
            let ready = if member.ready { "Ready" } else { "NotReady" };
            format!("read: {} is {ready}{}", who(&member.pod), remarks(member))
        }
        Event::Confirmed { member: None, exists: true, .. } => "read: the pod is there, but no member".into(),
        Event::Confirmed { member: None, exists: false, .. } => "read: the pod is gone".into(),
        Event::ConfirmFailed { .. } => "the pod could not be read".into(),
        Event::Mirrored { .. } => "the leader Service says so, too".into(),
        Event::MirrorFailed { .. } => "the leader Service could not be written".into(),
        Event::Notified { .. } => "the notice is sent".into(),
        Event::NotifyFailed { .. } => "the notice could not be sent".into(),
        Event::Removed { .. } => "what was ours is removed".into(),
        Event::RemoveFailed { .. } => "what is ours could not be removed".into(),
        Event::PublicationObserved { published, by, .. } => {
            let by = by.as_ref().map(|by| format!(", written by {by}")).unwrap_or_default();
            format!("the watch shows: {}{by}", self::published(published.as_ref()))
        }
        Event::Blocked { by: Obstruction::Service(what) | Obstruction::Slice(what) } => {
            format!("in our place stands {what}")
        }
        Event::Unblocked { .. } => "nothing of others stands in the way any more".into(),
        Event::SwitchoverRequested { request } => format!("asked to hand over to {}", request.pod),
        Event::SwitchoverWithdrawn => "the handover is no longer asked for".into(),
        Event::Paused { until: None } => "paused".into(),
        Event::Paused { until: Some(until) } => format!("paused until {}", time(*until)),
        Event::Resumed => "resumed".into(),
        Event::LeaseHeld => "this replica acts first".into(),
        Event::LeaseLost => "another replica acts first".into(),
        Event::NodeLost { pod } => format!("the node of {} is lost", who(pod)),
        Event::NodeBack { pod } => format!("the node of {} is back", who(pod)),
        Event::ServerBack => "the API server is back".into(),
        Event::DeadlineReached => "the alarm rings".into(),
    }
}

/// What else matters about a member.
fn remarks(member: &Member) -> String {
    let mut words = String::new();
    for (is_so, remark) in [
        (member.terminating, "terminating"),
        (member.excluded, "never to lead"),
        (member.site == Site::Cordoned, "its node is cordoned"),
        (member.site == Site::Troubled, "its node is unreachable or not ready"),
    ] {
        if is_so {
            let _ = write!(words, ", {remark}");
        }
    }
    match member.reach {
        Reach::At(_) => {}
        Reach::NoAddress => words.push_str(", without an address"),
        Reach::PortUnresolved { .. } => words.push_str(", a port does not resolve"),
    }
    words
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Conflict => "the slice has changed since".into(),
        Outcome::Gone => "there is no such slice".into(),
        Outcome::Exists => "there is one already".into(),
        Outcome::Throttled(pause) => format!("the API server asks to wait {}", span(*pause)),
        Outcome::Unknown => "the answer is missing".into(),
        Outcome::Unreachable => "the API server could not serve it".into(),
        Outcome::Refused { words, .. } => format!("the API server refuses it: {words}"),
        Outcome::Superseded => "it was no longer needed".into(),
        Outcome::Behind { epoch } => format!("what is beside the slice tells of epoch {}", epoch.0),
    }
}

fn published(publication: Option<&Publication>) -> String {
    let Some(Publication { leader, epoch, shown, anew, .. }) = publication else {
        return "there is no slice".into();
    };
    let made = if *anew { " in a slice made anew" } else { "" };
    format!("{} is published{}{made}", shows(leader.as_ref(), *shown), term(*epoch))
}

fn shows(leader: Option<&Pod>, shown: Shown) -> String {
    match (leader, shown) {
        (_, Shown::Nobody) => "nobody".into(),
        (_, Shown::Foreign) => "something of others".into(),
        (Some(leader), Shown::Ready(_)) => leader.to_string(),
        (Some(leader), Shown::Terminating(_)) => format!("{leader}, terminating,"),
        (None, Shown::Ready(endpoint) | Shown::Terminating(endpoint)) => endpoint.address.to_string(),
    }
}

fn term(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(String::new, |epoch| format!(" in term {}", epoch.0))
}

/// An order.
#[must_use]
pub fn effect(effect: &Effect) -> String {
    let named = |pod: &Option<Pod>| pod.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    match effect {
        Effect::Publish { wanted, based_on: None, .. } => {
            format!("create the slice, with {}", self::wanted(wanted))
        }
        Effect::Publish { id, wanted, .. } => format!("write {}: publish {}", id.0, self::wanted(wanted)),
        Effect::Read { .. } => "read the slice".into(),
        Effect::Confirm { pod, .. } => format!("read {pod}"),
        Effect::Mirror { mirror, .. } => {
            format!("let the leader Service say {}{}", named(&mirror.leader), term(mirror.epoch))
        }
        Effect::Notify { notice: Notice { reason, pod, .. }, .. } => match pod {
            Some(pod) => format!("tell people {reason:?}, {pod}"),
            None => format!("tell people {reason:?}"),
        },
        Effect::Remove { scope: Scope::Everything, .. } => "remove all that is ours".into(),
        Effect::Remove { scope: Scope::Slices, .. } => "remove our slices".into(),
    }
}

fn wanted(wanted: &Wanted) -> String {
    format!("{}{}", shows(wanted.leader.as_ref(), wanted.shown), term(wanted.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind, name and reason come with the fact.
    #[test]
    fn what_stands_in_our_place_is_told_once() {
        let by = Obstruction::Service("Service orders-leader: it was not made by zen-lead".into());
        let told = event(&Event::Blocked { by }, None);
        assert_eq!(told, "in our place stands Service orders-leader: it was not made by zen-lead");
    }
}
