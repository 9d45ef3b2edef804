//! Errors of the way to the API server, in one line that says what to look at.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

use super::dial::DialError;

/// Says in one line what went wrong and, where it helps, what to do.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return explain_status(status.code, &status.reason, &status.message);
    }
    explain_any(error)
}

/// Says what an answer of the API server means, from its status, reason and message.
fn explain_status(code: u16, reason: &str, message: &str) -> String {
    let said = one_line(if message.is_empty() { reason } else { message });
    match code {
        401 => "401: the API server does not accept our token or client certificate: expired, or not of this cluster".into(),
        // Names the user, the verb and the resource.
        403 => format!("403: {said}; check the ClusterRole and its binding"),
        0 => format!("the API server said: {said}"),
        _ => format!("{code}: {said}"),
    }
}

/// Says what went wrong, from the innermost cause that we know.
pub(crate) fn explain_any(error: &(dyn Error + 'static)) -> String {
    let chain = causes(error);
    let server = chain.iter().find_map(|cause| match cause.downcast_ref::<DialError>() {
        Some(DialError::Timeout { server } | DialError::Failed { server, .. }) => Some(server.to_string()),
        Some(DialError::Cancelled) | None => None,
    });
    let server = server.unwrap_or_else(|| "the API server".into());
    chain.iter().rev().find_map(|cause| known(*cause, &server)).unwrap_or_else(|| spelled_out(&chain))
}

fn known(cause: &(dyn Error + 'static), server: &str) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(explain_tls(error, server));
    }
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return explain_io(error, server);
    }
    if let Some(dial @ DialError::Timeout { .. }) = cause.downcast_ref() {
        return Some(format!("{dial}: it is down, stopped, or a firewall drops packets"));
    }
    if cause.is::<tokio::time::error::Elapsed>() {
        return Some(format!("{server} did not answer in time"));
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        return explain_h2(error, server);
    }
    let hyper = cause.downcast_ref::<hyper::Error>()?;
    hyper.is_timeout().then(|| lost(server))
}

fn explain_h2(error: &h2::Error, server: &str) -> Option<String> {
    match error.get_io() {
        // What open streams see when a ping was not answered in time.
        Some(io) if io.kind() == io::ErrorKind::BrokenPipe => Some(lost(server)),
        Some(io) => explain_io(io, server),
        None if error.is_go_away() => Some(format!("{server} is closing its connections ({error})")),
        None => None,
    }
}

fn lost(server: &str) -> String {
    format!("connection to {server} lost: it broke off or did not answer a ping")
}

fn explain_tls(error: &rustls::Error, server: &str) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!(
                "{server} shows a certificate of an unknown issuer: the configured CA is not the server's"
            )
        }
        Tls::InvalidCertificate(CertificateError::BadSignature) => {
            format!("{server} shows a certificate that the configured CA did not sign")
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "{server} shows a certificate for another name: {error}; use one of these names, or tls-server-name"
        ),
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {server} has expired")
        }
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA,
        ) => {
            format!("{server} does not accept our client certificate ({error})")
        }
        _ => format!("TLS with {server}: {error}"),
    }
}

fn explain_io(error: &io::Error, server: &str) -> Option<String> {
    use io::ErrorKind as Kind;
    let what = match error.kind() {
        Kind::ConnectionRefused => {
            format!("{server} refuses connections: it is down, or the address is wrong")
        }
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => {
            format!("{server} closed the connection")
        }
        Kind::UnexpectedEof => format!("{server} closed the connection in the middle of an answer"),
        Kind::TimedOut => {
            format!("{server} does not answer: it is down, stopped, or a firewall drops packets")
        }
        Kind::HostUnreachable | Kind::NetworkUnreachable => format!("no route to {server}"),
        _ => return None,
    };
    Some(what)
}

/// An error and what caused it, outermost first. `io::Error::source` skips the error that it wraps,
/// which is the one we want, so that one is looked into by hand.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    /// Nobody nests deeper; a cycle would.
    const DEEPEST: usize = 32;
    std::iter::successors(Some(error), |error| cause(*error)).take(DEEPEST).collect()
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return io.get_ref().map(|inner| inner as _);
    }
    if let Some(DialError::Failed { error, .. }) = error.downcast_ref() {
        return Some(&***error);
    }
    error.source()
}

/// All messages of a chain, without those that the one before already contains.
fn spelled_out(chain: &[&(dyn Error + 'static)]) -> String {
    let mut text = String::new();
    for cause in chain {
        let message = one_line(&cause.to_string());
        if !text.contains(&message) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{message}");
        }
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
