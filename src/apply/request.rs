//! What can be asked of the API server, and what it answers.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machine::{Epoch, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::LaneName;
use super::call::{Call, Metadata};
use crate::failure::{Failure, Kind};
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::service;

/// Every publication has this long. A healthy API server answers in 4 ms; one that does not answer in a second
/// is asked again on what may be another connection.
pub(super) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes of Services may pass admission webhooks, whose own default timeout is 10 s; a failed one is repeated.
pub(super) const SIDE_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses before a notice is sent again, while the others of its lane go on. What still fails then is lost: it is for
/// people, and the log has it.
pub(super) const NOTICE_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// One request to the API server, in the namespace of its order.
#[derive(Debug)]
pub(crate) enum Request {
    /// Create an EndpointSlice.
    CreateSlice(Box<EndpointSlice>),
    /// Replace an EndpointSlice as a whole; it carries the resourceVersion it was decided on.
    ReplaceSlice(Box<EndpointSlice>),
    /// The same over a slice that shows no epoch, or not the one before, unless the leader Service mirrors this one or a
    /// later one. Our view of Services may be behind that of the slice, and the epoch a former one.
    ResumeTerms {
        /// The slice.
        slice: Box<EndpointSlice>,
        /// The epoch that it begins.
        epoch: Epoch,
        /// The leader Service's name.
        leader_service: String,
        /// Now, which bounds the epochs that are believed.
        at: Timestamp,
    },
    /// Read one EndpointSlice.
    ReadSlice(String),
    /// List all EndpointSlices of the Service of this name.
    ListSlices(String),
    /// Read one Pod.
    ReadPod(String),
    /// Create a Service.
    CreateService(Box<Service>),
    /// Patch a Service; the patch carries the resourceVersion it was decided on.
    PatchService(String, serde_json::Value),
    /// Read one Service.
    ReadService(String),
    /// Delete these objects, one after another.
    Delete(Vec<Target>),
    /// Delete what this Service has left, or has in its way, if that is still true: a view of Services that lags takes what
    /// another replica has made since for that.
    DeleteLeft {
        /// The objects.
        targets: Vec<Target>,
        /// The Service's name.
        source: String,
        /// What would make it untrue.
        unless: Unless,
    },
    /// Send a notice.
    Notify(Box<Event>),
}

/// What keeps an object from being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unless {
    /// The source is another one than that with this UID.
    MadeAnew(String),
    /// The source asks for the object.
    AskedFor,
    /// The leader Service's name is no longer that of the foreign one with this UID; none: of one that nobody made by
    /// zen-lead.
    Freed(Option<String>),
}

impl Unless {
    /// Whether it is so, given the Service as it is; none if there is none.
    fn holds(&self, source: Option<&ServiceLite>, targets: &[Target]) -> bool {
        match self {
            Self::MadeAnew(uid) => source.is_none_or(|source| source.metadata.uid.as_ref() != Some(uid)),
            Self::AskedFor => source.is_some_and(|source| {
                targets.iter().any(|target| service::asks_for(source, target.is_service, &target.name))
            }),
            Self::Freed(foreign) => source.is_none_or(|standing| match foreign {
                Some(uid) => standing.metadata.uid.as_ref() != Some(uid),
                None => service::is_generated(standing),
            }),
        }
    }
}

/// An object to be deleted, as it was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A Service, or else an EndpointSlice.
    pub(crate) is_service: bool,
    /// Its name.
    pub(crate) name: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Its resourceVersion.
    pub(crate) version: u64,
}

/// What the API server answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The EndpointSlice as it is now.
    Slice(Box<SliceLite>),
    /// The EndpointSlices.
    Slices(Vec<SliceLite>),
    /// The Pod as it is now.
    Pod(Box<PodLite>),
    /// The Service as it is now.
    Service(Box<ServiceLite>),
    /// Done; or not done, in a dry run.
    Done,
    /// Not deleted: it is no leftover.
    Kept,
    /// Not written: the leader Service mirrors this epoch. It becomes a failure before anybody else sees it.
    Behind(Epoch),
}

impl Request {
    pub(super) const fn lane(&self) -> LaneName {
        match self {
            Self::CreateSlice(_)
            | Self::ReplaceSlice(_)
            | Self::ResumeTerms { .. }
            | Self::ReadSlice(_)
            | Self::ReadPod(_) => LaneName::Publications,
            Self::CreateService(_) | Self::ReadService(_) | Self::Delete(_) | Self::DeleteLeft { .. } => {
                LaneName::Side
            }
            Self::ListSlices(_) | Self::PatchService(..) | Self::Notify(_) => LaneName::Later,
        }
    }

