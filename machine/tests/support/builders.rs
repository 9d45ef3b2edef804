//! Pods, slices, requests and policies, in a few words each.

#![allow(dead_code, reason = "not every test uses every builder")]

use std::net::{IpAddr, Ipv4Addr};

use machine::{
    Endpoint, Epoch, Member, Micros, Pod, Policy, Publication, Reach, Shown, Site, Switchover, Timestamp,
    Version,
};

/// When every test begins: the epochs of first elections start here.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_000_000);

/// A pod by its name: its UID is the name and a 1, its address ends with the letter's place in the alphabet,
/// and it is older than those that follow in the alphabet.
pub(crate) fn pod(name: &str) -> PodBuilder {
    let place = place(name);
    PodBuilder(Member {
        pod: Pod::new(name, &format!("{name}1")),
        version: Version(0),
        created: Timestamp::from_secs(990_000 + u64::from(place)),
        ready: false,
        ready_changed: Timestamp::from_secs(995_000),
        terminating: false,
        excluded: false,
        priority: 0,
        place: 0,
        site: Site::Sound,
        revision: 0,
        reach: at(place),
    })
}

fn place(name: &str) -> u8 {
    name.as_bytes()[0] - b'a' + 1
}

pub(crate) fn endpoint(last: u8) -> Endpoint {
    Endpoint { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), content: u64::from(last) }
}

pub(crate) fn at(last: u8) -> Reach {
    Reach::At(endpoint(last))
}

#[derive(Clone)]
pub(crate) struct PodBuilder(pub(crate) Member);

impl PodBuilder {
    pub(crate) fn ready(mut self) -> Self {
        self.0.ready = true;
        self
    }

    pub(crate) fn ready_since(mut self, when: Timestamp) -> Self {
        self.0.ready_changed = when;
        self.ready()
    }

    pub(crate) fn unready_since(mut self, when: Timestamp) -> Self {
        self.0.ready = false;
        self.0.ready_changed = when;
        self
    }

    pub(crate) fn terminating(mut self) -> Self {
        self.0.terminating = true;
        self
    }

    pub(crate) fn excluded(mut self) -> Self {
        self.0.excluded = true;
        self
    }

    pub(crate) fn priority(mut self, priority: i32) -> Self {
        self.0.priority = priority;
        self
    }

    pub(crate) fn place(mut self, place: u8) -> Self {
        self.0.place = place;
        self
    }

    pub(crate) fn site(mut self, site: Site) -> Self {
        self.0.site = site;
        self
    }

    pub(crate) fn revision(mut self, revision: u64) -> Self {
        self.0.revision = revision;
        self
    }

    pub(crate) fn created(mut self, secs: u64) -> Self {
        self.0.created = Timestamp::from_secs(secs);
        self
    }

    /// The same name, but another pod.
    pub(crate) fn uid(mut self, uid: &str) -> Self {
        self.0.pod = Pod::new(self.0.pod.name(), uid);
        self
    }

    pub(crate) fn address(mut self, last: u8) -> Self {
        self.0.reach = at(last);
        self
    }

    pub(crate) fn without_address(mut self) -> Self {
        self.0.reach = Reach::NoAddress;
        self
    }

    pub(crate) fn without_port(mut self, named: bool) -> Self {
        self.0.reach = Reach::PortUnresolved { named };
        self
    }

    pub(crate) fn version(mut self, version: u64) -> Self {
        self.0.version = Version(version);
        self
    }

    pub(crate) fn id(&self) -> Pod {
        self.0.pod.clone()
    }
}

/// A slice that publishes `leader`, ready, in the term `epoch`.
pub(crate) fn slice(leader: &str, epoch: u64) -> SliceBuilder {
    SliceBuilder(Publication {
        version: Version(0),
        leader: Some(pod(leader).id()),
        epoch: Some(Epoch(epoch)),
        shown: Shown::Ready(endpoint(place(leader))),
        handled: None,
        intact: true,
        ours: false,
        anew: false,
    })
}

#[derive(Clone)]
pub(crate) struct SliceBuilder(pub(crate) Publication);

impl SliceBuilder {
    pub(crate) fn empty(mut self) -> Self {
        self.0.leader = None;
        self.0.shown = Shown::Nobody;
        self
    }

    pub(crate) fn without_epoch(mut self) -> Self {
        self.0.epoch = None;
        self
    }

    pub(crate) fn terminating(mut self) -> Self {
        if let Shown::Ready(endpoint) = self.0.shown {
            self.0.shown = Shown::Terminating(endpoint);
        }
        self
    }

    pub(crate) fn shown(mut self, shown: Shown) -> Self {
        self.0.shown = shown;
        self
    }

    pub(crate) fn ours(mut self) -> Self {
        self.0.ours = true;
        self
    }

    pub(crate) fn anew(mut self) -> Self {
        self.0.anew = true;
        self
    }

    pub(crate) fn damaged(mut self) -> Self {
        self.0.intact = false;
        self
    }

    pub(crate) fn handled(mut self, text: &str) -> Self {
        self.0.handled = Some(text.into());
        self
    }

    pub(crate) fn version(mut self, version: u64) -> Self {
        self.0.version = Version(version);
        self
    }
}

/// A request as the annotation's text: `pod` or `pod/uid;token;expiry` with the expiry in seconds after
/// [`START`].
pub(crate) fn request(text: &str) -> Switchover {
    let mut parts = text.split(';');
    let target = parts.next().unwrap_or_default();
    let (pod, uid) = target.split_once('/').map_or((target, None), |(pod, uid)| (pod, Some(uid.into())));
    let expires = parts.nth(1).map(|secs| START.plus(Micros::from_secs(secs.parse().expect("seconds"))));
    Switchover { text: text.into(), pod: pod.into(), uid, expires }
}

pub(crate) fn secs(secs: u64) -> Micros {
    Micros::from_secs(secs)
}

/// The default policy, changed.
pub(crate) fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}
