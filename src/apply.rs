//! The only API writes, and the few single reads that decisions ask for.
//!
//! Publications go before everything else: they, and the reads they wait for, have a lane of their own, so that
//! a webhook that hangs on Services can never delay a failover. The deciding task keeps at most one write open
//! per object, so a lane's queue is bounded by the number of objects; notices alone may pile up and are cut.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ObjectList;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use crate::failure::Failure;
use crate::kinds::{PodLite, ServiceLite, SliceLite};
use crate::names::FIELD_MANAGER;

/// Every publication has this long. A healthy API server answers in 4 ms; one that does not answer in a second
/// is asked again on what may be another connection.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes of Services may pass admission webhooks, whose own default timeout is 10 s; a failed one is repeated.
const SIDE_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes of the side lane in flight at once: with the publications' 48 that makes 64, beyond which an API server
/// gains nothing (measured: 32 to 64 is best).
const SIDE_IN_FLIGHT: usize = 16;

/// Notices that may wait. Beyond it they are dropped: they are for people, and nobody reads a thousand.
const NOTICES_WAITING: usize = 1_000;

/// One request to the API server, in the namespace of its order.
#[derive(Debug)]
pub(crate) enum Request {
    /// Create an EndpointSlice.
    CreateSlice(Box<EndpointSlice>),
    /// Replace an EndpointSlice as a whole; it carries the resourceVersion it was decided on.
    ReplaceSlice(Box<EndpointSlice>),
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
    /// Send a notice.
    Notify(Box<Event>),
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
}

/// A request and what it is for.
#[derive(Debug)]
pub(crate) struct Order<T> {
    /// What it is for, returned with the answer.
    pub(crate) purpose: T,
    /// The namespace.
    pub(crate) namespace: String,
    /// The request.
    pub(crate) request: Request,
}

/// The answer to an order; every order gets one.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// What the order was for.
    pub(crate) purpose: T,
    /// What came of it.
    pub(crate) result: Result<Reply, Failure>,
    /// How long it waited for its turn, and how long the API server took.
    pub(crate) waited: Duration,
    /// How long the API server took.
    pub(crate) took: Duration,
    lane: LaneName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneName {
    Publications,
    Side,
}

/// The lanes to the API server. Owned by the deciding task, which never waits for them.
pub(crate) struct Apply<T> {
    client: kube::Client,
    dry_run: bool,
    publications: Lane<T>,
    side: Lane<T>,
    running: JoinSet<Answer<T>>,
    /// Notices dropped because too many waited.
    pub(crate) notices_dropped: u64,
}

struct Lane<T> {
    most: usize,
    in_flight: usize,
    waiting: VecDeque<(Instant, Order<T>)>,
    /// What nobody's traffic waits for.
    notices: VecDeque<(Instant, Order<T>)>,
}

impl<T: Send + 'static> Apply<T> {
    /// Lanes over `client` with at most `most` publications in flight. A dry run answers without sending.
    #[must_use]
    pub(crate) fn new(client: kube::Client, most: usize, dry_run: bool) -> Self {
        let lane = |most| Lane { most, in_flight: 0, waiting: VecDeque::new(), notices: VecDeque::new() };
        Self {
            client,
            dry_run,
            publications: lane(most),
            side: lane(SIDE_IN_FLIGHT),
            running: JoinSet::new(),
            notices_dropped: 0,
        }
    }

    /// Sends the order now, or when it is its turn.
    pub(crate) fn submit(&mut self, order: Order<T>) {
        let name = order.request.lane();
        let is_notice = matches!(order.request, Request::Notify(_));
        let lane = self.lane(name);
        if lane.in_flight < lane.most {
            lane.in_flight += 1;
            self.start(name, Instant::now(), order);
        } else if !is_notice {
            lane.waiting.push_back((Instant::now(), order));
        } else if lane.notices.len() < NOTICES_WAITING {
            lane.notices.push_back((Instant::now(), order));
        } else {
            self.notices_dropped += 1;
            debug!("a notice was dropped: {NOTICES_WAITING} are waiting");
        }
    }

    /// Whether any order is in flight.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// The next answer; waits for ever if nothing is in flight.
    pub(crate) async fn answer(&mut self) -> Answer<T> {
        let Some(done) = self.running.join_next().await else { return std::future::pending().await };
        let answer = match done {
            Ok(answer) => answer,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let lane = self.lane(answer.lane);
        match lane.waiting.pop_front().or_else(|| lane.notices.pop_front()) {
            Some((since, order)) => self.start(answer.lane, since, order),
            None => lane.in_flight -= 1,
        }
        answer
    }

    fn lane(&mut self, name: LaneName) -> &mut Lane<T> {
        match name {
            LaneName::Publications => &mut self.publications,
            LaneName::Side => &mut self.side,
        }
    }

    fn start(&mut self, lane: LaneName, since: Instant, order: Order<T>) {
        let (client, dry_run) = (self.client.clone(), self.dry_run);
        let waited = since.elapsed();
        self.running.spawn(async move {
            let Order { purpose, namespace, request } = order;
            let begun = Instant::now();
            let limit = request.time_limit();
            let result = if dry_run && request.is_write() {
                info!(dry_run, namespace, "would send: {request}");
                Ok(request.pretend())
            } else {
                match timeout(limit, request.send(&client, &namespace)).await {
                    Ok(result) => result.map_err(|error| Failure::of(&error)),
                    Err(_) => Err(Failure::timeout(limit)),
                }
            };
            Answer { purpose, result, waited, took: begun.elapsed(), lane }
        });
    }
}

