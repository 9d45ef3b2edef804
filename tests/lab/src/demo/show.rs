//! One step of the show after another: something happens to a pod or a Service, and the API server tells what the
//! controller made of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::time;

use super::figures::{Figure, Figures, Kind};
use super::place::Place;
use super::screen::Screen;
use super::state::{EPOCH, State, ready_addresses};
use super::timeline::{Entry, Found, Seen, Timeline};
use crate::history::Change;
use crate::pod::Pod;
use crate::services::Service;
use crate::slices::SERVICE_NAME;

/// How long anything may take that should take milliseconds, before the show calls it missing.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The show's Service, and what the controller makes of it.
pub(super) const SOURCE: &str = "orders";
pub(super) const LEADER_SERVICE: &str = "orders-leader";
pub(super) const MEMBERS: [&str; 3] = ["orders-0", "orders-1", "orders-2"];

/// The show: the stage, who is on it, and what came of it so far.
pub(super) struct Show<'a> {
    pub(super) place: &'a Place,
    pub(super) screen: &'a mut Screen,
    pub(super) log: &'a Path,
    pub(super) timeline: Timeline,
    pub(super) members: Vec<Pod>,
    pub(super) source: Service,
    pub(super) now: State,
    pub(super) figures: Figures,
    pub(super) checks: usize,
    pub(super) not_held: Vec<String>,
    /// All entries of the timeline before this one are accounted for.
    accounted: usize,
}

/// A moment right before something is done.
pub(super) struct Mark {
    pub(super) entry: usize,
    wall: Timestamp,
}

impl Mark {
    /// When it was.
    pub(super) const fn wall(&self) -> Timestamp {
        self.wall
    }
}

/// Something that has been done, and what should come of it.
pub(super) struct Step<'a> {
    pub(super) kind: Kind,
    /// What was done, in words.
    pub(super) told: String,
    /// Tells that the API server shows it.
    pub(super) trigger: &'a (dyn Fn(&Entry) -> bool + Sync),
    pub(super) expect: Expect<'a>,
    /// The notice that says so.
    pub(super) notice: &'static str,
    /// How often the slice changes on the way.
    pub(super) revisions: usize,
}

