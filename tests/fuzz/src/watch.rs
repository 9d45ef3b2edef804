//! Answers to lists and watches, as an API server, or whatever answers in its stead, may give them.
//!
//! ```text
//! pods
//! > 200
//! {"metadata":{"resourceVersion":"7"},"items":[]}
//! > 200 16
//! {"type":"ADDED","object":{"metadata":{"name":"orders-0"}}}
//! > 429 0 1
//! Too many requests, please try again later.
//! ```
//!
//! The first line names the kind that is watched. Each answer has a status, the bytes of a frame if the network cuts it
//! (0: it does not), and what it says in Retry-After.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use kube::api::Api;
use kube::client::Body;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::service_fn;
use zen_lead::kinds::{PodLite, ServiceLite, SliceLite};
use zen_lead::watch::{Change, WatchOptions, WatchStatus, follow};

use self::seen::Seen;

mod seen;

/// Longer than any script could take.
const LONG: Duration = Duration::from_hours(24);

/// Watches the kind that `script` names, is answered as it says, and looks at all that comes of it.
///
/// # Panics
/// Something is wrong.
pub fn run(script: &[u8]) {
    let (kind, answers) = script.split_at(script.iter().position(|byte| *byte == b'\n').unwrap_or(0));
    let answers = Answer::all(answers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        match kind {
            b"services" => look::<ServiceLite>(answers).await,
            b"endpointslices" => look::<SliceLite>(answers).await,
            _ => look::<PodLite>(answers).await,
        }
    });
}

async fn look<K>(answers: VecDeque<Answer>)
where
    K: Seen
        + Clone
        + DeserializeOwned
        + Debug
        + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let (end, mut ended) = watch::channel(false);
    let answers = Arc::new(Mutex::new(answers));
    let service = service_fn(move |_: Request<Body>| {
        let answer = answers.lock().expect("nobody panics").pop_front();
        if answer.is_none() {
            end.send_replace(true);
        }
        async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(answer.response()),
                None => std::future::pending().await,
            }
        }
    });
    let api = Api::<K>::namespaced(kube::Client::new(service, "shop"), "shop");
    let (sink, mut changes) = mpsc::channel::<(usize, Change<K>)>(4);
    let options = WatchOptions { page_size: 2, ..WatchOptions::default() };
    let mut state = K::State::default();
    let watching = async {
        tokio::select! {
            () = follow(api, options, 0, sink, WatchStatus::new("any")) => panic!("the watch gave up"),
            () = async {
                while let Some((_, change)) = changes.recv().await {
                    match change {
                        Change::Page(objects) => objects.iter().for_each(|object| object.seen(&mut state)),
                        Change::Applied(object) | Change::Deleted(object) => object.seen(&mut state),
                        Change::Relisting | Change::Listed { .. } | Change::Bookmark(_) => {}
                        Change::Malformed { object, error } => {
                            assert!(!object.is_empty() && !error.is_empty(), "it is not named");
                        }
                    }
                }
            } => panic!("the watch is gone"),
            _ = ended.wait_for(|ended| *ended) => {}
        }
    };
    timeout(LONG, watching).await.expect("the watch never stops asking");
}

/// One answer of the server.
struct Answer {
    status: StatusCode,
    frame: usize,
    retry_after: Option<u32>,
    body: Vec<u8>,
}

impl Answer {
    fn all(script: &[u8]) -> VecDeque<Self> {
        let mut answers: VecDeque<Self> = VecDeque::new();
        for line in script.split_inclusive(|byte| *byte == b'\n') {
            if let Some(head) = line.strip_prefix(b"> ") {
                answers.push_back(Self::new(&String::from_utf8_lossy(head)));
            } else if let Some(answer) = answers.back_mut() {
                answer.body.extend_from_slice(line);
            }
        }
        answers
    }

    fn new(head: &str) -> Self {
        let mut numbers = head.split_whitespace().map(|word| word.parse::<u32>().ok());
        let mut number = || numbers.next().flatten();
        let status = number().and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        let frame = number().and_then(|frame| usize::try_from(frame).ok()).unwrap_or_default();
        Self { status: status.unwrap_or_default(), frame, retry_after: number(), body: Vec::new() }
    }

    fn response(self) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let frame = if self.frame == 0 { self.body.len().max(1) } else { self.frame };
        let frames: Vec<_> = self.body.chunks(frame).map(Bytes::copy_from_slice).collect();
        let frames = frames.into_iter().map(|frame| Ok(hyper::body::Frame::data(frame)));
        let mut response = Response::new(UnsyncBoxBody::new(StreamBody::new(stream::iter(frames))));
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
