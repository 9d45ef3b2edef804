//! The scenes.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Pod as PodObject, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::ListParams;

use super::figures::{Figure, Kind};
use super::show::{Expect, LEADER_SERVICE, SOON, SOURCE, Show, Step, of_service, words_of};
use super::state::State;
use super::timeline::{Entry, Seen};
use crate::history::Change;
use crate::pod::Pod;
use crate::services::Service;
use crate::slices::SERVICE_NAME;

const ENABLED: &str = "zen-lead.io/enabled";
const STICKY: &str = "zen-lead.io/sticky";
const INSTANCE: &str = "zen-lead.io/instance";
const GRACE: Duration = Duration::from_secs(30);

/// A Service of the user's whose leader Service's name is taken.
const TAKEN_SOURCE: &str = "payments";
const TAKEN: &str = "payments-leader";

/// All scenes; one that breaks off is noted, and the next one begins as if it had not.
pub(super) async fn play(show: &mut Show<'_>, rounds: usize) -> Result<()> {
    show.screen.line("");
    show.screen.header();
    show.screen.scene("Opting in", "an annotation on Service orders; the oldest Ready pod leads");
    show.opt_in().await?;
    show.screen.scene(
        "Readiness lost",
        "the leader becomes NotReady, another pod leads; Ready again, it stays a follower (sticky)",
    );
    for _ in 0..rounds {
        let result = show.readiness_loss().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Graceful deletion",
        "the leader is told to terminate and is replaced before it stops; a new pod takes its name, not its rank",
    );
    for _ in 0..rounds {
        let result = show.graceful_deletion().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Total outage and recovery",
        "nobody can follow: the leader serves until it is gone, then the slice is emptied, until a pod is Ready",
    );
    for _ in 0..rounds {
        let result = show.outage().await;
        after(show, result).await?;
    }
    show.screen.scene(
        "Back and forth",
        "with zen-lead.io/sticky: \"false\" the first in rank (the oldest, then by name) leads whenever it is Ready",
    );
    let result = show.switch_back_and_forth(rounds).await;
    after(show, result).await?;
    show.screen.scene("A foreign x-leader", "Service payments-leader is somebody else's: it is left alone");
    let mut foreign: Option<ServiceObject> = None;
    let result = show.foreign().await.map(|made| foreign = Some(made));
    after(show, result).await?;
    show.screen.scene("Opting out", "the namespace is left as it was");
    show.opt_out(foreign.as_ref()).await
}

async fn after(show: &mut Show<'_>, result: Result<()>) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    show.failed(&error);
    show.recover().await.context("going on with the show after that")
}

