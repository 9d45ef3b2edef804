//! The receiver for quick tests.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use lab::{Collector, Kind, Mode, Status, within};
use opentelemetry::trace::{Event, Link, Span as _, SpanBuilder, SpanKind, Tracer as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value, trace};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::sender::Sender;

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_span_is_kept() -> Result<()> {
    let collector = Collector::start().await?;
    let sender = Sender::to(&collector.endpoint(), None)?;
    let tracer = sender.tracer();
    let other = tracer.start_with_context("other", &Context::new());
    let (start, end) = (UNIX_EPOCH + Duration::from_nanos(1_000_000_001), UNIX_EPOCH + within(3));
    let builder = SpanBuilder::from_name("failover")
        .with_kind(SpanKind::Client)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("text", "unready"),
            KeyValue::new("truth", true),
            KeyValue::new("number", 42),
            KeyValue::new("fraction", 0.5),
            KeyValue::new("list", Value::Array(Array::String(vec![StringValue::from("a")]))),
        ])
        .with_links(vec![Link::new(other.span_context().clone(), vec![KeyValue::new("why", "recovery")], 0)])
        .with_events(vec![Event::new("conflict", end, vec![KeyValue::new("try", 2)], 0)]);
    let mut span = tracer.build_with_context(builder, &Context::new());
    span.set_status(trace::Status::error("over budget"));
    let sent = span.span_context().clone();
    span.end_with_timestamp(end);
    sender.flush().await??;

    let spans = collector.until(within(20), |spans| !spans.is_empty()).await?;
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&span.trace_id, &span.span_id), (&sent.trace_id().to_string(), &sent.span_id().to_string()));
    assert_eq!((span.name.as_str(), span.kind, span.parent.as_deref()), ("failover", Kind::Client, None));
    assert_eq!((span.start, span.end), (start, end));
    assert_eq!(span.duration()?, Duration::from_nanos(1_999_999_999));
    assert_eq!(span.attributes["text"], "unready");
    assert_eq!(span.attributes["truth"], true);
    assert_eq!(span.attributes["number"], 42);
    assert_eq!(span.attributes["fraction"], 0.5);
    assert_eq!(span.attributes["list"], serde_json::json!(["a"]));
    assert_eq!(span.attributes.len(), 5);
    let conflict = span.event("conflict").unwrap();
    assert_eq!((conflict.at, &conflict.attributes["try"]), (end, &2.into()));
    assert_eq!(span.links[0].span_id, other.span_context().span_id().to_string());
    assert_eq!(span.links[0].trace_id, other.span_context().trace_id().to_string());
    assert_eq!(span.links[0].attributes["why"], "recovery");
    assert_eq!(span.status, Status::Error("over budget".into()));
    assert_eq!(span.resource["service.name"], "zen-lead");
    assert_eq!(span.scope, "tests");
    assert_eq!(collector.requests()[0].headers["authorization"], "Bearer of-spans");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_and_a_wait_in_vain_tells_what_came() -> Result<()> {
    let collector = Collector::start().await?;
    let sender = Sender::to(&collector.endpoint(), None)?;
    sender.send("first");
    sender.send("second");
    sender.flush().await??;
    let trace = collector.until_trace(within(20), |trace| trace.span("second").is_ok()).await?;
    assert_eq!(trace.paths(), ["second", "second > part"]);
    assert_eq!(collector.traces().len(), 2);

    let in_vain = collector.until_trace(Duration::ZERO, |trace| trace.span("third").is_ok()).await;
    let error = in_vain.unwrap_err().to_string();
    let told = ["not as wanted after 0ns; 1 requests came", "\n  first (", "\n    part (", "\n  second ("];
    assert!(told.iter().all(|words| error.contains(words)), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_with_an_authority_that_a_client_has_to_know() -> Result<()> {
    let collector = Collector::start_with_tls().await?;
    assert!(collector.endpoint().starts_with("https://127.0.0.1:"));
    let authority = std::fs::read(collector.ca_file().unwrap())?;
    let known = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let sender = Sender::to(&collector.endpoint(), Some(known))?;
    sender.send("secret");
    sender.flush().await??;
    assert_eq!(collector.traces()[0].root()?.name, "secret");

    let stranger = Collector::start_with_tls().await?;
    let authority = std::fs::read(stranger.ca_file().unwrap())?;
    let unknown = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let sender = Sender::to(&collector.endpoint(), Some(unknown))?;
    sender.send("lost");
    assert!(sender.flush().await?.is_err());
    assert_eq!(collector.requests().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_is_slow_forgets_and_hangs_when_told_to() -> Result<()> {
    let collector = Collector::start().await?;
    let sender = Sender::to(&collector.endpoint(), None)?;
    for code in [Code::Unavailable, Code::InvalidArgument] {
        collector.set(Mode::Refuse(code));
        sender.send("refused");
        let error = sender.flush().await?.unwrap_err().to_string();
        assert!(error.contains(&format!("{code:?}")), "{code:?}: {error}");
    }
    assert!(collector.spans().is_empty(), "what is refused is not kept");

    collector.set(Mode::Slow(Duration::from_millis(50)));
    sender.send("slow");
    sender.flush().await??;
    assert_eq!(collector.traces()[0].root()?.name, "slow");

    collector.set(Mode::Discard);
    sender.send("discarded");
    sender.flush().await??;
    assert_eq!(collector.requests().last().map(|request| request.spans), Some(2));
    assert_eq!(collector.spans().len(), 2, "only those of the slow one");

    collector.set(Mode::Hang);
    sender.send("hanging");
    let before = collector.requests().len();
    let (flush, requests) = tokio::join!(sender.flush(), collector.until_requests(before + 1, within(20)));
    assert!(flush?.is_err());
    assert_eq!(requests?.last().map(|request| request.spans), Some(2));
    assert_eq!(collector.spans().len(), 2, "only those of the slow one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_is_gone_with_its_connections() -> Result<()> {
    let collector = Collector::start().await?;
    let sender = Sender::to(&collector.endpoint(), None)?;
    sender.send("before");
    sender.flush().await??;
    drop(collector);
    sender.send("after");
    assert!(sender.flush().await?.is_err());
    Ok(())
}
