//! Single requests, each answered by an object or an error.

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::client::Body;
use kube::core::ObjectList;
use kube::core::response::StatusDetails;
use opentelemetry::trace::{SpanId, TraceId};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Target;
use crate::kinds::SliceLite;
use crate::names::FIELD_MANAGER;

/// What is read of an answer that nobody needs.
#[derive(Deserialize)]
pub(super) struct Metadata {}

/// W3C Trace Context: the parent of whatever spans the API server makes.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The span of a request, which is told to the API server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parent {
    /// Its trace.
    pub(crate) trace: TraceId,
    /// The span.
    pub(crate) span: SpanId,
}

impl Parent {
    fn header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("00-{}-{}-01", self.trace, self.span)).ok()
    }
}

/// An HTTP request as it went.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The method.
    pub(crate) method: Method,
    /// The path and the query.
    pub(crate) path: String,
    /// When it was sent.
    pub(crate) begun: Instant,
    /// When its answer was read to the end; none: it was not, or was no longer waited for.
    pub(crate) ended: Option<Instant>,
    /// What was answered.
    pub(crate) status: Option<StatusCode>,
    /// The span that the API server was told.
    pub(crate) span: Option<SpanId>,
}

/// The client and the namespace of one order.
pub(super) struct Call<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
    parent: Option<Parent>,
    exchange: Option<Exchange>,
}

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a kube::Client, namespace: &'a str, parent: Option<Parent>) -> Self {
        Self { client, namespace, parent, exchange: None }
    }

    /// The last request, also if nobody has waited for its answer.
    pub(super) fn into_exchange(self) -> Option<Exchange> {
        self.exchange
    }

    fn request<K: Resource<DynamicType = ()>>(&self) -> kube::core::Request {
        kube::core::Request::new(K::url_path(&(), Some(self.namespace)))
    }

    /// Sends a request and reads the answer. Other than kube's own, it also reads the header Retry-After: an API
    /// server that is overloaded says only there how long to wait, and nothing else in JSON.
    async fn ask<R: DeserializeOwned>(
        &mut self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<R, kube::Error> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        if let Some(parent) = self.parent.and_then(Parent::header) {
            request.headers_mut().insert(TRACEPARENT, parent);
        }
        let exchange = self.exchange.insert(Exchange {
            method: request.method().clone(),
            path: request.uri().to_string(),
            begun: Instant::now(),
            ended: None,
            status: None,
            span: self.parent.map(|parent| parent.span),
        });
        let (head, body) = self.client.send(request.map(Body::from)).await?.into_parts();
        exchange.status = Some(head.status);
        let body = body.collect().await?.to_bytes();
        exchange.ended = Some(Instant::now());
        if head.status.is_success() {
            return serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
        }
        let mut status = crate::watch::status_of_answer(&body, head.status);
        let asked = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let details = status.details.get_or_insert_with(no_details);
        details.retry_after_seconds = details.retry_after_seconds.max(asked.unwrap_or_default());
        Err(kube::Error::Api(Box::new(status)))
    }

    /// As [`Self::get`]; none if there is no such object.
    pub(super) async fn find<K: Resource<DynamicType = ()>, R: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<R>, kube::Error> {
        match self.get::<K, R>(name).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get<K: Resource<DynamicType = ()>, R: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<R, kube::Error> {
        let request = self.request::<K>().get(name, &kube::api::GetParams::default());
        self.ask(request).await
    }

    pub(super) async fn create<K, R>(&mut self, object: &K) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
        R: DeserializeOwned,
    {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = self.request::<K>().create(&post_params(), body);
        self.ask(request).await.map(Box::new)
    }

    pub(super) async fn replace<K, R>(&mut self, object: &K) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()> + Serialize,
        R: DeserializeOwned,
    {
        let name = object.meta().name.as_deref().unwrap_or_default();
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = self.request::<K>().replace(name, &post_params(), body);
        self.ask(request).await.map(Box::new)
    }

    pub(super) async fn patch<K, R>(
        &mut self,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<Box<R>, kube::Error>
    where
        K: Resource<DynamicType = ()>,
        R: DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let request = self.request::<K>().patch(name, &params, &Patch::Merge(patch));
        self.ask(request).await.map(Box::new)
    }

    pub(super) async fn slices_of(&mut self, service: &str) -> Result<Vec<SliceLite>, kube::Error> {
        let params = ListParams::default().labels(&format!("{}={service}", crate::names::LABEL_SERVICE_NAME));
        let list: ObjectList<SliceLite> = self.ask(self.request::<EndpointSlice>().list(&params)).await?;
        Ok(list.items)
    }

    /// Deletes these, one after another.
    pub(super) async fn delete_all(&mut self, targets: &[Target]) -> Result<(), kube::Error> {
        for target in targets {
            self.delete(target).await?;
        }
        Ok(())
    }

    /// Deletes exactly the object that was decided on; one that is gone already is no error.
    async fn delete(&mut self, target: &Target) -> Result<(), kube::Error> {
        let preconditions = Preconditions {
            uid: Some(target.uid.clone()),
            resource_version: Some(target.version.to_string()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request =
            if target.is_service { self.request::<Service>() } else { self.request::<EndpointSlice>() };
        match self.ask::<IgnoredAny>(request.delete(&target.name, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

const fn no_details() -> StatusDetails {
    StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}