    pub(super) const fn is_notice(&self) -> bool {
        matches!(self, Self::Notify(_))
    }

    const fn time_limit(&self) -> Duration {
        match self.lane() {
            LaneName::Publications => PUBLISH_TIMEOUT,
            LaneName::Side | LaneName::Later => SIDE_TIMEOUT,
        }
    }

    /// Method and kind.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::CreateSlice(_) => "POST endpointslice",
            Self::ReplaceSlice(_) | Self::ResumeTerms { .. } => "PUT endpointslice",
            Self::ReadSlice(_) => "GET endpointslice",
            Self::ListSlices(_) => "LIST endpointslices",
            Self::ReadPod(_) => "GET pod",
            Self::CreateService(_) => "POST service",
            Self::PatchService(..) => "PATCH service",
            Self::ReadService(_) => "GET service",
            Self::Delete(_) | Self::DeleteLeft { .. } => "DELETE",
            Self::Notify(_) => "POST event",
        }
    }

    /// As the API names it.
    pub(super) fn resource(&self) -> &'static str {
        match self {
            Self::ReadPod(_) => "pods",
            Self::CreateService(_) | Self::PatchService(..) | Self::ReadService(_) => "services",
            Self::Delete(targets) | Self::DeleteLeft { targets, .. }
                if targets.first().is_some_and(|target| target.is_service) =>
            {
                "services"
            }
            Self::CreateSlice(_)
            | Self::ReplaceSlice(_)
            | Self::ResumeTerms { .. }
            | Self::ReadSlice(_)
            | Self::ListSlices(_)
            | Self::Delete(_)
            | Self::DeleteLeft { .. } => "endpointslices",
            Self::Notify(_) => "events",
        }
    }

    /// The object that it changes, and the version that this was decided on; 0: it is to be made.
    pub(crate) fn target(&self) -> Option<Target> {
        match self {
            Self::CreateSlice(slice) | Self::ReplaceSlice(slice) | Self::ResumeTerms { slice, .. } => {
                Some(Target::of(false, &slice.metadata))
            }
            Self::CreateService(service) => Some(Target::of(true, &service.metadata)),
            Self::PatchService(name, patch) => {
                let version =
                    patch["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
                let (name, uid, version) = (name.clone(), String::new(), version.unwrap_or_default());
                Some(Target { is_service: true, name, uid, version })
            }
            Self::Delete(targets) | Self::DeleteLeft { targets, .. } => targets.first().cloned(),
            Self::ReadSlice(_)
            | Self::ListSlices(_)
            | Self::ReadPod(_)
            | Self::ReadService(_)
            | Self::Notify(_) => None,
        }
    }

    pub(super) const fn is_write(&self) -> bool {
        match self {
            Self::CreateSlice(_)
            | Self::ReplaceSlice(_)
            | Self::ResumeTerms { .. }
            | Self::CreateService(_)
            | Self::PatchService(..)
            | Self::Delete(_)
            | Self::DeleteLeft { .. }
            | Self::Notify(_) => true,
            Self::ReadSlice(_) | Self::ListSlices(_) | Self::ReadPod(_) | Self::ReadService(_) => false,
        }
    }

    /// What the API server would answer, as far as what follows depends on it. An object that was not written
    /// keeps its version, so that whatever really happens to it is news.
    pub(super) fn pretend(self) -> Reply {
        match self {
            Self::CreateSlice(slice) | Self::ReplaceSlice(slice) | Self::ResumeTerms { slice, .. } => {
                same(&*slice).map_or(Reply::Done, |slice| Reply::Slice(Box::new(slice)))
            }
            Self::CreateService(service) => {
                same(&*service).map_or(Reply::Done, |service| Reply::Service(Box::new(service)))
            }
            Self::ReadSlice(_)
            | Self::ListSlices(_)
            | Self::ReadPod(_)
            | Self::PatchService(..)
            | Self::ReadService(_)
            | Self::Delete(_)
            | Self::DeleteLeft { .. }
            | Self::Notify(_) => Reply::Done,
        }
    }

    /// Sends it once or, if that may have failed by chance, a few times. Only for what a repeat does no harm to: a
    /// notice's name follows from what it says and when.
    pub(super) async fn insist(&self, call: &mut Call<'_>) -> Result<Reply, Failure> {
        let mut pauses = NOTICE_PAUSES.into_iter();
        loop {
            let is_repeat = pauses.len() < NOTICE_PAUSES.len();
            let failure = match self.send(call).await {
                // The one before did arrive.
                Err(failure) if is_repeat && failure.kind == Kind::Exists => return Ok(Reply::Done),
                Err(failure) => failure,
                done @ Ok(_) => return done,
            };
            let asked = match failure.kind {
                Kind::Unknown => Duration::ZERO,
                Kind::Throttled(asked) => asked,
                Kind::NotFound
                | Kind::Conflict
                | Kind::Exists
                | Kind::Unreachable
                | Kind::Refused { .. }
                | Kind::Superseded
                | Kind::Behind(_) => return Err(failure),
            };
            let Some(pause) = pauses.next() else { return Err(failure) };
            sleep(pause.max(asked)).await;
        }
    }

    pub(super) async fn send(&self, call: &mut Call<'_>) -> Result<Reply, Failure> {
        let limit = self.time_limit();
        match timeout(limit, self.ask(call)).await {
            Ok(Ok(Reply::Behind(epoch))) => Err(Failure::behind(epoch)),
            Ok(result) => result.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::timeout(limit)),
        }
    }

    async fn ask(&self, call: &mut Call<'_>) -> Result<Reply, kube::Error> {
        match self {
            Self::CreateSlice(slice) => Ok(Reply::Slice(call.create(&**slice).await?)),
            Self::ReplaceSlice(slice) => Ok(Reply::Slice(call.replace(&**slice).await?)),
            Self::ResumeTerms { slice, epoch, leader_service, at } => {
                let mirror: Option<Box<ServiceLite>> = call.find::<Service, _>(leader_service).await?;
                let mirrored = mirror.and_then(|service| service::remembered(&service, *at).epoch);
                match mirrored.filter(|mirrored| mirrored >= epoch) {
                    Some(mirrored) => Ok(Reply::Behind(mirrored)),
                    None => Ok(Reply::Slice(call.replace(&**slice).await?)),
                }
            }
            Self::ReadSlice(name) => Ok(Reply::Slice(call.get::<EndpointSlice, _>(name).await?)),
            Self::ListSlices(service) => Ok(Reply::Slices(call.slices_of(service).await?)),
            Self::ReadPod(name) => Ok(Reply::Pod(call.get::<Pod, _>(name).await?)),
            Self::CreateService(service) => Ok(Reply::Service(call.create(&**service).await?)),
            Self::PatchService(name, patch) => {
                Ok(Reply::Service(call.patch::<Service, _>(name, patch).await?))
            }
            Self::ReadService(name) => Ok(Reply::Service(call.get::<Service, _>(name).await?)),
            Self::Delete(targets) => {
                call.delete_all(targets).await?;
                Ok(Reply::Done)
            }
            Self::DeleteLeft { targets, source, unless } => {
                if targets.is_empty() {
                    return Ok(Reply::Done);
                }
                let known: Option<Box<ServiceLite>> = call.find::<Service, _>(source).await?;
                if unless.holds(known.as_deref(), targets) {
                    return Ok(Reply::Kept);
                }
                call.delete_all(targets).await?;
                Ok(Reply::Done)
            }
            Self::Notify(event) => {
                let _: Box<Metadata> = call.create(&**event).await?;
                Ok(Reply::Done)
            }
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |name: &Option<String>| format!(" {}", name.as_deref().unwrap_or_default());
        f.write_str(self.what())?;
        match self {
            Self::CreateSlice(slice) | Self::ReplaceSlice(slice) | Self::ResumeTerms { slice, .. } => {
                f.write_str(&named(&slice.metadata.name))
            }
            Self::ListSlices(service) => write!(f, " of service {service}"),
            Self::CreateService(service) => f.write_str(&named(&service.metadata.name)),
            Self::ReadSlice(name)
            | Self::ReadPod(name)
            | Self::PatchService(name, _)
            | Self::ReadService(name) => write!(f, " {name}"),
            Self::Delete(targets) | Self::DeleteLeft { targets, .. } => {
                targets.iter().try_for_each(|target| write!(f, " {} {}", target.kind(), target.name))
            }
            Self::Notify(event) => f.write_str(&named(&event.reason)),
        }
    }
}

impl Target {
    /// The object with this metadata.
    pub(crate) fn of(is_service: bool, metadata: &ObjectMeta) -> Self {
        Self {
            is_service,
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            version: crate::kinds::version(metadata).0,
        }
    }

    const fn kind(&self) -> &'static str {
        if self.is_service { "service" } else { "endpointslice" }
    }
}

/// The object as it would be read back.
fn same<K: Serialize, R: DeserializeOwned>(object: &K) -> Option<R> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}
