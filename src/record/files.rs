//! The recording on disk: files of bounded size and number, written by a thread of its own. A disk that is full or slow
//! costs records, never time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use machine::Election;
use tracing::warn;

use super::names::{self, Name};
use super::recorder::Shared;
use super::{Header, Record, Start, write_header, write_record};
use crate::managed::Key;

/// Records that may wait for the disk: 3 MB. Ten times what 500 Services do within [`PAUSE`] when all lose their leader.
const QUEUE_MOST: usize = 8_192;

/// How often the thread looks for records. It is not woken by them: that would cost the deciding task more than the
/// records themselves.
const PAUSE: Duration = Duration::from_millis(50);

/// After a failure the disk is left alone for so long.
const RETRY: Duration = Duration::from_secs(5);

/// Lost records are told about this often.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// What is written at once, at most, and a bit.
const CHUNK: usize = 64 << 10;

/// Where records go, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The directory; it is made if need be.
    pub path: PathBuf,
    /// A file that has so many bytes is followed by another one. What waits for the disk by then still goes there.
    pub file_bytes: u64,
    /// So many files are kept, those of earlier runs included.
    pub files: usize,
}

/// A record on its way to the disk.
pub(super) struct Queued {
    /// Which recording it belongs to.
    pub(super) recording: u32,
    pub(super) key: Key,
    /// The election before it, if it is its Service's first in this recording.
    pub(super) before: Option<Box<Election>>,
    pub(super) record: Arc<Record>,
}

/// What waits for the disk.
pub(super) struct Queue {
    waiting: Vec<Queued>,
    /// Numbers the recordings. Each is a file, and tells of every Service where it starts. 0: nothing is recorded,
    /// because the disk has failed.
    pub(super) recording: u32,
    /// The records that were lost.
    pub(super) dropped: u64,
}

impl Queue {
    /// The recording that takes records now, if one does.
    pub(super) fn open(&self) -> Option<u32> {
        (self.recording != 0 && self.waiting.len() < QUEUE_MOST).then_some(self.recording)
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.waiting.push(queued);
    }
}

