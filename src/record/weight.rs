//! How much memory a record takes.

use std::sync::Arc;

use machine::{Effect, Event, Member, Mirror, Notice, Obstruction, Outcome, Pod, Publication, Wanted};

use super::Record;

/// What goes with an allocation: an [`Arc`]'s two counts, or the allocator's own.
const ALLOCATION: usize = 16;

/// What a record takes, in bytes. Texts that it shares with others are counted in full: they may be the last ones to
/// let go of them, and so the sum is never too low.
pub(super) fn of(record: &Record) -> usize {
    let Record { seq: _, at: _, event, step } = record;
    let moved = step.transition.iter().flat_map(|moved| [moved.from_pod.as_ref(), moved.to_pod.as_ref()]);
    let effects = step.effects.capacity() * size_of::<Effect>() + ALLOCATION;
    ALLOCATION
        + size_of::<Record>()
        + effects
        + moved.map(pod).sum::<usize>()
        + step.effects.iter().map(effect).sum::<usize>()
        + self::event(event)
}

fn event(event: &Event) -> usize {
    match event {
        Event::Synced { members, standing } => {
            let rows = members.capacity() * size_of::<Member>();
            rows + members.iter().map(member).sum::<usize>() + publication(standing.published.as_ref())
        }
        Event::Unblocked { standing } => publication(standing.published.as_ref()),
        Event::PodReady { member }
        | Event::PodUnready { member }
        | Event::PodTerminating { member }
        | Event::PodChanged { member } => self::member(member),
        Event::Confirmed { member, .. } => member.as_ref().map_or(0, self::member),
        Event::PodGone { pod, .. } | Event::NodeLost { pod } | Event::NodeBack { pod } => name(pod),
        Event::PublishFailed { outcome: Outcome::Refused { words, .. }, .. } => words.len() + ALLOCATION,
        Event::ReadDone { published, .. } => publication(published.as_ref()),
        Event::PublicationObserved { published, by, .. } => {
            publication(published.as_ref()) + text(by.as_ref())
        }
        Event::Blocked { by: Obstruction::Service(by) | Obstruction::Slice(by) } => by.len() + ALLOCATION,
        Event::SwitchoverRequested { request } => {
            request.text.len() + request.pod.len() + text(request.uid.as_ref()) + 2 * ALLOCATION
        }
        Event::PolicyChanged { .. }
        | Event::OptedOut
        | Event::ServiceGone
        | Event::Published { .. }
        | Event::PublishFailed { .. }
        | Event::ReadFailed { .. }
        | Event::ConfirmFailed { .. }
        | Event::Mirrored { .. }
        | Event::MirrorFailed { .. }
        | Event::Notified { .. }
        | Event::NotifyFailed { .. }
        | Event::Removed { .. }
        | Event::RemoveFailed { .. }
        | Event::SwitchoverWithdrawn
        | Event::Paused { .. }
        | Event::Resumed
        | Event::LeaseHeld
        | Event::LeaseLost
        | Event::ServerBack
        | Event::DeadlineReached => 0,
    }
}

fn effect(effect: &Effect) -> usize {
    match effect {
        Effect::Publish { wanted: Wanted { leader, handled, .. }, .. }
        | Effect::Mirror { mirror: Mirror { leader, handled, .. }, .. } => {
            pod(leader.as_ref()) + text(handled.as_ref())
        }
        Effect::Confirm { pod, .. } => name(pod),
        Effect::Notify { notice: Notice { pod: about, previous, detail, .. }, .. } => {
            pod(about.as_ref()) + pod(previous.as_ref()) + text(detail.as_ref())
        }
        Effect::Read { .. } | Effect::Remove { .. } => 0,
    }
}

fn publication(publication: Option<&Publication>) -> usize {
    publication.map_or(0, |Publication { leader, handled, .. }| pod(leader.as_ref()) + text(handled.as_ref()))
}

fn member(member: &Member) -> usize {
    name(&member.pod)
}

fn pod(pod: Option<&Pod>) -> usize {
    pod.map_or(0, name)
}

fn name(pod: &Pod) -> usize {
    pod.name().len() + 1 + pod.uid().len() + ALLOCATION
}

fn text(text: Option<&Arc<str>>) -> usize {
    text.map_or(0, |text| text.len() + ALLOCATION)
}

#[cfg(test)]
mod tests;
