//! How much memory a record takes.

use std::sync::Arc;

use machine::{
    Effect, Event, Member, Mirror, Notice, Obstruction, Outcome, Pod, Publication, Standing, Wanted,
};

use super::Record;

/// What the allocator takes for itself: a word, and what it rounds up.
const ALLOCATOR: usize = 16;

/// What goes with all that is shared: the [`Arc`]'s two counts, and the allocator's own.
const SHARED: usize = 2 * size_of::<usize>() + ALLOCATOR;

/// What a record takes, in bytes. Texts that it shares with others are counted in full: they may be the last ones to
/// let go of them, and so the sum is never too low.
pub(super) fn of(record: &Record) -> usize {
    let Record { seq: _, at: _, event, step } = record;
    let moved = step.transition.iter().flat_map(|moved| [moved.from_pod.as_ref(), moved.to_pod.as_ref()]);
    SHARED
        + size_of::<Record>()
        + list::<Effect>(step.effects.capacity())
        + moved.map(pod).sum::<usize>()
        + step.effects.iter().map(effect).sum::<usize>()
        + self::event(event)
}

fn list<T>(capacity: usize) -> usize {
    if capacity == 0 { 0 } else { capacity * size_of::<T>() + ALLOCATOR }
}

fn event(event: &Event) -> usize {
    match event {
        Event::Synced { members, standing } => {
            list::<Member>(members.capacity())
                + members.iter().map(member).sum::<usize>()
                + self::standing(standing)
        }
        Event::Unblocked { standing } => self::standing(standing),
        Event::PodReady { member }
        | Event::PodUnready { member }
        | Event::PodTerminating { member }
        | Event::PodChanged { member } => self::member(member),
        Event::Confirmed { member, .. } => member.as_ref().map_or(0, self::member),
        Event::PodGone { pod, .. } | Event::NodeLost { pod } | Event::NodeBack { pod } => name(pod),
        Event::PublishFailed { outcome: Outcome::Refused { words, .. }, .. } => words.len() + SHARED,
        Event::ReadDone { published, .. } => publication(published.as_ref()),
        Event::PublicationObserved { published, by, .. } => {
            publication(published.as_ref()) + text(by.as_ref())
        }
        Event::Blocked { by: Obstruction::Service(by) | Obstruction::Slice(by) } => by.len() + SHARED,
        Event::SwitchoverRequested { request } => {
            request.text.len() + request.pod.len() + text(request.uid.as_ref()) + 2 * SHARED
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

fn standing(Standing { published, mirrored_leader, .. }: &Standing) -> usize {
    publication(published.as_ref()) + text(mirrored_leader.as_ref())
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
    pod.name().len() + 1 + pod.uid().len() + SHARED
}

fn text(text: Option<&Arc<str>>) -> usize {
    text.map_or(0, |text| text.len() + SHARED)
}

#[cfg(test)]
mod tests;
