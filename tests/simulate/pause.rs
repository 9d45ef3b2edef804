//! Replicas that stop at whatever they await, and go on later, as a stopped process does or one that is starved: what was
//! sent goes on without them, and what comes meanwhile is there when they go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::sleep;
use zen_lead::halt::Halt;

use crate::time::{Moment, now};

/// That of one replica in one of its lives. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Pause(Arc<Mutex<Paused>>);

#[derive(Default)]
struct Paused {
    until: Moment,
    /// The tasks that somebody has woken meanwhile.
    waiting: Vec<Waker>,
}

impl Pause {
    fn state(&self) -> MutexGuard<'_, Paused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all tasks of the replica have to go through.
    pub(crate) fn halt(&self) -> Halt {
        let pause = self.clone();
        Halt::by(move |cx| {
            let mut state = pause.state();
            if now() >= state.until {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// The replica stops here and now, and goes on after so many milliseconds.
    pub(crate) fn begin(&self, span: Moment) {
        let mut state = self.state();
        state.until = state.until.max(now() + span);
        let pause = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(span)).await;
            // Whoever is still to wait comes back.
            pause.wake();
        });
    }

    /// It goes on, whatever was said.
    pub(crate) fn end(&self) {
        self.state().until = 0;
        self.wake();
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }
}