/// What the slice should say.
#[derive(Clone, Copy)]
pub(super) enum Expect<'a> {
    /// This pod, ready.
    Leader(&'a Pod),
    /// This pod, terminating and still serving.
    Draining(&'a Pod),
    Nobody,
}

impl<'a> Show<'a> {
    /// Sets the stage: three Ready pods and a Service that has not opted in.
    pub(super) async fn begin(place: &'a Place, screen: &'a mut Screen, log: &'a Path) -> Result<Self> {
        let timeline = Timeline::begin(&place.ns).await?;
        let mut members = Vec::new();
        for name in MEMBERS {
            members.push(member(place, name).await?);
        }
        let source = place.ns.service(SOURCE).selector("app", SOURCE).port("http", 80, 8080);
        let source = source.create().await.context("creating Service orders")?;
        let (now, figures, not_held) = (State::none(), Figures::default(), Vec::new());
        Ok(Self {
            place,
            screen,
            log,
            timeline,
            members,
            source,
            now,
            figures,
            checks: 0,
            not_held,
            accounted: 0,
        })
    }

    /// Something is about to be done.
    pub(super) fn mark(&mut self) -> Mark {
        let wall = Timestamp::now();
        self.figures.close(wall);
        Mark { entry: self.timeline.now(), wall }
    }

    /// Something should be so.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            let text = otherwise();
            self.screen.not_held(&text);
            self.not_held.push(text);
        }
    }

    /// A step could not be shown to its end.
    pub(super) fn failed(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        self.screen.not_held(&text);
        self.not_held.push(text);
    }

    /// The pod that leads now.
    pub(super) fn leader(&self) -> Result<Pod> {
        let leader = self.members.iter().find(|pod| Some(pod.uid()) == self.now.uid.as_deref());
        leader.cloned().with_context(|| format!("none of {MEMBERS:?} leads: {}", self.now))
    }

    /// The members by rank, without this one: the oldest first, then by name.
    pub(super) fn others(&self, pod: &Pod) -> Vec<Pod> {
        let mut others = self.ranked();
        others.retain(|other| other.uid() != pod.uid());
        others
    }

    /// The members by rank.
    pub(super) fn ranked(&self) -> Vec<Pod> {
        let mut members = self.members.clone();
        members.sort_by_key(|pod| (pod.created(), pod.name().to_owned(), pod.uid().to_owned()));
        members
    }

    /// A pod of the same name takes the place of one that is gone.
    pub(super) async fn replace(&mut self, gone: &Pod) -> Result<()> {
        let new = member(self.place, gone.name()).await?;
        self.members.retain(|pod| pod.uid() != gone.uid());
        self.members.push(new);
        Ok(())
    }

    /// Watches what comes of a step, prints it, and checks it.
    pub(super) async fn settle(&mut self, mark: Mark, step: Step<'_>) -> Result<()> {
        let seen = |entry: &Entry| (step.trigger)(entry).then_some(());
        let trigger = self.timeline.first(mark.entry, SOON, seen).await?;
        let triggered = trigger
            .with_context(|| format!("the API server did not show within {SOON:?}: {}", step.told))?
            .at;
        self.screen.row(None, &self.now, &step.told);

        let as_expected =
            |slice: &EndpointSlice| step.expect.is_met_by(&State::of(slice)).then(|| slice.clone());
        let changed = self.timeline.first(mark.entry, SOON, |entry| of_leader(entry).and_then(as_expected));
        let Some(changed) = changed.await? else { return self.missing(&step, mark.entry).await };
        let before = std::mem::replace(&mut self.now, State::of(&changed.what));
        let took = changed.at.saturating_duration_since(triggered);
        self.figures.push(Figure { kind: step.kind, took, from: mark.wall, to: None });

        let notice = self.notice(mark.entry, SOURCE, step.notice).await?;
        let words = notice.as_ref().map_or_else(|| "(no notice)".into(), |notice| words_of(&notice.what));
        self.screen.row(Some(took), &self.now.clone(), &words);
        self.check(notice.is_some(), || format!("no notice {} came within {SOON:?}", step.notice));
        self.check_slice(&step, &changed.what, &before);
        self.check_revisions(&step, changed.entry);
        self.check_mirror(mark.entry, step.expect).await
    }

    /// The wanted change did not come: says what there is instead.
    async fn missing(&mut self, step: &Step<'_>, since: usize) -> Result<()> {
        let slices = self.place.ns.slices().of(LEADER_SERVICE).await?;
        let states: Vec<State> = slices.iter().map(State::of).collect();
        let notices: Vec<String> = self
            .timeline
            .since(since)
            .into_iter()
            .filter_map(|entry| match entry.seen {
                Seen::Notice(notice) => Some(words_of(&notice)),
                _ => None,
            })
            .collect();
        let notices = if notices.is_empty() { "none".into() } else { notices.join("; ") };
        let (told, expect) = (&step.told, step.expect);
        bail!(
            "{SOON:?} after \"{told}\", EndpointSlice {LEADER_SERVICE} should say {expect}; it says {}; notices \
             since: {notices}; the controller's log ends:\n{}",
            states.first().map_or_else(|| "nothing, for there is none".into(), State::to_string),
            crate::process::last_lines(self.log, 8)
        )
    }

    fn check_slice(&mut self, step: &Step<'_>, slice: &EndpointSlice, before: &State) {
        let now = self.now.clone();
        if let Expect::Leader(pod) = step.expect {
            let wanted = (Some(pod.uid()), Some(format!("{}:8080", pod.ip())));
            let is = (now.uid.as_deref(), now.endpoint.clone());
            self.check(is == wanted, || format!("the endpoint is {is:?}, the leader's is {wanted:?}"));
            let ready = ready_addresses(slice);
            self.check(ready == 1, || format!("{ready} addresses of the slice are ready instead of one"));
            self.check(now.epoch > before.epoch, || {
                format!("the epoch did not grow with the new term: {:?}, then {:?}", before.epoch, now.epoch)
            });
        } else {
            self.check(now.epoch == before.epoch, || {
                format!("the epoch changed without a new term: {:?}, then {:?}", before.epoch, now.epoch)
            });
        }
    }

    /// Nothing but what is expected happened to the slice since the last step: what was to change nothing, such as a
    /// former leader that is Ready again, did not.
    fn check_revisions(&mut self, step: &Step<'_>, last: usize) {
        let entries = self.timeline.since(self.accounted);
        let of_step = &entries[..=last.saturating_sub(self.accounted)];
        let count = of_step.iter().filter(|entry| of_leader(entry).is_some()).count();
        self.accounted = last + 1;
        self.check(count == step.revisions, || {
            format!("the slice changed {count} times since the step before; expected: {}", step.revisions)
        });
    }

    /// The leader Service's annotations follow.
    async fn check_mirror(&mut self, since: usize, expect: Expect<'_>) -> Result<()> {
        let Expect::Leader(pod) = expect else { return Ok(()) };
        let epoch = self.now.epoch.map(|epoch| epoch.to_string());
        let mirrored = |entry: &Entry| {
            let service = of_service(entry, LEADER_SERVICE)?;
            let says = |key: &str| service.annotations().get(key).map(String::as_str);
            let is_so =
                says("zen-lead.io/current-leader") == Some(pod.name()) && says(EPOCH) == epoch.as_deref();
            is_so.then_some(())
        };
        let found = self.timeline.first(since, SOON, mirrored).await?.is_some();
        self.check(found, || {
            format!("the annotations of Service {LEADER_SERVICE} did not name {} within {SOON:?}", pod.name())
        });
        Ok(())
    }

    /// The notice with this reason on this Service.
    pub(super) async fn notice(
        &self,
        since: usize,
        service: &str,
        reason: &str,
    ) -> Result<Option<Found<Event>>> {
        let look = |entry: &Entry| match &entry.seen {
            Seen::Notice(notice) => {
                let regards = notice.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
                let is_it = notice.reason.as_deref() == Some(reason) && regards == Some(service);
                is_it.then(|| (**notice).clone())
            }
            _ => None,
        };
        self.timeline.first(since, SOON, look).await
    }

    /// After a scene that broke off: three Ready pods, and a leader.
    pub(super) async fn recover(&mut self) -> Result<()> {
        for pod in self.members.clone() {
            match pod.get().await {
                Ok(object) if object.metadata.deletion_timestamp.is_none() => pod.ready().await?,
                Ok(_) => {
                    pod.vanish().await?;
                    self.replace(&pod).await?;
                }
                Err(_) => self.replace(&pod).await?,
            }
        }
        let elected = |slice: &EndpointSlice| State::of(slice).phase == "Elected";
        let slice = self.place.ns.slices().until(LEADER_SERVICE, SOON, elected).await?;
        self.now = State::of(&slice);
        self.accounted = self.timeline.now();
        Ok(())
    }

    /// Over the whole show: at most one ready address in every revision of the slice, and an epoch that never fell.
    pub(super) fn check_history(&mut self) -> String {
        let slices: Vec<EndpointSlice> =
            self.timeline.since(0).iter().filter_map(of_leader).cloned().collect();
        let most = slices.iter().map(ready_addresses).max().unwrap_or_default();
        self.check(most <= 1, || format!("a revision of the slice had {most} ready addresses"));
        let epochs: Vec<u64> = slices.iter().filter_map(|slice| State::of(slice).epoch).collect();
        self.check(epochs.is_sorted(), || format!("the epoch fell: {epochs:?}"));
        let terms = epochs.iter().collect::<BTreeSet<_>>().len();
        let revisions = slices.len();
        format!(
            "{revisions} revisions of the slice, none with two ready endpoints; {terms} terms, each with a higher epoch"
        )
    }
}

