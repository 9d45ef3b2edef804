//! What takes note of every step: into the flight recorder, and into files if somebody wants them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::{Election, Event, Timestamp};

use super::Record;
use super::files::{self, Directory, Files, Queue, Queued};
use super::flight::{Flight, Ring};
use super::names::Name;
use crate::managed::Key;

/// The directory for the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot record into {}: {error}; name a directory that this process may write to", directory.display())]
pub struct DirectoryError {
    /// The directory.
    pub directory: PathBuf,
    /// What is wrong with it.
    pub error: io::Error,
}

/// Takes note of every step. Cheap to copy; all copies are one.
#[derive(Clone)]
#[must_use]
pub struct Recorder {
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    log: Mutex<Log>,
}

pub(super) struct Log {
    flight: Flight,
    pub(super) queue: Option<Queue>,
}

impl Recorder {
    /// A recorder that keeps the newest records in so many bytes of memory.
    pub fn new(flight_bytes: usize) -> Self {
        let log = Log { flight: Flight::new(flight_bytes), queue: None };
        Self { shared: Arc::new(Shared { log: Mutex::new(log) }) }
    }

    /// Also writes every record to files in this directory, by a thread of its own, until [`Files::stop`].
    pub fn record_to(&self, directory: Directory) -> Result<Files, DirectoryError> {
        let path = directory.path.clone();
        files::start(directory, self.shared.clone())
            .map_err(|error| DirectoryError { directory: path, error })
    }

    /// Lets the election take its step number `seq`, and takes note of it. What it led to is shared, not copied.
    #[must_use]
    pub fn step(
        &self,
        key: &Key,
        seq: u64,
        at: Timestamp,
        election: &mut Election,
        event: Event,
    ) -> Arc<Record> {
        // Not locked during the step: should that ever panic, the hook writes down what led to it.
        let (before, spare) = self.shared.lock().prepare(key, seq, election);
        let mut step = election.step(at, &event);
        // The first order makes room for four.
        step.effects.shrink_to_fit();
        let record = renewed(spare, Record { seq, at, event, step });
        self.shared.lock().push(key, before, record.clone());
        record
    }

    /// The newest records of a Service, as a log.
    #[must_use]
    pub fn log(&self, namespace: &str, service: &str) -> Option<String> {
        let key = Key { namespace: namespace.into(), name: service.into() };
        let ring = self.shared.lock().flight.copy(&key)?;
        text(&key, &ring)
    }

    /// The Services of which there are records in memory, in order.
    #[must_use]
    pub fn services(&self) -> Vec<Key> {
        self.shared.lock().flight.keys()
    }

    /// From now on, a panic first writes all that is in memory to a file in `directory`.
    pub fn rescue_on_panic(&self, directory: PathBuf) {
        let (recorder, usual) = (self.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            match recorder.rescue(&directory) {
                Ok(file) => eprintln!("the last records are in {}", file.display()),
                Err(error) => {
                    eprintln!("the last records cannot be written to {}: {error}", directory.display());
                }
            }
            usual(panic);
        }));
    }

    /// Writes all that is in memory to a file in `directory`, and tells which: for when the process dies. Gives up if
    /// the records are out of reach.
    pub fn rescue(&self, directory: &Path) -> io::Result<PathBuf> {
        let log = self.shared.reach().ok_or(io::ErrorKind::WouldBlock)?;
        let file = directory.join(Name::crash().to_string());
        let mut text = String::new();
        for key in log.flight.keys() {
            text.extend(log.flight.copy(&key).and_then(|ring| self::text(&key, &ring)));
        }
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// How many bytes the records in memory take.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.lock().flight.used()
    }

    /// How many records could not be written to files.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().queue.as_ref().map_or(0, |queue| queue.dropped)
    }
}

/// The record, in the memory of one that nobody needs any more.
fn renewed(spare: Option<Arc<Record>>, record: Record) -> Arc<Record> {
    if let Some(mut spare) = spare
        && let Some(place) = Arc::get_mut(&mut spare)
    {
        *place = record;
        return spare;
    }
    Arc::new(record)
}

fn text(key: &Key, ring: &Ring) -> Option<String> {
    let mut buffer = Vec::new();
    ring.write(key.to_string().into(), &mut buffer).ok()?;
    String::from_utf8(buffer).ok()
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Log> {
        // Whoever panicked while it was locked has left whole records.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`Self::lock`], but gives up soon: for whoever may hold the lock itself.
    fn reach(&self) -> Option<MutexGuard<'_, Log>> {
        (0..50).find_map(|_| match self.log.try_lock() {
            Ok(log) => Some(log),
            Err(std::sync::TryLockError::Poisoned(log)) => Some(log.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => {
                std::thread::sleep(Duration::from_millis(1));
                None
            }
        })
    }
}

impl Log {
    /// The election before its step of this number, if the record must come with it, and memory for the record.
    fn prepare(
        &mut self,
        key: &Key,
        seq: u64,
        election: &Election,
    ) -> (Option<Election>, Option<Arc<Record>>) {
        let open = self.queue.as_ref().and_then(Queue::open);
        let headed = self.flight.headed(key, seq);
        let needs_start = headed.is_none_or(|headed| open.is_some_and(|recording| recording != headed));
        (needs_start.then(|| election.clone()), self.flight.spare.take())
    }

    fn push(&mut self, key: &Key, before: Option<Election>, record: Arc<Record>) {
        let open = self.queue.as_ref().and_then(Queue::open);
        let recording = self.flight.push(key, before.as_ref(), record.clone(), open);
        if let Some(queue) = &mut self.queue {
            if let Some(recording) = recording {
                queue.push(Queued { recording, key: key.clone(), before: before.map(Box::new), record });
            } else {
                queue.dropped += 1;
            }
        }
        self.flight.make_room();
    }
}
