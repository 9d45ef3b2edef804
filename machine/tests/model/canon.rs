//! Which situations are the same: those that nothing to come can tell apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use machine::{Publication, Timestamp};

use crate::server::{Author, Stored};
use crate::world::World;

/// All times of this model are later than this, and no epoch, version or span of time is as great.
const EARLIEST: u64 = Timestamp::from_secs(900_000).0;

/// Versions of objects begin here, below all moments: those of pods are even, those of the slice odd.
pub(crate) const FIRST_VERSION: u64 = 1 << 32;

/// What makes a replica itself, apart from what makes no difference: by which number an order is called, how late it
/// is, and when within a second of the past something was. It takes down what [`Hash`] tells, so the machine must not
/// know of it.
///
/// The last is exact while no policy counts from a moment of the past, which the default does not, and for as long as
/// a contest lasts, a minute. Whole seconds remain because epochs are compared with them.
///
/// Digests have 64 bits. That two of ten million situations share one by chance has a probability of one in 400,000.
#[derive(Clone, Default)]
pub(crate) struct Canon {
    /// Of all but versions.
    pub(crate) digest: u64,
    /// In the order of their appearance. Only how they compare with others makes a difference.
    pub(crate) versions: Vec<u64>,
}

impl Canon {
    pub(crate) fn of(value: &impl Hash, now: Timestamp) -> Self {
        let mut ids = Ids(Vec::new());
        value.hash(&mut ids);
        ids.0.sort_unstable();
        ids.0.dedup();
        let mut blind = Blind {
            now: now.0,
            ids: ids.0,
            versions: Vec::with_capacity(16),
            bytes: Vec::with_capacity(1_024),
        };
        value.hash(&mut blind);
        Self { digest: blind.finish(), versions: blind.versions }
    }
}

/// Collects the numbers of orders: nothing else in the machine is a `u32`.
struct Ids(Vec<u32>);

impl Hasher for Ids {
    fn write(&mut self, _: &[u8]) {}

    fn write_u32(&mut self, id: u32) {
        self.0.push(id);
    }

    fn finish(&self) -> u64 {
        0
    }
}

struct Blind {
    now: u64,
    ids: Vec<u32>,
    versions: Vec<u64>,
    /// Hashed at once, which is faster.
    bytes: Vec<u8>,
}

impl Hasher for Blind {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn write_u32(&mut self, id: u32) {
        self.write_usize(self.ids.partition_point(|other| *other < id));
    }

    fn write_u64(&mut self, number: u64) {
        let (kind, number) = match number {
            _ if number < FIRST_VERSION => (0, number),
            _ if number < EARLIEST => {
                self.versions.push(number);
                (3, 0)
            }
            _ if number > self.now => (1, number - self.now),
            _ => (2, Timestamp(number).as_secs()),
        };
        self.write_u8(kind);
        self.write(&number.to_ne_bytes());
    }

    fn finish(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        digest.write(&self.bytes);
        digest.finish()
    }
}

impl World {
    /// Replicas are all alike: which of them is the first makes no difference.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.replicas.len()).collect();
        let key = |n: usize| {
            let (canon, sight) = (self.replicas[n].canon(), self.sights[n]);
            (canon.digest, sight.lags(), &canon.versions)
        };
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        order
    }
}

/// The world but for what makes no difference: see [`Canon`]. Of versions only their order counts. That of a pod counts
/// only while something older may still be told of it, which is so until the watch has come as far.
impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let order = self.order();
        let mut versions = Vec::with_capacity(48);
        for n in &order {
            let (replica, sight) = (&self.replicas[*n], self.sights[*n]);
            state.write_u64(replica.canon().digest);
            sight.lags().hash(state);
            let is_dead = |version: &u64| {
                version.is_multiple_of(2) && *version <= sight.horizon.0 && replica.late.is_empty()
            };
            versions.extend(
                replica.canon().versions.iter().map(|version| if is_dead(version) { 0 } else { *version }),
            );
            let is_up_to_date = self.bookmarks && sight.pods_behind == 0;
            versions.push(if is_up_to_date { u64::MAX } else { sight.horizon.0 });
        }
        let author = |author: Author| match author {
            Author::Replica(n) => order.iter().position(|other| *other == n),
            Author::Other => None,
        };
        let server = &self.server;
        let mut stored = |stored: &Option<Stored>| {
            if let Some(Stored { publication, term_by }) = stored {
                let Publication { version, leader, epoch, shown, handled: _, intact: _, ours: _, anew: _ } =
                    publication;
                versions.push(version.0);
                (leader, epoch, shown, author(*term_by)).hash(state);
            }
        };
        stored(&server.slice);
        for revision in &server.revisions {
            stored(&revision.stored);
        }
        for revision in &server.revisions {
            (revision.is_foreign, revision.stored.is_some()).hash(state);
        }
        server.slice.is_some().hash(state);
        for event in &server.log {
            versions.push(event.version.0);
            let now = event.now.as_ref().ok().map(|member| (member.ready, member.terminating));
            (&event.pod, now).hash(state);
        }
        for (by, write) in &server.limbo {
            author(*by).hash(state);
            write.wanted.hash(state);
            versions.push(write.based_on.map_or(0, |version| version.0));
        }
        server.last.hash(state);
        server.repairs.hash(state);
        for pod in &server.pods {
            pod.as_ref().map(|pod| (&pod.pod, pod.ready, pod.terminating)).hash(state);
        }
        (self.bookmarks, self.faults, self.broken.is_some()).hash(state);
        rank(&mut versions);
        versions.hash(state);
    }
}

/// Puts their ranks in the place of numbers.
fn rank(numbers: &mut [u64]) {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    for number in numbers {
        *number = sorted.partition_point(|other| other < number) as u64;
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let digest = |world: &Self| {
            let mut digest = DefaultHasher::new();
            world.hash(&mut digest);
            digest.finish()
        };
        digest(self) == digest(other)
    }
}
