//! What people ask for: a pause, a handover.

use std::sync::Arc;

use crate::{Notice, Reason, Step, Switchover, Timestamp};

use super::{Facts, Pause};

impl Facts {
    pub(crate) const fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    pub(super) fn paused(&mut self, at: Timestamp, until: Option<Timestamp>, step: &mut Step) {
        if until.is_some_and(|until| until <= at) {
            return self.resumed(step);
        }
        if self.pause.is_none() {
            self.notify_as_holder(Notice::plain(Reason::Paused), step);
        }
        self.pause = Some(Pause { until });
    }

    pub(super) fn resumed(&mut self, step: &mut Step) {
        if self.pause.take().is_some() {
            self.notify_as_holder(Notice::plain(Reason::Resumed), step);
        }
    }

    /// The switchover request that still waits, if there is one.
    pub(crate) fn pending(&self, at: Timestamp) -> Option<&Switchover> {
        self.unanswered().filter(|request| request.expires.is_none_or(|expires| at < expires))
    }

    /// The request that was neither met nor refused; it may have expired.
    pub(crate) fn unanswered(&self) -> Option<&Switchover> {
        let is_open = |request: &&Switchover| {
            let text = Some(&request.text);
            self.handled.as_ref() != text && self.declined.as_ref() != text
        };
        self.request.as_deref().filter(is_open)
    }

    pub(super) fn requested(&mut self, request: &Switchover) {
        self.declined.take_if(|declined| *declined != request.text);
        self.request = Some(Box::new(request.clone()));
    }

    /// Refuses a request for good; the next write records it.
    pub(crate) fn decline(&mut self, text: Arc<str>, step: &mut Step) {
        let notice = Notice { detail: Some(text.clone()), ..Notice::plain(Reason::SwitchoverRefused) };
        self.notify_as_holder(notice, step);
        self.declined = Some(text);
    }

    /// A pause and a request may have an end of their own.
    pub(super) fn end_what_is_over(&mut self, at: Timestamp, step: &mut Step) {
        if self.pause.is_some_and(|pause| pause.until.is_some_and(|until| until <= at)) {
            self.resumed(step);
        }
        let lapsed = self.unanswered().filter(|request| request.expires.is_some_and(|expires| expires <= at));
        if self.lease
            && let Some(text) = lapsed.map(|request| request.text.clone())
        {
            self.decline(text, step);
        }
    }
}
