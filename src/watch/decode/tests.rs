use super::*;

#[test]
fn a_refusal_is_told_in_the_servers_words_or_those_of_what_is_between() {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let said = |body: &[u8]| {
        let status = status(body, unavailable);
        (status.code, status.message)
    };
    let own = br#"{"kind": "Status", "code": 429, "message": "too many", "status": "Failure"}"#;
    assert_eq!(said(own), (429, "too many".to_owned()));
    assert_eq!(said(b"<html>a proxy</html>"), (503, "<html>a proxy</html>".to_owned()));
    assert_eq!(said(b"{}"), (503, "{}".to_owned()), "no Status");
    assert_eq!(said(b" "), (503, unavailable.to_string()));
}
