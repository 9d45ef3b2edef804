//! The flight recorder and its bounds, and the files.

use std::path::Path;
use std::time::Duration;

use lab::Directory as Folder;
use machine::{Effect, Election, Policy, Timestamp};
use zen_lead::metrics::Key;
use zen_lead::record::{Directory, Entry, Reader, Record, Recorder, Start};
use zen_lead::replay::Check;

use crate::stories;

fn key(number: usize) -> Key {
    Key { namespace: "shop".into(), name: format!("orders-{number}").into() }
}

/// An election that is told a story over and over.
struct Teller {
    recorder: Recorder,
    key: Key,
    election: Election,
    facts: Vec<Record>,
    told: u64,
    /// In microseconds, besides one for each fact.
    now: u64,
}

impl Teller {
    fn new(recorder: &Recorder, number: usize) -> Self {
        let facts = stories::total_outage().records;
        let election = Election::new(Policy::default());
        Self {
            recorder: recorder.clone(),
            key: key(number),
            election,
            facts,
            told: 0,
            now: 1_800_000_000_000_000,
        }
    }

    /// Tells so many facts. The story's answers only fit at first, which the machine must bear.
    fn tell(&mut self, count: usize) {
        for _ in 0..count {
            let number = usize::try_from(self.told).unwrap() % self.facts.len();
            self.told += 1;
            let at = Timestamp(self.now + self.told);
            let event = self.facts[number].event.clone();
            let _ = self.recorder.step(&self.key, self.told, at, &mut self.election, event);
        }
    }
}

/// The numbers of a log's records, all of which are replayed.
fn replayed(log: &str) -> Vec<u64> {
    let mut reader = Reader::new("ring", log.as_bytes());
    let mut check = Check::default();
    let mut numbers = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        match entry {
            Entry::Start(header) => {
                assert_eq!(check.start(&header), None);
            }
            Entry::Step(service, record) => {
                if let Err(difference) = check.step(&service, &record) {
                    panic!("{difference}");
                }
                numbers.push(record.seq);
            }
        }
    }
    numbers
}

/// From where a log starts.
fn start(log: &str) -> Start {
    let Some(Entry::Start(header)) = Reader::new("ring", log.as_bytes()).read().unwrap() else {
        panic!("{log}")
    };
    header.start
}

#[test]
fn a_short_life_is_kept_whole() {
    let recorder = Recorder::new(1 << 20);
    let mut teller = Teller::new(&recorder, 0);
    teller.tell(15);
    let log = recorder.log("shop", "orders-0").unwrap();
    assert_eq!(replayed(&log), (1..=15).collect::<Vec<_>>());
    assert_eq!(start(&log), Start::New(Policy::default()), "it says nothing of the machine's own facts");
    assert_eq!(recorder.log("shop", "orders"), None);
}

#[test]
fn the_newest_256_records_are_kept_and_can_be_replayed() {
    let recorder = Recorder::new(1 << 20);
    let mut teller = Teller::new(&recorder, 0);
    for told in (100..2_000).step_by(100) {
        teller.tell(100);
        let oldest = if told <= 256 { 1 } else { told - 255 };
        assert_eq!(replayed(&recorder.log("shop", "orders-0").unwrap()), (oldest..=told).collect::<Vec<_>>());
    }
}

#[test]
fn all_services_together_stay_within_the_limit_and_the_oldest_records_go_first() {
    let limit = 256 << 10;
    let recorder = Recorder::new(limit);
    let mut tellers: Vec<_> = (0..40).map(|number| Teller::new(&recorder, number)).collect();
    for round in 0..60 {
        for teller in &mut tellers {
            teller.tell(1 + round % 3);
            assert!(recorder.memory() <= limit, "{}", recorder.memory());
        }
    }
    let kept: Vec<_> =
        (0..40).map(|number| replayed(&recorder.log("shop", &format!("orders-{number}")).unwrap())).collect();
    // Everybody was told as much, so that nobody has lost much more than others.
    let (least, most) =
        kept.iter().fold((usize::MAX, 0), |(least, most), log| (least.min(log.len()), most.max(log.len())));
    assert!(least > 2 && most < 256 && most - least <= 4, "{least} to {most}");
    assert!(recorder.memory() > limit / 2, "the limit is used: {}", recorder.memory());
}

/// Who says nothing for long is forgotten, and starts anew in the midst of its life.
#[test]
fn a_silent_service_is_forgotten_and_starts_anew() {
    let recorder = Recorder::new(64 << 10);
    let mut silent = Teller::new(&recorder, 0);
    silent.tell(7);
    for number in 1..20 {
        let mut other = Teller::new(&recorder, number);
        other.now += 1_000;
        other.tell(100);
    }
    assert_eq!(recorder.log("shop", "orders-0"), None);
    silent.now += 2_000;
    silent.tell(3);
    assert_eq!(replayed(&recorder.log("shop", "orders-0").unwrap()), [8, 9, 10]);
}

#[test]
fn memory_that_is_none_keeps_nothing() {
    let recorder = Recorder::new(0);
    Teller::new(&recorder, 0).tell(20);
    assert_eq!((recorder.memory(), recorder.log("shop", "orders-0")), (0, None));
}

