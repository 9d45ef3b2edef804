//! What the API server's answers mean.

use kube::core::Status;
use serde_json::{Value, json};

use super::*;

fn failure(code: u16, more: &Value) -> Failure {
    let mut status = json!({ "status": "Failure", "code": code, "message": "its words", "reason": "" });
    crate::kinds::fixtures::merge(&mut status, more);
    let status: Status = serde_json::from_value(status).unwrap();
    Failure::of(&kube::Error::Api(Box::new(status)))
}

fn kind(code: u16, more: &Value) -> Kind {
    failure(code, more).kind
}

fn cause(cause: &Value) -> Value {
    json!({ "details": { "causes": [cause] } })
}

#[test]
fn each_code_has_its_kind() {
    let plain = json!({});
    for (code, expected) in [
        (400, Kind::Refused { endpoint: false }),
        (401, Kind::Unreachable),
        (403, Kind::Unreachable),
        (404, Kind::NotFound),
        (409, Kind::Conflict),
        (413, Kind::Refused { endpoint: false }),
        (422, Kind::Refused { endpoint: false }),
        (429, Kind::Throttled(THROTTLED_DEFAULT)),
        (500, Kind::Unknown),
        (503, Kind::Unreachable),
    ] {
        assert_eq!(kind(code, &plain), expected, "{code}");
    }
}

#[test]
fn a_conflict_may_be_about_a_name_that_is_taken() {
    assert_eq!(kind(409, &json!({ "reason": "AlreadyExists" })), Kind::Exists);
}

#[test]
fn a_busy_server_says_for_how_long() {
    let busy = json!({ "details": { "retryAfterSeconds": 3 } });
    assert_eq!(kind(429, &busy), Kind::Throttled(Duration::from_secs(3)));
    assert_eq!(kind(503, &busy), Kind::Throttled(Duration::from_secs(3)));
}

#[test]
fn in_a_namespace_that_terminates_nothing_is_made_any_more() {
    assert_eq!(
        kind(403, &cause(&json!({ "reason": "NamespaceTerminating" }))),
        Kind::Refused { endpoint: false }
    );
    assert_eq!(kind(403, &cause(&json!({ "reason": "Other" }))), Kind::Unreachable);
}

#[test]
fn the_endpoint_is_to_blame_if_the_server_says_so() {
    let refused = cause(&json!({ "field": "endpoints[0].addresses[0]" }));
    assert_eq!(kind(422, &refused), Kind::Refused { endpoint: true });
    assert_eq!(kind(422, &cause(&json!({ "field": "metadata.labels" }))), Kind::Refused { endpoint: false });
}

/// The server's own word for it, "Unauthorized", helps nobody; and any other request would fail as well.
#[test]
fn who_is_not_known_any_more_is_told_more_than_the_servers_words() {
    let unknown = failure(401, &json!({}));
    assert!(unknown.is_general && &*unknown.words != "its words", "{unknown}");
    let forbidden = failure(403, &json!({}));
    assert_eq!((forbidden.is_general, &*forbidden.words), (false, "its words"));
}

#[test]
fn without_an_answer_it_may_have_happened() {
    let unread = serde_json::from_str::<Status>("{").unwrap_err();
    let unread = Failure::of(&kube::Error::SerdeError(unread));
    assert_eq!((unread.kind, unread.is_general), (Kind::Unknown, false), "there was an answer");
    let absent = Failure::of(&kube::Error::Service("the connection broke".into()));
    assert_eq!((absent.kind, absent.is_general), (Kind::Unknown, true));
}

#[test]
fn each_kind_has_its_word_and_its_outcome() {
    let wait = Duration::from_millis(250);
    for (kind, word, outcome) in [
        (Kind::NotFound, "not_found", Outcome::Gone),
        (Kind::Conflict, "conflict", Outcome::Conflict),
        (Kind::Exists, "exists", Outcome::Exists),
        (Kind::Throttled(wait), "throttled", Outcome::Throttled(Micros::from_millis(250))),
        (Kind::Unknown, "unknown", Outcome::Unknown),
        (Kind::Unreachable, "unreachable", Outcome::Unreachable),
        (Kind::Superseded, "superseded", Outcome::Superseded),
        (
            Kind::Refused { endpoint: true },
            "refused",
            Outcome::Refused { endpoint: true, words: "why".into() },
        ),
    ] {
        let failure = Failure { kind, words: "why".into(), is_general: false };
        assert_eq!((failure.category(), failure.outcome()), (word, outcome));
    }
}
