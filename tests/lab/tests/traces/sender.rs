//! Something that sends spans, as the controller does.

use std::time::Duration;

use anyhow::Result;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::metadata::MetadataMap;
use tonic::transport::ClientTlsConfig;

/// The exporter that the controller uses.
pub(crate) struct Sender(SdkTracerProvider);

impl Sender {
    pub(crate) fn to(endpoint: &str, tls: Option<ClientTlsConfig>) -> Result<Self> {
        let mut headers = MetadataMap::new();
        headers.insert("authorization", "Bearer of-spans".parse()?);
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_metadata(headers);
        let exporter = exporter.with_timeout(Duration::from_secs(5));
        let exporter = match tls {
            Some(tls) => exporter.with_tls_config(tls),
            None => exporter,
        };
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "zen-lead"));
        let provider = SdkTracerProvider::builder().with_resource(resource.build());
        Ok(Self(provider.with_batch_exporter(exporter.build()?).build()))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("tests")
    }

    /// Makes a span of this name and one below it.
    pub(crate) fn send(&self, name: &'static str) {
        let tracer = self.tracer();
        let context = Context::new().with_span(tracer.start_with_context(name, &Context::new()));
        tracer.start_with_context("part", &context).end();
        context.span().end();
    }

    /// Blocks a thread, not a test.
    pub(crate) async fn flush(&self) -> Result<OTelSdkResult> {
        let provider = self.0.clone();
        Ok(tokio::task::spawn_blocking(move || provider.force_flush()).await?)
    }
}
