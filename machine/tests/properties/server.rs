//! A little model of what the API server holds: the pods, the authority slice with its versions, and what the
//! watches have to show of both.

use machine::{
    Departure, Endpoint, Epoch, Member, Pod, Publication, Reach, Shown, Timestamp, Version, Wanted,
};

/// Who wrote a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A replica in this history, by the number of its life.
    Replica(usize),
    /// A replica outside it, which keeps the rules.
    Other,
    /// Somebody who keeps none.
    Foreign,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) publication: Publication,
    pub(crate) term_by: Author,
}

impl Stored {
    pub(crate) fn seen_by(&self, life: usize) -> Publication {
        Publication { ours: self.term_by == Author::Replica(life), ..self.publication.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SliceEvent {
    pub(crate) stored: Option<Stored>,
    pub(crate) by: Author,
}

#[derive(Clone, Debug)]
pub(crate) struct PodEvent {
    pub(crate) version: Version,
    pub(crate) pod: Pod,
    pub(crate) now: Result<Member, Departure>,
}

#[derive(Clone, Debug)]
pub(crate) struct TruePod {
    pub(crate) member: Member,
    pub(crate) is_member: bool,
    pub(crate) node_lost: bool,
}

impl TruePod {
    pub(crate) fn is_fit(&self) -> bool {
        self.is_member && is_fit(&self.member)
    }
}

pub(crate) fn is_fit(member: &Member) -> bool {
    member.ready && !member.terminating && !member.excluded && member.reach.endpoint().is_some()
}

/// A revision of the slice that a replica, or one like it, has written.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) leader: Option<Pod>,
    pub(crate) epoch: Epoch,
}

#[derive(Default)]
pub(crate) struct Server {
    version: u64,
    addresses: u8,
    generations: u32,
    pub(crate) slice: Option<Stored>,
    pub(crate) slice_log: Vec<SliceEvent>,
    pub(crate) pods: [Option<TruePod>; 5],
    pub(crate) pod_log: Vec<PodEvent>,
    /// Everything that was published by the rules.
    pub(crate) commits: Vec<Commit>,
    pub(crate) mirrored: Option<Epoch>,
}

pub(crate) enum Rejection {
    Conflict,
    Gone,
    Exists,
}

impl Server {
    pub(crate) const fn version(&self) -> Version {
        Version(self.version)
    }

    fn next_version(&mut self) -> Version {
        self.version += 1;
        Version(self.version)
    }

    pub(crate) fn pod(&self, pod: &Pod) -> Option<&TruePod> {
        self.pods.iter().flatten().find(|truth| truth.member.pod == *pod)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &TruePod> {
        self.pods.iter().flatten().filter(|truth| truth.is_member)
    }

    pub(crate) fn create_pod(&mut self, slot: usize, at: Timestamp) {
        self.generations += 1;
        let name = ["a", "b", "c", "d", "e"][slot];
        let member = Member {
            pod: Pod::new(name, &format!("{name}{}", self.generations)),
            version: Version(0),
            created: at,
            ready: false,
            ready_changed: at,
            terminating: false,
            excluded: false,
            priority: 0,
            revision: 0,
            reach: self.next_address(),
        };
        self.pods[slot] = Some(TruePod { member, is_member: true, node_lost: false });
        self.pod_changed(slot);
    }

    /// There are few addresses, so that they are soon another pod's.
    pub(crate) fn next_address(&mut self) -> Reach {
        let taken = |last: u8| {
            self.pods.iter().flatten().any(|pod| pod.member.reach.endpoint() == Some(endpoint(last)))
        };
        let last = (1..=7).map(|step| (self.addresses + step) % 7).find(|last| !taken(*last)).unwrap_or(7);
        self.addresses = last;
        Reach::At(endpoint(last))
    }

    pub(crate) fn pod_changed(&mut self, slot: usize) {
        let version = self.next_version();
        if let Some(truth) = &mut self.pods[slot] {
            truth.member.version = version;
            let (pod, now) = (truth.member.pod.clone(), truth.member.clone());
            let now = if truth.is_member { Ok(now) } else { Err(Departure::Relabelled) };
            self.pod_log.push(PodEvent { version, pod, now });
        }
    }

    pub(crate) fn pod_left(&mut self, slot: usize, how: Departure) {
        let version = self.next_version();
        if let Some(truth) = &self.pods[slot] {
            self.pod_log.push(PodEvent { version, pod: truth.member.pod.clone(), now: Err(how) });
        }
        if how != Departure::Relabelled {
            self.pods[slot] = None;
        }
    }

    /// What the pod watch had shown up to `cursor`.
    pub(crate) fn members_at(&self, cursor: usize) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for event in &self.pod_log[..cursor] {
            members.retain(|member| member.pod != event.pod);
            members.extend(event.now.clone().ok());
        }
        members
    }

    pub(crate) fn write(
        &mut self,
        wanted: &Wanted,
        based_on: Option<Version>,
        author: Author,
    ) -> Result<Version, Rejection> {
        let present = self.slice.as_ref().map(|stored| stored.publication.version);
        match (present, based_on) {
            (Some(_), None) => return Err(Rejection::Exists),
            (None, Some(_)) => return Err(Rejection::Gone),
            (Some(present), Some(based_on)) if present != based_on => return Err(Rejection::Conflict),
            _ => {}
        }
        let known = self.slice.as_ref().filter(|stored| stored.publication.epoch == wanted.epoch);
        let term_by = known.map_or(author, |stored| stored.term_by);
        let version = self.next_version();
        let publication = wanted.clone().acknowledged(version);
        self.commit(&publication);
        self.store(Some(Stored { publication, term_by }), author);
        Ok(version)
    }

    /// I3, over everything that was published by the rules.
    fn commit(&mut self, publication: &Publication) {
        let Some(epoch) = publication.epoch else { return };
        for earlier in &self.commits {
            let is_same = publication.leader.is_none() || publication.leader == earlier.leader;
            assert!(
                if is_same || earlier.leader.is_none() {
                    epoch >= earlier.epoch
                } else {
                    epoch > earlier.epoch
                },
                "I3: {publication:?} follows {earlier:?}"
            );
        }
        let is_vacant = self.commits.last().is_some_and(|last| last.leader.is_none() && last.epoch == epoch);
        assert!(
            publication.leader.is_none() || !is_vacant,
            "I3: {publication:?} follows an empty slice of the same epoch"
        );
        self.commits.push(Commit { leader: publication.leader.clone(), epoch });
    }

    pub(crate) fn store(&mut self, stored: Option<Stored>, by: Author) {
        self.slice.clone_from(&stored);
        self.slice_log.push(SliceEvent { stored, by });
    }

    /// A write by somebody outside this history; `legal`: it keeps the rules.
    pub(crate) fn overwrite(&mut self, legal: bool, change: impl FnOnce(&mut Publication)) {
        let Some(mut stored) = self.slice.clone() else { return };
        let epoch = stored.publication.epoch;
        change(&mut stored.publication);
        stored.publication.version = self.next_version();
        let by = if legal { Author::Other } else { Author::Foreign };
        if stored.publication.epoch != epoch {
            stored.term_by = by;
        }
        if legal {
            self.commit(&stored.publication);
        }
        self.store(Some(stored), by);
    }

    pub(crate) fn delete_slice(&mut self) {
        if self.slice.is_some() {
            self.version += 1;
            self.store(None, Author::Foreign);
        }
    }

    pub(crate) fn highest_epoch(&self) -> Epoch {
        self.commits.iter().map(|commit| commit.epoch).max().unwrap_or_default()
    }
}

pub(crate) fn endpoint(last: u8) -> Endpoint {
    Endpoint { address: std::net::Ipv4Addr::new(10, 0, 0, last).into(), content: u64::from(last) }
}

pub(crate) const fn shown_endpoint(shown: Shown) -> Option<Endpoint> {
    match shown {
        Shown::Ready(endpoint) | Shown::Terminating(endpoint) => Some(endpoint),
        Shown::Nobody | Shown::Foreign => None,
    }
}