impl Show<'_> {
    async fn opt_in(&mut self) -> Result<()> {
        let best = self.ranked().swap_remove(0);
        let mark = self.mark();
        self.source.annotate(ENABLED, Some("true")).await?;
        let step = Step {
            kind: Kind::OptIn,
            told: format!("Service {SOURCE} gets {ENABLED}: \"true\""),
            trigger: &|entry| has_annotation(entry, ENABLED, Some("true")),
            expect: Expect::Leader(&best),
            notice: "LeaderElected",
            // Created empty, so that a creation that arrives late can never publish anybody; then filled.
            revisions: 2,
        };
        self.settle(mark, step).await?;
        self.check_instance().await
    }

    /// What leads here is the controller that we started, and no other one that watches this cluster.
    async fn check_instance(&mut self) -> Result<()> {
        let ours = self.place.instance();
        let service = self.place.ns.api::<ServiceObject>().get(LEADER_SERVICE).await?;
        let theirs = service.annotations().get(INSTANCE).cloned().unwrap_or_default();
        self.check(theirs == ours, || {
            format!(
                "Service {LEADER_SERVICE} was made by the installation {theirs:?} and not by the demo's, {ours:?}: \
                 another zen-lead watches this cluster; stop it meanwhile, or show it in another cluster"
            )
        });
        Ok(())
    }

    async fn readiness_loss(&mut self) -> Result<()> {
        let leader = self.leader()?;
        let next = self.others(&leader).swap_remove(0);
        self.unready(&leader, &next).await?;
        // It stays a follower: the next step finds that the slice did not change.
        leader.ready().await
    }

    async fn unready(&mut self, leader: &Pod, next: &Pod) -> Result<()> {
        let mark = self.mark();
        leader.unready().await?;
        let step = Step {
            kind: Kind::Unready,
            told: format!("{} becomes NotReady", leader.name()),
            trigger: &|entry| of_pod(entry, leader).is_some_and(|pod| !is_ready(pod)),
            expect: Expect::Leader(next),
            notice: "LeaderChanged",
            revisions: 1,
        };
        self.settle(mark, step).await
    }

    async fn graceful_deletion(&mut self) -> Result<()> {
        let leader = self.leader()?;
        let next = self.others(&leader).swap_remove(0);
        let mark = self.mark();
        leader.terminate(GRACE).await?;
        let step = Step {
            kind: Kind::Terminating,
            told: format!("{} is told to terminate", leader.name()),
            trigger: &|entry| is_terminating(entry, &leader),
            expect: Expect::Leader(&next),
            notice: "LeaderChanged",
            revisions: 1,
        };
        self.settle(mark, step).await?;
        leader.vanish().await?;
        self.replace(&leader).await
    }

    async fn outage(&mut self) -> Result<()> {
        let leader = self.leader()?;
        let others = self.others(&leader);
        for other in &others {
            other.unready().await?;
        }
        let mark = self.mark();
        leader.terminate(GRACE).await?;
        let step = Step {
            kind: Kind::Draining,
            told: format!("{}, the last Ready one, is told to terminate", leader.name()),
            trigger: &|entry| is_terminating(entry, &leader),
            expect: Expect::Draining(&leader),
            notice: "LeaderDraining",
            revisions: 1,
        };
        self.settle(mark, step).await?;

        let mark = self.mark();
        leader.vanish().await?;
        let step = Step {
            kind: Kind::Outage,
            told: format!("{} is gone", leader.name()),
            trigger: &|entry| entry.change == Change::Deleted && of_pod(entry, &leader).is_some(),
            expect: Expect::Nobody,
            notice: "LeaderLost",
            revisions: 1,
        };
        self.settle(mark, step).await?;

        let mark = self.mark();
        let first = &others[0];
        first.ready().await?;
        let step = Step {
            kind: Kind::Recovery,
            told: format!("{} becomes Ready", first.name()),
            trigger: &|entry| of_pod(entry, first).is_some_and(is_ready),
            expect: Expect::Leader(first),
            notice: "LeaderRecovered",
            revisions: 1,
        };
        self.settle(mark, step).await?;
        for other in &others[1..] {
            other.ready().await?;
        }
        self.replace(&leader).await
    }

    async fn switch_back_and_forth(&mut self, rounds: usize) -> Result<()> {
        let best = self.ranked().swap_remove(0);
        let next = self.others(&best).swap_remove(0);
        let mark = self.mark();
        self.source.annotate(STICKY, Some("false")).await?;
        if self.leader()?.uid() != best.uid() {
            let step = Step {
                kind: Kind::SwitchBack,
                told: format!("Service {SOURCE} gets {STICKY}: \"false\""),
                trigger: &|entry| has_annotation(entry, STICKY, Some("false")),
                expect: Expect::Leader(&best),
                notice: "LeaderChanged",
                revisions: 1,
            };
            self.settle(mark, step).await?;
        }
        for _ in 0..rounds {
            self.unready(&best, &next).await?;
            let mark = self.mark();
            best.ready().await?;
            let step = Step {
                kind: Kind::SwitchBack,
                told: format!("{}, the first in rank, becomes Ready", best.name()),
                trigger: &|entry| of_pod(entry, &best).is_some_and(is_ready),
                expect: Expect::Leader(&best),
                notice: "LeaderChanged",
                revisions: 1,
            };
            self.settle(mark, step).await?;
        }
        self.mark();
        self.source.annotate(STICKY, None).await
    }

    /// Returns the Service that is not the controller's, as it was made.
    async fn foreign(&mut self) -> Result<ServiceObject> {
        let ns = self.place.ns.clone();
        let foreign =
            ns.service(TAKEN).selector("app", "somebody-else").port("http", 80, 8080).create().await?;
        let made = foreign.get().await?;
        let mark = self.mark();
        let source = ns.service(TAKEN_SOURCE).annotation(ENABLED, "true").selector("app", SOURCE);
        let source: Service = source.port("http", 80, 8080).create().await?;
        let shown = |entry: &Entry| of_service(entry, TAKEN_SOURCE).map(drop);
        let triggered = self
            .timeline
            .first(mark.entry, SOON, shown)
            .await?
            .with_context(|| format!("the API server did not show Service {TAKEN_SOURCE}"))?
            .at;
        self.screen.row(None, &State::none(), &format!("{TAKEN_SOURCE} opts in; {TAKEN} is taken"));
        let notice = self.notice(mark.entry, TAKEN_SOURCE, "LeaderServiceConflict").await?;
        let took = notice.as_ref().map(|notice| notice.at.saturating_duration_since(triggered));
        let words = notice.as_ref().map_or_else(|| "(no notice)".into(), |notice| words_of(&notice.what));
        let leaderless = State { phase: "Leaderless", ..State::none() };
        self.screen.row(Some(took.unwrap_or(SOON)), &leaderless, &words);
        self.check(notice.is_some(), || {
            format!("no notice LeaderServiceConflict on {TAKEN_SOURCE} within {SOON:?}")
        });
        self.check_foreign(&made).await?;
        self.mark();
        // The Go zen-lead deleted such a Service now. That it still stands is looked at again at the end of the show.
        source.annotate(ENABLED, None).await?;
        Ok(made)
    }

    async fn check_foreign(&mut self, made: &ServiceObject) -> Result<()> {
        let now = self.place.ns.api::<ServiceObject>().get_opt(TAKEN).await?;
        let same = now
            .as_ref()
            .is_some_and(|now| now.metadata.uid == made.metadata.uid && now.spec == made.spec)
            && now
                .is_some_and(|now| now.labels() == made.labels() && now.annotations() == made.annotations());
        self.check(same, || {
            format!("Service {TAKEN}, which is not the controller's, was changed or deleted")
        });
        let ours = self.ours::<EndpointSlice>().await?;
        let taken = |slice: &&EndpointSlice| slice.labels().get(SERVICE_NAME).is_some_and(|of| of == TAKEN);
        let count = ours.iter().filter(taken).count();
        self.check(count == 0, || {
            format!("the controller made {count} EndpointSlices for the foreign {TAKEN}")
        });
        Ok(())
    }

    async fn opt_out(&mut self, foreign: Option<&ServiceObject>) -> Result<()> {
        let pods = self.versions().await?;
        let mark = self.mark();
        self.source.annotate(ENABLED, None).await?;
        let opted_out = |entry: &Entry| has_annotation(entry, ENABLED, None).then_some(());
        let triggered = self
            .timeline
            .first(mark.entry, SOON, opted_out)
            .await?
            .with_context(|| format!("the API server did not show that {SOURCE} opted out"))?
            .at;
        let told = format!("Service {SOURCE} loses {ENABLED}");
        self.screen.row(None, &self.now.clone(), &told);
        let mut last = triggered;
        for what in ["EndpointSlice", "Service"] {
            let gone = |entry: &Entry| is_removed(entry, what).then_some(());
            let found = self.timeline.first(mark.entry, SOON, gone).await?;
            let found = found.with_context(|| {
                format!("{what} {LEADER_SERVICE} is still there {SOON:?} after {SOURCE} opted out")
            })?;
            last = last.max(found.at);
        }
        let took = last.saturating_duration_since(triggered);
        self.figures.push(Figure { kind: Kind::OptOut, took, from: mark.wall(), to: None });
        self.now = State::none();
        let words = format!("{LEADER_SERVICE} and its EndpointSlice are removed");
        self.screen.row(Some(took), &State::none(), &words);
        self.check_left_over(&pods).await?;
        if let Some(foreign) = foreign {
            self.check_foreign(foreign).await?;
        }
        Ok(())
    }

    /// Opting out leaves the namespace as it was.
    async fn check_left_over(&mut self, pods: &[(String, Option<String>)]) -> Result<()> {
        let services = self.ours::<ServiceObject>().await?.into_iter().map(|service| service.name_any());
        let slices = self.ours::<EndpointSlice>().await?.into_iter().map(|slice| slice.name_any());
        let left: Vec<String> = services.chain(slices).collect();
        self.check(left.is_empty(), || format!("of the controller's objects these are left: {left:?}"));
        let now = self.versions().await?;
        self.check(now == pods, || format!("the pods were changed: {pods:?}, then {now:?}"));
        Ok(())
    }

    async fn ours<K>(&self) -> Result<Vec<K>>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let labelled = ListParams::default().labels("app.kubernetes.io/managed-by=zen-lead");
        Ok(self.place.ns.api::<K>().list(&labelled).await?.items)
    }

    async fn versions(&self) -> Result<Vec<(String, Option<String>)>> {
        let pods = self.place.ns.api::<PodObject>().list(&ListParams::default()).await?.items;
        Ok(pods.into_iter().map(|pod| (pod.name_any(), pod.metadata.resource_version)).collect())
    }
}

/// Whether this is about the source, and its annotation has this value, or is absent.
fn has_annotation(entry: &Entry, key: &str, value: Option<&str>) -> bool {
    of_service(entry, SOURCE).is_some_and(|source| source.annotations().get(key).map(String::as_str) == value)
}

/// The pod's object, if this is about this very pod.
fn of_pod<'a>(entry: &'a Entry, pod: &Pod) -> Option<&'a PodObject> {
    match &entry.seen {
        Seen::Pod(object) if object.metadata.uid.as_deref() == Some(pod.uid()) => Some(object),
        _ => None,
    }
}

fn is_terminating(entry: &Entry, pod: &Pod) -> bool {
    of_pod(entry, pod).is_some_and(|object| object.metadata.deletion_timestamp.is_some())
}

fn is_ready(pod: &PodObject) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_removed(entry: &Entry, what: &str) -> bool {
    let is_it = match &entry.seen {
        Seen::Slice(slice) => what == "EndpointSlice" && slice.name_any() == LEADER_SERVICE,
        Seen::Service(service) => what == "Service" && service.name_any() == LEADER_SERVICE,
        Seen::Pod(_) | Seen::Notice(_) => false,
    };
    is_it && entry.change == Change::Deleted
}
