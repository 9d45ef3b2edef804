//! Where traces go, by OpenTelemetry's own environment variables.
//!
//! Other than the SDK, which warns of what it does not understand and goes on, we refuse to start: who has asked for
//! traces should not find out during an incident that there are none.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// As the specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector.
    pub endpoint: Uri,
    /// How to trust it, over https.
    pub tls: Option<ClientTlsConfig>,
    /// What is sent with every export.
    pub headers: MetadataMap,
    /// How long one export may take.
    pub timeout: Duration,
    /// Which failovers are traced: all of them by default.
    pub sampler: Sampler,
    /// Who sends them.
    pub resource: Resource,
}

/// A variable that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?}: {why}")]
pub struct SettingsError {
    /// The variable.
    pub variable: String,
    /// Its value; of headers, which are often secrets, only the name of the one that is wrong.
    pub value: String,
    /// What is wrong, and what is expected.
    pub why: String,
}

/// The variables of the process, or of a test.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that is set.
struct Found {
    variable: String,
    value: String,
}

impl Found {
    fn wrong(&self, why: impl Into<String>) -> SettingsError {
        SettingsError { variable: self.variable.clone(), value: self.value.clone(), why: why.into() }
    }
}

impl Settings {
    /// Reads the process's variables; nothing if no endpoint is given, or traces are switched off.
    pub fn from_env(replica: &str) -> Result<Option<Self>, SettingsError> {
        Self::read(&|name| std::env::var(name).ok(), replica)
    }

    fn read(variables: Variables<'_>, replica: &str) -> Result<Option<Self>, SettingsError> {
        if is_switched_off(variables)? {
            return Ok(None);
        }
        let Some(found) = otlp(variables, "ENDPOINT") else { return Ok(None) };
        let endpoint = endpoint(&found, variables)?;
        protocol(variables)?;
        compression(variables)?;
        let is_https = endpoint.scheme() == Some(&Scheme::HTTPS);
        Ok(Some(Self {
            tls: is_https.then(|| tls(variables)).transpose()?,
            endpoint,
            headers: headers(variables)?,
            timeout: timeout(variables)?,
            sampler: sampler(variables)?,
            resource: resource(variables, replica)?,
        }))
    }
}

fn given(variables: Variables<'_>, variable: &str) -> Option<Found> {
    let value = variables(variable).filter(|value| !value.trim().is_empty())?;
    Some(Found { variable: variable.to_owned(), value })
}

/// The variable for traces, else the one for all signals.
fn otlp(variables: Variables<'_>, name: &str) -> Option<Found> {
    let of_all = || given(variables, &format!("OTEL_EXPORTER_OTLP_{name}"));
    given(variables, &format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(of_all)
}

fn is_switched_off(variables: Variables<'_>) -> Result<bool, SettingsError> {
    if let Some(disabled) = given(variables, "OTEL_SDK_DISABLED")
        && boolean(&disabled)?
    {
        return Ok(true);
    }
    let Some(exporter) = given(variables, "OTEL_TRACES_EXPORTER") else { return Ok(false) };
    match &*exporter.value {
        "none" => Ok(true),
        "otlp" => Ok(false),
        _ => Err(exporter.wrong("expected otlp or none")),
    }
}

fn boolean(found: &Found) -> Result<bool, SettingsError> {
    match &*found.value.to_ascii_lowercase() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(found.wrong("expected true or false")),
    }
}

fn endpoint(found: &Found, variables: Variables<'_>) -> Result<Uri, SettingsError> {
    const WHY: &str =
        "expected http://HOST:PORT or https://HOST:PORT of an OTLP/gRPC receiver, port 4317 as a rule";
    let mut text = found.value.trim().to_owned();
    if !text.contains("://") {
        let is_insecure = otlp(variables, "INSECURE").as_ref().map(boolean).transpose()?.unwrap_or(false);
        text = format!("{}://{text}", if is_insecure { "http" } else { "https" });
    }
    let uri: Uri = text.parse().map_err(|error| found.wrong(format!("{error}; {WHY}")))?;
    let is_known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    let is_sound = uri.authority().is_some_and(|authority| {
        // What is no number is a port all the same, as far as `http` is concerned.
        let has_port = authority.as_str().len() == authority.host().len() || authority.port_u16().is_some();
        !authority.host().is_empty() && has_port
    });
    if is_known && is_sound { Ok(uri) } else { Err(found.wrong(WHY)) }
}

fn protocol(variables: Variables<'_>) -> Result<(), SettingsError> {
    match otlp(variables, "PROTOCOL") {
        Some(found) if found.value != "grpc" => {
            Err(found.wrong("only grpc is spoken here; use the collector's gRPC port, 4317 as a rule"))
        }
        Some(_) | None => Ok(()),
    }
}

fn compression(variables: Variables<'_>) -> Result<(), SettingsError> {
    match otlp(variables, "COMPRESSION") {
        Some(found) if found.value != "none" => {
            Err(found.wrong("expected none: a failover is a few hundred bytes"))
        }
        Some(_) | None => Ok(()),
    }
}

