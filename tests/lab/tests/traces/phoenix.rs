//! The backend that people look at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use lab::{Chromium, Phoenix, Status, within};
use opentelemetry::trace::{Event, Span as _, SpanBuilder, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, trace};
use tokio::time::{interval, timeout};

use crate::sender::Sender;

#[tokio::test(flavor = "multi_thread")]
async fn what_it_is_sent_is_read_back_and_seen_in_its_page() -> Result<()> {
    let phoenix = Phoenix::start().await?;
    let sender = Sender::to(&phoenix.endpoint(), None)?;
    let tracer = sender.tracer();
    // Phoenix keeps microseconds, and cuts the rest off the beginning and off the end, each for itself.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let start = UNIX_EPOCH + Duration::from_secs(now.as_secs()) - within(60);
    let end = start + Duration::from_micros(12_345);
    let root = SpanBuilder::from_name("failover-of-orders").with_start_time(start);
    let root = root
        .with_attributes([KeyValue::new("k8s.service.name", "orders"), KeyValue::new("zen_lead.epoch", 7)]);
    let root = tracer.build_with_context(root, &Context::new());
    let id = root.span_context().trace_id().to_string();
    let context = Context::new().with_span(root);
    let part = SpanBuilder::from_name("publish").with_start_time(start + Duration::from_millis(1));
    let conflict = Event::new("conflict", start + Duration::from_millis(2), vec![KeyValue::new("try", 2)], 0);
    let mut part = tracer.build_with_context(part.with_events(vec![conflict]), &context);
    part.set_status(trace::Status::error("over budget"));
    part.end_with_timestamp(end);
    context.span().end_with_timestamp(end);
    sender.send("another");
    sender.flush().await??;

    let trace = phoenix.until_trace(&id, within(60), |trace| trace.spans().len() == 2).await?;
    assert_eq!(trace.paths(), ["failover-of-orders", "failover-of-orders > publish"]);
    let root = trace.root()?;
    assert_eq!(root.attributes["k8s.service.name"], "orders");
    assert_eq!(root.attributes["zen_lead.epoch"], 7);
    assert_eq!(root.duration()?, Duration::from_micros(12_345));
    let part = trace.span("publish")?;
    assert_eq!(part.status, Status::Error("over budget".into()));
    assert_eq!(part.event("conflict").unwrap().attributes["try"], 2);
    assert_eq!(phoenix.traces().await?.len(), 2, "one asked for is told from the others");

    // More than there are in a page of an answer.
    let count = 600;
    for _ in 0..count {
        sender.send("one-of-many");
    }
    sender.flush().await??;
    let all = async {
        let mut often = interval(Duration::from_millis(100));
        loop {
            often.tick().await;
            let kept = phoenix.traces().await?;
            if kept.len() == count + 2 && kept.iter().all(|trace| trace.spans().len() == 2) {
                return anyhow::Ok(());
            }
        }
    };
    timeout(within(60), all).await??;

    let page = Chromium::find()?.dom(&phoenix.trace_url(&id).await?, (1500, 800)).await?;
    assert!(page.contains("failover-of-orders") && page.contains("publish"), "{page}");
    Ok(())
}
