use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::Key;
use opentelemetry_sdk::trace::Sampler;

use super::{Settings, SettingsError};

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    Settings::read(&|name| variables.get(name).map(ToString::to_string), "zen-lead-0")
}

/// With an endpoint, and these besides.
fn settings(variables: &[(&str, &str)]) -> Settings {
    read(&[&[ENDPOINT], variables].concat()).unwrap().unwrap()
}

fn resource(settings: &Settings, key: &'static str) -> Option<String> {
    settings.resource.get(&Key::from_static_str(key)).map(|value| value.to_string())
}

#[test]
fn without_an_endpoint_there_are_no_traces() {
    assert!(read(&[]).unwrap().is_none());
    assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
    assert!(read(&[("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap().is_none(), "nobody asked for any");
}

#[test]
fn they_can_be_switched_off_although_there_is_an_endpoint() {
    assert!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
    assert!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    assert!(
        read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")])
            .unwrap()
            .is_some()
    );
}

#[test]
fn defaults_are_those_of_the_specification() {
    let settings = settings(&[]);
    assert_eq!(settings.endpoint, "http://collector:4317/");
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert!(matches!(settings.sampler, Sampler::AlwaysOn));
    assert!(settings.tls.is_none() && settings.headers.is_empty());
}

#[test]
fn the_variable_for_traces_wins() {
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "B = two%20words , c=x=y"),
    ]);
    assert_eq!(settings.endpoint, "http://traces:1/");
    assert_eq!(settings.timeout, Duration::from_millis(250));
    let header = |name| settings.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!([header("a"), header("b"), header("c")], ["1", "two words", "x=y"]);
}

#[test]
fn an_endpoint_without_a_scheme_is_secure_unless_it_says_otherwise() {
    let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    assert_eq!(read(&[bare]).unwrap().unwrap().endpoint.scheme_str(), Some("https"));
    let insecure = read(&[bare, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]).unwrap().unwrap();
    assert_eq!(insecure.endpoint, "http://collector:4317/");
}

#[test]
fn the_resource_tells_of_build_replica_and_pod_and_what_the_user_says_wins() {
    let of_pod =
        [("POD_NAME", "zen-lead-0"), ("POD_NAMESPACE", "system"), ("POD_UID", "u-1"), ("NODE_NAME", "n1")];
    let settings_ = settings(&of_pod);
    for (key, value) in [
        ("service.name", "zen-lead"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", "zen-lead-0"),
        ("k8s.pod.name", "zen-lead-0"),
        ("k8s.namespace.name", "system"),
        ("k8s.pod.uid", "u-1"),
        ("k8s.node.name", "n1"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource(&settings_, key).as_deref(), Some(value), "{key}");
    }
    let attributes = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=prod%2Feu, service.name=other,k8s.node.name=mine",
    );
    let settings_ = settings(&[attributes, ("NODE_NAME", "n1")]);
    assert_eq!(resource(&settings_, "deployment.environment.name").as_deref(), Some("prod/eu"));
    assert_eq!(resource(&settings_, "service.name").as_deref(), Some("other"));
    assert_eq!(resource(&settings_, "k8s.node.name").as_deref(), Some("mine"));
    let settings_ = settings(&[attributes, ("OTEL_SERVICE_NAME", "failovers")]);
    assert_eq!(resource(&settings_, "service.name").as_deref(), Some("failovers"));
}

#[test]
fn samplers_are_understood() {
    for (name, argument, expected) in [
        ("always_on", None, "AlwaysOn"),
        ("always_off", None, "AlwaysOff"),
        ("parentbased_always_on", None, "AlwaysOn"),
        ("parentbased_always_off", Some("0.5"), "AlwaysOff"),
        ("traceidratio", Some("0.25"), "TraceIdRatioBased(0.25)"),
        ("parentbased_traceidratio", None, "TraceIdRatioBased(1.0)"),
    ] {
        let mut variables = vec![("OTEL_TRACES_SAMPLER", name)];
        variables.extend(argument.map(|argument| ("OTEL_TRACES_SAMPLER_ARG", argument)));
        assert_eq!(format!("{:?}", settings(&variables).sampler), expected, "{name}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_name_and_value() {
    let file = std::env::current_exe().unwrap();
    let file = file.to_str().unwrap();
    for (variable, value, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector:4317", "expected http://HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "expected http://HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:port", "expected http://HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a b:4317", "expected http://HOST:PORT"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "only grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "expected none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0", "at least 1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "cannot read this file"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", file, "there is no certificate in this file"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", file, "also set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected always_on"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "expected otlp or none"),
        ("OTEL_SDK_DISABLED", "yes", "expected true or false"),
    ] {
        let secure = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317");
        let error = read(&[secure, (variable, value)]).unwrap_err();
        assert_eq!((&*error.variable, &*error.value), (variable, value));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
    assert!(
        read(&ratio)
            .unwrap_err()
            .to_string()
            .starts_with(r#"OTEL_TRACES_SAMPLER_ARG="1.5": expected a share"#)
    );
}

/// A header is often a token: what is wrong with it is told without it.
#[test]
fn a_wrong_header_is_named_but_not_shown() {
    for (value, named) in
        [("api-key=ok,s3cr3t", "entry 2"), ("a b=s3cr3t", "a b"), ("token=s3cr3t\u{7f}", "token")]
    {
        let error = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", value)]).unwrap_err().to_string();
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && error.contains(named), "{error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let error = read(&[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "novalue")]).unwrap_err().to_string();
    assert!(error.contains("OTEL_RESOURCE_ATTRIBUTES") && error.contains("NAME=VALUE"), "{error}");
}
