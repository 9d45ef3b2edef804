//! `zen-lead log`: what the flight recorder has of a Service, from the controller's debug port.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::Error;
use super::cluster::Cluster;
use super::output::Output;
use super::survey::{Key, Survey, Wanted};
use crate::client::explain_any;
use crate::config::LogArgs;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Fetches it.
pub(super) async fn run(args: &LogArgs, out: &mut Output) -> Result<(), Error> {
    let cluster = Cluster::find(&args.cluster).await?;
    let wanted = Wanted::read(&args.name, cluster.namespace.as_deref());
    let key = match wanted.namespace.clone() {
        // An incident may be one of the API server: it is not asked without need.
        Some(namespace) => (namespace, wanted.name),
        None => Survey::of_services(&cluster, None).await?.find(&cluster, &wanted).await?,
    };
    let log = fetch(&args.debug_address, &key).await?;
    out.write_all(&log)?;
    Ok(out.flush()?)
}

/// The log of a Service.
pub(super) async fn fetch(address: &str, (namespace, name): &Key) -> Result<Bytes, Error> {
    let refused = |words: String| Error::Refused(format!("the flight recorder at {address}: {words}"));
    let url = format!("{}/debug/elections/{namespace}/{name}/log", address.trim_end_matches('/'));
    let uri: Uri = url.parse().map_err(|_| refused("that is no URL such as http://localhost:6060".into()))?;
    if uri.scheme_str() != Some("http") {
        return Err(refused("it speaks http:// only".into()));
    }
    let request = Request::get(uri).body(Empty::<Bytes>::new());
    let request = request.map_err(|_| refused("that is no URL such as http://localhost:6060".into()))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let answer = client.request(request).await.map_err(|error| {
            refused(format!(
                "{}; forward the port first: kubectl port-forward --namespace zen-lead-system deployment/zen-lead 6060",
                explain_any(&error).replace("the API server", "it")
            ))
        })?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| refused(explain_any(&error)))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        let words = String::from_utf8_lossy(&body);
        Err(refused(format!("nothing of {namespace}/{name}: {status}: {}", words.trim())))
    };
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    answer.unwrap_or_else(|_| Err(refused(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))))
}
