//! An election that is told a story, by somebody who plays the API server and keeps the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use machine::{
    Departure, Effect, Election, Endpoint, Epoch, Event, Member, Micros, Outcome, Pod, Policy, Publication,
    Reach, Shown, Site, Standing, Switchover, Timestamp, Version, Wanted,
};
use zen_lead::record::{Header, Record, Start, write_header, write_record};

/// 2026-03-02, 09:00:00.
const BEGINS: Timestamp = Timestamp::from_secs(1_772_442_000);

/// What answers take, in microseconds: of a write, until the watch shows it, of a read, of what is less urgent.
const WRITE: u64 = 1_830;
const WATCH: u64 = 410;
const READ: u64 = 940;
const MIRROR: u64 = 4_270;

/// A story, and its log so far.
pub(crate) struct Story {
    pub(crate) header: Header,
    pub(crate) election: Election,
    pub(crate) records: Vec<Record>,
    now: Timestamp,
    version: u64,
    slice: Option<Publication>,
    pods: Vec<Member>,
    /// What comes, and when.
    coming: BTreeSet<(Timestamp, u64)>,
    calls: Vec<(u64, Call)>,
    number: u64,
    /// How the next writes fail.
    failures: Vec<(Outcome, bool)>,
}

enum Call {
    Answer(Effect),
    Seen(Publication),
}

impl Story {
    /// A Service with these pods, of which the first was created first.
    pub(crate) fn new(service: &str, note: &str, policy: Policy) -> Self {
        let mut header = Header::new(service.into(), 1, Start::New(policy.clone()));
        header.note = Some(note.into());
        // A log does not change because the program's version does.
        header.machine = "0.1.0".into();
        Self {
            header,
            election: Election::new(policy),
            records: Vec::new(),
            now: BEGINS,
            version: 184_200,
            slice: None,
            pods: Vec::new(),
            coming: BTreeSet::new(),
            calls: Vec::new(),
            number: 0,
            failures: Vec::new(),
        }
    }

    /// The log.
    pub(crate) fn log(&self) -> Vec<u8> {
        let mut text = Vec::new();
        write_header(&mut text, &self.header).unwrap();
        self.records.iter().for_each(|record| write_record(&mut text, None, record).unwrap());
        text
    }

    pub(crate) fn tell(&mut self, event: Event) -> &mut Self {
        let step = self.election.step(self.now, &event);
        for effect in &step.effects {
            let takes = match effect {
                Effect::Publish { .. } | Effect::Remove { .. } => WRITE,
                Effect::Read { .. } | Effect::Confirm { .. } => READ,
                Effect::Mirror { .. } | Effect::Notify { .. } => MIRROR,
            };
            self.expect(takes, Call::Answer(effect.clone()));
        }
        let seq = self.records.last().map_or(1, |last| last.seq + 1);
        self.records.push(Record { seq, at: self.now, event, step });
        self
    }

    fn expect(&mut self, micros: u64, call: Call) {
        self.number += 1;
        self.coming.insert((self.now.plus(Micros(micros)), self.number));
        self.calls.push((self.number, call));
    }

