//! `/debug`: what the flight recorder holds, for whoever looks into an incident while it happens.

use std::future::ready;

use http::StatusCode;

use crate::record::Recorder;
use crate::serve::{Answer, Routes, text};

const ELECTIONS: &str = "/debug/elections/";

/// `/debug/elections/NAMESPACE/SERVICE/log`: the newest records of a Service's election, as a log that `zen-lead replay`
/// reads. `/debug/elections/` lists those that there are.
#[must_use]
pub fn with_elections(routes: Routes, recorder: &Recorder) -> Routes {
    let recorder = recorder.clone();
    routes.with_below(ELECTIONS, move |head| ready(answer(&recorder, head.uri.path())))
}

fn answer(recorder: &Recorder, path: &str) -> Answer {
    let rest = path.strip_prefix(ELECTIONS).unwrap_or_default();
    if rest.is_empty() {
        let mut paths = String::new();
        for key in recorder.services() {
            paths.extend([ELECTIONS, &key.namespace, "/", &key.name, "/log\n"]);
        }
        return text(StatusCode::OK, paths);
    }
    let log = match rest.split('/').collect::<Vec<_>>()[..] {
        [namespace, service, "log"] => recorder.log(namespace, service),
        _ => {
            return text(StatusCode::NOT_FOUND, format!("not found; try {ELECTIONS}NAMESPACE/SERVICE/log\n"));
        }
    };
    match log {
        Some(log) => text(StatusCode::OK, log),
        None => {
            text(StatusCode::NOT_FOUND, format!("nothing is recorded of it; {ELECTIONS} lists what is\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use machine::{Election, Event, Policy, Timestamp};

    use super::*;
    use crate::managed::Key;

    async fn get(recorder: &Recorder, path: &str) -> (StatusCode, String) {
        let routes = with_elections(Routes::new(), recorder);
        let (head, ()) = Request::get(path).body(()).unwrap().into_parts();
        let answer = routes.answer(head).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_log_is_had_by_its_service_and_all_are_listed() {
        let recorder = Recorder::new(1 << 20);
        let key = Key { namespace: "shop".into(), name: "orders".into() };
        let mut election = Election::new(Policy::default());
        let _ = recorder.step(&key, 1, Timestamp(17), &mut election, Event::LeaseLost);
        let (status, log) = get(&recorder, "/debug/elections/shop/orders/log").await;
        assert_eq!((status, Some(log)), (StatusCode::OK, recorder.log("shop", "orders")));
        let list = get(&recorder, "/debug/elections/").await;
        assert_eq!(list, (StatusCode::OK, "/debug/elections/shop/orders/log\n".into()));
        for (path, words) in [
            ("/debug/elections/shop/carts/log", "nothing is recorded of it"),
            ("/debug/elections/shop/orders", "try /debug/elections/NAMESPACE/SERVICE/log"),
            ("/debug", "try /debug/elections/"),
        ] {
            let (status, body) = get(&recorder, path).await;
            assert!(status == StatusCode::NOT_FOUND && body.contains(words), "{path}: {body}");
        }
    }
}
