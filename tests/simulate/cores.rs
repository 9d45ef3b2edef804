//! Many seeds, on all cores. A simulation keeps to its thread, so that they know nothing of each other.

use std::num::NonZero;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;

/// How many simulations run at a time.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Begins the seeds in order, and tells of each when it is done, until all are or `heard` has heard enough.
pub(crate) fn on_all_cores<T: Send>(
    seeds: Range<u64>,
    simulate: impl Fn(u64) -> T + Sync,
    mut heard: impl FnMut(u64, T) -> ControlFlow<()>,
) {
    let next = AtomicU64::new(seeds.start);
    let (tell, told) = channel();
    thread::scope(|scope| {
        for _ in 0..cores() {
            let (tell, next, simulate) = (tell.clone(), &next, &simulate);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    // Nobody listens any more once enough was heard.
                    if seed >= seeds.end || tell.send((seed, simulate(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        for (seed, result) in told {
            if heard(seed, result).is_break() {
                break;
            }
        }
    });
}