/// A Ready pod of the Service.
async fn member(place: &Place, name: &str) -> Result<Pod> {
    let builder = place.pod(name).label("app", SOURCE).port("http", 8080).ready();
    let deadline = time::Instant::now() + SOON;
    loop {
        match builder.create().await {
            Ok(pod) => return Ok(pod),
            // A new namespace gets its default ServiceAccount a moment later.
            Err(error) if format!("{error:?}").contains("serviceaccount") => {
                ensure!(time::Instant::now() < deadline, "creating pod {name}: {error:#}");
                time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error).with_context(|| format!("creating pod {name}")),
        }
    }
}

/// The leader slice, if this is about it and it is still there.
pub(super) fn of_leader(entry: &Entry) -> Option<&EndpointSlice> {
    match &entry.seen {
        Seen::Slice(slice) if entry.change != Change::Deleted => {
            (slice.labels().get(SERVICE_NAME)? == LEADER_SERVICE).then_some(&**slice)
        }
        _ => None,
    }
}

/// The Service of this name, if this is about it and it is still there.
pub(super) fn of_service<'a>(entry: &'a Entry, name: &str) -> Option<&'a ServiceObject> {
    match &entry.seen {
        Seen::Service(service) if entry.change != Change::Deleted && service.name_any() == name => {
            Some(service)
        }
        _ => None,
    }
}

/// A notice in one short line: its reason, and why.
pub(super) fn words_of(notice: &Event) -> String {
    let note = notice.note.as_deref().unwrap_or_default();
    let cause = note.split_once(" Cause: ").and_then(|(_, rest)| rest.split_once('(')?.1.split_once(')'));
    let reason = notice.reason.as_deref().unwrap_or_default();
    match cause {
        Some((why, _)) => format!("{reason}: {why}"),
        // Without a cause, the note's first sentence says it.
        None => format!("{reason}. {}", note.split_once(". ").map_or(note, |(first, _)| first)),
    }
}

impl Expect<'_> {
    fn is_met_by(self, state: &State) -> bool {
        match self {
            Self::Leader(pod) => state.phase == "Elected" && state.uid.as_deref() == Some(pod.uid()),
            Self::Draining(pod) => state.phase == "Draining" && state.uid.as_deref() == Some(pod.uid()),
            Self::Nobody => state.phase == "Leaderless",
        }
    }
}

impl std::fmt::Display for Expect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leader(pod) => write!(f, "that {} leads", pod.name()),
            Self::Draining(pod) => write!(f, "that {} is draining", pod.name()),
            Self::Nobody => f.write_str("that nobody leads"),
        }
    }
}
