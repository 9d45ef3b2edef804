//! What it costs to take note of a step, and how fast a log is replayed. No control plane.
//!
//! The story is an election of ten whose leader is lost once in about twenty facts: far busier than any real one, so
//! that orders, which cost most, are no rarity.
//!
//! `cargo bench --bench record [-- --rounds N] [--json FILE]`

#![allow(missing_docs, reason = "a program")]

#[path = "support/mod.rs"]
mod support;

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::Directory as Folder;
use machine::{
    Effect, Election, Endpoint, Event, Member, Pod, Policy, Reach, Site, Standing, Timestamp, Version,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Figure, number, report};
use zen_lead::metrics::Key;
use zen_lead::record::{
    Directory, Entry, Header, Reader, Record, Recorder, Start, write_header, write_record,
};
use zen_lead::replay::Check;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MEMBERS: usize = 10;

/// The facts of a story, and of a sample.
const FACTS: usize = 20_000;
const BATCH: usize = 200;

/// Fewer than may wait for the disk.
const QUEUED: u64 = 5_000;

fn main() -> Result<()> {
    let rounds = number("--rounds", 20)?;
    let story = Story::told();
    let folder = Folder::create()?;
    let (mut alone, mut ring, mut files, mut read, mut replayed) = (vec![], vec![], vec![], vec![], vec![]);
    let log = story.log()?;
    let on_disk = Recorder::new(4 << 20);
    let writer =
        on_disk.record_to(Directory { path: folder.path().to_owned(), file_bytes: 16 << 20, files: 2 })?;
    let key = key();
    for _ in 0..rounds {
        alone.extend(story.nanos(|election, _, at, event| election.step(at, &event)));
        let recorder = Recorder::new(4 << 20);
        ring.extend(story.nanos(|election, seq, at, event| recorder.step(&key, seq, at, election, event)));
        let to_files = story.nanos(|election, seq, at, event| {
            // The disk gets its time, so that the queue has room and every record is taken. The sample that this falls
            // into is one of the slowest.
            if seq % QUEUED == 0 {
                std::thread::sleep(Duration::from_millis(150));
            }
            on_disk.step(&key, seq, at, election, event)
        });
        files.extend(to_files);
        read.push(per_second(|| entries(&log, |_| Ok(())))?);
        let mut check = Check::default();
        replayed.push(per_second(|| entries(&log, |entry| take(&mut check, &entry)))?);
    }
    let dropped = on_disk.dropped();
    writer.stop(Duration::from_secs(10));
    let mut figures = vec![
        Figure::of("a step, not recorded", "ns", &alone),
        Figure::of("a step, in memory (300 ns more)", "ns", &ring).beside(&ring, &alone),
        Figure::of("a step, in memory and to files (300 ns more)", "ns", &files).beside(&files, &alone),
        Figure::of("records that the files could not take", "", &[decimal(dropped)]),
        Figure::of("allocations of a step, not recorded", "allocs", &[story.allocations(None)]),
        Figure::of(
            "allocations of a step, in memory (1 more)",
            "allocs",
            &[story.allocations(Some(&Recorder::new(4 << 20)))],
        ),
        Figure::of("bytes a record takes as text", "B", &[decimal(log.len() as u64) / decimal(FACTS as u64)]),
        Figure::of("log read", "records/s", &read),
        Figure::of("log replayed and checked (1,000,000)", "records/s", &replayed),
    ];
    figures.push(memory(&story));
    report("record", &figures)
}

/// What the ring of one Service takes by the recorder's own count, over what was allocated for it. The pods' names are
/// counted, but are the story's here.
fn memory(story: &Story) -> Figure {
    let held = |recorder: Option<&Recorder>| {
        let region = Region::new(ALLOCATOR);
        let election = story.tell_all(recorder);
        let change = region.change();
        drop(election);
        decimal(change.bytes_allocated as u64) - decimal(change.bytes_deallocated as u64)
    };
    let recorder = Recorder::new(4 << 20);
    let allocated = held(Some(&recorder)) - held(None);
    let counted = [decimal(recorder.memory() as u64)];
    Figure::of("memory of one Service's 256 records", "B", &counted).over(&counted, &[allocated])
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
const fn decimal(number: u64) -> f64 {
    number as f64
}

/// In each second of processor time: what others do on the machine meanwhile is left out.
fn per_second(read: impl FnOnce() -> Result<u64>) -> Result<f64> {
    let begun = processor_seconds()?;
    let records = read()?;
    Ok(decimal(records) / (processor_seconds()? - begun))
}

/// What this thread has had of a core.
fn processor_seconds() -> Result<f64> {
    // Brings the kernel's account up to date.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = account.split_whitespace().next().context("the kernel keeps no account")?;
    Ok(decimal(nanos.parse()?) / 1e9)
}

/// Reads a log, and counts its records.
fn entries(log: &[u8], mut take: impl FnMut(Entry) -> Result<()>) -> Result<u64> {
    let mut reader = Reader::new("log", log);
    let mut records = 0;
    while let Some(entry) = reader.read()? {
        records += u64::from(matches!(entry, Entry::Step(..)));
        take(black_box(entry))?;
    }
    Ok(records)
}

fn take(check: &mut Check, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Start(header) => drop(check.start(header)),
        Entry::Step(service, record) => {
            ensure!(check.step(service, record).is_ok(), "step {} differs", record.seq);
        }
    }
    Ok(())
}