#[test]
fn an_election_of_the_same_service_starts_a_new_log() {
    let recorder = Recorder::new(1 << 20);
    Teller::new(&recorder, 0).tell(15);
    Teller::new(&recorder, 0).tell(3);
    assert_eq!(replayed(&recorder.log("shop", "orders-0").unwrap()), [1, 2, 3]);
}

/// The steps that are handed on are the machine's.
#[test]
fn recording_changes_nothing() {
    let recorder = Recorder::new(1 << 20);
    let story = stories::leader_not_ready();
    let mut election = story.header.election();
    for record in &story.records {
        let Record { seq, at, event, .. } = record;
        assert_eq!(*recorder.step(&key(0), *seq, *at, &mut election, event.clone()), *record);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn files_hold_every_record_of_every_service() {
    let folder = Folder::create().unwrap();
    let recorder = Recorder::new(1 << 20);
    let path = folder.path().join("records");
    let files = recorder.record_to(Directory { path: path.clone(), file_bytes: 1 << 20, files: 3 }).unwrap();
    let (mut one, mut two) = (Teller::new(&recorder, 1), Teller::new(&recorder, 2));
    for _ in 0..100 {
        one.tell(1);
        two.tell(2);
    }
    files.stop(PATIENCE);
    let names = names(&path);
    assert_eq!(names.len(), 1, "{names:?}");
    let text = std::fs::read_to_string(path.join(&names[0])).unwrap();
    assert_eq!(replayed(&text).len(), 300);
    assert_eq!(start(&text), Start::New(Policy::default()));
    assert_eq!(recorder.dropped(), 0);
}

/// Each file tells its Services' elections from where it starts; old ones make room, those of earlier runs, too.
#[test]
fn files_are_followed_by_others_and_the_oldest_removed() {
    let folder = Folder::create().unwrap();
    let path = folder.path().to_owned();
    std::fs::write(path.join("notes.txt"), "mine").unwrap();
    std::fs::write(path.join("zen-lead-20200101T000000Z-0001.jsonl"), "").unwrap();
    for run in 0..3 {
        let recorder = Recorder::new(1 << 20);
        let files =
            recorder.record_to(Directory { path: path.clone(), file_bytes: 20_000, files: 4 }).unwrap();
        let mut teller = Teller::new(&recorder, run);
        for _ in 0..4 {
            let before = names(&path);
            teller.tell(200);
            // Until that is on the disk, and a new file is begun by what came after.
            while names(&path) == before {
                std::thread::sleep(Duration::from_millis(1));
                teller.tell(1);
            }
        }
        files.stop(PATIENCE);
        let names = names(&path);
        assert_eq!((names.len(), names[0].as_str()), (5, "notes.txt"), "{names:?}");
        for name in &names[1..] {
            let text = std::fs::read_to_string(path.join(name)).unwrap();
            let numbers = replayed(&text);
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{name}: {numbers:?}");
        }
        let last = std::fs::read_to_string(path.join(names.last().unwrap())).unwrap();
        assert_eq!(replayed(&last).last(), Some(&teller.told), "the newest record is in the newest file");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named_with_the_remedy() {
    let folder = Folder::create().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    let directory = Directory { path, file_bytes: 1, files: 1 };
    let Err(error) = Recorder::new(0).record_to(directory) else { panic!("a file is no directory") };
    let words = error.to_string();
    assert!(words.contains("/file: ") && words.contains("name a directory"), "{words}");
}

/// What happens at a crash: all rings in one file.
#[test]
fn all_rings_are_rescued_into_one_file() {
    let folder = Folder::create().unwrap();
    let recorder = Recorder::new(1 << 20);
    for number in 0..3 {
        Teller::new(&recorder, number).tell(300);
    }
    let file = recorder.rescue(folder.path()).unwrap();
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with("zen-lead-crash-"));
    assert_eq!(replayed(&std::fs::read_to_string(file).unwrap()).len(), 3 * 256);
}

#[test]
fn a_panic_writes_the_rings_first() {
    let folder = Folder::create().unwrap();
    let recorder = Recorder::new(1 << 20);
    Teller::new(&recorder, 0).tell(20);
    recorder.rescue_on_panic(folder.path().to_owned());
    let panicked = std::thread::spawn(|| panic!("as the test wants")).join();
    assert!(panicked.is_err());
    let names = names(folder.path());
    let text = std::fs::read_to_string(folder.path().join(&names[0])).unwrap();
    assert_eq!(replayed(&text).len(), 20);
}

/// A ring starts with an election in the midst of its life, orders and all.
#[test]
fn a_ring_starts_with_the_election_before_its_oldest_record() {
    let recorder = Recorder::new(1 << 20);
    Teller::new(&recorder, 0).tell(262);
    let log = recorder.log("shop", "orders-0").unwrap();
    let Start::Midst(mut election) = start(&log) else { panic!("{log}") };
    let mut reader = Reader::new("ring", log.as_bytes());
    reader.read().unwrap();
    let mut orders = 0;
    while let Some(Entry::Step(_, record)) = reader.read().unwrap() {
        let step = election.step(record.at, &record.event);
        orders += step.effects.iter().filter(|effect| matches!(effect, Effect::Publish { .. })).count();
        assert_eq!(step, record.step);
    }
    assert!(orders > 0, "something was decided");
}