fn tls(variables: Variables<'_>) -> Result<ClientTlsConfig, SettingsError> {
    let mut tls = ClientTlsConfig::new();
    tls = match otlp(variables, "CERTIFICATE") {
        Some(found) => tls.ca_certificate(Certificate::from_pem(certificates(&found)?)),
        None => tls.with_native_roots(),
    };
    match (otlp(variables, "CLIENT_CERTIFICATE"), otlp(variables, "CLIENT_KEY")) {
        (None, None) => Ok(tls),
        (Some(certificate), Some(key)) => {
            let (certificate, pem) = (certificates(&certificate)?, file(&key)?);
            PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|error| key.wrong(format!("there is no private key in this file: {error}")))?;
            Ok(tls.identity(Identity::from_pem(certificate, pem)))
        }
        (Some(certificate), None) => Err(certificate.wrong("also set OTEL_EXPORTER_OTLP_CLIENT_KEY")),
        (None, Some(key)) => Err(key.wrong("also set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")),
    }
}

fn file(found: &Found) -> Result<Vec<u8>, SettingsError> {
    std::fs::read(&found.value).map_err(|error| found.wrong(format!("cannot read this file: {error}")))
}

/// A file of certificates, as it is, once it is known that there are some.
fn certificates(found: &Found) -> Result<Vec<u8>, SettingsError> {
    let pem = file(found)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(pem),
        Ok(_) => Err(found.wrong("there is no certificate in this file: expected PEM")),
        Err(error) => Err(found.wrong(format!("there is no certificate in this file: {error}"))),
    }
}

/// `key=value` pairs, separated by commas, values with percent signs for what is special.
fn pairs(found: &Found) -> impl Iterator<Item = Result<(&str, &str), SettingsError>> {
    found.value.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate().map(|(place, pair)| {
        let (name, value) = pair.split_once('=').unwrap_or_default();
        let name = name.trim();
        if name.is_empty() {
            // The pair itself is not shown: it may be a token that lost its name.
            let value = format!("(entry {})", place + 1);
            let why = "expected NAME=VALUE, separated by commas".to_owned();
            return Err(SettingsError { variable: found.variable.clone(), value, why });
        }
        Ok((name, value.trim()))
    })
}

fn headers(variables: Variables<'_>) -> Result<MetadataMap, SettingsError> {
    // The variable for traces wins header by header.
    let of_all = given(variables, "OTEL_EXPORTER_OTLP_HEADERS");
    let of_traces = given(variables, "OTEL_EXPORTER_OTLP_TRACES_HEADERS");
    let mut headers = MetadataMap::new();
    for found in [of_all, of_traces].into_iter().flatten() {
        for pair in pairs(&found) {
            let (name, value) = pair?;
            let wrong = |why: &str| SettingsError {
                variable: found.variable.clone(),
                value: name.to_owned(),
                why: why.to_owned(),
            };
            let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
                .map_err(|_| wrong("this is no name of a header"))?;
            let value =
                percent_decoded(value).ok_or_else(|| wrong("its value is not percent-encoded UTF-8"))?;
            let value = MetadataValue::try_from(value)
                .map_err(|_| wrong("its value has characters that no header can have"))?;
            headers.insert(key, value);
        }
    }
    Ok(headers)
}

fn percent_decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

fn timeout(variables: Variables<'_>) -> Result<Duration, SettingsError> {
    let Some(found) = otlp(variables, "TIMEOUT") else { return Ok(TIMEOUT) };
    match found.value.trim().parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        Ok(_) | Err(_) => Err(found.wrong("expected milliseconds, at least 1")),
    }
}

fn sampler(variables: Variables<'_>) -> Result<Sampler, SettingsError> {
    let argument = given(variables, "OTEL_TRACES_SAMPLER_ARG");
    let ratio = || match &argument {
        None => Ok(1.0),
        Some(found) => match found.value.trim().parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            Ok(_) | Err(_) => Err(found.wrong("expected a share between 0 and 1")),
        },
    };
    let Some(found) = given(variables, "OTEL_TRACES_SAMPLER") else { return Ok(Sampler::AlwaysOn) };
    // A failover has no parent, so that what the parent says never matters.
    match &*found.value {
        "always_on" | "parentbased_always_on" => Ok(Sampler::AlwaysOn),
        "always_off" | "parentbased_always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" | "parentbased_traceidratio" => Ok(Sampler::TraceIdRatioBased(ratio()?)),
        _ => Err(found.wrong(
            "expected always_on, always_off, traceidratio, or one of these with parentbased_ in front",
        )),
    }
}

/// Who we are: the build, the replica, and the pod as the downward API tells; what the user says wins.
fn resource(variables: Variables<'_>, replica: &str) -> Result<Resource, SettingsError> {
    let mut attributes = vec![
        KeyValue::new("service.name", crate::names::CONTROLLER),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", replica.to_owned()),
    ];
    let of_pod = [
        ("POD_NAME", "k8s.pod.name"),
        ("POD_NAMESPACE", "k8s.namespace.name"),
        ("POD_UID", "k8s.pod.uid"),
        ("NODE_NAME", "k8s.node.name"),
    ];
    for (variable, key) in of_pod {
        attributes.extend(given(variables, variable).map(|found| KeyValue::new(key, found.value)));
    }
    if let Some(found) = given(variables, "OTEL_RESOURCE_ATTRIBUTES") {
        for pair in pairs(&found) {
            let (name, value) = pair?;
            let value = percent_decoded(value)
                .ok_or_else(|| found.wrong(format!("the value of {name} is not percent-encoded UTF-8")))?;
            attributes.push(KeyValue::new(name.to_owned(), value));
        }
    }
    attributes.extend(
        given(variables, "OTEL_SERVICE_NAME").map(|found| KeyValue::new("service.name", found.value)),
    );
    let detector = opentelemetry_sdk::resource::TelemetryResourceDetector;
    Ok(Resource::builder_empty().with_detector(Box::new(detector)).with_attributes(attributes).build())
}

#[cfg(test)]
mod tests;
