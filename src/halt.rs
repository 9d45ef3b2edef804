//! Tasks that can be left alone for a while, all of one controller at once, as SIGSTOP does it.
//!
//! A simulation runs several controllers on one thread, and has to stop one of them at whatever it awaits, while time and
//! all others go on. A controller that nobody halts pays a comparison each time that a task of its is polled.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

type Gate = dyn Fn(&mut Context<'_>) -> Poll<()> + Send + Sync;

/// What a controller's tasks go through whenever they go on. Clones are the same one; by default it is always open.
#[derive(Clone, Default)]
pub struct Halt(Option<Arc<Gate>>);

impl Halt {
    /// Tasks go on while `gate` is ready. It wakes those that it has sent away when they can go on.
    #[must_use]
    pub fn by(gate: impl Fn(&mut Context<'_>) -> Poll<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(gate)))
    }

    /// The same task, which stops where it is while the gate is closed.
    pub async fn task<F: Future>(self, task: F) -> F::Output {
        let mut task = pin!(task);
        poll_fn(|cx| {
            if let Some(gate) = &self.0 {
                ready!(gate(cx));
            }
            task.as_mut().poll(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_halted_stays_where_it_is_although_its_time_goes_on() {
        let (is_open, done) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
        let open = is_open.clone();
        // Nobody is woken: the test polls.
        let halt = Halt::by(move |_| if open.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending });
        let told = done.clone();
        let mut task = pin!(halt.task(async move {
            sleep(Duration::from_secs(1)).await;
            told.notify_one();
        }));
        assert!(timeout(Duration::from_millis(500), &mut task).await.is_err());
        is_open.store(false, SeqCst);
        assert!(timeout(Duration::from_secs(5), &mut task).await.is_err(), "it went on");
        assert!(timeout(Duration::ZERO, done.notified()).await.is_err(), "it went on");
        is_open.store(true, SeqCst);
        timeout(Duration::ZERO, task).await.expect("its second is long over");
    }
}
