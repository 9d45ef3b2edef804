//! An API server that traces itself can be told which trace its requests belong to.

use anyhow::{Context as _, Result};
use lab::{Collector, Kind, Lab, Options, Span, Trace};

use crate::Traced;
use crate::support::SOON;

/// Spans of the API server that name this one, as their parent or, from callers that it does not trust, by a link.
fn names(span: &Span, put: &Span) -> bool {
    let is_linked =
        span.links.iter().any(|link| link.span_id == put.span_id && link.trace_id == put.trace_id);
    span.parent.as_ref() == Some(&put.span_id) && span.trace_id == put.trace_id || is_linked
}

/// The request that made the leader.
fn client_span(trace: &Trace) -> Result<&Span> {
    trace.spans().iter().rfind(|span| span.kind == Kind::Client).context("a request")
}

fn of_api_server(span: &Span) -> bool {
    span.scope != "zen-lead"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_told_if_it_shall_know() -> Result<()> {
    let of_server = Collector::start().await?;
    let folder = tempfolder()?;
    let file = folder.join("tracing.yaml");
    let config = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: 127.0.0.1:{}\nsamplingRatePerMillion: 1000000\n",
        of_server.port()
    );
    std::fs::write(&file, config)?;
    let options = Options::default().api_server_arg(format!("--tracing-config-file={}", file.display()));
    let lab = Lab::start(options).await?;

    let collector = Collector::start().await?;
    let told = Traced::on(&lab, "t-told", collector, &[], &["--propagate-to-apiserver"]).await?;
    told.stage.led("orders", 1).await?;
    let trace = told.trace("first_election", "elected").await?;
    let request = client_span(&trace)?;
    of_server
        .until(SOON, |spans| spans.iter().any(|span| of_api_server(span) && names(span, request)))
        .await?;
    told.stage.end().await?;

    let untold = Traced::on(&lab, "t-untold", Collector::start().await?, &[], &[]).await?;
    untold.stage.led("orders", 1).await?;
    let trace = untold.trace("first_election", "elected").await?;
    // The API server has told of that request, and knew nothing of us.
    let path = format!("/namespaces/{}/endpointslices", untold.stage.ns.name());
    let is_write = |span: &Span| {
        let of_path =
            |key: &str| span.attributes.get(key).is_some_and(|value| value.to_string().contains(&path));
        ["url.path", "url", "http.target", "http.route"].into_iter().any(of_path)
    };
    let spans = of_server.until(SOON, |spans| spans.iter().any(is_write)).await?;
    let request = client_span(&trace)?;
    assert!(!spans.iter().any(|span| names(span, request)), "it was told all the same");
    untold.stage.end().await
}

/// A folder for this test, in the one that Cargo gives to all.
fn tempfolder() -> Result<std::path::PathBuf> {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("propagation");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
