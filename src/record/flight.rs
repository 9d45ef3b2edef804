//! The flight recorder: the newest records of every Service, in memory.
//!
//! Each ring has, besides its records, the election as it was before the oldest of them, so that they can be replayed.
//! A record that leaves moves that election on by one step. That costs a step more, and spares writing down whole
//! elections now and then.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use machine::{Election, Timestamp};

use super::{Header, Record, Start, weight, write_header, write_record};
use crate::managed::Key;

/// An incident is some dozens of steps.
pub(super) const RECORDS_MOST: usize = 256;

/// The newest records of one Service.
#[derive(Clone)]
pub(super) struct Ring {
    /// The election before the oldest record.
    before: Election,
    records: VecDeque<Arc<Record>>,
    /// The number of the next record.
    next: u64,
    /// What all of it takes.
    bytes: usize,
    /// The recording on disk that has this Service's header.
    pub(super) headed: u32,
}

/// The rings of all Services.
pub(super) struct Flight {
    limit: usize,
    used: usize,
    rings: HashMap<Key, Box<Ring>>,
    /// When the oldest record of each ring happened, or an older one that has left meanwhile.
    oldest: BinaryHeap<Reverse<(Timestamp, Key)>>,
    /// The record that left last. The next one takes its place, so that full rings take no new memory.
    pub(super) spare: Option<Arc<Record>>,
}

impl Ring {
    fn new(before: Election, seq: u64) -> Self {
        let mut ring = Self { before, records: VecDeque::new(), next: seq, bytes: 0, headed: 0 };
        ring.bytes = ring.own();
        ring
    }

    /// What it takes without its records.
    fn own(&self) -> usize {
        // Tables have room to spare, and the heap's entries are as large as theirs.
        size_of::<Self>() + 3 * size_of::<(Key, Box<Self>)>() + self.before.footprint()
            - size_of::<Election>()
            + self.records.capacity() * size_of::<Arc<Record>>()
    }

    fn push(&mut self, record: Arc<Record>) {
        let own = self.own();
        self.next = record.seq + 1;
        self.bytes += weight::of(&record);
        self.records.push_back(record);
        self.bytes = self.bytes + self.own() - own;
    }

    /// Lets go of the oldest record.
    fn pop(&mut self) -> Option<Arc<Record>> {
        let record = self.records.pop_front()?;
        let own = self.own();
        let step = self.before.step(record.at, &record.event);
        debug_assert_eq!(step, record.step, "I14: {:?}", record.event);
        self.bytes = self.bytes + self.own() - own - weight::of(&record);
        Some(record)
    }

    /// As a log.
    pub(super) fn write(&self, service: Arc<str>, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let seq = self.records.front().map_or(self.next, |record| record.seq);
        write_header(buffer, &Header::new(service, seq, Start::before(self.before.clone())))?;
        self.records.iter().try_for_each(|record| write_record(buffer, None, record))
    }
}

impl Flight {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0, rings: HashMap::new(), oldest: BinaryHeap::new(), spare: None }
    }

    /// The recording on disk that has the header of this Service, if its ring goes on with the record number `seq`; else
    /// the ring must be told the election before that.
    pub(super) fn headed(&self, key: &Key, seq: u64) -> Option<u32> {
        self.rings.get(key).filter(|ring| ring.next == seq).map(|ring| ring.headed)
    }

    /// Goes on with a Service's ring, or starts it anew `before` this record. Answers the recording that has the record,
    /// too: the one that is open, if it has the Service's header or gets it with the record.
    pub(super) fn push(
        &mut self,
        key: &Key,
        before: Option<&Election>,
        record: Arc<Record>,
        open: Option<u32>,
    ) -> Option<u32> {
        let ring = match self.rings.get_mut(key) {
            Some(ring) if ring.next == record.seq => ring,
            Some(_) | None => {
                self.begin(key, Ring::new(before?.clone(), record.seq), record.at);
                self.rings.get_mut(key)?
            }
        };
        let bytes = ring.bytes;
        if ring.records.len() == RECORDS_MOST {
            self.spare = ring.pop();
        }
        ring.push(record);
        self.used = self.used + ring.bytes - bytes;
        let recording = open.filter(|recording| before.is_some() || ring.headed == *recording);
        // A Service whose record was lost starts anew with its next one.
        ring.headed = recording.unwrap_or_default();
        recording
    }

    fn begin(&mut self, key: &Key, ring: Ring, at: Timestamp) {
        self.used += ring.bytes;
        match self.rings.insert(key.clone(), Box::new(ring)) {
            Some(former) => self.used -= former.bytes,
            None => self.oldest.push(Reverse((at, key.clone()))),
        }
    }

    /// The oldest records of all go first, and a ring with its last record.
    pub(super) fn make_room(&mut self) {
        while self.used > self.limit
            && let Some(Reverse((at, key))) = self.oldest.pop()
        {
            let Some(ring) = self.rings.get_mut(&key) else { continue };
            let Some(oldest) = ring.records.front().map(|record| record.at) else { continue };
            if oldest > at {
                self.oldest.push(Reverse((oldest, key)));
                continue;
            }
            let before = ring.bytes;
            self.spare = ring.pop();
            self.used = self.used + ring.bytes - before;
            if let Some(next) = ring.records.front() {
                self.oldest.push(Reverse((next.at, key)));
            } else {
                self.used -= ring.bytes;
                self.rings.remove(&key);
            }
        }
    }

    /// A copy of a Service's ring.
    pub(super) fn copy(&self, key: &Key) -> Option<Ring> {
        self.rings.get(key).map(|ring| Ring::clone(ring))
    }

    /// The Services that have a ring, in order.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<_> = self.rings.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// What all of it takes, in bytes.
    pub(super) const fn used(&self) -> usize {
        self.used
    }
}