impl Request {
    const fn lane(&self) -> LaneName {
        match self {
            Self::CreateSlice(_) | Self::ReplaceSlice(_) | Self::ReadSlice(_) | Self::ReadPod(_) => {
                LaneName::Publications
            }
            Self::ListSlices(_)
            | Self::CreateService(_)
            | Self::PatchService(..)
            | Self::ReadService(_)
            | Self::Delete(_)
            | Self::Notify(_) => LaneName::Side,
        }
    }

    const fn time_limit(&self) -> Duration {
        match self.lane() {
            LaneName::Publications => PUBLISH_TIMEOUT,
            LaneName::Side => SIDE_TIMEOUT,
        }
    }

    const fn is_write(&self) -> bool {
        match self {
            Self::CreateSlice(_)
            | Self::ReplaceSlice(_)
            | Self::CreateService(_)
            | Self::PatchService(..)
            | Self::Delete(_)
            | Self::Notify(_) => true,
            Self::ReadSlice(_) | Self::ListSlices(_) | Self::ReadPod(_) | Self::ReadService(_) => false,
        }
    }

    /// What the API server would answer, as far as what follows depends on it. An object that was not written
    /// keeps its version, so that whatever really happens to it is news.
    fn pretend(self) -> Reply {
        match self {
            Self::CreateSlice(slice) | Self::ReplaceSlice(slice) => {
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
            | Self::Notify(_) => Reply::Done,
        }
    }

    async fn send(self, client: &kube::Client, namespace: &str) -> Result<Reply, kube::Error> {
        let call = Call { client, namespace };
        match self {
            Self::CreateSlice(slice) => Ok(Reply::Slice(call.create(&*slice).await?)),
            Self::ReplaceSlice(slice) => Ok(Reply::Slice(call.replace(&*slice).await?)),
            Self::ReadSlice(name) => Ok(Reply::Slice(call.get::<EndpointSlice, _>(&name).await?)),
            Self::ListSlices(service) => Ok(Reply::Slices(call.slices_of(&service).await?)),
            Self::ReadPod(name) => Ok(Reply::Pod(call.get::<Pod, _>(&name).await?)),
            Self::CreateService(service) => Ok(Reply::Service(call.create(&*service).await?)),
            Self::PatchService(name, patch) => {
                Ok(Reply::Service(call.patch::<Service, _>(&name, &patch).await?))
            }
            Self::ReadService(name) => Ok(Reply::Service(call.get::<Service, _>(&name).await?)),
            Self::Delete(targets) => {
                for target in &targets {
                    call.delete(target).await?;
                }
                Ok(Reply::Done)
            }
            Self::Notify(event) => {
                let _: Box<Metadata> = call.create(&*event).await?;
                Ok(Reply::Done)
            }
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        match self {
            Self::CreateSlice(slice) => write!(f, "POST endpointslice {}", name(&slice.metadata.name)),
            Self::ReplaceSlice(slice) => write!(f, "PUT endpointslice {}", name(&slice.metadata.name)),
            Self::ReadSlice(slice) => write!(f, "GET endpointslice {slice}"),
            Self::ListSlices(service) => write!(f, "LIST endpointslices of service {service}"),
            Self::ReadPod(pod) => write!(f, "GET pod {pod}"),
            Self::CreateService(service) => write!(f, "POST service {}", name(&service.metadata.name)),
            Self::PatchService(service, _) => write!(f, "PATCH service {service}"),
            Self::ReadService(service) => write!(f, "GET service {service}"),
            Self::Delete(targets) => {
                f.write_str("DELETE")?;
                targets.iter().try_for_each(|target| write!(f, " {} {}", target.kind(), target.name))
            }
            Self::Notify(event) => write!(f, "POST event {}", event.reason.as_deref().unwrap_or_default()),
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

/// What is read of an answer that nobody needs.
#[derive(serde::Deserialize)]
struct Metadata {}

/// The client and the namespace of one order.
struct Call<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
}

impl Call<'_> {
    fn request<K: Resource<DynamicType = ()>>(&self) -> kube::core::Request {
        kube::core::Request::new(K::url_path(&(), Some(self.namespace)))
    }

    async fn get<K: Resource<DynamicType = ()>, R: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<R, kube::Error> {
        let request = self.request::<K>().get(name, &kube::api::GetParams::default());
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    async fn create<K, R>(&self, object: &K) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
        R: DeserializeOwned,
    {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = self.request::<K>().create(&post_params(), body);
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await.map(Box::new)
    }

    async fn replace<K, R>(&self, object: &K) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
        R: DeserializeOwned,
    {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = self.request::<K>().replace(name, &post_params(), body);
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await.map(Box::new)
    }

    async fn patch<K, R>(&self, name: &str, patch: &serde_json::Value) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()>,
        R: DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let request = self.request::<K>().patch(name, &params, &Patch::Merge(patch));
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await.map(Box::new)
    }

    async fn slices_of(&self, service: &str) -> Result<Vec<SliceLite>, kube::Error> {
        let params = ListParams::default().labels(&format!("{}={service}", crate::names::LABEL_SERVICE_NAME));
        let request = self.request::<EndpointSlice>().list(&params).map_err(kube::Error::BuildRequest)?;
        let list: ObjectList<SliceLite> = self.client.request(request).await?;
        Ok(list.items)
    }

    /// Deletes exactly the object that was decided on; one that is gone already is no error.
    async fn delete(&self, target: &Target) -> Result<(), kube::Error> {
        let preconditions = Preconditions {
            uid: Some(target.uid.clone()),
            resource_version: Some(target.version.to_string()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request =
            if target.is_service { self.request::<Service>() } else { self.request::<EndpointSlice>() };
        let request = request.delete(&target.name, &params).map_err(kube::Error::BuildRequest)?;
        match self.client.request_status::<serde::de::IgnoredAny>(request).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}
