//! The flight recorder at an address, such as that of a port that somebody has forwarded.

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{ANSWER_WITHIN, path, read};
use crate::cli::Error;
use crate::cli::survey::Key;
use crate::client::explain_any;

/// The log of a Service.
pub(super) async fn fetch(address: &str, key: &Key) -> Result<Bytes, Error> {
    let refused = |words: String| Error::Refused(format!("the flight recorder at {address}: {words}"));
    let no_url = || refused("that is no URL such as http://localhost:6060".into());
    let uri: Uri = format!("{}{}", address.trim_end_matches('/'), path(key)).parse().map_err(|_| no_url())?;
    if uri.scheme_str() != Some("http") {
        return Err(refused("it speaks http:// only".into()));
    }
    let question = Request::get(uri).body(Empty::<Bytes>::new()).map_err(|_| no_url())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let answer = client.request(question).await.map_err(|error| {
            let why = explain_any(&error).replace("the API server", "it");
            refused(format!("{why}; without --debug-address a port is forwarded to the controller"))
        })?;
        let (namespace, name) = key;
        read(answer).await.map_err(|why| refused(format!("nothing of {namespace}/{name}: {why}")))
    };
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    answer.unwrap_or_else(|_| Err(refused(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))))
}