/// The thread that writes the files.
pub struct Files {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Files {
    /// Writes what waits, and ends. The disk is given no longer than this.
    pub fn stop(self, patience: Duration) {
        drop(self.stop);
        let last = Instant::now() + patience;
        while !self.thread.is_finished() && Instant::now() < last {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts the thread, provided that a file can be made.
pub(super) fn start(directory: Directory, shared: Arc<Shared>) -> io::Result<Files> {
    let writer = Writer::new(directory, shared)?;
    let (stop, stopped) = channel();
    let thread = std::thread::Builder::new().name("record".into()).spawn(move || writer.run(&stopped))?;
    Ok(Files { stop, thread })
}

/// A file that is being written.
struct Output {
    file: File,
    written: u64,
}

impl Output {
    /// A new file; the oldest ones make room for it.
    fn create(directory: &Directory) -> io::Result<Self> {
        let Directory { path, files, .. } = directory;
        let present = names::present(path)?;
        let mut name = Name::after(&present);
        let file = loop {
            match File::create_new(path.join(name.to_string())) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => name = name.next(),
                file => break file?,
            }
        };
        let surplus = (present.len() + 1).saturating_sub((*files).max(1));
        for oldest in present.iter().take(surplus) {
            fs::remove_file(path.join(oldest.to_string()))?;
        }
        Ok(Self { file, written: 0 })
    }
}

struct Writer {
    directory: Directory,
    shared: Arc<Shared>,
    output: Option<Output>,
    /// The recording that the file is.
    recording: u32,
    /// The last recording that steps may belong to. Never one again that has failed: its headers are lost.
    announced: u32,
    buffer: Vec<u8>,
    /// The records in it.
    buffered: u64,
    /// When to try again after a failure.
    retry: Option<Instant>,
    /// How many lost records were told of, and when to tell again.
    told: u64,
    tell_from: Instant,
    failure: Option<io::Error>,
}

impl Writer {
    /// One with a file, to which all steps from now on go.
    fn new(directory: Directory, shared: Arc<Shared>) -> io::Result<Self> {
        fs::create_dir_all(&directory.path)?;
        let output = Some(Output::create(&directory)?);
        shared.lock().queue = Some(Queue { waiting: Vec::new(), recording: 1, dropped: 0 });
        Ok(Self {
            directory,
            shared,
            output,
            recording: 1,
            announced: 1,
            buffer: Vec::with_capacity(CHUNK),
            buffered: 0,
            retry: None,
            told: 0,
            tell_from: Instant::now(),
            failure: None,
        })
    }

    fn run(mut self, stopped: &Receiver<()>) {
        let mut is_over = false;
        while !is_over {
            is_over = stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
            self.write_waiting();
            self.tell();
        }
    }

    fn write_waiting(&mut self) {
        if self.retry.take_if(|retry| *retry <= Instant::now()).is_some() {
            self.next_recording();
        }
        let waiting = {
            let mut log = self.shared.lock();
            log.queue.as_mut().map(|queue| std::mem::take(&mut queue.waiting)).unwrap_or_default()
        };
        let mut waiting = waiting.into_iter();
        while let Some(queued) = waiting.next() {
            let is_last = waiting.len() == 0;
            if let Err(error) = self.write(&queued, is_last) {
                self.fail(error, 1 + waiting.len() as u64);
                return;
            }
        }
        if self.output.as_ref().is_some_and(|output| output.written >= self.directory.file_bytes) {
            self.next_recording();
        }
    }

    fn write(&mut self, queued: &Queued, is_last: bool) -> io::Result<()> {
        let Queued { recording, key, before, record } = queued;
        if *recording != self.recording || self.output.is_none() {
            self.flush()?;
            self.output = Some(Output::create(&self.directory)?);
            self.recording = *recording;
        }
        let service = key.to_string();
        if let Some(before) = before {
            let start = Start::before(Election::clone(before));
            let header = Header::new(service.as_str().into(), record.seq, start);
            write_header(&mut self.buffer, &header)?;
        }
        write_record(&mut self.buffer, Some(&service), record)?;
        self.buffered += 1;
        if is_last || self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(output) = &mut self.output {
            output.file.write_all(&self.buffer)?;
            output.written += self.buffer.len() as u64;
        }
        self.buffer.clear();
        self.buffered = 0;
        Ok(())
    }

    /// From now on, steps are of the next recording; the file follows with the first of them.
    fn next_recording(&mut self) {
        self.announced += 1;
        if let Some(queue) = &mut self.shared.lock().queue {
            queue.recording = self.announced;
        }
    }

    /// `unwritten`: the records that were not tried. Of those in the buffer some may have reached the disk.
    fn fail(&mut self, error: io::Error, unwritten: u64) {
        let lost = unwritten + std::mem::take(&mut self.buffered);
        self.output = None;
        self.buffer.clear();
        self.failure = Some(error);
        self.retry = Some(Instant::now() + RETRY);
        if let Some(queue) = &mut self.shared.lock().queue {
            queue.recording = 0;
            queue.dropped += lost + queue.waiting.len() as u64;
            queue.waiting.clear();
        }
    }

    fn tell(&mut self) {
        let dropped = self.shared.lock().queue.as_ref().map_or(0, |queue| queue.dropped);
        let now = Instant::now();
        if dropped == self.told || now < self.tell_from {
            return;
        }
        let lost = dropped - self.told;
        let why =
            self.failure.take().map_or_else(|| "the disk is too slow".to_owned(), |error| error.to_string());
        warn!(lost, directory = %self.directory.path.display(), "records of decisions were not written: {why}");
        self.told = dropped;
        self.tell_from = now + TELL_EVERY;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use machine::{Event, Policy, Timestamp};

    use super::*;
    use crate::record::Recorder;

    #[test]
    fn a_new_file_is_never_taken_for_an_old_one() {
        let folder = lab::Directory::create().unwrap();
        let directory = Directory { path: folder.path().to_owned(), file_bytes: 1, files: 2 };
        // As after a crash, by a clock that has been set back since.
        fs::write(directory.path.join("zen-lead-crash-29990101T000000Z.jsonl"), "").unwrap();
        let mut newest = None;
        for _ in 0..5 {
            Output::create(&directory).unwrap();
            let present = names::present(&directory.path).unwrap();
            assert_eq!(present.len(), 2, "{present:?}");
            let last = present.into_iter().next();
            assert!(last > newest, "{last:?} after {newest:?}");
            newest = last;
        }
    }

    /// A writer that writes when it is told to.
    struct Desk {
        writer: Writer,
        recorder: Recorder,
        election: Election,
        seq: u64,
    }

    impl Desk {
        fn new(path: &Path) -> Self {
            let recorder = Recorder::new(1 << 20);
            let shared = recorder.shared.clone();
            let directory = Directory { path: path.to_owned(), file_bytes: 1 << 20, files: 9 };
            let writer = Writer::new(directory, shared).unwrap();
            Self { writer, recorder, election: Election::new(Policy::default()), seq: 0 }
        }

        fn tell(&mut self, count: u64) {
            let key = Key { namespace: "shop".into(), name: "orders".into() };
            for _ in 0..count {
                self.seq += 1;
                let at = Timestamp(self.seq);
                let _ = self.recorder.step(&key, self.seq, at, &mut self.election, Event::LeaseLost);
            }
        }

        /// The numbers of the records in all files, and how many headers there are.
        fn written(&self) -> (Vec<u64>, usize) {
            let (mut numbers, mut headers) = (Vec::new(), 0);
            let mut paths: Vec<_> = fs::read_dir(&self.writer.directory.path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            paths.sort();
            for path in paths {
                let text = fs::read(path).unwrap();
                let mut reader = crate::record::Reader::new("", &*text);
                while let Some(entry) = reader.read().unwrap() {
                    match entry {
                        crate::record::Entry::Start(_) => headers += 1,
                        crate::record::Entry::Step(_, record) => numbers.push(record.seq),
                    }
                }
            }
            (numbers, headers)
        }
    }

    #[test]
    fn a_disk_that_is_too_slow_costs_records_and_no_more() {
        let folder = lab::Directory::create().unwrap();
        let mut desk = Desk::new(folder.path());
        let most = QUEUE_MOST as u64;
        desk.tell(most + 500);
        assert_eq!(desk.recorder.dropped(), 500);
        desk.writer.write_waiting();
        desk.tell(3);
        desk.writer.write_waiting();
        let (numbers, headers) = desk.written();
        // What comes after the gap starts with the election as it is then.
        assert_eq!(numbers, (1..=most).chain(most + 501..=most + 503).collect::<Vec<_>>());
        assert_eq!((headers, desk.recorder.dropped()), (2, 500));
    }

    #[test]
    fn a_disk_that_fails_is_left_alone_and_tried_again() {
        let folder = lab::Directory::create().unwrap();
        let path = folder.path().join("records");
        let mut desk = Desk::new(&path);
        desk.tell(5);
        desk.writer.write_waiting();
        // The next file cannot be made.
        desk.writer.output = None;
        fs::rename(&path, folder.path().join("away")).unwrap();
        desk.tell(7);
        desk.writer.write_waiting();
        assert_eq!(desk.recorder.dropped(), 7);
        assert!(desk.writer.failure.is_some());
        desk.tell(4);
        assert_eq!(desk.recorder.dropped(), 11, "nothing waits for a disk that has failed");
        fs::rename(folder.path().join("away"), &path).unwrap();
        desk.writer.write_waiting();
        desk.tell(1);
        assert_eq!(desk.recorder.dropped(), 12, "not before its time");
        desk.writer.retry = Some(Instant::now());
        desk.writer.write_waiting();
        desk.tell(2);
        desk.writer.write_waiting();
        let (numbers, headers) = desk.written();
        assert_eq!((numbers, headers), ((1..=5).chain(18..=19).collect(), 2));
    }

    #[test]
    fn lost_records_are_told_of_once_a_minute() {
        let folder = lab::Directory::create().unwrap();
        let mut desk = Desk::new(folder.path());
        desk.tell(QUEUE_MOST as u64 + 1);
        desk.writer.tell();
        assert_eq!(desk.writer.told, 1);
        desk.tell(1);
        desk.writer.tell();
        assert_eq!(desk.writer.told, 1, "it was said just now");
        desk.writer.tell_from = Instant::now();
        desk.writer.tell();
        assert_eq!(desk.writer.told, 2);
    }
}