    /// Time passes: answers come, and alarms ring.
    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        let end = self.now.plus(Micros::from_millis(millis));
        loop {
            let call = self.coming.first().copied().filter(|(when, _)| *when <= end);
            let alarm = self.election.deadline().filter(|when| *when <= end);
            match (call, alarm) {
                (Some((when, number)), alarm) if alarm.is_none_or(|alarm| when <= alarm) => {
                    self.coming.pop_first();
                    self.now = when.max(self.now);
                    let index = self.calls.iter().position(|(of, _)| *of == number).unwrap();
                    let (_, call) = self.calls.swap_remove(index);
                    self.happen(call);
                }
                (_, Some(alarm)) => {
                    self.now = alarm.max(self.now);
                    self.tell(Event::DeadlineReached);
                }
                (_, None) => break,
            }
        }
        self.now = end;
        self
    }

    fn happen(&mut self, call: Call) {
        let horizon = Version(self.version);
        let event = match call {
            Call::Seen(publication) => {
                Event::PublicationObserved { published: Some(publication), horizon, by: None }
            }
            Call::Answer(Effect::Publish { id, wanted, based_on }) => {
                return self.write(id, wanted, based_on);
            }
            Call::Answer(Effect::Read { id }) => {
                Event::ReadDone { id, published: self.slice.clone(), horizon }
            }
            Call::Answer(Effect::Confirm { id, pod }) => {
                let member = self.pods.iter().find(|member| member.pod == pod).cloned();
                Event::Confirmed { id, exists: member.is_some(), member }
            }
            Call::Answer(Effect::Mirror { id, .. }) => Event::Mirrored { id },
            Call::Answer(Effect::Notify { id, .. }) => Event::Notified { id },
            Call::Answer(Effect::Remove { id, .. }) => {
                self.slice = None;
                Event::Removed { id }
            }
        };
        self.tell(event);
    }

    fn write(&mut self, id: machine::OrderId, wanted: Wanted, based_on: Option<Version>) {
        let present = self.slice.as_ref().map(|slice| slice.version);
        let (outcome, happens) = match self.failures.pop() {
            Some((outcome, happens)) => (Some(outcome), happens),
            None if based_on != present => (Some(Outcome::Conflict), false),
            None => (None, true),
        };
        let mut version = Version(0);
        if happens {
            version = self.next_version();
            self.slice = Some(wanted.acknowledged(version));
            if outcome.is_none() {
                self.expect(WATCH, Call::Seen(self.slice.clone().unwrap()));
            }
        }
        self.tell(match outcome {
            Some(outcome) => Event::PublishFailed { id, outcome },
            None => Event::Published { id, version },
        });
    }

    fn next_version(&mut self) -> Version {
        self.version += 3;
        Version(self.version)
    }

    /// The next write fails so; it happens all the same, or not. The watch lags then.
    pub(crate) fn next_write_fails(&mut self, outcome: Outcome, happens: bool) -> &mut Self {
        self.failures.push((outcome, happens));
        self
    }

    /// A pod of this Deployment, or whatever it is: Ready, and a minute younger than the one before.
    pub(crate) fn pod(&mut self, number: usize) -> Member {
        if let Some(known) = self.pods.iter().find(|member| member.pod == pod(number)) {
            return known.clone();
        }
        let version = self.next_version();
        let minutes = 60 * u64::try_from(number).unwrap();
        let last = u8::try_from(17 + number).unwrap();
        let member = Member {
            pod: pod(number),
            version,
            created: Timestamp::from_secs(BEGINS.as_secs() - 86_400 + minutes),
            ready: true,
            ready_changed: Timestamp::from_secs(BEGINS.as_secs() - 86_391 + minutes),
            terminating: false,
            excluded: false,
            priority: 0,
            place: 0,
            site: Site::Sound,
            revision: 0x5d4c_9b8a,
            reach: Reach::At(Endpoint {
                address: [10, 244, 1, last].into(),
                content: 0x9e37_79b9_7f4a_7c15 + u64::from(last),
            }),
        };
        self.pods.push(member.clone());
        member
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Member, Timestamp)) -> Member {
        let mut member = self.pod(number);
        member.version = self.next_version();
        change(&mut member, Timestamp::from_secs(self.now.as_secs()));
        let known = self.pods.iter_mut().find(|known| known.pod == member.pod).unwrap();
        known.clone_from(&member);
        member
    }

    /// All lists are in: these pods, nothing published yet.
    pub(crate) fn begins<const N: usize>(&mut self, numbers: [usize; N]) -> &mut Self {
        let members = numbers.map(|number| self.pod(number)).into();
        let standing = Standing { published: None, horizon: Version(self.version), ..Standing::default() };
        self.tell(Event::Synced { members, standing }).wait(200)
    }

    /// All lists are in, and the first of the pods leads already, as an earlier run has left it.
    pub(crate) fn led<const N: usize>(&mut self, numbers: [usize; N]) -> &mut Self {
        let members: Vec<_> = numbers.map(|number| self.pod(number)).into();
        let epoch = Some(Epoch(1_772_355_617));
        let version = self.next_version();
        let shown = members[0].reach.endpoint().map_or(Shown::Nobody, Shown::Ready);
        let leader = Some(members[0].pod.clone());
        let wanted = Wanted { leader, epoch, shown, handled: None };
        let published = Some(Publication { ours: false, ..wanted.acknowledged(version) });
        self.slice.clone_from(&published);
        let standing =
            Standing { published, mirrored: epoch, horizon: Version(self.version), ..Standing::default() };
        self.tell(Event::Synced { members, standing }).wait(200)
    }

    /// All lists are in anew, as after a restore of the API server's store.
    pub(crate) fn listed_anew(&mut self) -> &mut Self {
        let (members, published) = (self.pods.clone(), self.slice.clone());
        let standing = Standing { published, horizon: Version(self.version), ..Standing::default() };
        self.tell(Event::Synced { members, standing })
    }

    pub(crate) fn ready(&mut self, number: usize) -> &mut Self {
        let member = self.change(number, |member, now| (member.ready, member.ready_changed) = (true, now));
        self.tell(Event::PodReady { member })
    }

    pub(crate) fn unready(&mut self, number: usize) -> &mut Self {
        let member = self.change(number, |member, now| (member.ready, member.ready_changed) = (false, now));
        self.tell(Event::PodUnready { member })
    }

    pub(crate) fn terminating(&mut self, number: usize) -> &mut Self {
        let member = self.change(number, |member, _| member.terminating = true);
        self.tell(Event::PodTerminating { member })
    }

    pub(crate) fn changed(&mut self, number: usize, change: impl FnOnce(&mut Member)) -> &mut Self {
        let member = self.change(number, |member, _| change(member));
        self.tell(Event::PodChanged { member })
    }

    pub(crate) fn gone(&mut self, number: usize, how: Departure) -> &mut Self {
        self.pods.retain(|member| member.pod != pod(number));
        self.tell(Event::PodGone { pod: pod(number), how })
    }

    /// Somebody else writes the slice.
    pub(crate) fn overwritten(
        &mut self,
        by: Option<&str>,
        write: impl FnOnce(&mut Publication),
    ) -> &mut Self {
        let version = self.next_version();
        let mut published = self.slice.clone().unwrap();
        write(&mut published);
        published.version = version;
        self.slice = Some(published.clone());
        let (published, horizon, by) = (Some(published), Version(self.version), by.map(Arc::from));
        self.tell(Event::PublicationObserved { published, horizon, by })
    }

    pub(crate) fn asked_for(&mut self, number: usize) -> &mut Self {
        let (pod, expires) = (pod(number), self.now.plus(Micros::from_secs(300)));
        let text = format!("{}/{};change-4711;2026-03-02T09:10:00Z", pod.name(), pod.uid());
        let request = Switchover {
            text: text.into(),
            pod: pod.name().into(),
            uid: Some(pod.uid().into()),
            expires: Some(expires),
        };
        self.tell(Event::SwitchoverRequested { request })
    }

    /// What the log of a ring would be that starts after the step number `seq`.
    pub(crate) fn from(&self, seq: u64) -> Self {
        let mut election = self.header.election();
        let (before, after): (Vec<_>, Vec<_>) =
            self.records.iter().cloned().partition(|record| record.seq <= seq);
        for record in before {
            assert_eq!(election.step(record.at, &record.event), record.step);
        }
        let start = Start::Midst(Box::new(election));
        let header = Header { seq: seq + 1, start, ..self.header.clone() };
        Self::read(header, after)
    }

    /// One that was recorded.
    pub(crate) fn read(header: Header, records: Vec<Record>) -> Self {
        let mut story = Self::new("", "", Policy::default());
        (story.election, story.header, story.records) = (header.election(), header, records);
        story
    }
}

pub(crate) fn pod(number: usize) -> Pod {
    const NAMES: [(&str, &str); 5] = [
        ("orders-6c9f8d7b5-x7k2p", "3f0c9a52-6d1b-4d2b-9e35-b1a7c04e8d11"),
        ("orders-6c9f8d7b5-m4q9t", "a84e17d3-0b5f-4c6e-8f21-5d90e2b3c722"),
        ("orders-6c9f8d7b5-z2w6h", "d15b7e60-94c8-4a3d-b7f4-0c61f8a9e433"),
        ("orders-5b7d4f9c8-k8s3v", "7c2aa9f4-e310-47b5-a1d8-9f34b60d2e44"),
        ("orders-5b7d4f9c8-r5n1j", "e96d30b8-2f7a-4e1c-96b3-48c7d5f10a55"),
    ];
    let (name, uid) = NAMES[number];
    Pod::new(name, uid)
}
