//! The requests of one watch, and what their answers mean for it.

use std::time::Duration;

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use kube::{
    Api, Resource,
    api::{ListParams, WatchParams},
    client::Body,
    core::Status,
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::WatchOptions;
use super::decode::{self, Page};
use super::trouble::{LAST_RETRY, Trouble};
use crate::client::{Lane, explain};

/// Longest wait for one page, which takes milliseconds. The server gives up after 60 s by itself.
pub(super) const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the head of a watch's answer. The server waits up to 3 s for its cache to be
/// as new as we ask, then refuses.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch lasts, in seconds, before the server ends it: the usual five minutes, spread so
/// that not all watches of all replicas resume at once. kube's limit is 294.
pub(super) const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 270..=294;

/// Watches on one connection: see [`Lane`]. Each has a page or a version check beside it at most.
pub(super) const WATCHES_PER_LANE: usize = 45;

/// The requests of one watch.
#[derive(Clone)]
pub(super) struct Server {
    client: kube::Client,
    requests: kube::core::Request,
    lane: Lane,
}

impl Server {
    /// `source`: the watch's number among the controller's.
    pub(super) fn new<K: Resource>(api: Api<K>, source: usize) -> Self {
        let requests = kube::core::Request::new(api.resource_url());
        Self { client: api.into_client(), requests, lane: Lane(source / WATCHES_PER_LANE) }
    }

    /// One page of a list, read into `buffer`.
    pub(super) async fn page<K: DeserializeOwned>(
        &self,
        params: &ListParams,
        buffer: &mut Vec<u8>,
    ) -> Result<Page<K>, Trouble> {
        let request = self.requests.list(params);
        let answer = async {
            let mut body = self.answer(request).await?.into_body();
            buffer.clear();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Trouble::failed(explain(&error)))?;
                frame.data_ref().into_iter().for_each(|data| buffer.extend_from_slice(data));
            }
            decode::page(buffer)
        };
        let late = |_| Trouble::failed(format!("no answer to a list within {} s", PAGE_TIMEOUT.as_secs()));
        timeout(PAGE_TIMEOUT, answer).await.map_err(late)?
    }

    pub(super) async fn open(&self, options: &WatchOptions, version: u64) -> Result<Body, Trouble> {
        let params = WatchParams {
            label_selector: options.label_selector.clone(),
            timeout: Some(options.dice.one_of(WATCH_SECONDS)),
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = self.requests.watch(&params, &version.to_string());
        let late = |_| Trouble::failed(format!("no answer to a watch within {} s", OPEN_TIMEOUT.as_secs()));
        Ok(timeout(OPEN_TIMEOUT, self.answer(request)).await.map_err(late)??.into_body())
    }

    /// The server's version now, by a consistent list of one object; tries until it has it.
    pub(super) async fn version(&self) -> u64 {
        let params = ListParams::default().limit(1);
        loop {
            match self.page::<serde::de::IgnoredAny>(&params, &mut Vec::new()).await {
                Ok(page) => return page.version,
                Err(_) => sleep(LAST_RETRY).await,
            }
        }
    }

    /// Sends a request; anything but success is a trouble.
    async fn answer(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Response<Body>, Trouble> {
        let request = request.map_err(|error| Trouble::failed(error.to_string()))?;
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(self.lane);
        let answer = self.client.send(request).await.map_err(|error| Trouble::failed(explain(&error)))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status = decode::status(&body, head.status);
        Err(refusal(&status, retry_after.map(Duration::from_secs)))
    }
}

/// What a refusal of the server means for a list or a watch.
pub(super) fn refusal(status: &Status, retry_after: Option<Duration>) -> Trouble {
    if status.code == StatusCode::GONE.as_u16() {
        return Trouble::Expired;
    }
    // There is a cause of this name too, but not from every server.
    if status.message.contains("Too large resource version") {
        return Trouble::Doubt(status.message.clone());
    }
    let reason = explain(&kube::Error::Api(Box::new(status.clone())));
    Trouble::Failed { reason, retry_after }
}
