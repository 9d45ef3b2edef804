//! One Service, as the machine that is shipped sees it: nothing about eligibility or rank is decided here.

use std::sync::Arc;

use machine::{Election, Event, Obstruction, Phase, Publication, Shown, Standing, Timestamp, Version};

use super::nodes::Nodes;
use super::survey::{Key, Survey};
use crate::annotations::{self, INSTANCE, Settings};
use crate::kinds::{ServiceLite, SliceLite, timestamp, version};
use crate::names;
use crate::notice::Told;
use crate::rows::{PodRow, View};
use crate::service::{
    Claim, InvalidService, Place, Remembered, Source, claim_service, claim_slice, remembered,
};
use crate::slice;

/// A Service that opts in.
pub(super) struct Look {
    pub(super) key: Key,
    /// When all this was so.
    pub(super) at: Timestamp,
    /// The source Service's version and UID.
    pub(super) version: Version,
    pub(super) settings: Settings,
    pub(super) leader_service: String,
    /// The leader Service and what it mirrors, if it is there and ours.
    pub(super) mirror: Option<Remembered>,
    pub(super) slice: Option<SliceLite>,
    /// What the slice says.
    pub(super) published: Option<Publication>,
    /// The Service as a source; or why it cannot be one.
    pub(super) view: Result<View, InvalidService>,
    /// The pods that the selector matches, finished ones included; none if the caller may not read them.
    pub(super) pods: Option<Vec<PodRow>>,
    /// What the machine makes of it, if the pods are known.
    pub(super) election: Option<Election>,
    /// What stands in our place, and why it is not ours.
    pub(super) obstruction: Option<Obstruction>,
    /// What its people were told, oldest first.
    pub(super) notices: Vec<Told>,
    /// What is known of its pods' nodes.
    pub(super) nodes: Nodes,
}

impl Look {
    pub(super) fn new(survey: &Survey, key: &Key, service: &ServiceLite) -> Self {
        let (namespace, name) = key;
        let nothing = std::collections::BTreeMap::new();
        let asked = service.metadata.annotations.as_ref().unwrap_or(&nothing);
        let settings = annotations::parse(asked, name);
        let leader_service = settings.leader_service_name.as_deref().map(str::to_owned);
        let leader_service = leader_service.unwrap_or_else(|| names::leader_service(name));
        let view = Source::new(service).map(|source| View::new(source, &settings));
        let mut look = Self {
            key: key.clone(),
            at: survey.at,
            version: version(&service.metadata),
            settings,
            leader_service,
            mirror: None,
            slice: None,
            published: None,
            view,
            pods: None,
            election: None,
            obstruction: None,
            notices: survey.notices(key).to_vec(),
            nodes: survey.facts.nodes.clone(),
        };
        let Ok(view) = look.view.clone() else { return look };
        let place = (namespace.clone(), look.leader_service.clone());
        look.see(&view, survey.facts.services.get(&place), survey.facts.slices.get(&place));
        if let Some((pods, horizon)) = survey.pods(namespace) {
            let selected = pods.iter().filter(|row| view.source.selector.matches(row));
            look.pods = Some(selected.cloned().collect());
            look.decide(&view, *horizon);
        }
        look
    }

    /// Takes in what stands where our objects belong.
    fn see(&mut self, view: &View, leader: Option<&ServiceLite>, slice: Option<&SliceLite>) {
        // Which installation is in charge is told by what it made.
        let instances = [leader.map(|leader| &leader.metadata), slice.map(|slice| &slice.metadata)];
        let instance =
            instances.into_iter().flatten().find_map(|metadata| metadata.annotations.as_ref()?.get(INSTANCE));
        let instance = instance.cloned().unwrap_or_default();
        let place = Place { view, leader_service: &self.leader_service, instance: &instance };
        if let Some(leader) = leader {
            if let Claim::Foreign(why) = claim_service(leader, &place) {
                let words = format!("Service {}: {why}", self.leader_service);
                self.obstruction = Some(Obstruction::Service(words.into()));
            } else {
                self.mirror = Some(remembered(leader, self.at));
            }
        }
        let Some(slice) = slice else { return };
        let family = view.source.first_family();
        let leader_uid = leader.and_then(|leader| leader.metadata.uid.as_deref());
        if let Claim::Foreign(why) = claim_slice(slice, &place, family, leader_uid) {
            let words = format!("EndpointSlice {}: {why}", self.leader_service);
            self.obstruction.get_or_insert_with(|| Obstruction::Slice(words.into()));
            return;
        }
        self.published = Some(slice::observe(slice, &place, family, "", self.at).publication);
        self.slice = Some(slice.clone());
    }