/// An election, and all that it was told.
struct Story {
    election: Election,
    records: Vec<Record>,
    members: Vec<Member>,
    version: u64,
    now: Timestamp,
}

impl Story {
    fn told() -> Self {
        let members = (0..MEMBERS).map(member).collect::<Vec<_>>();
        let election = Election::new(Policy::default());
        let now = Timestamp::from_secs(1_772_442_000);
        let mut story = Self { election, records: Vec::new(), members: members.clone(), version: 1_000, now };
        let standing = Standing { published: None, horizon: Version(1_000), ..Standing::default() };
        story.tell(Event::Synced { members, standing });
        while story.records.len() < FACTS {
            for number in 0..MEMBERS {
                story.seen(number, true);
            }
            let leader = story.election.state().pod().cloned();
            let number = story.members.iter().position(|member| Some(&member.pod) == leader.as_ref());
            let number = number.unwrap_or_default();
            story.seen(number, false);
            story.seen(number, true);
        }
        story.records.truncate(FACTS);
        story
    }

    fn seen(&mut self, number: usize, ready: bool) {
        self.version += 1;
        let member = &mut self.members[number];
        member.version = Version(self.version);
        if member.ready != ready {
            (member.ready, member.ready_changed) = (ready, self.now);
        }
        let member = member.clone();
        self.tell(if ready { Event::PodReady { member } } else { Event::PodUnready { member } });
    }

    /// A fact, and the answers to what it orders.
    fn tell(&mut self, event: Event) {
        self.now = Timestamp(self.now.0 + 1_000);
        let step = self.election.step(self.now, &event);
        let effects = step.effects.clone();
        self.records.push(Record { seq: self.records.len() as u64 + 1, at: self.now, event, step });
        for effect in effects {
            self.version += 1;
            let version = Version(self.version);
            match effect {
                Effect::Publish { id, wanted, .. } => {
                    self.tell(Event::Published { id, version });
                    let published = Some(wanted.acknowledged(version));
                    self.tell(Event::PublicationObserved { published, horizon: version, by: None });
                }
                Effect::Read { id } => self.tell(Event::ReadFailed { id }),
                Effect::Confirm { id, .. } => self.tell(Event::ConfirmFailed { id }),
                Effect::Mirror { id, .. } => self.tell(Event::Mirrored { id }),
                Effect::Notify { id, .. } => self.tell(Event::Notified { id }),
                Effect::Remove { id, .. } => self.tell(Event::Removed { id }),
            }
        }
    }

    fn log(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        write_header(&mut text, &Header::new("shop/orders".into(), 1, Start::New(Policy::default())))?;
        self.records.iter().try_for_each(|record| write_record(&mut text, None, record))?;
        Ok(text)
    }

    /// Nanoseconds a step, in each batch. Each fact is made beforehand, as the controller has made it by then.
    fn nanos<T>(&self, mut step: impl FnMut(&mut Election, u64, Timestamp, Event) -> T) -> Vec<f64> {
        let mut election = Election::new(Policy::default());
        let batches = self.records.chunks(BATCH).map(|batch| {
            let facts: Vec<_> =
                batch.iter().map(|record| (record.seq, record.at, record.event.clone())).collect();
            let begun = Instant::now();
            for (seq, at, event) in facts {
                drop(black_box(step(&mut election, seq, at, event)));
            }
            begun.elapsed().as_secs_f64() * 1e9 / decimal(batch.len() as u64)
        });
        batches.collect()
    }

    /// Allocations a step, with the ring full.
    fn allocations(&self, recorder: Option<&Recorder>) -> f64 {
        let (before, after) = self.records.split_at(FACTS / 2);
        let mut election = Election::new(Policy::default());
        tell(before, &mut election, recorder);
        let region = Region::new(ALLOCATOR);
        tell(after, &mut election, recorder);
        let change = region.change();
        decimal((change.allocations + change.reallocations) as u64) / decimal(after.len() as u64)
    }

    fn tell_all(&self, recorder: Option<&Recorder>) -> Election {
        let mut election = Election::new(Policy::default());
        tell(&self.records, &mut election, recorder);
        election
    }
}

/// Takes the election through these facts. To copy a pod's fact allocates nothing.
fn tell(records: &[Record], election: &mut Election, recorder: Option<&Recorder>) {
    let key = key();
    for Record { seq, at, event, .. } in records {
        match recorder {
            Some(recorder) => drop(recorder.step(&key, *seq, *at, election, event.clone())),
            None => drop(election.step(*at, event)),
        }
    }
}

fn key() -> Key {
    Key { namespace: "shop".into(), name: "orders".into() }
}

fn member(number: usize) -> Member {
    let last = u8::try_from(number).unwrap_or_default();
    let random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let uid = format!("{:08x}-6d1b-4d2b-9e35-{:012x}", random >> 32, random & 0xffff_ffff_ffff);
    let since = Timestamp::from_secs(1_772_355_600 + number as u64);
    Member {
        pod: Pod::new(&format!("orders-6c9f8d7b5-{:05x}", random & 0xf_ffff), &uid),
        version: Version(900 + number as u64),
        created: since,
        ready: true,
        ready_changed: since,
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 0x5d4c_9b8a,
        reach: Reach::At(Endpoint { address: [10, 244, 1, last].into(), content: random }),
    }
}
