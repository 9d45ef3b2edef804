//! The flight recorder in a pod, whose debug port is on loopback there: the API server and the kubelet carry the question.

use std::pin::pin;

use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::io::DuplexStream;
use tokio::time::timeout;

use super::{ANSWER_WITHIN, Question, path, read};
use crate::cli::Error;
use crate::cli::error::{self, PORT_FORWARD};
use crate::cli::survey::Key;
use crate::client::{explain, explain_any};

/// The log of a Service. Of errors, those are [`Error::Refused`] that say something of this pod alone.
pub(super) async fn fetch(
    client: &Client,
    namespace: &str,
    pod: &str,
    port: u16,
    key: &Key,
) -> Result<Bytes, Error> {
    let no_name = |_| Error::Refused(format!("{:?} is no name of a Service", key.1));
    let question = Request::get(path(key))
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(no_name)?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let asked = async {
        let forwarded = pods.portforward(pod, &[port]).await;
        let mut forwarded = forwarded.map_err(|error| not_forwarded(namespace, pod, error))?;
        let (Some(stream), Some(failure)) = (forwarded.take_stream(port), forwarded.take_error(port)) else {
            return Err(Error::Refused(format!("no stream for port {port}")));
        };
        // Whatever comes first; that the stream ends is told better by the failure that ended it.
        match select(pin!(ask(stream, question)), pin!(failure)).await {
            Either::Left((Ok(log), _)) => Ok(log),
            Either::Left((Err(why), failure)) => Err(broken(failure.await.unwrap_or(why), port)),
            Either::Right((Some(failure), _)) => Err(broken(failure, port)),
            Either::Right((None, answer)) => answer.await.map_err(|why| broken(why, port)),
        }
    };
    let within = ANSWER_WITHIN.as_secs();
    let answer = timeout(ANSWER_WITHIN, asked).await;
    answer.unwrap_or_else(|_| Err(Error::Refused(format!("no answer on port {port} within {within} s"))))
}

/// One question, one answer.
async fn ask(stream: DuplexStream, question: Question) -> Result<Bytes, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| explain_any(&error))?;
    // It ends with the answer, or with the stream.
    tokio::spawn(connection);
    read(sender.send_request(question).await.map_err(|error| explain_any(&error))?).await
}

/// What the API server's refusal means: a right that is missing, or something of this pod.
fn not_forwarded(namespace: &str, pod: &str, error: kube::Error) -> Error {
    let request = |verb| error::Request {
        verb,
        group: String::new(),
        resource: PORT_FORWARD.into(),
        namespace: Some(namespace.into()),
        name: Some(pod.into()),
    };
    match &error {
        kube::Error::Api(status) if status.code == 403 => match missing(&status.message) {
            Some((verb, user)) => Error::Forbidden { request: request(verb).into(), user },
            None => Error::Failed { request: request("get").into(), error: error.into() },
        },
        _ => Error::Refused(format!("no port can be forwarded to it: {}", explain(&error))),
    }
}

/// The verb that is missing, and to whom. An API server that asks for `create`, too, does not name either.
fn missing(message: &str) -> Option<(&'static str, String)> {
    let named = ["get", "create"].into_iter().find_map(|verb| Some((verb, error::user(message, verb)?)));
    named.or_else(|| message.trim_end().ends_with("is forbidden:").then(|| ("create", "you".to_owned())))
}

/// What ended the stream, as the node tells it.
fn broken(why: String, port: u16) -> Error {
    if why.contains("connection refused") {
        return Error::Refused(format!(
            "nothing listens on its port {port}: name another one with --debug-port, or start the controller without \
             --debug-bind-address=0"
        ));
    }
    Error::Refused(why)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> Error {
        let status = Status::failure(message, "Forbidden").with_code(code);
        not_forwarded("zen-lead-system", "zen-lead-0", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn whichever_verb_is_missing_both_are_to_be_asked_for() {
        let named =
            "User \"jane\" cannot get resource \"pods/portforward\" in API group \"\" in the namespace \"x\"";
        for (words, told) in [(named, "jane may not get"), ("", "you may not create")] {
            let error = refused(403, &format!("pods \"zen-lead-0\" is forbidden: {words}"));
            assert!(error.is_forbidden());
            assert_eq!(
                error.to_string(),
                format!(
                    "{told} pods/portforward zen-lead-system/zen-lead-0; ask for a Role in namespace zen-lead-system with \
                     the rule {{apiGroups: [\"\"], resources: [\"pods/portforward\"], verbs: [\"get\", \"create\"]}}"
                )
            );
        }
        let webhook = refused(403, "admission webhook \"x\" denied the request");
        assert!(matches!(webhook, Error::Failed { .. }), "{webhook}");
    }

    #[test]
    fn what_is_wrong_with_one_pod_is_no_reason_to_give_up() {
        for error in [refused(404, "pods \"zen-lead-0\" not found"), refused(502, "no way to the kubelet")] {
            assert!(
                matches!(&error, Error::Refused(words) if words.starts_with("no port can be forwarded to it: "))
            );
        }
        let told = "error forwarding port 6060: dial tcp4 127.0.0.1:6060: connect: connection refused";
        assert!(broken(told.into(), 6060).to_string().starts_with("nothing listens on its port 6060: "));
        assert_eq!(broken("the pod is gone".into(), 6060).to_string(), "the pod is gone");
    }
}