    /// Tells the machine what a controller that starts now would tell it.
    fn decide(&mut self, view: &View, horizon: Version) {
        let mut election = Election::new(self.settings.policy.clone());
        let pause = self.settings.pause.map(|pause| Event::Paused { until: pause.until });
        let request = self.settings.switchover.clone();
        let request = request.map(|request| Event::SwitchoverRequested { request });
        let members = self.pods.iter().flatten();
        let members = members.filter(|row| row.membership(&view.source.selector).is_ok());
        let standing = Standing {
            published: self.published.clone(),
            mirrored: self.mirror.as_ref().and_then(|mirror| mirror.epoch),
            mirrored_leader: self.mirror.as_ref().and_then(|mirror| mirror.leader.as_deref()).map(Arc::from),
            switched: self.mirror.as_ref().and_then(|mirror| mirror.switched),
            horizon,
        };
        let (mut on_ground, mut stranded) = (Vec::new(), Vec::new());
        for row in members {
            let ground = self.nodes.heeded(row);
            stranded.extend(ground.is_lost.then(|| Event::NodeLost { pod: row.pod.clone() }));
            on_ground.push(row.member(view, &ground));
        }
        let begins = Event::Synced { members: on_ground, standing };
        let blocked = self.obstruction.clone().map(|by| Event::Blocked { by });
        // Its orders are for a controller.
        for event in stranded.into_iter().chain(pause).chain(request).chain([begins]).chain(blocked) {
            let _ = election.step(self.at, &event);
        }
        self.election = Some(election);
    }

    /// What the machine would do about this Service now, or else what is published.
    pub(super) fn phase(&self) -> Phase {
        match (&self.election, self.published.as_ref().map(|published| published.shown)) {
            (Some(election), _) => election.state().phase(),
            (None, Some(Shown::Ready(_))) => Phase::Elected,
            (None, Some(Shown::Terminating(_))) => Phase::Draining,
            (None, Some(Shown::Nobody | Shown::Foreign) | None) => Phase::Leaderless,
        }
    }

    /// Whether no choices are made, and until when.
    pub(super) fn pause(&self) -> Option<annotations::Pause> {
        self.settings.pause.filter(|pause| pause.until.is_none_or(|until| until > self.at))
    }

    /// The pod that clients reach, or reached last, and where it is.
    pub(super) fn leader(&self) -> Option<(&machine::Pod, Option<&PodRow>)> {
        let published = self.published.as_ref()?;
        let leader = published.leader.as_ref().filter(|_| published.shown != Shown::Nobody)?;
        Some((leader, self.pods.iter().flatten().find(|row| row.pod == *leader)))
    }

    /// Since when it is so, as far as objects tell: to the second.
    pub(super) fn since(&self) -> Option<Timestamp> {
        let switched = self.mirror.as_ref().and_then(|mirror| mirror.switched);
        let written = || {
            let fields = self.slice.as_ref()?.metadata.managed_fields.as_ref()?;
            fields.first()?.time.as_ref().map(|time| timestamp(time.0))
        };
        let changed = self.notices.iter().rev().find(|told| {
            ["LeaderLost", "LeaderDraining", "NoReadyPods", "NoPodsFound"].contains(&&*told.reason)
        });
        match self.phase() {
            Phase::Elected => switched,
            Phase::Draining | Phase::Leaderless | Phase::Reelecting => changed
                .map(|told| told.at)
                .filter(|at| switched.is_none_or(|switched| *at >= switched))
                .or_else(written),
        }
    }
}
